# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a log that were written against whoever reads them."""

from __future__ import annotations

import secrets
import subprocess
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
    assert time.process_time() - before < 3.0
    assert seen.forbidden == 1
    assert len(seen.matches[0]["line"]) <= 200


def test_what_follows_in_a_very_long_line_is_not_shown() -> None:
    value = secrets.token_urlsafe(24)
    hider = Hider([value])
    # So much of it is hidden that little is left to show, and the bound cuts a value.
    for blanks in range(26):
        line = f"error {' ' * blanks}{f'{value} ' * 500}"
        shown = hider.shown(line)
        parts = {value[at : at + 5] for at in range(len(value) - 4)}
        assert not [part for part in parts if part in shown], shown
    assert Hider().shown("a" * 40_000) == "(hidden)"


def test_names_of_many_parts_are_known_by_their_last() -> None:
    line = "error the-relays-own-stream_key=abc x"
    assert Hider().shown(line) == line.replace("abc", "(hidden)")


def dumps(value: str) -> dict[str, str]:
    """What programs that show bytes make of a value."""
    data = value.encode()
    pairs = [f"{byte:02x}" for byte in data]
    fours = ["".join(pairs[at : at + 2]) for at in range(0, len(pairs), 2)]
    swapped = [four[2:] + four[:2] for four in fours]
    decimal = [str(byte) for byte in data]
    found = {
        "hex after a place": f"0000:  {' '.join(pairs)}",
        "pairs as hexdump does": f"{' '.join(pairs[:8])}  {' '.join(pairs[8:])}",
    }
    found.update(
        {
            f"pairs and {it!r}": it.join(pairs)
            for it in (" ", ":", "-", ", ", ",", ".", ";", "|", " : ")
        }
    )
    found.update({"0x": ", ".join(f"0x{it}" for it in pairs), "capital": ":".join(pairs).upper()})
    found.update(
        {
            "fours": " ".join(fours),
            "swapped": " ".join(swapped),
            "decimal": f"[{', '.join(decimal)}]",
            "digits": " ".join(decimal),
        }
    )
    found.update(
        {
            "x": "".join(f"\\x{it}" for it in pairs),
            "octal": "".join(f"\\{byte:03o}" for byte in data),
        }
    )
    found.update(
        {
            "u": "".join(f"\\u{byte:04x}" for byte in data),
            "u{}": "".join(f"\\u{{{byte:x}}}" for byte in data),
        }
    )
    found.update(
        {
            "html": "".join(f"&#{byte};" for byte in data),
            "html x": "".join(f"&#x{byte:X};" for byte in data),
        }
    )
    found.update({"percent": "".join(f"%{it}" for it in pairs)})
    return found  # fmt: skip


def betrayed(value: str, shown: str) -> list[str]:
    """The names of the writings of which something is left in a line."""
    left = "".join(letter for letter in shown.lower() if letter.isalnum())
    found = []
    for name, text in {"itself": value, **dumps(value)}.items():
        bare = "".join(letter for letter in text.lower() if letter.isalnum())
        size = 7 if name == "itself" else 10
        if any(bare[at : at + size] in left for at in range(len(bare) - size + 1)):
            found.append(name)
    return found


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("name", sorted(dumps("x" * 16)))
def test_a_dump_of_a_value_is_hidden(name: str, known: bool) -> None:
    value = secrets.token_urlsafe(21)
    text = dumps(value)[name]
    shown = Hider([value] if known else []).shown(f"error: {text} was refused")
    assert not betrayed(value, shown), shown
    assert shown.startswith("error: ") and shown.endswith(" was refused"), shown


@pytest.mark.parametrize(
    "between",
    [
        "\u200b",
        "\u2060",
        "\u00ad",
        "\ufeff",
        "\u202e",
        "\0",
        "\x01",
        " ",
        "-",
        "_",
        ".",
        "\t",
        ", ",
        "\x1b[0m",
    ],
)
def test_what_stands_between_the_letters_of_a_value_does_not_help_it(between: str) -> None:
    value = secrets.token_hex(12)
    for text in (
        between.join(value),
        f"{value[:7]}{between}{value[7:]}",
        f"{value[:5]}{between}{value[5:10]}",
    ):
        shown = Hider([value]).shown(f"error: {text} was refused")
        assert not betrayed(value, shown), (text, shown)
        assert shown.startswith("error: ") and shown.endswith(" was refused"), (text, shown)


@pytest.mark.parametrize("between", ["\u200b", "\u2060", "\u00ad", "\ufeff", "\0"])
def test_what_is_not_seen_does_not_help_an_unknown_value(between: str) -> None:
    value = secrets.token_hex(12)
    assert Hider().shown(f"error: {between.join(value)} x") == "error: (hidden) x"
    assert Hider(["ab12c"]).shown(f"error: {between.join('ab12c')} x") == "error: (hidden) x"


def test_a_value_that_is_written_in_part_is_hidden() -> None:
    value = secrets.token_hex(12)
    text = "".join(f"\\x{ord(it):02x}" if number % 3 else it for number, it in enumerate(value))
    shown = Hider([value]).shown(f"error: {text} was refused")
    assert shown == "error: (hidden) was refused"


@pytest.mark.parametrize(
    "program",
    [
        ["xxd"],
        ["od", "-c"],
        ["od", "-An", "-tx1"],
        ["od", "-tu1"],
        ["od", "-x"],
        ["hexdump"],
        ["hexdump", "-C"],
    ],
)
def test_what_programs_print_of_a_value_is_hidden(program: list[str]) -> None:
    value = secrets.token_hex(24)
    try:
        ended = subprocess.run(program, input=value.encode(), capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip(f"there is no {program[0]}")
    hider = Hider([value])
    lines = ended.stdout.decode().splitlines()
    for line in lines:
        assert not betrayed(value, hider.shown(line)), hider.shown(line)


@pytest.mark.parametrize(
    "line",
    [
        "2026/01/31 22:00:00 [error] 12#12: *1 connect() failed", "2026-01-31T22:00:00.123456Z error", "error at 192.168.100.200:1935",
        "error from fe80::1234:5678:9abc:def0", "frame=  403 fps= 30 q=28.0 size=    1024kB time=00:00:16.12 bitrate= 520.3kbits/s error",
        "error: exit code 1, 2 of 3 units", "dev-disk-by\\x2dlabel.device failed", "error: Gr\\xc3\\xbcn", "caf\u00e9 failed",
        "a & b failed",
        "error on 01-02-2026 at 03:04:05", "error: 10 20 30 40", "&#39;x&#39; failed",
    ],
)  # fmt: skip
def test_what_is_no_dump_is_shown(line: str) -> None:
    assert Hider([secrets.token_urlsafe(24)]).shown(line) == line
