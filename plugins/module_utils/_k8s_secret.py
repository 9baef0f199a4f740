# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``k8s_secret``: keys, labels, annotations and immutability of one Secret."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Denied,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_inline import shown_of
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_notes import (
    LAST_APPLIED,
    stale_pods,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_object import (
    Body,
    KubernetesSecret,
    metadata_of,
    version_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_replace import StandIn
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_settings import (
    OPTIONS,
    settings_of_task,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._kubernetes import Cluster
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import TRIES, Outcome
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._k8s import (
    Found,
    KubernetesPlace,
    Wish,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._task import (
    FIELDS_OPTIONS,
    fields_result,
    given,
    set_fields,
)

NAME = "k8s_secret"
_SHOWN = 10
_OF_PRESENT = ("fields", "generate", "labels", "annotations", "type", "replace_immutable")
"""What says how a Secret is to be, beside ``immutable``."""
_MARK_NAME = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z"
)
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")


def _marks(params: Params, option: str) -> Dict[str, Optional[str]]:
    """Labels or annotations as Kubernetes takes them: texts.

    :raises BadInput: for one that it would refuse.
    """
    found: Dict[str, Optional[str]] = {}
    for name, value in (params.get(option) or {}).items():
        if not _MARK_NAME.match(str(name)):
            raise BadInput(f"{option}: '{name}' is no name that Kubernetes takes for it")
        if str(name) == LAST_APPLIED:
            raise BadInput(
                f"{option}.{name}: kubectl keeps a whole manifest with its values there; it is not set here"
            )
        if isinstance(value, (bool, dict, list)):
            raise BadInput(f"{option}.{name}: put it in quotes: Kubernetes takes texts alone")
        if value is not None and option == "labels" and not _LABEL_VALUE.match(str(value)):
            raise BadInput(
                f"{option}.{name}: expected at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
            )
        found[str(name)] = None if value is None else str(value)
    return found


def _wish(params: Params) -> Wish:
    return Wish(
        type=params.get("type"),
        labels=_marks(params, "labels"),
        annotations=_marks(params, "annotations"),
        immutable=params.get("immutable"),
        replace_immutable=bool(params.get("replace_immutable")),
        must_exist=bool(params["create"]),
    )


def _secret(params: Params, context: Context, where: str) -> KubernetesSecret:
    cluster = Cluster(settings_of_task(params, context, where), context, where)
    return KubernetesSecret(cluster, params["namespace"], params["name"], where)


def run(params: Params, context: Context) -> Result:
    """Bring one Secret to what the task asks for.

    :raises KeyturnError: as Kubernetes, the keyring or a reference give cause.
    """
    where = f"{NAME} {params['namespace']}/{params['name']}"
    secret = _secret(params, context, where)
    if params["state"] == "absent":
        return _removed(secret, where, params, context)
    found = given(params, context)
    outcome = set_fields(
        KubernetesPlace(secret, where, _wish(params)), where, found, params["create"], context
    )
    result = fields_result(where, found, outcome, context)
    return {**result, "pods_to_restart": _pods(secret, outcome, context)}


def _pods(secret: KubernetesSecret, outcome: Outcome, context: Context) -> List[str]:
    """The pods that will not see the new values; a warning names them."""
    if not outcome.changes:
        return []
    state = outcome.observed.state
    replaced = isinstance(state, Found) and bool((state.body or {}).get("immutable"))
    keys = list(outcome.changes)
    found = stale_pods(secret.cluster, secret.namespace, secret.name, keys, replaced)
    if found:
        how = "while it was immutable" if replaced else "as an environment variable or by subPath"
        context.warn(
            f"{NAME} {secret.namespace}/{secret.name}: {len(found)} pods have got it {how} and keep the old value until they are "
            f"restarted: {', '.join(found[:_SHOWN])}"
        )
    return found


def _removed(secret: KubernetesSecret, where: str, params: Params, context: Context) -> Result:
    """The Secret taken away.

    :raises BadInput: when the task says too what is to be in it.
    :raises Conflict: when others keep writing to it in between.
    """
    said = [name for name in _OF_PRESENT if params.get(name)]
    if params.get("immutable") is not None:
        said.append("immutable")
    if said:
        raise BadInput(f"{said[0]}: with 'state: absent' the Secret goes as a whole; leave it out")
    body, stand_in = secret.read(), StandIn(secret)
    left = _stands_in(stand_in, context)
    if context.check_mode:
        if left:
            stand_in.check_remove()
        if body is not None:
            secret.need("delete")
    else:
        # First the copy: of one that outlives the Secret, a later run would make the Secret again.
        if left:
            _until_removed(stand_in.remove, where)
        if body is not None:
            _until_removed(lambda: _delete(secret), where)
    result: Result = {
        "changed": body is not None or left,
        "fields": {},
        "version": None,
        "version_before": version_of(body) if body else None,
        "pods_to_restart": [],
    }
    if context.diff:
        result["diff"] = _gone(body, stand_in.name if left else "", where)
    return result


def _stands_in(stand_in: StandIn, context: Context) -> bool:
    """Whether a run that was killed left a copy of the Secret beside it; a warning where this identity may not see that.

    :raises Unreachable: without an answer.
    """
    try:
        return stand_in.find() is not None
    except Denied:
        # Of a Secret that can be changed, too: somebody may have made it after the replacement was interrupted.
        context.warn(
            f"{stand_in.where}: this identity may not read '{stand_in.name}', where an interrupted replacement keeps the values; if "
            "there is one, it stays. Allow the verbs get and delete on that name, and run again"
        )
        return False


def _delete(secret: KubernetesSecret) -> None:
    found = secret.read()
    if found is not None:
        secret.delete(found)


def _until_removed(remove: Callable[[], None], where: str) -> None:
    """Remove what is there, read anew whenever somebody else wrote to it in between.

    :raises Conflict: when that does not end.
    """
    if not any(_removes(remove) for _attempt in range(TRIES)):
        raise Conflict(
            f"{where}: somebody else wrote to it {TRIES} times in between; find out who, then run again"
        )


def _removes(remove: Callable[[], None]) -> bool:
    try:
        remove()
    except Conflict:
        return False
    return True


def _gone(body: Optional[Body], stand_in: str, where: str) -> Dict[str, str]:
    keys: Tuple[str, ...] = tuple(sorted((body or {}).get("data") or {}))
    lines = "".join(f"{key}: (removed with the Secret)\n" for key in keys)
    marks: Mapping[str, Any] = metadata_of(body or {}).get("labels") or {}
    labels = "".join(f"label {name}\n" for name in sorted(marks))
    before = f"the Secret is there\n{lines}{labels}" if body else ""
    before += f"the stand-in {stand_in} is there\n" if stand_in else ""
    return {"before_header": where, "after_header": where, "before": before, "after": ""}


def _public(params: Params) -> FrozenSet[str]:
    return shown_of(params.get("kubeconfig"), params.get("fields"), params.get("api_key"))


SPEC: Mapping[str, Any] = {
    **KEYRING_OPTIONS,
    **FIELDS_OPTIONS,
    **OPTIONS,
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "type": {"type": "str"},
    "labels": {"type": "dict", "default": {}},
    "annotations": {"type": "dict", "default": {}},
    "immutable": {"type": "bool"},
    "replace_immutable": {"type": "bool", "default": False},
}
MODULE = ModuleCore(NAME, SPEC, run, public=_public)
