# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who used an application with a credential, by its own log: lines as applications and web servers write them."""

from __future__ import annotations

import gzip
import json
import os
import secrets
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import _incident_reads
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources import _app_entry
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._app_entry import (
    combined,
    value_at,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._app_time import (
    Clock,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
FIELDS = {
    "time": "ts",
    "principal": "user.name",
    "address": "client",
    "outcome": "status",
    "what": "event",
}


class AppLog:
    """A log file, and the lookup in it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "app.log"

    def write(self, *lines: str) -> None:
        self.path.write_text("".join(f"{line}\n" for line in lines))

    def look(self, days: int = 2, **options: Any) -> dict[str, Any]:
        """The lookup, so many days later."""
        given = {
            "type": "app_log",
            "path": str(self.path),
            "since": "2026-03-01T11:00:00Z",
            "until": "2026-03-01T13:00:00Z",
            **options,
        }
        spec = ArgumentSpecValidator(dict(_incident_reads.MODULE.argument_spec)).validate(given)
        assert not spec.error_messages, spec.error_messages
        context = Context(now=lambda: NOON + timedelta(days=days))
        return execute(_incident_reads.MODULE, spec.validated_parameters, context)

    def json(self, **options: Any) -> dict[str, Any]:
        """The same, of entries as :func:`entry` makes them."""
        return self.look(**{"format": "json", "fields": FIELDS, **options})


@pytest.fixture
def log(tmp_path: Path) -> AppLog:
    return AppLog(tmp_path)


def entry(at: str = "12:00:00", **told: Any) -> str:
    given = {
        "ts": f"2026-03-01T{at}.5Z",
        "user": {"name": "runner"},
        "client": "10.20.0.5",
        "status": "ok",
        "event": "login",
    }
    return json.dumps({**given, **told})


EDGES = (entry("10:00:00", user=None), entry("14:00:00", user=None))


def found(told: dict[str, Any], *names: str) -> list[Any]:
    return [tuple(item[name] for name in names) for item in told["events"]]


def test_entries_of_json_and_what_of_them_counts(log: AppLog) -> None:
    log.write(
        EDGES[0],
        entry(),
        entry("12:00:30"),
        entry("12:10:00", user={"name": "eve"}, status="denied", client="198.51.100.7"),
        entry("12:20:00", status="timeout"),
        entry("12:30:00", user={"name": "-"}, status="denied"),
        entry("12:40:00", user=None, event="start"),
        entry("10:30:00"),
        EDGES[1],
    )
    told = log.json(success=["ok"], refused="denied")
    assert told["about"] == "logins"
    assert found(told, "principal", "outcome", "address", "detail", "times") == [
        ("runner", "done", "10.20.0.5", "", 2),
        ("eve", "denied", "198.51.100.7", "denied", 1),
        ("runner", "failed", "10.20.0.5", "timeout", 1),
    ]
    assert told["events"][0]["at"] == "2026-03-01T12:00:00.000000Z"
    assert {item["target"] for item in told["events"]} == {"login"}
    assert (told["seen"], told["gaps"]) == (9, [])
    # With 'match' nobody has to be named, and a value is compared as it is written.
    asked = log.json(match={"event": ["log*"], "status": "denied"}, refused=["denied"])
    assert found(asked, "principal") == [("eve",), ("(not told)",)]


def test_fields_inside_others_and_values_that_are_no_text() -> None:
    given = {"a.b": "dots", "a": {"b": 1, "c": [{"d": True}, None]}, "n": 2.5, "o": {}}
    wanted = {"a.b": "dots", "a.c.0.d": "true", "a.c.1": None, "a.c.9": None, "n": "2.5", "o": None, "a.b.c": None}  # fmt: skip
    assert {path: value_at(given, path) for path in wanted} == wanted


def line(at: str, user: str = "-", status: int = 200, request: str = "GET /work HTTP/1.1") -> str:
    return f'10.20.0.5 - {user} [01/Mar/2026:{at} +0100] "{request}" {status} 12 "-" "curl/8.1"'


def test_the_access_log_of_a_web_server(log: AppLog) -> None:
    log.write(
        line("11:00:00"),
        line("12:30:00", "alice", request="GET /work?token=abc HTTP/1.1"),
        line("12:31:00", "eve", 401),
        line("12:32:00", "eve", 403),
        line("12:33:00", "alice", 404),
        line("12:34:00", "alice", 502),
        line("12:35:00", status=401),
        # A user name that looks like the rest of a line, as nginx and as Apache write it; and requests that are none.
        line("12:36:00", "eve [01/Mar/2020:12:00:00 +0000] x22GET / HTTP/1.1x22 200 5", 401),
        line("12:37:00", r"eve [01/Mar/2020:12:00:00 +0000] \"GET / HTTP/1.1\" 200 5", 401),
        line("12:38:00", "eve", 401, request=r"GET /\" 200 12 \"-\" \"x"),
        line("12:39:00", status=400, request=r"\x16\x03\x01"),
        line("12:39:30", status=400, request=""),
        line("15:00:00").replace(' "-" "curl/8.1"', ""),
        "nonsense",
    )
    told = log.look(format="combined")
    assert [item["outcome"] for item in told["events"]] == [
        "done", "denied", "denied", "done", "failed", "denied", "denied", "denied",
    ]  # fmt: skip
    assert told["events"][0]["at"] == "2026-03-01T11:30:00.000000Z"
    assert told["events"][0]["target"] == "/work"
    assert told["events"][0]["agent"] == "curl/8.1"
    assert told["gaps"] == ["1 lines are no entries of this application"]
    # What shows a token in a header has no user in this log.
    asked = log.look(format="combined", match={"what": "/work", "outcome": ["401", 403]})
    assert len(asked["events"]) == 5
    assert found(asked, "principal", "detail")[2] == ("(not told)", "401")


PATTERN = (
    r"(?P<time>\S+ +\d+ [\d:]+) \S+ hub\[\d+\]: (?P<outcome>accepted|refused) (?P<principal>.+) from "
    r"(?P<address>\S+)( for (?P<what>\S+))?"
)


def test_lines_that_a_pattern_matches(log: AppLog) -> None:
    log.write(
        "Mar  1 10:00:00 h hub[7]: accepted x from 10.0.0.1",
        "Mar  1 12:00:00 h hub[7]: accepted runner from 10.0.0.1 for poll",
        "Mar  1 12:10:00 h hub[7]: refused eve from 9.9.9.9 from 198.51.100.7",
        "Mar  1 12:20:00 h other[7]: accepted runner from 10.0.0.1",
        "Mar  1 14:00:00 h hub[7]: accepted x from 10.0.0.1",
    )
    given = {"format": "regex", "pattern": PATTERN, "time_format": "%b %e %H:%M:%S"}
    told = log.look(**given, utc_offset="+00:00", refused=["refused"])
    assert found(told, "principal", "outcome", "address", "target") == [
        ("runner", "done", "10.0.0.1", "poll"),
        ("eve from 9.9.9.9", "denied", "198.51.100.7", "(not told)"),
    ]
    assert told["gaps"] == ["1 lines are no entries of this application"]
    # A year that nobody wrote is not guessed for a window of long ago.
    with pytest.raises(BadInput, match="it has no year"):
        log.look(**given, utc_offset="+00:00", days=400)


def test_a_pattern_that_never_ends_does_not_keep_the_run(
    log: AppLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_app_entry, "TICK", 0.02)
    log.write(
        "2026-03-01T10:00:00Z aab",
        f"2026-03-01T12:00:00Z {'a' * 64}",
        "2026-03-01T12:01:00Z aab",
        "2026-03-01T14:00:00Z aab",
    )
    given = {"format": "regex", "pattern": r"(?P<time>\S+) (?P<principal>(a|a)*b)"}
    told = log.look(**given)
    assert found(told, "principal") == [("aab",)]
    assert told["gaps"][0] == "1 lines are no entries of this application"
    assert "1 lines took the regular expression more than" in told["gaps"][1]
    monkeypatch.setattr(_app_entry, "PER_LOG", 0.0)
    monkeypatch.setattr(_app_entry, "PER_LINE", 0.0)
    ended = log.look(**given)
    assert "only the first 2 lines were looked at" in ended["gaps"][0]
    # In a thread no line could be given up.
    errors: list[BaseException] = []

    def look() -> None:
        try:
            log.look(**given)
        except KeyturnError as error:
            errors.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert "in a process's main thread" in str(errors[0])


def test_the_patterns_of_web_servers_take_no_longer_for_a_line_made_for_that() -> None:
    time = "[01/Mar/2026:12:00:00 +0000]"
    made = ["[" * 8000, f" {time} " * 300, f'{time} "GET {"a" * 8000}', f'{time} "{chr(92) * 8000}']
    with combined() as form:
        assert [form.read(f"1 - x {text}") for text in made] == [None] * 4
        assert form.slow == 0


def test_what_a_log_does_not_tell_is_told(log: AppLog) -> None:
    log.write(entry(), "{half", "", entry("12:30:00"))
    gaps = log.json(fields={**FIELDS, "principal": "usr"}, match={"kind": "x"})["gaps"]
    assert "begins at 2026-03-01T12:00:00.000000Z, after the window" in gaps[0]
    assert "ends at 2026-03-01T12:30:00.000000Z, before the window" in gaps[1]
    assert gaps[2] == "1 lines are no entries of this application"
    assert [gap.split(":")[0] for gap in gaps[3:]] == ["no entry has 'kind'", "no entry has 'usr'"]
    log.write(EDGES[0], *(entry(f"12:0{n}:00") for n in range(4)), EDGES[1])
    gaps = log.json(most=3)["gaps"]
    assert "there are more than 1 kinds of uses" in gaps[0]
    assert gaps[1:] == ["there are 1 more than the 3 that were kept; raise most"]
    log.write(entry(ts="2026-03-01T12:00:00"), entry())
    assert any("some times have no zone" in gap for gap in log.json()["gaps"])
    log.write()
    assert "nothing can be concluded" in log.json()["gaps"][0]


def test_who_came_late_is_told_where_there_were_many_kinds_of_requests(log: AppLog) -> None:
    many = [entry(event=f"/items/{number}") for number in range(50)]
    eve = [entry(f"12:{at}:00", user={"name": "eve"}, event=f"/{at}") for at in (30, 45)]
    log.write(EDGES[0], *many, *eve, entry("12:30:30", user={"name": "eve"}), EDGES[1])
    told = log.json(most=20)
    assert sum(item["times"] for item in told["events"]) == 53
    several = [item for item in told["events"] if item["target"] == "(several)"]
    assert [(item["principal"], item["times"]) for item in several] == [
        ("runner", 40),
        ("eve", 2),
        ("eve", 1),
    ]
    assert "there are more than 10 kinds" in told["gaps"][0]


def test_whoever_guesses_names_does_not_take_the_place_of_who_got_in(log: AppLog) -> None:
    guesses = [entry(user={"name": f"u{number}"}, status="denied") for number in range(30)]
    log.write(EDGES[0], *guesses, entry("12:30:00", user={"name": "u77"}), EDGES[1])
    told = log.json(most=20, refused=["denied"])
    assert [it["outcome"] for it in told["events"]] == ["denied"] * 10 + ["done"]
    assert told["gaps"][-1] == "there are 20 more than the 11 that were kept; raise most"


def test_older_files_are_read_too(log: AppLog) -> None:
    log.write(entry(), EDGES[1])
    older = log.path.with_name("app.log.1.gz")
    older.write_bytes(gzip.compress(f"{EDGES[0]}\n".encode()))
    os.utime(older, (1, 1))
    assert log.json(path=f"{log.path}*")["gaps"] == []
    log.path.unlink()
    with pytest.raises(Absent):
        log.json()


def test_no_value_comes_out_of_an_application(log: AppLog) -> None:
    value, other = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    log.write(
        EDGES[0],
        entry(user={"name": f"x{value}"}, event=f"/hooks/{other}?key={value}", status=value),
        entry("12:01:00", client=value[3:20], user={"name": "a\x1b[31m\nb`|"}, agent=f"c/{value}"),
        EDGES[1],
    )
    fields = {**FIELDS, "agent": "agent"}
    text = json.dumps(log.json(redact=[value], fields=fields, success=["ok"]))
    for hidden in (value, value[3:12], other, "key=", "\\u001b"):
        assert hidden not in text
    assert "/hooks/(hidden)" in text


@pytest.mark.parametrize(
    ("form", "text", "moment"),
    [
        ("iso", "2026-03-01 12:00:00,123 +0000", NOON),
        ("iso", "2026-03-01T12:00:00", None),
        ("epoch", "1772366400.25", NOON),
        ("epoch", "1772366400250", None),
        ("epoch_ms", "1772366400250", NOON),
        ("epoch_ms", "1772366400", datetime(1970, 1, 21, 12, 19, 26, tzinfo=timezone.utc)),
        ("%d/%b/%Y:%H:%M:%S %z", "01/Mar/2026:13:00:00 +0100", NOON),
        ("%d/%b/%Y:%H:%M:%S %z", "31/Feb/2026:13:00:00 +0100", None),
        ("%F %T.%f%z", "2026-03-01 12:00:00.999Z", NOON),
        ("%B %d, %Y %I:%M %p %z", "March 1, 2026 12:00 PM +00:00", NOON),
        ("%A %d %b %Y %R %z", "Sunday 1 mar 2026 12:00 +0000", NOON),
        ("%b %e %H:%M:%S %z", "Mar  1 12:00:00 Z", NOON),
        ("%b %e %H:%M:%S %z", "Dec 31 12:00:00 Z", datetime(2025, 12, 31, 12, tzinfo=timezone.utc)),
        ("%b %e %H:%M:%S %z", "Feb 29 12:00:00 Z", None),
        ("%Y%m%d %H%M %z", "x" * 100, None),
    ],
)
def test_times_of_applications(form: str, text: str, moment: datetime | None) -> None:
    clock = Clock(form, None, NOON + timedelta(days=30))
    assert clock.read(text) == clock.read(text) == moment


def test_an_offset_stands_for_a_zone_that_is_not_written() -> None:
    for form in ("iso", "%Y-%m-%d %H:%M:%S"):
        clock = Clock(form, timezone(timedelta(hours=2)), NOON)
        assert clock.read("2026-03-01 14:00:00") == NOON


JSON = {"format": "json", "fields": FIELDS}
REGEX = {"format": "regex", "pattern": r"(?P<time>\S+) (?P<principal>\S+)"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({**JSON, "path": ""}, "path: missing; expected one of path, unit, container"),
        ({**JSON, "unit": "x"}, "path and unit: these exclude each other"),
        ({**JSON, "path": "app.log"}, "path: 'app.log' is no absolute path"),
        ({**JSON, "path": "", "unit": "a b"}, "unit: 'a b' is no name of a unit"),
        ({**JSON, "path": "", "container": "-x"}, "container: '-x' is no name"),
        ({}, "format: expected one of json, regex, combined"),
        ({**JSON, "format": "jsonlog"}, "format: expected one of json, regex, combined"),
        ({**JSON, "format": "combined"}, "fields: for format json alone"),
        ({**JSON, "pattern": "x"}, "pattern: for format regex alone"),
        ({"format": "json"}, "fields: missing; say where"),
        ({**JSON, "fields": {"user": "x"}}, "fields: unknown key user"),
        ({**JSON, "fields": {"time": ["x"]}}, "fields.time: expected the name of a field"),
        ({**JSON, "fields": {"principal": "x"}}, "fields: it has no time"),
        ({**JSON, "fields": {"time": "x"}}, "match: missing; without a principal"),
        ({"format": "regex"}, "pattern: missing"),
        ({**REGEX, "pattern": "(?P<time>"}, "is no regular expression of Python"),
        ({**REGEX, "pattern": "(a+)+"}, "pattern: it has no named group"),
        ({**REGEX, "pattern": "(?P<principal>x)"}, "pattern: it has no time"),
        ({**REGEX, "match": {"what": "x"}}, "match.what: there is no such group; expected some of time, principal"),
        ({**REGEX, "refused": ["401"]}, "refused: no field or group is called outcome"),
        ({**JSON, "match": {"event": []}}, "match.event: expected a value"),
        ({**JSON, "match": {"event": {"a": 1}}}, "match.event: expected a value"),
        ({**JSON, "success": [[1]]}, "success: expected a value"),
        ({**JSON, "time_format": "rfc3339"}, "time_format: 'rfc3339' is none"),
        ({**JSON, "time_format": "%s"}, "time_format: %s is not known here"),
        ({**JSON, "time_format": "%Y %H:%M %z"}, "has no a month (%m or %b) and no a day"),
        ({**JSON, "time_format": "%d.%m.%Y %d %H:%M"}, "has a part of the time twice"),
        ({**JSON, "time_format": "%d.%m.%Y %H:%M"}, "utc_offset: missing; time_format has no zone"),
        ({**JSON, "utc_offset": "CET"}, "utc_offset: 'CET' is no offset"),
    ],
)  # fmt: skip
def test_a_lookup_that_cannot_be_meant(log: AppLog, options: dict[str, Any], said: str) -> None:
    log.write(entry())
    with pytest.raises(BadInput) as error:
        log.look(**options)
    assert said in error.value.message


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            "nonsense",
            JSON,
            "format: no line of the log is an entry as json with a time as iso; correct fields",
        ),
        (entry(ts=1772366400), JSON, "format: no line of the log"),
        (entry(ts="2026-03-01T12:00:00"), JSON, "utc_offset: the log's times have no zone"),
        ("[" * 100_000, JSON, "format: no line"),
        ('{"ts": ' + "1" * 100_000 + "}", JSON, "format: no line"),
        (
            "nonsense",
            {"format": "combined"},
            "format: no line of the log is an entry as combined; give regex",
        ),
    ],
)
def test_a_log_that_cannot_be_understood_was_not_looked_at(
    log: AppLog, text: str, options: dict[str, Any], said: str
) -> None:
    log.write(text)
    with pytest.raises(BadInput) as error:
        log.look(**options)
    assert said in error.value.message
