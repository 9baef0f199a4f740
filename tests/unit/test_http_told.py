# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What answers of HTTP tell beside their content."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_told import (
    ServerClock,
    wished_seconds,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)


def test_a_clock_that_is_ahead_goes_on() -> None:
    moments = iter([NOW, NOW + timedelta(seconds=5)])
    clock = ServerClock(lambda: next(moments))
    clock.hear("Sun, 01 Mar 2026 13:00:00 GMT")
    assert clock.time() == NOW + timedelta(hours=1, seconds=5)


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "yesterday",
        "Sun, 01 Mar 2026 13:00:00 -0000",
        "Sun, 01 Mar 2026 13:00:00 +9999999999",
        "Sun, 01 Mar 99999999999999999999 13:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
    ],
)
def test_what_is_no_time_tells_nothing(date: str | None) -> None:
    clock = ServerClock(lambda: NOW)
    clock.hear(date)
    assert clock.time() is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("0", 0.0), (None, 0.0), ("", 0.0), ("soon", 0.0), ("\u00b2", 0.0), ("-1", 0.0)],
)
def test_how_long_not_to_ask_again(text: str | None, seconds: float) -> None:
    assert wished_seconds(text) == seconds
