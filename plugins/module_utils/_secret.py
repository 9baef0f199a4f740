# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A string that does not show itself."""

from __future__ import annotations

import hmac
from typing import Any, Mapping, Union

MASK = "********"


class Secret:
    """A secret value; it leaves this wrapper only through :meth:`reveal`.

    It is no ``str`` on purpose: a value that slips into a message, a result or a debug dump shows as asterisks, and JSON
    refuses it.

    :param text: the value.
    :param known: false for a value that check mode predicts and that does not exist yet.
    """

    __slots__ = ("_text", "known")

    def __init__(self, text: str, known: bool = True) -> None:
        self._text = text
        self.known = known

    @classmethod
    def new(cls, identity: str = "") -> Secret:
        """The stand-in for a value that the real run would make.

        :param identity: stands for all that the value will depend on, and tells nothing of it: stand-ins with the same one are
            equal, and those with different ones are not, as the values will be.
        """
        return cls(f"(new):{identity}" if identity else "(new)", known=False)

    def reveal(self) -> str:
        """The value itself."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        same = hmac.compare_digest(
            self._text.encode("utf-8", "surrogatepass"),
            other._text.encode("utf-8", "surrogatepass"),
        )
        return same and self.known == other.known

    def __hash__(self) -> int:
        return hash((self._text, self.known))

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled: that would write it to a file or a pipe")


Value = Union[str, Secret]


def reveal(value: Value) -> str:
    """The text of a plain or a secret value."""
    return value.reveal() if isinstance(value, Secret) else value


def is_known(value: Value) -> bool:
    """Whether the value exists, as opposed to one predicted in check mode."""
    return value.known if isinstance(value, Secret) else True


def to_plain(value: Any) -> Any:
    """Values that go over the connection: secrets as the texts that they are."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value
