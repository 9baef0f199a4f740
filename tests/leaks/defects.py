# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defects of the product that let a new value out, each in another way. Loaded by the plugin ``kill_at``."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

PLUGINS = "ansible_collections.keyturn.runbooks.plugins"
UTILS = f"{PLUGINS}.module_utils"


class Applied:
    """What the issuer was just told. No dataclass: Ansible loads this as a module without a name.

    :ivar outcome: what the operation says of it.
    """

    def __init__(self, value: str, outcome: Any, issuer: Any, context: Any) -> None:
        self.value, self.outcome = value, outcome
        self.issuer, self.context = issuer, context


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _after_apply(tell: Callable[[Applied], object]) -> None:
    """With every value that the issuer is told."""
    operations = import_module(f"{UTILS}._issue")._OPERATIONS
    apply = operations["apply"]

    def loud(issuer: Any, stage: Any, document: Any, context: Any, guard: Any) -> Any:
        done = apply(issuer, stage, document, context, guard)
        applied = Applied(stage.secret("password").reveal(), done, issuer, context)
        tell(applied)
        return applied.outcome

    operations["apply"] = loud


def in_a_result() -> None:
    """A task returns it."""

    def tell(applied: Applied) -> None:
        facts = {**applied.outcome.facts, "given": applied.value}
        applied.outcome = replace(applied.outcome, facts=facts)

    _after_apply(tell)


def in_a_warning() -> None:
    """A task warns of it."""
    _after_apply(lambda applied: applied.context.warn(f"now: {applied.value.encode().hex()}"))


def in_a_diff() -> None:
    """A difference shows it."""

    def tell(applied: Applied) -> None:
        after = [*applied.outcome.after, f"now: {_encoded(applied.value)}"]
        applied.outcome = replace(applied.outcome, after=after)

    _after_apply(tell)


def in_a_failure() -> None:
    """A message of an error has it."""
    errors = import_module(f"{UTILS}._errors")

    def tell(applied: Applied) -> None:
        raise errors.Unreachable(f"the server went away at {applied.value}")

    _after_apply(tell)


def as_an_argument() -> None:
    """A program gets it as an argument."""
    _after_apply(lambda applied: subprocess.run(["true", applied.value], check=True))


def in_an_environment() -> None:
    """A program gets it in its environment."""
    _after_apply(lambda applied: subprocess.run(["true"], env={"NEW": applied.value}, check=True))


def in_a_statement() -> None:
    """A statement has it in clear text."""

    def tell(applied: Applied) -> None:
        with applied.issuer._server(applied.context) as server:
            server.rows(f"SELECT 1 /* {applied.value} */")

    _after_apply(tell)


def in_the_ledger() -> None:
    """Each line has it."""
    ledger = import_module(f"{UTILS}._ledger")
    facts = ledger._stage_facts

    def tell(document: Any) -> Any:
        found = facts(document)
        for name, stage in found.items():
            stage["password"] = document.stage(name).secret("password").reveal()
        return found

    ledger._stage_facts = tell


def in_a_file_for_a_moment() -> None:
    """A temporary file has it, and is removed again."""

    def tell(applied: Applied) -> None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(applied.value)

    _after_apply(tell)


def in_a_file_that_stays() -> None:
    """A temporary file has it."""

    def tell(applied: Applied) -> None:
        handle, _path = tempfile.mkstemp()
        os.write(handle, applied.value.encode())
        os.close(handle)

    _after_apply(tell)


def in_a_successor() -> None:
    """What was to take a file's place is left beside it."""
    held = import_module(f"{UTILS}._files").Held
    replaced = held.replace

    def kept(self: Any, data: bytes, *attributes: Any) -> None:
        replaced(self, data, *attributes)
        left = Path(self.path).with_name(f".{Path(self.path).name}.keyturn-1-00")
        left.touch(mode=0o600)
        left.write_bytes(data)

    held.replace = kept


def readable_at_first() -> None:
    """A new file can be read by others until it has its right mode."""
    import_module(f"{UTILS}._files").NEW_MODE = 0o644


def on_a_socket() -> None:
    """Another process of the machine is sent it, as syslog is."""

    def tell(applied: Applied) -> None:
        with tempfile.TemporaryDirectory() as folder:
            server, logged = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _end in "ab")
            with server, logged:
                server.bind(f"{folder}/log")
                logged.sendto(applied.value.encode(), f"{folder}/log")

    _after_apply(tell)


def in_each_sink() -> None:
    """Each kind of sink lets it out in another way when it is written."""
    publish = import_module(f"{UTILS}._publish")
    right = publish.open_place

    def open_place(address: Any, options: Any, context: Any) -> Any:
        place = right(address, options, context)
        write = place.write

        def loud(observed: Any, changes: Any) -> Any:
            for value in changes.values():
                TOLD_BY[address.scheme](value.reveal(), context)
            return write(observed, changes)

        place.write = loud
        return place

    publish.open_place = open_place


def _leave(value: str, _context: Any) -> None:
    handle, _path = tempfile.mkstemp()
    os.write(handle, _encoded(value).encode())
    os.close(handle)


TOLD_BY: dict[str, Callable[[str, Any], object]] = {
    "awsssm": lambda value, _context: subprocess.run(["true", value], check=True),
    "vault": lambda value, context: context.warn(f"now: {value.encode().hex()}"),
    "k8s": _leave,
    "file": lambda value, _context: subprocess.run(["true"], env={"NEW": value}, check=True),
}
# Where each of them is found out, by which form, and what is said of it.
FOUND_OF_SINKS: dict[str, tuple[str, str, str]] = {
    "awsssm": ("command lines", "raw", "a parameter of AWS is written by a program"),
    "vault": ("output", "hexadecimal", "a warning tells of a write to Vault"),
    "k8s": ("files left", "base64", "a Secret of Kubernetes is kept in a file"),
    "file": ("environments", "raw", "an env file is written by a program that has it"),
}


# Where a run that has them all is found out, and by which form.
FOUND: dict[Callable[[], None], tuple[str, str]] = {
    in_a_result: ("JSON callback", "raw"),
    in_a_warning: ("output", "hexadecimal"),
    in_a_diff: ("output", "base64"),
    as_an_argument: ("command lines", "raw"),
    in_an_environment: ("environments", "raw"),
    in_a_statement: ("PostgreSQL's log", "raw"),
    in_the_ledger: ("ledger", "raw"),
    in_a_file_for_a_moment: ("files written", "raw"),
    in_a_file_that_stays: ("files left", "raw"),
    in_a_successor: ("files beside", "raw"),
    readable_at_first: ("readable by others", "raw"),
    on_a_socket: ("sockets of the machine", "raw"),
}
FAILED = ("output", "Ansible's log", "JSON callback", "junit callback")


def everything() -> None:
    """All of those that let a run go on."""
    for defect in FOUND:
        defect()


def on_the_disk() -> None:
    """A module that has values as arguments is written to a file, as any other is."""
    direct = import_module(f"{PLUGINS}.plugin_utils._direct").DirectAction
    direct._keep_arguments_off_disk = lambda self, variables: None


def when_disturbed() -> None:
    """Nothing is told but by a run that was disturbed, or by the one after it."""
    step, errors = import_module(f"{UTILS}._keyring_step"), import_module(f"{UTILS}._errors")
    access, operations = import_module(f"{UTILS}._access"), import_module(f"{UTILS}._issue")
    right, apply = step.MODULE.run, operations._OPERATIONS["apply"]

    def goes_on(params: Any, context: Any) -> Any:
        done = right(params, context)
        if params["transition"] == "claim":
            pending = access.open_keyring(params, context).document.pending
            context.warn(f"going on with {_encoded(pending.secret('password').reveal())}")
        return done

    def fails(issuer: Any, stage: Any, document: Any, context: Any, guard: Any) -> Any:
        value = stage.secret("password").reveal()
        handle, note = tempfile.mkstemp()
        os.write(handle, value.encode())
        try:
            done = apply(issuer, stage, document, context, guard)
        except errors.KeyturnError as error:
            os.remove(note)
            raise type(error)(f"{error.message}, {value.encode().hex()}") from None
        # After a kill nobody does it.
        os.remove(note)
        return done

    object.__setattr__(step.MODULE, "run", goes_on)
    operations._OPERATIONS["apply"] = fails
