# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy and its maintenance windows: what is read, what is refused, and which moments are inside."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _windows
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    MissingLibrary,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import parse_policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._windows import (
    openings,
    parse_windows,
    window_state,
)
from hypothesis import given
from hypothesis import strategies as st

UTC = timezone.utc


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_the_public_example_is_read() -> None:
    policy = parse_policy({"rotate": "age", "max_age": "180d", "grace": "48h"})
    assert policy.max_age == timedelta(days=180)
    assert policy.grace == timedelta(hours=48)
    assert policy.min_age == timedelta(days=162)
    assert not policy.windows
    assert not policy.reason_required


def test_without_a_policy_a_rotation_runs_when_asked() -> None:
    policy = parse_policy(None)
    assert (policy.rotate, policy.max_age, policy.min_age) == ("age", None, timedelta(0))
    assert policy.grace == timedelta(hours=48)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"rotate": "age"}, "keyturn_policy.max_age: is missing"),
        ({"rotate": "sometimes"}, "expected one of age, on_compromise, on_provider_change, never"),
        (
            {"rotate": "never", "max_age": "1d"},
            "keyturn_policy.max_age: has no meaning with rotate: never",
        ),
        ({"rotate": "age", "max_age": "180"}, None),
        (
            {"rotate": "age", "max_age": "half a year"},
            "keyturn_policy.max_age: 'half a year' is no duration",
        ),
        ({"rotate": "age", "max_age": 0}, "must be longer than nothing"),
        ({"rotate": "age", "max_age": "10d", "min_age": "11d"}, "min_age: is longer than max_age"),
        (
            {"rotate": "age", "max_age": "10d", "graze": "1d", "maxage": 3},
            "unknown key graze, maxage; expected some of rotate, max_age",
        ),
        ({"rotate": "never", "reason_required": "perhaps"}, "neither true nor false"),
        ({"rotate": "never", "alert": {"url": "http://a", "command": ["b"]}}, "either command"),
        ({"rotate": "never", "alert": {"uri": "http://a"}}, "unknown key uri"),
        ({"rotate": "never", "escalation": ["ops"]}, "escalation: expected a text that says whom"),
        ({"rotate": "never", "contacts": {"type": "mail"}}, "expected a list of contacts"),
        (["rotate"], "expected a mapping"),
    ],
)
def test_what_cannot_be_meant_is_refused(body: object, named: str | None) -> None:
    if named is None:
        assert parse_policy(body).max_age == timedelta(seconds=180)
        return
    with pytest.raises(BadInput) as caught:
        parse_policy(body)
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("window", "named"),
    [
        ({"start": "22:00"}, "keyturn_policy.window[0]: 'end' is missing"),
        ({"start": 1320, "end": "23:00"}, "put it in quotes"),
        ({"start": "24:00", "end": "23:00"}, "from '00:00' to '23:59'"),
        ({"start": "22:00", "end": "24:01"}, "from '00:00' to '24:00'"),
        ({"start": "22:00", "end": "25:00"}, "no time of day"),
        ({"start": "9:60", "end": "10:00"}, "no time of day"),
        ({"start": "10:00", "end": "10:00"}, "for a whole day"),
        (
            {"start": "10:00", "end": "11:00", "days": ["someday"]},
            "window[0].days: 'someday' is no weekday",
        ),
        ({"start": "10:00", "end": "11:00", "days": []}, "list of weekdays"),
        ({"start": "10:00", "end": "11:00", "timezone": "Mars/Olympus"}, "no known time zone"),
        ({"start": "10:00", "end": "11:00", "timezone": "../../etc/passwd"}, "no known time zone"),
        (
            {"start": "10:00", "end": "11:00", "zone": "UTC"},
            "unknown key zone; expected days, start, end, timezone",
        ),
        ("22:00-23:00", "expected a mapping"),
    ],
)
def test_windows_that_cannot_be_meant_are_refused(window: object, named: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_policy({"rotate": "never", "window": [window]})
    assert named in caught.value.message


def test_a_single_window_needs_no_list_and_days_have_two_spellings() -> None:
    one = parse_windows({"start": "1:00", "end": "2:00", "days": ["Sat", "sunday"]}, "w")
    assert one == parse_windows(
        [{"start": "01:00", "end": "02:00", "days": ["sat", "sun"], "timezone": "UTC"}], "w"
    )


NIGHT = parse_windows(
    [{"days": ["fri"], "start": "22:00", "end": "02:00", "timezone": "Europe/Berlin"}], "w"
)


@pytest.mark.parametrize(
    ("moment", "is_open", "edge"),
    [
        ("2026-01-09T20:59:59+00:00", False, "2026-01-09T21:00:00+00:00"),
        ("2026-01-09T21:00:00+00:00", True, "2026-01-10T01:00:00+00:00"),
        ("2026-01-10T00:59:59+00:00", True, "2026-01-10T01:00:00+00:00"),
        ("2026-01-10T01:00:00+00:00", False, "2026-01-16T21:00:00+00:00"),
        # a Saturday evening is not the Friday's window
        ("2026-01-10T21:30:00+00:00", False, "2026-01-16T21:00:00+00:00"),
        # summer: two hours ahead of UTC
        ("2026-07-10T20:00:00+00:00", True, "2026-07-11T00:00:00+00:00"),
    ],
)
def test_a_window_across_midnight_belongs_to_the_day_on_which_it_opens(
    moment: str, is_open: bool, edge: str
) -> None:
    state = window_state(NIGHT, at(moment))
    assert state.is_open is is_open
    assert (state.closes if is_open else state.opens) == at(edge)


def spans(start: str, end: str, day: str) -> list[tuple[str, str]]:
    """What a Sunday's window is in UTC; both clock changes fall on a Sunday."""
    window = parse_windows(
        [{"days": "sun", "start": start, "end": end, "timezone": "Europe/Berlin"}], "w"
    )[0]
    found = openings(window, at(f"{day}T12:00:00+00:00"))
    return [
        (opens.strftime("%H:%M"), closes.strftime("%H:%M"))
        for opens, closes in found
        if closes.date().isoformat() == day
    ]


def test_the_night_that_loses_an_hour() -> None:
    # 2026-03-29 in Berlin: after 01:59 CET comes 03:00 CEST
    assert spans("01:00", "04:00", "2026-03-29") == [("00:00", "02:00")]
    assert spans("02:15", "02:45", "2026-03-29") == [("01:15", "01:45")]
    assert spans("02:45", "03:15", "2026-03-29") == []


def test_the_night_that_has_an_hour_twice() -> None:
    # 2026-10-25 in Berlin: after 02:59 CEST comes 02:00 CET
    assert spans("01:00", "04:00", "2026-10-25") == [("23:00", "03:00")]
    assert spans("02:15", "02:45", "2026-10-25") == [("00:15", "00:45")]
    assert spans("02:30", "03:30", "2026-10-25") == [("00:30", "02:30")]


def test_windows_that_follow_each_other_close_together() -> None:
    windows = parse_windows(
        [
            {"start": "20:00", "end": "24:00"},
            {"start": "00:00", "end": "03:00"},
            {"start": "05:00", "end": "06:00"},
        ],
        "w",
    )
    state = window_state(windows, at("2026-01-05T23:00:00+00:00"))
    assert state.closes == at("2026-01-06T03:00:00+00:00")
    assert window_state(windows, at("2026-01-06T04:00:00+00:00")).opens == at(
        "2026-01-06T05:00:00+00:00"
    )


def test_no_window_is_always_open() -> None:
    assert window_state((), at("2026-01-05T23:00:00+00:00")).is_open


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
    st.integers(0, 1439),
    st.integers(1, 1440),
)
def test_a_window_is_open_exactly_while_the_local_clock_shows_its_times(
    now: datetime, start: int, length: int
) -> None:
    """In a zone without clock changes the definition by the wall clock and the one by intervals are the same."""
    end = start + length
    shown = end if end <= 1440 else end - 1440
    body = {
        "start": f"{start // 60}:{start % 60:02}",
        "end": f"{shown // 60}:{shown % 60:02}",
        "timezone": "Asia/Kolkata",
    }
    if shown == start:
        return
    window = parse_windows([body], "w")
    local = now + timedelta(hours=5, minutes=30)
    minute = local.hour * 60 + local.minute
    inside = start <= minute < end or start <= minute + 1440 < end
    assert window_state(window, now).is_open is inside


def test_python_3_8_knows_only_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_windows, "HAS_ZONEINFO", False)
    assert parse_windows([{"start": "1:00", "end": "2:00"}], "w")[0].zone == "UTC"
    with pytest.raises(MissingLibrary) as caught:
        parse_windows([{"start": "1:00", "end": "2:00", "timezone": "Europe/Berlin"}], "w")
    assert "Python 3.9" in caught.value.message
