# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's own options that say which Vault and as whom; documented in the fragment ``keyturn.runbooks.vault``.

They are laid over the environment that the task's references see, under the names that ``community.hashi_vault`` reads: so
there is one place that knows what they mean, and a value's ``ref+vault://`` is looked up with the same login.
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Dict, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_identity import (
    AGENT,
    APPROLE,
    CERT,
    JWT,
    KUBERNETES,
    METHODS,
    TOKEN,
)

VAULT_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "url": {"type": "str"},
        "auth_method": {"type": "str", "choices": list(METHODS)},
        "mount_point": {"type": "str"},
        "token": {"type": "str", "no_log": True},
        "token_path": {"type": "path", "no_log": False},
        "token_file": {"type": "str", "no_log": False},
        "role_id": {"type": "str"},
        "secret_id": {"type": "str", "no_log": True},
        "secret_id_wrapped": {"type": "bool", "no_log": False},
        "jwt": {"type": "str", "no_log": True},
        "cert_auth_public_key": {"type": "path"},
        "cert_auth_private_key": {"type": "path", "no_log": False},
        "namespace": {"type": "str"},
        "ca_cert": {"type": "path", "aliases": ["cacert"]},
        "validate_certs": {"type": "bool"},
        "proxies": {"type": "raw", "no_log": True},
        "timeout": {"type": "str"},
        "retries": {"type": "int"},
    }
)

_PREFIX = "ANSIBLE_HASHI_VAULT_"
_OTHER_NAMES = MappingProxyType({"url": "ADDR"})
_TOKENS = ("ANSIBLE_HASHI_VAULT_TOKEN", "VAULT_TOKEN")


def _text(name: str, value: Any, context: Context) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return json.dumps(value)
    if VAULT_OPTIONS[name].get("no_log") and looks_like_reference(value):
        return resolve(value, context, name).reveal()
    return str(value)


def _method(given: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """The method that the options mean where none is named.

    :raises BadInput: when they could mean two.
    """
    if {"token", "token_path", "token_file"} & set(given):
        return TOKEN
    if "secret_id" in given:
        return APPROLE
    named = environ.get(f"{_PREFIX}AUTH_METHOD") or environ.get("VAULT_AUTH_METHOD") or ""
    if "jwt" in given and named not in (JWT, KUBERNETES):
        raise BadInput("auth_method: a jwt was given; say whether it is for 'jwt' or 'kubernetes'")
    return CERT if "cert_auth_public_key" in given and not named else named


def to_the_node(context: Context) -> Context:
    """The context in which a Vault is asked itself, and no agent before it.

    An agent would be given shares of the unseal key, would show its own certificate, and adds its token to what is asked as nobody.
    """
    environ = {name: value for name, value in context.environ.items() if name != AGENT}
    return replace(context, environ=environ)


def with_vault_options(params: Mapping[str, Any], context: Context) -> Context:
    """The context in which references to Vault mean what the options say; options count before the environment.

    :raises BadInput: when the options contradict each other.
    :raises KeyturnError: as the reference that a secret option may be gives cause.
    """
    given = {name: params[name] for name in VAULT_OPTIONS if params.get(name) not in (None, "")}
    over: Dict[str, str] = {
        f"{_PREFIX}{_OTHER_NAMES.get(name, name.upper())}": _text(name, value, context)
        for name, value in given.items()
    }
    environ = dict(context.environ)
    if {"token_path", "token_file"} & set(given):
        for name in _TOKENS:
            environ.pop(name, None)
    method = given.get("auth_method") or _method(given, environ)
    if method:
        over[f"{_PREFIX}AUTH_METHOD"] = method
    return replace(context, environ={**environ, **over})
