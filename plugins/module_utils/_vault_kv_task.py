# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``vault_kv``: fields, metadata and versions of one secret in a KV engine of Vault."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Outcome
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Observed
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._task import (
    FIELDS_OPTIONS,
    Given,
    fields_result,
    given,
    set_fields,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._vault import VaultPlace
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._vault_v1 import (
    UnversionedPlace,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import (
    VaultClient,
    open_vault,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_custom import (
    CUSTOM_OPTIONS,
    LAST_ROTATED,
    Custom,
    Plan,
    plan_custom,
    wanted_custom,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv import (
    KvSecret,
    look_at_engine,
    vault_time,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_metadata import (
    KvMetadata,
    Metadata,
    check_custom,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_options import (
    VAULT_OPTIONS,
    with_vault_options,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_rights import need_rights
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_versions import (
    ACTIONS,
    beyond,
    chosen_versions,
    plan_versions,
)

OPTION = "vault_kv"
STATES = ("present", "absent", *ACTIONS)


@dataclass(frozen=True)
class Job:
    """One secret and who works on it.

    :param where: how messages name it.
    """

    client: VaultClient
    mount: str
    path: str
    where: str
    given: Given
    params: Params
    context: Context

    @property
    def metadata(self) -> KvMetadata:
        """What Vault keeps of it beside its values."""
        return KvMetadata(self.client, self.mount, self.path)


def location(params: Params) -> Tuple[str, str]:
    """Mount and path.

    :raises BadInput: for a name that is none.
    """
    mount, path = params["engine_mount_point"].strip("/"), params["path"].strip("/")
    for option, text in (("engine_mount_point", mount), ("path", path)):
        if any(part in ("", ".", "..") for part in text.split("/")):
            raise BadInput(f"{option}: '{text}' is no path; expected names with '/' between them")
    return mount, path


def _fields(job: Job, place: Union[VaultPlace, UnversionedPlace]) -> Outcome:
    if not job.given.names:
        return Outcome(Observed({}), {}, None)
    return set_fields(place, job.where, job.given, job.params["create"], job.context)


def _verified(job: Job, outcome: Outcome) -> str:
    """Read back what was written; returns when Vault says that it was.

    :raises Corrupt: when it does not hold what was written.
    :raises KeyturnError: when it cannot be read; ``details["changed"]`` tells both times that it was written.
    """
    number = int(outcome.version or 0)
    try:
        found = KvSecret(job.client, job.mount, job.path).read(number)
    except KeyturnError as error:
        error.details["changed"] = True
        error.message += f". Version {number} was written before that, but not read back; run again to compare it"
        raise
    # One that was deleted in between is somebody else's decision.
    data = found.data
    wrong = [
        name
        for name, value in outcome.changes.items()
        if data is not None and not _holds(data, name, value)
    ]
    if wrong:
        raise Corrupt(
            f"{job.where}: version {number} was written, but another value is read back ({', '.join(wrong)}): something between here and "
            f"Vault changes what passes. See what 'vault kv get -version={number}' tells on Vault's own host, take that out of the way, "
            "and run again",
            changed=True,
        )
    return found.made


def _holds(data: Mapping[str, Any], name: str, value: Optional[Secret]) -> bool:
    """Whether a secret has this field with this value; without a value, whether it has no such field."""
    if value is None:
        return name not in data
    return isinstance(data.get(name), str) and Secret(data[name]) == value


def _present(job: Job) -> Result:
    """Fields and metadata of a KV engine of version 2."""
    custom = wanted_custom(job.params)
    if not job.given.names and not custom.asked:
        raise BadInput(
            "fields: nothing is asked for; give fields, generate, or something of the metadata"
        )
    found = job.metadata.read() if custom.asked else None
    check_custom(custom.wanted, found.custom if found else {})
    outcome = _fields(job, VaultPlace(job.client, job.mount, job.path, job.where))
    wrote = outcome.changed and not job.context.check_mode
    made = _verified(job, outcome) if wrote else ""
    plan = plan_custom(custom, found, outcome.changed)
    _apply(job, plan, found, made)
    result = fields_result(job.where, job.given, outcome, job.context)
    result["changed"] = outcome.changed or plan.changed
    result["metadata"] = _shown_metadata(custom, plan)
    if not job.given.names:
        newest = str(found.newest) if found and found.newest else None
        result.update(version=newest, version_before=newest)
    if job.context.diff:
        result["diff"] = _difference(job, result["diff"], outcome, plan)
    return result


def _apply(job: Job, plan: Plan, found: Optional[Metadata], made: str) -> None:
    """Write the metadata, or in check mode find out whether that is allowed."""
    if not plan.changed:
        return
    if found is None and not job.given.names and not job.params["create"]:
        raise Absent(
            f"{job.where}: it is not there, and 'create' is false; make it first, or leave that out"
        )
    if job.context.check_mode:
        new = found is None and not job.given.names
        rights = ("create",) if new else ("patch", "update")
        need_rights(job.client, job.where, {job.metadata.path: rights}, job.where)
        return
    changes = dict(plan.changes)
    if plan.stamped:
        changes[LAST_ROTATED] = _stamp(
            made or (found or Metadata()).made.get((found or Metadata()).newest, "")
        )
    job.given.guard()
    # What was just written is there: found may be from before.
    job.metadata.set(changes, plan.keep, found or (Metadata() if made else None))


def _stamp(made: str) -> str:
    """Vault's own time of a version, in whole seconds."""
    return vault_time(made).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown_metadata(custom: Custom, plan: Plan) -> Dict[str, Any]:
    names = [*custom.wanted, *((LAST_ROTATED,) if custom.tracked else ())]
    changed = {*plan.changes, *((LAST_ROTATED,) if plan.stamped else ())}
    return {name: {"before": plan.before.get(name), "changed": name in changed} for name in names}


def _difference(job: Job, diff: Mapping[str, str], outcome: Outcome, plan: Plan) -> Dict[str, str]:
    before = int(outcome.observed.version or 0)
    after = before + 1 if outcome.changes else before
    lines = plan.lines()
    named = {
        side: f"{job.where} (version {number})" if number else job.where
        for side, number in (("before_header", before), ("after_header", after))
    }
    return {
        **named,
        "before": diff["before"] + lines["before"],
        "after": diff["after"] + lines["after"],
    }


def _versions(job: Job) -> Result:
    """Delete, undelete or destroy versions."""
    state = job.params["state"]
    numbers, keep = chosen_versions(job.params), job.params.get("keep")
    found = job.metadata.read()
    if keep is not None:
        numbers = beyond(keep, found)
    plan = plan_versions(state, numbers, found, job.where) if numbers or keep is None else {}
    if plan:
        action, after = ACTIONS[state]
        if job.context.check_mode:
            rights = {job.metadata.action_path(action): ("update",)}
            need_rights(job.client, job.where, rights, job.where)
        else:
            job.given.guard()
            job.metadata.change_versions(action, list(plan), after)
    return _gone(job, {f"version {number}": both for number, both in plan.items()}, found)


def _absent(job: Job) -> Result:
    """Remove the secret with all that Vault knows of it."""
    found = job.metadata.read()
    if found is None:
        return _gone(job, {}, found)
    if job.context.check_mode:
        need_rights(job.client, job.where, {job.metadata.path: ("delete",)}, job.where)
    else:
        job.given.guard()
        job.metadata.remove()
    lost = {f"version {number}": (state, "(absent)") for number, state in found.states.items()}
    gone = _gone(job, lost or {"metadata": ("present", "(absent)")}, found)
    return gone if job.context.check_mode else {**gone, "version": None}


def _gone(job: Job, changes: Mapping[str, Tuple[str, str]], found: Optional[Metadata]) -> Result:
    newest = str(found.newest) if found and found.newest else None
    result: Result = {
        "changed": bool(changes),
        "fields": {},
        "metadata": {},
        "version": newest,
        "version_before": newest,
        "versions": {name.split()[-1]: list(both) for name, both in changes.items()},
    }
    if job.context.diff:
        sides: List[str] = [
            "".join(f"{name}: {both[side]}\n" for name, both in changes.items()) for side in (0, 1)
        ]
        headers = {"before_header": job.where, "after_header": job.where}
        result["diff"] = {**headers, "before": sides[0], "after": sides[1]}
    return result


def _unversioned(job: Job) -> Result:
    """Fields of a KV engine of version 1, or the whole secret's end."""
    state = job.params["state"]
    if state in ACTIONS or wanted_custom(job.params).asked:
        what = f"state: {state}" if state in ACTIONS else "metadata"
        raise BadInput(
            f"{what}: the engine at '{job.mount}' is KV version 1, which has no versions and no metadata; mount version 2 to have them"
        )
    place = UnversionedPlace(job.client, job.mount, job.path, job.where)
    if state == "absent":
        return _unversioned_absent(job, place)
    if not job.given.names:
        raise BadInput("fields: nothing is asked for; give fields or generate")
    outcome = _fields(job, place)
    return {**fields_result(job.where, job.given, outcome, job.context), "metadata": {}}


def _unversioned_absent(job: Job, place: UnversionedPlace) -> Result:
    there = place.read(()).exists
    if there and job.context.check_mode:
        place.check_remove()
    elif there:
        job.given.guard()
        place.remove()
    return _gone(job, {"secret": ("present", "(absent)")} if there else {}, None)


def _engine(job: Job) -> str:
    """The version of the engine: as the task says, or as Vault does; 2 where it does not tell.

    :raises BadInput: for another engine, or another version than the task says.
    """
    said: str = job.params["kv_version"]
    if said == "2":
        return said
    engine = look_at_engine(job.client, job.mount)
    kind, _word, number = engine.partition(" version ")
    if engine and (kind != "kv" or said not in ("auto", number)):
        wanted = "1 or 2" if said == "auto" else said
        raise BadInput(
            f"engine_mount_point: the engine at '{job.mount}' is {engine}; expected a KV engine of version {wanted}"
        )
    return said if said != "auto" else number or "2"


def _refuse_values(params: Params) -> None:
    """:raises BadInput: for values beside a state that writes none."""
    own = ("fields", "generate", *CUSTOM_OPTIONS)
    kept = ("keep",) if params["state"] in ("deleted", "destroyed") else ()
    extra = [name for name in own if params.get(name) not in (None, {}) and name not in kept]
    if params["state"] != "present" and extra:
        raise BadInput(f"{extra[0]}: it has no meaning with state={params['state']}; leave it out")
    if params["state"] in ("present", "absent") and params["versions"]:
        raise BadInput(f"versions: it has no meaning with state={params['state']}; leave it out")


def run(params: Params, context: Context) -> Result:
    """Bring one secret to what is asked for.

    :raises KeyturnError: as options, references and Vault give cause.
    """
    _refuse_values(params)
    mount, path = location(params)
    reference = Reference("vault", f"{mount}/{path}", {"mount": mount})
    client = open_vault(reference, context, OPTION)
    where = f"Vault path {mount}/{path}"
    job = Job(client, mount, path, where, given(params, context), params, context)
    version = _engine(job)
    if version == "1":
        return {**_unversioned(job), "kv_version": 1}
    work = {"present": _present, "absent": _absent}.get(params["state"], _versions)
    return {**work(job), "kv_version": 2}


MODULE = ModuleCore(
    name="vault_kv",
    argument_spec=MappingProxyType(
        {
            **KEYRING_OPTIONS,
            **VAULT_OPTIONS,
            **FIELDS_OPTIONS,
            **CUSTOM_OPTIONS,
            "engine_mount_point": {"type": "str", "default": "secret"},
            "path": {"type": "str", "required": True},
            "state": {"type": "str", "default": "present", "choices": list(STATES)},
            "versions": {"type": "list", "elements": "int", "default": []},
            "kv_version": {"type": "str", "default": "auto", "choices": ["1", "2", "auto"]},
        }
    ),
    run=run,
    surroundings=with_vault_options,
)
