# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs of a real machine that are looked at: journals by cursor, and files through their rotation."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import ProbeFailed
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_probe import MODULE
from estate.playbook import Ansible
from host_cores import Unit, call
from machines import SystemdMachine

SAYS = "ExecReload=/bin/cat /srv/%N/says"


def says(unit: Unit, *lines: str) -> None:
    """Have it write lines now."""
    unit.machine.write(f"{unit.folder}/says", "".join(f"{line}\n" for line in lines))
    unit.machine.shell(f"systemctl reload {unit.unit}")


def test_nothing_between_two_looks_is_missed_and_nothing_counts_twice(
    machine: SystemdMachine,
) -> None:
    unit = Unit(machine, SAYS)
    asked: dict[str, Any] = {"units": [unit.name], "forbid": ["wrong"]}
    says(unit, "wrong before")
    # The last entry is somebody else's: `journalctl --after-cursor --unit` of systemd 252 swallows the next one of the unit then.
    machine.shell("logger somebody else")
    mark = call(machine, "log_probe", **asked, since="now")
    assert (mark["lines"], mark["changed"], mark["gaps"]) == (0, False, [])
    # systemctl returns before journald has taken it in: the look has to ask for that itself.
    says(unit, "fine", "wrong since")
    found = call(machine, "log_probe", **asked, cursor=mark["cursor"])
    assert (found["kind"], found["forbidden"]) == ("ProbeFailed", 1)
    assert f"log_probe: the log of {unit.name} has a line that must not be there, such as: wrong since" in found["msg"]  # fmt: skip
    assert found["lines"] == 4, "systemd's two, and two of its own"
    (match,) = found["matches"]
    assert (match["pattern"], match["source"]) == ("wrong", unit.unit)
    again = call(machine, "log_probe", **asked, cursor=found["cursor"])
    assert (again["lines"], again["forbidden"], again["gaps"]) == (0, 0, [])
    lately = call(machine, "log_probe", **asked, since="10m")
    assert lately["forbidden"] == 2
    assert call(machine, "log_probe", **asked)["forbidden"] == 2
    assert call(machine, "log_probe", **asked, since="start", allow=["since"])["forbidden"] == 1
    both = call(machine, "log_probe", cursor=mark["cursor"], units=[unit.unit], require=["^fine$", "never"], forbid=[])  # fmt: skip
    assert both["required"] == {"^fine$": 1, "never": 0}
    assert "has no line that matches 'never'" in both["msg"]


def test_what_must_occur_is_waited_for(machine: SystemdMachine) -> None:
    waits = "while [ ! -e /srv/%N/go ]; do sleep 0.1; done; echo published"
    unit = Unit(machine, f"ExecReload=/bin/sh -c '{waits}'")
    mark = call(machine, "log_probe", units=[unit.unit], since="now")["cursor"]
    machine.shell(f"systemctl reload --no-block {unit.unit}")
    asked = {"units": [unit.unit], "cursor": mark, "require": ["published"]}
    assert call(machine, "log_probe", **asked)["kind"] == "ProbeFailed"
    machine.shell(f"(sleep 1; touch {unit.folder}/go) >/dev/null 2>&1 &")
    assert call(machine, "log_probe", **asked, timeout="20s")["required"] == {"published": 1}


def test_who_used_an_application_by_the_journal_of_its_unit(machine: SystemdMachine) -> None:
    unit, hidden = Unit(machine, SAYS, start=False), secrets.token_urlsafe(24)
    clock = "sleep 1; date -u +%FT%TZ; sleep 1"
    since, until = machine.shell(f"{clock}; {clock}").split()
    machine.shell(f"systemctl start {unit.unit}")
    says(
        unit,
        json.dumps({"user": "runner", "ip": "10.0.0.1", "status": 200}),
        json.dumps({"user": f"eve {hidden}", "ip": "198.51.100.7", "status": 401}),
        "no entry",
    )
    asked: dict[str, Any] = {
        "type": "app_log",
        "unit": unit.unit,
        "format": "json",
        "fields": {"principal": "user", "address": "ip", "outcome": "status"},
        "refused": [401],
    }
    moment = machine.shell(clock).strip()
    machine.shell("logger somebody else; journalctl --sync")
    found = call(machine, "incident_reads", [hidden], since=since, until=moment, **asked)
    assert "events" in found, found
    told = {(it["outcome"], it["address"]) for it in found["events"]}
    assert told == {("done", "10.0.0.1"), ("denied", "198.51.100.7")}
    assert found["seen"] >= 4 and len(found["gaps"]) == 1, found["gaps"]
    assert "lines are no entries of this application" in found["gaps"][0], "also what systemd says"
    assert call(machine, "incident_reads", since=since, until=until, **asked)["events"] == []
    asked["unit"] = "no-such-unit"
    absent = call(machine, "incident_reads", since=since, until=until, **asked)
    assert absent["kind"] == "Absent" and "has no line of no-such-unit" in absent["msg"]
    asked["unit"] = unit.unit
    denied = call(machine, "incident_reads", user="65534", since=since, until=until, **asked)
    assert denied["kind"] == "Denied", denied


def test_what_cannot_be_read_is_no_clean_log(machine: SystemdMachine) -> None:
    unit = Unit(machine, SAYS)
    wrong = call(machine, "log_probe", units=["no-such-unit"])
    assert wrong["kind"] == "BadInput" and "there is no unit no-such-unit.service" in wrong["msg"]
    denied = call(machine, "log_probe", units=[unit.unit], user="65534")
    assert denied["kind"] == "Denied" and "may not read the journal" in denied["msg"], denied
    refused = call(machine, "log_probe", units=[unit.unit], cursor="yesterday")
    assert refused["kind"] == "BadInput" and "no cursor of a journal" in refused["msg"]
    mark = call(machine, "log_probe", units=[unit.unit], since="now")["cursor"]
    says(unit, "wrong")
    machine.shell("journalctl --rotate; sleep 1; journalctl --vacuum-time=1s 2>&1")
    lost = call(machine, "log_probe", units=[unit.unit], cursor=mark)
    assert lost["lines"] == 0 and "no longer has the entry" in lost["gaps"][0]
    assert lost["gaps"][0] in lost["warnings"][0]


class LogFile:
    """A log of this machine, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "app.log"

    def write(self, text: str) -> None:
        """Append."""
        with self.path.open("a") as file:
            file.write(text)

    def rotate(self, name: str) -> None:
        """Move it aside."""
        self.path.rename(self.path.with_name(name))

    def look(self, **params: Any) -> dict[str, Any]:
        """What the module finds; the details of its failure when it fails."""
        defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
        given = {**defaults, "path": str(self.path), "forbid": ["wrong"], **params}
        try:
            return MODULE.run(given, Context())
        except ProbeFailed as error:
            return {"msg": error.message, **error.details}


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    """A log with two lines."""
    made = LogFile(tmp_path)
    made.write("started\nwrong at first\n")
    return made


def test_a_file_from_a_place_on(log: LogFile) -> None:
    assert log.look(since="start")["forbidden"] == 1
    cursor = log.look(since="now")["cursor"]
    log.write("wrong again\nwro")
    found = log.look(cursor=cursor)
    assert (found["forbidden"], found["lines"]) == (1, 2)
    log.write("ng at last\n")
    found = log.look(cursor=found["cursor"])
    assert (found["forbidden"], found["matches"][0]["line"]) == (1, "wrong at last")
    log.write("no end: wrong")
    assert log.look(cursor=found["cursor"])["forbidden"] == 1, "what is half written counts too"


@pytest.mark.parametrize("name", ["app.log.1", "app.log-20260131", "app-20260131.log"])
def test_a_file_that_was_rotated_meanwhile(log: LogFile, name: str) -> None:
    cursor = log.look(since="now")["cursor"]
    log.write("wrong before the rotation\n")
    log.rotate(name)
    log.write("wrong after it\n")
    found = log.look(cursor=cursor)
    assert [match["line"] for match in found["matches"]] == ["wrong before the rotation", "wrong after it"]  # fmt: skip
    assert found["gaps"] == []
    assert log.look(cursor=found["cursor"])["lines"] == 0


def test_what_is_between_two_rotations_is_looked_at(log: LogFile) -> None:
    cursor = log.look(since="now")["cursor"]
    log.rotate("app.log.2")
    log.write("wrong in between\n")
    log.rotate("app.log.1")
    log.write("fine\n")
    found = log.look(cursor=cursor)
    assert [match["line"] for match in found["matches"]] == ["wrong in between"]


def test_what_is_gone_is_told(log: LogFile) -> None:
    cursor = log.look(since="now")["cursor"]
    log.path.write_text("anew\n")
    assert "is shorter than it was" in log.look(cursor=cursor)["gaps"][0]
    cursor = log.look(since="now")["cursor"]
    log.rotate("elsewhere")
    log.write("fine\n")
    found = log.look(cursor=cursor)
    assert found["lines"] == 1 and "is not beside it any more" in found["gaps"][0]


def test_values_are_shown_in_no_form_over_ssh(
    machine: SystemdMachine, ansible: Ansible, scratch: Path
) -> None:
    value = secrets.token_urlsafe(24)
    unit = Unit(machine, SAYS)
    secret, path = scratch / "secret", f"{unit.folder}/app.log"
    secret.write_text(value)
    encoded = [quote(f"{value}/+", safe=""), base64.b64encode(f"u:{value}".encode()).decode()]
    lines = [f"error: {text}" for text in (value, *encoded, f"rtmp://host/live/{value}")]
    machine.write(path, "".join(f"{line}\n" for line in lines))
    machine.write(f"{unit.folder}/says", machine.read(path))
    redact = {"redact": [f"ref+file://{secret}"]}
    reload = {"keyturn.runbooks.systemd_reload": {"units": [unit.unit], "log": {}, "settle": "0s", **redact}}  # fmt: skip
    look = {"keyturn.runbooks.log_probe": {"path": path, "since": "start", **redact}}
    predicted = "foreseen.units[0].result != 'predicted' or not foreseen.changed"
    foreseen = {**reload, "check_mode": True, "register": "foreseen", "failed_when": predicted}
    found = {
        "register": "done",
        "failed_when": "done.kind != 'ProbeFailed' or (done.matches | default(done.units[0].log.matches)) | length != 4",
    }
    shown = {"ansible.builtin.debug": {"var": "done"}}
    tasks = [foreseen, {**reload, **found}, shown, {**look, **found}, shown]
    hosts = {"all": {"hosts": {"relay1": machine.variables("relay1")}}}
    (scratch / "hosts.yml").write_text(yaml.safe_dump(hosts))
    play = {"hosts": "relay1", "gather_facts": False, "tasks": tasks}
    (scratch / "play.yml").write_text(yaml.safe_dump([play]))
    run = ansible.run(str(scratch / "play.yml"), "-vvvv", inventory=scratch / "hosts.yml").check()
    told = run.output + ansible.log()
    assert "error: (hidden)" in told and "rtmp://host/live/(hidden)" in told
    halves = [value[:12], value[12:24], base64.b64encode(value.encode()).decode()[:16]]
    assert not [text for text in (value, *encoded, *halves) if text in told]
    assert not ansible.leftovers()
