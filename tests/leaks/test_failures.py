# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that fail, each for another reason: what they say of it and leave behind holds no secret."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import pytest
from leaks.flows import Course, another_host, move, redefine
from leaks.watch import Watch
from rotation import FORCE
from vault_world import closed_port

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
Report = Callable[[Watch], None]
SOON = {**FORCE, "keyturn_wait": "1s"}
ON_ITS_HOST, BY_ANOTHER = "a sink and a consumer on another host", "by another host"


@dataclass(frozen=True)
class Way:
    """How modules are run.

    :param where: other hosts that take part; there, modules are programs of their own.
    :param programs: they are programs everywhere, and not inside of Ansible's process.
    """

    where: str = ""
    programs: bool = False
    pipelining: bool = False
    debug: bool = False

    def __str__(self) -> str:
        told = {
            self.where: bool(self.where),
            "programs": self.programs,
            "pipelining": self.pipelining,
            "ANSIBLE_DEBUG": self.debug,
        }
        return ", ".join(name for name, is_so in told.items() if is_so) or "in the process"

    def prepare(self, made: Course) -> None:
        """Have every run of a credential done in this way."""
        made.env = {"ANSIBLE_PIPELINING": str(int(self.pipelining))}
        made.env.update({"ANSIBLE_DEBUG": "1"} if self.debug else {})
        if self.programs:
            redefine(made.estate, keyturn_direct=False)
        if self.where == BY_ANOTHER:
            redefine(made.estate, keyturn_control_host=another_host(made.estate))
        if self.where == ON_ITS_HOST:
            move(made.estate)


LOUD = Way(debug=True)
ALL = [
    Way(where, programs, pipelining, debug)
    for where, programs, pipelining, debug in product(
        ("", ON_ITS_HOST, BY_ANOTHER), *3 * [(False, True)]
    )
    if (where or programs or not pipelining) and not (where == BY_ANOTHER and programs)
]
# A module as a program takes a hundred times as long to start.
MORE = {
    "test_the_process_at_work_is_killed": [Way(programs=True, debug=True)],
    "test_the_server_cannot_be_reached": [Way(BY_ANOTHER, pipelining=True)],
    "test_a_consumer_fails": [Way(ON_ITS_HOST)],
}
# They kill it at a step, which nobody sees who does not run it.
AT_A_STEP = (
    "test_a_killed_run_and_its_rerun",
    "test_a_sink_cannot_be_written",
    "test_a_gate_is_closed",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each failure in the loudest way, and some in others; in all of them with ``make soak``."""
    if "way" not in metafunc.fixturenames:
        return
    test = metafunc.function.__name__
    ways = ALL if os.environ.get("KEYTURN_SOAK") else [LOUD, *MORE.get(test, [])]
    seen = [way for way in ways if not way.programs and way.where != BY_ANOTHER]
    ways = seen if test in AT_A_STEP else ways
    metafunc.parametrize("way", ways, ids=str)


@pytest.fixture
def failing(course: Maker, way: Way) -> Maker:
    """An adopted credential whose run will fail."""

    def maker(name: str) -> Course:
        made = course()
        shown = "" if way == LOUD else f" ({way})"
        made.name = f"failure{shown}, {name}"
        way.prepare(made)
        made.estate.adopt()
        return made

    return maker


def test_a_proof_fails_and_the_run_returns(failing: Maker, report: Report) -> None:
    made = failing("a proof")
    estate = made.estate
    code = f"import sys; sys.exit({estate.roles[1]!r} in open({str(estate.env_file)!r}).read())"
    estate.add_probe({"type": "command", "argv": [sys.executable, "-c", code]})
    failed = made.run("rolled back by itself", "rotate_db", extra=SOON, code=2)
    assert "The previous value was made current again" in failed.output
    report(made.watch)


def test_the_pending_value_is_not_proved(failing: Maker, report: Report) -> None:
    made = failing("a proof")
    calls = made.estate.folder / "calls"
    once = f"echo . >> {calls}; test $(wc -l < {calls}) -le 1"
    made.estate.add_probe({"type": "command", "argv": ["sh", "-c", once]})
    failed = made.run("of the pending value", "rotate_db", extra=SOON, code=2)
    document = made.estate.document()
    assert document.pending and document.pending.status == "applied", failed.output
    report(made.watch)


def test_a_consumer_fails(failing: Maker, report: Report) -> None:
    made = failing("a consumer")
    consumers = made.estate.definition()["keyturn_consumers"]
    argv = ["sh", "-c", f"cat {made.estate.env_file} >/dev/null; exit 3"]
    failing_one = {**consumers[-1], "argv": argv}
    redefine(made.estate, keyturn_consumers=[*consumers[:-1], failing_one])
    failed = made.run("exit code 3", "rotate_db", extra=SOON, code=2)
    assert "ended with exit code 3" in failed.output
    report(made.watch)


def test_the_process_at_work_is_killed(failing: Maker, report: Report) -> None:
    made = failing("a process")
    calls = made.estate.folder / "calls"
    # Its parent; when it is asked of the value in use, before anything is begun, it lets it live.
    later = f"echo . >> {calls}; test $(wc -l < {calls}) -le 1 || kill -9 $PPID"
    made.estate.add_probe({"type": "command", "argv": ["sh", "-c", later]})
    made.run("killed", "rotate_db", extra=SOON, code=None)
    document = made.estate.document()
    assert document.pending and document.pending.status == "applied"
    report(made.watch)


def test_a_killed_run_and_its_rerun(failing: Maker, report: Report) -> None:
    made = failing("a killed run")
    task = "Bring it to its sinks and consumers"
    made.killed("killed", "rotate_db", task, extra=FORCE)
    made.run("rerun", "rotate_db")
    document = made.estate.document()
    assert document.current and document.current.status == "observed"
    report(made.watch)


def test_the_server_cannot_be_reached(failing: Maker, report: Report) -> None:
    made = failing("unreachable")
    issuer = made.estate.definition()["keyturn_issuer"]
    login = {**issuer["login"], "port": closed_port()}
    redefine(made.estate, keyturn_issuer={**issuer, "login": login})
    failed = made.run("nobody listens", "rotate_db", extra=SOON, code=2)
    assert "nothing listens there" in failed.output
    report(made.watch)


def test_the_administrator_is_refused(failing: Maker, report: Report) -> None:
    made = failing("a wrong password")
    wrong = secrets.token_urlsafe(24)
    made.known["wrong password of the administrator"] = wrong
    admin = made.estate.folder / "pg-admin.json"
    admin.write_text(json.dumps({"username": "postgres", "password": wrong}))
    failed = made.run("of the administrator", "rotate_db", extra=SOON, code=2)
    assert "postgres" in failed.output
    report(made.watch)


@pytest.mark.parametrize("damage", ["cut off", "another value", "no document"])
def test_the_keyring_is_damaged(failing: Maker, report: Report, damage: str) -> None:
    made = failing("a damaged keyring")
    path = made.estate.keyring_path
    text, value = path.read_text(), made.estate.secrets()[0]
    other = secrets.token_urlsafe(24)
    made.known["other value in the keyring"] = other
    path.write_text(
        {
            "cut off": text[: text.index(json.dumps(value)[1:-1]) + len(value)],
            "another value": text.replace(json.dumps(value)[1:-1], other),
            "no document": json.dumps(value),
        }[damage]
    )
    made.run(damage, "rotate_db", extra=SOON, code=2)
    report(made.watch)


def test_a_sink_cannot_be_written(failing: Maker, report: Report) -> None:
    made = failing("a sink")
    estate = made.estate
    moved = estate.folder / "moved.env"
    made.killed(
        "killed", "rotate_db", "Look once more, and promote the proved value", "after", extra=SOON
    )
    estate.env_file.rename(moved)
    estate.env_file.symlink_to(moved)
    failed = made.run("a link is in its place", "rotate_db", code=2)
    assert str(estate.env_file) in failed.output
    report(made.watch)


def test_a_gate_is_closed(failing: Maker, report: Report) -> None:
    made = failing("a gate")
    made.killed(
        "killed", "rotate_db", "Log in with the pending value, the way consumers do", extra=SOON
    )
    other = {"keyturn_generate": {"password": {"type": "password", "length": 50}}, **SOON}
    refused = made.run("another definition", "rotate_db", extra=other, code=2)
    assert "abandon" in refused.output
    report(made.watch)
