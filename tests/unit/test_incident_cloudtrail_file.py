# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log files of CloudTrail: which ones may tell of a window, and their records one by one, whole and broken."""

from __future__ import annotations

import gzip
import io
import json
import secrets
import tracemalloc
import zlib
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import Window
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources import (
    _cloudtrail_file,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._cloudtrail_event import (
    Wanted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._cloudtrail_file import (
    Broken,
    days,
    delivered,
    may_tell,
    read_file,
    records,
)
from cloudtrail_api import event

NAME = "/musehub/production/DB_PASSWORD"
AT = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
WINDOW = Window(AT - timedelta(hours=1), AT + timedelta(hours=1))
WANTED = Wanted((NAME,))


def record(at: datetime = AT, **told: Any) -> Any:
    given = {"requestParameters": {"name": NAME}, **told}
    return json.loads(event("GetParameter", at, **given)["CloudTrailEvent"])


def packed(*items: Any) -> bytes:
    return gzip.compress(json.dumps({"Records": items}).encode())


class Slow(io.BytesIO):
    """It gives a byte at a time, as a connection may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(1)


def test_only_what_is_in_the_window_and_wanted_is_kept() -> None:
    items = [
        record(),
        record(AT + timedelta(hours=1)),
        record(AT + timedelta(hours=1, seconds=1)),
        record(AT - timedelta(hours=2)),
        record(requestParameters={"name": "/other"}),
        "no event",
        {"eventName": "GetParameter"},
        record(userAgent="ü€😀" * 9),
    ]
    for body in (io.BytesIO(packed(*items)), Slow(packed(*items)), io.BytesIO(packed(*items[:3]) + b"")):  # fmt: skip
        found = read_file(body, WANTED, WINDOW, 99)
        assert not found.broken
    found = read_file(Slow(packed(*items)), WANTED, WINDOW, 99)
    assert (len(found.events), found.seen, found.unreadable) == (3, 8, 1)
    assert found.events[2].agent == "ü€😀" * 9
    assert len(read_file(io.BytesIO(packed(*items)), WANTED, WINDOW, 1).events) == 1


def test_a_file_of_several_members_or_without_events_is_whole() -> None:
    text = json.dumps({"Records": [{"a": 1}, {"b": "x" * 600_000}, {"c": []}]}, indent=1).encode()
    parts = gzip.compress(text[:50]) + gzip.compress(text[50:])
    assert list(records(io.BytesIO(parts))) == json.loads(text)["Records"]
    assert list(records(Slow(packed()))) == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "breaks off"),
        (b"no gzip at all", "no gzip"),
        (packed(record(), record())[:-20], "breaks off"),
        (packed(record()) + b"trailing", "no gzip"),
        (gzip.compress(b""), "no log of CloudTrail"),
        (gzip.compress(b'{"Digest": []}'), "no log of CloudTrail"),
        (gzip.compress(b'{"Records": [{"a": 1} {"b": 2}]}'), "to its end"),
        (gzip.compress(b'{"Records": [{"a": 1}'), "to its end"),
        (gzip.compress(b'{"Records": [{"a": '), "no JSON"),
        (gzip.compress(b'{"Records": [' + b"[" * 100_000), "no JSON"),
        (gzip.compress(b'{"Records": [{"a": "' + b"x" * 5_000_000), "too long"),
        (gzip.compress(b'{"Records": [' + b" " * 5_000_000), "too long"),
        (gzip.compress(b'{"Records": []}' + b"{}" * 600_000), "to its end"),
    ],
)
def test_what_is_no_log_or_breaks_off_is_told(data: bytes, why: str) -> None:
    with pytest.raises(Broken, match=why):
        list(records(io.BytesIO(data)))
    assert why in read_file(io.BytesIO(data), WANTED, WINDOW, 9).broken


def test_what_came_before_the_break_counts() -> None:
    few = read_file(io.BytesIO(packed(record(), record())[:-9]), WANTED, WINDOW, 9)
    assert (few.broken, len(few.events)) == ("it breaks off", 2)
    noise = [record(userAgent=secrets.token_hex(400)) for _item in range(2000)]
    found = read_file(io.BytesIO(packed(*noise)[:-30_000]), WANTED, WINDOW, 9999)
    assert found.broken
    assert 0 < len(found.events) == found.seen < 2000


def test_a_file_that_unpacks_without_end_takes_no_memory_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_cloudtrail_file, "LARGEST", 16 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    filler = b', {"a": "%s"}' % (b"x" * 50_000)
    bomb = packer.compress(b'{"Records": [{}') + packer.compress(filler * 400) + packer.flush()
    assert len(bomb) < 1 << 17
    tracemalloc.start()
    found = read_file(io.BytesIO(bomb), WANTED, WINDOW, 9)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.broken == "it unpacks to more than 16 MB"
    assert most < 8 << 20


def test_a_file_of_events_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cloudtrail_file, "MOST", 100)
    found = read_file(io.BytesIO(packed(*[{}] * 101)), WANTED, WINDOW, 9)
    assert found.broken == "it has more than 100 events"
    assert not read_file(io.BytesIO(packed(*[{}] * 100)), WANTED, WINDOW, 9).broken


def test_the_folders_of_a_window_are_its_days_and_what_comes_late() -> None:
    assert days(WINDOW) == ["2026/03/01"]
    late = Window(AT, datetime(2026, 3, 2, 23, 30, tzinfo=timezone.utc))
    assert days(late) == ["2026/03/01", "2026/03/02", "2026/03/03"]


def test_a_name_says_when_a_file_was_put_there() -> None:
    name = "111122223333_CloudTrail_eu-west-1_20260301T1105Z_Mu0KsOhtH1ar15ZZ.json.gz"
    assert delivered(name) == datetime(2026, 3, 1, 11, 5, tzinfo=timezone.utc)
    digest = name.replace("CloudTrail", "CloudTrail-Digest")
    for other in ("", "x.json.gz", name.replace("0301", "1301"), digest, f"{name}.old"):
        assert delivered(other) is None
    first, last = timedelta(minutes=-65), timedelta(hours=2)
    assert [may_tell(AT + it, WINDOW) for it in (first, last)] == [True, True]
    minute = timedelta(minutes=1)
    assert [may_tell(AT + it, WINDOW) for it in (first - minute, last + minute)] == [False, False]
