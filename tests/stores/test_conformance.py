# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every store keeps the same promises: one table of cases, run against each."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Conflict
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    Document,
    Stage,
    dump_text,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from backends import KINDS, Backend, make_backend


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """A backend of each kind, empty."""
    return make_backend(request.param, request.getfixturevalue)


def canonical(**body: object) -> str:
    """A JSON object as keyrings are written."""
    return json_lines(body)


PROCESSES = 8
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


def test_rollback_to_a_version_is_a_write_of_its_text(backend: Backend) -> None:
    store = backend.store()
    second = store.write(TWO, store.write(ONE, None))
    third = store.write(ONE, second)
    assert store.read() == (ONE, third)


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
    """A document of about this size, which cannot be made smaller."""
    text = canonical(values=[secrets.token_urlsafe(700) for _number in range(size // 950 + 1)])
    return text if len(text) <= size else canonical(value=secrets.token_urlsafe(size)[: size - 20])


def test_a_document_of_the_largest_size_comes_back(backend: Backend) -> None:
    text = large(backend.largest)
    assert 0.9 * backend.largest < len(text) <= backend.largest
    version = backend.store().write(text, None)
    assert backend.store().read() == (text, version)


def test_a_document_that_is_too_large_is_refused_and_nothing_is_written(backend: Backend) -> None:
    if not backend.beyond:
        return
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


WRITER = """
import json, os, random, sys, time
given_pause = 0.05
sys.path[:0] = json.loads(sys.argv[1])
base = "ansible_collections.keyturn.runbooks.plugins.module_utils."
from importlib import import_module
Context = import_module(base + "_context").Context
Conflict = import_module(base + "_errors").Conflict
open_store = import_module(base + "_stores").open_store
reference = import_module(base + "_refs").parse_reference(sys.argv[2], "option")
store = open_store(reference, Context(environ=json.loads(sys.argv[3])), "option")
print("ready", flush=True)
sys.stdin.readline()
lost = 0
for number in range(int(sys.argv[5])):
    while True:
        text, version = store.read()
        body = json.loads(text)
        body["writes"].append(f"{sys.argv[4]}-{number}")
        try:
            store.write(json.dumps(body), version)
        except Conflict:
            lost += 1
            time.sleep(random.random() * given_pause)
        else:
            break
print(lost)
"""


def race(backend: Backend, script: str, count: int, writes: int) -> list[str]:
    """Start processes, let them go at once, and give what each printed at its end."""
    paths = json.dumps([path for path in sys.path if path])
    arguments = [paths, backend.keyring("db_app"), json.dumps(backend.environ)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments, str(number), str(writes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return ends


def test_racing_processes_lose_no_write(backend: Backend) -> None:
    store = backend.store()
    store.write(canonical(writes=[]), None)
    lost = [int(end) for end in race(backend, WRITER, PROCESSES, backend.race)]
    found = store.read()
    assert found is not None
    writes = json.loads(found[0])["writes"]
    assert len(writes) == PROCESSES * backend.race
    for who in range(PROCESSES):
        own = [item for item in writes if item.startswith(f"{who}-")]
        assert own == [f"{who}-{number}" for number in range(backend.race)]
    assert sum(lost) > 0, "the writers never met: this proved nothing"


def test_of_many_that_create_one_wins(backend: Backend) -> None:
    creator = WRITER.replace("store.read()", "('{\"writes\": []}', None)").replace(
        "lost += 1", "print('lost'); sys.exit()"
    )
    ends = race(backend, creator, 4, 1)
    assert sorted(ends) == ["0", "lost", "lost", "lost"]
    found = backend.store().read()
    assert found is not None
    assert json.loads(found[0]) == {"writes": [f"{ends.index('0')}-0"]}
