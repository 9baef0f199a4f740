# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every place that sinks are written to keeps the same promises: one table of cases, run against each."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import replace

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
    bring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Stale
from backends import SINKS, WHERE, Backend, make_backend, with_trait
from racing import PROCESSES, Racers, Task
from store_page import WRITES


def only(trait: str) -> pytest.MarkDecorator:
    """For the kinds that have this."""
    return pytest.mark.parametrize("backend", with_trait(trait, SINKS), indirect=True)


@pytest.fixture(params=SINKS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """A backend of each kind, empty."""
    return make_backend(request.param, request.getfixturevalue)


def publish(
    backend: Backend, value: str | None, name: str = "app", check_mode: bool = False
) -> Outcome:
    context = backend.context(check_mode=check_mode)
    wanted = Wanted(WHERE, {backend.field: None if value is None else Secret(value)})
    return bring(backend.place(name, context), wanted, no_guard, context)


def fresh() -> str:
    return secrets.token_urlsafe(24)


def test_absent(backend: Backend) -> None:
    observed = backend.place().read((backend.field,))
    assert not observed.exists
    assert observed.fields == {}


def test_a_first_value(backend: Backend) -> None:
    value = fresh()
    predicted = publish(backend, value, check_mode=True)
    assert predicted.changed
    assert backend.held("app") is None
    done = publish(backend, value)
    assert done.changed
    assert dict(done.changes) == dict(predicted.changes)
    assert backend.held("app") == value
    read = backend.place().read((backend.field,))
    assert read.exists
    assert read.fields == {backend.field: Secret(value)}


def test_an_equal_value_is_not_written(backend: Backend) -> None:
    value = fresh()
    publish(backend, value)
    counted = backend.writes("app")
    assert not publish(backend, value).changed
    assert not publish(backend, value, check_mode=True).changed
    assert backend.writes("app") == counted


def test_another_value_is_one_write_and_all_else_is_kept(backend: Backend) -> None:
    backend.put("app", fresh())
    before, others = backend.writes("app"), backend.others("app")
    value = fresh()
    outcome = publish(backend, value)
    assert backend.held("app") == value
    assert backend.others("app") == others
    after = backend.writes("app")
    assert after != before
    if isinstance(before, int):
        assert after == before + 1
        assert outcome.version == str(after)


@only("server_compares")
def test_what_somebody_else_wrote_in_between_is_not_lost_silently(backend: Backend) -> None:
    """A store that cannot compare says afterwards what it wrote over; for a file it is a lock that keeps others out."""
    backend.put("app", fresh())
    place = backend.place()
    observed = place.read((backend.field,))
    theirs, ours = fresh(), fresh()
    backend.put("app", theirs)
    with pytest.raises(Stale if backend.compares else Conflict) as caught:
        place.write(observed, {backend.field: Secret(ours)})
    assert backend.held("app") == (theirs if backend.compares else ours)
    assert ours not in caught.value.message
    publish(backend, ours)
    assert backend.held("app") == ours


@only("field")
def test_a_field_is_removed(backend: Backend) -> None:
    backend.put("app", fresh())
    others = backend.others("app")
    assert publish(backend, None).changed
    assert backend.held("app") is None
    assert backend.others("app") == others
    assert not publish(backend, None).changed


@pytest.mark.parametrize(
    "value",
    [
        "ünïcode 漢字 🔑",
        "\"quotes\" 'and' \\ back $ { } % ` # ; & | < > ( ) ~ * ?",
        " blanks around ",
        "line\nbreak\ttab",
        "ends with a line break\n",
        "{not json",
        '{"json": true}',
        "true",
        "0",
        "ref+vault://looks/like#/a/reference",
        "{{ looks.like.a.template }}",
        "-----BEGIN THING-----\n" + "A" * 64 + "\n-----END THING-----\n",
    ],
)
def test_any_text_comes_back(backend: Backend, value: str) -> None:
    if value in backend.refused_values:
        with pytest.raises(BadInput, match=WHERE):
            publish(backend, value)
        assert backend.held("app") is None
        return
    publish(backend, value)
    assert backend.held("app") == value
    assert not publish(backend, value).changed


def test_the_largest_value(backend: Backend) -> None:
    value = secrets.token_urlsafe(backend.largest_value)[: backend.largest_value]
    publish(backend, value)
    assert backend.held("app") == value


@only("tiers")
def test_each_tier_at_its_limit(backend: Backend) -> None:
    """The server moves a value that has grown, and AWS itself takes none back to where it was cheaper."""
    for size, tier in backend.tiers:
        for length in (size - 1, size):
            value = secrets.token_urlsafe(length)[:length]
            publish(backend, value)
            assert backend.held("app") == value
            assert backend.tier("app") == tier


@only("beyond_value")
def test_a_value_that_is_too_large_is_refused_and_nothing_is_written(backend: Backend) -> None:
    value = fresh()
    publish(backend, value)
    counted = backend.writes("app")
    too_large = secrets.token_urlsafe(backend.beyond_value)[: backend.beyond_value]
    for check_mode in (True, False):
        with pytest.raises(BadInput, match=WHERE) as caught:
            publish(backend, too_large, check_mode=check_mode)
        assert "bytes" in caught.value.message
    assert (backend.held("app"), backend.writes("app")) == (value, counted)


@pytest.mark.parametrize("name", ["with-dashes", "with.dots", "under_score", "deep/er/path", "a b"])
def test_names(backend: Backend, name: str) -> None:
    value = fresh()
    if name in backend.refused_names:
        with pytest.raises(BadInput, match=WHERE):
            publish(backend, value, name)
        return
    publish(backend, value, name)
    assert backend.held(name) == value


@pytest.mark.parametrize("name", ["with-dashes", "with.dots", "with blank", "a/b", "ünïcode"])
@only("field")
def test_names_of_fields(backend: Backend, name: str) -> None:
    backend.put("app", fresh())
    context, value = backend.context(), fresh()
    wanted = Wanted(WHERE, {name: Secret(value)})
    if name in backend.refused_fields:
        with pytest.raises(BadInput, match=WHERE):
            bring(backend.place("app", context), wanted, no_guard, context)
        assert name not in backend.others("app")
        return
    bring(backend.place("app", context), wanted, no_guard, context)
    assert backend.others("app")[name] == value
    assert not bring(backend.place("app", context), wanted, no_guard, context).changed


@only("keeps_bytes")
def test_bytes_that_are_no_text_are_kept_and_told(backend: Backend) -> None:
    """Beside the field they stay to the byte. In the field they equal no value, so that a value takes their place, and that is told."""
    held = backend.spoil("app")
    counted, value = backend.writes("app"), fresh()
    for check_mode in (True, False):
        assert backend.writes("app") == counted
        outcome = publish(backend, value, check_mode=check_mode)
        assert outcome.changed
        assert any("no text" in note for note in outcome.observed.notes)
        assert value not in repr(outcome)
    assert backend.held("app") == value
    if backend.field:
        assert backend.others("app")["BINARY"].encode("utf-8", "surrogateescape") == held
    assert not publish(backend, value).changed


def writer(backend: Backend, who: int, key: str, writes: int, **more: int) -> Task:
    """A process that writes to one field of a sink."""
    return Task("publish", backend.sink("app"), backend.environ, who, writes, key, **more)


def test_racing_processes_lose_no_field(
    backend: Backend, racers: Racers, record_property: Callable[[str, object], None]
) -> None:
    """Each has a field of its own in one place; where a place holds one text, all write that."""
    backend.put("app", "start")
    before = backend.writes("app")
    fields = [f"FIELD_{who}" if backend.field else "" for who in range(PROCESSES)]
    ends = racers.race(
        [writer(backend, who, field, backend.race) for who, field in enumerate(fields)]
    )
    last = [f"{who}-{backend.race - 1}-" for who in range(PROCESSES)]
    if backend.field:
        assert [backend.others("app")[name] for name in fields] == last
        assert sum(end.lost for end in ends) == 0
    else:
        assert backend.held("app") in last
    assert sum(end.done for end in ends) == PROCESSES * backend.race
    if isinstance(before, int):
        assert backend.writes("app") == before + PROCESSES * backend.race
    record_property(WRITES, PROCESSES * backend.race)


def test_of_many_that_publish_one_keyring_one_writes(backend: Backend, racers: Racers) -> None:
    """The others find the value there; where the server does not compare, one that wrote it as well says so."""
    backend.put("app", "start")
    before, value = backend.writes("app"), fresh()
    backend.store().write(json.dumps({"password": value}), None)
    keyring = backend.keyring("db_app")
    tasks = [replace(writer(backend, who, backend.field, 3), keyring=keyring) for who in range(4)]
    ends = racers.race(tasks)
    assert backend.held("app") == value
    written = sum(end.done for end in ends)
    assert written == 1 + sum(end.lost for end in ends)
    assert written == 1 or not backend.compares
    if isinstance(before, int):
        assert backend.writes("app") == before + written
    counted = backend.writes("app")
    assert [end.done for end in racers.race(tasks)] == [0] * len(tasks)
    assert backend.writes("app") == counted


def assert_whole(backend: Backend, old: str, size: int) -> str:
    """The old value, or all of one that was to be written; it."""
    held = backend.held("app")
    assert held is not None
    assert held == old or held.split("-", 2)[2] == "x" * size
    return held


def test_a_killed_writer_leaves_the_old_value_or_the_new_one(
    backend: Backend, racers: Racers
) -> None:
    """Before and after each of its requests, and at each call for its file; then at any moment."""
    backend.put("app", "start")
    size = min(20_000, backend.largest_value - 20)
    old, die_at, died = "start", 0, True
    while died:
        die_at += 1
        died = racers.doomed(writer(backend, 0, backend.field, 1, size=size, die_at=die_at)).died
        assert_whole(backend, old, size)
        old = fresh()
        publish(backend, old)
        assert backend.held("app") == old
    assert die_at > 3, "it was not killed at its writes: this proved nothing"
    for number in range(3):
        racers.doomed(writer(backend, number, backend.field, 10_000, size=size), 0.06 * number)
        old = assert_whole(backend, old, size)
    value = fresh()
    publish(backend, value)
    assert backend.held("app") == value
    assert backend.left_over("app") == []
