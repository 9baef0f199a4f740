# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statistics page of nginx-rtmp: what is read of it, and what is not believed."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._rtmp_stat import (
    applications_told,
    described,
    publishers,
    statistics,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._received import busy, told

KEY = f"key-{secrets.token_urlsafe(12)}&<"
WRITTEN = KEY.replace("&", "&amp;").replace("<", "&lt;")
CLIENT = "<client><address>192.0.2.7</address><time>61500</time><publishing/></client>"
VIEWER = "<client><address>192.0.2.9</address><time>5</time></client>"
META = "<meta><video><width>1280</width><height>720</height><frame_rate>29.97</frame_rate></video></meta>"


def page(live: str = "", begin: str = "", pid: int = 7) -> str:
    """A page as nginx-rtmp writes it."""
    return (
        f'<?xml version="1.0" encoding="utf-8" ?>{begin}<rtmp><pid>{pid}</pid><server><application><name>live</name><live>{live}'
        "<nclients>1</nclients></live></application><application><name>empty</name><live></live></application></server></rtmp>"
    )


def stream(clients: str, more: str = "") -> str:
    """One stream of the page."""
    return f"<stream><name>{WRITTEN}</name><time>900</time><bytes_in>13780</bytes_in>{clients}{more}</stream>"


def test_a_publisher_is_read_and_its_name_is_not_shown() -> None:
    (found,) = publishers(page(stream(VIEWER + CLIENT, f"{META}<publishing/>")))
    assert found.name.reveal() == KEY
    assert (found.application, found.address, found.seconds) == ("live", "192.0.2.7", 61.5)
    assert (found.width, found.height, found.frame_rate) == (1280, 720, 29.97)
    assert (found.bytes_in, found.publishing) == (13780, True)
    said = described(found, datetime(2026, 1, 31, 22, 1, 1, 500000, tzinfo=timezone.utc))
    assert said == "application live, from 192.0.2.7, since 2026-01-31T22:00:00Z"
    assert KEY not in repr(found) + said


def test_viewers_who_wait_are_no_publisher() -> None:
    (found,) = publishers(page(stream(VIEWER)))
    assert (found.publishing, found.address, found.width) == (False, "", None)


def test_applications_without_a_stream_are_known() -> None:
    found = statistics(page())
    assert (found.applications, found.publishers, found.worker) == (("live", "empty"), (), "7")


def test_an_address_that_is_none_is_not_repeated() -> None:
    odd = CLIENT.replace("192.0.2.7", "a b\n")
    assert publishers(page(stream(odd)))[0].address == ""


def test_a_stream_is_known_by_the_part_of_a_key_that_nginx_keeps() -> None:
    (found,) = publishers(page(stream(CLIENT)))
    for key in (KEY, f"{KEY}?bandwidthtest=true"):
        assert found.has([Secret("other"), Secret(key)])
    for key in (KEY[:-1], f"{KEY}k", f"other?{KEY}", ""):
        assert not found.has([Secret(key)])
    long = secrets.token_hex(140)
    (cut,) = publishers(page(stream(CLIENT).replace(WRITTEN, long[:255])))
    assert cut.has([Secret(long)]) and not cut.has([Secret(long[:254])])


@pytest.mark.parametrize("told", ["9" * 18, str(11 * 366 * 86_400_000)])
def test_a_time_that_no_stream_lasts_counts_as_nothing(told: str) -> None:
    (found,) = publishers(page(stream(CLIENT.replace("61500", told))))
    now = datetime(2026, 1, 31, 22, tzinfo=timezone.utc)
    assert described(found, now).endswith("since 2026-01-31T22:00:00Z")


@pytest.mark.parametrize("name", ["a\nok: nothing", "a\x85b", "n" * 65, "\u202elive", ""])
def test_an_application_with_a_strange_name_is_not_repeated(name: str) -> None:
    shown = page(stream(CLIENT)).replace("<name>live<", f"<name>{name}<")
    (found,) = publishers(shown)
    assert found.application == name
    now = datetime(2026, 1, 31, 22, tzinfo=timezone.utc)
    said = f"{described(found, now)} {busy(found)} {told(found)}"
    assert said.count("application (a strange name)") == 3
    assert len(said) < 400 and said.isprintable()


def test_the_applications_of_an_ingest_are_told_in_one_short_line() -> None:
    told = applications_told(["live", "a\nb", "app/one", *(f"one{number}" for number in range(99))])
    assert told.startswith("live, (a strange name), app/one, one0, ")
    assert told.endswith(", one6 and 92 more")
    assert applications_told([]) == "none"


BOMB = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no XML at all",
        "<html><body>rtmp</body></html>",
        "<rtmp></rtmp>",
        page()[:-9],
        page("&b;", BOMB),
        page("", "<!DOCTYPE rtmp>"),
        page("", '<!DOCTYPE rtmp SYSTEM "file:///etc/passwd">'),
        page("<stream>" * 100_000 + "</stream>" * 100_000),
        page("&undeclared;"),
    ],
    ids=["empty", "text", "html", "bare", "cut", "bomb", "type", "outside", "deep", "unknown"],
)
def test_what_is_no_page_of_statistics_is_not_believed(text: str) -> None:
    with pytest.raises(Unreachable, match="no page of nginx-rtmp's statistics") as caught:
        publishers(text)
    assert caught.value.__cause__ is None


def test_numbers_that_are_none_count_as_nothing() -> None:
    odd = stream(CLIENT.replace("61500", "9" * 400), META.replace("29.97", "1e9"))
    odd = odd.replace("1280", "\u00b2")
    (found,) = publishers(page(odd.replace("13780", "-5")))
    assert (found.seconds, found.bytes_in, found.frame_rate, found.width) == (0.0, 0, None, None)
