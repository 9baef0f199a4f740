# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fernet keys as text: one key, or a list of them of which the first encrypts. Pure; needs the standard library alone.

A key is 32 bytes (128 bits to sign with and 128 bits to encrypt with) in the URL-safe alphabet of RFC 4648 section 5 with its
padding: 44 characters. Python's ``cryptography`` is less strict and takes the ordinary alphabet, line breaks and bits that no
encoder writes, which other implementations refuse; here a key is what all of them take.
"""

from __future__ import annotations

import base64
import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import fingerprint
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

LENGTH = 44
"""Characters of a key."""
FIELD = "value"
"""The field that fingerprints of keys are of: a key shows the same one as in a keyring of the same salt, whatever its number."""
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*={0,2}\Z")
_ORDINARY = re.compile(r"[A-Za-z0-9+/]*={0,2}\Z")
_JOINED = re.compile(r"[A-Za-z0-9_=-]*\Z")
_HEX = re.compile(r"[0-9A-Fa-f]{64}\Z")
_SEPARATORS = {",": "a comma", ";": "a semicolon", "\n": "a line break", " ": "a blank"}


def _foreign(text: str) -> Optional[str]:
    """What is wrong with characters that a key has not."""
    if text != text.strip():
        return "it begins or ends with white space; take that out"
    if _HEX.match(text):
        return "it is 32 bytes in hexadecimal digits; Fernet takes them in URL-safe base64"
    if _ALPHABET.match(text):
        return None
    if _ORDINARY.match(text):
        return (
            "it is in the ordinary alphabet of base64, which some readers of Fernet keys refuse; the same key in the URL-safe one has "
            "'-' for '+' and '_' for '/'"
        )
    if _JOINED.match(text):
        return "it has a '=' before its end; two keys may have been joined without a separator"
    return "it has characters that no URL-safe base64 has"


def _misshapen(text: str) -> Optional[str]:
    """What is wrong with the length or the end of a text of the right characters."""
    digits = len(text.rstrip("="))
    if digits != LENGTH - 1:
        size = "short" if digits < LENGTH - 1 else "long"
        return f"it is too {size}; 32 bytes in URL-safe base64 are {LENGTH} characters, the last of them '='"
    if len(text) != LENGTH:
        return "its padding is wrong; it ends with one '='"
    if base64.urlsafe_b64encode(base64.urlsafe_b64decode(text)).decode() != text:
        return "the last character before its '=' is one that no encoder writes there; it was cut or mistyped"
    return None


def problem(text: str) -> Optional[str]:
    """What is wrong with a key, in words that say nothing of its value; none for a right one."""
    return (_foreign(text) or _misshapen(text)) if text else "it is empty"


def parse_key(text: str, where: str) -> Secret:
    """One key.

    :param where: how messages name its origin.
    :raises BadInput: saying what is wrong, and nothing of the value.
    """
    wrong = problem(text)
    if wrong:
        raise BadInput(f"{where}: no Fernet key: {wrong}")
    return Secret(text)


def check_separator(separator: str, option: str) -> None:
    """Refuse what could be a part of a key.

    :raises BadInput: naming the option.
    """
    if not separator or re.search(r"[A-Za-z0-9_=-]", separator):
        raise BadInput(
            f"{option}: expected characters that no key has, such as ',' or ';', which stand between two keys"
        )


def _hint(text: str, separator: str) -> str:
    """What else the text may be a list by."""
    if text.lstrip().startswith("["):
        return ". It looks like a JSON list: name its items in the reference, each with its number"
    if separator in text:
        return ""
    for other, name in _SEPARATORS.items():
        if other in text.strip():
            return f". If {name} stands between its keys, set 'separator' to that"
    return ""


def parse_list(value: Secret, separator: str, where: str) -> Tuple[Secret, ...]:
    """The keys of a list, the first of which encrypts.

    :param where: how messages name its origin.
    :raises BadInput: naming each wrong one by its position, counted from 1.
    """
    text = value.reveal()
    if not text.strip():
        raise BadInput(f"{where}: it is empty; a Fernet key, or several with '{separator}' between")
    items = text.split(separator)
    wrong = [
        f"position {position} of {len(items)}: {told}"
        for position, told in enumerate(map(problem, items), 1)
        if told
    ]
    if wrong:
        raise BadInput(f"{where}: no Fernet keys: {'; '.join(wrong)}{_hint(text, separator)}")
    return tuple(map(Secret, items))


def equal_keys(keys: Sequence[Tuple[int, Secret]]) -> List[List[int]]:
    """The numbers that have the same key, as groups of two or more."""
    groups: Dict[Secret, List[int]] = {}
    for number, key in keys:
        groups.setdefault(key, []).append(number)
    return [numbers for numbers in groups.values() if len(numbers) > 1]


def list_facts(keys: Sequence[Secret], salt: bytes) -> Dict[str, Any]:
    """What may be told of a list: how many, which one encrypts, fingerprints, and which are the same."""
    members = [
        {
            "position": position,
            "encrypts": position == 1,
            "fingerprint": fingerprint(salt, FIELD, key),
        }
        for position, key in enumerate(keys, 1)
    ]
    twice = equal_keys(list(enumerate(keys, 1)))
    return {"count": len(keys), "encrypts": 1, "members": members, "duplicates": twice}
