# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log: every way of tampering with it is found."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    chain_faults,
    encode_line,
    line_hash,
    missing_line,
    next_head,
    once,
    run_faults,
    tail_faults,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers import FileLedger
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run

NOW = datetime(2026, 1, 31, tzinfo=timezone.utc)


def chain(length: int) -> tuple[list[dict[str, Any]], Document]:
    document = Document("db_app", secrets.token_bytes(32))
    lines = []
    for step in range(length):
        ask = Request("note", Run(f"run{step}", who="ann"), rotation_id="r1")
        head = next_head(Document(**{**vars(document), "step": step}), ask, NOW)
        document = Document(**{**vars(document), "ledger": head, "step": step})
        lines.append(dict(head.line))
    return lines, document


def test_a_whole_chain_has_no_faults() -> None:
    lines, document = chain(6)
    assert chain_faults(lines) == [] and tail_faults(lines, document.ledger) == []


TAMPERING: list[tuple[str, Callable[[list[dict[str, Any]]], Any], str]] = [
    ("removed", lambda lines: lines.pop(2), "lines in between were removed"),
    ("first removed", lambda lines: lines.pop(0), "lines in between were removed"),
    ("changed", lambda lines: lines[2].update(who="eve"), "its content was changed"),
    (
        "swapped",
        lambda lines: lines.__setitem__(slice(1, 3), [lines[2], lines[1]]),
        "order was changed",
    ),
    ("repeated", lambda lines: lines.insert(2, copy.deepcopy(lines[2])), "comes line 3"),
    (
        "cut by two",
        lambda lines: lines.__delitem__(slice(4, 6)),
        "the end is cut: the last line here is 4",
    ),
    ("cut by one", lambda lines: lines.pop(), "line 6 is missing at the end; the keyring holds it"),
    ("emptied", lambda lines: lines.clear(), "the end is cut"),
    ("gone on", lambda lines: lines.append({**lines[-1], "number": 7}), "goes on to line 7"),
]


@pytest.mark.parametrize(
    ("name", "tamper", "words"), TAMPERING, ids=[case[0] for case in TAMPERING]
)
def test_tampering_is_found(
    name: str, tamper: Callable[[list[dict[str, Any]]], Any], words: str
) -> None:
    lines, document = chain(6)
    tamper(lines)
    assert words in "; ".join(chain_faults(lines) + tail_faults(lines, document.ledger))


def test_a_rewritten_line_with_a_fitting_hash_breaks_the_chain() -> None:
    lines, _document = chain(6)
    lines[2]["who"] = "eve"
    lines[2]["hash"] = line_hash(lines[2])
    assert any("does not follow" in fault for fault in chain_faults(lines))


def test_a_line_lost_in_a_crash_is_recovered_once(tmp_path: Path) -> None:
    lines, document = chain(4)
    ledger = FileLedger(str(tmp_path / "log" / "db_app.jsonl"))
    for line in lines[:3]:
        ledger.append(line)
    lost = missing_line(ledger.last("db_app"), document.ledger)
    assert lost and lost["recovered"] and lost["number"] == 4
    ledger.append(lost)
    assert missing_line(ledger.last("db_app"), document.ledger) is None
    found = ledger.read("db_app").lines
    assert chain_faults(found) == [] and tail_faults(found, document.ledger) == []


def test_a_fragment_left_by_a_crash_is_cut_off_and_two_credentials_share_a_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = FileLedger(str(path))
    lines, _document = chain(3)
    for line in lines:
        ledger.append(line)
        ledger.append({**line, "credential": "db_other"})
    with path.open("a", encoding="utf-8") as file:
        file.write(encode_line(lines[0])[:40])
    assert ledger.last("db_app") == lines[-1]
    ledger.append({**lines[0], "credential": "db_other", "number": 4})
    assert len(ledger.read("db_app").lines) == 3 and len(ledger.read("db_other").lines) == 4
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_last_line_is_found_across_blocks(tmp_path: Path) -> None:
    ledger = FileLedger(str(tmp_path / "ledger.jsonl"))
    lines, _document = chain(1)
    ledger.append(lines[0])
    for _number in range(40):
        ledger.append({**lines[0], "credential": "db_other", "message": "x" * 4000})
    assert ledger.last("db_app") == lines[0]
    assert ledger.last("nobody") is None


def test_a_line_sent_twice_counts_once_and_a_changed_repetition_does_not() -> None:
    lines, document = chain(4)
    resent = [*lines[:2], {**lines[1], "recovered": True}, *lines[2:], lines[3]]
    assert once(resent) == lines and chain_faults(once(resent)) == []
    forged = once([*lines, {**lines[3], "who": "eve"}])
    assert "its content was changed" in "; ".join(chain_faults(forged))
    assert tail_faults(once(resent), document.ledger) == []


def test_a_resent_line_stands_in_for_one_that_was_lost() -> None:
    lines, _document = chain(4)
    found = once([*lines[:2], {**lines[2], "recovered": True}, lines[3]])
    assert chain_faults(found) == [] and found[2]["recovered"]


def test_a_run_warns_of_all_but_a_line_that_it_adds_again() -> None:
    lines, document = chain(6)
    assert run_faults(lines, document.ledger) == run_faults(lines[:5], document.ledger) == []
    assert "were removed" in run_faults([*lines[:2], *lines[3:]], document.ledger)[0]
    assert "the end is cut" in run_faults(lines[:4], document.ledger)[0]
    assert "keyring was replaced" in run_faults(lines, None)[0]
    lines[5] = {**lines[5], "who": "eve"}
    lines[5]["hash"] = line_hash(lines[5])
    assert "the end was rewritten" in run_faults(lines, document.ledger)[0]
