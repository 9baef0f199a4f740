# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application that keeps secrets in rows, encrypted by the first key of a list, and opens them with any.

Usage: sealed_rows.py KEYS STATE LOGIN, where LOGIN is a file with the connection's arguments as JSON.

It reads the file KEYS anew on SIGHUP. In the table public.hooks it opens rows, compares them with the digests of what it put there,
writes other values, adds rows and removes some. In STATE it writes, as JSON, the digests of the keys that it has, how often it did what,
and what went wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg2
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

KEPT = 300


def digest(text: str) -> str:
    """What a value can be known by."""
    return hashlib.sha256(text.encode()).hexdigest()


class Application:
    """One connection and the keys."""

    def __init__(self, keys: Path, state: Path, connection: Any) -> None:
        self.path, self.state, self.connection = keys, state, connection
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.texts: list[str] = []
        self.read()
        signal.signal(signal.SIGHUP, self.read)

    def read(self, *_signal: object) -> None:
        """Read the keys anew."""
        self.texts = self.path.read_text().split(",")
        self.keys = MultiFernet([Fernet(text.encode()) for text in self.texts])

    def tell(self) -> None:
        """Write down how it is going."""
        told = {
            "keys": [digest(text) for text in self.texts],
            "counts": self.counts,
            "faults": self.faults,
        }
        part = self.state.with_suffix(".part")
        part.write_text(json.dumps(told))
        os.replace(part, self.state)

    def new(self) -> tuple[str, str]:
        """A ciphertext of a new value, and what the value can be known by."""
        text = secrets.token_urlsafe(24)
        return self.keys.encrypt(text.encode()).decode(), digest(text)

    def turn(self, cursor: Any) -> None:
        """Open a row and mostly change it, in one transaction."""
        cursor.execute(
            "SELECT id, secret, known FROM public.hooks WHERE id >= %s AND secret <> '' ORDER BY id LIMIT 1 FOR UPDATE",
            (1 + secrets.randbelow(400),),
        )
        for number, secret, known in cursor.fetchall():
            try:
                text = self.keys.decrypt(secret.encode()).decode()
            except InvalidToken:
                self.faults.append(f"row {number} cannot be opened")
                return
            if digest(text) != known:
                self.faults.append(f"row {number} holds another value")
            # Somebody else may meet the lock of this row.
            time.sleep(0.002)
            # Every third row of the first ones stays as it is, whatever the time that this has.
            kept = number % 3 == 0 and number <= KEPT
            others = (
                ("looked", "added")
                if kept
                else ("looked", "changed", "changed", "removed", "added")
            )
            what = secrets.choice(others)
            self.counts[what] += 1
            if what == "changed":
                row = (*self.new(), number)
                cursor.execute("UPDATE public.hooks SET secret = %s, known = %s WHERE id = %s", row)
            if what == "removed":
                cursor.execute("DELETE FROM public.hooks WHERE id = %s", (number,))
            if what == "added":
                cursor.execute(
                    "INSERT INTO public.hooks (secret, known) VALUES (%s, %s)", self.new()
                )

    def run(self) -> None:
        """Until it is ended."""
        with self.connection.cursor() as cursor:
            while True:
                try:
                    self.turn(cursor)
                    self.connection.commit()
                except psycopg2.Error as error:
                    self.faults.append(f"{type(error).__name__} {error.pgcode}")
                    self.connection.rollback()
                self.tell()
                time.sleep(0.004)


if __name__ == "__main__":
    keys, state, login = map(Path, sys.argv[1:4])
    Application(keys, state, psycopg2.connect(**json.loads(login.read_text()))).run()
