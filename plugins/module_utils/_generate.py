# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New secret values: what ``keyturn_generate`` may ask for, and how it is made.

============  =============================================================================================
type          options (defaults)
============  =============================================================================================
password      ``length`` (40), ``classes`` (lower, upper, digits; also symbols): at least one character of each,
              ``exclude`` (characters that must not occur), ``url_safe`` (false: of the symbols, only ``-._~``)
hex           ``bytes`` (32), written as two lower-case digits each
base64        ``bytes`` (32), RFC 4648 section 4 with padding, as many programs take a master key
base64url     ``bytes`` (32), RFC 4648 section 5 without padding
fernet        none: 32 bytes, RFC 4648 section 5 with padding, as Fernet's specification has it; 44 characters
uuid          version 4, RFC 9562; it has 122 random bits, so it needs ``allow_weak``
============  =============================================================================================

All take ``allow_weak`` (false): below 128 bits of entropy a value is refused unless it is true, and then that warns. Every
password that fits its options is equally likely: characters and whole passwords that do not fit are thrown away and drawn
again, never bent to fit.
"""

from __future__ import annotations

import base64
import itertools
import math
import string
import uuid
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Callable, List, Mapping, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, KeyturnError

MINIMUM_BITS = 128
_SYMBOLS = "!#$%&()*+,-./:;<=>?@[]^_{|}~"
_URL_SAFE = "-._~"
"""The unreserved characters of RFC 3986, beside letters and digits. Of all symbols, quotes, backquote and backslash are left
out: env files, shells and connection strings disagree on them."""

CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "lower": string.ascii_lowercase,
        "upper": string.ascii_uppercase,
        "digits": string.digits,
        "symbols": _SYMBOLS,
    }
)

_ROUNDS = 260
_FERNET_BYTES = 32
"""128 bits to sign with and 128 bits to encrypt with."""

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True)
class Recipe:
    """How to make one kind of value.

    :param bits: entropy: the logarithm of the number of values, all equally likely.
    """

    bits: float
    make: Callable[[RandomBytes], str]


class _Options:
    """One generator's options, each taken once and checked."""

    def __init__(self, spec: Mapping[str, Any], allowed: Sequence[str], option: str) -> None:
        self._spec = spec
        self._option = option
        strange = sorted(set(map(str, spec)) - {"type", "allow_weak", *allowed})
        if strange:
            names = ", ".join(sorted({"type", "allow_weak", *allowed}))
            raise self.bad(
                f"there is no '{strange[0]}' for type {spec.get('type', 'password')}; expected some of {names}"
            )

    def bad(self, problem: str) -> BadInput:
        return BadInput(f"{self._option}: {problem}")

    def number(self, name: str, default: int, most: int) -> int:
        value = self._spec.get(name, default)
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise self.bad(f"'{name}' must be a whole number from 1 to {most}")
        return value

    def flag(self, name: str) -> bool:
        value = self._spec.get(name, False)
        if isinstance(value, str) and value.lower() in ("true", "false", "yes", "no"):
            value = value.lower() in ("true", "yes")
        if not isinstance(value, bool):
            raise self.bad(f"'{name}' must be true or false")
        return value

    def text(self, name: str) -> str:
        value = self._spec.get(name, "")
        if not isinstance(value, str):
            raise self.bad(f"'{name}' must be a text; put it in quotes")
        return value

    def names(self, name: str, default: Tuple[str, ...], known: Sequence[str]) -> List[str]:
        value = self._spec.get(name, default)
        chosen = value.split(",") if isinstance(value, str) else value
        if not isinstance(chosen, (list, tuple)) or not chosen:
            raise self.bad(f"'{name}' must be a list with some of {', '.join(known)}")
        chosen = [str(item).strip() for item in chosen]
        wrong = [item for item in chosen if item not in known]
        if wrong:
            raise self.bad(
                f"'{name}': there is no '{wrong[0]}'; expected some of {', '.join(known)}"
            )
        return list(dict.fromkeys(chosen))


def _count(alphabets: Sequence[str], length: int) -> int:
    """How many texts of that length have at least one character of each alphabet (inclusion and exclusion)."""
    sizes = [len(alphabet) for alphabet in alphabets]
    total = 0
    for left_out in range(len(sizes) + 1):
        for gone in itertools.combinations(sizes, left_out):
            total += (-1) ** left_out * (sum(sizes) - sum(gone)) ** length
    return total


def _draw(randbytes: RandomBytes, alphabet: str, length: int) -> str:
    """Characters, each equally likely: bytes at or above the largest multiple of the alphabet's size are thrown away."""
    limit = 256 - 256 % len(alphabet)
    drawn: List[str] = []
    # Fewer than half of the bytes are thrown away, so a random source fills this in a few rounds.
    for _round in range(_ROUNDS):
        drawn += [alphabet[byte % len(alphabet)] for byte in randbytes(length) if byte < limit]
        if len(drawn) >= length:
            return "".join(drawn[:length])
    raise _not_random()


def _not_random() -> KeyturnError:
    return KeyturnError(
        "the random source of this machine does not give random bytes; nothing was made"
    )


def _password(options: _Options) -> Recipe:
    length = options.number("length", 40, 1024)
    url_safe = options.flag("url_safe")
    excluded = options.text("exclude")
    alphabets = []
    for name in options.names("classes", ("lower", "upper", "digits"), tuple(CLASSES)):
        characters = _URL_SAFE if url_safe and name == "symbols" else CLASSES[name]
        alphabets.append(
            "".join(character for character in characters if character not in excluded)
        )
        if not alphabets[-1]:
            raise options.bad(
                f"'exclude' leaves no character of the class '{name}'; take the class out of 'classes'"
            )
    if length < len(alphabets):
        raise options.bad(
            f"'length' {length} has no room for one character of each of {len(alphabets)} classes"
        )
    alphabet = "".join(alphabets)
    fitting = _count(alphabets, length)
    # With a working random source, this many misses in a row are as likely as guessing a 256-bit key.
    tries = 1 + 180 * (len(alphabet) ** length // fitting + 1)

    def make(randbytes: RandomBytes) -> str:
        for _attempt in range(tries):
            drawn = _draw(randbytes, alphabet, length)
            if all(any(character in chosen for character in drawn) for chosen in alphabets):
                return drawn
        raise _not_random()

    return Recipe(math.log2(fitting), make)


def _hex(options: _Options) -> Recipe:
    size = options.number("bytes", 32, 1024)
    return Recipe(8.0 * size, lambda randbytes: randbytes(size).hex())


def _base64(options: _Options) -> Recipe:
    size = options.number("bytes", 32, 1024)
    return Recipe(8.0 * size, lambda randbytes: base64.b64encode(randbytes(size)).decode())


def _base64url(options: _Options) -> Recipe:
    size = options.number("bytes", 32, 1024)
    return Recipe(
        8.0 * size,
        lambda randbytes: base64.urlsafe_b64encode(randbytes(size)).rstrip(b"=").decode(),
    )


def _fernet(options: _Options) -> Recipe:
    return Recipe(
        8.0 * _FERNET_BYTES,
        lambda randbytes: base64.urlsafe_b64encode(randbytes(_FERNET_BYTES)).decode(),
    )


def _uuid(options: _Options) -> Recipe:
    return Recipe(122.0, lambda randbytes: str(uuid.UUID(bytes=randbytes(16), version=4)))


TYPES: Mapping[str, Tuple[Tuple[str, ...], Callable[[_Options], Recipe]]] = MappingProxyType(
    {
        "password": (("length", "classes", "exclude", "url_safe"), _password),
        "hex": (("bytes",), _hex),
        "base64": (("bytes",), _base64),
        "base64url": (("bytes",), _base64url),
        "fernet": ((), _fernet),
        "uuid": ((), _uuid),
    }
)
"""The options of each type, and what makes its recipe."""


def recipe(spec: Mapping[str, Any], context: Context, option: str) -> Recipe:
    """Check what is asked for, without making it.

    :param option: the variable that it came in, for messages.
    :raises BadInput: for an unknown type or option, a value that cannot be meant, or too little entropy.
    """
    if not isinstance(spec, Mapping):
        raise BadInput(f"{option}: expected a mapping such as {{type: password, length: 40}}")
    kind = str(spec.get("type", "password"))
    if kind not in TYPES:
        raise BadInput(f"{option}: there is no type '{kind}'; expected one of {', '.join(TYPES)}")
    allowed, build = TYPES[kind]
    options = _Options(spec, allowed, option)
    weak_allowed = options.flag("allow_weak")
    made = build(options)
    if made.bits < MINIMUM_BITS:
        size = f"such a {kind} has {math.floor(made.bits)} bits of entropy, and {MINIMUM_BITS} are the least"
        if not weak_allowed:
            stronger = "make it longer" if allowed else "take another type"
            raise BadInput(
                f"{option}: {size}; {stronger}, or say allow_weak: true if its user takes nothing stronger"
            )
        context.warn(f"{option}: {size}; it is made all the same because of allow_weak")
    return made


def generate(spec: Mapping[str, Any], context: Context, option: str) -> str:
    """Make a new value.

    :raises BadInput: as :func:`recipe`.
    """
    return recipe(spec, context, option).make(context.randbytes)
