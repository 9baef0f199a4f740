# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe ``postgres``: a login through the road that consumers take, and what the role may do there."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils import _wire
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import as_flag
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._port import (
    REFUSED,
    Attempt,
    ProbeContext,
    Simple,
    denied,
    fill,
    names_stage,
    proved,
    unclear,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._session import (
    LoginFailed,
    Server,
    Session,
    SqlFailed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._wire import (
    Address,
    try_login,
)

KEYS = (
    "host", "port", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey",
    "username", "password", "session_user", "current_user", "check", "write",
)  # fmt: skip
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_READING = ("select", "table", "values", "with", "show")
_PER_ATTEMPT = 10.0
_PER_REFUSAL = 4.0
_LEAST = 1.0
_WRITES = "SELECT pg_current_xact_id()"


@dataclass(frozen=True)
class Wishes:
    """What must hold after the login.

    :param session_user: who the server must take it for.
    :param current_user: whose rights it must have; empty: anybody's.
    :param checks: statements that must work in a read-only transaction.
    :param write: a statement that must work in a transaction that is rolled back; empty: none.
    """

    session_user: str
    current_user: str = ""
    checks: Tuple[str, ...] = ()
    write: str = ""


def one_statement(value: Any, option: str) -> str:
    """A single statement without its semicolon.

    :raises BadInput: when it is none, is several, or would show a stage's value in the server's log.
    """
    text = str(value).strip().rstrip(";").strip()
    if not text or ";" in text:
        raise BadInput(f"{option}: expected one statement, without a semicolon inside")
    if names_stage(text):
        raise BadInput(f"{option}: holds a stage's value, and servers log statements")
    return text


def _checks(value: Any, option: str) -> Tuple[str, ...]:
    items = value if isinstance(value, (list, tuple)) else [value] if value else []
    found = tuple(one_statement(item, option) for item in items)
    for statement in found:
        if statement.split()[0].lower() not in _READING:
            raise BadInput(
                f"{option}: a check only reads; expected a statement that begins with {', '.join(_READING).upper()}"
            )
    return found


def _write(value: Any, option: str) -> str:
    if isinstance(value, bool) or str(value).strip().lower() in ("true", "false", "yes", "no", ""):
        return _WRITES if as_flag(value, option) else ""
    return one_statement(value, option)


def read_address(options: Mapping[str, Any], issuer: Mapping[str, Any], option: str) -> Address:
    """Where to log in: the probe's own options, else the issuer's login.

    :raises BadInput: naming what is missing or wrong.
    """
    login = issuer.get("login")
    base: Mapping[str, Any] = login if isinstance(login, Mapping) else {}
    merged = {name: options.get(name, base.get(name)) for name in KEYS[:7]}
    for name in ("host", "dbname"):
        if not merged[name]:
            raise BadInput(f"{option}.{name}: missing, here and in keyturn_issuer.login")
    port = str(merged["port"] or 5432)
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise BadInput(f"{option}.port: '{port}' is no port")
    sslmode = str(merged["sslmode"] or "prefer")
    if sslmode not in SSL_MODES:
        raise BadInput(
            f"{option}.sslmode: '{sslmode}' is unknown; expected one of {', '.join(SSL_MODES)}"
        )
    return Address(
        host=str(merged["host"]),
        port=int(port),
        dbname=str(merged["dbname"]),
        sslmode=sslmode,
        sslrootcert=str(merged["sslrootcert"] or ""),
        sslcert=str(merged["sslcert"] or ""),
        sslkey=str(merged["sslkey"] or ""),
    )


def _behind(address: Address, ctx: ProbeContext) -> Optional[Address]:
    """The issuer's own address, when the road leads through another one."""
    login = ctx.issuer.get("login")
    if not isinstance(login, Mapping) or not login.get("host"):
        return None
    # A pooler may have another name for the database.
    dbname = login.get("dbname") or address.dbname
    server = read_address({"dbname": dbname}, ctx.issuer, "keyturn_issuer.login")
    return None if (server.host, server.port) == (address.host, address.port) else server


class PostgresProbe:
    """One login, tried until it ends as expected.

    A refusal has to hold on the road and at the issuer's own address, where that is another one.
    """

    def __init__(
        self, address: Address, user: str, password: Secret, wishes: Wishes, ctx: ProbeContext
    ) -> None:
        where = f"{address.host}:{address.port}/{address.dbname}"
        self.against = f"{where} as {user}"
        self.blocked = "" if password.known else "the value does not exist yet"
        self._address, self._user, self._password = address, user, password
        self._wishes, self._ctx = wishes, ctx
        self._server = _behind(address, ctx)

    def attempt(self, seconds: float) -> Attempt:
        """One login."""
        if self._ctx.expect == REFUSED:
            return self._refused(min(seconds, _PER_REFUSAL))
        return self._accepted(min(seconds, _PER_ATTEMPT))

    def _try(self, address: Address, seconds: float) -> _wire.Verdict:
        nonce = self._ctx.context.randbytes(18)
        return try_login(replace(address, timeout=seconds), self._user, self._password, nonce)

    def _refused(self, seconds: float) -> Attempt:
        verdict = self._try(self._address, seconds)
        if verdict.outcome == _wire.ACCEPTED:
            return denied(f"it is still accepted: {verdict.reason}")
        if verdict.outcome == _wire.UNPROVEN:
            return self._kept_waiting(verdict, seconds)
        return self._refused_by_server(verdict, seconds)

    def _kept_waiting(self, verdict: _wire.Verdict, seconds: float) -> Attempt:
        """A pooler that asks the database for passwords lets a client wait whose login the server refuses, and never in."""
        if verdict.reason != _wire.NO_ANSWER or self._server is None:
            return unclear(verdict.reason)
        if self._try(self._server, seconds).outcome != _wire.REFUSED:
            return unclear(verdict.reason)
        where = f"the server itself ({self._server.host}:{self._server.port})"
        return proved(f"not let in within {seconds:g} s; {where} refuses it")

    def _refused_by_server(self, verdict: _wire.Verdict, seconds: float) -> Attempt:
        """A pooler that no longer knows a user proves nothing about the server behind it."""
        said = f"refused: {verdict.reason}"
        server = self._server
        if server is None:
            return proved(said)
        where = f"the server itself ({server.host}:{server.port})"
        behind = self._try(server, seconds)
        if behind.outcome == _wire.ACCEPTED:
            return denied(f"{said}; but {where} still accepts it")
        if behind.outcome == _wire.REFUSED:
            return proved(f"{said}; {where} refuses it, too")
        return (
            proved(f"{said}; {where} takes no login of it from here")
            if behind.turned_away
            else unclear(f"{where}: {behind.reason}")
        )

    def _accepted(self, seconds: float) -> Attempt:
        """The proof that the password is right, then with the applications' driver what the session may do.

        libpq goes in wherever it is let in; whether the server knows the password is seen in the first login alone.
        """
        # The last attempt gets a little more time, or it would say no more than that time is up.
        until = time.monotonic() + max(seconds, _LEAST)
        verdict = self._try(self._address, max(seconds, _LEAST))
        if verdict.outcome == _wire.UNPROVEN:
            return self._unanswered(verdict.reason, seconds)
        if not verdict.entered:
            return denied(verdict.reason)
        try:
            with Session(self._address, self._user, self._password, until) as session:
                return self._examine(session)
        except LoginFailed:
            return unclear("one login worked, the next one did not")
        except SqlFailed as error:
            # After the login: a server behind a pooler says no only now.
            return denied(error.message)
        except Unreachable as error:
            return self._unanswered(error.message, seconds)

    def _unanswered(self, reason: str, seconds: float) -> Attempt:
        """A pooler also lets a client wait while its server refuses the login. What was only predicted may be what mends that."""
        if not self._ctx.predicting or reason != _wire.NO_ANSWER or self._server is None:
            return unclear(reason)
        if self._try(self._server, seconds).outcome != _wire.REFUSED:
            return unclear(reason)
        return denied(f"not let in; {self._server.host}:{self._server.port} refuses it")

    def _examine(self, session: Session) -> Attempt:
        server, wishes = session.who(), self._wishes
        if server.session_user != wishes.session_user:
            return denied(
                f"the server takes this login for {server.session_user}, expected {wishes.session_user}"
            )
        if wishes.current_user and server.current_user != wishes.current_user:
            return denied(f"it acts as {server.current_user}, expected {wishes.current_user}")
        for number, statement in enumerate(wishes.checks):
            wrong = self._run(session, "BEGIN READ ONLY", statement)
            if wrong:
                return denied(f"check {number + 1} of {len(wishes.checks)} failed: {wrong}")
        return self._written(session, server)

    def _written(self, session: Session, server: Server) -> Attempt:
        said = [f"logged in as {server.session_user}"]
        if server.current_user != server.session_user:
            said.append(f"acting as {server.current_user}")
        if self._wishes.checks:
            said.append(f"{len(self._wishes.checks)} rights check(s) passed")
        if self._wishes.write and self._ctx.context.check_mode:
            said.append("check mode writes nothing")
        elif self._wishes.write:
            wrong = self._run(session, "BEGIN READ WRITE", self._wishes.write)
            if wrong:
                return denied(f"the write check failed: {wrong}")
            said.append("a write worked and was rolled back")
        return proved(", ".join(said))

    def _run(self, session: Session, begin: str, statement: str) -> Optional[str]:
        """Why a statement does not work in a transaction that is rolled back; none when it does."""
        session.rows(begin)
        try:
            session.rows(statement)
        except SqlFailed as error:
            return error.message
        finally:
            session.rows("ROLLBACK")
        return None


class PostgresType(Simple):
    """Logins at PostgreSQL, directly or through PgBouncer."""

    keys = KEYS
    stages = ("pending", "current", "previous")

    def presents(self, options: Mapping[str, Any]) -> bool:
        """Whether the login shows the stage's password."""
        return names_stage(options.get("password", "{stage.password}"))

    def open(self, options: Mapping[str, Any], stage: Stage, ctx: ProbeContext) -> PostgresProbe:
        """Read the options."""
        option = ctx.option
        address = read_address(options, ctx.issuer, option)
        given = options.get("password", "{stage.password}")
        if not names_stage(given) and not str(given).startswith(("ref+", "secretref+")):
            raise BadInput(
                f"{option}.password: expected a reference, or a template such as {{stage.password}}"
            )
        user = fill(
            options.get("username", "{stage.username}"), stage, ctx, f"{option}.username"
        ).reveal()
        password = fill(given, stage, ctx, f"{option}.password")
        wishes = Wishes(
            session_user=str(options.get("session_user") or user),
            current_user=str(options.get("current_user") or ""),
            checks=_checks(options.get("check"), f"{option}.check"),
            write=_write(options.get("write", False), f"{option}.write"),
        )
        return PostgresProbe(address, user, password, wishes, ctx)
