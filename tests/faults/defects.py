# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defects that are planted into a run of the product, to see that the faults find them. Loaded by the plugin ``kill_at``."""

from __future__ import annotations

import ctypes
import os
from dataclasses import replace
from importlib import import_module
from typing import Any

UTILS = "ansible_collections.keyturn.runbooks.plugins.module_utils"


def unseen_file() -> None:
    """A file that is written past Python's audit, with each step of the keyring."""
    libc, path = ctypes.CDLL(None), os.environ["KEYTURN_UNSEEN"]

    def write(*_arguments: Any) -> None:
        handle = libc.creat(path.encode(), 0o600)
        libc.write(handle, b"unseen", 6)
        libc.close(handle)

    access = import_module(f"{UTILS}._access").KeyringAccess
    step = access.step

    def followed(*arguments: Any, **options: Any) -> Any:
        done = step(*arguments, **options)
        write()
        return done

    access.step = followed


def unseen_statement() -> None:
    """A statement on a connection that is made past psycopg2's own function, with each operation of the issuer."""
    extensions = import_module("psycopg2.extensions")

    def tell(*_arguments: Any) -> None:
        connection = extensions.connection(os.environ["KEYTURN_UNSEEN"])
        connection.autocommit = True
        connection.cursor().execute("COMMENT ON TABLE songs IS 'unseen'")
        connection.close()

    issue = import_module(f"{UTILS}._issue")
    apply = issue._OPERATIONS["apply"]

    def followed(*arguments: Any) -> Any:
        done = apply(*arguments)
        tell()
        return done

    issue._OPERATIONS["apply"] = followed


def second_value() -> None:
    """The value that an earlier run made is not gone on with."""
    transitions = import_module(f"{UTILS}._transitions")
    step = import_module(f"{UTILS}._keyring_step")
    stage, fields = transitions._STEPS["stage"], step._stage_fields

    def forgetful(document: Any, request: Any, now: Any) -> Any:
        return stage(replace(document, pending=None), request, now)

    def anew(access: Any, issuer: Any, params: Any) -> Any:
        document = access.document
        access.document = document and replace(document, pending=None)
        try:
            return fields(access, issuer, params)
        finally:
            access.document = document

    transitions._STEPS = {**transitions._STEPS, "stage": forgetful}
    step._stage_fields = anew


def no_write_ahead() -> None:
    """The issuer is told of a new value before the keyring has it."""
    step, psycopg2 = import_module(f"{UTILS}._keyring_step"), import_module("psycopg2")
    make = step._stage_fields

    def hasty(access: Any, issuer: Any, params: Any) -> Any:
        fields = make(access, issuer, params)
        if fields:
            connection = psycopg2.connect(os.environ["KEYTURN_UNSEEN"])
            connection.autocommit = True
            verifier, name = fields["verifier"].reveal(), fields["username"]
            connection.cursor().execute(f"ALTER ROLE \"{name}\" PASSWORD '{verifier}'")
            connection.close()
        return fields

    step._stage_fields = hasty


def revoked_before_proof() -> None:
    """The value in use is revoked as soon as the new one is accepted."""
    issue = import_module(f"{UTILS}._issue")
    apply, revoke = issue._OPERATIONS["apply"], issue._OPERATIONS["revoke"]

    def hasty(issuer: Any, stage: Any, document: Any, context: Any, guard: Any) -> Any:
        done = apply(issuer, stage, document, context, guard)
        if document.current and document.pending:
            revoke(issuer, document.current, document, context, guard)
        return done

    issue._OPERATIONS["apply"] = hasty


def believed_without_a_reload() -> None:
    """Consumers count as having picked up what nobody told them of."""
    part = import_module(f"{UTILS}._consumer_part")
    part.pick_up = lambda *_, **__: {"action": "reload", "coalesced": False, "seen": True}


def not_written_if_unanswered() -> None:
    """A keyring in Vault whose answer was lost counts as not written, and the value is written once more."""
    store = import_module(f"{UTILS}._stores._vault").VaultStore
    errors, access = import_module(f"{UTILS}._errors"), import_module(f"{UTILS}._access")
    transitions = import_module(f"{UTILS}._transitions")
    write, stage = store.write, transitions._STEPS["stage"]

    def doubting(self: Any, text: str, expected: Any) -> Any:
        try:
            return write(self, text, expected)
        except errors.Unreachable as error:
            raise errors.Conflict("not written") from error

    store._is_written = lambda self, data, number: False
    store.write, access._PROPOSING = doubting, ()
    transitions._STEPS = {
        **transitions._STEPS,
        "stage": lambda document, request, now: stage(
            replace(document, pending=None), request, now
        ),
    }


def line_again_if_unanswered() -> None:
    """A line of the ledger in Vault whose answer was lost is written once more, under the next number."""
    ledger = import_module(f"{UTILS}._ledgers._vault").VaultLedger
    errors, append = import_module(f"{UTILS}._errors"), ledger.append

    def again(self: Any, line: Any) -> None:
        try:
            append(self, line)
        except errors.Unreachable:
            append(self, {**line, "number": line["number"] + 1})

    ledger._is_written = lambda self, secret, line: False
    ledger.append = again


def unseen_request() -> None:
    """A request that is sent past Python's own library, with each step of the keyring."""
    socket = import_module("socket")
    access = import_module(f"{UTILS}._access").KeyringAccess
    step = access.step

    def followed(*arguments: Any, **options: Any) -> Any:
        done = step(*arguments, **options)
        port, request = os.environ["KEYTURN_UNSEEN"].split(" ", 1)
        with socket.create_connection(("127.0.0.1", int(port))) as connection:
            connection.sendall(request.replace("|", "\r\n").encode())
            connection.recv(4096)
        return done

    access.step = followed


def unclaimed() -> None:
    """Runs do not mind each other's claims."""
    for name in ("_access", "_transitions", "_publish", "_pgbouncer"):
        import_module(f"{UTILS}.{name}").check_claim = lambda document, request, now: None
    access = import_module(f"{UTILS}._access")
    access.KeyringAccess.guard = lambda self: None
    gates = import_module(f"{UTILS}._gates")
    gates._GATES = {name: checks[1:] for name, checks in gates._GATES.items()}
