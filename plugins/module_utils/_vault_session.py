# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to a Vault with one identity, shared by all that a task does there; it logs in once.

A token that was made for this task is renewed when less than a third of its time is left, or another is made where that does
not help, and it is revoked at the end. A token that was given is neither renewed nor revoked: whoever made it uses it elsewhere.
A task has a process of its own, so a task is the longest that a login can be shared.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Dict, Optional, Tuple
from urllib.parse import quote

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_told import (
    ServerClock,
    wished_seconds,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_errors import (
    NOT_VAULTS,
    is_from_vault,
    said,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_http import in_time
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_identity import (
    APPROLE,
    CERT,
    KUBERNETES,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_settings import VaultSettings
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_wrapping import (
    speaking_as,
    unwrap,
)

_REFUSALS: Tuple[Any, ...] = ()
try:
    import hvac
    import hvac.exceptions
    import requests

    _REFUSALS = (
        hvac.exceptions.Forbidden,
        hvac.exceptions.InvalidPath,
        hvac.exceptions.InvalidRequest,
    )
except ImportError:
    # Said in the client, with the name of the option.
    pass

_TO_REVOKE = 2.0
"""Seconds for the revocation: a server that is down must not hold up a task that is done."""


@dataclass(frozen=True)
class Login:
    """What a login gave.

    :param seconds: how long the token lasts from then on; 0: for ever.
    :param until: when that is, by this process's clock.
    """

    token: Secret
    seconds: float
    until: float
    renewable: bool
    revocable: bool

    @classmethod
    def of(cls, answer: Any) -> Login:
        """The login that an answer of Vault is."""
        auth = answer["auth"]
        seconds = float(auth["lease_duration"])
        return cls(
            token=Secret(str(auth["client_token"])),
            seconds=seconds,
            until=time.monotonic() + seconds,
            renewable=bool(auth.get("renewable")),
            revocable=auth.get("token_type") != "batch",
        )

    def is_ending(self) -> bool:
        """Whether less than a third of its time is left."""
        return self.seconds > 0 and self.until - time.monotonic() < self.seconds / 3


class VaultSession:
    """One connection, one identity.

    :ivar client: hvac's client.
    :ivar engines: what is mounted where, as far as it was asked: the version of each KV engine by its mount.
    :ivar pause_asked: the seconds that the last answer asked to wait before another try.
    """

    def __init__(self, settings: VaultSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._end = 0.0
        self._clock = ServerClock(context.now)
        self._login: Optional[Login] = None
        self._secret = settings.identity.secret
        self._last = False
        self.pause_asked = 0.0
        self.engines: Dict[str, str] = {}
        self.client = self._connect()

    def __repr__(self) -> str:
        return f"VaultSession({self._settings.address})"

    def _connect(self) -> Any:
        settings = self._settings
        session = in_time(self, settings.address, settings.proxies)
        session.verify, session.cert = settings.verify, settings.client_cert
        token = "" if settings.identity.logs_in or not self._secret else self._secret.reveal()
        # The token is passed on even if it is empty: hvac would else look for one on its own.
        return hvac.Client(
            url=settings.address,
            token=token,
            verify=settings.verify,
            cert=settings.client_cert,
            namespace=settings.namespace,
            session=session,
        )

    def begin(self, seconds: float) -> None:
        """Start the clock of a call.

        :param seconds: its deadline.
        """
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the call's deadline."""
        return self._end - time.monotonic()

    def hear(self, headers: Any) -> None:
        """Keep what an answer tells beside its content: the server's clock and how long to wait."""
        self.pause_asked = wished_seconds(headers.get("Retry-After"))
        self._clock.hear(headers.get("Date"))

    def time(self) -> Optional[datetime]:
        """What the server's clock says now, to the second; none before its first answer."""
        return self._clock.time()

    # The login

    def needs_login(self) -> bool:
        """Whether there is no token yet, or the one that was made here is about to end."""
        if not self._settings.identity.logs_in:
            return False
        return self._login is None or (self._login.is_ending() and not self._last)

    def log_in(self, option: str) -> None:
        """Log in; a login that is there is renewed, or replaced where that does not help.

        :raises Denied: when Vault refuses it; naming what may be wrong, never a value.
        """
        before = self._login
        if before is None:
            self._use(self._new_login(option))
        elif not self._renewed(before):
            try:
                self._use(self._new_login(option))
            except Denied:
                # A secret id that can be used once. What is there still works, until it ends.
                self._last = True
                return
            self._revoke(before)

    def is_lost(self, error: Any) -> bool:
        """Whether the token that was made here is good no more, so that another may be asked for."""
        return self._login is not None and said(error, "invalid token")

    def log_in_again(self, option: str) -> None:
        """Replace a token that ended before its time.

        :raises Denied: when Vault refuses it.
        """
        self._login = None
        self.client.token = ""
        if self._last:
            raise Denied(
                f"{option}: the token of this task's login ended, and Vault refused another login before. Give the role a longer "
                "token_max_ttl, or the secret id more uses (secret_id_num_uses)"
            )
        self._use(self._new_login(option))

    def _use(self, login: Login) -> None:
        self._login = login
        self.client.token = login.token.reveal()

    def _renewed(self, login: Login) -> bool:
        """Whether the token now lasts long enough. Vault gives less than asked for near the end of its whole life."""
        if not login.renewable:
            return False
        try:
            renewed = Login.of(self.client.adapter.post("/v1/auth/token/renew-self", json={}))
        except (hvac.exceptions.VaultError, requests.exceptions.RequestException, *NOT_VAULTS):
            # Whatever it was, another login does as well.
            return False
        # Vault counts in whole seconds.
        if renewed.seconds - 1 < login.seconds / 3:
            return False
        self._use(replace(renewed, seconds=login.seconds))
        return True

    def _new_login(self, option: str) -> Login:
        identity = self._settings.identity
        try:
            self._secret = self._unwrapped(option)
            answer = self.client.adapter.post(
                f"/v1/auth/{quote(identity.mount)}/login", json=self._credentials()
            )
        except _REFUSALS as error:
            if not is_from_vault(error):
                raise
            raise self._refused(option, error) from None
        return Login.of(answer)

    def _unwrapped(self, option: str) -> Optional[Secret]:
        """The secret id; one that comes wrapped is taken out once and kept."""
        identity = self._settings.identity
        if identity.wrapped and self._secret is identity.secret and self._secret is not None:
            return unwrap(self.client, self._secret, identity.mount, option)
        return self._secret

    def _credentials(self) -> Dict[str, str]:
        identity = self._settings.identity
        secret = self._secret.reveal() if self._secret else ""
        if identity.method == APPROLE:
            return {"role_id": identity.role, "secret_id": secret}
        if identity.method == CERT:
            return {"name": identity.role} if identity.role else {}
        return {"role": identity.role, "jwt": secret}

    def _refused(self, option: str, error: Any) -> Denied:
        identity = self._settings.identity
        causes = {
            APPROLE: "role id or secret id is wrong, used up or removed, or this machine's address is not allowed. Make a new secret id",
            CERT: "no role there accepts this certificate. Check that its CA is the role's, its name is allowed and it has not expired",
            KUBERNETES: "the role does not take this service account, namespace or audience, the token has ended, or Vault could not "
            "ask the cluster about it. Compare the role with the pod; as whom Vault asks, that account needs system:auth-delegator, and "
            "Vault's log tells of it",
        }
        jwt = "the role does not take this token: its issuer, audience, subject or claims differ, it has ended, or there is no such role"
        cause = causes.get(identity.method, jwt)
        name = {APPROLE: "AppRole"}.get(identity.method, identity.method)
        # A token that an agent adds makes this of what is else a denial.
        if isinstance(error, hvac.exceptions.InvalidPath):
            cause = "nothing is mounted there. Correct the mount point"
        return Denied(f"{option}: Vault refuses the {name} login at '{identity.mount}': {cause}")

    # The end

    def _revoke(self, login: Login) -> bool:
        """Revoke a token that was made here."""
        if not login.revocable:
            return True
        try:
            with speaking_as(self.client, login.token):
                self.client.adapter.post("/v1/auth/token/revoke-self", json={})
        except hvac.exceptions.Forbidden as error:
            # It had ended before, or the policy leaves it no right to end itself.
            return said(error, "invalid token")
        except (hvac.exceptions.VaultError, requests.exceptions.RequestException):
            return False
        except NOT_VAULTS:
            return False
        return True

    def close(self) -> None:
        """Revoke the token that was made here, and hang up."""
        login, self._login = self._login, None
        if login is not None:
            self.begin(min(_TO_REVOKE, self._settings.deadline))
            if not self._revoke(login):
                self._context.warn(
                    f"Vault at {self._settings.address}: the token that was made for this task could not be revoked; it ends by itself "
                    f"in {max(0, int(login.until - time.monotonic()))} seconds. Its policy needs 'update' on 'auth/token/revoke-self'"
                )
            self.client.token = ""
        self.client.adapter.close()


def shared_session(settings: VaultSettings, context: Context) -> VaultSession:
    """The session of this task with this Vault and identity: made when it is first asked for, and closed with the context."""
    key = replace(settings, deadline=0.0, retries=None)
    if key not in context.sessions:
        context.sessions[key] = VaultSession(settings, context)
    session: VaultSession = context.sessions[key]
    return session
