# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and texts inside of statements. The planning is pure, so it quotes without a connection."""

from __future__ import annotations

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput

MAX_BYTES = 63
"""The longest name that PostgreSQL keeps (NAMEDATALEN - 1); it silently cuts longer ones."""

_RESERVED = ("public", "none", "current_role", "current_user", "session_user")


def identifier(name: str) -> str:
    """A name as PostgreSQL reads it back unchanged, whatever is in it."""
    if "\0" in name:
        raise BadInput("a name in PostgreSQL cannot hold a NUL character")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string constant, for connections that keep ``standard_conforming_strings`` on, as :mod:`_connect`'s do."""
    if "\0" in text:
        raise BadInput("a text in PostgreSQL cannot hold a NUL character")
    return "'" + text.replace("'", "''") + "'"


def grantee(name: str) -> str:
    """Who a right is given to: a role, or everybody when the name is empty."""
    return identifier(name) if name else "PUBLIC"


def check_role_name(name: object, option: str) -> str:
    """The name of a role that may be made or changed.

    :raises BadInput: naming the option and what a name must be.
    """
    if not isinstance(name, str) or not name:
        raise BadInput(f"{option}: expected the name of a role")
    if "\0" in name:
        raise BadInput(f"{option}: a role's name cannot hold a NUL character")
    size = len(name.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise BadInput(
            f"{option}: '{name}' has {size} bytes and PostgreSQL keeps {MAX_BYTES}; choose a shorter name"
        )
    if name.lower() in _RESERVED or name.startswith("pg_"):
        raise BadInput(f"{option}: PostgreSQL keeps the name '{name}' for itself; choose another")
    return name
