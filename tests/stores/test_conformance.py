# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every store keeps the same promises: one table of cases, run against each."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import replace

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Corrupt,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    Document,
    Stage,
    dump_text,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from backends import KINDS, Backend, make_backend, with_trait
from racing import PROCESSES, Racers, Task, filler
from store_page import WRITES


def only(trait: str) -> pytest.MarkDecorator:
    """For the kinds that have this."""
    return pytest.mark.parametrize("backend", with_trait(trait), indirect=True)


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """A backend of each kind, empty."""
    return make_backend(request.param, request.getfixturevalue)


def canonical(**body: object) -> str:
    """A JSON object as keyrings are written."""
    return json_lines(body)


ONE, TWO, THREE = canonical(step=1), canonical(step=2), canonical(step=3)


def test_absent(backend: Backend) -> None:
    assert backend.store().read() is None
    assert backend.store().versions() == []


def test_create_and_read(backend: Backend) -> None:
    version = backend.store().write(ONE, None)
    assert backend.store().read() == (ONE, version)


def test_compare_and_set_won(backend: Backend) -> None:
    store = backend.store()
    first = store.write(ONE, None)
    second = store.write(TWO, first)
    third = store.write(THREE, second)
    assert len({first, second, third}) == 3
    assert backend.store().read() == (THREE, third)


def test_compare_and_set_lost(backend: Backend) -> None:
    ours, theirs = backend.store(), backend.store()
    first = ours.write(ONE, None)
    second = theirs.write(TWO, first)
    for expected in (first, None):
        with pytest.raises(Conflict):
            ours.write(THREE, expected)
    assert ours.read() == (TWO, second)


def test_the_same_text_does_not_make_a_lost_write_won(backend: Backend) -> None:
    store = backend.store()
    first = store.write(ONE, None)
    second = store.write(TWO, first)
    for expected in (first, None):
        with pytest.raises(Conflict):
            store.write(TWO, expected)
    assert store.read() == (TWO, second)


def test_a_version_from_another_store_object_is_good(backend: Backend) -> None:
    backend.store().write(ONE, None)
    found = backend.store().read()
    assert found is not None
    assert backend.store().write(TWO, found[1])


def test_versions(backend: Backend) -> None:
    store = backend.store()
    first = store.write(ONE, None)
    second = store.write(TWO, first)
    found = store.versions()
    assert found[0].version == second
    assert found[0].state == "current"
    if backend.keeps_versions:
        assert [(item.version, item.state) for item in found[1:]] == [(first, "old")]
        assert all(item.made and item.made.tzinfo for item in found)
    else:
        assert len(found) == 1


def test_rollback_to_a_version(backend: Backend) -> None:
    """As docs/stores.md tells an operator to, with the vendor's own means; what was read before may then not be written upon."""
    store = backend.store()
    first = store.write(ONE, None)
    noted = backend.note_keyring()
    assert not backend.keeps_versions or noted == first
    second = store.write(THREE, store.write(TWO, first))
    backend.go_back(noted)
    found = backend.store().read()
    assert found is not None
    assert found[0] == ONE
    assert found[1] != second
    with pytest.raises(Conflict):
        store.write(THREE, second)
    assert backend.store().versions()[0].version == found[1]
    third = backend.store().write(TWO, found[1])
    assert store.read() == (TWO, third)


def test_what_is_there_already_is_not_written(backend: Backend) -> None:
    """A step that was taken before leaves the keyring at the very version that the server knows."""
    run = {"run_id": "r1", "host": "elsewhere", "pid": 1}
    params = {"keyring": backend.keyring("db_app"), "credential": "db_app", "run": run}
    access = open_keyring(params, backend.context())
    claim = Request("claim", Run(""))
    assert access.step(claim)
    before = backend.keyring_version()
    assert not access.step(claim)
    assert not open_keyring(params, backend.context()).step(claim)
    assert backend.keyring_version() == before
    assert access.step(Request("release", Run("")))
    after = backend.keyring_version()
    assert after != before
    assert not open_keyring(params, backend.context()).step(Request("release", Run("")))
    assert backend.keyring_version() == after


@only("keeps_bytes")
def test_bytes_that_are_no_text_are_told_and_kept(backend: Backend) -> None:
    store = backend.store()
    version = store.write(ONE, None)
    held = backend.spoil_keyring()
    with pytest.raises(Corrupt, match="keyturn_keyring") as caught:
        backend.store().read()
    assert "text" in caught.value.message or "UTF-8" in caught.value.message
    for expected in (version, None):
        with pytest.raises((Conflict, Corrupt)):
            store.write(TWO, expected)
    assert backend.spoiled() == held


@pytest.mark.parametrize(
    "text",
    [
        canonical(text='ünïcode 漢字 🔑 "quoted" \\ back\nline\ttab\x00\x01\x7f', empty=""),
        canonical(list=[1, -1, 10**30, True, False, None, [], {}], nested={"a": {"b": {"c": "d"}}}),
        canonical(**{"": "empty key", "a/b": 1, "keyturn_text": "inside", "with blank": "x"}),
        canonical(keyturn_text={"not": "a text"}),
        canonical(number=1.5),
        canonical(number=1.0, big=2**53),
        canonical(half="\ud800 of a pair"),
        '{"not": "as keyrings are written"}',
        "no JSON at all: é\n\n",
        "[1, 2, 3]",
        "{}",
        " ",
        '"a JSON text"\n',
    ],
)
def test_any_text_comes_back(backend: Backend, text: str) -> None:
    version = backend.store().write(text, None)
    assert backend.store().read() == (text, version)


def large(size: int) -> str:
    """A document of exactly this size, which cannot be made smaller."""
    return canonical(value=filler(size - len(canonical(value=""))))


def test_a_document_of_the_largest_size_comes_back(backend: Backend) -> None:
    text = large(backend.largest)
    assert len(text) == backend.largest
    version = backend.store().write(text, None)
    assert backend.store().read() == (text, version)


@only("tiers")
def test_each_tier_at_its_limit(backend: Backend) -> None:
    """The server is given the values of the list in its own packing: each at the limit of a tier, and the next longer one."""
    store, version = backend.store(), None
    above = [tier for _size, tier in backend.tiers[1:]]
    for (size, tier), following in zip(backend.tiers, [*above, ""], strict=True):
        text, longer = backend.keyring_of(size), backend.keyring_of(size + 4)
        assert len(longer) > len(text)
        version = store.write(text, version)
        assert (store.read(), backend.keyring_tier()) == ((text, version), tier)
        if following:
            version = store.write(longer, version)
            assert (store.read(), backend.keyring_tier()) == ((longer, version), following)
        else:
            with pytest.raises(BadInput, match="keyturn_keyring"):
                store.write(longer, version)
            assert store.read() == (text, version)


@only("beyond")
def test_a_document_that_is_too_large_is_refused_and_nothing_is_written(backend: Backend) -> None:
    store = backend.store()
    version = store.write(ONE, None)
    with pytest.raises(BadInput, match="keyturn_keyring"):
        store.write(large(backend.beyond), version)
    assert backend.store().read() == (ONE, version)
    assert store.write(TWO, version)


@pytest.mark.parametrize(
    "name", ["with blank", "with.dots.and-dashes_", "team/a/b.c", "ünïcode", "a+b=c,d@e:f", "100%"]
)
def test_names(backend: Backend, name: str) -> None:
    if name in backend.refused_names:
        with pytest.raises(BadInput, match="keyturn_keyring"):
            backend.store(name).write(ONE, None)
        return
    version = backend.store(name).write(ONE, None)
    assert backend.store(name).read() == (ONE, version)
    assert backend.store("another").read() is None


def test_a_keyring_comes_back(backend: Backend) -> None:
    document = Document("db_app", secrets.token_bytes(SALT_BYTES))
    fields: dict[str, str | Secret] = {
        "username": "app_a",
        "password": Secret(secrets.token_urlsafe(30) + "é\n"),
    }
    stage = document.with_fingerprints(Stage("r1", "issued", fields))
    document = Document("db_app", document.salt, pending=stage)
    backend.store().write(dump_text(document), None)
    found = backend.store().read()
    assert found is not None
    assert found[0] == dump_text(document)
    assert parse_document(found[0]) == document


def racing(backend: Backend, work: str, count: int, writes: int, **more: int) -> list[Task]:
    """So many processes that do this to one keyring."""
    ref = backend.keyring("db_app")
    return [Task(work, ref, backend.environ, who, writes, **more) for who in range(count)]


def test_racing_processes_lose_no_write(
    backend: Backend, racers: Racers, record_property: Callable[[str, object], None]
) -> None:
    store = backend.store()
    store.write(canonical(writes=[]), None)
    ends = racers.race(racing(backend, "append", PROCESSES, backend.race))
    found = store.read()
    assert found is not None
    writes = json.loads(found[0])["writes"]
    assert len(writes) == PROCESSES * backend.race
    for who in range(PROCESSES):
        own = [item for item in writes if item.startswith(f"{who}-")]
        assert own == [f"{who}-{number}" for number in range(backend.race)]
    assert sum(end.lost for end in ends) > 0, "the writers never met: this proved nothing"
    record_property(WRITES, sum(end.done for end in ends))


def test_of_many_that_create_one_wins(backend: Backend, racers: Racers) -> None:
    ends = racers.race(racing(backend, "create", 4, 1))
    assert sorted((end.done, end.lost) for end in ends) == [(0, 1)] * 3 + [(1, 0)]
    [winner] = [who for who, end in enumerate(ends) if end.done]
    found = backend.store().read()
    assert found is not None
    assert json.loads(found[0]) == {"writes": [f"{winner}-0"]}


def doomed(backend: Backend, size: int, who: int, writes: int, die_at: int = 0) -> Task:
    """A process that replaces the keyring and is to die."""
    [task] = racing(backend, "replace", 1, writes, size=size, die_at=die_at)
    return replace(task, who=who)


def test_a_killed_writer_leaves_the_old_keyring_or_the_new_one(
    backend: Backend, racers: Racers
) -> None:
    """Before and after each of its requests, and at each call for its file; then at any moment."""
    size = min(60_000, backend.largest // 2)
    version, die_at = backend.store().write(ONE, None), 0
    old, died = ONE, True
    while died:
        die_at += 1
        died = racers.doomed(doomed(backend, size, die_at, 1, die_at)).died
        found = backend.store().read()
        assert found is not None
        assert found[0] in (old, f"{die_at}-0-{filler(size)}")
        # What it left is in nobody's way, and is gone after the next write.
        old = canonical(after=die_at)
        version = backend.store().write(old, found[1])
    assert die_at > 3, "it was not killed at its writes: this proved nothing"
    for number in range(3):
        racers.doomed(doomed(backend, size, number, 10_000), kill_after=0.05 + 0.06 * number)
        found = backend.store().read()
        assert found is not None
        assert found[0] == old or found[0].split("-", 2)[2] == filler(size)
        old, version = found
    assert backend.store().write(TWO, version)
    assert backend.keyring_left_over() == []
