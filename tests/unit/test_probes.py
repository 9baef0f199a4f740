# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of probes that need no server: options, templates, patience, and what counts as a refusal."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    ProbeFailed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import (
    Answer,
    checked_url,
    json_at,
    origin,
    shown_url,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes import (
    Patience,
    ProbeContext,
    not_for,
    presenting,
    run_probe,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._http import (
    judge,
    judge_refused,
    read_wanted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._port import (
    Attempt,
    denied,
    fill,
    names_stage,
    patience_of,
    predicted,
    proved,
    unclear,
    wait_for,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._wire import (
    ACCEPTED,
    REFUSED,
    UNPROVEN,
    judge_error,
)

ISSUER = {"type": "postgres_role", "login": {"host": "db1.example", "dbname": "shop"}}
VALUE = secrets.token_urlsafe(16)


def make_stage(value: Secret | None = None, status: str = "applied") -> Stage:
    return Stage("r1", status, {"username": "app_b", "password": value or Secret(VALUE)}, "d")


@dataclass
class Clock:
    """A clock that only sleeping moves."""

    now: float = 0.0
    lines: list[str] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def ctx(self, check_mode: bool = False, expect: str = "accepted", **more: Any) -> ProbeContext:
        context = Context(
            check_mode=check_mode, progress=self.lines.append, environ=more.pop("environ", {})
        )
        return ProbeContext(
            context, ISSUER, expect=expect, monotonic=self.monotonic, sleep=self.sleep, **more
        )


class Scripted:
    """A probe whose attempts end as written; each takes a second."""

    against = "somewhere"
    blocked = ""

    def __init__(self, clock: Clock, *attempts: Attempt) -> None:
        self.clock, self.attempts, self.given = clock, list(attempts), list[float]()

    def attempt(self, seconds: float) -> Attempt:
        self.given.append(seconds)
        self.clock.now += 1
        return self.attempts.pop(0) if len(self.attempts) > 1 else self.attempts[0]


def test_it_waits_and_says_so() -> None:
    clock = Clock()
    probe = Scripted(clock, *[denied("not yet")] * 6, proved("there"))
    patience = Patience(timedelta(seconds=60), timedelta(seconds=2))
    assert wait_for(probe, patience, clock.ctx(), "login") == "there"
    assert clock.lines[0] == "waiting for login: 1 s of 60 s (not yet)"
    assert clock.lines[1] == "waiting for login: 7 s of 60 s (not yet)"
    assert probe.given[0] == 60
    assert probe.given[1] == 57


def test_a_clear_no_at_the_end_is_a_failed_proof() -> None:
    clock = Clock()
    with pytest.raises(ProbeFailed, match=r"login: refused here \(2 attempts in 4 s\)"):
        wait_for(
            Scripted(clock, denied("refused here")),
            Patience(timedelta(seconds=5)),
            clock.ctx(),
            "login",
        )
    assert clock.now <= 5


def test_no_answer_is_no_proof_either_way() -> None:
    clock = Clock()
    with pytest.raises(Unreachable, match="proves nothing either way"):
        wait_for(
            Scripted(clock, unclear("nothing listens there")),
            Patience(timedelta(seconds=5)),
            clock.ctx(),
            "login",
        )


@pytest.mark.parametrize(("limit", "kind"), [(6.5, ProbeFailed), (9, Unreachable)])
def test_an_attempt_that_the_end_cuts_short_takes_no_answer_back(
    limit: float, kind: type[Exception]
) -> None:
    """The third one begins after 6 s, and has half a second to answer in, or three."""
    clock = Clock()
    probe = Scripted(clock, denied("still accepted"), denied("still accepted"), unclear("too long"))
    patience = Patience(timedelta(seconds=limit), timedelta(seconds=2))
    with pytest.raises(kind, match="still accepted" if kind is ProbeFailed else "too long"):
        wait_for(probe, patience, clock.ctx(), "login")
    assert len(probe.given) == 3


def test_retries_limit_the_attempts() -> None:
    clock = Clock()
    probe = Scripted(clock, denied("no"))
    with pytest.raises(ProbeFailed, match="3 attempts"):
        wait_for(
            probe, Patience(timedelta(seconds=600), timedelta(seconds=1), 2), clock.ctx(), "login"
        )
    assert len(probe.given) == 3


def test_a_probes_own_patience() -> None:
    found = patience_of({"timeout": "2m", "interval": 1, "retries": "4"}, Patience(), "p")
    assert found == Patience(timedelta(minutes=2), timedelta(seconds=1), 4)
    assert patience_of({}, found, "p") == found
    for wrong in ({"timeout": "0s"}, {"retries": "some"}, {"interval": "later"}, {"retries": -1}):
        with pytest.raises(BadInput, match=r"p\."):
            patience_of(wrong, Patience(), "p")


@pytest.mark.parametrize("name", ["stage", "pending", "current", "previous"])
@pytest.mark.parametrize("status", ["applied", "retiring", "grace"])
def test_a_template_shows_the_stage_under_proof_whichever_it_is(name: str, status: str) -> None:
    text = fill(
        f"Basic {{{name}.username}}:{{{name}.password}}",
        make_stage(status=status),
        Clock().ctx(),
        "h",
    )
    assert text.reveal() == f"Basic app_b:{VALUE}"
    assert fill("keyring#/previous/password", make_stage(), Clock().ctx(), "h").reveal() == VALUE
    assert not fill("{stage.password|b64}", make_stage(Secret.new()), Clock().ctx(), "h").known


def test_templates_resolve_references_and_refuse_unknown_fields() -> None:
    ctx = Clock().ctx(environ={"TOKEN": VALUE})
    assert fill("ref+envsubst://$TOKEN", make_stage(), ctx, "h").reveal() == VALUE
    with pytest.raises(BadInput, match="no field 'passwd'"):
        fill("{stage.passwd}", make_stage(), ctx, "h")


def test_what_presents_the_value() -> None:
    probes: list[dict[str, Any]] = [
        {"type": "postgres"},
        {"type": "http", "url": "http://a/health"},
        {
            "type": "http",
            "url": "http://a/health",
            "headers": {"Authorization": "Bearer {stage.value}"},
        },
        {"type": "http", "url": "http://a/health", "body": "{current.value}"},
        {"type": "command", "argv": ["true"]},
        {"type": "command", "argv": ["true"], "environment": {"PW": "{pending.password}"}},
        {"type": "command", "argv": ["true"], "stdin": "keyring#/pending/password"},
        {"type": "drained"},
    ]
    assert [presenting([probe], "probes") for probe in probes] == [1, 0, 1, 1, 0, 1, 1, 0]
    assert "does not present" in not_for(probes[1], "previous", "refused", "p")
    assert not_for(probes[1], "pending", "accepted", "p") == ""
    assert "only for the previous value" in not_for(probes[7], "pending", "accepted", "p")
    assert names_stage("{other.value}") is False


@pytest.mark.parametrize(
    ("probe", "named"),
    [
        ({}, "p.type: missing; expected one of command, drained, http, postgres, s3, stream"),
        ("postgres", "p.type: missing"),
        ({"type": "ping"}, "p.type: 'ping' is unknown"),
        ({"type": "postgres", "prot": 1}, "unknown key prot; expected some of type, name, timeout"),
        ({"type": "postgres", "port": "many"}, "p.port: 'many' is no port"),
        ({"type": "postgres", "sslmode": "on"}, "p.sslmode: 'on' is unknown"),
        ({"type": "postgres", "check": "DELETE FROM t"}, "p.check: a check only reads"),
        (
            {"type": "postgres", "check": "SELECT 1; DELETE FROM t"},
            "p.check: expected one statement",
        ),
        ({"type": "postgres", "check": "SELECT '{stage.password}'"}, "servers log statements"),
        (
            {"type": "postgres", "write": "INSERT INTO t VALUES (1); COMMIT"},
            "p.write: expected one statement",
        ),
        (
            {"type": "postgres", "password": "plain"},
            "p.password: expected a reference, or a template",
        ),
        ({"type": "http"}, "p.url: this is no address"),
        ({"type": "http", "url": "ftp://a"}, "p.url: this is no address"),
        ({"type": "http", "url": "http://me:pw@a/"}, "holds a user name or a password"),
        ({"type": "http", "url": "http://a/?t={stage.value}"}, "p.url: holds a stage's value"),
        ({"type": "http", "url": "http://a/", "headers": ["X"]}, "p.headers: expected a mapping"),
        (
            {"type": "http", "url": "http://a/", "headers": {"X": "a\r\nY: b"}},
            "p.headers.X: holds a line break",
        ),
        ({"type": "http", "url": "http://a/", "status": 99}, "p.status: expected an HTTP status"),
        (
            {"type": "http", "url": "http://a/", "json": {"status": "ok"}},
            "p.json: expected JSON pointers",
        ),
        ({"type": "http", "url": "http://a/", "redirects": "all"}, "p.redirects: 'all' is unknown"),
        ({"type": "command"}, "p.argv: expected a list of words"),
        ({"type": "command", "argv": "true"}, "there is no shell"),
        (
            {"type": "command", "argv": ["x", "{stage.password}"]},
            "seen by every user of the machine",
        ),
        ({"type": "command", "argv": ["x", "ref+file:///pw"]}, "seen by every user of the machine"),
        ({"type": "command", "argv": ["x"], "rc": 256}, "p.rc: expected an exit code"),
        ({"type": "drained"}, "keyturn_issuer.login.admin: missing"),
    ],
)
def test_definitions_that_cannot_be_meant(probe: Any, named: str) -> None:
    with pytest.raises(BadInput) as caught:
        run_probe(probe, make_stage(), Clock().ctx(option="p"))
    assert named in caught.value.message
    assert VALUE not in caught.value.message


def test_a_host_is_needed() -> None:
    ctx = ProbeContext(Context(), {"login": {"dbname": "shop"}}, option="p")
    with pytest.raises(BadInput, match=r"p\.host: missing, here and in keyturn_issuer.login"):
        run_probe({"type": "postgres"}, make_stage(), ctx)


def test_a_command_must_name_the_code_that_means_refused() -> None:
    probe = {"type": "command", "argv": ["true"], "environment": {"A": "{stage.password}"}}
    with pytest.raises(BadInput, match="refused_rc: missing"):
        run_probe(probe, make_stage(), Clock().ctx(expect="refused", option="p"))


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        ({"type": "postgres"}, "the value does not exist yet"),
        (
            {"type": "http", "url": "http://a/", "headers": {"X": "{stage.password}"}},
            "the value does not exist yet",
        ),
        ({"type": "http", "url": "http://a/", "method": "post"}, "check mode sends no POST"),
        ({"type": "command", "argv": ["/nonexistent"]}, "check mode runs no command"),
    ],
)
def test_check_mode_predicts_what_it_cannot_try(probe: dict[str, Any], reason: str) -> None:
    evidence = run_probe(probe, make_stage(Secret.new()), Clock().ctx(check_mode=True))
    assert evidence.predicted
    assert evidence.detail == f"not tried: {reason}"
    assert evidence.as_dict()["predicted"] == "yes"
    assert all(isinstance(text, str) for text in evidence.as_dict().values())


def test_a_clear_no_is_a_prediction_while_steps_are_only_predicted() -> None:
    clock = Clock()
    ctx = replace(clock.ctx(check_mode=True), predicting=True)
    no = Scripted(clock, denied("still accepted"), proved("refused"))
    assert predicted(no, Patience(), ctx, "login") == (
        "not so yet, as expected: still accepted",
        False,
    )
    assert len(no.given) == 1
    assert predicted(no, Patience(), ctx, "login") == ("refused", True)
    with pytest.raises(Unreachable):
        predicted(Scripted(clock, unclear("nothing listens there")), Patience(), ctx, "login")


BODY = json.dumps({"status": "ok", "db": {"up": True, "n": [1, 2]}, "a/b": None}).encode()


@pytest.mark.parametrize(
    ("status", "options", "wrong"),
    [
        (200, {}, ""),
        (503, {}, "status 503, expected 200"),
        (204, {"status": [200, 204]}, ""),
        (200, {"contains": "ok"}, ""),
        (200, {"contains": "fine"}, "does not hold the expected text"),
        (200, {"json": {"/status": "ok", "/db/up": True, "/db/n/1": 2, "/a~1b": None}}, ""),
        (200, {"json": {"/db/n/1": "2", "/db/up": "true"}}, ""),
        (200, {"json": {"/status": "up"}}, "the body's /status is not as expected"),
        (200, {"json": {"/db/n/9": 1}}, "the body's /db/n/9 is missing"),
        (200, {"json": {"/status/deeper": 1}}, "is missing"),
    ],
)
def test_what_an_answer_must_be(status: int, options: dict[str, Any], wrong: str) -> None:
    said = judge(Answer(status, BODY), read_wanted(options, "p"))
    assert wrong in said
    assert bool(said) is bool(wrong)


def test_a_body_that_is_no_json_is_not_quoted() -> None:
    assert (
        judge(Answer(200, b"\xff" + VALUE.encode()), read_wanted({"json": {"/a": 1}}, "p"))
        == "status 200, but the body is no JSON"
    )
    with pytest.raises(json.JSONDecodeError):
        json_at(b"{", "/a")


def test_which_answers_prove_a_refusal() -> None:
    wanted = read_wanted({}, "p")
    assert judge_refused(Answer(401, b""), wanted).done
    assert judge_refused(Answer(403, b""), wanted).done
    still = judge_refused(Answer(200, b""), wanted)
    assert (still.done, still.clear) == (False, True)
    broken = judge_refused(Answer(502, b""), wanted)
    assert (broken.done, broken.clear) == (False, False)


def test_addresses_are_shown_without_what_may_be_secret() -> None:
    assert shown_url("https://h:1/p?token=x#y") == "https://h:1/p"
    assert origin("https://H/x") == origin("https://h:443/y")
    assert origin("http://h/x") != origin("https://h/x")
    for wrong in ("http://", "http://[::1", "nothing", "http://h:99999/"):
        with pytest.raises(BadInput):
            checked_url(wrong, "u")


@pytest.mark.parametrize(
    ("fields", "authenticated", "outcome"),
    [
        ({"C": "28P01", "R": "auth_failed", "M": "пароль"}, False, REFUSED),
        ({"C": "28000", "R": "InitializeSessionUserId"}, True, REFUSED),
        ({"C": "28000", "R": "ClientAuthentication"}, False, UNPROVEN),
        ({"C": "28000"}, False, UNPROVEN),
        ({"C": "3D000", "R": "InitPostgres"}, True, ACCEPTED),
        ({"C": "42501", "R": "CheckMyDatabase"}, True, ACCEPTED),
        ({"C": "3D000"}, False, UNPROVEN),
        ({"C": "53300", "R": "InitProcess"}, False, UNPROVEN),
        ({"C": "57P03", "R": "ProcessStartupPacket"}, False, UNPROVEN),
        ({"C": "08P01", "M": "SASL authentication failed"}, False, REFUSED),
        ({"C": "08P01", "M": "no such user"}, False, REFUSED),
        ({"C": "08P01", "M": 'role "a" is not permitted to log in'}, False, REFUSED),
        ({"C": "08P01", "M": "no such database: x"}, False, UNPROVEN),
        ({"C": "08P01", "M": "no such user", "R": "somewhere"}, False, UNPROVEN),
        (
            {
                "C": "08P01",
                "M": "server login has been failing, try again later (server_login_retry)",
            },
            True,
            UNPROVEN,
        ),
        ({}, False, UNPROVEN),
    ],
)
def test_which_errors_of_a_server_are_a_refusal(
    fields: dict[str, str], authenticated: bool, outcome: str
) -> None:
    assert judge_error(fields, authenticated).outcome == outcome
