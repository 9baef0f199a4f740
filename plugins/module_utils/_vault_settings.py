# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Vault, and as whom: from a reference's parameters and the environment.

The names are those of Vault's own command line and of ``community.hashi_vault``; where both are set, the latter's count, as
there. A reference's parameters count before both.

=============  ==========================================================================================
address        ``?address=``, ANSIBLE_HASHI_VAULT_ADDR, VAULT_ADDR
namespace      ``?namespace=``, ANSIBLE_HASHI_VAULT_NAMESPACE, VAULT_NAMESPACE
CA             ANSIBLE_HASHI_VAULT_CA_CERT, VAULT_CACERT (a file), VAULT_CAPATH (a directory)
no TLS check   ANSIBLE_HASHI_VAULT_VALIDATE_CERTS=false, VAULT_SKIP_VERIFY=true
client         VAULT_CLIENT_CERT, VAULT_CLIENT_KEY (for a listener that asks for certificates)
method         ANSIBLE_HASHI_VAULT_AUTH_METHOD, VAULT_AUTH_METHOD: token or approle; else what is there, in
               this order: a token in the environment, an AppRole, a token file
token          ``?token_env=``, ANSIBLE_HASHI_VAULT_TOKEN, VAULT_TOKEN
token file     ``?token_file=``, ANSIBLE_HASHI_VAULT_TOKEN_PATH and ..._TOKEN_FILE, VAULT_TOKEN_FILE, ~/.vault-token
AppRole        ANSIBLE_HASHI_VAULT_ROLE_ID and ..._SECRET_ID, VAULT_ROLE_ID and VAULT_SECRET_ID;
               mounted at ANSIBLE_HASHI_VAULT_MOUNT_POINT, VAULT_LOGIN_MOUNT_POINT, else approle
deadline       ANSIBLE_HASHI_VAULT_TIMEOUT, VAULT_CLIENT_TIMEOUT: for one call with all its retries; 10 s
=============  ==========================================================================================
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional, Tuple, Union
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent, BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import read_with_mode
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

DEADLINE = 10.0
_METHODS = ("token", "approle")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TRUE = ("1", "t", "true", "y", "yes", "on")
_FALSE = ("0", "f", "false", "n", "no", "off")


@dataclass(frozen=True)
class VaultSettings:
    """How to reach one Vault.

    :param verify: whether to check the server's certificate, or the CA file or directory to check it against.
    :param role_id: empty for a login by token.
    :param deadline: seconds for one call with its retries.
    """

    address: str
    namespace: Optional[str]
    verify: Union[bool, str]
    client_cert: Optional[Tuple[str, str]]
    token: Optional[Secret]
    role_id: str
    secret_id: Optional[Secret]
    login_mount: str
    deadline: float


class _Reader:
    """The parameters and the environment of one client."""

    def __init__(self, reference: Reference, context: Context, option: str) -> None:
        self.params = reference.params
        self.context = context
        self.option = option

    def env(self, *names: str) -> str:
        """The first of these variables that is set and not empty."""
        return next(
            (self.context.environ[name] for name in names if self.context.environ.get(name)), ""
        )

    def flag(self, name: str) -> Optional[bool]:
        text = self.context.environ.get(name, "").strip().lower()
        if text and text not in _TRUE + _FALSE:
            raise BadInput(f"{self.option}: the environment variable {name} must be true or false")
        return text in _TRUE if text else None

    def address(self) -> str:
        address = self.params.get("address") or self.env("ANSIBLE_HASHI_VAULT_ADDR", "VAULT_ADDR")
        if not address:
            raise BadInput(
                f"{self.option}: the address of Vault is not known; set VAULT_ADDR, or add ?address= to the reference"
            )
        try:
            parts = urlsplit(address)
            good = (
                parts.scheme in ("http", "https")
                and bool(parts.hostname)
                and not parts.username
                and parts.port != 0
            )
        except ValueError:
            good = False
        if not good:
            raise BadInput(
                f"{self.option}: the address of Vault must be a URL such as https://vault.example:8200"
            )
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            self.context.warn(
                f"{self.option}: the address of Vault is plain http: token and secrets travel in the clear; use https"
            )
        return address

    def verify(self) -> Union[bool, str]:
        check = self.flag("ANSIBLE_HASHI_VAULT_VALIDATE_CERTS")
        if check is None:
            check = not self.flag("VAULT_SKIP_VERIFY")
        if not check:
            self.context.warn(
                f"{self.option}: the TLS certificate of Vault is not checked; set VAULT_CACERT to its CA instead"
            )
            return False
        return self.env("ANSIBLE_HASHI_VAULT_CA_CERT", "VAULT_CACERT", "VAULT_CAPATH") or True

    def client_cert(self) -> Optional[Tuple[str, str]]:
        cert, key = self.env("VAULT_CLIENT_CERT"), self.env("VAULT_CLIENT_KEY")
        return (cert, key) if cert and key else None

    def deadline(self) -> float:
        text = self.env("ANSIBLE_HASHI_VAULT_TIMEOUT", "VAULT_CLIENT_TIMEOUT")
        return (
            parse_duration(text, f"{self.option}: VAULT_CLIENT_TIMEOUT").total_seconds()
            if text
            else DEADLINE
        )

    def token(self) -> Optional[Secret]:
        """The token in the environment."""
        if "token_env" not in self.params:
            text = self.env("ANSIBLE_HASHI_VAULT_TOKEN", "VAULT_TOKEN")
            return Secret(text) if text else None
        name = self.params["token_env"]
        if not self.env(name):
            raise Absent(
                f"{self.option}: the environment variable {name}, which token_env names, is not set"
            )
        return Secret(self.env(name))

    def token_file(self) -> Optional[Secret]:
        path = self.params.get("token_file")
        if not path:
            name = self.env("ANSIBLE_HASHI_VAULT_TOKEN_FILE", "VAULT_TOKEN_FILE") or ".vault-token"
            path = os.path.join(self.env("ANSIBLE_HASHI_VAULT_TOKEN_PATH", "HOME") or "~", name)
        found = read_with_mode(os.path.expanduser(path), f"{self.option}: Vault's token file")
        if found is None:
            if "token_file" in self.params:
                raise Absent(f"{self.option}: there is no file {path}, which token_file names")
            return None
        if found[1] & 0o077:
            self.context.warn(
                f"{self.option}: Vault's token file {path} has mode {found[1]:04o}; only its owner should read it: chmod 600"
            )
        text = found[0].decode("utf-8", "replace").strip()
        return Secret(text) if text else None

    def approle(self) -> Tuple[str, Optional[Secret]]:
        role = self.env("ANSIBLE_HASHI_VAULT_ROLE_ID", "VAULT_ROLE_ID")
        secret = self.env("ANSIBLE_HASHI_VAULT_SECRET_ID", "VAULT_SECRET_ID")
        return role, Secret(secret) if secret else None

    def identity(self) -> Tuple[Optional[Secret], str, Optional[Secret]]:
        """Token, role id and secret id: a token, or an AppRole, never both."""
        method = self.env("ANSIBLE_HASHI_VAULT_AUTH_METHOD", "VAULT_AUTH_METHOD")
        if method and method not in _METHODS:
            raise BadInput(
                f"{self.option}: '{method}' is no way to log in to Vault here; expected {' or '.join(_METHODS)}"
            )
        if {"token_env", "token_file"} & set(self.params):
            method = "token"
        named_file = "token_file" in self.params and "token_env" not in self.params
        role, secret_id = self.approle()
        token = None if method == "approle" or named_file else self.token()
        if token is None and method != "token" and role and (secret_id or method == "approle"):
            return None, role, secret_id
        if method != "approle" and token is None:
            token = self.token_file()
        if token is None:
            missing = (
                "VAULT_ROLE_ID and VAULT_SECRET_ID"
                if method == "approle"
                else "VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID"
            )
            raise BadInput(
                f"{self.option}: no credentials for Vault; set {missing}, or log in so that there is a token file"
            )
        return token, "", None


def vault_settings(reference: Reference, context: Context, option: str) -> VaultSettings:
    """How to reach the Vault of a reference.

    :raises BadInput, Absent, Denied: when something is missing or has a wrong form; naming the variable, never its value.
    """
    reader = _Reader(reference, context, option)
    token, role_id, secret_id = reader.identity()
    return VaultSettings(
        address=reader.address(),
        namespace=reference.params.get("namespace")
        or reader.env("ANSIBLE_HASHI_VAULT_NAMESPACE", "VAULT_NAMESPACE")
        or None,
        verify=reader.verify(),
        client_cert=reader.client_cert(),
        token=token,
        role_id=role_id,
        secret_id=secret_id,
        login_mount=reader.env("ANSIBLE_HASHI_VAULT_MOUNT_POINT", "VAULT_LOGIN_MOUNT_POINT")
        or "approle",
        deadline=reader.deadline(),
    )
