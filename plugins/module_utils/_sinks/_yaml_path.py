# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The path to a value in a YAML file, as one text: ``credential_refs/name=restream/last_rotated``.

A part is a key of a mapping, the number of an item of a list, counted from 0, or ``key=value`` for the one item of a list that
has this value under this key. ``%2F`` is a slash inside of a part, and ``%25`` a percent sign.
"""

from __future__ import annotations

from typing import Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput


def path_text(parts: Sequence[str]) -> str:
    """The path that leads through these parts."""
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def path_parts(text: str, where: str) -> Tuple[str, ...]:
    """The parts of a path.

    :raises BadInput: for an empty part.
    """
    parts = text.split("/")
    if not all(parts):
        raise BadInput(
            f"{where}: '{text}' is no path; expected keys with '/' between them, such as credential_refs/name=restream/last_rotated"
        )
    return tuple(part.replace("%2F", "/").replace("%2f", "/").replace("%25", "%") for part in parts)
