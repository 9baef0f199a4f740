# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was expected to use a credential, and the record: judged and written by rules alone."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    DENIED,
    DONE,
    Event,
    Known,
    parse_window,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_files import about
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_judge import (
    judge,
    parse_rules,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_record import timeline
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_report import MODULE

SINCE, UNTIL = "2026-03-01T00:00:00.000000Z", "2026-03-02T00:00:00.000000Z"
APP = "arn:aws:sts::111122223333:assumed-role/musehub/i-1"
DEPLOY = "arn:aws:iam::111122223333:role/deploy"
NAME = "/musehub/production/DB_PASSWORD"
RULES = [
    {
        "principal": "arn:aws:sts::*:assumed-role/musehub/*",
        "addresses": [
            "10.20.0.0/16",
            "2001:db8::/32",
            "::ffff:192.0.2.0/120",
            "lambda.amazonaws.com",
        ],
        "reason": "the application",
    },
    {"principal": DEPLOY, "between": "22:00-04:00", "reason": "the nightly deploy"},
]


def read(principal: str = APP, address: str = "10.20.0.5", at: str = "03:00", **more: Any) -> Event:
    moment = f"2026-03-01T{at}:00.000000Z"
    event = Event(moment, principal, "ssm:GetParameter", NAME, DONE, address)
    return replace(event, **more)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (read(), ""),
        (read(address="::ffff:10.20.0.9"), ""),
        (read(address="2001:db8::7"), ""),
        (read(address="2001:db8::7%eth0"), ""),
        (read(address="::ffff:192.0.2.9"), ""),
        (read(address="192.0.2.9"), "this address is not expected of it"),
        (read(address="2001:db9::7"), "this address is not expected of it"),
        (read(address="10.20.0.5, 198.51.100.7"), "this address is not expected of it"),
        (read(address="10.20.0.5\u200b"), "this address is not expected of it"),
        (read(address="lambda.amazonaws.com"), ""),
        (read(address="198.51.100.7"), "this address is not expected of it"),
        (read(address=""), "no address is told"),
        (read(address="cloudformation.amazonaws.com"), "this address is not expected of it"),
        (read(address="AWS Internal", behind=True), ""),
        (read("arn:aws:iam::111122223333:user/eve"), "this principal is not expected"),
        (read("deploy-session", "198.51.100.7", "23:59", via=DEPLOY), ""),
        (read(DEPLOY, "", "22:00"), ""),
        (read(DEPLOY, "", "04:00"), "this time of day (UTC) is not expected of it"),
        (read(DEPLOY, "", "12:00"), "this time of day (UTC) is not expected of it"),
    ],
)  # fmt: skip
def test_a_read_is_expected_by_one_rule_as_a_whole(event: Event, why: str) -> None:
    verdict = judge(event, parse_rules(RULES, "expected"))
    assert verdict.expected is not bool(why)
    if why:
        assert verdict.why == why


def test_two_rules_about_one_principal_are_not_mixed() -> None:
    rules = parse_rules(
        [
            {"principal": APP, "addresses": ["10.1.0.0/16"], "between": "01:00-02:00", "reason": "a"},
            {"principal": APP, "addresses": ["10.2.0.0/16"], "between": "03:00-04:00", "reason": "b"},
        ],
        "expected",
    )  # fmt: skip
    assert judge(read(address="10.2.0.1", at="03:30"), rules).why == "b"
    crossed = judge(read(address="10.1.0.1", at="03:30"), rules)
    assert not crossed.expected
    assert crossed.why == "this address is not expected of it at this time"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("everybody", "expected[0]: expected a mapping"),
        ({"reason": "x"}, "expected[0].principal: missing"),
        ({"principal": "x"}, "expected[0].reason: missing"),
        ({"principal": "*", "reason": "x"}, "expects everybody from everywhere"),
        ({"principal": "x", "reason": "x", "address": "10.0.0.0/8"}, "unknown key address"),
        ({"principal": "x", "reason": "x", "addresses": ["10.0.0.1/8"]}, "addresses[0]: '10.0.0.1/8'"),
        ({"principal": "x", "reason": "x", "addresses": ["office"]}, "'office' is no address"),
        ({"principal": "x", "reason": "x", "addresses": {"a": 1}}, "expected a list of networks"),
        ({"principal": "x", "reason": "x", "between": "24:00-06:00"}, "is no part of a day"),
        ({"principal": "x", "reason": "x", "between": 79200}, "is no part of a day"),
        ({"principal": "x", "reason": "x", "between": "06:00-06:00"}, "ends when it begins"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_meant_is_refused(rule: Any, said: str) -> None:
    with pytest.raises(BadInput) as error:
        parse_rules([rule], "expected")
    assert said in error.value.message


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("yesterday", UNTIL, "since: 'yesterday' is no time"),
        ("2026-03-01T00:00:00", UNTIL, "since: '2026-03-01T00:00:00' has no time zone"),
        (SINCE, None, "until: '' is no time"),
        (UNTIL, SINCE, "is not after since"),
    ],
)
def test_a_window_that_cannot_be_meant_is_refused(since: Any, until: Any, said: str) -> None:
    with pytest.raises(BadInput) as error:
        parse_window(since, until)
    assert said in error.value.message


def looked(*events: Event, name: str = "trail", **more: Any) -> dict[str, Any]:
    told = {"type": "cloudtrail", "about": "reads", "since": SINCE, "until": UNTIL, "seen": 9}
    found = [event.as_dict() for event in events]
    return {**told, "events": found, "gaps": [], "item": {"name": name}, **more}


def failed(kind: str, message: str) -> dict[str, Any]:
    return {"failed": False, "kind": kind, "msg": message, "item": {"name": "vault", "host": "v1"}}


class Report:
    """The module's core on files of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warnings: list[str] = []

    def run(self, check: bool = False, **options: Any) -> dict[str, Any]:
        given = {
            "credential": "db_musehub",
            "since": SINCE,
            "until": UNTIL,
            "reason": "the password was in a log",
            "run": {"who": "alice"},
            "expected": RULES,
            "output_markdown": str(self.folder / "record.md"),
            "output_json": str(self.folder / "record.json"),
            **options,
        }
        validation = ArgumentSpecValidator(dict(MODULE.argument_spec)).validate(given)
        assert not validation.error_messages, validation.error_messages
        context = Context(check, True, warn=self.warnings.append)
        return MODULE.run(validation.validated_parameters, context)

    def texts(self) -> tuple[str, str]:
        return tuple((self.folder / f"record.{kind}").read_text() for kind in ("md", "json"))  # type: ignore[return-value]  # two kinds make two texts


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(tmp_path)


def test_the_record_is_written_once_and_is_the_same_again(report: Report) -> None:
    given = {
        "looked": [
            looked(
                read(),
                read(at="04:00"),
                read(DEPLOY, "198.51.100.7", "12:00", agent="curl/8"),
                read(outcome=DENIED, detail="AccessDenied"),
            ),
            failed("Denied", "vault_audit: /var/log/vault/audit.log may not be read"),
        ]
    }
    predicted = report.run(check=True, **given)
    assert list(report.folder.iterdir()) == []
    done = report.run(**given)
    assert done["changed"] is predicted["changed"] is True
    assert done["diff"] == predicted["diff"]
    assert done["summary"]["reads"] == {"unexpected": 1, "denied": 1, "failed": 0, "expected": 2}
    text, data = report.texts()
    record = json.loads(data)
    assert record["reads"]["expected"][0]["count"] == 2
    assert record["not_looked_at"][0] == {
        "source": "vault",
        "kind": "Denied",
        "why": "vault_audit: /var/log/vault/audit.log may not be read",
    }
    assert "They do not say that nobody read the value" in text
    assert text.index("### Not expected: 1") < text.index("### Denied: 1")
    assert text.index("### Denied: 1") < text.index("### Expected: 2")
    modes = [path.stat().st_mode & 0o777 for path in report.folder.glob("record.*")]
    assert modes == [0o600, 0o600]
    assert done["failing"][0] == "reads that were not expected: 1"
    again = report.run(**given)
    assert again["changed"] is False
    assert again["diff"] == []
    assert report.texts() == (text, data)


@pytest.mark.parametrize("option", ["output_markdown", "output_json"])
def test_the_record_of_another_credential_is_left_as_it_is(report: Report, option: str) -> None:
    report.run(credential="db_one", looked=[looked()])
    before = report.texts()
    path = report.folder / f"record.{'md' if option == 'output_markdown' else 'json'}"
    alone = {"output_markdown": "", "output_json": "", option: str(path)}
    with pytest.raises(BadInput, match=rf"{option}: .* of another credential, `?db_one`?; it was"):
        report.run(credential="db_two", looked=[looked(read())], **alone)
    assert report.texts() == before
    assert report.run(credential="db_one", looked=[looked(read())], **alone)["changed"] is True


def test_nothing_looked_at_is_not_nothing_found(report: Report) -> None:
    report.run(looked=[failed("Unreachable", "no answer")])
    text, _data = report.texts()
    assert "None was found" not in text
    assert "Not known: nothing that tells it was looked at, so nobody knows." in text
    report.run(looked=[looked()])
    assert "None was found in what was looked at." in report.texts()[0]
    report.run(looked=[looked(gaps=["the log begins later"])])
    assert "None was found in what was looked at. Not all was looked at" in report.texts()[0]
    assert "- [ ] `trail: the log begins later`" in report.texts()[0]


def test_no_value_and_no_markup_comes_out_of_a_log(report: Report) -> None:
    value, other = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    event = read(
        f"arn:aws:sts::1:assumed-role/x/{value}",
        agent=f"x {other} key={other}",
        detail=f"| <img src=x> `@everyone` {value.upper()}",
        target=f"\ud800{value[4:20]}\x1b[31m\n# head",
    )
    report.run(
        looked=[looked(event)], redact=[value], reason=f"it was {value}", open_points=[value]
    )
    text, data = report.texts()
    for hidden in (value, value.upper(), value[4:14], other):
        assert hidden not in text + data
    assert "\n# head" not in text
    assert "`\u00a6 <img src=x> '@everyone'" in text


@pytest.mark.parametrize(
    ("sign", "shown"),
    [
        ("\u200b", "\\u200b"),
        ("\u202e", "\\u202e"),
        ("\x1b[0m", "\\x1b[0m"),
        ("\0", "\\x00"),
        ("\n", "\\n"),
        (" ", "\\x20"),
        ("\u00a0", "\\xa0"),
        ("\u0456", "\u0456"),
    ],
)
def test_a_name_that_looks_like_an_expected_one_is_told_from_it(
    report: Report, sign: str, shown: str
) -> None:
    rules = [{"principal": "musehub", "reason": "the application"}]
    done = report.run(looked=[looked(read(f"musehub{sign}"), read("musehub"))], expected=rules)
    found = done["record"]["reads"]
    assert [row["principal"] for row in found["unexpected"]] == [f"musehub{shown}"]
    assert found["expected"][0]["count"] == 1


def test_a_line_of_the_ledger_of_no_possible_time_keeps_no_record_back() -> None:
    window = parse_window(SINCE, UNTIL)
    lines = [{"time": "0001-01-01T00:00:00+02:00"}, {"time": "2026-03-01T01:00:00Z", "phase": "promote"}]  # fmt: skip
    assert [line["phase"] for line in timeline(lines, window, Known())] == ["promote"]


def test_names_are_shown_as_they_are_but_for_values_and_their_length() -> None:
    value = secrets.token_urlsafe(24)
    known = Known([value])
    assert known.identity(f"a\u200b{value}b") == "a\\u200b(hidden)b"
    inside = known.identity(f"x {value[:9]}\u200b{value[9:]}")
    assert inside == "x (hidden)"
    long = known.identity("x" * 401)
    assert (len(long), long[-4:]) == (400, "x...")
    assert known.identity(long) == long
    assert known.identity(inside) == inside


@pytest.mark.parametrize("text", ["a|b", "a\\|b", "a\\\\|<img src=x>|b", "`|`", "a\\"])
def test_no_text_of_a_log_leaves_its_cell(report: Report, text: str) -> None:
    report.run(looked=[looked(read("eve", agent=text, target=text, detail=text))])
    lines = report.texts()[0].splitlines()
    row = next(line for line in lines if "`eve`" in line)
    assert row.count("|") == 8
    assert all(cell.count("`") % 2 == 0 for cell in row.split("|"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"output_json": "{folder}/record.md"}, "output_json: this is the file of output_markdown"),
        ({"output_json": "", "contacts": [{"type": "command", "argv": ["x"]}]}, "contacts: 'output_json' is missing"),
        ({"contacts": [{"type": "pigeon"}]}, "contacts[0].type: expected one of"),
        ({"contacts": [{"type": "webhook", "url": "nowhere"}]}, "contacts[0].url"),
        ({"contacts": [{"type": "mail", "payload": {"a": "b"}}]}, "contacts[0].payload: for webhook and command alone"),
        ({"contacts": [{"type": "webhook", "url": "https://x.example", "payload": ["{title}"]}]}, "payload: expected a mapping"),
        ({"contacts": [{"type": "command", "argv": ["x"], "payload": {"a": ["{titel}"]}}]}, "payload.a[0]: nothing is called {titel}"),
        ({"contacts": [{"type": "command", "argv": ["x"], "payload": {"a": "ref+file:///x"}}]}, "payload.a: a reference is not resolved"),
        ({"output_markdown": "{folder}/away/record.md"}, "output_markdown"),
        ({"output_markdown": "{folder}/notes.md"}, "is no record of an incident; it was left as it is"),
        ({"looked": [{"events": [{"outcome": "perhaps"}], "since": SINCE, "until": UNTIL}]}, "looked[0].events[0]: expected events"),
        ({"looked": [{"events": 7, "since": SINCE, "until": UNTIL}]}, "looked[0].events: expected a list"),
        ({"looked": [{"events": [], "since": UNTIL, "until": UNTIL}]}, "was looked at for another window"),
        ({"timeout": "soon"}, "timeout: 'soon' is no duration"),
        ({"credential": None}, "credential: missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_and_nothing_written(
    report: Report, options: dict[str, Any], said: str
) -> None:
    (report.folder / "notes.md").write_text("my notes\n")
    given = {
        name: value.replace("{folder}", str(report.folder)) if isinstance(value, str) else value
        for name, value in options.items()
    }
    with pytest.raises(KeyturnError) as error:
        report.run(**given)
    assert said in error.value.message
    assert [path.name for path in report.folder.iterdir()] == ["notes.md"]


def test_a_contact_is_told_once_and_again_when_it_could_not_be(report: Report) -> None:
    kept = report.folder / "told"
    gate = report.folder / "gate"
    script = f"test -e {gate} && cat >> {kept}"
    contact = {"name": "tracker", "type": "command", "argv": ["/bin/sh", "-c", script]}
    given = {"looked": [looked(read(DEPLOY, at="12:00"))], "contacts": [contact]}
    missed = report.run(**given)
    assert "tracker was not told" in missed["failing"][-1]
    assert len(report.warnings) == 1
    gate.touch()
    assert report.run(check=True, **given)["changed"] is True
    assert not kept.exists()
    assert report.run(**given)["notifications"][0]["sent"] is True
    assert report.run(**given)["changed"] is False
    (told,) = kept.read_text().splitlines()
    payload = json.loads(told)
    assert payload["title"] == "[keyturn] incident: db_musehub"
    assert payload["body"] == report.texts()[0]
    report.run(**{**given, "open_points": ["call the vendor"]})
    assert len(kept.read_text().splitlines()) == 2


class Tracker(BaseHTTPRequestHandler):
    """An issue tracker that takes what GitHub and GitLab document: a title, and a text that is not too long."""

    def do_POST(self) -> None:
        server: Any = self.server
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.taken.append((self.headers, given))
        text = given.get("body", given.get("description", ""))
        fits = 0 < len(given.get("title", "")) < 256 and 0 < len(text) < 65536
        known = {"title", "body", "description", "labels", "confidential"}
        self.send_response(201 if fits and set(given) <= known else 422)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        """Nothing."""


def test_an_issue_tracker_gets_what_it_takes(report: Report) -> None:
    server: Any = HTTPServer(("127.0.0.1", 0), Tracker)
    server.taken = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/api/v4/projects/7/issues"
    github = {"title": "{title}", "body": "{body}", "labels": ["incident"]}
    gitlab = {"title": "{credential}: leak", "description": "{body}", "confidential": True}
    many = [read(f"{DEPLOY}/{number}", detail="a b " * 90, at="12:00") for number in range(400)]
    given = {
        "looked": [looked(*many)],
        "contacts": [
            {"name": str(number), "type": "webhook", "url": address, "payload": payload}
            for number, payload in enumerate((github, gitlab))
        ],
    }
    done = report.run(**given)
    assert [item["error"] for item in done["notifications"]] == ["", ""]
    (headers, first), (_headers, second) = server.taken
    assert headers["User-Agent"] and headers["Content-Type"] == "application/json"
    assert first["title"] == "[keyturn] incident: db_musehub"
    assert second["title"] == "db_musehub: leak"
    assert second["confidential"] is True
    assert len(report.texts()[0]) > 65536
    for text in (first["body"], second["description"]):
        assert text.startswith("# Incident")
        assert "The rest does not fit here" in text[-60:]
    assert report.run(**given)["changed"] is False
    server.shutdown()
    server.server_close()


def test_only_our_own_files_are_replaced() -> None:
    assert about("# Incident: `x`\n") == "`x`"
    assert about('{"kind": "keyturn.incident"}') == ""
    for text in ("notes", "{}", "[1]", '{"kind": 3}'):
        assert about(text) is None


def test_names_are_shown_and_known_values_are_not() -> None:
    value = secrets.token_urlsafe(24)
    known = Known([value])
    assert known.named(APP) == APP
    assert known.named("i-0abcdef1234567890") == "i-0abcdef1234567890"
    assert value[3:15] not in known.named(f"x{value[3:15]}y")
    assert (
        known.free("aws-cli/2.13.5 Python/3.11.4 Linux/5.15")
        == "aws-cli/2.13.5 Python/3.11.4 Linux/5.15"
    )
