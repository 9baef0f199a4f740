# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``issuer``: make a stage accepted, or no longer, at whoever makes the credential valid."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import (
    Issuer,
    Outcome,
    open_issuer,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)

Operation = Callable[[Issuer, Stage, Document, Context, Callable[[], None]], Outcome]
_OPERATIONS: Dict[str, Operation] = {
    "apply": lambda issuer, stage, document, context, guard: issuer.apply(
        stage, document, context, guard
    ),
    "use": lambda issuer, stage, document, context, guard: issuer.use(
        stage, document, context, guard
    ),
    "revoke": lambda issuer, stage, document, context, guard: issuer.revoke(
        stage, document, context, guard
    ),
    "drop": lambda issuer, stage, document, context, guard: issuer.drop(
        stage, document, context, guard
    ),
}
_ALLOWED: Mapping[str, Mapping[str, Tuple[str, ...]]] = {
    "apply": {
        "pending": ("issued", "applied", "proved"),
        "current": ("cutover", "promoted", "observed"),
    },
    "use": {"current": ("cutover", "promoted", "observed")},
    "revoke": {"pending": ("abandoning",), "previous": ("retiring",)},
    "drop": {"pending": ("abandoning",), "previous": ("retiring",)},
}
"""Which status of a stage each operation demands: what is not marked first is never revoked."""


def _wanted_stage(access: KeyringAccess, operation: str, name: str) -> Optional[Stage]:
    stage = access.need().stage(name)
    if stage is None:
        return None
    allowed = _ALLOWED[operation].get(name, ())
    if stage.status not in allowed:
        expected = " or ".join(allowed) or "never done for this stage"
        raise Refused(
            f"{access.credential}: '{operation}' of the {name} value is refused: it is '{stage.status}', expected {expected}. "
            "Use the playbooks: they mark a value in the keyring before they revoke it"
        )
    return stage


def run(params: Params, context: Context) -> Result:
    """Do one operation on one stage; a stage that is not there needs nothing."""
    access = open_keyring(params, context)
    issuer = open_issuer(params["issuer"], context, "keyturn_issuer")
    operation = params["operation"]
    stage = _wanted_stage(access, operation, params["stage"])
    if stage is None:
        return {"changed": False, "facts": {}}
    outcome = _OPERATIONS[operation](issuer, stage, access.need(), context, access.guard)
    result: Result = {"changed": outcome.changed, "facts": dict(outcome.facts)}
    if context.diff:
        title = f"{params['issuer'].get('type', 'issuer')} of {access.credential}"
        result["diff"] = _diff(outcome, title)
    return result


def _diff(outcome: Outcome, title: str) -> Dict[str, Any]:
    texts = {
        "before": "".join(f"{line}\n" for line in outcome.before),
        "after": "".join(f"{line}\n" for line in outcome.after),
    }
    return {"before_header": title, "after_header": title, **texts}


SPEC = {
    **KEYRING_OPTIONS,
    "issuer": {"type": "dict", "required": True},
    "operation": {"type": "str", "required": True, "choices": sorted(_OPERATIONS)},
    "stage": {"type": "str", "required": True, "choices": ["pending", "current", "previous"]},
}
MODULE = ModuleCore("issuer", SPEC, run)
