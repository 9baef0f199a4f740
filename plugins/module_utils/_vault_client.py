# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to ask HashiCorp Vault (or OpenBao) something: login, deadline, retries, and errors in this collection's words."""

from __future__ import annotations

import os
from datetime import datetime
from time import sleep as pause_for
from typing import Any, Callable, Dict, Optional
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    MissingLibrary,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._tries import Tries
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_errors import (
    NOT_VAULTS,
    answer_of,
    explain,
    is_from_vault,
    is_passing,
    may_be_done,
    never_sent,
    said,
    unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_identity import APPROLE, NONE
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_session import shared_session
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


def _check_files(settings: VaultSettings, option: str) -> None:
    """Look for the files of the connection: requests says nothing that could be told apart of one that is not there.

    :raises BadInput: naming the file, and what names that.
    """
    own = settings.client_cert or ()
    pair = (own,) if isinstance(own, str) else own
    files = dict.fromkeys(pair, "the client's own certificate or its key: VAULT_CLIENT_CERT")
    if isinstance(settings.verify, str):
        files[settings.verify] = (
            "the certificates of the authorities to trust: 'ca_cert', ANSIBLE_HASHI_VAULT_CA_CERT or VAULT_CACERT"
        )
    for path, meaning in files.items():
        if not os.path.exists(path):
            raise BadInput(
                f"{option}: there is no file {path} on the machine where this task runs; correct what names {meaning}"
            )


class VaultClient:
    """What one option, or one reference, asks of a Vault.

    :ivar address: scheme, host and port.
    :ivar named: the address, and the namespace where there is one, for messages.
    :ivar option: where the reference came from, for messages.
    :ivar engines: the version of each KV engine by its mount, as far as it was asked.
    """

    def __init__(
        self,
        settings: VaultSettings,
        context: Context,
        option: str,
        sleep: Callable[[float], None] = pause_for,
    ) -> None:
        if not HAS_HVAC:
            raise MissingLibrary(
                f"{option}: Vault needs the Python library hvac where this task runs; install it: pip install hvac"
            )
        parts = urlsplit(settings.address)
        port = f":{parts.port}" if parts.port else ""
        self.address = f"{parts.scheme}://{parts.hostname}{port}"
        namespace = f" (namespace {settings.namespace})" if settings.namespace else ""
        self.named = self.address + namespace
        self._settings = settings
        self._context = context
        self.option = option
        self._sleep = sleep
        if parts.scheme == "https":
            _check_files(settings, option)
        self._session = shared_session(settings, context)
        self.engines: Dict[str, str] = self._session.engines

    def __repr__(self) -> str:
        return f"VaultClient({self.named})"

    def time(self) -> Optional[datetime]:
        """What the server's clock says now, to the second; none before its first answer."""
        return self._session.time()

    def call(
        self,
        place: str,
        what: str,
        function: Callable[[Any], Any],
        writes: bool = False,
        absent: Optional[Callable[[Any], Any]] = None,
        repeats: bool = False,
    ) -> Any:
        """Ask Vault something, again while it is only busy, until the deadline.

        :param place: what it is about, for messages: ``Vault path secret/x``.
        :param what: what is done, for messages: ``read it``.
        :param function: gets the hvac client; its result is the answer.
        :param writes: the call changes something: it is sent again only where the first one took no effect.
        :param absent: makes the answer of "no such secret", from what Vault says of it beside that; else it raises Absent.
        :param repeats: a write does no harm when it is sent again after it took effect: with check-and-set that is refused, and
            another one changes nothing then. So it is sent again, too, when what stands before Vault answers 503.
        :raises Absent, BadInput, Conflict, Denied, Sealed, Unreachable: ``details["uncertain"]`` tells that a write may have
            been done all the same.
        """
        session = self._session
        session.begin(self._settings.deadline)
        if session.needs_login():
            # A secret id may be good for one login only.
            once = self._settings.identity.method == APPROLE
            login = f"{self.option}: Vault login"
            try:
                self._retried(login, "log in", lambda: session.log_in(self.option), once, True)
            except KeyturnError as error:
                # Nothing was written yet, whatever became of the login.
                error.details["uncertain"] = False
                raise
        where = f"{self.option}: {place}"
        return self._retried(where, what, lambda: self._ask(function, absent), writes, repeats)

    def _ask(self, function: Callable[[Any], Any], absent: Optional[Callable[[Any], Any]]) -> Any:
        try:
            return self._answer(function, absent)
        except hvac.exceptions.Forbidden as error:
            if not self._session.is_lost(error):
                raise
        # It took no effect, so it can be asked again, also if it writes.
        self._session.log_in_again(self.option)
        return self._answer(function, absent)

    def _answer(
        self, function: Callable[[Any], Any], absent: Optional[Callable[[Any], Any]]
    ) -> Any:
        try:
            return function(self._session.client)
        except hvac.exceptions.InvalidPath as error:
            if absent is None or said(error, "no handler for route") or not is_from_vault(error):
                raise
            return absent(answer_of(error))

    def _retried(
        self, where: str, what: str, function: Callable[[], Any], writes: bool, repeats: bool
    ) -> Any:
        session, uncertain = self._session, False
        tries = Tries(session.left, self._sleep, self._context.randbytes, self._settings.retries)
        while True:
            try:
                return function()
            except (hvac.exceptions.VaultError, requests.exceptions.RequestException) as error:
                caught = error
            except NOT_VAULTS as error:
                meant = unreachable(error, where, self.named)
                meant.details["uncertain"] = writes
                raise meant from None
            # Where nothing was answered, nobody asked for a pause.
            answered = isinstance(caught, hvac.exceptions.VaultError)
            asked = session.pause_asked if answered else 0.0
            if not is_passing(caught, writes, repeats) or not tries.again(asked):
                meant = explain(caught, where, what, self.named)
                meant.details["uncertain"] = writes and (uncertain or may_be_done(caught))
                if isinstance(meant, Denied) and self._settings.identity.method == NONE:
                    meant.message += ". No token was sent from here: see whether the agent or proxy there has logged in and adds its own"
                raise meant
            uncertain = uncertain or not never_sent(caught)


def open_vault(reference: Reference, context: Context, option: str) -> VaultClient:
    """A client for the Vault that a reference and the environment name; connects at the first call.

    :raises BadInput: when address or credentials are missing or wrong in form.
    :raises MissingLibrary: without hvac.
    """
    return VaultClient(vault_settings(reference, context, option), context, option)
