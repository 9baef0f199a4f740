# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers that are units of a real systemd: told so that they read the value, and not believed before they did."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.databases import Database
from estate.playbook import Ansible
from host_cores import call
from machines import COLLECTIONS, Application, SystemdMachine, digest
from rotation import FORCE, Estate

RELOAD = "ExecReload=/bin/kill -HUP $MAINPID"
Maker = Callable[..., Application]


@pytest.fixture
def make(machine: SystemdMachine) -> Maker:
    """Makes a unit of the machine, started."""

    def maker(*service: str, **options: Any) -> Application:
        return Application(machine, *service, **options).start()

    return maker


def result(told: dict[str, Any]) -> tuple[str, bool, bool]:
    """What was done, whether it was left alone because it was fresh, and whether it was seen."""
    assert "result" in told, told
    done = told["result"]
    return done["action"], done["coalesced"], done["seen"]


def test_a_unit_with_exec_reload_is_reloaded(make: Maker) -> None:
    app = make(RELOAD)
    process = app.pid
    app.put()
    assert result(app.pick_up()) == ("reload", False, True)
    assert (app.pid, app.times, app.is_current) == (process, 2, True)


def test_a_unit_without_exec_reload_is_restarted(make: Maker) -> None:
    app = make()
    process = app.pid
    app.put()
    refused = app.pick_up(action="reload")
    assert refused["kind"] == "BadInput" and "say 'action: restart'" in refused["message"]
    assert app.pid == process
    assert result(app.pick_up()) == ("restart", False, True)
    assert app.pid != process and app.is_current


def test_a_restart_can_be_asked_for(make: Maker) -> None:
    app = make(RELOAD)
    process = app.pid
    app.put()
    assert result(app.pick_up(action="restart")) == ("restart", False, True)
    assert app.pid != process and app.is_current


@pytest.mark.parametrize(
    ("line", "source"),
    [
        ("EnvironmentFile={folder}/value", "$$VALUE"),
        ("EnvironmentFile=-/srv/%N/value", "$$VALUE"),
        ("EnvironmentFile=/srv/%N/val*", "$$VALUE"),
        ("LoadCredential=value:{folder}/value", "${{CREDENTIALS_DIRECTORY}}/value"),
        ("LoadCredential=all:/srv/%N", "${{CREDENTIALS_DIRECTORY}}/all_value"),
    ],
)
def test_what_systemd_copies_at_start_needs_a_restart(
    machine: SystemdMachine, line: str, source: str
) -> None:
    name = f"app-{secrets.token_hex(4)}"
    service = line.format(folder=f"/srv/{name}")
    app = Application(machine, RELOAD, service, name=name, source=source.format())
    app.put("VALUE={value}" if "Environment" in line else "{value}")
    app.start()
    assert app.is_current
    app.put("VALUE={value}" if "Environment" in line else "{value}")
    machine.shell(f"systemctl reload {app.unit}")
    assert not app.is_current, "a reload leaves the copy as it is"
    assert result(app.pick_up()) == ("restart", False, True)
    assert app.is_current


@pytest.mark.parametrize("ended", ["inactive", "failed"])
def test_a_unit_that_does_not_run_is_not_started(make: Maker, ended: str) -> None:
    app = make(RELOAD, "Restart=no")
    verb = "stop" if ended == "inactive" else "kill --signal=KILL"
    app.machine.shell(f"systemctl {verb} {app.unit}; while systemctl -q is-active {app.unit}; do sleep 0.05; done")  # fmt: skip
    app.put()
    refused = app.pick_up()
    assert refused["kind"] == "Refused"
    assert f"{app.unit} is {ended}" in refused["message"]
    warned = app.pick_up(inactive="warn")
    assert result(warned) == ("none", False, True)
    assert "it reads the new value when it is started" in warned["warnings"][0]
    assert (app.machine.show(app.unit, "ActiveState"), app.times) == (ended, 1)


@pytest.mark.parametrize(
    ("unit", "told"),
    [("no-such", "LoadState=not-found"), ("gone.service", "LoadState=masked")],
)
def test_a_unit_that_cannot_be_used_is_named(machine: SystemdMachine, unit: str, told: str) -> None:
    machine.shell("systemctl mask --quiet gone.service")
    found = machine.pick_up({"type": "systemd", "unit": unit, "inactive": "warn"})
    assert found["kind"] == "BadInput" and told in found["message"]


def test_a_failed_reload_is_no_success_and_is_made_up_for(make: Maker) -> None:
    app = make("ExecReload=/usr/bin/test -e /srv/%N/works", RELOAD)
    app.put()
    for _number in range(2):
        failed = app.pick_up()
        assert failed["kind"] == "ProbeFailed"
        assert "systemd says: " in failed["message"]
        assert f"Reload failed for {app.unit}" in failed["message"]
        assert "status=1/FAILURE" in failed["message"]
        assert app.machine.show(app.unit, "ActiveState") == "active" and not app.is_current
    app.machine.write(f"{app.folder}/works", "")
    assert result(app.pick_up()) == ("reload", False, True)
    assert app.is_current


def test_a_failure_that_systemctl_does_not_wait_for_is_seen(make: Maker) -> None:
    endless = ["Restart=always", "RestartSec=100ms", "[Unit]", "StartLimitIntervalSec=0"]
    app = make(*endless, seconds="0.5")
    app.put()
    for told in ("just told", "started by systemd since"):
        failed = app.pick_up(settle="2s")
        assert failed.get("kind") == "ProbeFailed", told
        assert any(
            words in failed["message"]
            for words in ("automatic restarts", "did not stay up", "is activating")
        ), failed


def test_systemd_s_own_words_are_not_passed_on_where_they_quote_an_env_file(make: Maker) -> None:
    app = make("EnvironmentFile=-/srv/%N/value", "ExecStartPre=/usr/bin/test ! -e /srv/%N/broken")
    app.machine.write(f"{app.folder}/broken", "")
    app.put("1DATABASE_URL={value}\n")
    failed = app.pick_up()
    assert failed["kind"] == "ProbeFailed" and app.value not in failed["message"]
    assert "Control process exited" in failed["message"]
    said = app.machine.shell(f"journalctl --no-pager _PID=1 UNIT={app.unit}")
    assert app.value in said, "this systemd quotes it, so that it has to be kept out here"


@pytest.mark.parametrize(
    ("service", "kind", "told"),
    [
        (["ExecReload=/bin/sleep 20"], "Unreachable", "did not end within 1 s"),
        (["ExecReload=/bin/sleep 20", "TimeoutStartSec=0.5"], "ProbeFailed", "Reload failed"),
        (["ExecStartPre=/bin/sh -c 'test ! -e /srv/%N/slow || sleep 20'"], "Unreachable", "within 1 s"),
    ],
    ids=["reload", "reload-that-systemd-ends", "restart"],
)  # fmt: skip
def test_one_that_is_too_slow_is_not_waited_for_for_ever(
    make: Maker, service: list[str], kind: str, told: str
) -> None:
    app = make(*service)
    app.machine.write(f"{app.folder}/slow", "")
    app.put()
    failed = app.pick_up(timeout="1s")
    assert (failed["kind"], told in failed["message"]) == (kind, True), failed
    app.machine.shell(f"systemctl kill --signal=KILL {app.unit} || true")


def test_a_reload_is_believed_unless_there_is_a_proof(make: Maker) -> None:
    deaf = make("ExecReload=/bin/true")
    deaf.put()
    proof = f'test "$(tail -n 1 {deaf.notes})" = "$(sha256sum <{deaf.file} | cut -c1-64)"'
    seen = ["sh", "-c", proof]
    for _number in range(2):
        failed = deaf.pick_up(seen=seen, timeout="1s")
        assert failed["kind"] == "ProbeFailed" and "its proof 'sh' did not" in failed["message"]
    assert result(deaf.pick_up()) == ("reload", False, True)
    assert not deaf.is_current, "what the consumer's definition has 'seen' for"
    assert result(deaf.pick_up(seen=seen, action="restart")) == ("restart", False, True)
    assert deaf.is_current


def test_credentials_that_share_a_unit_cost_one_reload(make: Maker) -> None:
    app = make(RELOAD)
    app.put()
    with ThreadPoolExecutor(2) as workers:
        both = list(workers.map(lambda _number: result(app.pick_up()), range(2)))
    assert sorted(both) == [("none", True, True), ("reload", False, True)]
    assert (app.times, app.is_current) == (2, True)
    app.put()
    assert result(app.pick_up()) == ("reload", False, True)
    assert app.is_current


def test_a_unit_that_was_started_since_is_left_alone(make: Maker) -> None:
    app = make()
    app.put()
    app.machine.shell(f"sleep 0.1; systemctl restart {app.unit}")
    assert result(app.pick_up()) == ("none", True, True)
    assert app.times == 2


def test_check_mode_touches_nothing(make: Maker) -> None:
    app = make(RELOAD)
    app.put()
    look = (
        f"systemctl show {app.unit}; ls -lR --full-time /run/lock {app.folder} /run/systemd/system"
    )
    before = app.machine.shell(look)
    assert app.pick_up(check_mode=True)["result"]["action"] == "predicted"
    assert app.machine.shell(look) == before


def test_files_of_a_unit_that_systemd_has_not_read_are_told_of(make: Maker) -> None:
    app = make(RELOAD)
    app.machine.shell(f"sleep 0.01; echo '# changed' >>/etc/systemd/system/{app.unit}")
    app.put()
    told = app.pick_up()
    assert result(told) == ("reload", False, True)
    assert "systemctl daemon-reload" in told["warnings"][0]


SAYS = "ExecReload=/bin/cat /srv/%N/says"
NAME = "encoder"


def told(app: Application, hidden: str = "", **params: Any) -> dict[str, Any]:
    """What the module ``consumer`` does on the host with an application's unit."""
    definition = {"type": "systemd", "name": NAME, "unit": app.unit, "settle": "0s"}
    given = {**definition, **params.pop("definition", {})}
    return call(app.machine, "consumer", [hidden] if hidden else [], definition=given, **params)


@pytest.mark.parametrize("look", ["rotate", "verify", ""])
def test_a_unit_that_may_be_live_closes_the_gate(make: Maker, look: str) -> None:
    app = make(RELOAD)
    process = app.pid
    definition = {"inactive": "skip", "active": "refuse"}
    done = told(app, definition=definition, look=look or None)
    assert (app.pid, app.times) == (process, 1)
    if look == "verify":
        assert (done["active_state"], done["pid"]) == ("active", int(process)), done
        return
    assert (done["kind"], done["changed"]) == ("Live", False), done
    assert done["msg"].startswith(
        f"consumer {NAME}: someone may be live: unit {app.unit} is active"
    )
    assert "and nothing was changed there" in done["msg"]


def test_one_that_becomes_live_while_it_waits_for_its_turn_is_not_told(
    make: Maker, machine: SystemdMachine
) -> None:
    app = make(RELOAD)
    machine.shell(f"systemctl stop {app.unit}")
    definition = {"inactive": "start", "active": "refuse"}
    # Whoever holds the lock starts it.
    hold = (
        "from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._lock import hold_service as h\n"
        "import pathlib, subprocess, sys, time\n"
        "with h('systemd/' + sys.argv[1], 5):\n"
        "    pathlib.Path(sys.argv[2]).touch()\n"
        "    time.sleep(3)\n"
        "    subprocess.run(['systemctl', 'start', sys.argv[1]], check=True)\n"
    )
    program, held = f"{app.folder}/hold.py", f"{app.folder}/held"
    machine.write(program, hold)
    holder = f"PYTHONPATH={COLLECTIONS} python3 -B {program} {app.unit} {held}"
    machine.shell(f"{holder} >/dev/null 2>&1 & while [ ! -e {held} ]; do sleep 0.05; done")
    done = told(app, definition=definition)
    assert done.get("kind") == "Live" and "someone may be live" in done["msg"], done
    assert app.times == 2, "it read its file when it was started, and not again"


def test_a_unit_that_does_not_run_can_be_skipped_or_started(make: Maker) -> None:
    app = make(RELOAD)
    app.machine.shell(f"systemctl stop {app.unit}")
    skipped = told(app, definition={"inactive": "skip"})
    assert (skipped["action"], skipped["seen"], skipped["changed"]) == ("none", True, False)
    assert f"{app.unit} is inactive (dead" in skipped["note"] and not skipped["warnings"]
    assert not told(app, definition={"inactive": "skip"}, look="verify").get("failed")
    wanted = told(app, look="verify")
    assert wanted["kind"] == "ProbeFailed" and "is inactive (dead" in wanted["msg"]
    assert app.times == 1
    started = told(app, definition={"inactive": "start"})
    assert (started["action"], started["seen"], started["changed"]) == ("start", True, True)
    assert (app.times, app.is_current) == (2, True)


def test_what_a_unit_writes_when_it_is_told_may_be_a_failure(make: Maker) -> None:
    app = make(SAYS)
    says = f"{app.folder}/says"
    value = app.put()
    app.machine.write(says, f"error: key {value} was denied\n")
    log = {"log": {"forbid": ["denied"], "since": "1h"}}
    failed = told(app, value, definition=log)
    assert failed["kind"] == "ProbeFailed"
    assert f"consumer {NAME}: after reload, the log of {app.unit} has a line that must not be there" in failed["msg"]  # fmt: skip
    assert "such as: error: key (hidden) was denied" in failed["msg"]
    assert (failed["reload_result"], failed["log"]["forbidden"]) == ("success", 1)
    app.machine.write(says, "key file read\n")
    done = told(app, value, definition=log)
    assert (done["action"], done["log"]["forbidden"], done["exec_reload_status"]) == ("reload", 0, "exited/0")  # fmt: skip
    verified = told(app, value, definition=log, look="verify")
    assert verified["kind"] == "ProbeFailed" and "in the last 1h, the log of" in verified["msg"]
    calm = told(app, value, definition={"log": {"forbid": ["thunder"]}}, look="verify")
    assert (calm["active_state"], calm["log"]["forbidden"]) == ("active", 0)
    assert told(app, value, definition={"log": {}}, look="rotate")["changed"] is False


def write_keyring(path: Path, password: str) -> None:
    """A keyring whose current value is this one."""
    document = Document("db_app", secrets.token_bytes(32))
    stage = Stage("r1", "promoted", {"username": "app", "password": Secret(password)})
    path.touch(mode=0o600)
    path.write_text(dump_text(Document(**{**vars(document), "current": document.with_fingerprints(stage)})))  # fmt: skip


def test_check_apply_check_apply_over_ssh(
    make: Maker, machine: SystemdMachine, ansible: Ansible, scratch: Path
) -> None:
    app = make(RELOAD)
    keyring, password = scratch / "keyring.json", secrets.token_urlsafe(24)
    write_keyring(keyring, password)
    sinks = [{"name": "file", "host": "app1", "ref": f"ref+file://{app.file}", "template": "{current.password}"}]  # fmt: skip
    credential = {"keyring": f"ref+file://{keyring}", "credential": "db_app", "sinks": sinks}
    definition = {"type": "systemd", "host": "app1", "unit": app.unit, "settle": "0s"}
    publish = {"keyturn.runbooks.publish": {**credential, "host": "app1"}}
    consumer = {"keyturn.runbooks.consumer": {**credential, "definition": definition}}
    tasks: list[dict[str, Any]] = []
    for number, check_mode in enumerate((True, False, True, False)):
        for task in (publish, consumer):
            wrong = f"done.changed != {number < 2}"
            if task is consumer and number < 2:
                wrong += f" or done.action != '{'reload' if number else 'predicted'}'"
            how = {"check_mode": check_mode, "diff": True}
            tasks.append({**task, **how, "register": "done", "failed_when": wrong})
    hosts = {"all": {"hosts": {"app1": machine.variables("app1")}}}
    (scratch / "hosts.yml").write_text(yaml.safe_dump(hosts))
    play = {"hosts": "app1", "gather_facts": False, "tasks": tasks}
    (scratch / "play.yml").write_text(yaml.safe_dump([play]))
    run = ansible.run(str(scratch / "play.yml"), "-vvv", inventory=scratch / "hosts.yml").check()
    assert (app.times, app.uses) == (2, digest(password))
    receipts = parse_document(keyring.read_text()).receipts
    assert list(receipts) == [f"app1/systemd/{app.unit}"]
    assert password not in run.output + ansible.log()
    assert not ansible.leftovers()
    assert not machine.shell(f"find {ansible.temp_dir} -type f 2>/dev/null || true")
    assert password not in machine.shell("journalctl --no-pager")


def test_the_values_of_a_keyring_are_hidden_from_a_log_over_ssh(
    make: Maker, machine: SystemdMachine, ansible: Ansible, scratch: Path
) -> None:
    app = make(SAYS)
    keyring, password = scratch / "keyring.json", secrets.token_urlsafe(24)
    write_keyring(keyring, password)
    encoded = base64.b64encode(f"app:{password}".encode()).decode()
    machine.write(f"{app.folder}/says", f"error: {password}\nerror: basic={encoded}\n")
    sinks = [{"name": "file", "host": "app1", "ref": f"ref+file://{app.file}", "template": "{current.password}"}]  # fmt: skip
    credential = {"keyring": f"ref+file://{keyring}", "credential": "db_app", "sinks": sinks}
    log = {"forbid": ["error: "], "since": "1h"}
    definition = {"type": "systemd", "host": "app1", "unit": app.unit, "settle": "0s", "log": log}
    wrong = "done.kind != 'ProbeFailed' or done.log.forbidden != 2"
    tasks: list[dict[str, Any]] = [{"keyturn.runbooks.publish": {**credential, "host": "app1"}}]
    for look in ({}, {"look": "verify"}):
        consumer = {"keyturn.runbooks.consumer": {**credential, **look, "definition": definition}}
        tasks.append({**consumer, "register": "done", "failed_when": wrong})
        tasks.append({"ansible.builtin.debug": {"var": "done"}})
    hosts = {"all": {"hosts": {"app1": machine.variables("app1")}}}
    (scratch / "hosts.yml").write_text(yaml.safe_dump(hosts))
    play = {"hosts": "app1", "gather_facts": False, "tasks": tasks}
    (scratch / "play.yml").write_text(yaml.safe_dump([play]))
    run = ansible.run(str(scratch / "play.yml"), "-vvvv", inventory=scratch / "hosts.yml").check()
    told = run.output + ansible.log()
    assert "error: (hidden)" in told
    assert not [text for text in (password, encoded, password[:12], encoded[8:24]) if text in told]
    assert not parse_document(keyring.read_text()).receipts, "what failed has no receipt"


@pytest.mark.pg_versions("16")
def test_a_rotation_whose_consumer_is_a_unit_of_another_host(
    make: Maker, machine: SystemdMachine, database: Database, ansible: Ansible, scratch: Path
) -> None:
    app = make(RELOAD)
    first = f"{database.name}_a"
    password = database.create_login(first)
    sink = {
        "name": "app",
        "host": "app1",
        "ref": f"ref+file://{app.file}?format=env#/DATABASE_URL",
        "template": "postgresql://{current.username}:{current.password|urlencode}@db1/app",
    }
    unit = {"type": "systemd", "host": "app1", "unit": app.unit, "settle": "0s"}
    variables = {"keyturn_sinks": [sink], "keyturn_consumers": [unit]}
    estate = Estate(scratch, database, ansible, variables=variables)
    estate.hand_over(first, password)
    app.machine.write(app.file, f"LOG_LEVEL=info\nDATABASE_URL=postgresql://{first}:{password}@db1/app\n")  # fmt: skip
    hosts = {"all": {"hosts": {"app1": machine.variables("app1")}}}
    (scratch / "inventory" / "machines.yml").write_text(yaml.safe_dump(hosts))
    runs = [
        estate.run("adopt", extra=estate.adoption).check(),
        estate.run("rotate_db", "--check", "--diff", extra=FORCE).check(),
    ]
    process = app.pid
    assert app.times == 1, "neither adoption nor check mode tells it"
    runs.append(estate.run("rotate_db", "-vvv", "--diff", extra=FORCE).check())
    assert app.pid == process
    text = machine.read(app.file)
    assert app.uses == digest(text) and "LOG_LEVEL=info" in text
    document = estate.document()
    assert document.current and document.current.status == "observed"
    assert document.current.text("username") in text and document.current.text("username") != first
    assert document.receipts[f"app1/systemd/{app.unit}"].seen
    runs.append(estate.run("retire_due").check())
    assert estate.document().previous is None
    assert estate.ledger_faults() == []
    leaks = [*estate.secrets(), password]
    places = [*(run.output for run in runs), ansible.log(), machine.shell("journalctl --no-pager")]
    assert not any(value in place for value in leaks for place in places)
