# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation that a version of a parameter is from, kept at the end of the parameter's description. Pure.

AWS writes no two parameters at once, so who reads a pair must see whether both halves are of one rotation. The description is written
by the call that writes the value, which neither a label (a call of its own, and one that keeps AWS from dropping old versions) nor a
tag (of the parameter, and not of a version) is. The mark names the version that it was written for: a later write that leaves the
description as it is, such as one by hand, is not taken for one of that rotation.
"""

from __future__ import annotations

import re

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput

LONGEST = 1024
"""The characters that AWS takes for a description."""

_MARK = re.compile(r" ?\[keyturn rotation (\S+) version (\d+)\]\Z")


def marked(description: str, rotation: str, version: int, where: str) -> str:
    """A description with the mark of a rotation, in place of another mark.

    :param version: the one that is about to be written.
    :param where: how messages name the parameter.
    :raises BadInput: when there is no room for it.
    """
    own = _MARK.sub("", description)
    mark = f"[keyturn rotation {rotation} version {version}]"
    text = f"{own} {mark}" if own else mark
    if len(text) > LONGEST:
        raise BadInput(
            f"{where}: its description has {len(own)} characters, which leaves no room for the rotation's id; AWS takes {LONGEST}. Shorten "
            "the description to 900 characters"
        )
    return text


def rotation_of(description: str, version: int) -> str:
    """The rotation that a version is from; empty where the description does not say it of this version."""
    found = _MARK.search(description)
    return found.group(1) if found and int(found.group(2)) == version else ""
