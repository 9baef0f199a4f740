# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of an env file (dotenv, systemd ``EnvironmentFile=``) as a place for sinks."""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_dialects import DIALECTS
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_text import (
    KEY,
    Entry,
    duplicates,
    edit,
    otherwise_set,
    parse,
    quote,
    values,
    with_colon,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Changes

COMMON = "common"
DIALECT_NAMES = (COMMON, *sorted(DIALECTS))


class EnvCodec:
    """Reads and changes lines; everything else in the file keeps its text and its place.

    :param dialect: one of :data:`DIALECT_NAMES`: ``common``, as all readers take it, or the one reader that the file is for.
    """

    def __init__(self, dialect: str = COMMON) -> None:
        self._dialect = DIALECTS.get(dialect)

    def check(self, changes: Changes, where: str) -> None:
        """Refuse what cannot be written so that it is read back.

        :raises BadInput: naming the key.
        """
        for name, value in changes.items():
            if not KEY.match(name):
                raise BadInput(
                    f"{where}: '{name}' is no name of a variable: expected letters, digits and underscores, no digit first"
                )
            if value is not None and value.known:
                text = value.reveal()
                quote(text, f"{where}, {name}", self._dialect)
                _check_encoding(text, f"{where}, {name}")

    def fields(self, text: str, names: Tuple[str, ...], where: str) -> Dict[str, Optional[Secret]]:
        """The values that count; none for one that readers take differently or that has several lines.

        :raises Corrupt: for a name with a line that one reader alone takes for an assignment.
        """
        entries = parse(text, self._dialect)
        for name, line in self._colons(entries, names).items():
            raise Corrupt(
                f"{where}: line {line} assigns {name} with a colon, which only docker compose takes for an assignment; write it with "
                "'=', or remove it"
            )
        there = values(entries)
        several = duplicates(entries, names)
        found: Dict[str, Optional[Secret]] = {}
        for name in names:
            if name in there:
                value = there[name]
                found[name] = None if value is None or name in several else Secret(value)
        return found

    def notes(self, text: str, names: Tuple[str, ...]) -> Tuple[str, ...]:
        """What a person should know about the file as it was."""
        entries = parse(text, self._dialect)
        several = (
            f"{name} had several lines; readers take the last one, which stays"
            for name in duplicates(entries, names)
        )
        shell = self._dialect is None or self._dialect.name == "posix"
        others = (
            f"line {line} may set {name} otherwise, or unset it, for some readers; look at it"
            for name, line in otherwise_set(entries, names, shell)
        )
        return (*several, *others)

    def _colons(self, entries: List[Entry], names: Tuple[str, ...]) -> Mapping[str, int]:
        concerned = self._dialect is None or self._dialect.name == "compose"
        return with_colon(entries, names) if concerned else {}

    def edit(self, text: str, changes: Mapping[str, Optional[str]], where: str) -> Optional[str]:
        """The new text of the file."""
        return edit(text, changes, where, self._dialect)


def _check_encoding(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{where}: the value is no UTF-8 text; encode it first") from None
