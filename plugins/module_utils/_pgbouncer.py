# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``pgbouncer``: its options, and what the controller fills in."""

from __future__ import annotations

import base64
from typing import Any, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._claims import check_claim
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_change import run
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_keyring import wanted
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import is_dead
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    resolve,
    resolve_mapping,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

_ADDRESS = ("host", "port", "sslmode")
DEFAULT_PORT = 6432


def guard(access: KeyringAccess) -> None:
    """Look at the claim right before something is changed elsewhere.

    :raises Conflict: this run lost its claim.
    :raises Refused: another run holds it.
    """
    claim = access.document.claim if access.document else None
    if claim is None or access.context.check_mode:
        return
    if claim.run_id == access.run.run_id:
        access.guard()
    else:
        request = Request(
            "claim", access.run, take_over=access.take_over, holder_dead=is_dead(claim)
        )
        check_claim(access.need(), request, access.context.now())


def _entry(name: str, secret: Secret) -> dict[str, Any]:
    return {"name": name, "secret": secret} if secret.known else {"name": name, "predicted": True}


def _login(name: str, password: Secret, expect: str, at: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: at[key] for key in ("dbname", *_ADDRESS) if at.get(key)}
    found.update(username=name, expect=expect)
    found.update({"password": password} if password.known else {"predicted": True})
    return found


def from_keyring(document: Document, params: Mapping[str, Any]) -> dict[str, Any]:
    """The options that follow from a keyring.

    :raises BadInput: when it is not said which database a login through PgBouncer can be tried in.
    """
    issuer = params.get("issuer") or {}
    want = wanted(document, str(issuer.get("strategy") or ""))
    at = dict(params.get("login") or {})
    at["dbname"] = at.get("dbname") or (issuer.get("login") or {}).get("dbname")
    if not at["dbname"]:
        raise BadInput(
            "login.dbname: missing; name a database of this PgBouncer in which the logins are tried"
        )
    verify = [_login(name, it, "accepted", at) for name, it in want.accepted.items()]
    verify += [_login(name, it, "kept", at) for name, it in want.kept.items()]
    filled: dict[str, Any] = {
        "fingerprint_key": Secret(base64.b64encode(document.salt).decode()),
        "verify": verify,
    }
    if params["auth"] == "userlist":
        verify += [_login(name, it, "refused", at) for name, it in want.refused.items()]
        filled["entries"] = [_entry(name, it) for name, it in want.entries.items()]
        filled["absent"] = list(want.absent)
    return filled


def _admin_login(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    login = params.get("login") or {}
    given = {name: value for name, value in params["admin_login"].items() if value is not None}
    if params.get("admin"):
        found = resolve_mapping(params["admin"], context, "admin", ("username", "password"))
        given["username"], given["password"] = found["username"].reveal(), found["password"]
        given.update({key: found[key].reveal() for key in _ADDRESS if key in found})
    port = login.get("port") or DEFAULT_PORT
    return {"host": "127.0.0.1", "port": port, "sslmode": "prefer", **given}


def _resolved(
    items: list[dict[str, Any]], field: str, option: str, context: Context
) -> list[dict[str, Any]]:
    def one(item: dict[str, Any]) -> dict[str, Any]:
        value = item.get(field)
        if not isinstance(value, str) or not looks_like_reference(value):
            return item
        return {**item, field: resolve(value, context, f"{option}.{field}")}

    return [one(item) for item in items]


def resolve_values(params: Params, context: Context) -> Params:
    """The parameters with every reference resolved.

    :raises KeyturnError: as the references give cause.
    """
    admin = _admin_login(params, context)
    (admin,) = _resolved([admin], "password", "admin_login", context)
    return {
        **params,
        "admin": None,
        "admin_login": admin,
        "entries": _resolved(params["entries"], "secret", "entries", context),
        "verify": _resolved(params["verify"], "password", "verify", context),
    }


def prepare(params: Params, context: Context) -> Params:
    """Fill in what the keyring says and resolve references, on the controller.

    :raises KeyturnError: as the keyring and the references give cause.
    """
    if not params.get("keyring"):
        return resolve_values(params, context)
    access = open_keyring(params, context)
    ready = resolve_values({**params, **from_keyring(access.need(), params)}, context)
    guard(access)
    return ready


LOGIN_OPTIONS = {
    "host": {"type": "str"},
    "port": {"type": "int"},
    "sslmode": {"type": "str"},
    "dbname": {"type": "str"},
}
ADMIN_OPTIONS: Mapping[str, Any] = {
    "host": {"type": "str"},
    "port": {"type": "int"},
    "sslmode": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
}
ENTRY_OPTIONS = {
    "name": {"type": "str", "required": True},
    "secret": {"type": "str", "no_log": True},
    "predicted": {"type": "bool", "default": False},
}
VERIFY_OPTIONS = {
    **LOGIN_OPTIONS,
    "dbname": {"type": "str", "required": True},
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "predicted": {"type": "bool", "default": False},
    "expect": {"type": "str", "default": "accepted", "choices": ["accepted", "kept", "refused"]},
}
OWN_OPTIONS: Mapping[str, Any] = {
    "userlist": {"type": "path"},
    "auth": {"type": "str", "default": "userlist", "choices": ["userlist", "auth_query"]},
    "entries": {"type": "list", "elements": "dict", "default": [], "options": ENTRY_OPTIONS},
    "absent": {"type": "list", "elements": "str", "default": []},
    "verify": {"type": "list", "elements": "dict", "default": [], "options": VERIFY_OPTIONS},
    "admin": {"type": "str"},
    "admin_login": {"type": "dict", "default": {}, "options": ADMIN_OPTIONS},
    "login": {"type": "dict", "options": LOGIN_OPTIONS},
    "headroom": {"type": "str", "default": "refuse", "choices": ["refuse", "warn", "skip"]},
    "timeout": {"type": "str", "default": "20s"},
    "fingerprint_key": {"type": "str", "no_log": True},
}
"""The options besides the keyring's; those of a consumer of type pgbouncer too."""

SPEC = {**KEYRING_OPTIONS, "issuer": {"type": "dict", "default": {}}, **OWN_OPTIONS}
MODULE = ModuleCore("pgbouncer", SPEC, run, host=True, prepare=prepare)
