# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe of a key pair by a signed call: at moto's S3, which compares signatures and rights, and where stores answer otherwise."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
    MissingLibrary,
    ProbeFailed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes import (
    ACCEPTED,
    REFUSED,
    Evidence,
    Patience,
    ProbeContext,
    check_probes,
    presenting,
    run_probe,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from api_server import ApiServer, Asked, Fault, Reply
from cloudflare_api import ITEM_READ, CloudflareApi, FakeToken
from cloudflare_store import Store, store_of

ONCE = Patience(timedelta(seconds=5), timedelta(seconds=1), retries=0)


def stage_of(token: FakeToken, **other: Any) -> Stage:
    fields = {
        "access_key_id": token.id,
        "secret_access_key": Secret(token.secret),
        "token_id": token.id,
    }
    return Stage("r1", "issued", {**fields, **other})


class World:
    """A store, a token, and what was logged and told."""

    def __init__(self, store: Store, told: list[str]) -> None:
        self.store, self.api, self.told = store, store.api, told
        self.token = self.api.add("by hand")

    def probe(self, stage: Stage | None = None, **options: Any) -> Evidence:
        expect, document = options.pop("expect", ACCEPTED), options.pop("document", None)
        context = Context(options.pop("check_mode", False), environ={"AWS_PROFILE": "nobody"})
        ctx = ProbeContext(context, {}, document, expect=expect, patience=ONCE)
        given = {"type": "s3", "endpoint": self.store.endpoint, "bucket": "music", **options}
        try:
            found = run_probe(given, stage or stage_of(self.token), ctx)
        except KeyturnError as error:
            self.told.append(f"{error} {error!r} {error.details}")
            raise
        self.told.append(repr(found))
        return found

    def fails(self, kind: type[KeyturnError], says: str, *stage: Stage, **options: Any) -> None:
        with pytest.raises(kind, match=says) as caught:
            self.probe(*stage, **options)
        assert caught.type is kind


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    monkeypatch.setattr("ssl.SSLContext.set_default_verify_paths", lambda _context: None)
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    with CloudflareApi() as api, store_of(api, "music", "art") as store:
        yield World(store, told)
        text = "\n".join([*told, caplog.text])
        assert not any(value in text for value in api.secrets)


def test_a_pair_lists_its_bucket(world: World) -> None:
    found = world.probe()
    assert found.against == f"bucket music at {world.store.endpoint}"
    assert found.detail == "status 200: it lists the bucket"
    assert world.probe(prefix="a b/".replace(" ", "_"), check_mode=True).predicted is False
    assert world.store.asked == [("GET", "/music", world.token.id)] * 2


def test_a_pair_writes_an_object_of_its_own_and_leaves_none(world: World) -> None:
    found = world.probe(action="write", prefix="probes/")
    assert found.detail == "status 200: it writes, reads and removes an object"
    assert [method for method, _path, _who in world.store.asked] == ["PUT", "GET", "DELETE"]
    assert world.store.asked[0][1].startswith("/music/probes/keyturn-probe-")
    assert world.store.names("music") == []
    skipped = world.probe(action="write", check_mode=True)
    assert skipped.predicted and skipped.detail == "not tried: check mode writes no object"


def test_a_pair_that_may_only_read_cannot_write(world: World) -> None:
    reader = stage_of(world.api.add("reader", groups=[ITEM_READ]))
    world.probe(reader)
    world.fails(ProbeFailed, "AccessDenied: the pair is known, and may not", reader, action="write")
    world.fails(
        Unreachable, "403, AccessDenied: this says neither", reader, action="write", expect=REFUSED
    )


@pytest.mark.parametrize("action", ["list", "write"])
def test_only_an_unknown_pair_is_a_refused_one(world: World, action: str) -> None:
    alive = stage_of(world.token)
    world.fails(ProbeFailed, "status 200: it is still accepted", expect=REFUSED, action=action)
    wrong = stage_of(world.token, secret_access_key=Secret(secrets.token_hex(32)))
    found = world.probe(wrong, expect=REFUSED, action=action)
    assert found.detail == "refused with status 403, SignatureDoesNotMatch"
    world.fails(
        ProbeFailed, "SignatureDoesNotMatch: the pair is not accepted", wrong, action=action
    )
    other = stage_of(world.api.add("new"))
    world.api.end(world.token)
    document = Document("r2", b"", current=other, previous=alive)
    found = world.probe(alive, expect=REFUSED, action=action, document=document)
    assert (
        found.detail
        == "refused with status 403, InvalidAccessKeyId; the current value is accepted there"
    )
    world.fails(ProbeFailed, "InvalidAccessKeyId: the pair is not accepted", alive, action=action)
    assert world.store.names("music") == []


def test_a_refusal_counts_only_where_the_current_pair_is_accepted(world: World) -> None:
    old, new = stage_of(world.token), stage_of(world.api.add("new", bucket="art"))
    world.api.end(world.token)
    document = Document("r2", b"", current=new, previous=old)
    world.fails(
        Unreachable,
        "but the current value is not accepted there either",
        old,
        expect=REFUSED,
        document=document,
    )
    world.probe(old, expect=REFUSED, document=document, bucket="art")


def test_a_dry_run_does_not_use_a_pair_that_is_to_be_ended(world: World) -> None:
    """Its last use is what keeps a pair from being ended."""
    found = world.probe(expect=REFUSED, check_mode=True)
    assert found.predicted
    assert found.detail == "not tried: check mode does not use a pair that is to be ended"
    assert world.store.asked == [] and world.token.used == ""


def test_a_pair_is_only_predicted_before_there_is_one(world: World) -> None:
    unknown = stage_of(world.token, secret_access_key=Secret.new())
    found = world.probe(unknown, check_mode=True)
    assert found.predicted and found.detail == "not tried: the value does not exist yet"
    assert world.store.asked == []


class Answers(ApiServer):
    """A store that answers with what it is told to."""

    def answer(self, asked: Asked) -> Reply:
        return Reply(200, "<html>")


def xml(status: int, code: str) -> Reply:
    return Reply(status, f"<Error><Code>{code}</Code><Message>told by the store</Message></Error>")


@pytest.mark.parametrize(
    ("reply", "accepted", "refused"),
    [
        (xml(401, "Unauthorized"), ProbeFailed, None),
        (Reply(401), ProbeFailed, None),
        (xml(403, "ExpiredToken"), ProbeFailed, None),
        (xml(403, "AccessDenied"), ProbeFailed, Unreachable),
        (xml(404, "NoSuchBucket"), ProbeFailed, Unreachable),
        (Reply(403), Unreachable, Unreachable),
        (xml(403, "RequestTimeTooSkewed"), Unreachable, Unreachable),
        (xml(503, "SlowDown"), Unreachable, Unreachable),
        (xml(429, "TooManyRequests"), Unreachable, Unreachable),
        (Reply(307, None, {"Location": "https://elsewhere.example/"}), Unreachable, Unreachable),
        (Reply(200, "<html>"), Unreachable, Unreachable),
        (Reply(-1), Unreachable, Unreachable),
    ],
)  # fmt: skip
def test_what_other_stores_answer(
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
    accepted: type[KeyturnError],
    refused: type[KeyturnError] | None,
) -> None:
    monkeypatch.setattr("ssl.SSLContext.set_default_verify_paths", lambda _context: None)
    fields = {
        "access_key_id": secrets.token_hex(16),
        "secret_access_key": Secret(secrets.token_hex(32)),
    }
    stage = Stage("r1", "issued", fields)
    with Answers() as store:
        store.fail("GET /music", Fault(reply), Fault(reply))
        probe = {"type": "s3", "endpoint": store.url, "bucket": "music"}
        ctx = ProbeContext(Context(environ={}), {}, patience=ONCE)
        for expect, kind in ((ACCEPTED, accepted), (REFUSED, refused)):
            if kind is None:
                run_probe(probe, stage, replace(ctx, expect=expect))
                continue
            with pytest.raises(kind) as caught:
                run_probe(probe, stage, replace(ctx, expect=expect))
            assert caught.type is kind and "told by" not in str(caught.value)


def test_a_code_of_an_own_store_can_be_told(world: World) -> None:
    reader = stage_of(world.api.add("reader", groups=[ITEM_READ]))
    options = {"action": "write", "expect": REFUSED, "refused_codes": ["AccessDenied"]}
    assert "refused with status 403" in world.probe(reader, **options).detail


def test_nothing_there_proves_nothing(world: World) -> None:
    for expect in (ACCEPTED, REFUSED):
        world.fails(
            Unreachable, "nothing listens there", endpoint="http://127.0.0.1:9", expect=expect
        )


def test_without_the_library_it_says_which(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    world.fails(MissingLibrary, "pip install boto3")


def test_the_endpoint_follows_from_the_issuer() -> None:
    account = "a" * 32
    stage = Stage("r1", "issued", {"access_key_id": "x", "secret_access_key": Secret.new()})
    for more, host in (({}, account), ({"jurisdiction": "eu"}, f"{account}.eu")):
        issuer = {"type": "cloudflare_r2", "account": account, **more}
        ctx = ProbeContext(Context(environ={}), issuer, patience=ONCE)
        found = run_probe({"type": "s3", "bucket": "music"}, stage, ctx)
        assert found.against == f"bucket music at https://{host}.r2.cloudflarestorage.com"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bucket": ""}, r"\.bucket: expected the name of a bucket"),
        ({"bucket": "a/b"}, r"\.bucket: expected the name of a bucket"),
        ({"prefix": "a b"}, r"\.prefix: expected letters, digits"),
        ({"action": "head"}, r"\.action: 'head' is unknown; expected list or write"),
        ({"endpoint": "https://x.example/music"}, r"\.endpoint: give the address without a path"),
        ({"endpoint": "http://x.example"}, r"\.endpoint: over plain http anybody on the way"),
        ({"refused_codes": "x"}, r"\.refused_codes: expected a list of codes"),
        ({"key": "x"}, r"unknown key key"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], says: str) -> None:
    probe = {"type": "s3", "bucket": "music", "endpoint": "https://x.example", **options}
    with pytest.raises(BadInput, match=says):
        check_probes([probe], "keyturn_probes", senders=False)


def test_an_endpoint_is_needed_where_the_issuer_has_none() -> None:
    ctx = ProbeContext(Context(environ={}), {"type": "operator"}, patience=ONCE)
    with pytest.raises(BadInput, match=r"endpoint: missing; give the store's address"):
        run_probe({"type": "s3", "bucket": "music"}, Stage("r1", "issued", {}), ctx)


def test_a_pair_of_its_own_proves_nothing_about_the_stage() -> None:
    own = {"access_key_id": "x", "secret_access_key": "ref+file:///x"}
    assert presenting([{"type": "s3"}, {"type": "s3", **own}], "keyturn_probes") == 1
