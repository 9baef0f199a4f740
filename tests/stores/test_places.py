# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every place that sinks are written to keeps the same promises: one table of cases, run against each."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Conflict
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
    bring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Stale
from backends import WHERE, Backend, make_backend

KINDS = ("file", "vault", "ssm", "secretsmanager", "kubernetes")


@pytest.fixture(params=KINDS)
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


def test_what_somebody_else_wrote_in_between_is_not_lost_silently(backend: Backend) -> None:
    """A store that cannot compare says afterwards what it wrote over; for a file it is a lock that keeps others out."""
    if not backend.server_compares:
        return
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


def test_a_field_is_removed(backend: Backend) -> None:
    publish(backend, fresh())
    if not backend.field:
        return
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


def test_a_value_that_is_too_large_is_refused_and_nothing_is_written(backend: Backend) -> None:
    if not backend.beyond_value:
        return
    value = fresh()
    publish(backend, value)
    counted = backend.writes("app")
    for check_mode in (True, False):
        with pytest.raises(BadInput, match=WHERE) as caught:
            publish(backend, secrets.token_urlsafe(backend.beyond_value), check_mode=check_mode)
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


WRITER = """
import json, os, sys
given = json.loads(sys.argv[1])
sys.path[:0] = given["paths"]
from importlib import import_module
base = "ansible_collections.keyturn.runbooks.plugins.module_utils."
def of(module, name): return getattr(import_module(base + module), name)
Context, Secret, Conflict = of("_context", "Context"), of("_secret", "Secret"), of("_errors", "Conflict")
Wanted, bring = of("_sinks._apply", "Wanted"), of("_sinks._apply", "bring")
[sink] = of("_sinks", "parse_sinks")([{"ref": given["sink"], "template": "x"}])
address = of("_sinks._open", "Address")(sink.ref.scheme, sink.ref.path, sink.ref.params, sink.ref.place, "place")
context = Context(environ=given["environ"])
place = of("_sinks._open", "open_place")(address, sink.options, context)
print("ready", flush=True)
sys.stdin.readline()
conflicts = 0
for number in range(given["count"]):
    value = f"{given['who']}-{number}-" + "x" * given["size"]
    try:
        bring(place, Wanted("place", {given["field"]: Secret(value)}), lambda: None, context)
    except Conflict:
        conflicts += 1
print(conflicts)
"""


def writer(
    backend: Backend, who: int, field: str, count: int, size: int = 0
) -> subprocess.Popen[str]:
    given = {
        "paths": [path for path in sys.path if path],
        "sink": backend.sink("app"),
        "environ": backend.environ,
        "who": who,
        "field": field,
        "count": count,
        "size": size,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, json.dumps(given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def let_go(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Let them go at once, and give what each printed at its end."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=180)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return ends


PROCESSES = 8


def test_racing_processes_lose_no_field(backend: Backend) -> None:
    """Each has a field of its own in one place; where a place holds one text, all write that."""
    backend.put("app", "start")
    before = backend.writes("app")
    fields = [f"FIELD_{who}" if backend.field else "" for who in range(PROCESSES)]
    ends = let_go([writer(backend, who, field, backend.race) for who, field in enumerate(fields)])
    last = [f"{who}-{backend.race - 1}-" for who in range(PROCESSES)]
    if backend.field:
        assert [backend.others("app")[name] for name in fields] == last
        assert ends == ["0"] * PROCESSES
    else:
        assert backend.held("app") in last
    if isinstance(before, int):
        assert backend.writes("app") == before + PROCESSES * backend.race


def test_a_killed_writer_leaves_the_old_value_or_the_new_one(backend: Backend) -> None:
    backend.put("app", "start")
    size = min(60_000, backend.largest_value - 20)
    for number in range(4):
        process = writer(backend, number, backend.field, 10_000, size)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(0.05 + 0.06 * number)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        held = backend.held("app")
        assert held is not None
        assert held == "start" or held.endswith("-" + "x" * size)
    value = fresh()
    publish(backend, value)
    assert backend.held("app") == value
    assert backend.left_over("app") == []
