# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of a real systemd that are told to read their files, and what is believed of them."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from host_cores import Unit, call
from machines import SystemdMachine

TRUE = "ExecReload=/bin/true"
KILL = "ExecReload=/bin/kill -HUP $MAINPID"
RELAY = "ExecStart=/usr/bin/python3 -B /opt/programs/relay.py /srv/%N/file"
SAYS = "ExecReload=/bin/cat /srv/%N/says"
Maker = Callable[..., Unit]


@pytest.fixture
def make(machine: SystemdMachine) -> Maker:
    """Makes a unit of the machine, started."""

    def maker(*service: str, **options: Any) -> Unit:
        return Unit(machine, *service, **options)

    return maker


def test_what_was_done_is_told_for_each_unit(make: Maker, machine: SystemdMachine) -> None:
    relay = make("Type=notify", RELAY, KILL)
    plain, stopped = make(), make(start=False)
    pids = [relay.pid, plain.pid]
    units = [relay.name, plain.unit, stopped.unit]
    asked = {"units": units, "when_inactive": "skip", "settle": "0s", "log": {}}
    before = [unit.trace for unit in (relay, plain, stopped)]
    foreseen = call(machine, "systemd_reload", check_mode=True, **asked)
    assert [unit.trace for unit in (relay, plain, stopped)] == before
    told = call(machine, "systemd_reload", **asked)
    assert (foreseen["changed"], told["changed"]) == (True, True)
    for one, row in zip(told["units"], foreseen["units"], strict=True):
        assert [one[name] for name in ("unit", "action", "why")] == [row[name] for name in ("unit", "action", "why")]  # fmt: skip
    assert [row["result"] for row in foreseen["units"]] == ["predicted", "predicted", "skipped"]
    first, second, third = told["units"]
    assert (first["unit"], first["action"], first["result"]) == (relay.unit, "reload", "done")
    assert (first["active_state"], first["reload_result"], first["exec_reload_status"]) == ("active", "success", "exited/0")  # fmt: skip
    assert first["pid"] == pids[0] and first["seconds"] < 20 and first["log"]["lines"] >= 2
    assert (second["action"], second["why"], second["result"]) == ("restart", "it has no ExecReload", "done")  # fmt: skip
    assert second["pid"] == plain.pid != pids[1]
    assert (third["action"], third["result"], third["active_state"]) == ("none", "skipped", "inactive")  # fmt: skip
    assert "it reads the new value when it is started" in third["why"]
    assert stopped.pid == 0


@pytest.mark.parametrize("wish", ["refuse", "skip", "start"])
def test_one_that_does_not_run(make: Maker, wish: str) -> None:
    other, stopped = make(TRUE), make("Type=notify", RELAY, KILL, start=False)
    units = [other.unit, stopped.unit]
    before = other.trace
    foreseen = stopped.reload(units=units, when_inactive=wish, check_mode=True)
    told = stopped.reload(units=units, when_inactive=wish)
    if wish == "refuse":
        for one in (foreseen, told):
            assert (one["kind"], one["changed"]) == ("Refused", False)
            assert f"{stopped.unit} is inactive" in one["msg"] and "when_inactive: skip" in one["msg"]  # fmt: skip
            assert "keyturn_consumers" not in one["msg"]
            assert [row["result"] for row in one["units"]] == ["not_told", "refused"]
        assert other.trace == before, "nobody is told when one cannot be"
        return
    action = {"skip": "none", "start": "start"}[wish]
    assert foreseen["units"][1]["action"] == told["units"][1]["action"] == action
    assert bool(stopped.pid) is (wish == "start")
    assert told["units"][1]["result"] == {"skip": "skipped", "start": "done"}[wish]


def test_one_that_is_started_and_does_not_come_up(make: Maker) -> None:
    broken = make("ExecStart=/bin/false", start=False)
    told = broken.reload(when_inactive="start", settle="1s")
    assert told["kind"] == "ProbeFailed" and "is failed (result exit-code" in told["msg"]
    assert (told["changed"], told["units"][0]["result"]) == (True, "failed")


def test_one_that_runs_once_is_started(make: Maker) -> None:
    once = make("Type=oneshot", "ExecStart=/bin/true", start=False)
    told = once.reload(when_inactive="start")
    row = told["units"][0]
    assert (row["action"], row["result"], row["active_state"]) == ("start", "done", "inactive"), (
        told
    )


def test_names_that_cannot_be_used(make: Maker, machine: SystemdMachine) -> None:
    other = make(TRUE)
    masked = Unit(machine, start=False)
    machine.shell(f"rm /etc/systemd/system/{masked.unit}; systemctl mask --quiet {masked.unit}")
    before = other.trace
    told = other.reload(units=[other.unit, "no-such-unit", masked.unit], when_inactive="skip")
    assert told["kind"] == "BadInput" and other.trace == before
    assert "no-such-unit.service cannot be used here (LoadState=not-found)" in told["msg"]
    assert f"{masked.unit} cannot be used here (LoadState=masked)" in told["msg"]
    refused = make().reload(action="reload")
    assert refused["kind"] == "BadInput" and "has no ExecReload" in refused["msg"]


def test_after_one_that_failed_the_others_are_left_alone(make: Maker) -> None:
    first, last = make(TRUE), make(TRUE)
    bad = make("ExecReload=/bin/sh -c 'exit 3'")
    pids = [bad.pid, last.pid]
    before = last.shown
    told = first.reload(units=[first.unit, bad.unit, last.unit])
    assert told["kind"] == "ProbeFailed" and "Reload failed" in told["msg"]
    assert f"Not told after that: {last.unit}" in told["msg"]
    assert [row["result"] for row in told["units"]] == ["done", "failed", "not_told"]
    row = told["units"][1]
    assert (row["reload_result"], row["exec_reload_status"]) == ("exit-code", "exited/3")
    assert (row["active_state"], told["changed"]) == ("active", True)
    assert [bad.pid, last.pid] == pids and last.shown == before


def test_a_reload_that_ends_the_process(make: Maker) -> None:
    told = make(KILL).reload()
    assert told["kind"] == "ProbeFailed" and "is inactive (dead)" in told["msg"]
    assert (told["changed"], told["units"][0]["seconds"] < 30) == (True, True)


def test_an_error_that_a_service_told_is_no_good_news_when_it_is_an_old_one(make: Maker) -> None:
    """systemd keeps what a service said of itself until it says something else, or starts anew."""
    relay = make("NotifyAccess=all", "ExecReload=/usr/bin/systemd-notify ERRNO=5")
    first, second = relay.reload(), relay.reload()
    assert first["kind"] == second["kind"] == "ProbeFailed"
    assert first["msg"].count("reports error 5 after reload") == 1 and "before" not in first["msg"]
    assert "reports error 5 after reload, as it did before" in second["msg"]
    assert relay.reload(action="restart")["units"][0]["result"] == "done"


def test_a_service_that_tells_itself_how_its_reload_ended(
    make: Maker, machine: SystemdMachine
) -> None:
    """From systemd 253 on; before, such a unit is one without ExecReload. KEYTURN_SYSTEMD_IMAGE names a machine of another version."""
    version = int(machine.shell("systemctl --version").split()[1])
    relay = make("Type=notify-reload", "Environment=RELAY_TELLS=1", RELAY)
    told = relay.reload()
    row = told["units"][0]
    if version < 253:
        assert (row["action"], row["why"]) == ("restart", "it has no ExecReload")
        return
    assert (row["action"], row["result"], row["reload_result"]) == ("reload", "done", "success")
    machine.shell(f"mv /srv/{relay.name}/file /srv/{relay.name}/away")
    wrong = [relay.reload()["msg"], relay.reload()["msg"]]
    assert all("reports error 2 after reload" in text for text in wrong)
    machine.shell(f"mv /srv/{relay.name}/away /srv/{relay.name}/file")
    assert relay.reload()["units"][0]["result"] == "done"


def test_a_reload_that_takes_too_long(make: Maker) -> None:
    slow = make("ExecReload=/bin/sleep 20")
    told = slow.reload(timeout="1s")
    assert told["kind"] == "Unreachable" and "did not end within 1 s" in told["msg"]
    slow.machine.shell(f"systemctl kill --signal=KILL {slow.unit} || true")
    limited = make("ExecReload=/bin/sleep 20", "TimeoutStartSec=0.5")
    row = limited.reload(timeout="10s")["units"][0]
    assert (row["result"], row["reload_result"]) == ("failed", "timeout")


def test_an_ignored_failure_of_exec_reload_is_told(make: Maker) -> None:
    told = make("ExecReload=-/bin/false").reload()
    assert (told["units"][0]["result"], told["units"][0]["exec_reload_status"]) == ("done", "exited/1")  # fmt: skip
    assert "ended with exited/1, which its unit says to ignore" in told["warnings"][0]


def test_only_the_log_tells_that_a_program_kept_its_old_file(make: Maker) -> None:
    relay = make("Type=notify", RELAY, KILL)
    assert relay.row(log={"require": ["key file read"]})["log"]["required"] == {"key file read": 1}
    relay.machine.shell(f"rm {relay.folder}/file")
    believed = relay.row()
    assert (believed["result"], believed["reload_result"]) == ("done", "success")
    told = relay.reload(log={})
    assert told["kind"] == "ProbeFailed"
    assert f"after reload, the log of {relay.unit} has a line that must not be there" in told["msg"]
    assert "error: No such file or directory: still using what was read before" in told["msg"]
    (match,) = told["units"][0]["log"]["matches"]
    assert match["source"] == relay.unit and match["time"].endswith("Z")
    relay.machine.write(f"{relay.folder}/file", "x")
    assert relay.row(log={})["log"]["forbidden"] == 0, "what is older does not count"
    missing = relay.reload(log={"forbid": [], "require": ["publishing"]}, timeout="1s")
    assert (
        missing["kind"] == "ProbeFailed" and "no line that matches 'publishing'" in missing["msg"]
    )
    assert relay.row(log={"forbid": ["KEY FILE"], "allow": ["^key file read$"]})["result"] == "done"


@pytest.mark.parametrize(
    "line", ["EnvironmentFile=/srv/%N/file", "LoadCredential=key:/srv/%N/file"]
)
def test_what_a_reload_does_not_refresh_is_restarted(make: Maker, line: str) -> None:
    unit = make("Type=notify", RELAY, line, KILL)
    process, path = unit.pid, f"{unit.folder}/file"
    foreseen = unit.row(files=[path], check_mode=True)
    assert (foreseen["action"], foreseen["result"], unit.pid) == ("restart", "predicted", process)
    assert foreseen["why"] == f"EnvironmentFile or LoadCredential copies {path} at a start only"
    row = unit.row(files=[path])
    assert row["action"] == "restart" and row["pid"] == unit.pid != process
    told = unit.reload(files=[path], unless_fresh=True)
    assert (told["changed"], told["units"][0]["result"], unit.pid) == (False, "fresh", row["pid"])
    assert unit.row(files=[path], unless_fresh=True, check_mode=True)["result"] == "fresh"
    unit.machine.shell(f"sleep 0.05; touch {path}")
    assert unit.row(files=[path], unless_fresh=True, check_mode=True)["action"] == "restart"
    assert unit.row(files=[path], unless_fresh=True)["result"] == "done"
    gone = unit.reload(files=["/nowhere/file"], unless_fresh=True)
    assert gone["kind"] == "Absent" and "/nowhere/file is not there" in gone["msg"]


def test_a_reload_since_counts_in_check_mode_too(make: Maker) -> None:
    relay = make("Type=notify", RELAY, KILL)
    asked = {"files": [f"{relay.folder}/file"], "unless_fresh": True}
    relay.machine.shell(f"sleep 0.05; touch {relay.folder}/file")
    assert relay.row(**asked, check_mode=True)["result"] == "predicted"
    assert relay.row(**asked)["result"] == "done"
    before = relay.trace
    for check_mode in (True, False):
        assert relay.row(**asked, check_mode=check_mode)["result"] == "fresh"
        assert relay.shown in before


def test_files_of_a_unit_that_systemd_has_not_read(make: Maker) -> None:
    unit = make()
    process = unit.pid
    unit.machine.shell("sleep 0.01")
    unit.define("ExecReload=/bin/true", known=False)
    refused = unit.reload(daemon_reload="refuse")
    assert refused["kind"] == "Refused" and "daemon_reload: do" in refused["msg"]
    assert unit.pid == process
    foreseen = unit.reload(daemon_reload="do", check_mode=True)
    assert (foreseen["daemon_reloaded"], foreseen["changed"]) == (True, True)
    assert "a real run has them read first" in foreseen["warnings"][0]
    assert unit.machine.show(unit.unit, "NeedDaemonReload") == "yes"
    told = unit.reload(daemon_reload="do")
    assert (told["units"][0]["action"], told["daemon_reloaded"]) == ("reload", True)
    assert unit.pid == process and not told["warnings"]
    unit.machine.shell("sleep 0.01")
    unit.define("ExecReload=/bin/true", "# changed", known=False)
    warned = unit.reload()
    assert "systemctl daemon-reload" in warned["warnings"][0] and not warned["daemon_reloaded"]


def test_one_that_gives_up_soon_after(make: Maker) -> None:
    told = make("ExecStart=/bin/sleep 0.4", start=False).reload(when_inactive="start", settle="1s")
    assert told["kind"] == "ProbeFailed" and "is inactive (dead)" in told["msg"]


def test_what_the_former_process_says_while_it_ends_does_not_count(make: Maker) -> None:
    unit = make("Type=notify", f"{RELAY} error: interrupted")
    row = unit.row(action="restart", log={}, settle="0.5")
    assert row["result"] == "done" and row["log"]["lines"] >= 2, row
    assert "error: interrupted" in unit.machine.shell(f"journalctl -o cat -u {unit.unit}")


def test_lines_are_shown_without_values(make: Maker) -> None:
    value = secrets.token_urlsafe(6) + "/+ &'" + secrets.token_urlsafe(9)
    unit = make(SAYS)
    encoded = base64.b64encode(f"x:{value}".encode()).decode()
    lines = {
        "plain": f"error 1: {value}",
        "url": f"error 2: http://host/{quote(value, safe='')}?x",
        "base64": f"error 3: {encoded}",
        "cut": f"error 4: {value[:10]}",
        "rtmp": f"error 5: rtmp://ingest1.example/live/{secrets.token_hex(5)}",
    }
    unit.machine.write(f"{unit.folder}/says", "\n".join(lines.values()) + "\n")
    told = unit.reload(log={}, hidden=[value])
    shown = [re.sub("eD[op]", "eDp", match["line"]) for match in told["units"][0]["log"]["matches"]]
    assert shown == [
        "error 1: (hidden)",
        "error 2: http://host/(hidden)?x",
        "error 3: eDp(hidden)",
        "error 4: (hidden)",
        "error 5: rtmp://ingest1.example/live/(hidden)",
    ], unit.machine.shell(f"journalctl -u {unit.unit}")
    assert "has 5 lines that must not be there, such as: error 1: (hidden)" in told["msg"]


def test_colours_and_bytes_do_not_hide_a_line(make: Maker) -> None:
    unit = make(
        "ExecReload=/bin/sh -c 'printf \"\\\\033[1;31mer\\\\033[0mror\\\\377 %%s\\\\n\" red'"
    )
    told = unit.reload(log={"forbid": ["error"]})
    assert "such as: error\ufffd red" in told["msg"], told


def test_lines_that_journald_dropped_are_told_of(make: Maker) -> None:
    chatty = (
        "ExecReload=/bin/sh -c 'for i in $(seq 60); do echo line $i; done; sleep 1.2; echo last'"
    )
    unit = make(chatty, "LogRateLimitIntervalSec=1s", "LogRateLimitBurst=5")
    told = unit.reload(log={})
    (gap,) = told["units"][0]["log"]["gaps"]
    assert gap.startswith("journald dropped ") and unit.unit in gap
    assert gap in told["warnings"][0]
    elsewhere = make("Type=notify", RELAY, KILL, "StandardOutput=null")
    (gap,) = elsewhere.row(log={})["log"]["gaps"]
    assert gap.startswith(f"StandardOutput of {elsewhere.unit} is null and not the journal")


def test_who_may_not_read_the_journal_tells_nobody(make: Maker) -> None:
    unit = make(TRUE)
    before = unit.trace
    told = unit.reload(log={}, user="65534")
    assert told["kind"] == "Denied" and "may not read the journal" in told["msg"], told
    assert unit.trace == before
