# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Those whom a new value affects: what is refused, what a message is made of, whom a run tells, and what a killed one leaves."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import _affected_tell
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected import (
    problem_of,
    read_affected,
    users_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_list import (
    Kept,
    Waiting,
    beside,
    is_in_use,
    is_of_this_rotation,
    is_switched,
    parse_kept,
    taken_anew,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_source import (
    check_source,
    parse_csv,
    parse_json,
    read_source,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._affected_ways import (
    check_way,
    open_way,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._channels import (
    Failed,
    MailChannel,
    open_channel,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Corrupt,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._notify_affected import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

NOW = datetime(2026, 1, 9, 12, tzinfo=timezone.utc)
LOGIN = {"host": "db1.example", "admin": "ref+vault://secret/reader"}
MAIL = {"type": "mail", "host": "mail.example", "from": "hub@example.org"}
GIVEN: dict[str, Any] = {
    "breaks": "Webhooks fail.",
    "of": {"type": "postgres", "login": LOGIN, "query": "SELECT id, email, name FROM public.users"},
    "id": "id",
    "to": "email",
    "message": {"subject": "Webhooks of {name}", "body": "Hello {name},\nregister again.\n"},
    "by": MAIL,
    "expect_at_most": 10,
}


def row(user: str, **cells: Any) -> dict[str, Any]:
    return {"id": user, "email": f"{user}@example.org", "name": f"Name {user}", **cells}


# Definitions


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"break": "x"}, "keyturn_affected: unknown key break; expected some of breaks, of, id"),
        ({"breaks": " "}, "breaks: expected a sentence that says what stops working"),
        ({"of": []}, "of: expected a mapping with type: postgres, file or command"),
        ({"id": None}, "id: expected the column that names a user for good"),
        ({"to": ["email"]}, "to: expected the column with a user's address"),
        ({"id": "email"}, "id: 'email' is the address, too, and ids are shown"),
        ({"message": "Hello"}, "message: expected a mapping with subject and body"),
        ({"message": {"subject": "x"}}, "message.body: expected a text"),
        ({"message": {"subject": "x", "body": "y", "html": "z"}}, "message: unknown key html"),
        ({"message": {"subject": "a\nBcc: b", "body": "y"}}, "message.subject: expected one line"),
        ({"message": {"subject": "{ name }", "body": "y"}}, "'{ name }' is nearly a placeholder"),
        ({"message": {"subject": "x", "body": "{name|upper}"}}, "'{name|' is nearly a placeholder"),
        ({"message": {"subject": "x", "body": "{name.__class__}"}}, "nearly a placeholder"),
        ({"by": "mail"}, "by: expected a mapping with type: mail, webhook, command or file"),
        ({"per_second": 0}, "per_second: expected how many messages a second at most"),
        ({"per_second": "fast"}, "per_second: expected how many messages a second at most"),
        ({"expect_at_most": None}, "expect_at_most: expected the largest number"),
        ({"expect_at_most": True}, "expect_at_most: expected the largest number"),
        ({"expect_at_most": 10_001}, "from 0 to 10000"),
        ({"when_uncertain": "guess"}, "when_uncertain: expected send_again (nobody is missed"),
        ({"keep": {"path": "x"}}, "keep: expected a reference"),
    ],
)
def test_a_definition_that_cannot_be_meant(change: Mapping[str, Any], named: str) -> None:
    with pytest.raises(BadInput) as error:
        read_affected({**GIVEN, **change})
    assert named in error.value.message


@pytest.mark.parametrize(
    ("of", "named"),
    [
        ({}, "of.type: missing; expected one of command, file, postgres"),
        ({"type": "mysql"}, "of.type: 'mysql' is unknown"),
        ({"type": "postgres", "query": "SELECT 1"}, "of.login: expected a mapping"),
        ({"type": "postgres", "login": LOGIN, "query": " ; "}, "of.query: expected a SELECT"),
        (
            {"type": "postgres", "login": LOGIN, "query": "SELECT 1; DROP x"},
            "expected one statement",
        ),
        ({"type": "postgres", "login": LOGIN, "sql": "SELECT 1"}, "of: unknown key sql"),
        ({"type": "file", "path": "users.json"}, "of.path: expected the absolute path"),
        ({"type": "file", "path": "/srv/users"}, "of.format: expected json or csv"),
        ({"type": "command", "argv": "cat users"}, "of.argv: expected a list of words"),
        ({"type": "command", "argv": ["a"], "timeout": "soon"}, "of.timeout"),
    ],
)
def test_a_source_that_cannot_be_meant(of: Mapping[str, Any], named: str) -> None:
    with pytest.raises(BadInput) as error:
        check_source(of, "of")
    assert named in error.value.message


@pytest.mark.parametrize(
    ("by", "named"),
    [
        ({}, "by.type: missing; expected one of command, file, mail, webhook"),
        ({**MAIL, "to": "all@example.org"}, "by.to: it has no meaning here"),
        ({**MAIL, "events": ["success"]}, "by.events: it has no meaning here"),
        ({"type": "mail"}, "by.from: expected a mail address"),
        ({"type": "webhook", "url": "hub"}, "by.url: this is no address"),
        ({"type": "command", "argv": []}, "by.argv: expected a list of words"),
        ({"type": "file", "path": "out"}, "by.path: expected the absolute path"),
        ({"type": "file", "path": "/out", "mode": "0644"}, "by: unknown key mode"),
    ],
)
def test_a_way_that_cannot_be_meant(by: Mapping[str, Any], named: str) -> None:
    with pytest.raises(BadInput) as error:
        check_way(by, "by")
    assert named in error.value.message


# Rows and messages


def test_rows_become_users() -> None:
    affected = read_affected(GIVEN)
    rows = [row("1"), row("1"), row("2", name=None, secret="x"), {**row("3"), "name": True}]
    found = users_of(rows, affected)
    assert list(found) == ["1", "2", "3"]
    assert found["2"] == {"name": "", "email": "2@example.org"}
    assert found["3"]["name"] == "true"
    numbers = parse_json('[{"id": 12345678901234567890, "email": "a@b", "name": 1.10}]', "of")
    assert users_of(numbers, affected) == {"12345678901234567890": {"name": "1.10", "email": "a@b"}}


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([{"id": "1", "email": "a@b"}], "row 1 has no column 'name'; it has: email, id"),
        ([row("1"), row("")], "row 2 has no usable 'id'"),
        ([row("1", id=None)], "row 1 has no usable 'id'"),
        ([row("1\n2")], "row 1 has no usable 'id'"),
        ([row("1"), row("1", name="x")], "the user 1 is there twice, with different columns"),
        ([row("1", name={"first": "x"})], "column 'name' holds no text"),
    ],
)
def test_rows_that_are_no_users(rows: list[dict[str, Any]], named: str) -> None:
    with pytest.raises(BadInput) as error:
        users_of(rows, read_affected(GIVEN))
    assert named in error.value.message


def test_files_of_both_formats() -> None:
    text = 'id,email,name\r\n1,a@b,"Name, one"\r\n\r\n2,c@d,"two\nlines"\r\n'
    rows = [
        {"id": "1", "email": "a@b", "name": "Name, one"},
        {"id": "2", "email": "c@d", "name": "two\nlines"},
    ]
    assert parse_csv(text, "of") == rows
    assert parse_json(json.dumps(rows), "of") == rows
    for wrong in ("", "id,id\n1,2\n", "id,email\n1\n", 'id\n"1'):
        with pytest.raises(BadInput):
            parse_csv(wrong, "of")
    for wrong in ("", "{}", "[1]", "null"):
        with pytest.raises(BadInput):
            parse_json(wrong, "of")


def test_who_cannot_be_told_is_known_before() -> None:
    value = secrets.token_urlsafe(20)
    affected = read_affected(GIVEN)

    def problem(**cells: Any) -> str:
        return problem_of(users_of([row("1", **cells)], affected)["1"], affected, [value])

    assert problem() == ""
    assert problem(email=" ") == "there is no address"
    for broken in ("a\nBcc: all@example.org", "a\rb", "a\u2028b", "a\x85b", "a\x00b", "\ud800"):
        assert "'name' has a line break or another control character" in problem(name=broken)
    assert "'email' has a line break" in problem(email="a@b\nBcc: all@example.org")
    assert problem(name=f"x{value}x") == "its message would hold a value of the credential"


def test_nothing_in_a_row_is_looked_at_again() -> None:
    affected = read_affected(
        {**GIVEN, "message": {"subject": "{name}", "body": '{"a": {name}} {}'}}
    )
    assert affected.subject.render({"name": "{email}{0.__class__}"}) == "{email}{0.__class__}"
    assert affected.body.render({"name": "x"}) == '{"a": x} {}'


def test_addresses_of_mails() -> None:
    mail = open_way(MAIL, Context(), "by")
    assert [mail.problem(good) for good in ("a@b", "a.b+c@d.example", "ä@ö.example")] == [""] * 3
    for bad in ("a", "a@b,c@d", "a b@c", "A <a@b>", "a@b@c", '"a"@b', "a@b;", ""):
        assert mail.problem(bad) == "its address is no mail address"


@pytest.mark.parametrize("word", ["=?utf-8?b?!!?=", "=?utf-8?q?a=2C=0Aa?="])
def test_a_name_that_looks_like_a_header_of_mails_is_only_a_name(word: str) -> None:
    assert open_way(MAIL, Context(), "by").problem(f"{word}@b") == "its address is no mail address"
    channel = open_channel({**MAIL, "to": "a@b"}, Context(), "by")
    assert isinstance(channel, MailChannel)
    payload = {"id": "1.2", "time": "2026-11-22T12:00:00Z", "subject": "", "body": "Text."}
    # Pythons without the mend of CVE-2024-6923 write the line break of the second word as it is.
    mail = channel.message({**payload, "subject": f"=?idna?q??={word}"}).as_string()
    header = mail.partition("\n\n")[0]
    assert "\na" not in header
    assert header.startswith("Subject: = ?idna")
    with pytest.raises(Failed) as failed:
        channel.for_one(f"{word}@b").send({**payload, "subject": "For you"}, 1)
    assert failed.value.final


def test_a_program_that_prints_them(tmp_path: Path) -> None:
    def read(code: str, **more: Any) -> Any:
        of = {"type": "command", "argv": [sys.executable, "-c", code], **more}
        return read_source(of, Context(), "of", lambda _count: None)

    assert read("print('[{\"id\": 1}]')") == [{"id": "1"}]
    with pytest.raises(Unreachable, match="ended with exit code 3; its output is not shown"):
        read("import sys; print('[]'); sys.exit(3)")
    with pytest.raises(Unreachable, match="did not end within"):
        read("import time; time.sleep(60)", timeout=0.2)
    with pytest.raises(BadInput, match="this is no JSON"):
        read("print('hello')")
    with pytest.raises(KeyturnError, match="there is no file"):
        read_source({"type": "file", "path": f"{tmp_path}/x.csv"}, Context(), "of", lambda _n: None)


# The list


def stage(name: str, status: str) -> Stage:
    return Stage(name, status, {"value": Secret(secrets.token_urlsafe(20))}, made=NOW)


def document(**stages: Stage) -> Document:
    return Document("key", secrets.token_bytes(32), **stages)  # type: ignore[arg-type]


def kept(replaced: str = "a", rotation: str = "", **marks: str) -> Kept:
    users = {name: Waiting({"email": "x@y", "name": name}, mark) for name, mark in marks.items()}
    return Kept("key", replaced, "2026-01-09T12:00:00Z", users, rotation)


BEFORE = document(current=stage("a", "observed"))
BEGUN = document(current=stage("a", "observed"), pending=stage("b", "proved"))
CUT_OVER = document(current=stage("b", "cutover"), previous=stage("a", "grace"))
DONE = document(current=stage("b", "observed"), previous=stage("a", "grace"))
RETIRED = document(current=stage("b", "observed"))
TAKEN_OUT = document(previous=replace(stage("a", "grace"), compromised=True))
NEXT = document(current=stage("c", "observed"), previous=stage("b", "grace"))


def test_the_list_is_that_of_before_the_switch() -> None:
    dead = document(
        current=replace(stage("a", "observed"), ended=NOW), pending=stage("b", "issued")
    )
    states = {
        "none": None,
        "before": BEFORE,
        "begun": BEGUN,
        "dead": dead,
        "cut over": CUT_OVER,
        "done": DONE,
        "retired": RETIRED,
        "taken out": TAKEN_OUT,
        "next": NEXT,
    }

    def those(check: Callable[[Any], bool]) -> list[str]:
        return [name for name, state in states.items() if check(state)]

    assert those(is_switched) == ["dead", "cut over", "taken out"]
    same = ["begun", "dead", "cut over", "taken out"]
    assert those(lambda state: is_of_this_rotation(kept(), state)) == same
    assert those(lambda state: is_in_use(kept(), state)) == ["done", "retired"]
    assert is_in_use(kept(rotation="b"), DONE) and not is_in_use(kept(rotation="x"), DONE)
    assert is_in_use(kept(replaced=""), RETIRED), "the first rotation"


def test_who_is_left_is_not_forgotten_by_the_next_rotation() -> None:
    before = kept(
        rotation="b", one="", two="sending", three="failed", four="refused", five="uncertain"
    )
    fresh = {"six": {"email": "n@m", "name": "x"}, "one": {"email": "new@y", "name": "one"}}
    after = taken_anew(before, DONE, fresh, "key", NOW)
    assert set(after.users) == {"one", "two", "three", "six"}
    assert after.users["one"] == Waiting(fresh["one"])
    assert (after.replaced, after.rotation, after.told) == ("b", "", ())
    assert set(taken_anew(before, BEFORE, fresh, "key", NOW).users) == set(fresh), (
        "it was rolled back"
    )


def test_what_is_kept_is_read_again_and_nothing_else_is() -> None:
    listed = replace(kept(rotation="b", one="", two="sending"), told=("abc",))
    assert parse_kept(listed.text(), "here") == listed
    for wrong in ("", "[]", "{}", '{"kind": "keyturn.keyring", "schema": 2}'):
        with pytest.raises(BadInput, match="here"):
            parse_kept(wrong, "here")
    with pytest.raises(Corrupt, match="damaged"):
        parse_kept(listed.text().replace('"users"', '"people"'), "here")
    assert (
        beside("ref+vault://secret/k?token_file=/t")
        == "ref+vault://secret/k.affected?token_file=/t"
    )
    with pytest.raises(BadInput, match=r"keyturn_affected\.keep: missing"):
        beside("ref+awsssm://a/key")


# A run


class World:
    """A keyring in a file, rows in a file, and messages to a file."""

    def __init__(self, folder: Path, *rows: dict[str, Any]) -> None:
        self.folder, self.keyring = folder, folder / "key.json"
        self.rows, self.out, self.kept = (
            folder / "rows.json",
            folder / "out.jsonl",
            folder / "key.json.affected",
        )
        self.rows.write_text(json.dumps(rows))
        self.by: dict[str, Any] = {"type": "file", "path": str(self.out)}
        self.warnings: list[str] = []
        self.put(BEFORE)

    def put(self, state: Document) -> None:
        self.keyring.touch(0o600)
        stages = {name: state.with_fingerprints(item) for name, item in state.stages.items()}
        self.keyring.write_text(dump_text(replace(state, **stages)))  # type: ignore[arg-type]

    def run(self, state: str, check: bool = False, **more: Any) -> dict[str, Any]:
        again = more.pop("again", False)
        own = {"of": {"type": "file", "path": str(self.rows)}, "by": self.by, "per_second": 1000}
        given = {
            "keyring": f"ref+file://{self.keyring}",
            "credential": "key",
            "affected": {**GIVEN, **own, **more},
            "state": state,
            "again": again,
        }
        found = ArgumentSpecValidator(dict(MODULE.argument_spec)).validate(given)
        assert not found.error_messages
        context = Context(check_mode=check, diff=True, now=lambda: NOW, warn=self.warnings.append)
        result: dict[str, Any] = MODULE.run(dict(found.validated_parameters), context)
        return result

    def told(self) -> list[str]:
        if not self.out.exists():
            return []
        return [json.loads(line)["user"] for line in self.out.read_text().splitlines()]


def test_each_is_told_once_and_check_mode_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, row("1"), row("2"))
    assert world.run("told")["changed"] is False
    predicted = world.run("listed", check=True)
    assert predicted["changed"] and predicted["affected"]["count"] == 2
    assert (world.kept.exists(), predicted["diff"]["after"]) == (False, "1\n2\n")
    assert world.run("listed")["changed"] is True
    assert world.run("listed")["changed"] is False
    assert world.kept.stat().st_mode & 0o777 == 0o600
    assert world.run("told")["changed"] is False, "it is not in use yet"

    for state, rows in ((BEGUN, [row("3")]), (CUT_OVER, [row("4")])):
        world.put(state)
        world.rows.write_text(json.dumps(rows))
        # Rows are added until the switch, and not read after it.
        assert world.run("listed")["affected"]["count"] == 3
        assert world.run("told")["changed"] is False
    world.put(DONE)
    assert world.run("told", check=True)["msg"] == "key: 3 users would be told"
    assert world.told() == []
    result = world.run("told")
    assert (result["changed"], result["affected"]["told"], result["affected"]["left"]) == (
        True,
        3,
        0,
    )
    assert world.told() == ["1", "2", "3"]
    assert "example.org" not in json.dumps(result) + world.kept.read_text()
    assert world.run("told")["changed"] is False
    assert world.out.stat().st_mode & 0o777 == 0o600
    message = json.loads(world.out.read_text().splitlines()[0])
    assert (message["to"], message["subject"]) == ("1@example.org", "Webhooks of Name 1")


def test_nothing_keeps_a_switch_that_is_begun_from_its_end(tmp_path: Path) -> None:
    world = World(tmp_path, row("1"))
    world.put(CUT_OVER)
    assert world.run("listed")["changed"] is False
    assert "begun without a list of those whom it affects" in world.warnings[-1]
    world.put(DONE)
    assert world.run("told")["msg"] == "key: nobody was listed as affected, so nobody is told"


def test_more_than_anybody_expects_are_refused(tmp_path: Path) -> None:
    world = World(tmp_path, row("1"), row("2"))
    with pytest.raises(Refused, match="2 users would be told, and at most 1 are expected") as error:
        world.run("listed", expect_at_most=1)
    assert "The run stops before the switch, and nobody was told" in error.value.message
    assert not world.kept.exists()


def ready(folder: Path, *rows: dict[str, Any]) -> World:
    """The list is taken, and the rotation done."""
    world = World(folder, *rows)
    world.run("listed")
    world.put(DONE)
    return world


@pytest.mark.parametrize(("how", "told"), [("send_again", ["1", "2"]), ("leave", ["2"])])
def test_a_message_of_which_nobody_knows_whether_it_went(
    tmp_path: Path, how: str, told: list[str]
) -> None:
    world = ready(tmp_path, row("1"), row("2"))
    # What a run leaves that is killed between a message and its note.
    listed = parse_kept(world.kept.read_text(), "here")
    world.kept.write_text(replace(listed.with_mark("1", "sending"), rotation="b").text())
    if how == "leave":
        with pytest.raises(Refused, match=r"it is not known whether the message went: .*\(ids 1\)"):
            world.run("told", when_uncertain=how)
        after = world.run("told", when_uncertain=how)
        assert (after["changed"], after["msg"]) == (
            False,
            "key: nobody was told; 1 user is left, who is not tried by itself (ids 1)",
        )
    else:
        world.run("told", when_uncertain=how)
    assert any("whether that message went is not known" in text for text in world.warnings)
    assert world.told() == told


def test_a_failure_stops_nobody_else_and_those_left_are_told_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ready(tmp_path, row("1", name="a\nb"), row("2"), row("3"), row("4"), row("5"))
    answers = {
        "2": Failed("status 503"),
        "3": Failed("status 404", final=True),
        "4": Failed("lost", uncertain=True),
    }
    sent: list[str] = []

    class Way:
        def problem(self, _to: str) -> str:
            return ""

        def send(self, payload: Mapping[str, str]) -> None:
            sent.append(payload["user"])
            noted = parse_kept(world.kept.read_text(), "here").users[payload["user"]]
            assert noted.mark == "sending", "a run that is killed here would leave no trace"
            if payload["user"] in answers:
                raise answers[payload["user"]]

    monkeypatch.setattr(_affected_tell, "open_way", lambda *_arguments: Way())
    with pytest.raises(Refused) as error:
        world.run("told")
    message, found = error.value.message, error.value.details["affected"]
    assert "1 user told" in message
    assert "the message failed: status 503 (ids 2)" in message
    assert "1 user it is not known whether the message went: lost (ids 4)" in message
    assert "Mend that, and run the playbook notify_affected" in message
    assert "same playbook" not in message
    assert "2 users cannot be told" in message and "status 404 (ids 3)" in message
    assert (found["failed"], found["refused"], found["uncertain"]) == (["2"], ["1", "3"], ["4"])
    assert error.value.details["changed"] is True
    answers.clear()
    sent.clear()
    world.run("told")
    assert sent == ["2", "4"]
    with pytest.raises(Refused, match="1 user cannot be told"):
        world.run("told", again=True)
    assert sent == ["2", "4", "3"]


def test_a_server_that_is_away_is_not_asked_for_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, *(row(f"{number:02}") for number in range(14)))
    world.run("listed", expect_at_most=20)
    world.put(DONE)

    class Away:
        def problem(self, _to: str) -> str:
            return ""

        def send(self, _payload: Mapping[str, str]) -> None:
            raise Failed("nobody answers")

    monkeypatch.setattr(_affected_tell, "open_way", lambda *_arguments: Away())
    with pytest.raises(
        Refused, match="After 10 failures in a row nobody else was tried; 4 users are left"
    ):
        world.run("told", expect_at_most=20)


def test_one_who_is_left_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, *(row(f"{number:02}") for number in range(11)))
    world.run("listed", expect_at_most=20)
    world.put(DONE)

    class Away:
        def problem(self, _to: str) -> str:
            return ""

        def send(self, _payload: Mapping[str, str]) -> None:
            raise Failed("nobody answers")

    monkeypatch.setattr(_affected_tell, "open_way", lambda *_arguments: Away())
    with pytest.raises(Refused, match="nobody else was tried; 1 user is left"):
        world.run("told", expect_at_most=20)


def test_a_list_that_cannot_be_written_says_who_was_told_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program makes the list's place one that takes no more: a directory stands there."""
    world = ready(tmp_path, row("1"), row("2"), row("3"))
    place = str(world.kept)
    code = (
        "import json, os, sys; user = json.load(sys.stdin)['user']; "
        f"open({str(world.out)!r}, 'a').write(json.dumps({{'user': user}}) + '\\n'); "
        f"user == '2' and (os.rename({place!r}, {place!r} + '.old'), os.mkdir({place!r}))"
    )
    world.by = {"type": "command", "argv": [sys.executable, "-c", code]}
    with pytest.raises(KeyturnError) as error:
        world.run("told")
    assert world.told() == ["1", "2"]
    message = error.value.message
    assert "keyturn_affected.keep" in message
    assert "2 users were told by this run; what became of the message to 2 is not noted" in message
    assert "run the playbook notify_affected" in message and "same playbook" not in message


def test_check_mode_counts_nobody_who_would_not_be_told(tmp_path: Path) -> None:
    world = ready(tmp_path, row("1"), row("2"), row("3", name="a\nb"))
    listed = parse_kept(world.kept.read_text(), "here")
    world.kept.write_text(replace(listed.with_mark("1", "sending"), rotation="b").text())
    assert world.run("told", check=True)["msg"] == "key: 2 users would be told; 1 would not"
    told = world.run("told", check=True, when_uncertain="leave")
    assert told["msg"] == "key: 1 user would be told; 2 would not"
    assert told["diff"]["before"] == "2\n"


def test_two_runs_at_once_tell_nobody_twice(tmp_path: Path) -> None:
    """The program stands for another run, which takes the list from this one."""
    world = ready(tmp_path, row("1"), row("2"))
    code = f"open({str(world.out)!r}, 'a').write('{{\"user\": \"x\"}}\\n'); open({str(world.kept)!r}, 'a').write(' ')"
    world.by = {"type": "command", "argv": [sys.executable, "-c", code]}
    with pytest.raises(Conflict, match=r"nothing was written\. Run again"):
        world.run("told")
    assert world.told() == ["x"]


def test_a_message_with_a_value_of_the_credential_is_not_sent(tmp_path: Path) -> None:
    current = DONE.current
    assert current
    value = current.fields["value"]
    assert isinstance(value, Secret)
    world = ready(tmp_path, row("1", name=value.reveal()), row("2"))
    with pytest.raises(Refused, match=r"would hold a value of the credential \(ids 1\)") as error:
        world.run("told")
    assert value.reveal() not in error.value.message + json.dumps(error.value.details)
    assert world.told() == ["2"]


def test_the_pace_is_kept() -> None:
    waits: list[float] = []
    pace = _affected_tell._Pace(0.01, waits.append)
    pace.keep()
    pace.keep()
    assert len(waits) == 1 and 50 < waits[0] <= 100


def test_a_message_that_fails_keeps_no_compromised_value_from_its_end() -> None:
    """The playbook itself, by its tasks: what comes after a task that failed is only done in an 'always'."""
    path = Path(__file__).parents[2] / "playbooks" / "respond_compromise.yml"
    *_before, last = yaml.safe_load(path.read_text())[-1]["tasks"]
    (told,), (destroyed,) = last["block"], last["always"]
    assert told["vars"]["keyturn_affected_state"] == "told"
    assert destroyed["ansible.builtin.import_role"]["tasks_from"] == "destroy"
