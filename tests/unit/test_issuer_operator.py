# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The definitions of the issuers ``operator`` and ``rtmp_ingest``, and what they can do."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Waiting
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import Issuer, open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

CONTEXT = Context()
VALUES = {"values": {"key": "ref+file:///nowhere/new.key"}}


def operator(**definition: Any) -> Issuer:
    given = {"type": "operator", "overlap": False, "platform": "twitch", **VALUES, **definition}
    return open_issuer(given, CONTEXT)


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ({"overlap": "perhaps"}, r"keyturn_issuer\.overlap: 'perhaps' is neither true nor false"),
        (
            {"overlap": True},
            r"keyturn_issuer\.overlap: twitch ends the key in use .*overlap: false",
        ),
        ({"platform": "elsewhere"}, r"keyturn_issuer\.make: missing; .*\(twitch, youtube\)"),
        (
            {"platform": "x", "make": "here", "overlap": True},
            r"keyturn_issuer\.end: missing; tell where a person ends the old value",
        ),
        ({"make": ["click"]}, r"keyturn_issuer\.make: expected a text"),
        ({"values": {}}, r"keyturn_issuer\.values: expected field and reference"),
        ({"values": {"the key": "ref+file:///a"}}, r"keyturn_issuer\.values: a field's name"),
        ({"values": {"key": "live_1234"}}, r"keyturn_issuer\.values\.key"),
        (
            {"values": {"reason": "ref+file:///a"}},
            r"keyturn_issuer\.values: 'reason' .*promoted, reason, rotation_id",
        ),
        ({"value": "ref+file:///a"}, r"keyturn_issuer: unknown key value; expected some of"),
    ],
)
def test_a_wrong_definition(definition: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        operator(**definition)
    assert "live_1234" not in refused.value.message


def test_whether_the_old_one_lives_on_has_to_be_said() -> None:
    with pytest.raises(BadInput, match=r"keyturn_issuer\.overlap: missing; true where"):
        open_issuer({"type": "operator", "platform": "twitch", **VALUES}, CONTEXT)


@pytest.mark.parametrize("overlap", [True, False])
def test_what_a_platform_can_do_follows_from_how_a_key_is_made(overlap: bool) -> None:
    issuer = operator(platform="youtube", overlap=overlap)
    assert (issuer.overlap, issuer.cutover, issuer.returns) == (overlap, False, overlap)
    assert issuer.propose(None, {}, CONTEXT) == {}
    with pytest.raises(BadInput, match="a person makes the value"):
        issuer.check_generate({"key": {"type": "hex"}}, CONTEXT)


def test_only_a_new_value_is_taken(tmp_path: Path) -> None:
    place = tmp_path / "new.key"
    place.touch(0o600)
    issuer = operator(values={"key": f"ref+file://{place}"})
    current, previous, new = (secrets.token_urlsafe(20) for _number in range(3))
    stages = [Stage("r1", "observed", {"key": Secret(current)}), Stage("r0", "grace", {"key": Secret(previous)})]  # fmt: skip
    document = Document("tw", b"s", current=stages[0], previous=stages[1])
    intended = Stage("r2", "intended", {})
    for text, told in ((f"{current}\n", "the value in use"), (previous, "the value before it"), ("\n", "no value yet")):  # fmt: skip
        place.write_text(text)
        with pytest.raises(Waiting, match=told) as waiting:
            issuer.issue(intended, document, CONTEXT, no_guard)
        assert "dashboard.twitch.tv" in waiting.value.message
        assert current not in waiting.value.message
    place.write_text(f"{new}\r\n")
    assert issuer.issue(intended, document, CONTEXT, no_guard) == {"key": Secret(new)}
    predicted = issuer.issue(intended, document, Context(check_mode=True), no_guard)["key"]
    assert isinstance(predicted, Secret)
    assert not predicted.known


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ({"stat": "ftp://ingest/stat"}, r"keyturn_issuer\.stat: this is no address"),
        ({"applications": ["live"]}, r"keyturn_issuer\.stat: this is no address"),
        ({"stat": "http://a/s", "applications": "live"}, r"keyturn_issuer\.applications: expected a list"),
        ({"stat": "http://a/s", "timeout": "0s"}, r"keyturn_issuer\.timeout: expected more than 0"),
        ({"fields": ["key"]}, r"keyturn_issuer: unknown key fields"),
    ],
)  # fmt: skip
def test_a_wrong_ingest(definition: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        open_issuer({"type": "rtmp_ingest", **definition}, CONTEXT)


def test_an_ingest_takes_several_keys_unless_told_otherwise() -> None:
    issuer = open_issuer({"type": "rtmp_ingest"}, CONTEXT)
    assert (issuer.overlap, issuer.cutover, issuer.returns) == (True, False, True)
    assert issuer.secret_fields == {"key"}
    assert issuer.sessions(Stage("r", "grace", {"key": Secret("k")}), CONTEXT) is None
