# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation that a version of a parameter is from, kept at the end of the parameter's description. Pure.

AWS writes no two parameters at once, so who reads a pair must see whether both halves are of one rotation. The description is written
by the call that writes the value, which neither a label (a call of its own, and one that keeps AWS from dropping old versions) nor a
tag (of the parameter, and not of a version) is. The mark names the version that it was written for: a later write that leaves the
description as it is, such as one by hand, is not taken for one of that rotation. It names the group of sinks, too, so that a reader finds
out by itself what belongs together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional
from urllib.parse import quote

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput

LONGEST = 1024
"""The characters that AWS takes for a description."""

_MARK = re.compile(r" ?\[keyturn rotation (\S+) of (\S+) version (\d+)\]\Z")


@dataclass(frozen=True)
class Mark:
    """What a description tells of a version.

    :param rotation: the rotation's id; empty where the mark is of another version, so that something else has written this one.
    :param group: what it belongs to, the same text for all parts.
    """

    rotation: str
    group: str


def stamp(rotation: str, credential: str, group: str) -> str:
    """What the sinks of a group write beside their values: the rotation and what they belong to."""
    return f"{rotation} of {quote(f'{credential}/{group}', safe='/')}"


def marked(description: str, stamped: str, version: int, where: str) -> str:
    """A description with a mark, in place of another one.

    :param stamped: as :func:`stamp` makes it.
    :param version: the one that is about to be written.
    :param where: how messages name the parameter.
    :raises BadInput: when there is no room for it.
    """
    own = _MARK.sub("", description)
    mark = f"[keyturn rotation {stamped} version {version}]"
    text = f"{own} {mark}" if own else mark
    if len(text) > LONGEST:
        raise BadInput(
            f"{where}: its description has {len(own)} characters, which leaves no room for the rotation's id; AWS takes {LONGEST}. Shorten "
            "the description to 700 characters"
        )
    return text


def mark_of(description: str, version: int) -> Optional[Mark]:
    """The mark of a version; none where the description has no mark at all."""
    found = _MARK.search(description)
    if not found:
        return None
    rotation, group, number = found.groups()
    return Mark(rotation if int(number) == version else "", group)
