# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which texts carry a compromised value, what the keyring keeps of it until nothing does, and the copies of files."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _old_versions_task
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_document,
    dump_text,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._carried import (
    carrier,
    carrier_of_keyring,
    telling,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._port import numbered
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._ssm import Push
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions_task import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._backup import (
    EACH_DAY,
    destroy,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import Past
from ansible_collections.keyturn.runbooks.plugins.module_utils._template import Template
from ansible_collections.keyturn.runbooks.plugins.module_utils._transitions import transition

NOW = datetime(2026, 1, 31, 22, 0, tzinfo=timezone.utc)
SALT = secrets.token_bytes(32)
EVIDENCE = ({"type": "login", "against": "a", "at": "now", "detail": "refused"},)
ODD = "a b/c+d&\"e'f$g\\h%"


def stage(name: str, status: str, value: str, **marks: Any) -> Stage:
    fields: dict[str, Any] = {"username": name, "password": Secret(value)}
    return Stage(name, status, fields, made=NOW, promoted=NOW, observed=NOW, **marks)


def document(**stages: Any) -> Document:
    made = Document("db_app", SALT, **stages)
    named: dict[str, Any] = {name: made.with_fingerprints(it) for name, it in made.stages.items()}
    return replace(made, **named, retained=tuple(map(made.with_fingerprints, made.retained)))


def step(doc: Document, name: str, **asked: Any) -> Document:
    return transition(doc, Request(name, Run("one"), evidence=EVIDENCE, **asked), NOW)


def ended(value: str, new: str = "") -> Document:
    """A keyring whose compromised value was just proved refused."""
    old = stage("a", "retiring", value, compromised=True)
    current = stage("b", "observed", new or secrets.token_urlsafe())
    return step(document(current=current, previous=old), "retired")


@pytest.mark.parametrize("filters", ["", "|urlencode", "|b64", "|json"])
@pytest.mark.parametrize("value", [ODD, "plain-value_1.2~3", "ein Schlüssel"])
def test_a_value_is_known_in_every_form_that_a_template_gives_it(filters: str, value: str) -> None:
    doc = document(current=stage("a", "observed", value))
    text = Template.parse(f"postgresql://u:{{current.password{filters}}}@db/x", "t").render(doc)
    carries, other = carrier([Secret(value)]), carrier([Secret(secrets.token_urlsafe())])
    for form in (
        text.reveal(),
        json.dumps({"url": text.reveal()}),
        f"A=1\nURL='{text.reveal()}'\n",
    ):
        assert carries(form) and not other(form)


def test_a_value_is_known_where_shells_and_env_files_quote_it() -> None:
    carries = carrier([Secret(ODD)])
    for text in (
        "P='" + ODD.replace("'", "'\\''") + "'",
        'P="' + ODD.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"',
        base64.urlsafe_b64encode(ODD.encode()).decode().rstrip("="),
    ):
        assert carries(text)


def test_a_short_value_counts_only_where_it_stands_alone() -> None:
    carries = carrier([Secret("abc1")])
    assert carries("x=abc1;") and carries('{"p": "abc1"}')
    assert not carries("xabc1") and not carries("abc12")
    assert not carrier([Secret(" ")])("a b") and not carrier([])("")


def test_what_stays_the_same_says_nothing_of_the_value_that_was_replaced() -> None:
    shared, own = Secret(secrets.token_urlsafe()), Secret(secrets.token_urlsafe())
    old = Stage("a", "retained", {"account": shared, "key": own}, compromised=True)
    new = Stage("b", "observed", {"account": shared, "key": Secret(secrets.token_urlsafe())})
    assert telling(document(current=new), [old]) == [own]


def test_versions_are_told_as_ranges() -> None:
    assert numbered(("10", "1", "2", "3", "7")) == "1 to 3, 7, 10"


@pytest.mark.parametrize(("newest", "until", "writes"), [(5, 4, 99), (104, 4, 0), (103, 4, 1)])
def test_how_many_writes_push_a_version_out(newest: int, until: int, writes: int) -> None:
    assert Push(until, Past(newest, Secret("v"))).writes == writes


def test_a_compromised_value_stays_until_nothing_carries_it() -> None:
    value = secrets.token_urlsafe()
    kept = ended(value)
    [old] = kept.retained
    assert old.lingers and old.secret("password") == Secret(value)
    # The answer was ended in its midst: what came into use since is the answer, and not named.
    assert kept.claim and not (step(kept, "compromise").current or old).compromised
    # One that came to its end leaves what it had to leave, and the next exposure is one of its own.
    assert (step(step(kept, "release"), "compromise").current or old).compromised
    with pytest.raises(Refused, match="still has the value"):
        step(kept, "destroyed")
    bare = step(kept, "forget")
    assert value not in dump_text(bare) and value in dump_text(kept)
    assert bare.retained[0].fingerprints == old.fingerprints and bare.retained[0].lingers
    gone = step(bare, "destroyed")
    assert gone.retained[0].destroyed == NOW and not gone.retained[0].lingers
    assert dump_document(gone)["schema"] == 3 and dump_document(bare)["schema"] == 1
    assert parse_document(dump_text(gone)) == gone
    for done in ("forget", "destroyed"):
        claimed = step(gone, "claim")
        assert step(claimed, done) is claimed
    named = step(gone, "compromise").current
    assert named and named.compromised


def test_what_was_replaced_as_ever_is_forgotten_as_ever() -> None:
    old = stage("a", "retiring", secrets.token_urlsafe())
    doc = document(current=stage("b", "observed", secrets.token_urlsafe()), previous=old)
    assert step(doc, "retired").retained == ()


def test_an_older_keyring_is_known_by_the_fingerprint_of_what_it_holds() -> None:
    value, new = secrets.token_urlsafe(), secrets.token_urlsafe()
    bare = step(ended(value, new), "forget")
    carries = carrier_of_keyring(bare, bare.retained)
    before = document(current=stage("a", "observed", value))
    elsewhere = Document("db_app", secrets.token_bytes(32), current=before.current)
    assert carries(dump_text(before)) and carries(dump_text(elsewhere))
    assert carries(dump_text(ended(value, new)))
    for other in (bare, document(current=stage("b", "observed", new))):
        assert not carries(dump_text(other))
    assert not carries("no keyring") and not carries(json.dumps({"secrets": {"other": value}}))


def test_copies_of_a_file_that_carry_it_are_removed(tmp_path: Path) -> None:
    value = secrets.token_urlsafe()
    path = tmp_path / "app.env"
    path.write_text("P=new\n")
    copies = {day: tmp_path / f"app.env.bak.2026010{day}" for day in (1, 2, 3)}
    for day, copy in copies.items():
        copy.write_text(f"P={value if day < 3 else 'other'}\n")
    theirs = tmp_path / "app.env.bak.old"
    theirs.write_text(value)
    gone = [str(copies[1]), str(copies[2])]
    for check, there in ((True, 5), (False, 3)):
        context = Context(check_mode=check)
        found = destroy(str(path), "sink 'app'", EACH_DAY, carrier([Secret(value)]), context)
        assert (
            found == gone
            and len([it for it in tmp_path.iterdir() if "lock" not in it.name]) == there
        )
    assert copies[3].exists() and theirs.exists()


def run(keyring: Path, check: bool = False, **more: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
    params = {**defaults, "keyring": f"ref+file://{keyring}", "credential": "db_app", **more}
    return MODULE.run(params, Context(check, diff=True, warn=lambda _text: None))


def save(path: Path, doc: Document) -> None:
    path.touch(0o600)
    path.write_text(dump_text(doc))


def test_it_ends_in_the_keyring_and_a_second_time_writes_nothing(tmp_path: Path) -> None:
    keyring, value = tmp_path / "keyring.json", secrets.token_urlsafe()
    save(keyring, ended(value))
    before = keyring.read_bytes()
    assert run(keyring, check=True)["changed"] is True and keyring.read_bytes() == before
    done = run(keyring)
    assert done["changed"] is True and value not in json.dumps(done)
    assert "with its value" in done["diff"]["before"] and ", destroyed" in done["diff"]["after"]
    kept = parse_document(keyring.read_text())
    assert kept.retained[0].destroyed and kept.claim is None and value not in keyring.read_text()
    after = keyring.read_bytes()
    assert run(keyring)["changed"] is False and keyring.read_bytes() == after


@pytest.mark.parametrize("status", ["observed", "grace"])
def test_a_value_that_may_be_accepted_is_left_alone(tmp_path: Path, status: str) -> None:
    value, keyring = secrets.token_urlsafe(), tmp_path / "keyring.json"
    exposed = stage("a", status, value, compromised=True)
    other = stage("b", "observed", secrets.token_urlsafe())
    stages = (
        {"current": exposed} if status == "observed" else {"current": other, "previous": exposed}
    )
    again = replace(ended(value), current=document(current=stage("c", "observed", value)).current)
    for doc, words in ((document(**stages), "may still be accepted"), (again, "the same value as")):
        save(keyring, doc)
        before = keyring.read_bytes()
        for check in (True, False):
            with pytest.raises(Refused, match=words):
                run(keyring, check)
        assert keyring.read_bytes() == before


def test_a_host_that_gave_no_answer_fails_the_run_and_the_value_stays(tmp_path: Path) -> None:
    keyring, value = tmp_path / "keyring.json", secrets.token_urlsafe()
    save(keyring, ended(value))
    told = {
        "keyturn_each_sink_host": "app1",
        "sinks": [{"backup": {"destroyed": ["/etc/a.bak.1"]}}],
    }
    away = {"keyturn_each_sink_host": "app2", "kind": "Denied", "msg": "app2 says no"}
    with pytest.raises(Denied, match="app2: app2 says no") as caught:
        run(keyring, copies=[told, away])
    assert [it["destroyed"] for it in caught.value.details["places"]] == [["/etc/a.bak.1"], []]
    assert "by which it is found" in caught.value.message and "come last" in caught.value.message
    assert value in keyring.read_text() and parse_document(keyring.read_text()).claim is None
    with pytest.raises(Denied, match=r"would not destroy everywhere .* Nothing was changed"):
        run(keyring, check=True, copies=[away])
    would = run(keyring, check=True, copies=[told])["msg"]
    assert would == "1 old version with the compromised value would be ended, in 1 place"
    assert run(keyring, copies=[told])["msg"] == would.replace("would be ended", "ended")
    assert value not in keyring.read_text()


def test_what_is_said_once_the_keyring_has_the_value_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own older versions are denied: nobody is told that it keeps the value."""
    keyring, value = tmp_path / "keyring.json", secrets.token_urlsafe()
    save(keyring, ended(value))

    class Denying:
        where = "keyring"

        def look(self, *_given: object) -> Any:
            raise Denied("no right to read older versions")

    monkeypatch.setattr(_old_versions_task, "open_old_keyrings", lambda *_given: Denying())
    with pytest.raises(Denied) as caught:
        run(keyring)
    assert value not in keyring.read_text()
    assert "has the value no more" in caught.value.message
    assert "keeps the value" not in caught.value.message
    monkeypatch.undo()
    run(keyring)
    assert parse_document(keyring.read_text()).retained[0].destroyed
