# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As whom to speak to Vault: a token that is there, or what a login needs.

=============  ==========================================================================================
method         ANSIBLE_HASHI_VAULT_AUTH_METHOD, VAULT_AUTH_METHOD: one of :data:`METHODS`; else what is there, in this
               order: a token in the environment, an AppRole, a token file
mounted at     ANSIBLE_HASHI_VAULT_MOUNT_POINT, VAULT_LOGIN_MOUNT_POINT, else the method's own name
token          ``?token_env=``, ANSIBLE_HASHI_VAULT_TOKEN, VAULT_TOKEN
token file     ``?token_file=``, ANSIBLE_HASHI_VAULT_TOKEN_PATH and ..._TOKEN_FILE, VAULT_TOKEN_FILE, ~/.vault-token
approle        ANSIBLE_HASHI_VAULT_ROLE_ID and ..._SECRET_ID, VAULT_ROLE_ID and VAULT_SECRET_ID; with
               ANSIBLE_HASHI_VAULT_SECRET_ID_WRAPPED or VAULT_SECRET_ID_WRAPPED the latter is a wrapping token
jwt            ANSIBLE_HASHI_VAULT_JWT, as the role ..._ROLE_ID
kubernetes     the same; without a JWT the pod's own service account token is read
cert           ANSIBLE_HASHI_VAULT_CERT_AUTH_PUBLIC_KEY and ..._PRIVATE_KEY, else VAULT_CLIENT_CERT and VAULT_CLIENT_KEY; as the
               role ..._ROLE_ID, or as whichever fits
none           nothing: an agent or a proxy adds the token; also where VAULT_AGENT_ADDR is used and there is nothing else, not even a
               part of what another method needs
=============  ==========================================================================================
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Optional, Tuple, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import TASK_VARIABLES
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Denied
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import read_with_mode
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

TOKEN, APPROLE, JWT, KUBERNETES, CERT, NONE = (
    "token",
    "approle",
    "jwt",
    "kubernetes",
    "cert",
    "none",
)
AGENT = "VAULT_AGENT_ADDR"
METHODS = (TOKEN, APPROLE, JWT, KUBERNETES, CERT, NONE)
# Each is a part of what a login needs, or a method's that has to be named. An agent's identity must not stand in for such a one.
_PARTS = (
    "ANSIBLE_HASHI_VAULT_ROLE_ID",
    "VAULT_ROLE_ID",
    "ANSIBLE_HASHI_VAULT_SECRET_ID",
    "VAULT_SECRET_ID",
    "ANSIBLE_HASHI_VAULT_JWT",
    "ANSIBLE_HASHI_VAULT_CERT_AUTH_PUBLIC_KEY",
    "ANSIBLE_HASHI_VAULT_TOKEN_FILE",
    "VAULT_TOKEN_FILE",
    "ANSIBLE_HASHI_VAULT_TOKEN_PATH",
)
POD_IDENTITY = "/var/run/secrets/kubernetes.io/serviceaccount/token"


@dataclass(frozen=True)
class Identity:
    """As whom.

    :param method: one of :data:`METHODS`.
    :param mount: where the method is mounted.
    :param role: the AppRole's role id, or the role's name.
    :param secret: the token, the secret id, the wrapping token, or the JWT.
    :param wrapped: the secret is a wrapping token of a secret id.
    :param certificate: the files of the certificate and its key; one file alone holds both.
    """

    method: str
    mount: str = ""
    role: str = ""
    secret: Optional[Secret] = None
    wrapped: bool = False
    certificate: Union[str, Tuple[str, str], None] = None

    @property
    def logs_in(self) -> bool:
        """Whether a token has to be asked for first."""
        return self.method not in (TOKEN, NONE)


class IdentityReader(ABC):
    """What the parameters of a reference and the environment say of an identity."""

    def __init__(self, reference: Reference, context: Context, option: str) -> None:
        self.params = reference.params
        self.context = context
        self.option = option

    def env(self, *names: str) -> str:
        """The first of these variables that is set and not empty."""
        return next(
            (self.context.environ[name] for name in names if self.context.environ.get(name)), ""
        )

    def agent(self) -> str:
        """The address of an agent or a proxy that adds the token, unless another address is named before it.

        A task whose own ``environment`` names a Vault means that one, and not an agent that the run has from elsewhere.
        """
        own = self.context.environ.get(TASK_VARIABLES, "").split()
        if self.params.get("address") or self.env("ANSIBLE_HASHI_VAULT_ADDR"):
            return ""
        return "" if "VAULT_ADDR" in own and AGENT not in own else self.env(AGENT)

    @abstractmethod
    def flag(self, name: str) -> Optional[bool]:
        """What a variable says that is true, false or not set.

        :raises BadInput: for any other text.
        """

    def identity(self) -> Identity:
        """As whom, by the method that is named, or by what is there.

        :raises BadInput, Denied: when something is missing or cannot be read.
        """
        method = self._method()
        if method == NONE:
            return Identity(NONE)
        if method in (JWT, KUBERNETES):
            return self._by_jwt(method)
        if method == CERT:
            return self._by_certificate()
        return self._by_token_or_approle(method)

    def _method(self) -> str:
        if {"token_env", "token_file"} & set(self.params):
            return TOKEN
        method = self.env("ANSIBLE_HASHI_VAULT_AUTH_METHOD", "VAULT_AUTH_METHOD")
        if method and method not in METHODS:
            raise BadInput(
                f"{self.option}: '{method}' is no way to log in to Vault here; expected {', '.join(METHODS[:-1])} or {METHODS[-1]}"
            )
        return method

    def _mount(self, method: str) -> str:
        given = self.env("ANSIBLE_HASHI_VAULT_MOUNT_POINT", "VAULT_LOGIN_MOUNT_POINT").strip("/")
        return given or method

    def _role(self) -> str:
        return self.env("ANSIBLE_HASHI_VAULT_ROLE_ID", "VAULT_ROLE_ID")

    def _missing(self, method: str, what: str) -> BadInput:
        return BadInput(f"{self.option}: to log in to Vault by {method}, {what}")

    def _by_jwt(self, method: str) -> Identity:
        role = self._role()
        if not role:
            raise self._missing(
                method, "name the role: set ANSIBLE_HASHI_VAULT_ROLE_ID, or role_id"
            )
        text = self.env("ANSIBLE_HASHI_VAULT_JWT")
        if not text and method == JWT:
            raise self._missing(method, "give the token: set ANSIBLE_HASHI_VAULT_JWT, or jwt")
        secret = Secret(text) if text else self._of_the_pod()
        return Identity(method, self._mount(method), role, secret)

    def _of_the_pod(self) -> Secret:
        """Read anew for each login: Kubernetes replaces it long before it ends."""
        found = read_with_mode(POD_IDENTITY, f"{self.option}: the pod's token")
        if found is None:
            raise Denied(
                f"{self.option}: there is no {POD_IDENTITY}, so this is no pod with a service account; give the token as "
                "ANSIBLE_HASHI_VAULT_JWT, or jwt"
            )
        return Secret(found[0].decode("utf-8", "replace").strip())

    def _by_certificate(self) -> Identity:
        names = ("CERT_AUTH_PUBLIC_KEY", "CERT_AUTH_PRIVATE_KEY")
        cert, key = (self.env(f"ANSIBLE_HASHI_VAULT_{name}") for name in names)
        if not cert:
            cert, key = self.env("VAULT_CLIENT_CERT"), self.env("VAULT_CLIENT_KEY")
        if not cert:
            raise self._missing(
                CERT,
                "name the certificate's file: set ANSIBLE_HASHI_VAULT_CERT_AUTH_PUBLIC_KEY, or cert_auth_public_key",
            )
        for path in filter(None, (cert, key)):
            if not os.path.exists(os.path.expanduser(path)):
                raise Denied(
                    f"{self.option}: there is no file {path}, which is to prove who this is to Vault"
                )
        cert, key = os.path.expanduser(cert), os.path.expanduser(key)
        pair: Union[str, Tuple[str, str]] = (cert, key) if key else cert
        return Identity(CERT, self._mount(CERT), self._role(), certificate=pair)

    def _by_token_or_approle(self, method: str) -> Identity:
        named_file = "token_file" in self.params and "token_env" not in self.params
        role, secret_id = self._role(), self._secret_id()
        token = None if method == APPROLE or named_file else self._token()
        if (
            token is None
            and method != TOKEN
            and role
            and (secret_id is not None or method == APPROLE)
        ):
            return Identity(APPROLE, self._mount(APPROLE), role, secret_id, self._is_wrapped())
        if method != APPROLE and token is None:
            token = self._token_file()
        if token is not None:
            return Identity(TOKEN, secret=token)
        part = next((name for name in _PARTS if self.env(name)), "")
        if not method and self.agent() and not part:
            return Identity(NONE)
        raise self._no_credentials(method, part)

    def _no_credentials(self, method: str, part: str) -> BadInput:
        """:param part: the variable with something that is not enough to log in with."""
        missing = (
            "VAULT_ROLE_ID and VAULT_SECRET_ID"
            if method == APPROLE
            else "VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID"
        )
        given = f" ({part} alone is not enough)" if part else ""
        return BadInput(
            f"{self.option}: no credentials for Vault{given}; set {missing}, or log in so that there is a token file"
        )

    def _secret_id(self) -> Optional[Secret]:
        text = self.env("ANSIBLE_HASHI_VAULT_SECRET_ID", "VAULT_SECRET_ID")
        return Secret(text) if text else None

    def _is_wrapped(self) -> bool:
        said = self.flag("ANSIBLE_HASHI_VAULT_SECRET_ID_WRAPPED")
        return bool(self.flag("VAULT_SECRET_ID_WRAPPED") if said is None else said)

    def _token(self) -> Optional[Secret]:
        """The token in the environment."""
        if "token_env" not in self.params:
            text = self.env("ANSIBLE_HASHI_VAULT_TOKEN", "VAULT_TOKEN")
            return Secret(text) if text else None
        name = self.params["token_env"]
        if not self.env(name):
            raise Denied(
                f"{self.option}: the environment variable {name}, which token_env names, is not set"
            )
        return Secret(self.env(name))

    def _token_file(self) -> Optional[Secret]:
        path, named = self.params.get("token_file"), "token_file"
        if not path:
            places = ("ANSIBLE_HASHI_VAULT_TOKEN_FILE", "VAULT_TOKEN_FILE")
            folder = "ANSIBLE_HASHI_VAULT_TOKEN_PATH"
            named = next((name for name in (*places, folder) if self.env(name)), "")
            path = os.path.join(
                self.env(folder, "HOME") or "~", self.env(*places) or ".vault-token"
            )
        found = read_with_mode(os.path.expanduser(path), f"{self.option}: Vault's token file")
        if found is None:
            if named:
                raise Denied(f"{self.option}: there is no file {path}, which {named} names")
            return None
        if found[1] & 0o077:
            self.context.warn(
                f"{self.option}: Vault's token file {path} has mode {found[1]:04o}; only its owner should read it: chmod 600"
            )
        text = found[0].decode("utf-8", "replace").strip()
        return Secret(text) if text else None
