# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one call of the module ``pgbouncer`` is asked to do, read from its parameters."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_server import (
    CONSOLE,
    Console,
    Expectation,
    Login,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

QUICK = 5.0
"""Seconds for a question that is normally answered at once."""


def _secret(value: Any) -> Secret:
    return value if isinstance(value, Secret) else Secret(str(value))


@dataclass(frozen=True)
class Job:
    """What one call is asked to do.

    :param path: of the userlist; none where PgBouncer asks the database (``auth_query``).
    :param logins: that must end in a known way; one whose password check mode predicts is left
        out.
    :param told: an earlier task of the same dry run would have written the entries.
    :param seconds: for each login to end as it must.
    """

    path: str | None
    entries: Mapping[str, Secret]
    absent: tuple[str, ...]
    logins: tuple[Expectation, ...]
    console: Console | None
    headroom: str
    seconds: float
    key: bytes
    context: Context
    told: bool = False

    def need_console(self) -> Console:
        """The admin console.

        :raises BadInput: when there is no login for it.
        """
        if self.console is None:
            raise BadInput(
                "admin: missing; a change of the userlist needs a user of PgBouncer's admin_users "
                "for RELOAD: give a reference in admin, or admin_login"
            )
        return self.console

    def unproved(self) -> list[str]:
        """Names that must be there and whose password is not known here."""
        known = {wish.login.username for wish in self.logins if wish.accepted}
        return [name for name in self.entries if name not in known]


def _console(params: Mapping[str, Any], seconds: float) -> Console | None:
    given = params["admin_login"]
    if not given.get("username") or given.get("password") is None:
        return None
    login = Login(
        username=given["username"],
        password=_secret(given["password"]),
        dbname=CONSOLE,
        host=given["host"],
        port=int(given["port"]),
        sslmode=given["sslmode"],
    )
    return Console(login, min(seconds, QUICK))


def _expectations(params: Mapping[str, Any]) -> tuple[Expectation, ...]:
    admin = params["admin_login"]
    found = []
    for item in params["verify"]:
        if item.get("predicted"):
            continue
        if item.get("password") is None:
            raise BadInput(f"verify: the login of {item['username']!r} has no password")
        login = Login(
            username=item["username"],
            password=_secret(item["password"]),
            dbname=item["dbname"],
            host=item.get("host") or admin["host"],
            port=int(item.get("port") or admin["port"]),
            sslmode=item.get("sslmode") or admin["sslmode"],
        )
        expect = item["expect"]
        found.append(Expectation(login, expect != "refused", expect == "kept"))
    return tuple(found)


def _entries(params: Mapping[str, Any]) -> dict[str, Secret]:
    found: dict[str, Secret] = {}
    for item in params["entries"]:
        if item["name"] in found:
            raise BadInput(f"entries: {item['name']!r} is there twice")
        if item.get("secret") is None and not item.get("predicted"):
            raise BadInput(f"entries: {item['name']!r} has no secret")
        found[item["name"]] = Secret.new() if item.get("predicted") else _secret(item["secret"])
    return found


def job_of(params: Mapping[str, Any], context: Context) -> Job:
    """Read a call's parameters.

    :raises BadInput: when they cannot be meant.
    """
    seconds = parse_duration(params["timeout"], "timeout").total_seconds()
    listed = params["auth"] == "userlist"
    if listed and not params["userlist"]:
        raise BadInput("userlist: missing; give the path of PgBouncer's auth_file")
    if not listed and (params["entries"] or params["absent"]):
        raise BadInput(
            "auth: with auth_query PgBouncer asks the database, so there is no line to write; leave "
            "entries and absent out"
        )
    key = params.get("fingerprint_key")
    return Job(
        path=params["userlist"] if listed else None,
        entries=_entries(params),
        absent=tuple(params["absent"]),
        logins=_expectations(params),
        console=_console(params, seconds),
        headroom=params["headroom"],
        seconds=seconds,
        key=base64.b64decode(reveal(key)) if key else context.randbytes(32),
        context=context,
        told=bool(params.get("told")),
    )
