# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers: definitions, receipts, order, and what the adapters make of what real programs print."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    _compose,
    check_turn,
    expected,
    lagging,
    order,
    parse_consumer,
    parse_consumers,
    told_elsewhere,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._compose import located
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._container import (
    parse_moment,
    parse_state,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._lock import (
    hold_service,
    lock_directory,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._open import pick_up
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import (
    Completed,
    Machine,
    Task,
    run_command,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._unit_show import (
    copied_files,
    parse_messages,
    parse_show,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    KeyturnError,
    ProbeFailed,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Receipt,
    Stage,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_keyring import (
    digest,
    wanted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 5, 1, tzinfo=timezone.utc)
SINKS = [
    {"name": "url", "ref": "ref+file:///run/app.env#/URL", "format": "env", "template": "{current.username}:{current.password}"},
    {"name": "accept", "ref": "ref+file:///run/tokens", "template": "{current,pending,previous.password|join:,}"},
    {"name": "newest", "ref": "ref+file:///run/newest", "template": "{pending,current,previous.password|join:,}"},
]  # fmt: skip
UNIT = {"type": "systemd", "host": "app1", "unit": "musehub"}


def make_stage(name: str, status: str, rotation: str = "r1", **changes: Any) -> Stage:
    fields = {
        "username": name,
        "password": Secret(secrets.token_urlsafe(12)),
        "verifier": Secret(f"SCRAM-SHA-256${secrets.token_hex(8)}"),
    }
    return Stage(rotation, status, fields, **changes)


def make_document(**stages: Stage) -> Document:
    document = Document("db_app", secrets.token_bytes(32))
    return replace(
        document, **{name: document.with_fingerprints(it) for name, it in stages.items()}
    )


def received(document: Document, *consumers: dict[str, Any]) -> Document:
    """The document with a receipt of each of these consumers."""
    sinks = parse_sinks(SINKS)
    seen = {it.name: expected(document, sinks, it) for it in parse_consumers(consumers)}
    receipts = {name: Receipt(text, NOW, "r1") for name, text in seen.items()}
    return replace(document, receipts={**document.receipts, **receipts})


def late(document: Document, *consumers: dict[str, Any]) -> list[str]:
    """The names of those that lag."""
    return lagging(document, parse_sinks(SINKS), parse_consumers(consumers))


# Definitions


@pytest.mark.parametrize(
    ("definition", "name"),
    [
        (UNIT, "app1/systemd/musehub.service"),
        ({"type": "systemd", "unit": "a@b.timer"}, "localhost/systemd/a@b.timer"),
        ({"type": "container", "containers": ["a", "b"]}, "localhost/container/a+b"),
        ({"type": "compose", "service": "web"}, "localhost/compose/web"),
        ({"type": "compose", "service": "web", "project": "p"}, "localhost/compose/p.web"),
        ({"type": "pgbouncer", "host": "db1"}, "db1/pgbouncer/auth_query"),
        ({"type": "pgbouncer", "userlist": "/etc/u"}, "localhost/pgbouncer//etc/u"),
        ({"type": "none", "host": "app1"}, "app1/none/none"),
        ({**UNIT, "name": "hub"}, "hub"),
    ],
)
def test_a_consumer_is_named_after_what_it_is(definition: dict[str, Any], name: str) -> None:
    assert parse_consumer(definition, "x").name == name


def test_the_name_of_a_command_is_stable_and_tells_only_its_program() -> None:
    one = {"type": "command", "argv": ["/usr/bin/ctl", "reload", "--all"]}
    other = {"type": "command", "argv": ["/usr/bin/ctl", "reload"]}
    first, second = parse_consumers([one, other])
    assert first.name == parse_consumer(one, "x").name != second.name
    assert first.name.startswith("localhost/command/ctl-")
    assert "reload" not in first.name


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ("musehub", "expected a mapping"),
        ({}, "'type' must be one of"),
        ({"type": "upstart"}, "'type' must be one of"),
        ({"type": "systemd"}, "'unit' is missing"),
        ({"type": "systemd", "unit": ""}, "'unit' is missing"),
        ({"type": "systemd", "unit": "app@*"}, "no name of one unit"),
        ({"type": "systemd", "unit": "-H"}, "no name of one unit"),
        ({**UNIT, "service": "x"}, "unknown key 'service' for type systemd"),
        ({**UNIT, "action": "recreate"}, "'action' must be one of auto, reload, restart"),
        ({**UNIT, "reads": [""]}, "'reads' must be a list of names"),
        ({**UNIT, "after": ["a", "a"]}, "names something twice"),
        ({**UNIT, "timeout": "soon"}, "no duration"),
        ({**UNIT, "inactive": "stop"}, "'inactive' must be one of refuse, warn, skip, start"),
        ({"type": "container", "containers": ["a"], "inactive": "start"}, "'inactive' must be one of refuse, warn"),
        ({**UNIT, "active": "kill"}, "'active' must be one of proceed, refuse"),
        ({**UNIT, "active": "refuse"}, "say 'inactive: skip'"),
        ({**UNIT, "log": "error"}, "log: expected a mapping"),
        ({**UNIT, "log": {"forbids": []}}, "log: unknown key 'forbids'"),
        ({**UNIT, "log": {"forbid": ["ok", "("]}}, "log.forbid[1]: '(' is no regular expression"),
        ({**UNIT, "log": {"require": [""]}}, "log.require[0]: expected a regular expression that is not empty"),
        ({**UNIT, "log": {"since": "lately"}}, "log.since: 'lately' is no duration"),
        ({"type": "container", "containers": ["a"], "engine": "lxc"}, "'engine' must be one of"),
        ({"type": "command", "argv": "reload all"}, "list of words"),
        ({"type": "command", "argv": ["ctl", "ref+vault://a#/b"]}, "references are not resolved"),
        ({"type": "command", "argv": ["ctl"], "success": [300]}, "exit code"),
        ({"type": "command", "argv": ["ctl"], "environment": {"P": "ref+file:///x"}}, "variable 'P' is a reference"),
        ({"type": "none", "unit": "x"}, "unknown key 'unit'"),
    ],
)  # fmt: skip
def test_a_definition_that_cannot_be_meant_is_refused(definition: Any, told: str) -> None:
    with pytest.raises(BadInput, match=r"keyturn_consumers\[0\]") as caught:
        parse_consumers([definition])
    assert told in caught.value.message


def test_two_consumers_of_one_name_are_refused() -> None:
    with pytest.raises(BadInput, match=r"two consumers are 'app1/systemd/musehub\.service'"):
        parse_consumers([UNIT, {**UNIT, "unit": "musehub.service"}])


# Receipts


def test_a_consumer_lags_until_its_receipt_is_what_it_should_read() -> None:
    document = make_document(current=make_stage("app_a", "observed"))
    assert late(document, UNIT) == ["app1/systemd/musehub.service"]
    document = received(document, UNIT)
    assert late(document, UNIT) == []
    swapped = make_document(current=make_stage("app_b", "promoted"))
    assert late(replace(document, current=swapped.current), UNIT)


def test_only_those_that_read_what_changed_lag() -> None:
    hub = {**UNIT, "name": "hub", "reads": ["accept"]}
    runner = {"type": "none", "name": "runner", "reads": ["url"]}
    document = received(make_document(current=make_stage("a", "observed")), hub, runner)
    document = replace(document, pending=make_stage("b", "applied", "r2"))
    assert late(document, runner, hub) == ["hub"]


def test_one_that_reads_no_sink_is_told_of_each_new_current_stage() -> None:
    document = received(make_document(current=make_stage("a", "observed")), {"type": "none"})
    assert expected(document, (), parse_consumer({"type": "none"}, "x")).startswith("hmac:")
    other = make_document(current=make_stage("a", "promoted", "r2"))
    one = parse_consumer({"type": "none"}, "x")
    assert expected(document, (), one) != expected(replace(other, salt=document.salt), (), one)


def test_a_receipt_is_no_oracle_without_the_salt() -> None:
    stage = make_stage("a", "observed")
    one, other = (make_document(current=stage) for _number in range(2))
    consumer = parse_consumer(UNIT, "x")
    assert expected(one, parse_sinks(SINKS), consumer) != expected(
        other, parse_sinks(SINKS), consumer
    )


def test_reading_a_sink_that_there_is_not_is_refused() -> None:
    document = make_document(current=make_stage("a", "observed"))
    with pytest.raises(BadInput, match="reads 'nothing', but the sinks are: accept, newest, url"):
        late(document, {**UNIT, "reads": ["nothing"]})


def test_a_predicted_value_makes_its_readers_lag_once_and_no_others() -> None:
    reader = {**UNIT, "name": "reader", "reads": ["url"]}
    pool = {"type": "pgbouncer", "name": "pool"}
    document = received(make_document(current=make_stage("a", "observed")), reader, pool)
    fields = {"username": "b", "password": Secret.new(), "verifier": Secret.new()}
    pending = Stage("(new)", "applied", fields)
    staged = replace(document, pending=pending)
    assert late(staged, reader, pool) == ["pool"]
    told = received(staged, pool)
    promoted = replace(told, pending=None, current=pending, previous=document.current)
    assert late(promoted, reader, pool) == ["reader"]
    assert late(received(promoted, reader), reader, pool) == []


def test_who_reads_a_list_lags_where_the_list_will_be_another() -> None:
    first = {**UNIT, "name": "first", "reads": ["accept"]}
    newest = {**UNIT, "name": "newest", "reads": ["newest"]}
    old = received(make_document(current=make_stage("a", "observed")), first, newest)
    fields = {"username": "b", "password": Secret.new(), "verifier": Secret.new()}
    pending = Stage("(new)", "applied", fields)
    staged = replace(old, pending=pending)
    assert late(staged, first, newest) == ["first", "newest"]
    told = received(staged, first, newest)
    promoted = replace(told, pending=None, current=pending, previous=old.current)
    assert late(promoted, first, newest) == ["first"]
    alone = received(replace(old, current=None, pending=pending), first, newest)
    assert late(replace(alone, pending=None, current=pending), first, newest) == []


# PgBouncer's part of a keyring


def test_every_stage_that_consumers_may_hold_has_a_line() -> None:
    document = make_document(
        previous=make_stage("a", "grace"),
        current=make_stage("b", "observed"),
        pending=make_stage("c", "issued"),
    )
    want = wanted(document)
    assert list(want.entries) == ["a", "b", "c"]
    assert want.absent == ()
    assert (list(want.accepted), list(want.kept)) == (["c"], ["b"])
    assert not want.refused
    promoted = replace(document, pending=None)
    assert (list(wanted(promoted).accepted), list(wanted(promoted).kept)) == (["b"], [])


@pytest.mark.parametrize(
    ("status", "changes", "listed"),
    [
        ("grace", {}, True),
        ("grace", {"failed": True}, True),
        ("grace", {"compromised": True}, True),
        ("retiring", {}, False),
    ],
)
def test_a_previous_value_keeps_its_line_until_it_is_marked(
    status: str, changes: dict[str, Any], listed: bool
) -> None:
    previous = make_stage("a", status, **changes)
    document = make_document(current=make_stage("b", "promoted"), previous=previous)
    want = wanted(document)
    assert ("a" in want.entries) is listed
    assert ("a" in want.absent) is not listed
    assert want.refused == ({} if listed else {"a": previous.fields["password"]})


@pytest.mark.parametrize(
    ("status", "used"), [("issued", "old"), ("applied", "new"), ("proved", "new")]
)
def test_a_shared_name_has_the_verifier_that_is_in_force(status: str, used: str) -> None:
    old, new = make_stage("app", "observed"), make_stage("app", status)
    want = wanted(make_document(current=old, pending=new))
    stage = {"old": old, "new": new}[used]
    assert want.entries == {"app": stage.fields["verifier"]}
    assert want.accepted == {"app": stage.fields["password"]}
    assert want.kept == {}
    assert want.absent == ()


def test_after_a_cutover_the_current_verifier_counts() -> None:
    old, new = make_stage("app", "grace"), make_stage("app", "cutover")
    want = wanted(make_document(previous=old, current=new))
    assert want.entries == {"app": new.fields["verifier"]}


def test_an_adopted_stage_leaves_its_line_alone() -> None:
    fields = {"username": "a", "password": Secret("x")}
    adopted = Stage("r0", "observed", fields, adopted=True)
    document = make_document(current=adopted, pending=make_stage("b", "applied"))
    want = wanted(document)
    assert list(want.entries) == ["b"]
    assert want.absent == ()
    assert (list(want.accepted), list(want.kept)) == (["b"], ["a"])


def test_an_abandoned_value_goes() -> None:
    document = make_document(
        current=make_stage("a", "observed"), pending=make_stage("b", "abandoning")
    )
    want = wanted(document)
    assert (list(want.entries), want.absent, list(want.refused)) == (["a"], ("b",), ["b"])


def test_abandoning_leaves_the_line_of_the_one_role_that_keeps_its_password() -> None:
    document = make_document(pending=make_stage("app", "abandoning"))
    assert wanted(document).absent == ("app",)
    want = wanted(document, "same_role")
    assert (want.absent, dict(want.entries), dict(want.refused)) == ((), {}, {})


def test_a_role_that_no_stage_used_keeps_its_line() -> None:
    for document in (
        make_document(pending=make_stage("b", "applied")),
        make_document(current=make_stage("b", "promoted")),
    ):
        want = wanted(document)
        assert (list(want.entries), want.absent) == (["b"], ())


def test_the_digest_changes_with_who_may_log_in_and_not_when_history_is_forgotten() -> None:
    current, previous = make_stage("b", "observed"), make_stage("a", "grace")
    grace = make_document(current=current, previous=previous)
    retiring = replace(grace, previous=replace(previous, status="retiring"))
    assert digest(grace) != digest(retiring)
    for retained in ((), (previous,)):
        forgotten = replace(grace, previous=None, retained=retained)
        assert digest(retiring) == digest(forgotten)


# Order


def chain(*pairs: tuple[str, str], **barriers: str) -> list[dict[str, Any]]:
    found = [{"type": "none", "name": name, "after": list(after)} for name, after in pairs]
    return [
        {**it, "barrier": barriers[str(it["name"])]} if it["name"] in barriers else it
        for it in found
    ]


def waves(definitions: list[dict[str, Any]]) -> list[list[str]]:
    return [[it.name for it in wave] for wave in order(parse_consumers(definitions))]


def test_who_comes_after_another_is_in_a_later_wave() -> None:
    assert waves(chain(("c", "b"), ("b", "a"), ("a", ""), ("x", ""))) == [["a", "x"], ["b"], ["c"]]


def test_a_barrier_moves_together() -> None:
    found = waves(chain(("a", ""), ("b", "a"), ("c", ""), ("d", "c"), b="one", c="one"))
    assert found == [["a"], ["b", "c"], ["d"]]


@pytest.mark.parametrize(
    ("definitions", "told"),
    [
        (chain(("a", "z")), "comes after 'z', which there is not; the consumers are: a"),
        (chain(("a", "a")), "reloaded together"),
        (chain(("a", "b"), ("b", ""), a="x", b="x"), "reloaded together"),
        (chain(("a", "c"), ("b", "a"), ("c", "b"), ("d", "")), "circle: a, b, c"),
        (chain(("a", ""), ("b", "a"), ("c", "b"), a="x", c="x"), "circle: b, barrier x"),
    ],
)
def test_an_order_that_there_is_not_is_refused(
    definitions: list[dict[str, Any]], told: str
) -> None:
    with pytest.raises(BadInput) as caught:
        waves(definitions)
    assert told in caught.value.message


@settings(max_examples=100, deadline=None)
@given(st.permutations("abcdef"), st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5))))
def test_every_order_without_a_circle_is_kept(
    names: list[str], edges: set[tuple[int, int]]
) -> None:
    after = {
        name: [names[low] for low, high in sorted(edges) if high == position and low < high]
        for position, name in enumerate(names)
    }
    found = waves([{"type": "none", "name": name, "after": after[name]} for name in "abcdef"])
    place = {name: number for number, wave in enumerate(found) for name in wave}
    assert sorted(place) == list("abcdef")
    assert all(place[first] < place[name] for name in after for first in after[name])


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, ""),
        ({"a": {"host": "app1"}}, "abc"),
        ({"b": {"host": "app1"}}, "bc"),
        ({"c": {"host": "app1"}}, "c"),
        ({"b": {"reads": ["url", "there"]}}, "bc"),
        ({"d": {"reads": ["all"]}}, "d"),
        # What comes after one of a barrier comes after all of it.
        ({"b": {"barrier": "x"}, "d": {"barrier": "x", "host": "app1"}}, "cd"),
    ],
)
def test_what_another_host_has_to_do_with_is_not_told_from_here(
    changes: dict[str, dict[str, Any]], left: str
) -> None:
    here = {"ref": "ref+file:///run/a", "template": "{current.password}"}
    there = {**here, "host": "app1"}
    one = {**here, "ref": "ref+file:///run/b", "name": "one"}
    group = {"name": "all", "host": "app1", "group": [one]}
    sinks = parse_sinks([{**here, "name": "url"}, {**there, "name": "there"}, group])
    definitions = chain(("a", ""), ("b", "a"), ("c", "b"), ("d", ""))
    consumers = [{"reads": ["url"], **it, **changes.get(it["name"], {})} for it in definitions]
    assert sorted(told_elsewhere(parse_consumers(consumers), sinks)) == list(left)


def test_out_of_turn_is_refused_naming_who_comes_first() -> None:
    web = parse_consumer({"type": "none", "name": "web", "after": ["pool", "cache"]}, "x")
    with pytest.raises(Refused, match="web: it comes after pool") as caught:
        check_turn(web, ["other", "web", "pool"])
    assert caught.value.details == {"waits_for": ["pool"]}
    check_turn(web, ["web"])


# What systemd prints


SHOWN = """\
MainPID=61
StatusErrno=0
Result=success
ReloadResult=exit-code
NRestarts=0
ExecMainStartTimestampMonotonic=2422528240
LoadState=loaded
ActiveState=active
SubState=running
CanReload=yes
NeedDaemonReload=no
"""
UNIT_FILE = """\
# /etc/systemd/system/app.service
[Service]
EnvironmentFile=/etc/app/app.env
EnvironmentFile=-/etc/app/optional.env
EnvironmentFile=/etc/app/%i-100%%.d/*.env
  LoadCredential=token:/etc/app/token
LoadCredentialEncrypted = keys:/etc/app/keys
# EnvironmentFile=/etc/app/not.env
Environment=EnvironmentFile=/etc/app/neither.env
"""
JOURNAL = (
    '{"MESSAGE":"Reloading app.service...","MESSAGE_ID":"d34d037fff1847e6ae669a370e694725"}\n'
    '{"MESSAGE":[1,2],"MESSAGE_ID":"d34d037fff1847e6ae669a370e694725"}\n'
    "not json\n"
    '{"MESSAGE":"app.service: Control process exited, code=exited, status=1/FAILURE",'
    '"MESSAGE_ID":"98e322203f7a4ed290d09fe03c09fe15"}\n'
    '{"MESSAGE":"Ignoring invalid environment assignment \'1X=value\': /etc/app/app.env"}\n'
)


def test_what_systemctl_shows_is_read() -> None:
    shown = parse_show(SHOWN)
    assert shown["ReloadResult"] == "exit-code"
    assert shown["ExecMainStartTimestampMonotonic"] == "2422528240"
    assert parse_show("ExecReload={ argv[]=/bin/kill -HUP a=b }\n") == {
        "ExecReload": "{ argv[]=/bin/kill -HUP a=b }"
    }


def test_files_that_only_a_start_brings_into_a_process_are_found() -> None:
    names = ["app.env", "optional.env", "*-100%.d/*.env", "token", "keys"]
    assert copied_files(UNIT_FILE) == [f"/etc/app/{name}" for name in names]


def test_systemds_own_messages_are_read() -> None:
    assert parse_messages(JOURNAL) == [
        "Reloading app.service",
        "app.service: Control process exited, code=exited, status=1/FAILURE",
    ]
    assert parse_messages("-- No entries --\n") == []


class Systemd:
    """A machine whose systemctl answers as the real one was seen to."""

    def __init__(self, clock: float = 5000.0, **changes: str) -> None:
        self.now = clock
        self.shown = {**parse_show(SHOWN), "ReloadResult": "success", **changes}
        self.calls: list[str] = []
        self.unit_file = ""
        self.does: Callable[[str], Completed] = self.start
        self.meanwhile: Callable[[], object] = lambda: None

    def start(self, word: str) -> Completed:
        self.now += 0.5
        if word == "restart":
            self.shown["ExecMainStartTimestampMonotonic"] = str(int(self.now * 1e6))
            self.shown["MainPID"] = str(int(self.shown["MainPID"]) + 1)
        return Completed(0)

    def run(
        self,
        argv: Sequence[str],
        seconds: float,
        chdir: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Completed:
        if argv[0] == "journalctl":
            return Completed(0, JOURNAL)
        assert argv[0] == "systemctl" and argv[-1] == "app.service"
        word = argv[3]
        if word == "show":
            return Completed(0, "".join(f"{name}={it}\n" for name, it in self.shown.items()))
        if word == "cat":
            return Completed(0, self.unit_file)
        self.calls.append(word)
        return self.does(word)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()

    def machine(self) -> Machine:
        return Machine(self.run, lambda: self.now + 1e9, lambda: self.now, self.sleep)

    def pick_up(
        self, locks: Path, files: Sequence[str] = (), check_mode: bool = False, **definition: Any
    ) -> dict[str, Any]:
        given = {"type": "systemd", "unit": "app", **definition}
        context = Context(check_mode=check_mode)
        task = Task("app", given, context, self.machine(), tuple(files))
        return pick_up(task, str(locks))


@pytest.mark.parametrize(
    ("can", "action", "done"),
    [
        ("yes", "auto", "reload"),
        ("no", "auto", "restart"),
        ("yes", "restart", "restart"),
        ("yes", "reload", "reload"),
    ],
)
def test_a_unit_is_reloaded_where_it_can_be(
    can: str, action: str, done: str, tmp_path: Path
) -> None:
    systemd = Systemd(CanReload=can)
    assert systemd.pick_up(tmp_path, action=action)["action"] == done
    assert systemd.calls == [done]


def test_check_mode_touches_no_unit_and_makes_no_lock(tmp_path: Path) -> None:
    systemd = Systemd()
    assert systemd.pick_up(tmp_path, check_mode=True)["action"] == "predicted"
    assert systemd.calls == []
    assert not list(tmp_path.iterdir())


def test_a_file_that_systemd_copies_at_start_means_a_restart(tmp_path: Path) -> None:
    systemd = Systemd()
    systemd.unit_file = UNIT_FILE.replace("/etc/app", str(tmp_path))
    (tmp_path / "a-100%.d").mkdir()
    for name in ("token", "a-100%.d/b.env", "other"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (2e9, 2e9))
    assert systemd.pick_up(tmp_path, [f"{tmp_path}/token"])["action"] == "restart"
    assert systemd.pick_up(tmp_path, [f"{tmp_path}/a-100%.d/b.env"])["action"] == "restart"
    assert systemd.pick_up(tmp_path, [f"{tmp_path}/other"])["action"] == "reload"


def test_a_reload_that_its_unit_reports_as_failed_is_no_success(tmp_path: Path) -> None:
    systemd = Systemd()

    def fails(word: str) -> Completed:
        systemd.shown["ReloadResult"] = "exit-code"
        return Completed(0)

    systemd.does = fails
    with pytest.raises(ProbeFailed, match="ReloadResult=exit-code") as caught:
        systemd.pick_up(tmp_path)
    assert "status=1/FAILURE" in caught.value.message


def test_a_refusal_of_systemctl_is_passed_on(tmp_path: Path) -> None:
    systemd = Systemd()
    said = "Failed to reload app.service: Interactive authentication required.\nSee more.\n"
    systemd.does = lambda word: Completed(1, "", said)
    with pytest.raises(ProbeFailed, match="Interactive authentication required") as caught:
        systemd.pick_up(tmp_path)
    assert "See more" not in caught.value.message


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"ActiveState": "failed"}, "is failed"),
        ({"NRestarts": "1"}, "1 automatic restarts"),
        ({"ActiveState": "activating"}, "is activating"),
        ({"StatusErrno": "5"}, "reports error 5"),
    ],
)
def test_a_unit_that_does_not_come_up_is_a_failure(
    after: dict[str, str], told: str, tmp_path: Path
) -> None:
    systemd = Systemd(CanReload="no")

    def dies(word: str) -> Completed:
        systemd.start(word)
        systemd.shown.update(after)
        return Completed(0)

    systemd.does = dies
    with pytest.raises(ProbeFailed, match=told):
        systemd.pick_up(tmp_path)


def test_a_unit_that_dies_soon_after_is_a_failure(tmp_path: Path) -> None:
    systemd = Systemd(CanReload="no")
    systemd.meanwhile = lambda: systemd.shown.update(MainPID="99")
    with pytest.raises(ProbeFailed, match="did not stay up"):
        systemd.pick_up(tmp_path)


def test_a_restart_that_left_the_old_process_is_a_failure(tmp_path: Path) -> None:
    systemd = Systemd(CanReload="no")
    systemd.does = lambda word: Completed(0)
    with pytest.raises(ProbeFailed, match="still runs the process from before"):
        systemd.pick_up(tmp_path)


def test_a_stopped_unit_is_not_started(tmp_path: Path) -> None:
    systemd = Systemd(ActiveState="inactive", SubState="dead")
    with pytest.raises(Refused, match="must not be started"):
        systemd.pick_up(tmp_path)
    assert systemd.pick_up(tmp_path, inactive="warn")["seen"] is True
    assert systemd.calls == []


@pytest.mark.parametrize("state", ["not-found", "masked"])
def test_a_unit_that_cannot_be_used_is_named(state: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"LoadState={state}"):
        Systemd(LoadState=state, ActiveState="inactive").pick_up(tmp_path)


def test_asking_for_a_reload_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no ExecReload"):
        Systemd(CanReload="no").pick_up(tmp_path, action="reload")


def test_a_service_is_left_alone_when_it_read_the_files_since(tmp_path: Path) -> None:
    systemd = Systemd()
    sink = tmp_path / "sink"
    sink.touch()
    for moment, calls, coalesced in (
        (systemd.now - 3000, [], True),
        (systemd.now - 10, ["reload"], False),
        (systemd.now - 10, ["reload"], True),
        (systemd.now + 0.2, ["reload", "reload"], False),
        (systemd.now + 1e6, ["reload"] * 3, False),
    ):
        os.utime(sink, (moment + 1e9, moment + 1e9))
        done = systemd.pick_up(tmp_path, [str(sink)])
        assert (systemd.calls, done["coalesced"]) == (calls, coalesced)


def test_a_reload_does_not_count_where_a_restart_is_needed(tmp_path: Path) -> None:
    systemd = Systemd()
    sink = tmp_path / "sink"
    sink.touch()
    os.utime(sink, (systemd.now + 1e9 - 10, systemd.now + 1e9 - 10))
    assert systemd.pick_up(tmp_path, [str(sink)])["action"] == "reload"
    assert systemd.pick_up(tmp_path, [str(sink)], action="restart")["action"] == "restart"
    assert systemd.pick_up(tmp_path, [str(sink)], action="restart")["coalesced"] is True


def test_a_file_that_is_not_there_is_no_file_that_was_read(tmp_path: Path) -> None:
    with pytest.raises(Absent, match="which is not there on this host"):
        Systemd().pick_up(tmp_path, [str(tmp_path / "none")])


# What podman and docker print


INSPECTED = json.dumps(
    {
        "created": "2026-05-01T09:32:02.825396826Z",
        "restarts": 0,
        "state": {
            "Status": "running",
            "Running": True,
            "Restarting": False,
            "StartedAt": "2026-05-01T11:32:03.204287831+02:00",
            "FinishedAt": "0001-01-01T00:00:00Z",
            "Health": {"Status": "", "FailingStreak": 0, "Log": None},
        },
    }
)


def inspected(**changes: Any) -> str:
    found = json.loads(INSPECTED)
    found["state"].update(changes)
    return json.dumps(found)


def test_a_containers_state_is_read() -> None:
    state = parse_state(INSPECTED)
    assert state.ready
    assert (state.status, state.health, state.restarts) == ("running", "", 0)
    assert state.started - state.created == pytest.approx(0.378891005)


@pytest.mark.parametrize(
    ("changes", "ready"),
    [
        ({"Health": {"Status": "healthy"}}, True),
        ({"Health": {"Status": "starting"}}, False),
        ({"Health": {"Status": "unhealthy"}}, False),
        ({"Health": None, "Healthcheck": {"Status": "starting"}}, False),
        ({"Running": False, "Status": "exited"}, False),
        ({"Restarting": True}, False),
    ],
)
def test_a_container_is_ready_when_it_runs_and_is_not_unwell(
    changes: dict[str, Any], ready: bool
) -> None:
    assert parse_state(inspected(**changes)).ready is ready


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T01:00:01.000000001+01:00", 1.000000001),
        ("1970-01-01 00:00:02.25 +0000 UTC", 2.25),
        ("0001-01-01T00:00:00Z", 0.0),
        ("", 0.0),
    ],
)
def test_times_of_both_engines_are_read(text: str, moment: float) -> None:
    assert parse_moment(text) == pytest.approx(moment)


@pytest.mark.parametrize(
    ("directory", "files", "found"),
    [
        ("/srv/hub", [], []),
        ("/srv/hub", ["compose.yaml"], ["/srv/hub/compose.yaml"]),
        ("/srv/hub", ["hub/c.yaml", "over.yaml"], ["/srv/hub/c.yaml", "/srv/over.yaml"]),
        ("/srv/hub", ["/srv/hub/c.yaml", "/etc/o.yaml"], ["/srv/hub/c.yaml", "/etc/o.yaml"]),
        ("/srv/myhub", ["hub/c.yaml"], ["/srv/myhub/hub/c.yaml"]),
    ],
)
def test_compose_files_are_found_from_what_labels_say(
    directory: str, files: list[str], found: list[str]
) -> None:
    assert located(directory, files) == found


class Engine:
    """A machine whose podman answers as the real one was seen to."""

    def __init__(self, restarted: Mapping[str, Any]) -> None:
        self.now = 0.0
        self.text = INSPECTED
        self.calls: list[str] = []
        self._restarted = restarted

    def run(
        self,
        argv: Sequence[str],
        seconds: float,
        chdir: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Completed:
        assert argv[0] == "podman"
        if argv[1] == "container":
            return Completed(0, self.text)
        self.calls.append(argv[1])
        self.text = inspected(**self._restarted)
        return Completed(0)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def pick_up(self, locks: Path) -> dict[str, Any]:
        machine = Machine(self.run, lambda: self.now, lambda: self.now, self.sleep)
        given = {"type": "container", "containers": ["app"], "timeout": "2s"}
        return pick_up(Task("app", given, Context(), machine), str(locks))


class ComposeEngine:
    """A machine with one container of a compose service."""

    def __init__(self, folder: Path) -> None:
        labels = {
            "com.docker.compose.project": "hub",
            "com.docker.compose.project.working_dir": str(folder),
            "com.docker.compose.project.config_files": "compose.yaml",
        }
        (folder / "compose.yaml").write_text("services: {}\n")
        self._labels = json.dumps(labels)
        self.warnings: list[str] = []

    def run(
        self,
        argv: Sequence[str],
        seconds: float,
        chdir: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Completed:
        if argv[1] == "ps":
            return Completed(0, "c1\n")
        return Completed(0, self._labels if _compose.LABELS in argv else inspected())

    def check(self, **definition: Any) -> list[str]:
        """Look at it; returns what was warned of."""
        machine = Machine(self.run, lambda: 0.0, lambda: 0.0, lambda _seconds: None)
        given = {"type": "compose", "service": "web", **definition}
        look = Context(check_mode=True, warn=self.warnings.append, environ=dict(os.environ))
        pick_up(Task("web", given, look, machine))
        return self.warnings


@pytest.mark.parametrize(
    ("definition", "hidden", "warned"),
    [
        ({"compose_command": ["./docker", "compose"]}, False, False),
        ({"compose_command": ["./podman-compose"]}, False, True),
        ({"compose_command": ["./podman-compose"]}, True, False),
        # A restart makes no container.
        ({"compose_command": ["./podman-compose"], "action": "restart"}, False, False),
    ],
)
def test_a_compose_command_that_shows_values_in_its_arguments_is_warned_of(
    definition: dict[str, Any],
    hidden: bool,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"proc /proc proc rw,{'hidepid=2' if hidden else 'relatime'} 0 0\n")
    monkeypatch.setattr(_compose, "_MOUNTS", str(mounts))
    monkeypatch.chdir(tmp_path)
    for name in ("podman-compose", "docker"):
        (tmp_path / name).touch(0o755)
    told = ComposeEngine(tmp_path).check(**definition)
    assert [("consumer web" in line and "every user of this host" in line) for line in told] == [
        True
    ] * warned


def test_a_container_counts_as_restarted_once_a_new_start_runs(tmp_path: Path) -> None:
    engine = Engine({"StartedAt": "2026-05-01T09:40:00Z"})
    assert engine.pick_up(tmp_path)["action"] == "restart"
    assert engine.calls == ["restart"]


@pytest.mark.parametrize(
    ("restarted", "told"),
    [
        ({}, "still the one from before"),
        ({"StartedAt": "2026-05-01T09:40:00Z", "Running": False, "Status": "exited"}, "is exited"),
        ({"StartedAt": "2026-05-01T09:40:00Z", "Health": {"Status": "starting"}}, "starting"),
    ],
)
def test_a_container_that_does_not_come_up_is_a_failure(
    restarted: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ProbeFailed, match=told):
        Engine(restarted).pick_up(tmp_path)


# Running programs, and locks


def test_a_program_that_leaves_a_child_behind_is_not_waited_for(tmp_path: Path) -> None:
    ended = run_command(["sh", "-c", "sleep 3 & echo said; echo wrong >&2; exit 3"], 2)
    assert (ended.code, ended.out, ended.first_line) == (3, "said\n", "wrong")


def test_a_program_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(Unreachable, match=r"did not end within 0\.2 s and was killed"):
        run_command(["sh", "-c", f"(sleep 0.6; touch {mark}) & wait"], 0.2)
    threading.Event().wait(0.8)
    assert not mark.exists()


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(Absent, match="/no/such/program"):
        run_command(["/no/such/program"], 1)


def test_one_process_at_a_time_for_each_service(tmp_path: Path) -> None:
    with hold_service("systemd/app.service", 1, str(tmp_path)) as service:
        service.note("reload", 12.5)
        with pytest.raises(Conflict), hold_service("systemd/app.service", 0.05, str(tmp_path)):
            pass
        with hold_service("systemd/other.service", 0.05, str(tmp_path)) as other:
            assert other.done == {}
    with hold_service("systemd/app.service", 1, str(tmp_path)) as service:
        assert service.done == {"reload": 12.5}


def test_a_damaged_note_only_costs_a_reload(tmp_path: Path) -> None:
    with hold_service("x", 1, str(tmp_path)) as service:
        service.note("reload", 1.0)
    (note,) = (
        path for path in Path(lock_directory(str(tmp_path))).iterdir() if path.name[0] != "."
    )
    assert note.stat().st_mode & 0o777 == 0o600
    note.write_text("[1]")
    with hold_service("x", 1, str(tmp_path)) as service:
        assert service.done == {}


@pytest.mark.parametrize("spoil", ["mode", "link", "file"])
def test_locks_are_kept_from_others(spoil: str, tmp_path: Path) -> None:
    place = Path(lock_directory(str(tmp_path)))
    if spoil == "mode":
        place.chmod(0o777)
    else:
        place.rmdir()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        place.symlink_to(elsewhere) if spoil == "link" else place.touch(0o600)
    with pytest.raises(KeyturnError, match="directory of this user alone"):
        lock_directory(str(tmp_path))
