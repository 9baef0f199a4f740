# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exactly one thing of a name at a provider: what an earlier run made is found, and what is too much is ended.

A provider that made something and could not say so has a key that is valid and that nobody knows. So a name is looked up before
anything is made, and once more when it is not known what came of it.
"""

from __future__ import annotations

import re
from typing import Callable, Generic, List, TypeVar

from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._http_api import Uncertain
from ansible_collections.keyturn.runbooks.plugins.module_utils._tries import Tries

Made = TypeVar("Made")


def carries(title: str, rotation_id: str) -> bool:
    """Whether the name of something at a provider holds a rotation id as a word of its own: ``r1`` is no part of ``r12``."""
    around = r"[A-Za-z0-9_-]"
    word = rf"(?<!{around}){re.escape(rotation_id)}(?!{around})"
    return bool(rotation_id) and bool(re.search(word, title))


class OnlyOne(Generic[Made]):
    """How things of one name are found, made and ended.

    :param look: all that there are, the one to keep first.
    :param make: makes another one. It may raise :class:`Uncertain`.
    :param end: makes one invalid.
    :param usable: whether its key can be read.
    :param same: whether two are one and the same.
    :param tries: gives the tries of a wait, each time from its beginning.
    """

    def __init__(
        self,
        look: Callable[[], List[Made]],
        make: Callable[[], Made],
        end: Callable[[Made], None],
        usable: Callable[[Made], bool],
        same: Callable[[Made, Made], bool],
        tries: Callable[[], Tries],
    ) -> None:
        self._look, self._make, self._end = look, make, end
        self._usable, self._same, self._tries = usable, same, tries

    def get(self) -> Made:
        """The only one; made if there is none.

        :raises Unreachable: something may have been made and is not to be found yet; another run looks again.
        """
        found, tries, doubtful = self._look(), self._tries(), False
        while True:
            for kept in filter(self._usable, found):
                self._end_others(found, kept)
                return kept
            for useless in found:
                self._end(useless)
            try:
                made = self._make()
            except Uncertain as doubt:
                found, doubtful = self._await(doubt), True
                if any(map(self._usable, found)):
                    continue
                # A request that was answered, or whose key is there, is over; any other may still be under way.
                if not (found or doubt.over) or not tries.again():
                    raise doubt.problem from None
                continue
            if doubtful:
                self._end_others(self._look(), made)
            return made

    def _await(self, doubt: Uncertain) -> List[Made]:
        found, tries = self._look(), self._tries()
        while not found and not doubt.over and tries.again():
            found = self._look()
        return found

    def _end_others(self, found: List[Made], kept: Made) -> None:
        for other in found:
            if not self._same(other, kept):
                self._end(other)
