# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe ``drained``: nobody uses the previous value any more.

Counted are the clients of PgBouncer and the sessions of the server that are not PgBouncer's own: PgBouncer keeps connections
of a user for a while after its last client has gone (``server_idle_timeout``), and nobody is at their other end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_server import (
    CONSOLE,
    Console,
    Login,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._login import (
    Login as ServerLogin,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._login import open_login
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._port import (
    Attempt,
    ProbeContext,
    Simple,
    denied,
    proved,
    unclear,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve_mapping

KEYS = ("login", "console_host", "console_port")

_PER_ATTEMPT = 10.0
_SHOWN = 12
_POOLER_PORT = 6432
# A session outlives its role: then only the identifier of the role is left, and pg_stat_activity.usename is null.
_SESSIONS = """
SELECT a.pid, a.datname, a.application_name, host(a.client_addr), a.client_port, a.state,
       extract(epoch FROM clock_timestamp() - a.backend_start)::bigint, r.oid IS NULL
FROM pg_catalog.pg_stat_activity a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
WHERE a.backend_type = 'client backend' AND a.pid <> pg_catalog.pg_backend_pid()
  AND (r.rolname = %s OR (r.oid IS NULL AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s)))
ORDER BY a.backend_start
"""


@dataclass(frozen=True)
class InUse:
    """Who still uses a role.

    :param clients: of PgBouncer, then sessions of the server itself, described.
    :param idle: connections that PgBouncer keeps for clients that are gone.
    """

    clients: Tuple[str, ...]
    idle: int = 0


@dataclass(frozen=True)
class Backend:
    """One session of the server."""

    pid: int
    text: str


def _described(row: Tuple[Any, ...]) -> Backend:
    pid, database, application, address, port, state, age, dropped = row
    where = f"from {address}:{port}" if address else "from a socket or a hidden address"
    name = f"'{application}'" if application else "without application name"
    role = ", its role is dropped" if dropped else ""
    return Backend(
        int(pid),
        f"session {name} {where} in {database} ({state or 'state hidden'}, {age} s old{role})",
    )


def _client(row: Mapping[str, Any], pooler: str) -> str:
    name = (
        f"'{row['application_name']}'"
        if row.get("application_name")
        else "without application name"
    )
    where = f"{row.get('addr')}:{row.get('port')}"
    return f"client {name} from {where} at {pooler} in {row.get('database')} ({row.get('state')}, since {row.get('connect_time')})"


@dataclass(frozen=True)
class Pooler:
    """One PgBouncer's console."""

    name: str
    console: Console

    def look(self, user: str) -> Tuple[List[str], Set[int]]:
        """The clients of a user, and the server processes that this PgBouncer holds for it.

        Servers are asked first: a client that comes in between is seen as a client.
        """
        servers = self.console.ask("SHOW SERVERS")
        clients = self.console.ask("SHOW CLIENTS")
        held = {
            int(row["remote_pid"])
            for row in servers
            if row.get("user") == user and row.get("remote_pid")
        }
        return [_client(row, self.name) for row in clients if row.get("user") == user], held


def _given(options: Sequence[Mapping[str, Any]], name: str, default: Any) -> Any:
    return next((item[name] for item in options if item.get(name)), default)


def _pooler(
    consumer: Mapping[str, Any], options: Mapping[str, Any], ctx: ProbeContext, number: int
) -> Pooler:
    option = f"keyturn_consumers[{number}]"
    console = {name: options.get(f"console_{name}") for name in ("host", "port")}
    login = consumer.get("admin_login") or {}
    source = consumer.get("admin") or {
        name: login[name] for name in ("username", "password") if login.get(name)
    }
    if not source:
        raise BadInput(
            f"{option}.admin: missing; the clients of PgBouncer are counted by its admin console: name a user of admin_users"
        )
    found = resolve_mapping(
        source, ctx.context, f"{option}.admin", required=("username", "password")
    )
    stored: Dict[str, Any] = {
        name: found[name].reveal() for name in ("host", "port", "sslmode") if name in found
    }
    places: Tuple[Mapping[str, Any], ...] = (console, stored, login, consumer.get("login") or {})
    host = _given(places, "host", (ctx.issuer.get("login") or {}).get("host"))
    port = str(_given(places, "port", _POOLER_PORT))
    if not host:
        raise BadInput(f"{option}.login.host: missing; where is this PgBouncer reached from here?")
    if not port.isdigit():
        raise BadInput(f"{option}.login.port: '{port}' is no port")
    sslmode = str(_given(places, "sslmode", "prefer"))
    who = Login(
        found["username"].reveal(), found["password"], CONSOLE, str(host), int(port), sslmode
    )
    return Pooler(f"PgBouncer {host}:{port}", Console(who, _PER_ATTEMPT))


def _poolers(options: Mapping[str, Any], ctx: ProbeContext) -> Tuple[Pooler, ...]:
    found = [
        _pooler(consumer, options, ctx, number)
        for number, consumer in enumerate(ctx.consumers)
        if consumer.get("type") == "pgbouncer"
    ]
    return tuple(found)


class DrainedProbe:
    """Counts who uses a role, until nobody does.

    :param shared: the current value has the same role.
    """

    def __init__(
        self,
        user: str,
        login: ServerLogin,
        poolers: Tuple[Pooler, ...],
        context: Context,
        shared: bool = False,
    ) -> None:
        where = [f"{login.host}:{login.port}", *(pooler.name for pooler in poolers)]
        self.against = f"sessions of {user} at {' and '.join(where)}"
        self.blocked = ""
        self.shared = shared
        self._user, self._login, self._poolers, self._context = user, login, poolers, context

    def count(self) -> InUse:
        """Who uses the role now.

        :raises KeyturnError: a server or a console did not answer, or a right is missing.
        """
        clients: List[str] = []
        held: Set[int] = set()
        for pooler in self._poolers:
            found, pids = pooler.look(self._user)
            clients += found
            held |= pids
        with Server(self._login, self._context) as server:
            backends = [_described(row) for row in server.rows(_SESSIONS, (self._user, self._user))]
        direct = [backend.text for backend in backends if backend.pid not in held]
        return InUse((*clients, *direct), len(backends) - len(direct))

    def attempt(self, seconds: float) -> Attempt:
        """Count once."""
        if self.shared:
            return proved(
                "the current value has the same role: no session is the previous one's alone"
            )
        try:
            found = self.count()
        except (Unreachable, Denied, Absent) as error:
            return unclear(error.message)
        if found.clients:
            more = len(found.clients) - _SHOWN
            rest = f"; and {more} more" if more > 0 else ""
            shown = "; ".join(found.clients[:_SHOWN])
            return denied(f"{len(found.clients)} still in use: {shown}{rest}")
        idle = f"; PgBouncer keeps {found.idle} idle connection(s) of it" if found.idle else ""
        return proved(f"no session is left{idle}")


class DrainedType(Simple):
    """Sessions at PostgreSQL and clients at the PgBouncers among the consumers."""

    keys = KEYS
    stages = ("previous",)

    def presents(self, options: Mapping[str, Any]) -> bool:
        """It looks on and logs in as somebody else."""
        return False

    def open(self, options: Mapping[str, Any], stage: Stage, ctx: ProbeContext) -> DrainedProbe:
        """Read the options."""
        user = stage.text("username")
        if not user:
            raise BadInput(
                f"{ctx.option}: sessions are counted by role, and this credential has no field 'username'"
            )
        given = options.get("login")
        option = f"{ctx.option}.login" if given else "keyturn_issuer.login"
        login = open_login(given or ctx.issuer.get("login"), ctx.context, option)
        current: Optional[Stage] = ctx.document.current if ctx.document else None
        shared = bool(current and current is not stage and current.text("username") == user)
        return DrainedProbe(user, login, _poolers(options, ctx), ctx.context, shared)
