# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The template language: what is a placeholder, what each one gives, and what every mistake says."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._template import (
    FILTERS,
    NAMES,
    StageAbsent,
    Template,
)
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

STATUS = {"pending": "issued", "current": "observed", "previous": "grace", "retained": "retained"}


def stage(name: str, fields: dict[str, Value] | None = None, **marks: Any) -> Stage:
    return Stage(
        f"r-{name}",
        marks.pop("status", STATUS[name]),
        fields or {"value": Secret(f"v-{name}")},
        **marks,
    )


def document(**stages: Any) -> Document:
    return Document("db", bytes(range(32)), **stages)


FULL = document(
    pending=stage("pending"),
    current=stage("current"),
    previous=stage("previous"),
    retained=(stage("retained"), stage("retained", {"value": Secret("older")})),
)


def render(text: str, doc: Document = FULL) -> str:
    return Template.parse(text, "sink 'x'").render(doc).reveal()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{current.value}", "v-current"),
        ("a{current.value}b{previous.value}c", "av-currentbv-previousc"),
        ("{current,pending,previous.value|join:,}", "v-current,v-pending,v-previous"),
        ("{previous,current.value|join}", "v-previous,v-current"),
        ("{current,pending.value|join: ; }", "v-current ; v-pending"),
        ("{current,pending.value|join:}", "v-currentv-pending"),
        ("{current,retained.value|join:,}", "v-current,v-retained,older"),
        ("{current.value|join:,}", "v-current"),
        ("{current.value|b64}", base64.b64encode(b"v-current").decode()),
        ("{current.value|sha256}", hashlib.sha256(b"v-current").hexdigest()),
        ('{"token": {current.value|json}}', '{"token": "v-current"}'),
        ("[{current,pending.value|json|join:,}]", '["v-current","v-pending"]'),
        ("{current,pending.value|join:,|b64}", base64.b64encode(b"v-current,v-pending").decode()),
    ],
)
def test_what_placeholders_give(text: str, expected: str) -> None:
    assert render(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "{ }",
        "{{}}",
        "{a}",
        '{"a": {"b": 1}}',
        "${HOME}",
        "{1.2}",
        "{.x}",
        "{a b.c}",
        "}{",
        "{value}",
    ],
)
def test_other_braces_are_literal(text: str) -> None:
    assert render(text) == text


def test_braces_around_a_placeholder_are_literal() -> None:
    assert render("{{current.value}}") == "{v-current}"


@given(st.text())
def test_text_without_braces_round_trips(text: str) -> None:
    literal = text.replace("{", "").encode("utf-8", "ignore").decode()
    assert render(literal) == literal


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    st.text(alphabet=st.characters(exclude_categories=["Cs"])),
)
def test_a_value_is_never_read_as_a_template(value: str, around: str) -> None:
    around = around.replace("{", "")
    doc = document(current=stage("current", {"value": Secret(value)}))
    assert render(around + "{current.value}" + around, doc) == around + value + around


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_filters_can_be_undone(value: str) -> None:
    doc = document(current=stage("current", {"value": Secret(value)}))
    assert base64.b64decode(render("{current.value|b64}", doc)).decode() == value
    assert json.loads(render("{current.value|json}", doc)) == value
    assert unquote(render("{current.value|urlencode}", doc)) == value


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_password_in_a_url_is_read_back(value: str) -> None:
    doc = document(current=stage("current", {"username": "app", "password": Secret(value)}))
    url = render("postgresql://{current.username}:{current.password|urlencode}@db1:6432/app", doc)
    assert unquote(urlsplit(url).password or "") == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ab{curent.value}", ["sink 'x'", "character 3", "'curent'", *NAMES]),
        ("{current,next.value|join:,}", ["'next'", *NAMES]),
        ("{current,current.value|join:,}", ["twice"]),
        ("é{current.value|upper}", ["character 2", "'upper'", *FILTERS]),
        ("{current.value|b64:x}", ["'b64'", "no argument"]),
        ("{current.value|b64|jwks}", ["jwks", "first"]),
        ("{current.value | b64}", ["character 1", "without spaces"]),
        ("x{ current.value}", ["character 2", "without spaces"]),
        ("{current}", ["character 1", "{stage.field}"]),
        ("{current.value|}", ["character 1"]),
        ("{current.", ["character 1"]),
        ("{current.{current.value}}", ["character 1"]),
    ],
)
def test_mistakes_name_the_sink_the_place_and_what_there_is(text: str, says: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        Template.parse(text, "sink 'x'")
    assert all(part in caught.value.message for part in says)


def test_an_unknown_field_lists_the_fields() -> None:
    doc = document(
        current=stage("current", {"username": "app", "password": Secret(secrets.token_urlsafe())})
    )
    with pytest.raises(BadInput) as caught:
        render("{current.pasword}", doc)
    assert "'pasword'" in caught.value.message
    assert "password, username" in caught.value.message


def test_several_values_must_be_joined_also_when_only_predicted() -> None:
    template = Template.parse("{current,pending.value}", "sink 'x'")
    for pending in (stage("pending"), stage("pending", {"value": Secret.new()})):
        with pytest.raises(BadInput) as caught:
            template.render(document(current=stage("current"), pending=pending))
        assert "join" in caught.value.message and "2 stages" in caught.value.message
    assert template.render(document(current=stage("current"))).reveal() == "v-current"


@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("pending", {"status": "intended"}),
        ("pending", {"status": "abandoning"}),
        ("previous", {"status": "retiring"}),
        ("previous", {"compromised": True, "status": "retained"}),
    ],
)
def test_a_stage_that_nobody_may_use_renders_as_absent(name: str, marks: dict[str, Any]) -> None:
    doc = document(current=stage("current"), **{name: stage(name, **marks)})
    assert render("{current,pending,previous.value|join:,}", doc) == "v-current"
    with pytest.raises(StageAbsent) as caught:
        render("=>{" + name + ".value}", doc)
    assert "sink 'x'" in caught.value.message and "character 3" in caught.value.message


def test_what_was_rolled_back_is_still_shown_to_whoever_checks() -> None:
    doc = document(current=stage("current"), previous=stage("previous", failed=True))
    assert render("{current,previous.value|join:,}", doc) == "v-current,v-previous"


def test_a_list_without_any_stage_is_absent_and_not_empty() -> None:
    with pytest.raises(StageAbsent):
        render("{pending,previous.value|join:,}", document(current=stage("current")))


def test_a_predicted_value_makes_the_whole_text_predicted() -> None:
    doc = document(current=stage("current"), pending=stage("pending", {"value": Secret.new()}))
    template = Template.parse("{current.value},{pending.value|sha256}", "sink 'x'")
    assert not template.render(doc).known
    assert Template.parse("{current.value}", "sink 'x'").render(doc).known


def test_half_a_surrogate_pair_is_refused_without_showing_the_value() -> None:
    doc = document(current=stage("current", {"value": Secret("geheim\ud800")}))
    with pytest.raises(BadInput) as caught:
        render("{current.value|b64}", doc)
    assert "geheim" not in caught.value.message
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_what_a_template_uses() -> None:
    template = Template.parse("{current.username}:{current,pending.password|join:,}", "sink 'x'")
    assert template.uses("current", "username") and not template.uses("pending", "username")


def _pem(key: Any) -> str:
    return str(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def test_jwks_shows_the_public_keys_of_all_stages() -> None:
    rsa_key, ec_key, ed_key = (
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
    )
    doc = document(
        current=stage("current", {"kid": "a", "public": _pem(rsa_key)}),
        pending=stage("pending", {"kid": "b", "public": _pem(ec_key)}),
        previous=stage("previous", {"kid": "c", "public": _pem(ed_key)}),
    )
    keys = json.loads(render("{current,pending,previous.public|jwks}", doc))["keys"]
    assert [(key["kid"], key["kty"], key["alg"]) for key in keys] == [
        ("a", "RSA", "RS256"),
        ("b", "EC", "ES256"),
        ("c", "OKP", "EdDSA"),
    ]
    public = rsa_key.public_key().public_numbers()
    assert (_number(keys[0]["n"]), _number(keys[0]["e"])) == (public.n, public.e)
    point = ec_key.public_key().public_numbers()
    assert (_number(keys[1]["x"]), _number(keys[1]["y"])) == (point.x, point.y)
    raw = ed_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert _number(keys[2]["x"]) == int.from_bytes(raw, "big")
    assert not {"d", "p", "q"} & {name for key in keys for name in key}


def test_jwks_needs_a_key_id_and_a_public_key() -> None:
    with pytest.raises(BadInput, match="'kid'"):
        render("{current.value|jwks}")
    with pytest.raises(BadInput, match="no public key"):
        render(
            "{current.public|jwks}",
            document(current=stage("current", {"kid": "a", "public": "no key"})),
        )
