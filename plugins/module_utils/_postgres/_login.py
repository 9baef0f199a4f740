# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a server is and who administers it, from the mapping ``login`` of an inventory or a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve_mapping
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TEXTS = ("host", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs")
_NUMBERS = ("port", "connect_timeout")
KEYS = (*_TEXTS, *_NUMBERS, "admin")


@dataclass(frozen=True)
class Login:
    """One administrator at one server.

    :param host: a name, an address, or the folder of a Unix socket; empty for libpq's default.
    :param dbname: the database to start from; roles belong to the whole server.
    :param password: none leaves it to libpq (a password file, a certificate, peer authentication).
    :param connect_timeout: seconds.
    """

    username: str
    password: Optional[Secret] = None
    host: str = ""
    port: int = 5432
    dbname: str = "postgres"
    sslmode: str = "prefer"
    sslrootcert: str = ""
    sslcert: str = ""
    sslkey: str = ""
    target_session_attrs: str = ""
    connect_timeout: int = 10

    def __str__(self) -> str:
        return f"{self.username} at {self.host or 'the local server'}:{self.port}"

    def arguments(self, database: str = "") -> Dict[str, Any]:
        """What psycopg2 is called with; holds the password in clear."""
        wanted: Dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "dbname": database or self.dbname,
            "user": self.username,
            "sslmode": self.sslmode,
            "sslrootcert": self.sslrootcert,
            "sslcert": self.sslcert,
            "sslkey": self.sslkey,
            "target_session_attrs": self.target_session_attrs,
            "connect_timeout": self.connect_timeout,
            "application_name": "keyturn",
            "client_encoding": "UTF8",
        }
        if self.password:
            wanted["password"] = self.password.reveal()
        return {key: value for key, value in wanted.items() if value != ""}


def _number(value: Any, option: str, highest: int) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isdigit() or not 0 < int(text) <= highest:
        raise BadInput(f"{option}: expected a whole number from 1 to {highest}")
    return int(text)


def check_login(login: Any, option: str) -> Mapping[str, Any]:
    """The mapping, with nothing unknown in it; nothing is resolved.

    :raises BadInput: naming the key and what is expected.
    """
    if not isinstance(login, Mapping):
        raise BadInput(f"{option}: expected a mapping with host, dbname and admin")
    unknown = sorted(set(login) - set(KEYS))
    if unknown:
        raise BadInput(f"{option}: there is no key '{unknown[0]}'; known: {', '.join(KEYS)}")
    sslmode = login.get("sslmode") or "prefer"
    if sslmode not in SSLMODES:
        raise BadInput(f"{option}.sslmode: expected one of {', '.join(SSLMODES)}")
    if not login.get("admin"):
        raise BadInput(
            f"{option}.admin: missing; give a reference to the administrator's username and password, "
            "such as ref+vault://secret/postgres/admin"
        )
    return login


def open_login(login: Any, context: Context, option: str) -> Login:
    """Resolve a ``login`` mapping.

    :param option: how messages name the mapping.
    :raises BadInput: as :func:`check_login`; the references' own errors as ``_refs`` gives them.
    """
    checked = check_login(login, option)
    admin = resolve_mapping(checked["admin"], context, f"{option}.admin")
    username = admin.get("username") or admin.get("user")
    if username is None:
        raise BadInput(
            f"{option}.admin: there is no key 'username'; expected username and password"
        )
    given: Dict[str, Any] = {key: str(checked[key]) for key in _TEXTS if checked.get(key)}
    for key, highest in (("port", 65535), ("connect_timeout", 600)):
        if checked.get(key) is not None:
            given[key] = _number(checked[key], f"{option}.{key}", highest)
    return Login(username.reveal(), admin.get("password"), **given)
