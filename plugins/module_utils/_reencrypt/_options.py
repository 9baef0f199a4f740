# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that all places have."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

COMMON = ("type", "host", "cipher", "field", "on_unreadable")
CIPHERS = ("fernet",)
FAIL, REPORT = "fail", "report"
_LONGEST = 3600


def whole_number(given: Any, option: str, highest: int) -> int:
    """A number from 1 on.

    :raises BadInput: for anything else.
    """
    text = str(given)
    if isinstance(given, bool) or not text.isdigit() or not 0 < int(text) <= highest:
        raise BadInput(f"{option}: expected a whole number from 1 to {highest}")
    return int(text)


def seconds(given: Any, option: str, some: bool = False) -> float:
    """A duration of at most an hour.

    :param some: none at all is refused.
    :raises BadInput: for anything else.
    """
    found = parse_duration(given, option).total_seconds()
    if found > _LONGEST or (some and not found):
        raise BadInput(
            f"{option}: expected {'more than 0 and ' if some else ''}at most an hour, such as 0.5 (seconds)"
        )
    return found


def yes_or_no(given: Any, option: str) -> bool:
    """True or false.

    :raises BadInput: for anything else.
    """
    if not isinstance(given, bool):
        raise BadInput(f"{option}: expected true or false")
    return given


def check_common(definition: Mapping[str, Any], option: str) -> None:
    """Refuse what no place could mean.

    :raises BadInput: naming the key and what is expected.
    """
    cipher = definition.get("cipher", CIPHERS[0])
    if cipher not in CIPHERS:
        raise BadInput(f"{option}.cipher: expected {' or '.join(CIPHERS)}")
    field = definition.get("field", "value")
    if not isinstance(field, str) or not field:
        raise BadInput(f"{option}.field: expected the name of the keyring's field, such as value")
    if definition.get("on_unreadable", FAIL) not in (FAIL, REPORT):
        raise BadInput(
            f"{option}.on_unreadable: expected {FAIL}, or {REPORT} where what no key opens may stay as it is"
        )
