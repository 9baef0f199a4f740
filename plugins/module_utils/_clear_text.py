# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a PostgreSQL server or a PgBouncer may ask for the password itself, instead of a proof of it.

With ``sslmode=prefer``, anybody who listens on the port while the server is down would be given it: without TLS, or with a
certificate of his own, which ``prefer`` does not check.
"""

from __future__ import annotations

import os
from typing import Dict

CLEAR_TEXT = "it asks for the password in clear text; where that is meant, set sslmode to verify-full (or require)"
_ENCRYPTED = ("require", "verify-ca", "verify-full")
_REQUIRE_AUTH_SINCE = 160000


def may_ask_for_clear_text(host: str, sslmode: str) -> bool:
    """Whether it may: through a Unix socket, or where encryption was asked for."""
    return not host or host.startswith(("/", "@")) or sslmode in _ENCRYPTED


def libpq_guard(host: str, sslmode: str, libpq: int) -> Dict[str, str]:
    """The options that keep libpq from giving the password away; it knows them since version 16.

    :param libpq: the version, as ``psycopg2.extensions.libpq_version`` has it.
    """
    known = libpq >= _REQUIRE_AUTH_SINCE and not os.environ.get("PGREQUIREAUTH")
    return (
        {} if may_ask_for_clear_text(host, sslmode) or not known else {"require_auth": "!password"}
    )
