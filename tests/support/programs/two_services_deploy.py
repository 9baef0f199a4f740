# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deploy script's work: two parameters of AWS become an env file, and the application logs in to PostgreSQL with what it says.

Usage: two_services_deploy.py ADDRESS PREFIX ENV_FILE PORT DBNAME. It ends with 3, and changes nothing, where a file ``broken`` lies
beside the env file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psycopg2
from two_services import parameter, written


def main(address: str, prefix: str, env_file: str, port: str, dbname: str) -> int:
    path = Path(env_file)
    if path.with_name("broken").exists():
        return 3
    user, password = (parameter(address, f"{prefix}/{key}") for key in ("DB_USER", "DB_PASSWORD"))
    psycopg2.connect(
        host="127.0.0.1", port=port, dbname=dbname, user=user, password=password
    ).close()
    written(path, f"DB_USER={user}\nDB_PASSWORD={password}\n")
    return 0


if __name__ == "__main__":
    # A message of psycopg2 is nobody's business.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    sys.exit(main(*sys.argv[1:]))
