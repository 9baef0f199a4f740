# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts with values that check mode only predicts: equal where the real ones will be, different where they will not."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    _replay_to_request,
    request_to_replay,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import (
    parse_sinks,
    render_sinks,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Wanted, bring
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._open import (
    Address,
    open_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._options import Options
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._shown import shown_fields
from ansible_collections.keyturn.runbooks.plugins.module_utils._template import Template
from ansible_collections.keyturn.runbooks.plugins.module_utils._transitions import transition
from hypothesis import given
from hypothesis import strategies as st

SALT = secrets.token_bytes(32)
STATUS = {"pending": "issued", "current": "promoted", "previous": "grace"}
KNOWN = {name: secrets.token_urlsafe() for name in ("old", "older", "token of old")}
Fields = dict[str, Value]
# What a stage can be; two of them hold the same value, and of one nothing exists yet.
STAGES: Mapping[str, Fields] = {
    "r1": {"value": Secret(KNOWN["older"]), "token": Secret("t"), "name": "app_a"},
    "r2": {"value": Secret(KNOWN["old"]), "token": Secret(KNOWN["token of old"]), "name": "app_b"},
    "r3": {"value": Secret(KNOWN["old"]), "token": Secret("t"), "name": "app_a"},
    "(new)": {"value": Secret.new(), "token": Secret.new(), "name": "app_b"},
}
MADE = {name: secrets.token_urlsafe() for name in ("value", "token")}
LIST = "{current,pending,previous.value|join:,}"
PIECES = (
    LIST,
    "{pending,current,previous.value|join:,|b64}",
    "{pending,current.token|sha256|join:;}",
    "{previous,current.value|join:,}",
    "{current.value}",
    "{current.token|urlencode}",
    "{current.name}",
    "{current,previous.name|join}",
    "@",
)
SHOWN = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("/".join)
ROTATIONS = st.sampled_from(sorted(STAGES))
HELD = st.fixed_dictionaries(
    {"current": ROTATIONS}, optional={"pending": ROTATIONS, "previous": ROTATIONS}
)


def document(held: Mapping[str, str], salt: bytes = SALT) -> Document:
    """Which rotation each stage is."""
    stages = {
        name: Stage(rotation, STATUS[name], STAGES[rotation]) for name, rotation in held.items()
    }
    return Document("token", salt, **stages)


def render(text: str, of: Document) -> Secret:
    return Template.parse(text, "sink 'x'").render(of)


def really(of: Document) -> Document:
    """The same once everything exists."""
    stages = {}
    for name in STATUS:
        if stage := of.stage(name):
            fields: Fields = {
                key: Secret(MADE[key]) if isinstance(value, Secret) and not value.known else value
                for key, value in stage.fields.items()
            }
            stages[name] = replace(stage, fields=fields)
    return replace(of, **stages)


@given(SHOWN, HELD, HELD)
def test_two_texts_are_equal_if_they_will_be(
    text: str, held: Mapping[str, str], other: Mapping[str, str]
) -> None:
    one, two = document(held), document(other)
    said = render(text, one), render(text, two)
    done = render(text, really(one)), render(text, really(two))
    assert all(found.known for found in done)
    assert (said[0] == said[1]) is (done[0] == done[1])
    for found, real in zip(said, done, strict=True):
        assert (found == real) is found.known


@given(SHOWN, HELD, st.sampled_from([SALT, bytes(32)]))
def test_what_tells_them_apart_holds_no_value(
    text: str, held: Mapping[str, str], salt: bytes
) -> None:
    found = render(text, document(held, salt))
    if not found.known:
        assert found.reveal().startswith("(new):") and len(found.reveal()) == 38
    of_another = render(text, document(held, secrets.token_bytes(32)))
    assert (found == of_another) is found.known


def test_literal_text_and_filters_tell_them_apart() -> None:
    new = document({"pending": "(new)"})
    texts = ["{pending.value}", "x{pending.value}", "{pending.value}x", "{pending.value|b64}"]
    texts += ["{pending.token}", "{pending.value|b64|b64}", "{pending.value|join:-}"]
    assert len({render(text, new) for text in texts}) == len(texts)


def test_it_is_the_same_text_in_the_tasks_that_follow() -> None:
    run, now = Run("run"), datetime.now(timezone.utc)
    fields: Fields = {"value": Secret.new(), "token": Secret.new()}
    asked = Request("stage", run, "token", salt=SALT, rotation_id="(new)", fields=fields)
    told = _replay_to_request(json.loads(json.dumps(request_to_replay(asked))), run, "token")
    held = Document("token", SALT, current=Stage("r1", "observed", STAGES["r1"]))
    here, there = (transition(held, request, now) for request in (asked, told))
    for text in ("{pending.value}", LIST, "{pending.token|b64}@"):
        assert render(text, here) == render(text, there)
        assert not render(text, here).known


def test_what_a_step_says_of_its_issuer_is_told_to_the_tasks_that_follow() -> None:
    run = Run("run")
    said = dict.fromkeys(("ends", "handed", "take_over", "retain"), True)
    said.update(overlap=False, returns=False)
    asked = Request("issued", run, "token", salt=bytes(32), rotation_id="r2", **said)  # type: ignore[arg-type]
    told = _replay_to_request(json.loads(json.dumps(request_to_replay(asked))), run, "token")
    assert told == asked


def test_a_key_set_follows_from_the_keys_and_their_names() -> None:
    def keys(**kid: Value) -> Document:
        held = {
            name: Stage("r", STATUS[name], {"public": Secret.new(), "kid": value})
            for name, value in kid.items()
        }
        return Document("key", SALT, **held)

    text = "{current,pending.public|jwks}"
    one = render(text, keys(current="one"))
    assert one == render(text, keys(pending="one"))
    assert one != render(text, keys(current="two"))
    assert one != render(text, keys(current=Secret.new()))


def test_a_value_that_cannot_be_encoded_is_found_beside_one_that_is_not_made() -> None:
    half = Stage("r1", "observed", {"value": Secret("\ud800")})
    new = Stage("(new)", "issued", {"value": Secret.new()})
    for text in (LIST, "{pending.value}{current.value}"):
        with pytest.raises(BadInput, match="surrogate"):
            render(text, Document("token", SALT, current=half, pending=new))


def test_each_write_of_a_list_is_foreseen_once(tmp_path: Path) -> None:
    path = tmp_path / "app.env"
    path.write_text(f"TOKENS={KNOWN['old']}\n")
    ref = f"ref+file://{path}?format=env#/TOKENS"
    (sink,) = parse_sinks([{"name": "list", "ref": ref, "template": LIST}])
    address = Address("file", str(path), {"format": "env"}, "x", "sink 'list'")
    context = Context(check_mode=True)

    def foreseen(**held: str) -> bool:
        (rendered,) = render_sinks(document(held), [sink])
        wanted = Wanted("sink 'list'", rendered.fields)
        place = open_place(address, Options("env"), context)
        outcome = bring(place, wanted, no_guard, context)
        after = shown_fields(SALT, wanted, outcome)["TOKENS"]["after"]
        assert rendered.known or after == "(new)"
        return outcome.changed

    assert not foreseen(current="r2")
    assert foreseen(current="r2", pending="(new)")
    assert not foreseen(current="r2", pending="(new)")
    assert foreseen(current="(new)", previous="r2")
    assert not foreseen(current="(new)", previous="r2")
    # The same in another place, and the one that holds the same value.
    assert not foreseen(pending="r3", current="(new)")
    assert foreseen(current="(new)")
    assert foreseen(current="r2")
    assert path.read_text() == f"TOKENS={KNOWN['old']}\n"
