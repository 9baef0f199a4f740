# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every store keeps the same promises: one table of cases, run against each."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Conflict
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    Document,
    Stage,
    dump_text,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import Store, open_store

OPTION = "keyturn_keyring"
KINDS = ("file-plain", "file-encrypted", "vault")


@dataclass
class Place:
    """Where one kind of store keeps a document.

    :param keeps_versions: earlier versions stay known.
    """

    url: Callable[[str], str]
    environ: dict[str, str] = field(default_factory=dict, repr=False)
    keeps_versions: bool = False

    def store(self, name: str = "db_app") -> Store:
        context = Context(environ=self.environ)
        return open_store(parse_reference(self.url(name), OPTION), context, OPTION)


def _file_place(scratch: Path, encrypted: bool) -> Place:
    password = scratch / "vault-password"
    password.write_text(secrets.token_urlsafe(16), encoding="utf-8")
    password.chmod(0o600)
    query = f"?encrypt=vault&vault_password_file={password}" if encrypted else ""

    def url(name: str) -> str:
        path = scratch / "keyrings" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        return f"ref+file://{quote(str(path))}{query}"

    return Place(url)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, scratch: Path) -> Place:
    """A place of each kind, empty."""
    if request.param != "vault":
        return _file_place(scratch, request.param == "file-encrypted")
    server = request.getfixturevalue("vault")
    mount = request.getfixturevalue("vault_mount")
    environ = {"VAULT_ADDR": server.address, "VAULT_TOKEN": server.root_token}
    return Place(lambda name: f"ref+vault://{mount}/{quote(name)}", environ, keeps_versions=True)


def canonical(**body: object) -> str:
    """A JSON object as keyrings are written."""
    return json_lines(body)


ONE, TWO, THREE = canonical(step=1), canonical(step=2), canonical(step=3)


def test_absent(place: Place) -> None:
    assert place.store().read() is None
    assert place.store().versions() == []


def test_create_and_read(place: Place) -> None:
    version = place.store().write(ONE, None)
    assert place.store().read() == (ONE, version)


def test_compare_and_set_won(place: Place) -> None:
    store = place.store()
    first = store.write(ONE, None)
    second = store.write(TWO, first)
    third = store.write(THREE, second)
    assert len({first, second, third}) == 3
    assert place.store().read() == (THREE, third)


def test_compare_and_set_lost(place: Place) -> None:
    ours, theirs = place.store(), place.store()
    first = ours.write(ONE, None)
    second = theirs.write(TWO, first)
    for expected in (first, None):
        with pytest.raises(Conflict):
            ours.write(THREE, expected)
    assert ours.read() == (TWO, second)


def test_the_same_text_does_not_make_a_lost_write_won(place: Place) -> None:
    store = place.store()
    first = store.write(ONE, None)
    second = store.write(TWO, first)
    for expected in (first, None):
        with pytest.raises(Conflict):
            store.write(TWO, expected)
    assert store.read() == (TWO, second)


def test_a_version_from_another_store_object_is_good(place: Place) -> None:
    place.store().write(ONE, None)
    found = place.store().read()
    assert found is not None
    assert place.store().write(TWO, found[1])


def test_versions(place: Place) -> None:
    store = place.store()
    first = store.write(ONE, None)
    second = store.write(TWO, first)
    found = store.versions()
    assert found[0].version == second
    assert found[0].state == "current"
    if place.keeps_versions:
        assert [(item.version, item.state) for item in found[1:]] == [(first, "old")]
        assert all(item.made and item.made.tzinfo for item in found)
    else:
        assert len(found) == 1


def test_rollback_to_a_version_is_a_write_of_its_text(place: Place) -> None:
    store = place.store()
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
def test_any_text_comes_back(place: Place, text: str) -> None:
    version = place.store().write(text, None)
    assert place.store().read() == (text, version)


def test_a_large_document_comes_back(place: Place) -> None:
    text = canonical(values=[secrets.token_urlsafe(700) for _number in range(250)])
    assert 200_000 < len(text) < 300_000
    version = place.store().write(text, None)
    assert place.store().read() == (text, version)


@pytest.mark.parametrize(
    "name", ["with blank", "with.dots.and-dashes_", "team/a/b.c", "ünïcode", "a+b=c,d@e:f", "100%"]
)
def test_names(place: Place, name: str) -> None:
    version = place.store(name).write(ONE, None)
    assert place.store(name).read() == (ONE, version)
    assert place.store("another").read() is None


def test_a_keyring_comes_back(place: Place) -> None:
    document = Document("db_app", secrets.token_bytes(SALT_BYTES))
    fields: dict[str, str | Secret] = {
        "username": "app_a",
        "password": Secret(secrets.token_urlsafe(30) + "é\n"),
    }
    stage = document.with_fingerprints(Stage("r1", "issued", fields))
    document = Document("db_app", document.salt, pending=stage)
    place.store().write(dump_text(document), None)
    found = place.store().read()
    assert found is not None
    assert found[0] == dump_text(document)
    assert parse_document(found[0]) == document


WRITER = """
import json, os, sys
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
        else:
            break
print(lost)
"""


def race(place: Place, script: str, count: int, writes: int) -> list[str]:
    """Start processes, let them go at once, and give what each printed at its end."""
    paths = json.dumps([path for path in sys.path if path])
    arguments = [paths, place.url("db_app"), json.dumps(place.environ)]
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


def test_racing_processes_lose_no_write(place: Place) -> None:
    store = place.store()
    store.write(canonical(writes=[]), None)
    lost = [int(end) for end in race(place, WRITER, 4, 10)]
    found = store.read()
    assert found is not None
    writes = json.loads(found[0])["writes"]
    assert len(writes) == 40
    for who in range(4):
        own = [item for item in writes if item.startswith(f"{who}-")]
        assert own == [f"{who}-{number}" for number in range(10)]
    assert sum(lost) > 0, "the writers never met: this proved nothing"


def test_of_many_that_create_one_wins(place: Place) -> None:
    creator = WRITER.replace("store.read()", "('{\"writes\": []}', None)").replace(
        "lost += 1", "print('lost'); sys.exit()"
    )
    ends = race(place, creator, 4, 1)
    assert sorted(ends) == ["0", "lost", "lost", "lost"]
    found = place.store().read()
    assert found is not None
    assert json.loads(found[0]) == {"writes": [f"{ends.index('0')}-0"]}
