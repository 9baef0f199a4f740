# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The places of the audit log, as far as they need no server: files, exported text, syslog's framing, references."""

from __future__ import annotations

import json
import os
import re
import resource
import secrets
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    encode_line,
    next_head,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers import (
    FileLedger,
    beside,
    open_ledger,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._syslog import (
    counted,
    local_message,
    remote_message,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._text import decode_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._vault import ranges
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    parse_ledger_reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._verify_ledger import run as verify

NOW = datetime(2026, 1, 31, 12, 0, 0, 250000, tzinfo=timezone.utc)


def chain(length: int) -> tuple[list[dict[str, Any]], Document]:
    document = Document("db_app", secrets.token_bytes(32))
    lines = []
    for step in range(length):
        ask = Request("note", Run(f"run{step}", who="ann"), rotation_id="r1")
        head = next_head(document, ask, NOW + timedelta(seconds=step))
        document = Document(**{**vars(document), "ledger": head, "step": step})
        lines.append(dict(head.line))
    return lines, document


# --- files


@pytest.fixture
def kept(tmp_path: Path) -> FileLedger:
    """A ledger with three lines."""
    ledger = FileLedger(str(tmp_path / "ledger.jsonl"))
    for line in chain(3)[0]:
        ledger.append(line)
    return ledger


def test_a_link_in_the_ledgers_place_is_refused_and_its_target_stays(
    kept: FileLedger, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("precious\n")
    link = tmp_path / "link.jsonl"
    link.symlink_to(target)
    ledger = FileLedger(str(link))
    for call in (
        lambda: ledger.append(chain(1)[0][0]),
        lambda: ledger.read("db_app"),
        lambda: ledger.last("db_app"),
    ):
        with pytest.raises(Refused, match=f"symbolic link to {target}.* Name the file itself"):
            call()
    assert target.read_text() == "precious\n"


def test_a_link_to_nothing_makes_no_file(tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "made")
    with pytest.raises(Refused, match="symbolic link"):
        FileLedger(str(link)).append(chain(1)[0][0])
    assert not (tmp_path / "made").exists()


def test_a_directory_of_links_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    FileLedger(str(tmp_path / "alias" / "x.jsonl")).append(chain(1)[0][0])
    assert (tmp_path / "real" / "x.jsonl").exists()


def test_what_is_no_regular_file_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ledger = FileLedger(str(pipe))
    for call in (lambda: ledger.append(chain(1)[0][0]), lambda: ledger.read("db_app")):
        with pytest.raises(BadInput, match="no regular file"):
            call()


def test_a_line_that_was_written_half_is_told_and_goes_with_the_next_append(
    kept: FileLedger,
) -> None:
    path = Path(kept.path)
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    line = {**chain(1)[0][0], "number": 4}
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(Unreachable, match="file too large; make room there"):
            kept.append(line)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.stat().st_size == size + 10
    kept.append(line)
    assert [found["number"] for found in kept.read("db_app").lines] == [1, 2, 3, 4]


def test_the_first_line_of_a_run_looks_at_the_whole_chain_and_later_ones_at_the_end(
    kept: FileLedger,
) -> None:
    path = Path(kept.path)
    lines, document = chain(3)
    path.write_text("".join(encode_line(line) for line in (lines[0], lines[2])))
    assert "were removed" in kept.review("db_app", document.ledger, True, False).faults[0]
    assert kept.review("db_app", document.ledger, False, False).faults == ()
    path.write_text(path.read_text().replace(lines[2]["hash"], "f" * 64))
    assert "was rewritten" in kept.review("db_app", document.ledger, False, False).faults[0]


def test_a_whole_line_without_its_end_counts_in_a_copy_and_not_for_a_run(kept: FileLedger) -> None:
    lines, document = chain(3)
    Path(kept.path).write_text("".join(encode_line(line) for line in lines).rstrip("\n"))
    assert len(kept.read("db_app").lines) == 3
    review = kept.review("db_app", document.ledger, True, False)
    assert review.lost and review.lost["number"] == 3
    kept.append(review.lost)
    assert kept.read("db_app").lines == (*lines[:2], {**lines[2], "recovered": True})


# --- exported text

PREFIXES = [
    "",
    "Jan 31 12:00:00 host keyturn[42]: ",
    "2026-01-31T12:00:00.25+00:00 host keyturn[42]: ",
    "<85>1 2026-01-31T12:00:00.25Z host keyturn 42 note - ",
    '<85>1 2026-01-31T12:00:00.25Z host keyturn 42 note [x@1 a="{b}"] ',
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_lines_are_found_behind_what_syslog_wrote_before_them(prefix: str) -> None:
    lines, _document = chain(3)
    raws = [f"{prefix}{encode_line(line)}".encode() for line in lines]
    assert decode_lines(raws, "db_app") == (lines, [])
    assert decode_lines(raws, "db_other") == ([], [])


def test_other_programs_lines_are_passed_over_in_an_export_alone() -> None:
    lines, _document = chain(2)
    own = [encode_line(line).encode() for line in lines]
    other = b"Jan 31 12:00:00 host sshd[7]: session {opened}\n"
    exported = [b"Jan 31 12:00:00 host keyturn[42]: " + raw for raw in own]
    assert decode_lines([exported[0], other, b"\n", exported[1]], "db_app") == (lines, [])
    found, faults = decode_lines([own[0], other, own[1]], "db_app")
    assert found == lines and "line 2 of the file" in faults[0]


@pytest.mark.parametrize("prefix", ["", PREFIXES[1]])
def test_a_line_that_was_cut_is_told(prefix: str) -> None:
    lines, _document = chain(3)
    raws = [f"{prefix}{encode_line(line)}".encode() for line in lines]
    raws[1] = raws[1][:-60] + b"\n"
    found, faults = decode_lines(raws, "db_app")
    assert len(found) == 2 and "line 2 of the file: it was cut or changed" in faults[0]


def test_bytes_of_any_kind_are_no_line() -> None:
    raws = [b'{"a":' * 20000 + b"\n", b"\xff\xfe{\n", b"{}\n", b"[]\n", b'{"number": 1}\n']
    found, faults = decode_lines(raws, "db_app")
    assert found == [] and "line 1 of the file and 4 more" in faults[0]


# --- syslog


def test_a_message_is_framed_as_rfc_5424_has_it() -> None:
    line = chain(1)[0][0]
    message = remote_message(line, 10, "web 1.example", 42)
    head, _brace, body = message.decode("ascii").partition("{")
    assert head == "<85>1 2026-01-31T12:00:00.250000Z web1.example keyturn 42 note - "
    assert json.loads("{" + body) == line
    assert counted(message) == str(len(message)).encode() + b" " + message
    failed = remote_message({**line, "outcome": "failed", "phase": "é " * 40}, 16, "", 42)
    assert failed.startswith(b"<131>1 2026-01-31T12:00:00.250000Z - keyturn 42 - - {")


def test_a_local_message_is_as_syslog_3_has_it_and_on_one_line() -> None:
    line = {**chain(1)[0][0], "message": "two\nlines \u00e9"}
    message = local_message(line, 10, 42)
    assert message.startswith(b'<85>keyturn[42]: {"number": 1, ')
    assert b"\n" not in message and message.isascii()


def test_a_line_that_is_longer_than_daemons_take_warns(tmp_path: Path) -> None:
    warnings: list[str] = []
    ledger = open_ledger(f"ref+syslog://{tmp_path}/log", Context(warn=warnings.append))
    with pytest.raises(Unreachable, match=r"no such socket here .* name a receiver"):
        ledger.append({**chain(1)[0][0], "message": "x" * 9000})
    assert "a cut line does not verify" in warnings[0]


def test_the_last_line_is_sent_again_where_it_may_have_been_lost() -> None:
    lines, document = chain(3)
    ledger = open_ledger("ref+syslog://", Context())
    assert ledger.review("db_app", document.ledger, False, False).lost is None
    for first, failed in ((True, False), (False, True)):
        lost = ledger.review("db_app", document.ledger, first, failed).lost
        assert lost == {**lines[2], "recovered": True}
    assert ledger.review("db_app", None, True, False).lost is None


# --- references


@pytest.mark.parametrize(
    "text",
    [
        "ref+syslog://",
        "ref+syslog://?facility=local3",
        "ref+syslog:///run/systemd/journal/dev-log",
        "ref+syslog://log.example:6514?protocol=tcp&facility=auth",
        "ref+syslog://[::1]:514?protocol=udp",
    ],
)
def test_syslog_is_a_place_for_the_ledger_and_for_nothing_else(text: str) -> None:
    assert "SyslogLedger" in repr(open_ledger(text, Context()))
    with pytest.raises(BadInput, match=r"x: .*audit log \(keyturn_ledger\) and nothing else"):
        parse_reference(text, "x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ref+syslog://host", "expected nothing"),
        ("ref+syslog://host:0", "expected nothing"),
        ("ref+syslog://host:70000", "expected nothing"),
        ("ref+syslog://ann@host:514", "expected nothing"),
        ("ref+syslog://host:514/x", "expected nothing"),
        ("ref+syslog://host:514?facility=kernel", "there is no facility 'kernel'"),
        ("ref+syslog://host:514?protocol=tls", "there is no protocol 'tls'; expected tcp, udp"),
        ("ref+syslog://?protocol=udp", "'protocol' is for another machine"),
        ("ref+syslog://host:514?port=1", "there is no parameter 'port'"),
        ("ref+syslog://#/x", "leave out '#'"),
        ("ref+file:///x?encrypt=vault", "has no parameter 'encrypt'"),
        ("ref+file://x.jsonl", "must be absolute"),
        ("ref+vault://kv/x?version=2", "'version' is for reading values"),
        ("ref+awsssm://x", r"'awsssm' is no place for a ledger; expected ref\+file"),
        ("keyring#/current/password", "'keyring' is no place for a ledger"),
        ("/var/log/x", r"expected ref\+file:///PATH, ref\+vault"),
    ],
)
def test_what_is_no_place_for_a_ledger_is_told(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        open_ledger(text, Context(environ={"VAULT_ADDR": "http://127.0.0.1:1"}))
    assert "keyturn_ledger" in caught.value.message


def test_in_a_container_a_file_may_be_verified_and_not_written(tmp_path: Path) -> None:
    text, context = f"ref+file://{tmp_path}/x.jsonl", Context(environ={"LAUNCHED_BY_RUNNER": "1"})
    with pytest.raises(Refused, match="would be lost"):
        open_ledger(text, context)
    assert open_ledger(text, context, to_verify=True).read("db_app").lines == ()


def test_a_ledgers_reference_shows_where_it_is_wrong() -> None:
    with pytest.raises(BadInput, match="character 23 ") as caught:
        parse_ledger_reference("ref+syslog://host:514?a=1", "x")
    assert caught.value.details["position"] == 23


def test_syslog_cannot_be_verified_and_says_what_can(tmp_path: Path) -> None:
    params = {
        "keyring": f"ref+file://{tmp_path}/keyring.json",
        "ledger": "ref+syslog://",
        "credential": "db_app",
    }
    with pytest.raises(BadInput, match=r"cannot be read back .* verify that file"):
        verify(params, Context())
    with pytest.raises(Absent, match="no line of 'db_app', and there is no keyring"):
        verify({**params, "ledger": f"ref+file://{tmp_path}/none.jsonl"}, Context())


@pytest.mark.parametrize(
    ("keyring", "ledger"),
    [
        ("ref+vault://kv/a/db", "ref+vault://kv/a/db.ledger"),
        ("secretref+vault://kv/db", "secretref+vault://kv/db.ledger"),
        ("ref+vault://kv/d%3Fb?mount=kv", "ref+vault://kv/d%3Fb.ledger?mount=kv"),
        ("ref+file:///k/db.json", "ref+file:///k/db.json.ledger.jsonl"),
        ("ref+file:///k/db.json?encrypt=vault", "ref+file:///k/db.json.ledger.jsonl"),
    ],
)
def test_the_ledger_lies_beside_the_keyring(keyring: str, ledger: str) -> None:
    assert beside(keyring) == ledger


@pytest.mark.parametrize(
    ("keyring", "words"),
    [
        ("ref+awsssm://x", "name a place in keyturn_ledger"),
        ("/k/db.json", "keyturn_keyring: .*a reference starts with"),
        (None, "keyturn_keyring: a NoneType is no reference"),
    ],
)
def test_no_place_beside_the_keyring_is_told(keyring: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        beside(keyring)


def test_numbers_in_words() -> None:
    assert ranges([3, 5, 6, 7, 9]) == "3, 5 to 7, 9"
    assert re.fullmatch(r"\d+", ranges([4]))
