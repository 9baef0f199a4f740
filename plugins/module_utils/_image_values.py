# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether values of the estate are in an image, without sending a value to the image's host or its content to the controller.

The controller sends a random key and the first bits of a digest of each value. The host returns the digest under that key of every text
with the same bits, and the controller sees which are of a value. There are so few bits that one text in 4,096 to 8,192 has those of some
value by chance, however many values there are: nobody on that host can confirm a guess of a weak value, and few other texts are returned.

That holds only while a value is known there by the same few bits, whatever is sent. So nothing is sent of its encoded forms, which the
host decodes instead: each form's bits would be a further test of a guess. And the bits do not depend on the key, which is another one for
each image: a guess would be tested once more by each.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, Set, Tuple
from urllib.parse import quote, unquote_to_bytes

from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

SHORTEST = 8
"""Characters: shorter values are in any image by chance."""

_FITS_BY_CHANCE = 12
"""Bits beyond those that the number of values takes up: one text in 4,096, at most, begins as one of them."""
_COMPARED = 32
_SAME_FOR_ALL = b"keyturn.runbooks.image_audit"

_LEAST_OF_A_LINE = 16
_BASE64 = re.compile(rb"[0-9A-Za-z+/_-]{8,}={0,2}\Z")
_ORDINARY = bytes.maketrans(b"-_", b"+/")


def value_bits(value: str) -> str:
    """12 bits of a value's digest: they tell that it changed, and do not let anybody confirm a guess."""
    return sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:3]


def _digest(key: bytes, text: bytes) -> str:
    return blake2b(text, key=key, digest_size=32).hexdigest()


def _begin(text: bytes, bits: int) -> int:
    digest = blake2b(text, key=_SAME_FOR_ALL, digest_size=_COMPARED // 8).digest()
    return int.from_bytes(digest, "big") >> (_COMPARED - bits)


def _encoded(value: str) -> Iterator[str]:
    raw = value.encode("utf-8", "surrogatepass")
    yield quote(raw, safe="")
    yield json.dumps(value)[1:-1]
    for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
        yield encoded.decode()
        yield encoded.decode().rstrip("=")


def _decoded(text: bytes) -> Iterator[bytes]:
    """What a text may stand for beside itself; see :func:`_encoded`."""
    if b"%" in text:
        yield unquote_to_bytes(text)
    if b"\\" in text:
        with suppress(ValueError):
            yield str(json.loads(b'"%s"' % text)).encode("utf-8", "surrogatepass")
    if _BASE64.match(text):
        digits = text.rstrip(b"=").translate(_ORDINARY)
        with suppress(ValueError):
            found = base64.b64decode(digits + b"=" * (-len(digits) % 4))
            yield found
            # As the header of a request has it, behind the name of whom it logs in.
            yield found.partition(b":")[2]


def _longest_line(value: str) -> str:
    """Of a value of several lines; empty where there is none that could be told from others."""
    lines = [line.strip() for line in value.splitlines() if not line.startswith("-----")]
    longest = max(lines, key=len, default="") if len(lines) > 1 else ""
    return longest if len(longest) >= _LEAST_OF_A_LINE else ""


@dataclass
class Known:
    """Values of the estate, on the controller.

    :ivar short: values that are too short to be looked for, by what they are.
    """

    key: bytes = field(repr=False)
    short: List[str] = field(default_factory=list)
    _texts: Dict[bytes, str] = field(default_factory=dict, repr=False)
    _values: Set[bytes] = field(default_factory=set, repr=False)
    _found: Dict[str, Tuple[str, str]] = field(default_factory=dict, repr=False)

    def add(self, what: str, value: Secret, username: str = "") -> None:
        """A value that is looked for.

        :param what: what it is, for people.
        :param username: whom it logs in; the pair is also looked for as the header of a request has it.
        """
        text = value.reveal().strip()
        if len(text) < SHORTEST:
            self.short.append(what)
            return
        for own in filter(None, (text, _longest_line(text))):
            raw = own.encode("utf-8", "surrogatepass")
            self._values.add(raw)
            self._found.setdefault(_digest(self.key, raw), (what, value_bits(own)))
            for form in (own, *_encoded(own)):
                self._texts.setdefault(form.encode("utf-8", "surrogatepass"), what)
        if username:
            pair = f"{username}:{text}".encode("utf-8", "surrogatepass")
            self._texts.setdefault(base64.b64encode(pair), what)

    def marks(self) -> Dict[str, Any]:
        """What the host gets to know of them."""
        bits = min(_FITS_BY_CHANCE + len(self._values).bit_length(), _COMPARED)
        return {
            "key": self.key.hex(),
            "bits": bits,
            "lengths": sorted({len(text) for text in self._texts}),
            "sizes": sorted(set(map(len, self._values))),
            "begins": sorted({_begin(raw, bits) for raw in self._values}),
        }

    def of_digest(self, digest: str) -> Tuple[str, str]:
        """Whose value this is, and its :func:`value_bits`; empty when it is none."""
        return self._found.get(digest, ("", ""))

    def hide(self, text: str) -> str:
        """The text without any of the values."""
        for value in self._texts:
            shown = value.decode("utf-8", "replace")
            if shown in text:
                text = text.replace(shown, "********")
        return text

    def close(self) -> None:
        """Forget them."""
        self._texts.clear()
        self._values.clear()
        self._found.clear()


# The texts of a file that may be a value: what stands between marks of punctuation, of several kinds.
_WORDS: Tuple[Any, ...] = (
    re.compile(rb"[0-9A-Za-z_-]{8,}"),
    re.compile(rb"[0-9A-Za-z_+/=.~%-]{8,}"),
    re.compile(rb"\S{8,}"),
)
_QUOTED = (re.compile(rb'"([^"\n]{8,8192})"'), re.compile(rb"'([^'\n]{8,8192})'"))
_ASSIGNED = re.compile(rb"[=:][ \t]*([^\r\n]{8,8192})")
_LINES = re.compile(rb"[^\r\n]{8,8192}")
_EDGES = b"\"'`,;()<>[]{}"


def _texts(data: bytes) -> Iterator[Tuple[int, bytes]]:
    for expression in _WORDS:
        for match in expression.finditer(data):
            word, start = match.group(), match.start()
            yield start, word
            yield start, word.strip(_EDGES)
            cut = word.find(b"=") + 1
            if cut:
                yield start + cut, word[cut:].strip(_EDGES)
                yield start + cut, word[cut:].rstrip(b"=")
    for expression in (*_QUOTED, _ASSIGNED):
        for match in expression.finditer(data):
            yield match.start(1), match.group(1)
            yield match.start(1), match.group(1).strip().strip(_EDGES)
    for match in _LINES.finditer(data):
        yield match.start(), match.group().strip()
    yield 0, data.strip()


class Marks:
    """What a host looks for.

    :param given: what :meth:`Known.marks` made; nothing is looked for when it is empty.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._key = bytes.fromhex(str(given.get("key", "")))
        self._lengths: FrozenSet[int] = frozenset(int(one) for one in given.get("lengths") or ())
        self._sizes: FrozenSet[int] = frozenset(int(one) for one in given.get("sizes") or ())
        self._bits = int(given.get("bits") or _COMPARED)
        self._begins: FrozenSet[int] = frozenset(int(one) for one in given.get("begins") or ())

    def digests(self, data: bytes) -> Iterator[Tuple[int, str]]:
        """Where a text stands that may be a value, as it is or encoded, and the value's whole keyed digest."""
        if not self._begins:
            return
        seen: Set[bytes] = set()
        told: Set[Tuple[int, bytes]] = set()
        for start, text in _texts(data):
            if len(text) not in self._lengths or text in seen:
                continue
            seen.add(text)
            for meant in (text, *_decoded(text)):
                fits = len(meant) in self._sizes and _begin(meant, self._bits) in self._begins
                if fits and (start, meant) not in told:
                    told.add((start, meant))
                    yield start, _digest(self._key, meant)
