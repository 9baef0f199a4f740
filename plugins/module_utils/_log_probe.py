# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``log_probe``: what was written to the journal of units or to a file, and what must not and must be in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Protocol

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._define import unit_name
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import (
    Machine,
    Task,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._unit_state import (
    UnitState,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import program_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    ProbeFailed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._journal import (
    WAIT,
    Journal,
    check_cursor,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_file import (
    LogFile,
    parse_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_hide import Hider
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_look import (
    SINCE,
    Look,
    read_wanted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._redact import (
    REDACT_OPTIONS,
    prepare_redaction,
    unseal_values,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

NAME = "log_probe"
NOW, START = "now", "start"


class Source(Protocol):
    """Where lines come from."""

    def first(self, look: Look) -> str:
        """Look at what the options ask for; returns the cursor to go on from."""

    def more(self, cursor: str, look: Look) -> str:
        """Look at what came since; returns the cursor to go on from."""

    def last(self, cursor: str, look: Look) -> str:
        """Look at what is only half written; returns the cursor to go on from."""


@dataclass(frozen=True)
class _Options:
    cursor: str
    since: str
    clock: float = 0.0


@dataclass
class _OfUnits:
    """The journal of units."""

    journal: Journal
    options: _Options

    def first(self, look: Look) -> str:
        """See :meth:`Source.first`."""
        since = self.options.since or SINCE
        if self.options.cursor:
            return self.more(self.options.cursor, look)
        if since == NOW:
            return self.journal.mark()
        if since == START:
            return self.journal.since(0.0, look)
        seconds = parse_duration(since, f"{NAME}: since").total_seconds()
        return self.journal.since(max(1.0, self.options.clock - seconds), look)

    def more(self, cursor: str, look: Look) -> str:
        """See :meth:`Source.more`."""
        return self.journal.after(cursor, look)

    def last(self, cursor: str, look: Look) -> str:
        """See :meth:`Source.last`: the journal has whole entries only."""
        return cursor


@dataclass
class _OfFile:
    """A file."""

    file: LogFile
    options: _Options

    def first(self, look: Look) -> str:
        """See :meth:`Source.first`."""
        if self.options.cursor:
            return self.more(self.options.cursor, look)
        if self.options.since == NOW:
            return str(self.file.end())
        return str(self.file.after(self.file.begin(), look))

    def more(self, cursor: str, look: Look) -> str:
        """See :meth:`Source.more`."""
        return str(self.file.after(parse_place(cursor, f"{NAME}: cursor"), look))

    def last(self, cursor: str, look: Look) -> str:
        """See :meth:`Source.last`: a line whose end is not there yet."""
        return str(self.file.after(parse_place(cursor, f"{NAME}: cursor"), look, whole=True))


def _check(params: Params) -> None:
    """Refuse what is wrong before anything is looked at.

    :raises BadInput: naming the option.
    """
    read_wanted(params, f"{NAME}: ")
    parse_duration(params["timeout"], f"{NAME}: timeout")
    since, cursor = params["since"], params["cursor"]
    if not params["path"] and not params["units"]:
        raise BadInput(f"{NAME}: units: name a unit, or give 'path' for a file")
    for unit in params["units"] or ():
        unit_name(str(unit), f"{NAME}: units")
    if params["path"]:
        if since not in (None, NOW, START):
            raise BadInput(
                f"{NAME}: since: when a line of a file was written is not known; give 'cursor', or say 'now' or 'start'"
            )
        if since is None and not cursor:
            raise BadInput(
                f"{NAME}: path: say from where: 'cursor' from an earlier result, or 'since: start' for the whole file, or 'since: now'"
            )
        if cursor:
            parse_place(cursor, f"{NAME}: cursor")
    elif cursor:
        check_cursor(cursor, f"{NAME}: cursor")
    elif since not in (None, NOW, START):
        parse_duration(since, f"{NAME}: since")


def prepare(params: Params, context: Context) -> Params:
    """Resolve the references on the controller, and refuse what is wrong before a host is asked.

    :raises KeyturnError: as the options, the references and the keyring give cause.
    """
    _check(params)
    return prepare_redaction(params, context)


def _known_units(params: Params, context: Context, machine: Machine) -> List[str]:
    """The units' own names: the journal knows no alias.

    :raises BadInput: for one that there is not, and that never wrote anything: else a wrong name would be a clean log.
    """
    found = []
    for given in params["units"] or ():
        task = Task(str(given), {"unit": str(given)}, context, machine, title=NAME)
        unit = UnitState(task)
        state = unit.state()
        name = state.get("Id") or unit.unit
        environ = program_environ(context.environ)
        if state.get("LoadState") == "not-found" and not Journal(
            machine, environ, [name], NAME
        ).has_lines(name):
            raise BadInput(
                f"{NAME}: units: there is no unit {unit.unit} on this host, and its journal has no line of one; correct the name"
            )
        found.append(name)
    return found


def _source(params: Params, context: Context, machine: Machine) -> Source:
    options = _Options(params["cursor"] or "", params["since"] or "", machine.clock())
    if params["path"]:
        return _OfFile(LogFile(params["path"], NAME), options)
    units = _known_units(params, context, machine)
    return _OfUnits(Journal(machine, program_environ(context.environ), units, NAME), options)


def _waited(source: Source, look: Look, machine: Machine, seconds: float) -> str:
    """Look until what must occur did, or something forbidden does; returns the cursor to go on from."""
    end = machine.monotonic() + seconds
    cursor = source.first(look)
    while look.missing and not look.forbidden and machine.monotonic() < end:
        machine.sleep(WAIT)
        cursor = source.more(cursor, look)
    return source.last(cursor, look)


def _told(params: Params, look: Look, cursor: str) -> Mapping[str, Any]:
    return {"cursor": cursor, **look.facts()}


def run(params: Params, context: Context) -> Result:
    """Look at the log, on its machine. Nothing is written, in check mode or otherwise.

    :raises ProbeFailed: it has what must not be there, or not what must.
    :raises KeyturnError: it cannot be read.
    """
    _check(params)
    machine = Machine()
    kept = [params["path"]] if params["path"] else list(map(str, params["units"]))
    values = [secret.reveal() for secret in unseal_values(params.get("contents"))]
    look = Look(read_wanted(params, f"{NAME}: "), Hider(values, kept))
    source = _source(params, context, machine)
    seconds = parse_duration(params["timeout"], "timeout").total_seconds()
    cursor = _waited(source, look, machine, seconds)
    for gap in look.gaps:
        context.warn(f"{NAME}: {gap}")
    told = _told(params, look, cursor)
    complaint = look.complaint()
    if complaint:
        what = params["path"] or ", ".join(kept)
        raise ProbeFailed(f"{NAME}: the log of {what} {complaint}", **told)
    return {"changed": False, **told}


_PATTERNS = {"type": "list", "elements": "str"}
MODULE = ModuleCore(
    name=NAME,
    argument_spec={
        **KEYRING_OPTIONS,
        **REDACT_OPTIONS,
        "units": {"type": "list", "elements": "str"},
        "path": {"type": "path"},
        "since": {"type": "str"},
        "cursor": {"type": "str"},
        "forbid": _PATTERNS,
        "require": _PATTERNS,
        "allow": _PATTERNS,
        "timeout": {"type": "str", "default": "0s"},
    },
    run=run,
    constraints={
        "mutually_exclusive": [("units", "path"), ("since", "cursor")],
        "required_one_of": [("units", "path")],
    },
    host=True,
    prepare=prepare,
)
