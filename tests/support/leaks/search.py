# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for secrets, for hundreds of them in the logs of hundreds of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from show.leaks import Leak, Search, forms

WIDTH = 8
# A text of this length has a whole word of WIDTH bytes at a multiple of WIDTH, wherever it stands.
LONG = 2 * WIDTH - 1


@dataclass(frozen=True)
class Wanted:
    """One way to write one secret.

    :param name: of the secret.
    """

    name: str
    form: str
    text: bytes


@dataclass
class QuickSearch(Search):
    """The same search, in one pass over a text: its words at every eighth byte are looked up among those of all secrets."""

    _words: dict[int, list[Wanted]] = field(default_factory=dict)
    _short: list[Wanted] = field(default_factory=list)

    def know(self, found: Mapping[str, str]) -> None:
        """Learn secrets; see :meth:`show.leaks.Search.know`."""
        before = dict(self.secrets)
        super().know(found)
        # A name may get another value; the one before is not forgotten.
        for name, value in self.secrets.items() - before.items():
            for form, texts in forms(value).items():
                for text in texts:
                    self._keep(Wanted(name, form, text))

    def _keep(self, wanted: Wanted) -> None:
        if len(wanted.text) < LONG:
            self._short.append(wanted)
            return
        for start in range(WIDTH):
            (word,) = memoryview(wanted.text[start : start + WIDTH]).cast("Q")
            self._words.setdefault(word, []).append(wanted)

    def text(self, place: str, content: bytes, without: Iterable[str] = ()) -> list[Leak]:
        """Search one text; see :meth:`show.leaks.Search.text`."""
        self.places += 1
        self.size += len(content)
        words = set(memoryview(content)[: len(content) // WIDTH * WIDTH].cast("Q"))
        maybe = {wanted for word in words & self._words.keys() for wanted in self._words[word]}
        allowed = set(without)
        found = {
            Leak(wanted.name, wanted.form, place)
            for wanted in (*maybe, *self._short)
            if wanted.name not in allowed and wanted.text in content
        }
        self.leaks.update(found)
        return sorted(found, key=str)
