# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is logged in as a role, and how those sessions are ended."""

from __future__ import annotations

import time
from typing import Callable, List, Set

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Session
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import identifier

DEADLINE = 20.0
"""Seconds for which sessions are ended before it is a failure; a backend answers within milliseconds."""

_CONFIRM = 0.1
"""A login that was accepted just before shows up this many seconds later at most; it is waited for once."""

_PAUSE = 0.05

_LIST = """
SELECT coalesce(a.usename::text, ''), a.pid, coalesce(a.datname::text, ''), coalesce(a.application_name, ''),
       CASE WHEN a.client_addr IS NOT NULL THEN host(a.client_addr) WHEN a.client_port = -1 THEN 'local' ELSE '' END,
       coalesce(a.state, ''), coalesce(to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '')
  FROM pg_stat_activity a WHERE a.usesysid = %s AND a.pid <> pg_backend_pid() ORDER BY a.backend_start, a.pid
"""

_TERMINATE = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid)) FROM pg_stat_activity a
 WHERE a.usesysid = %s AND a.pid <> pg_backend_pid()
"""


def list_sessions(server: Server, oid: int) -> List[Session]:
    """The sessions of a role, by its number: its name is gone from them when it is dropped.

    :raises KeyturnError: as :meth:`Server.rows`.
    """
    return [Session(*row) for row in server.rows(_LIST, (oid,))] if oid else []


def named(sessions: List[Session], most: int = 5) -> str:
    """Sessions for a message."""
    more = f" and {len(sessions) - most} more" if len(sessions) > most else ""
    return "; ".join(map(str, sessions[:most])) + more


def end_sessions(server: Server, oid: int, role: str, guard: Callable[[], None]) -> int:
    """End all sessions of a role that cannot log in any more, and make sure that none is left.

    :param guard: called right before each round.
    :return: how many there were.
    :raises Denied: the administrator may not end sessions.
    :raises Refused: some are still there after :data:`DEADLINE` seconds; they are named.
    """
    seen: Set[int] = set()
    until = time.monotonic() + DEADLINE
    quiet = False
    while True:
        sessions = list_sessions(server, oid)
        if not sessions and quiet:
            return len(seen)
        quiet = not sessions
        if sessions:
            if time.monotonic() > until:
                raise Refused(
                    f"role {role} cannot log in any more, but some of its sessions do not end: {named(sessions)}. End them "
                    "on the server, then run again"
                )
            seen.update(session.pid for session in sessions)
            guard()
            end_once(server, oid, role)
        time.sleep(_CONFIRM if quiet else _PAUSE)


def end_once(server: Server, oid: int, role: str) -> None:
    """Tell all sessions of a role to end; those that log in meanwhile stay.

    :raises Denied: the administrator may not end sessions.
    """
    try:
        server.rows(_TERMINATE, (oid,))
    except Denied:
        raise Denied(
            f"{server.login.username} may not end the sessions of {role}; needed: GRANT pg_signal_backend TO "
            f"{identifier(server.login.username)}"
        ) from None
