# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What re-encryption asks of a place where ciphertexts are stored, and of the cipher that made them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterator,
    List,
    Mapping,
    Protocol,
    Sequence,
    Set,
    Tuple,
)

Key = Tuple[str, ...]
"""What names one ciphertext in its place and stays the same while it is replaced: the key columns of a row, the path of a file."""

NAMED = 20
"""How many keys are named where more are counted."""


@dataclass(frozen=True)
class Item:
    """One ciphertext as it is stored."""

    key: Key
    text: bytes


@dataclass(frozen=True)
class Replacement:
    """A ciphertext and what takes its place, if it is still the same by then."""

    key: Key
    old: bytes
    new: bytes


class Store(Protocol):
    """A place that was opened. Nothing is written but by :meth:`replace`."""

    def pages(self) -> Iterator[List[Item]]:
        """All ciphertexts, in the order of their keys, some at a time. What is empty is none.

        Each page begins behind the last key of the one before, so that what is added or removed meanwhile moves nothing.

        :raises KeyturnError: a part of the place cannot be read. It is never taken for one that holds nothing.
        """

    def again(self, keys: Collection[Key]) -> List[Item]:
        """These once more, as they are by now; those that are gone are left out."""

    def replace(self, replacements: Sequence[Replacement]) -> Set[Key]:
        """Put the new ones in the places of those that are still the old ones; returns the keys of what was replaced.

        What somebody changed or works on meanwhile stays as it is.
        """

    def shown(self, key: Key) -> str:
        """A key for people, who may be others than those that may read the place; empty where it may tell something about somebody."""

    def check_write(self) -> None:
        """Find out, without a write, what would keep :meth:`replace` from its work.

        :raises KeyturnError: saying what.
        """

    def close(self) -> None:
        """End what was opened."""


class Cipher(Protocol):
    """The keys of a keyring, at work."""

    def is_newest(self, text: bytes) -> bool:
        """Whether the newest key made it."""

    def is_older(self, text: bytes) -> bool:
        """Whether one of the other keys made it."""

    def renewed(self, text: bytes) -> bytes:
        """The same under the newest key, with the time at which it was first made."""


def shown(key: Key) -> str:
    """A key as it is."""
    return ", ".join(key)


@dataclass
class Counts:
    """What was found in one place, and done there.

    :ivar done: under the newest key when it was looked at.
    :ivar to_do: under an older key when it was first looked at.
    :ivar reencrypted: replaced by this run.
    :ivar unreadable: keys of those that no key of the keyring opens.
    :ivar left: keys of those that somebody else worked on until the end.
    :ivar shown: how a key is told; see :class:`Store`.
    """

    done: int = 0
    to_do: int = 0
    reencrypted: int = 0
    unreadable: List[Key] = field(default_factory=list)
    left: List[Key] = field(default_factory=list)
    shown: Callable[[Key], str] = shown

    def result(self) -> Dict[str, Any]:
        """As facts: numbers, and the names of a few, never a ciphertext."""
        return {
            "done": self.done,
            "to_do": self.to_do,
            "reencrypted": self.reencrypted,
            "unreadable": len(self.unreadable),
            "unreadable_keys": self._named(self.unreadable),
            "left": len(self.left),
            "left_keys": self._named(self.left),
        }

    def _named(self, keys: Sequence[Key]) -> List[str]:
        return [text for text in map(self.shown, keys[:NAMED]) if text]

    def some(self, keys: Sequence[Key], count: int = 5) -> str:
        """The first few of many keys, joined."""
        named = [text for text in map(self.shown, keys[:count]) if text]
        if not named:
            return "their keys may tell something about people; show_keys: true names them"
        more = len(keys) - len(named)
        return "; ".join(named) + (f"; and {more} more" if more > 0 else "")


class PlaceDefinition(Protocol):
    """One place of ``keyturn_reencrypt``, read; nothing was asked yet."""

    @property
    def on(self) -> str:
        """The inventory host whose files these are; empty where the rotation runs."""

    @property
    def where(self) -> str:
        """How messages and results name it."""

    @property
    def needs(self) -> Mapping[str, Any]:
        """References that the controller resolves, by name; empty for none."""

    @property
    def pause(self) -> float:
        """Seconds after each page that something was written in."""
