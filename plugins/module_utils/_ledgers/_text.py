# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of a text file: a ledger's own, or what was exported from the system log.

A line of an export has what the system log wrote before the JSON. Between such lines those of other programs may stand.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, List, Optional, Tuple

_DAMAGED = '{"number": '
# Braces before the line's own, as structured data may have some; a limit, so that no text takes long.
_TRIES = 16


def decode_line(text: str) -> Tuple[Optional[Dict[str, Any]], bool]:
    """The ledger line that a text holds, none when it holds no whole one; and whether something stands before it."""
    decoder = json.JSONDecoder()
    start = -1
    for _try in range(_TRIES):
        start = text.find("{", start + 1)
        if start < 0:
            break
        try:
            found, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and "number" in found and "credential" in found:
            return found, bool(text[:start].strip())
    return None, False


def decode_lines(raws: Iterable[bytes], credential: str) -> Tuple[List[Dict[str, Any]], List[str]]:
    """A credential's lines, and what is wrong with lines that are nobody's."""
    lines: List[Dict[str, Any]] = []
    damaged: List[int] = []
    foreign: List[int] = []
    exported = False
    for number, raw in enumerate(raws, 1):
        text = raw.decode("utf-8", "replace").strip()
        line, prefixed = decode_line(text)
        exported = exported or prefixed
        if line is not None:
            if line["credential"] == credential:
                lines.append(line)
        elif text.startswith("{") or _DAMAGED in text:
            damaged.append(number)
        elif text:
            foreign.append(number)
    wrong = sorted(damaged if exported else damaged + foreign)
    if not wrong:
        return lines, []
    places = f"line {wrong[0]} of the file" + (f" and {len(wrong) - 1} more" if wrong[1:] else "")
    return lines, [f"{places}: it was cut or changed, so that it is no ledger line any more"]
