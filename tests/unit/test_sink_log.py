# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a log: how one is looked for without reading the whole, and what cannot be in one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._log import (
    harmless,
    holds_line,
)
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    path = tmp_path_factory.mktemp("log") / "log"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    yield descriptor
    os.close(descriptor)


LINES = st.lists(st.text(alphabet="ab", max_size=4), max_size=12)


@settings(max_examples=200, deadline=None)
@given(LINES, st.text(alphabet="ab", min_size=1, max_size=4), st.integers(1, 9), st.booleans())
def test_a_line_is_found_wherever_a_block_ends(
    log: int, lines: list[str], line: str, block: int, ended: bool
) -> None:
    text = "\n".join(lines) + ("\n" if ended and lines else "")
    os.ftruncate(log, 0)
    os.pwrite(log, text.encode(), 0)
    assert holds_line(log, line.encode(), block) is (line in text.split("\n"))


def test_a_big_log_is_not_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first\n")
    os.truncate(path, 200_000_000)
    with path.open("ab") as file:
        file.write(b"\nlast")
    sizes: list[int] = []
    real = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    with path.open("rb") as file:
        assert holds_line(file.fileno(), b"last")
        assert len(sizes) == 1 and sizes[0] <= 1 << 16
        assert not holds_line(file.fileno(), b"first\0")
        assert max(sizes) <= 1 << 16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one line", "one line"),
        ("one line\n", "one line"),
        ("two\nlines", "two\\x0alines"),
        ("ends\n\n", "ends\\x0a"),
        ("red \x1b[31m bell \a tab \t cr \r", "red \\x1b[31m bell \\x07 tab \\x09 cr \\x0d"),
        ("turned \u202e round \u2028 apart", "turned \\u202e round \\u2028 apart"),
        ("\x85 \x9b0m \udcff", "\\x85 \\x9b0m \\udcff"),
        ("grüße 漢 'quoted' \\n", "grüße 漢 'quoted' \\n"),
    ],
)
def test_what_would_make_two_lines_of_one_is_written_out(text: str, expected: str) -> None:
    assert harmless(text) == expected


@given(st.text())
def test_whatever_a_person_says_is_one_line(text: str) -> None:
    line = harmless(text)
    assert len(line.splitlines()) <= 1 and line.encode().decode() == line
    assert harmless(line) == line
