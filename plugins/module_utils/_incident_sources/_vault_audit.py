# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vault's audit log: who read paths of it. Values and tokens are hashed there, and are not looked at."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, List, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    DENIED,
    DONE,
    FAILED,
    READS,
    UNTOLD,
    Event,
    Looked,
    Window,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._log_lines import (
    Coverage,
    Lines,
    check_path,
    to_moment,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

WHERE = "vault_audit: path"
_PATH = re.compile(r"[A-Za-z0-9_.@+/-]+\*?\Z")
_HASHED = "hmac-"
_TIME = re.compile(rb'"time":\s*"([^"]{19,40})"')


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _covers(wanted: str, path: str) -> bool:
    return path.startswith(wanted[:-1]) if wanted.endswith("*") else path == wanted


def _path_of(request: Mapping[str, Any]) -> str:
    """The request's path, with its namespace before it."""
    namespace = str(_mapping(request.get("namespace")).get("path") or "")
    path = str(request.get("path") or "")
    return path if path.startswith(namespace) else f"{namespace}{path}"


def _accessor(auth: Mapping[str, Any]) -> str:
    """The hash of a token's accessor, which finds the token's other requests; one in clear is not copied."""
    accessor = str(auth.get("accessor") or "")
    return f"accessor {accessor}" if accessor.startswith(_HASHED) else ""


def _policies(auth: Mapping[str, Any]) -> str:
    policies = auth.get("policies")
    names = ", ".join(str(name) for name in policies) if isinstance(policies, list) else ""
    return f"policies {names}" if names else ""


def read_entry(entry: Mapping[str, Any], wanted: Sequence[str], at: str) -> Optional[Event]:
    """The read that an entry tells of; none when it is of something else. A request has one entry of this type and one for its answer."""
    request, auth = _mapping(entry.get("request")), _mapping(entry.get("auth"))
    if entry.get("type") != "request" or request.get("operation") != "read":
        return None
    path = _path_of(request)
    if not any(_covers(one, path) for one in wanted):
        return None
    error = str(entry.get("error") or "")
    outcome = DONE
    if error:
        outcome = DENIED if "permission denied" in error else FAILED
    notes = [_policies(auth), _accessor(auth)]
    return Event(
        at=at,
        principal=str(auth.get("display_name") or UNTOLD),
        action="vault:read",
        target=path,
        outcome=outcome,
        address=str(request.get("remote_address") or ""),
        via=str(auth.get("entity_id") or ""),
        detail=", ".join(note for note in notes if note),
    )


class VaultAudit:
    """``type: vault_audit``: ``path`` of the log, ``paths`` of secrets."""

    about = READS

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse what cannot be meant."""
        check_path(str(params.get("path") or ""), "path")
        if not params.get("paths"):
            raise BadInput(
                "paths: missing; name the paths of Vault's API that hold the credential, such as [secret/data/musehub/db]"
            )
        for number, path in enumerate(params["paths"]):
            if not _PATH.match(str(path)) or str(path).startswith(("/", "v1/")):
                raise BadInput(
                    f"paths[{number}]: '{path}' is no path of Vault's API; expected it as in a policy, such as secret/data/musehub/db, "
                    "with * at its end alone"
                )

    def look(self, params: Mapping[str, Any], window: Window, context: Context) -> Looked:
        """See :meth:`Source.look`."""
        wanted = [str(path) for path in params["paths"]]
        # Most lines are about other paths: those are not parsed.
        marks = [path.rstrip("*").encode() for path in wanted]
        lines, cover, most = Lines(str(params["path"]), WHERE), Coverage(), int(params["most"])
        events: List[Event] = []
        more = 0
        for line in lines:
            cover.seen += 1
            entry = _entry(line) if any(_tail(mark) in line for mark in marks) else None
            moment = _time_of(entry) if entry is not None else _glance(line)
            if moment is None:
                cover.unreadable += bool(line.strip())
                continue
            cover.add(moment)
            if entry is None or not window.has(moment):
                continue
            event = read_entry(entry, wanted, format_time(moment))
            if event and len(events) < most:
                events.append(event)
            elif event:
                more += 1
        gaps = [*lines.gaps, *cover.gaps(window, "Vault")]
        if more:
            gaps.append(f"there are {more} more than the {most} reads that were kept; raise most")
        return Looked(tuple(events), cover.seen, tuple(gaps))


def _tail(mark: bytes) -> bytes:
    """The last part of a path: what is before it may be a namespace, which stands elsewhere in the entry."""
    return mark.rstrip(b"/").rpartition(b"/")[2]


def _entry(line: bytes) -> Mapping[str, Any]:
    """An entry; an empty one for what is none."""
    try:
        return _mapping(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def _time_of(entry: Mapping[str, Any]) -> Optional[datetime]:
    return to_moment(str(entry.get("time") or ""))


def _glance(line: bytes) -> Optional[datetime]:
    """The time of an entry that is about something else: what the first text of this name says, which need not be the entry's own."""
    found = _TIME.search(line)
    moment = to_moment(found[1].decode("ascii", "replace")) if found else None
    return moment or _time_of(_entry(line))
