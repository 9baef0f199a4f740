# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the connection limits bear a second pool: PgBouncer has one per database and user. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

Row = Mapping[str, Any]

SERVER_QUESTION = (
    "SELECT current_setting('max_connections')::int AS max_connections,"
    " current_setting('superuser_reserved_connections')::int"
    " + coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0) AS reserved,"
    " (SELECT sum(numbackends) FROM pg_stat_database)::int AS used"
)
"""What PostgreSQL is asked; any role may, on every version (reserved_connections came with 16)."""


@dataclass(frozen=True)
class Pools:
    """PgBouncer's limits for one database, in server connections.

    :param size: of one pool, its reserve included.
    :param limit: of the database over all its pools; 0 is none.
    :param open: open now, over all its pools.
    """

    database: str
    size: int
    limit: int
    open: int


@dataclass(frozen=True)
class Server:
    """PostgreSQL's limits, in connections.

    :param allowed: open to ordinary roles.
    :param used: open now, PgBouncer's included.
    """

    allowed: int
    used: int


def _number(row: Row, *names: str) -> int:
    """The first column of these names that is there; releases name some differently."""
    return next((int(row[name] or 0) for name in names if name in row), 0)


def pools_of(database: str, databases: Sequence[Row], config: Sequence[Row]) -> Pools:
    """The limits of one database.

    :param databases: the rows of ``SHOW DATABASES``; one that only ``*`` covers is not among them.
    :param config: the rows of ``SHOW CONFIG``.
    """
    settings = {str(row["key"]): row["value"] for row in config}
    row = next((row for row in databases if row["name"] == database), None)
    if row is not None:
        size = _number(row, "pool_size") + _number(row, "reserve_pool_size", "reserve_pool")
        limit = _number(row, "max_connections")
        now = _number(row, "current_connections")
    else:
        size = _number(settings, "default_pool_size") + _number(settings, "reserve_pool_size")
        limit, now = _number(settings, "max_db_connections"), 0
    per_user = _number(settings, "max_user_connections")
    return Pools(database, min(size, per_user) if per_user else size, limit, now)


def server_of(row: Row) -> Server:
    """PostgreSQL's limits from its answer to :data:`SERVER_QUESTION`."""
    return Server(int(row["max_connections"]) - int(row["reserved"]), int(row["used"]))


def lacks(pools: Pools, server: Server | None) -> list[str]:
    """Every limit that two full pools would break, as a sentence with the numbers.

    :param server: none when PostgreSQL could not be asked.
    """
    found: list[str] = []
    need = 2 * pools.size
    if pools.limit and pools.limit < need:
        found.append(
            f"PgBouncer allows {pools.limit} connections for database {pools.database} "
            f"(max_db_connections), and two pools of {pools.size} need {need}; raise it to {need}"
        )
        need = pools.limit
    others = max(0, server.used - pools.open) if server else 0
    if server and others + need > server.allowed:
        found.append(
            f"PostgreSQL allows {server.allowed} connections to ordinary roles (max_connections "
            f"less the reserved ones), others use {others} now, and two pools of {pools.size} for "
            f"database {pools.database} need {need}: {others + need - server.allowed} too many. "
            "Lower default_pool_size or raise max_connections"
        )
    return found
