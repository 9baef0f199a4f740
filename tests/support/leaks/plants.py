# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that are put where none may be, one in each form, and have to be found there."""

from __future__ import annotations

import base64
import html
import json
import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from leaks.flows import AWKWARD
from leaks.watch import PLANTS

FORMS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "URL-quoted": lambda value: quote(value, safe=""),
    "JSON": json.dumps,
    "XML": html.escape,
    "Python": repr,
    "shell": shlex.quote,
    "SQL": lambda value: "'" + value.replace("'", "''") + "'",
    "hexadecimal": lambda value: value.encode().hex(),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64, one further": lambda value: base64.b64encode(b":" + value.encode()).decode(),
    "base64, two further": lambda value: base64.b64encode(b"u:" + value.encode()).decode(),
}
# In these a plain value looks as it is.
QUOTING = ("URL-quoted", "JSON", "XML", "Python", "shell", "SQL")


def _value(form: str) -> str:
    return secrets.token_hex(6) + (AWKWARD if form in QUOTING else "")


@dataclass(frozen=True)
class Plants:
    """One secret for each form, written in that form alone.

    :ivar values: by form.
    """

    values: dict[str, str] = field(default_factory=lambda: {form: _value(form) for form in FORMS})

    @property
    def texts(self) -> list[str]:
        """What is written."""
        return [FORMS[form](value) for form, value in self.values.items()]

    def play(self, folder: Path, *tasks: dict[str, Any]) -> Path:
        """A playbook of these tasks; ``texts`` are what they are to let out, and the file ``texts`` has them too.

        :param folder: where it goes, in a folder of its own that others cannot read.
        """
        place = folder / PLANTS
        place.mkdir(mode=0o700)
        book, held = place / "play.yml", place / "texts"
        for path in (book, held):
            path.touch(mode=0o600)
        held.write_text("\n".join(self.texts))
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
        book.write_text(yaml.safe_dump([{**play, "vars": {"texts": self.texts}}]))
        return book
