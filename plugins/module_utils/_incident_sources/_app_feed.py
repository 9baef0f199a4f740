# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an application's lines are: files, the journal of a unit, or what a container printed."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any, Callable, List, Mapping, NoReturn, Optional, Protocol, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import Machine
from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import program_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import Window
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._log_lines import (
    Coverage,
    Lines,
    check_path,
    to_moment,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._journal import Journal
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_hide import Hider
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_look import (
    Line,
    Look,
    Wanted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_time,
    parse_time,
)

WHERE = "app_log"
PLACES = ("path", "unit", "container")
ENGINES = ("podman", "docker")
SECONDS = 600.0
_QUICK = 60.0
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,255}\Z")
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}\Z")
_NO_CONTAINER = ("no such container", "no container with name", "no such object")

Take = Callable[[str, Optional[datetime]], None]
"""Gets each line, and its time where that is known without reading it."""


class Feed(Protocol):
    """Lines of one place.

    :ivar timed: whether each line comes with its time.
    :ivar gaps: what could not be read, in sentences.
    """

    timed: bool
    gaps: List[str]

    def run(self, take: Take, window: Window, cover: Coverage) -> None:
        """Hand over every line, and add to ``cover`` what else is known of the time that the place goes back.

        :raises Absent, Denied, Unreachable, BadInput: as the place gives cause.
        """


class FileFeed:
    """Files of a path, the oldest first."""

    timed = False

    def __init__(self, path: str) -> None:
        self._lines = Lines(path, f"{WHERE}: path")
        self.gaps = self._lines.gaps

    def run(self, take: Take, window: Window, cover: Coverage) -> None:
        """See :class:`Feed`."""
        for line in self._lines:
            take(line.decode("utf-8", "replace"), None)


class _Taking(Look):
    """A look that hands its lines on."""

    def __init__(self, take: Take) -> None:
        super().__init__(Wanted(), Hider())
        self._take = take

    def add(self, line: Line) -> None:
        """Hand it on."""
        self._take(line.text, parse_time(line.time, "journal") if line.time else None)


class JournalFeed:
    """The journal of a unit, since the window began. How far the journal goes back is asked of the host's own."""

    timed = True

    def __init__(self, unit: str, machine: Machine, environ: Mapping[str, str]) -> None:
        self._unit, self._machine = unit, machine
        self._environ = {**program_environ(environ), "LC_ALL": "C"}
        self.gaps: List[str] = []
        self._journal = Journal(machine, self._environ, [unit], f"{WHERE}: unit")

    def _entry(self, words: Sequence[str]) -> Optional[datetime]:
        """The time of the last entry of anybody."""
        found: List[str] = []
        argv = ["journalctl", "--no-pager", "--output=json", "--output-fields=MESSAGE_ID"]
        # Without --reverse systemd 252 goes to the end of the journal first, and finds nothing there that is before --until.
        self._machine.read(
            [*argv, "--reverse", "--lines=1", *words], _QUICK, found.append, self._environ
        )
        try:
            told = json.loads(found[0])["__REALTIME_TIMESTAMP"] if found else None
            return datetime.fromtimestamp(int(told) / 1e6, timezone.utc) if told else None
        except (ValueError, KeyError, TypeError):
            return None

    def run(self, take: Take, window: Window, cover: Coverage) -> None:
        """See :class:`Feed`."""
        if not self._journal.has_lines(self._unit):
            raise Absent(
                f"{WHERE}: unit: the journal of this host has no line of {self._unit}; correct its name (no alias), or see where it logs"
            )
        looking = _Taking(take)
        looking.gaps = self.gaps
        self._journal.since(window.since.timestamp(), looking)
        before = self._entry([f"--until=@{window.since.timestamp():.0f}"])
        for moment in (before, self._entry([])):
            if moment:
                cover.add(moment)


class ContainerFeed:
    """What a container printed, as its engine kept it."""

    timed = True

    def __init__(
        self, name: str, engine: str, machine: Machine, environ: Mapping[str, str]
    ) -> None:
        self._name, self._engine, self._machine = name, engine, machine
        self._environ = program_environ(environ)
        self.gaps: List[str] = []

    def _made(self) -> Optional[datetime]:
        """When the container was made."""
        argv = [self._engine, "container", "inspect", "--format", "{{json .Created}}", self._name]
        try:
            ended = self._machine.run(argv, _QUICK, environ=self._environ)
        except Absent:
            raise BadInput(
                f"{WHERE}: engine: there is no {self._engine} on this host; give the other engine, or 'path' or 'unit'"
            ) from None
        if ended.code:
            self._refuse(ended.err.lower(), ended.first_line)
        return to_moment(ended.out.strip().strip('"'))

    def _refuse(self, said: str, line: str) -> NoReturn:
        if any(words in said for words in _NO_CONTAINER):
            raise Absent(
                f"{WHERE}: container: {self._engine} has no container {self._name} for this user; correct the name, or become who runs it"
            )
        if "permission denied" in said:
            raise Denied(
                f"{WHERE}: container: this user may not use {self._engine}; become one who may"
            )
        raise Unreachable(f"{WHERE}: container: {self._engine}: {line}")

    def run(self, take: Take, window: Window, cover: Coverage) -> None:
        """See :class:`Feed`."""
        made = self._made()
        if made is None or made > window.since:
            when = f"at {format_time(made)}" if made else "nobody knows when, perhaps"
            self.gaps.append(
                f"container {self._name} was made {when}, after the window began: what one before it printed is gone with it"
            )

        def split(line: str) -> None:
            stamp, _blank, text = line.rstrip("\r\n").partition(" ")
            at = to_moment(stamp)
            take(text if at else line, at)

        # One pipe for what it printed on either; the words stand beside the script, not in it.
        words = [self._engine, "logs", "--timestamps", self._name]
        argv = ["sh", "-c", 'exec "$@" 2>&1', "sh", *words]
        ended = self._machine.read(argv, SECONDS, split, self._environ)
        if ended.code:
            raise Unreachable(
                f"{WHERE}: container: {self._engine} logs ended with exit code {ended.code}; run it by hand on this host"
            )


def check_place(params: Mapping[str, Any]) -> str:
    """Which place is meant.

    :raises BadInput: for none, for several, and for a name that cannot be one.
    """
    given = [name for name in PLACES if params.get(name)]
    if len(given) != 1:
        raise BadInput(
            f"{' and '.join(given) or 'path'}: {'these exclude each other' if given else 'missing'}; expected one of {', '.join(PLACES)}"
        )
    name, value = given[0], str(params[given[0]])
    if name == "path":
        check_path(value, name)
    elif not (_UNIT if name == "unit" else _CONTAINER).match(value) or value.startswith("-"):
        raise BadInput(f"{name}: '{value}' is no name of a {name}")
    return name


def feed_of(params: Mapping[str, Any], machine: Machine, environ: Mapping[str, str]) -> Feed:
    """The place that is meant."""
    name = check_place(params)
    if name == "path":
        return FileFeed(str(params["path"]))
    if name == "unit":
        return JournalFeed(str(params["unit"]), machine, environ)
    return ContainerFeed(str(params["container"]), str(params["engine"]), machine, environ)
