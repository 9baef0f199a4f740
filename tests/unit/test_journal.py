# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of logs: which are forbidden, what of them is shown, and what journalctl prints."""

from __future__ import annotations

import base64
import html
import json
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import (
    Completed,
    Machine,
    Task,
    read_command,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._unit_log import UnitLog
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._unit_show import (
    parse_show,
    reload_status,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._journal import (
    Journal,
    check_cursor,
    text_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_file import parse_place
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_hide import Hider
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_look import (
    Line,
    Look,
    read_wanted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_probe import (
    MODULE as LOG_PROBE,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Params
from ansible_collections.keyturn.runbooks.plugins.module_utils._redact import (
    prepare_redaction,
    seal_values,
    unseal_values,
    values_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._systemd_reload import (
    MODULE as SYSTEMD_RELOAD,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def look(**wanted: Any) -> Look:
    return Look(read_wanted(wanted, ""), Hider())


# Which lines are forbidden when nobody says which


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: x", "level=error msg=x", "2026/01/31 22:00:00 [error] 12#12: *1 connect() failed", '{"level":"error"}',
        "Reload failed for relay.service.", "Connection refused", "Permission denied", "Operation not permitted",
        "[emerg] 1#1: unknown directive", "Traceback (most recent call last):", "could not open /etc/x", "Connection timed out",
        "stream key invalid", "invalid stream key", "the API key has expired", "HTTP 403", "status: 401", "HTTP error 403 Forbidden",
        "server returned 401", "unauthorised", "3 failures",
    ],
)  # fmt: skip
def test_what_an_operator_would_search_for_is_forbidden(line: str) -> None:
    seen = look()
    seen.add(Line(line))
    assert seen.forbidden == 1


@pytest.mark.parametrize(
    "line",
    [
        "0 errors", "no error", "finished without errors", "errors=0", "errors: 0", '"error":null', '"failed": 0', "error_log /var/log/x",
        "opened /var/log/nginx/error.log", "fail_timeout=10s", "failover ready", "key file read", "loaded 3 keys from /etc/keys",
        "Reloading relay.service...", "Reloaded relay.service - Relay.", "relay.service: Deactivated successfully.", "frame=  403 fps= 30",
        "publish to rtmp://host/live", "listening on port 1401", "terror", "no failures",
    ],
)  # fmt: skip
def test_healthy_lines_are_not(line: str) -> None:
    seen = look()
    seen.add(Line(line))
    assert seen.forbidden == 0


def test_patterns_that_are_given_count_alone() -> None:
    seen = look(forbid=["thunder"], require=["^ready"], allow=["far away"])
    for line in ("an error", "THUNDER", "thunder far away", "not ready", "Ready now"):
        seen.add(Line(line, "unit", "time"))
    assert (seen.lines, seen.forbidden, seen.missing) == (5, 1, [])
    facts = seen.facts()
    assert facts["matches"] == [{"line": "THUNDER", "pattern": "thunder", "source": "unit", "time": "time"}]  # fmt: skip
    assert facts["required"] == {"^ready": 1}
    assert seen.complaint() == "has a line that must not be there, such as: THUNDER"


def test_only_the_first_lines_are_shown_and_all_are_counted() -> None:
    seen = look(forbid=["x"])
    for number in range(50):
        seen.add(Line(f"x {number} {'long ' * 200}"))
    assert (seen.forbidden, len(seen.matches)) == (50, 5)
    assert all(len(match["line"]) <= 200 for match in seen.matches)
    assert seen.complaint().startswith("has 50 lines")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"forbid": ["ok", "(a"]}, r"x\.forbid\[1\]: '\(a' is no regular expression of Python: missing \)"),
        ({"require": [""]}, r"x\.require\[0\]: expected a regular expression that is not empty"),
        ({"allow": [3]}, r"x\.allow\[0\]: expected"),
        ({"forbid": {"a": 1}}, r"x\.forbid: expected a list"),
        ({"forbid": ["a{1,99999999999}"]}, r"x\.forbid\[0\]: .* is no regular expression"),
    ],
)  # fmt: skip
def test_patterns_that_cannot_be_meant_are_named(wanted: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        read_wanted(wanted, "x.")


# What is shown


def encodings(value: str) -> list[str]:
    data = value.encode()
    once = quote(value, safe="")
    found = [value, once, quote_plus(value), once.lower(), quote(once, safe="")]
    found += [value.upper()] if value.isascii() else []
    for before, after in ((b"", b""), (b"u", b"@"), (b"u:", b""), (b"uu:", b"@")):
        found.append(base64.b64encode(before + data + after).decode())
    found += [base64.urlsafe_b64encode(data).decode().rstrip("="), data.hex(), data.hex().upper()]
    found += [json.dumps(value), repr(value), shlex.quote(value), html.escape(value), value[:12], value[-10:]]  # fmt: skip
    return found


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=16, max_size=40))  # fmt: skip
def test_a_known_value_is_hidden_in_every_form(value: str) -> None:
    hider = Hider([value])
    for text in encodings(value):
        # No letters around it: they could be taken for the next ones of a value that repeats itself.
        shown = hider.shown(f"=: {text} :=")
        assert shown.startswith("=: ") and shown.endswith(" :="), (text, shown)
        parts = {text[at : at + 8] for at in range(len(text) - 7)}
        middle = shown[len("=: ") : -len(" :=")]
        assert not [part for part in parts if part in middle], (text, shown)


def test_a_value_of_several_lines_is_hidden_line_by_line() -> None:
    lines = [secrets.token_urlsafe(30) for _number in range(3)]
    hider = Hider(["\n".join(lines) + "\n"])
    assert [hider.shown(f"got {line}") for line in lines] == ["got (hidden)"] * 3


def test_a_very_short_value_hides_the_whole_line() -> None:
    assert Hider(["abc"]).shown("error: abc") == "(hidden)"
    assert Hider(["abc", " "]).shown("error: x") == "error: x"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("publish: name='goodkey', args=''", "publish: name='(hidden)', args=''"),
        ("rtmp://a.example/live2/abcd: refused", "rtmp://a.example/live2/(hidden) refused"),
        ("rtmps://a.example/app?key=x", "rtmps://a.example/app?(hidden)"),
        ("to rtmp://a.example/live", "to rtmp://a.example/live"),
        ("stream key abcd-efgh-ijkl-mnop-qrst", "stream key (hidden)"),
        ("live_123456789_AbCdEfGhIjKlMnOpQrSt", "(hidden)"),
        ("STREAM_KEY=short token: tiny; x", "STREAM_KEY=(hidden) token: (hidden); x"),
        ("Authorization: Bearer abc", "Authorization: Bearer (hidden)"),
        ("postgresql://u:p4ss@db/x", "postgresql://(hidden)@db/x"),
        ("/etc/keys/restream.key: Permission denied", "/etc/keys/restream.key: Permission denied"),
        ("systemd-journald.service: Main process exited", "systemd-journald.service: Main process exited"),
        ("NeedDaemonReload of x86_64-linux-gnu", "NeedDaemonReload of x86_64-linux-gnu"),
        ("\x1b[31mred\x1b[0m\ttab\x00", "red tab"),
    ],
)  # fmt: skip
def test_what_looks_like_a_key_is_hidden_though_nobody_knows_it(line: str, shown: str) -> None:
    assert Hider().shown(line) == shown


@pytest.mark.parametrize("make", [secrets.token_urlsafe, secrets.token_hex])
def test_made_values_look_like_values(make: Callable[[int], str]) -> None:
    shown = [Hider().shown(f"error {make(16)} x") for _number in range(1000)]
    # One in some thousands has no digit, and reads like words.
    assert shown.count("error (hidden) x") > 990


def test_names_that_are_meant_to_be_shown_are() -> None:
    name = "stream-relay-7f9c2b.service"
    assert "(hidden)" in Hider().shown(f"{name} failed")
    assert Hider([], [name]).shown(f"{name} failed") == f"{name} failed"


# What journalctl and systemctl print


def test_fields_of_an_entry() -> None:
    assert text_of([101, 114, 0xFF]) == "er\ufffd"
    assert text_of(["one", "two"]) == "one two"
    assert text_of(None) == ""


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["code=exited ; status=0 }"], ("exited/0", True)),
        (["code=exited ; status=0 }", "code=exited ; status=3 }"], ("exited/3", False)),
        (["code=killed ; status=9/KILL }"], ("killed/KILL", False)),
        (["code=exited ; status=1/FAILURE }"], ("exited/1", False)),
        (["code=(null) ; status=0/0 }"], ("", True)),
        ([], ("", True)),
    ],
)
def test_how_exec_reload_ended(lines: list[str], told: tuple[str, bool]) -> None:
    text = "".join(f"ExecReload={{ path=/x ; pid=1 ; {line}\n" for line in lines)
    assert reload_status(parse_show(text)) == told


class Journalctl:
    """A machine whose journalctl answers as the real one was seen to."""

    def __init__(self, *entries: Mapping[str, Any], err: str = "", code: int = 0) -> None:
        self.entries = entries
        self.ended = Completed(code, "", err)
        self.calls: list[Sequence[str]] = []

    def run(self, argv: Sequence[str], *_more: Any, **_named: Any) -> Completed:
        self.calls.append(argv)
        return self.ended

    def read(
        self,
        argv: Sequence[str],
        seconds: float,
        take: Callable[[str], None],
        environ: Mapping[str, str] | None = None,
    ) -> Completed:
        self.calls.append(argv)
        for entry in self.entries:
            take(json.dumps(entry) + "\n")
        return self.ended

    def journal(self) -> Journal:
        machine = Machine(run=self.run, read=self.read)
        return Journal(machine, {}, ["a.service"], "here")


@pytest.mark.parametrize(
    ("err", "code", "kind", "told"),
    [
        ("No journal files were opened due to insufficient permissions.", 1, Denied, "may not read the journal"),
        ("Hint: You are currently not seeing messages from other users and the system.", 0, Denied, "may not read the journal"),
        ("No journal files were found.", 0, Absent, "keeps no journal"),
        ("Failed to seek to cursor: Invalid argument", 1, Unreachable, "Failed to seek to cursor"),
    ],
)  # fmt: skip
def test_a_journal_that_cannot_be_read_is_no_empty_one(
    err: str, code: int, kind: type[KeyturnError], told: str
) -> None:
    with pytest.raises(kind, match=told):
        Journalctl(err=err, code=code).journal().mark()
    if kind is not Absent:
        with pytest.raises(kind, match=told):
            Journalctl({"__CURSOR": "s=1;i=1"}, err=err, code=code).journal().since(0, look())


def test_an_empty_journal_has_no_place_to_begin_from() -> None:
    with pytest.raises(Absent, match="is empty"):
        Journalctl().journal().mark()


def test_the_entry_of_the_cursor_itself_does_not_count_again() -> None:
    seen = look(forbid=["wrong"])
    first = {"__CURSOR": "s=1;i=1", "MESSAGE": "wrong", "UNIT": "a.service"}
    second = {**first, "__CURSOR": "s=1;i=2", "__REALTIME_TIMESTAMP": "1795344988069924"}
    ctl = Journalctl(first, second)
    assert ctl.journal().after("s=1;i=1", seen) == "s=1;i=2"
    assert (seen.lines, seen.gaps) == (1, [])
    assert seen.matches[0]["time"] == "2026-11-22T10:56:28.069924Z"
    assert not [call for call in ctl.calls if any("after-cursor" in word for word in call)]


def test_lines_of_an_invocation_that_was_ended_on_purpose_do_not_count() -> None:
    seen = look(forbid=["wrong"])
    old, new = ({"__CURSOR": f"s=1;i={it}", "MESSAGE": "wrong", "_SYSTEMD_INVOCATION_ID": it} for it in "ab")  # fmt: skip
    ended = {"__CURSOR": "s=1;i=c", "MESSAGE": "wrong", "INVOCATION_ID": "a", "_PID": "1"}
    Journalctl(old, ended, new).journal().after("s=1;i=0", seen, passed_over="a")
    assert seen.forbidden == 1


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"StandardOutput": "append:/var/log/app.log"}, "StandardOutput of a.service is append and not the journal"),
        ({"StandardOutput": "journal", "StandardError": "null"}, "StandardError of a.service is null"),
        ({"LogNamespace": "apart"}, "writes to the journal's namespace apart"),
        ({"StandardOutput": "journal", "StandardError": "inherit"}, ""),
    ],
)  # fmt: skip
def test_a_unit_that_writes_to_somewhere_else_is_told_of(state: dict[str, str], told: str) -> None:
    ctl = Journalctl({"__CURSOR": "s=1;i=1"})
    warnings: list[str] = []
    machine = Machine(run=ctl.run, read=ctl.read)
    given = {"unit": "a", "log": {"forbid": None}}
    task = Task("a", given, Context(warn=warnings.append), machine)
    log = UnitLog.opened(task, {"Id": "a.service", **state})
    assert log and UnitLog.opened(Task("a", {"unit": "a"}, Context(), machine), state) is None
    log.judge("reload", 0.0)
    assert [told in gap for gap in log.facts()["gaps"]] == [True] * bool(told)
    assert [told in warning for warning in warnings] == [True] * bool(told)


def test_what_is_longer_than_any_buffer_is_read_whole() -> None:
    lines: list[str] = []
    ended = read_command(["sh", "-c", "seq 300000; echo said >&2; exit 3"], 30, lines.append)
    assert (ended.code, ended.err, len(lines), lines[-1]) == (3, "said\n", 300000, "300000\n")
    with pytest.raises(Unreachable, match=r"did not end within 0\.2 s"):
        read_command(["sleep", "20"], 0.2, lines.append)
    with pytest.raises(Absent):
        read_command(["/no/such/program"], 1, lines.append)


@pytest.mark.parametrize("cursor", ["", "x", "s=1 --root=/", "--since=now", "s=zz;i=1\n"])
def test_no_cursor_is_another_option(cursor: str) -> None:
    with pytest.raises(BadInput, match="no cursor of a journal"):
        check_cursor(cursor, "cursor")
    with pytest.raises(BadInput, match="no cursor of a file"):
        parse_place(cursor, "cursor")


# Options of the modules


def params(module: Any, **given: Any) -> Params:
    defaults = {name: option.get("default") for name, option in module.argument_spec.items()}
    return {**defaults, **given}


@pytest.mark.parametrize(
    ("module", "options", "told"),
    [
        (SYSTEMD_RELOAD, {"units": []}, "units: give the name of one unit or more"),
        (SYSTEMD_RELOAD, {"units": ["a*"]}, "units: 'a\\*' is no name of one unit"),
        (SYSTEMD_RELOAD, {"units": ["-a"]}, "no name of one unit"),
        (SYSTEMD_RELOAD, {"units": ["a", "a.service"]}, "a.service is there twice"),
        (SYSTEMD_RELOAD, {"units": ["a"], "settle": "soon"}, "settle: 'soon' is no duration"),
        (SYSTEMD_RELOAD, {"units": ["a"], "log": {"forbid": ["("]}}, r"log\.forbid\[0\]: '\('"),
        (SYSTEMD_RELOAD, {"units": ["a"], "unless_fresh": True}, "needs 'files'"),
        (LOG_PROBE, {}, "name a unit, or give 'path'"),
        (LOG_PROBE, {"units": ["a/b"]}, "no name of one unit"),
        (LOG_PROBE, {"units": ["a"], "since": "lately"}, "since: 'lately' is no duration"),
        (LOG_PROBE, {"units": ["a"], "forbid": ["["]}, r"forbid\[0\]: '\['"),
        (LOG_PROBE, {"units": ["a"], "timeout": "-1"}, "timeout: '-1' is no duration"),
        (LOG_PROBE, {"path": "/x"}, "say from where"),
        (LOG_PROBE, {"path": "/x", "since": "10m"}, "is not known; give 'cursor'"),
        (LOG_PROBE, {"path": "/x", "cursor": "s=1;i=1"}, "no cursor of a file"),
        (LOG_PROBE, {"units": ["a"], "cursor": "1:2:3"}, "no cursor of a journal"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_a_host_is_asked(
    module: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadInput, match=told):
        module.prepare(params(module, **options), Context())


def test_values_go_to_the_host_as_one_opaque_text() -> None:
    values = [secrets.token_urlsafe(12) for _number in range(2)]
    ready = prepare_redaction(params(LOG_PROBE, units=["a"], redact=values), Context())
    assert ready["redact"] == []
    assert [it.reveal() for it in unseal_values(ready["contents"])] == values
    assert not [value for value in values if value in ready["contents"]["sealed"].reveal()]
    with pytest.raises(BadInput, match=r"redact\[0\]"):
        prepare_redaction(params(LOG_PROBE, units=["a"], redact=[True]), Context())


def test_a_retained_key_does_not_leave_the_controller() -> None:
    texts = {name: secrets.token_urlsafe(9) for name in ("pending", "current", "previous", "old")}
    stages = {
        name: Stage("r", "issued", {"key": Secret(text), "name": "plain"})
        for name, text in texts.items()
    }
    retained = (stages.pop("old"),)
    document = Document("c", b"", retained=retained, **stages)
    found = [value.reveal() for value in unseal_values({"sealed": seal_values(values_of(document))})]  # fmt: skip
    assert found == [texts["pending"], texts["current"], texts["previous"]]
    assert values_of(None) == []
