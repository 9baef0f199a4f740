# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a log that were written against whoever reads them."""

from __future__ import annotations

import secrets
import time

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_hide import Hider
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_look import (
    Line,
    Look,
    read_wanted,
)

LONG = 48_000


@pytest.mark.parametrize(
    "part",
    ["a-", "a", "key ", "key_", "key=a-", "rtmp://", "rtmp://a", "://", "://a", "publish ", "bearer ", "invalid ", "\x1b[;", "\x1b]", "aB",
     "A+", "A=", "6c ", "6c:", "108, ", "6c69 ", "\\x6c", "&#108;", "\\", "&#", "\0l", "a\u200b", " "],
)  # fmt: skip
def test_a_line_of_any_length_is_looked_at_in_no_time(part: str) -> None:
    line = Line(f"error {part * (LONG // len(part))}")
    seen = Look(read_wanted({}, ""), Hider([secrets.token_urlsafe(24)]))
    before = time.process_time()
    seen.add(line)
    assert (time.process_time() - before, seen.forbidden) < (1.0, 2)
    assert len(seen.matches[0]["line"]) <= 200


def test_what_follows_in_a_very_long_line_is_not_shown() -> None:
    value = secrets.token_urlsafe(24)
    hider = Hider([value])
    # So much of it is hidden that little is left to show, and the bound cuts a value.
    for blanks in range(40):
        line = f"error {' ' * blanks}{f'{value} ' * 1000}"
        shown = hider.shown(line)
        parts = {value[at : at + 4] for at in range(len(value) - 3)}
        assert not [part for part in parts if part in shown], shown
    assert Hider().shown("a" * 40_000) == "(hidden)"


def test_names_of_many_parts_are_known_by_their_last() -> None:
    line = "error the-relays-own-stream_key=abc x"
    assert Hider().shown(line) == line.replace("abc", "(hidden)")
