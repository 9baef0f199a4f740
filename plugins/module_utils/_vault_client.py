# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one connection to HashiCorp Vault (or OpenBao): login, deadline, retries, and what an error means.

Errors keep four things apart: *absent* (Vault said that there is no such thing), *denied*, *sealed* and *unreachable*. Of
what Vault or the HTTP library say, nothing is passed on: their texts quote URLs, and a proxy's page may hold anything.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Callable, Optional
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    MissingLibrary,
    Sealed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_settings import (
    VaultSettings,
    vault_settings,
)

try:
    import hvac
    import hvac.exceptions
    import requests

    HAS_HVAC = True
except ImportError:
    HAS_HVAC = False

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_NOT_CONNECTED = ("NewConnectionError", "NameResolutionError")
_NOT_ACTIVE = ("local node not active", "active cluster node not found")


def _said(error: Any, *texts: str) -> bool:
    """Whether Vault's own error list has one of these texts in it."""
    listed = error.errors if isinstance(error.errors, list) else []
    return any(text in str(item) for item in listed for text in texts)


def is_passing(error: Exception, writes: bool) -> bool:
    """Whether the same call may succeed in a moment, and could not have taken effect if it writes."""
    if isinstance(error, hvac.exceptions.RateLimitExceeded):
        return True
    if isinstance(error, hvac.exceptions.VaultDown):
        return not _said(error, "Vault is sealed")
    if isinstance(error, hvac.exceptions.InvalidRequest):
        # A KV engine that was mounted a moment ago is still being made ready.
        return _said(error, "Upgrading from non-versioned")
    if isinstance(error, hvac.exceptions.InternalServerError):
        # Right after an unseal, a node answers like this for about 0.1 s.
        return not writes or _said(error, *_NOT_ACTIVE)
    return isinstance(error, hvac.exceptions.BadGateway) and not writes


def _may_be_done(error: Exception) -> bool:
    """Whether a write could have taken effect although its answer did not come."""
    if isinstance(error, (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError)):
        return False
    if isinstance(error, requests.exceptions.ConnectionError):
        cause = getattr(error.args[0] if error.args else None, "reason", None)
        return type(cause).__name__ not in _NOT_CONNECTED
    lost = (
        requests.exceptions.RequestException,
        hvac.exceptions.BadGateway,
        hvac.exceptions.UnexpectedError,
    )
    return isinstance(error, (hvac.exceptions.InternalServerError, *lost))


def _denied(error: Any, where: str, what: str) -> Denied:
    if _said(error, "invalid token"):
        return Denied(
            f"{where}: Vault does not know the token: it is wrong, expired, revoked or used up. Log in again and hand over the "
            "new one (VAULT_TOKEN, or an AppRole)"
        )
    return Denied(
        f"{where}: Vault denies this token to {what}. Add the path to its policy; if it is there, check the mount: to a "
        "token without rights Vault answers the same for a path that is not mounted"
    )


def _unreachable(error: Exception, where: str, address: str) -> KeyturnError:
    if isinstance(error, requests.exceptions.SSLError):
        return Unreachable(
            f"{where}: the TLS certificate of {address} was not accepted; set VAULT_CACERT to its CA, and check the name, the "
            "expiry and this machine's clock"
        )
    if isinstance(error, requests.exceptions.Timeout):
        return Unreachable(
            f"{where}: {address} did not answer in time; check the server, or raise VAULT_CLIENT_TIMEOUT"
        )
    if isinstance(error, requests.exceptions.ConnectionError):
        return Unreachable(
            f"{where}: no connection to {address}; check that Vault runs there, the name and the firewall"
        )
    return Unreachable(
        f"{where}: {address} gave an answer that is not Vault's ({type(error).__name__}); check VAULT_ADDR and what stands between"
    )


def _absent(error: Any, where: str) -> Absent:
    if _said(error, "no handler for route"):
        return Absent(
            f"{where}: nothing is mounted there; mount a KV engine of version 2, or correct the path or its ?mount="
        )
    return Absent(f"{where}: Vault has no such secret")


def _invalid(error: Any, where: str, what: str) -> KeyturnError:
    if _said(error, "check-and-set parameter did not match"):
        return Conflict(f"{where}: somebody else wrote there first; nothing was written. Run again")
    return BadInput(
        f"{where}: Vault refuses the request to {what} as invalid; check the path and that the engine is KV version 2"
    )


def _by_kind(error: Exception, where: str, what: str) -> Optional[KeyturnError]:
    if isinstance(error, (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized)):
        return _denied(error, where, what)
    if isinstance(error, hvac.exceptions.InvalidPath):
        return _absent(error, where)
    if isinstance(error, hvac.exceptions.InvalidRequest):
        return _invalid(error, where, what)
    if isinstance(error, hvac.exceptions.VaultDown) and _said(error, "Vault is sealed"):
        return Sealed(f"{where}: Vault is sealed or not initialised; unseal it, then run again")
    return None


def explain(error: Exception, where: str, what: str, address: str) -> KeyturnError:
    """The error of this collection for one of hvac or requests; no text of either is in it."""
    known = _by_kind(error, where, what)
    if known:
        return known
    if isinstance(error, hvac.exceptions.RateLimitExceeded):
        return Unreachable(
            f"{where}: Vault limits the rate of requests and still did at the deadline; run again later or with less forks"
        )
    if isinstance(error, hvac.exceptions.VaultError):
        kind = type(error).__name__
        return Unreachable(
            f"{where}: Vault at {address} has a trouble of its own ({kind}); see its log, then run again"
        )
    return _unreachable(error, where, address)


class VaultClient:
    """One login at one Vault.

    :ivar address: scheme, host and port, for messages.
    :ivar option: where the reference came from, for messages.
    """

    def __init__(
        self,
        settings: VaultSettings,
        context: Context,
        option: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not HAS_HVAC:
            raise MissingLibrary(
                f"{option}: Vault needs the Python library hvac where this task runs; install it: pip install hvac"
            )
        parts = urlsplit(settings.address)
        port = f":{parts.port}" if parts.port else ""
        self.address = f"{parts.scheme}://{parts.hostname}{port}"
        self._settings = settings
        self._context = context
        self.option = option
        self._sleep = sleep
        self._end = 0.0
        self._ahead: Optional[timedelta] = None
        self._logged_in = settings.role_id == ""
        self._client = self._connect()

    def __repr__(self) -> str:
        return f"VaultClient({self.address})"

    def _connect(self) -> Any:
        settings = self._settings
        left, heard = self._left, self._hear_clock

        class InTime(requests.Session):
            """Gives each request no more than what is left of the deadline."""

            def request(self, *args: Any, **kwargs: Any) -> Any:
                answer = super().request(*args, **{**kwargs, "timeout": max(0.05, left())})
                heard(answer.headers.get("Date"))
                return answer

        session = InTime()
        session.verify = settings.verify
        # The token is passed on even if it is empty: hvac would else look for one on its own.
        return hvac.Client(
            url=settings.address,
            token=settings.token.reveal() if settings.token else "",
            verify=settings.verify,
            cert=settings.client_cert,
            namespace=settings.namespace,
            session=session,
        )

    def _hear_clock(self, date: Optional[str]) -> None:
        """Keep how far the server's clock is ahead of ours: every answer of HTTP tells its time, in whole seconds (RFC 9110, 6.6.1)."""
        try:
            told = parsedate_to_datetime(date or "")
        except (TypeError, ValueError):
            return
        if told.tzinfo is not None:
            self._ahead = told - self._context.now()

    def time(self) -> Optional[datetime]:
        """What the server's clock says now, to the second; none before its first answer."""
        return None if self._ahead is None else self._context.now() + self._ahead

    def _left(self) -> float:
        return self._end - time.monotonic()

    def call(
        self,
        place: str,
        what: str,
        function: Callable[[Any], Any],
        writes: bool = False,
        absent: Optional[Callable[[Any], Any]] = None,
    ) -> Any:
        """Ask Vault something, again while it is only busy, until the deadline.

        :param place: what it is about, for messages: ``Vault path secret/x``.
        :param what: what is done, for messages: ``read it``.
        :param function: gets the hvac client; its result is the answer.
        :param writes: the call changes something: it is sent again only where the first one took no effect.
        :param absent: makes the answer of "no such secret", from what Vault says of it beside that; else it raises Absent.
        :raises Absent, BadInput, Conflict, Denied, Sealed, Unreachable: ``details["uncertain"]`` tells that a write may have
            been done all the same.
        """
        self._end = time.monotonic() + self._settings.deadline
        where = f"{self.option}: {place}"
        if not self._logged_in:
            self._retried(f"{self.option}: Vault login", "log in", self._log_in, writes=False)
            self._logged_in = True
        return self._retried(where, what, lambda: self._ask(function, absent), writes)

    def _ask(self, function: Callable[[Any], Any], absent: Optional[Callable[[Any], Any]]) -> Any:
        try:
            return function(self._client)
        except hvac.exceptions.InvalidPath as error:
            if absent is None or _said(error, "no handler for route"):
                raise
            return absent(error.json)

    def _retried(self, where: str, what: str, function: Callable[[], Any], writes: bool) -> Any:
        pause = _FIRST_PAUSE
        uncertain = False
        while True:
            try:
                return function()
            except (hvac.exceptions.VaultError, requests.exceptions.RequestException) as error:
                wait = pause * (0.5 + self._context.randbytes(1)[0] / 255)
                if not is_passing(error, writes) or wait >= self._left():
                    meant = explain(error, where, what, self.address)
                    meant.details["uncertain"] = writes and (uncertain or _may_be_done(error))
                    raise meant from None
                uncertain = writes
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                # hvac takes for granted that an answer is the JSON it expects.
                meant = _unreachable(error, where, self.address)
                meant.details["uncertain"] = writes
                raise meant from None
            self._sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _log_in(self) -> None:
        settings = self._settings
        secret = settings.secret_id.reveal() if settings.secret_id else ""
        try:
            self._client.auth.approle.login(
                settings.role_id, secret, mount_point=settings.login_mount
            )
        except hvac.exceptions.InvalidRequest:
            raise Denied(
                f"{self.option}: Vault refuses the AppRole login at '{settings.login_mount}': role id or secret id is wrong, "
                "used up or removed, or this machine's address is not allowed. Make a new secret id"
            ) from None


def open_vault(reference: Reference, context: Context, option: str) -> VaultClient:
    """A client for the Vault that a reference and the environment name; connects at the first call.

    :raises BadInput: when address or credentials are missing or wrong in form.
    :raises MissingLibrary: without hvac.
    """
    return VaultClient(vault_settings(reference, context, option), context, option)
