# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ledgers: where the lines of the audit log go."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import Any, Callable, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._file import FileLedger
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._none import NoLedger
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._port import (
    Ledger,
    Reading,
    Review,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    LEDGER_GRAMMAR,
    Reference,
    parse_ledger_reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._throwaway import refuse_throwaway


def _open_file(reference: Reference, context: Context, option: str) -> Ledger:
    path = os.path.expanduser(reference.path)
    if reference.params:
        raise BadInput(
            f"{option}: {reference.text}: a ledger's file has no parameter '{sorted(reference.params)[0]}': its lines hold no secret and "
            "are written as they are"
        )
    if not os.path.isabs(path):
        raise BadInput(
            f"{option}: {reference.text}: a ledger's path must be absolute (three slashes: ref+file:///PATH), so that it does not "
            "depend on where the run was started"
        )
    return FileLedger(path, option)


def _open_vault(reference: Reference, context: Context, option: str) -> Ledger:
    # Imported where it is used: hvac and what it brings are a good part of what a module of its own takes to start.
    from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._vault import (
        open_vault_ledger,
    )

    return open_vault_ledger(reference, context, option)


def _open_syslog(reference: Reference, context: Context, option: str) -> Ledger:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._syslog import (
        open_syslog_ledger,
    )

    return open_syslog_ledger(reference, context, option)


LEDGERS: Mapping[str, Callable[[Reference, Context, str], Ledger]] = MappingProxyType(
    {"file": _open_file, "vault": _open_vault, "syslog": _open_syslog}
)
"""Every place for an audit log, by its reference's scheme."""


BESIDE = "beside"


def beside(keyring: Any, option: str = "keyturn_keyring") -> str:
    """The reference of the ledger beside a keyring, which lasts as long as the keyring does, wherever the run takes place.

    :param keyring: the keyring's reference.
    :raises BadInput: for what is no reference, and for a keyring in a place that keeps no ledger.
    """
    reference = parse_reference(keyring, option)
    place, mark, query = reference.place.partition("?")
    if reference.scheme == "vault":
        return f"{place}.ledger{mark}{query}"
    if reference.scheme == "file":
        return f"{place}.ledger.jsonl"
    raise BadInput(
        f"{option}: {reference.text}: no audit log can be kept beside it; name a place in keyturn_ledger, such as "
        "ref+vault://MOUNT/PATH, ref+file:///PATH or ref+syslog://HOST:PORT"
    )


def open_ledger(
    text: str,
    context: Context,
    option: str = "keyturn_ledger",
    to_verify: bool = False,
    keyring: str = "",
) -> Ledger:
    """The ledger that a reference names; none named gives one that keeps nothing. Nothing is read or sent yet.

    :param text: a reference, ``beside`` or nothing.
    :param keyring: the keyring's reference, for ``beside``.
    :param to_verify: it will only be read, so that a file may be in a place that will be thrown away.
    :raises BadInput: for a scheme that no ledger has, a fragment, or a parameter that makes no sense here.
    :raises Refused: for a file that would be lost with the container it is in.
    """
    if not text:
        return NoLedger()
    reference = parse_ledger_reference(beside(keyring) if text == BESIDE else text, option)
    opener = LEDGERS.get(reference.scheme)
    if opener is None:
        raise BadInput(f"{option}: '{reference.scheme}' is no place for a ledger; {LEDGER_GRAMMAR}")
    if reference.fragment:
        raise BadInput(
            f"{option}: {reference.text}: a ledger fills its place alone; leave out '#' and what follows"
        )
    if reference.scheme == "file" and not to_verify:
        refuse_throwaway(os.path.expanduser(reference.path), context, option)
    return opener(reference, context, option)


__all__ = ["LEDGERS", "FileLedger", "Ledger", "NoLedger", "Reading", "Review", "open_ledger"]
