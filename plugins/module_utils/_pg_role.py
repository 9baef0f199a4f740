# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``pg_role``: login roles of a PostgreSQL server, by themselves or many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils import _scram
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Outcome
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import (
    Admin,
    read_admin,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._ensure import RoleJob
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._login import SSLMODES
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._logins import set_logins
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import (
    MAX_BYTES,
    check_role_name,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._password import Credential
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._wish import Wish
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

_SUFFIX = "_owner"


@dataclass(frozen=True)
class _Asked:
    """One role of a task."""

    wish: Wish
    credential: Optional[Credential]


def _secret(
    text: Optional[str], context: Context, option: str, document: Optional[Document]
) -> Optional[Secret]:
    if not text:
        return None
    if looks_like_reference(text):
        return resolve(text, context, option, document)
    return Secret(text)


def _belongs(verifier: Optional[Secret], password: Optional[Secret]) -> bool:
    texts = (password.reveal() if password else "", verifier.reveal() if verifier else "")
    return _scram.matches(*texts)


def _credential(
    given: Mapping[str, Any], context: Context, option: str, document: Optional[Document]
) -> Optional[Credential]:
    password = _secret(given.get("password"), context, f"{option}password", document)
    verifier = _secret(given.get("verifier"), context, f"{option}verifier", document)
    if password and _scram.is_verifier(password.reveal()):
        raise BadInput(
            f"{option}password: this is a SCRAM verifier and no password; give it as verifier"
        )
    if verifier and verifier.known and not _scram.is_verifier(verifier.reveal()):
        raise BadInput(
            f"{option}verifier: expected SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY, as PostgreSQL keeps it; a password "
            "goes to the option password"
        )
    pair = password and verifier and password.known and verifier.known
    if pair and not _belongs(verifier, password):
        raise BadInput(
            f"{option}verifier: it does not belong to {option}password; give those of one stage"
        )
    return Credential(password, verifier) if password or verifier else None


def _default_group(like: str) -> str:
    stem = like
    while len(stem.encode()) > MAX_BYTES - len(_SUFFIX):
        stem = stem[:-1]
    return stem + _SUFFIX


def _asked(
    params: Params,
    given: Mapping[str, Any],
    option: str,
    context: Context,
    document: Optional[Document],
) -> _Asked:
    name = check_role_name(given.get("name"), f"{option}name")
    like = given.get("like") or params.get("like") or ""
    like = check_role_name(like, f"{option}like") if like else ""
    owner = params.get("owner_role") or ""
    owner = check_role_name(owner, "owner_role") if owner else ""
    wish = Wish(
        name, like, owner, _default_group(like), params["ownership"], params["name_policies"]
    )
    credential = _credential(given, context, option, document)
    if credential is None and _needs_password(params):
        raise BadInput(
            f"{option}password: missing; give role {name} a password or a verifier, such as ref+vault://secret/app#/password"
        )
    return _Asked(wish, credential)


def _needs_password(params: Params) -> bool:
    return params["state"] in ("present", "standby", "active")


def _all_asked(params: Params, context: Context, document: Optional[Document]) -> List[_Asked]:
    roles = params.get("roles") or []
    if bool(params.get("name")) == bool(roles):
        raise BadInput("name: give one role by name, or several by roles, and not both")
    if not roles:
        return [_asked(params, params, "", context, document)]
    if params.get("password") or params.get("verifier"):
        raise BadInput("password: each of several roles has its own; give it inside of roles")
    asked = [
        _asked(params, given, f"roles[{index}].", context, document)
        for index, given in enumerate(roles)
    ]
    names = [item.wish.name for item in asked]
    twice = (
        sorted({name for name in names if names.count(name) > 1})
        if len(set(names)) < len(names)
        else []
    )
    if twice:
        raise BadInput(f"roles: {twice[0]} is there twice; name each role once")
    return asked


def _one(job: RoleJob, state: str, credential: Optional[Credential]) -> Outcome:
    if state == "locked":
        return job.locked()
    if state == "absent":
        return job.absent()
    wanted = credential or Credential()
    return job.active(wanted) if state == "active" else job.present(wanted)


def _outcomes(
    server: Server,
    admin: Admin,
    asked: List[_Asked],
    params: Params,
    context: Context,
    guard: Guard,
) -> List[Outcome]:
    state = params["state"]
    copying = any(item.wish.like or item.wish.owner_role for item in asked)
    if _needs_password(params) and (state == "active" or not copying):
        wanted: Dict[str, Credential] = {
            item.wish.name: item.credential or Credential() for item in asked
        }
        return set_logins(server, admin, wanted, state != "active", context, guard)
    databases = params.get("databases") or None
    return [
        _one(
            RoleJob(server, item.wish, context, guard, databases, known_admin=admin),
            state,
            item.credential,
        )
        for item in asked
    ]


def _with_keyring(
    params: Params, context: Context
) -> Tuple[Optional[Document], Callable[[], None]]:
    """The keyring that references name, and the guard of the run that holds it."""
    if not params.get("keyring"):
        return None, no_guard
    access = open_keyring(params, context)
    return access.document, access.guard if params.get("transition") else no_guard


def run(params: Params, context: Context) -> Result:
    """Bring the roles into the state."""
    document, guard = _with_keyring(params, context)
    asked = _all_asked(params, context, document)
    with Server.open(params["login"], context, "login") as server:
        outcomes = _outcomes(server, read_admin(server), asked, params, context, guard)
    result: Result = {
        "changed": any(outcome.changed for outcome in outcomes),
        "roles": [{**outcome.facts, "changed": outcome.changed} for outcome in outcomes],
    }
    if context.diff:
        result["diff"] = _diff(outcomes, str(params["login"].get("host") or "the local server"))
    return result


def _diff(outcomes: List[Outcome], host: str) -> Dict[str, str]:
    title = f"roles on {host}"
    shown = [outcome for outcome in outcomes if outcome.changed]
    return {
        "before_header": title,
        "after_header": title,
        "before": "".join(f"{line}\n" for outcome in shown for line in outcome.before),
        "after": "".join(f"{line}\n" for outcome in shown for line in outcome.after),
    }


_LOGIN = {
    "host": {"type": "str"},
    "port": {"type": "int", "default": 5432},
    "dbname": {"type": "str", "default": "postgres"},
    "sslmode": {"type": "str", "default": "prefer", "choices": list(SSLMODES)},
    "sslrootcert": {"type": "path"},
    "sslcert": {"type": "path"},
    "sslkey": {"type": "path", "no_log": False},
    "target_session_attrs": {"type": "str"},
    "connect_timeout": {"type": "int", "default": 10},
    "admin": {"type": "raw", "required": True},
}
_SECRETS = {
    "password": {"type": "str", "no_log": True},
    "verifier": {"type": "str", "no_log": True},
}
SPEC = {
    **KEYRING_OPTIONS,
    "login": {"type": "dict", "required": True, "options": _LOGIN},
    "name": {"type": "str"},
    "roles": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, "like": {"type": "str"}, **_SECRETS},
    },
    "state": {
        "type": "str",
        "default": "present",
        "choices": ["present", "standby", "active", "locked", "absent"],
    },
    **_SECRETS,
    "like": {"type": "str"},
    "owner_role": {"type": "str"},
    "ownership": {"type": "str", "default": "group", "choices": ["group", "refuse"]},
    "databases": {"type": "list", "elements": "str"},
    "name_policies": {"type": "str", "default": "refuse", "choices": ["refuse", "allow"]},
}
MODULE = ModuleCore("pg_role", SPEC, run)
