# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's log: who logged in as a role, and who was refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, List, Mapping, Optional, Sequence, Set

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    DENIED,
    DONE,
    LOGINS,
    Event,
    Looked,
    Window,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._log_lines import (
    Coverage,
    Lines,
    check_path,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._postgres_lines import (
    CSVLOG,
    FORMATS,
    JSONLOG,
    STDERR,
    Row,
    prefix_pattern,
    rows_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

WHERE = "postgres_log: path"
_AUTHORIZED = re.compile(r"(?:replication )?connection authorized: user=")
_REFUSED = ("28P01", "28000")
_REFUSAL = re.compile(
    r"(?:[\w -]+ authentication failed for user|no pg_hba\.conf entry for|pg_hba\.conf rejects|role) "
)
_OFFSET = re.compile(r"([+-])([01]\d):([0-5]\d)\Z")


def format_of(params: Mapping[str, Any]) -> str:
    """The log's format: the one that is given, or the one that PostgreSQL's name for the file tells."""
    given = str(params.get("format") or "")
    path = str(params["path"])
    name = path[:-3] if path.endswith(".gz") else path
    by_name = JSONLOG if name.endswith(".json") else CSVLOG if name.endswith(".csv") else STDERR
    return given or by_name


def offset_of(text: str) -> Optional[timezone]:
    """What a zone's name in the log stands for.

    :raises BadInput: for anything else than an offset.
    """
    if not text:
        return None
    found = _OFFSET.match(text)
    if not found:
        raise BadInput(f"utc_offset: '{text}' is no offset; expected such as +02:00, in quotes")
    span = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-span if found[1] == "-" else span)


def _role(row: Row, roles: Sequence[str]) -> str:
    """The role that an entry is about; by its column where it has one, else by its message."""
    if row.user:
        return row.user if row.user in roles else ""
    for role in roles:
        begin = re.escape(role)
        authorized = re.match(rf"{_AUTHORIZED.pattern}{begin}(?: |\Z)", row.message)
        if authorized or re.search(rf"\b(?:user|role) \"{begin}\"", row.message):
            return role
    return ""


def _outcome(row: Row) -> str:
    if _AUTHORIZED.match(row.message):
        return DONE
    if row.severity == "FATAL" and (row.state in _REFUSED or _is_refusal(row)):
        return DENIED
    return ""


def _is_refusal(row: Row) -> bool:
    """By its words, where the log does not have the error's code."""
    return not row.state and bool(_REFUSAL.match(row.message))


def login_of(row: Row, roles: Sequence[str], at: datetime) -> Optional[Event]:
    """The login that an entry tells of; none when it tells of something else."""
    outcome = _outcome(row)
    role = _role(row, roles) if outcome else ""
    if not role:
        return None
    return Event(
        at=format_time(at),
        principal=role,
        action="postgres:login",
        target=row.database or "(a database)",
        outcome=outcome,
        address=row.host,
        agent=row.app,
        detail=row.state if outcome == DENIED and row.state != "00000" else "",
    )


@dataclass
class _Found:
    """What was found so far."""

    roles: Sequence[str]
    window: Window
    most: int
    cover: Coverage = field(default_factory=Coverage)
    events: List[Event] = field(default_factory=list)
    zones: Set[str] = field(default_factory=set)
    connections: int = 0
    more: int = 0

    def add(self, row: Optional[Row]) -> None:
        """An entry, or what is none."""
        self.cover.seen += 1
        if row is None or row.at is None:
            self.cover.unreadable += 1
            self.zones |= {row.zone} if row and row.zone else set()
            return
        self.cover.add(row.at)
        if not self.window.has(row.at):
            return
        self.connections += bool(_AUTHORIZED.match(row.message))
        event = login_of(row, self.roles, row.at)
        if event and len(self.events) < self.most:
            self.events.append(event)
        elif event:
            self.more += 1

    def gaps(self) -> List[str]:
        """Why there may be more than was found."""
        gaps = self.cover.gaps(self.window, "PostgreSQL")
        if self.zones:
            names = ", ".join(sorted(self.zones))
            gaps.append(f"times in zone {names} are not understood; give utc_offset")
        if not self.connections:
            gaps.append(
                "no connection of anybody is written down in the window: log_connections may be off, or lc_messages another language"
            )
        if self.events and not any(event.address for event in self.events):
            gaps.append("no address is written down: log_line_prefix has neither %h nor %r")
        if self.more:
            gaps.append(
                f"there are {self.more} more than the {self.most} logins that were kept; raise most"
            )
        return gaps


class PostgresLog:
    """``type: postgres_log``: ``path`` of the log, ``roles``, ``format``, ``log_line_prefix``, ``utc_offset``."""

    about = LOGINS

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse what cannot be meant."""
        check_path(str(params.get("path") or ""), "path")
        roles = params.get("roles") or ()
        if not roles or any(not str(role).strip() for role in roles):
            raise BadInput(
                "roles: missing; name the roles that log in with the credential, such as [musehub_a]"
            )
        if params.get("format") and params["format"] not in FORMATS:
            raise BadInput(f"format: expected one of {', '.join(FORMATS)}")
        offset_of(str(params.get("utc_offset") or ""))
        if format_of(params) == STDERR:
            prefix_pattern(str(params.get("log_line_prefix") or ""), "log_line_prefix")

    def look(self, params: Mapping[str, Any], window: Window, context: Context) -> Looked:
        """See :meth:`Source.look`."""
        form = format_of(params)
        offset = offset_of(str(params["utc_offset"] or ""))
        rows = rows_of(form, str(params["log_line_prefix"]), offset)
        roles = [str(role) for role in params["roles"]]
        lines, found = Lines(str(params["path"]), WHERE), _Found(roles, window, int(params["most"]))
        for row in rows(lines):
            found.add(row)
        _check_read(found.cover, found.zones, form)
        return Looked(tuple(found.events), found.cover.seen, (*lines.gaps, *found.gaps()))


def _check_read(cover: Coverage, zones: Set[str], form: str) -> None:
    """:raises BadInput: when not one entry was understood: then the log was not looked at."""
    if cover.first or not cover.seen:
        return
    if zones:
        raise BadInput(
            f"utc_offset: the log's times are in zone {', '.join(sorted(zones))}; say which offset that is, such as +02:00"
        )
    raise BadInput(
        f"format: no line of the log is an entry of PostgreSQL as {form}; give format, and log_line_prefix as the server has it set"
    )
