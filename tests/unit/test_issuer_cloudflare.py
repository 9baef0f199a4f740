# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer of pairs for R2, against a fake of Cloudflare's API that refuses what the API does not describe."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import Issuer, open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from api_server import CUT, Fault, Reply
from cloudflare_api import (
    DELETE,
    DETAILS,
    GROUPS,
    ITEM_READ,
    ITEM_WRITE,
    LIST,
    MAKE,
    PAGE,
    VERIFY,
    CloudflareApi,
    FakeToken,
    refusal,
)

ID = "r20261122110000abcdef"
INTENDED = Stage(ID, "intended", {})
NOTHING = Document("r2", b"", pending=INTENDED)
ACCOUNT = "0" * 32
PLACE = "com.cloudflare.edge.r2.bucket"


class World:
    """An API, an issuer for it, and what was said."""

    def __init__(self, api: CloudflareApi) -> None:
        self.api = api
        self.said: list[str] = []
        self.guarded = 0
        self.definition: dict[str, Any] = {"buckets": ["music"]}
        self.login: dict[str, Any] = {}
        self.context = self.a_context()

    def a_context(self, check_mode: bool = False, **more: Any) -> Context:
        environ = {"TOKEN": self.api.login.value}
        return Context(
            check_mode, environ=environ, warn=self.said.append, progress=self.said.append, **more
        )

    @property
    def issuer(self) -> Issuer:
        login = {"token": "ref+envsubst://$TOKEN", "api": self.api.api, "timeout": "10s"}
        own = {"type": "cloudflare_r2", "account": self.api.account, "settle": "0s"}
        login.update(self.login)
        return open_issuer({**own, "login": login, **self.definition}, self.context)

    def guard(self) -> None:
        self.guarded += 1

    def issue(self, **stages: Stage) -> dict[str, Any]:
        document = Document("r2", b"", pending=INTENDED, **stages)
        return dict(self.issuer.issue(INTENDED, document, self.context, self.guard))

    def revoke(self, stage: Stage, **stages: Stage) -> Any:
        document = Document("r2", b"", previous=stage, **stages)
        return self.issuer.revoke(stage, document, self.context, self.guard)

    def in_use(self, **more: Any) -> tuple[FakeToken, Stage]:
        """A token that was made by hand, and its stage."""
        token = self.api.add("made by hand", **more)
        return token, stage_of(token)

    def fails(self, kind: type[KeyturnError], told: str, ask: Any) -> None:
        """It fails so, and nothing secret is told."""
        with pytest.raises(kind, match=told) as caught:
            ask()
        assert caught.type is kind
        self.said.append(f"{caught.value} {caught.value!r} {caught.value.details}")

    def problems(self, **stages: Stage) -> str:
        found = self.issuer.check(Document("r2", b"", **stages), self.context)
        self.said += found
        return "\n".join(found)


def stage_of(
    token: FakeToken, status: str = "observed", rotation_id: str = "r0", **marks: Any
) -> Stage:
    fields = {
        "access_key_id": token.id,
        "secret_access_key": Secret(token.secret),
        "token_id": token.id,
    }
    return Stage(rotation_id, status, fields, **marks)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # Each request reads the system's certificates, which nothing here needs and which takes longer than all the rest.
    monkeypatch.setattr("ssl.SSLContext.set_default_verify_paths", lambda _context: None)
    with CloudflareApi() as api:
        found = World(api)
        yield found
        assert not api.wrong
        text = "\n".join([*found.said, *api.lines])
        assert "told by" not in text
        assert not any(value in text for value in api.secrets)


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ({"bucket": "x"}, r"keyturn_issuer: unknown key bucket; expected some of type, login"),
        ({"account": "me"}, r"keyturn_issuer\.account: expected the id of the account"),
        ({"tokens": "both"}, r"keyturn_issuer\.tokens: 'both' is unknown; expected one of acco"),
        ({"login": "me"}, r"keyturn_issuer\.login: expected a mapping with token"),
        ({"name": "r2"}, r"keyturn_issuer\.name: has to name \{rotation_id\}"),
        ({"name": "{rotation_id} {date}"}, r"keyturn_issuer\.name: expected text with"),
        ({"buckets": "music"}, r"keyturn_issuer\.buckets: expected a list of names of buckets"),
        ({"buckets": ["a_b"]}, r"keyturn_issuer\.buckets: expected a list of names"),
        ({"buckets": "all", "permission": "admin"}, r"permission: 'admin' is unknown; expected"),
        ({"buckets": "all", "jurisdiction": "us"}, r"jurisdiction: 'us' is unknown; expected"),
        ({"permission": "read"}, r"permission: says something of buckets, and there are none"),
        ({"buckets": "all", "copy_from": "x"}, r"buckets and copy_from each say what the new"),
        ({"copy_from": "a/b"}, r"copy_from: expected the id of a token"),
        ({"policies": "all"}, r"policies: expected a list of policies, each with effect"),
        ({"policies": ["all"]}, r"policies\[0\]: expected a mapping with effect"),
        ({"policies": [{"effect": "ask"}]}, r"policies\[0\]\.effect: expected allow or deny"),
        ({"policies": [{}]}, r"policies\[0\]\.permission_groups: expected a list of groups"),
        (
            {"policies": [{"permission_groups": [{"id": "x"}]}]},
            r"policies\[0\]\.resources: expected a mapping of resources",
        ),
        (
            {"policies": [{"permission_groups": ["x"], "resources": {"a": "*"}}]},
            r"policies\[0\]\.permission_groups: expected groups with id or name",
        ),
        ({"settle": "soon"}, r"keyturn_issuer\.settle: 'soon' is no duration"),
    ],
)
def test_a_wrong_definition(definition: dict[str, Any], says: str) -> None:
    given = {"login": {"token": "ref+file:///x"}, "account": ACCOUNT, **definition}
    with pytest.raises(BadInput, match=says):
        open_issuer({"type": "cloudflare_r2", **given}, Context())


@pytest.mark.parametrize(
    ("login", "says"),
    [
        ({"token": "hunter2"}, r"login\.token: expected a reference to the API token"),
        ({"api": "http://api.example"}, r"login\.api: over plain http the login and the new key"),
        ({"user": "x"}, r"keyturn_issuer\.login: unknown key user"),
    ],
)
def test_a_wrong_login(login: dict[str, Any], says: str) -> None:
    given = {"token": "ref+file:///x", **login}
    with pytest.raises(BadInput, match=says) as caught:
        open_issuer({"type": "cloudflare_r2", "account": ACCOUNT, "login": given}, Context())
    assert "hunter2" not in str(caught.value)


def test_a_pair_is_the_id_and_the_digest_of_a_token_for_these_buckets(world: World) -> None:
    world.definition = {"buckets": ["music", "art"], "permission": "read", "jurisdiction": "eu"}
    pair = world.issue()
    [made] = world.api.others
    assert made.name == f"r2 {ID}"
    assert (made.owner, made.may) == ("account", {ITEM_READ})
    assert made.resources == [f"{PLACE}.{world.api.account}_eu_{name}" for name in ("music", "art")]
    digest = hashlib.sha256(made.value.encode()).hexdigest()
    assert pair == {
        "access_key_id": made.id,
        "secret_access_key": Secret(digest),
        "token_id": made.id,
        "account": world.api.account,
    }
    assert world.guarded == world.api.asked[MAKE] == 1


def test_what_a_token_may_as_the_api_writes_it(world: World) -> None:
    everywhere = {f"com.cloudflare.api.account.{world.api.account}": {f"{PLACE}.*": "*"}}
    world.definition = {"buckets": "all"}
    world.issue()
    world.definition = {
        "policies": [
            {"permission_groups": [{"name": ITEM_READ}], "resources": everywhere},
            {
                "effect": "deny",
                "permission_groups": [{"id": world.api.groups["DNS Write"]}],
                "resources": {"x": "*"},
            },
        ]
    }
    world.api.end(world.api.others[0])
    world.issue()
    first, second = world.api.gone[0], world.api.others[0]
    assert first.policies[0]["resources"] == second.policies[0]["resources"] == everywhere
    assert first.may == {ITEM_WRITE}
    assert (second.may, second.policies[1]["effect"]) == ({ITEM_READ, "DNS Write"}, "deny")


def test_a_new_token_may_what_the_one_in_use_may_and_from_where(world: World) -> None:
    world.definition = {}
    world.fails(
        BadInput, "nothing says what the new token may do: adopt the pair in use", world.issue
    )
    template = world.api.add("by hand", groups=[ITEM_READ], bucket="art")
    world.definition = {"copy_from": template.id}
    world.issue()
    assert world.api.others[-1].resources == template.resources
    token, stage = world.in_use()
    token.condition = {"request.ip": {"in": ["192.0.2.0/24"]}}
    world.api.end(world.api.others[1])
    world.issue(current=stage)
    made = world.api.others[-1]
    assert (made.may, made.resources, made.condition) == (
        token.may,
        token.resources,
        token.condition,
    )
    world.api.end(token)
    world.fails(Refused, f"token {token.id}, from which", lambda: world.issue(current=stage))


def test_a_copy_lives_as_long_as_the_one_that_it_copies_was_to_live(world: World) -> None:
    """Its date would be an outage: it may be over."""
    world.definition = {}
    token, stage = world.in_use()
    token.issued, token.expires = "2025-01-01T00:00:00Z", "2025-04-01T12:00:00Z"
    now = datetime(2026, 11, 22, 11, 0, tzinfo=timezone.utc)
    world.context = world.a_context(now=lambda: now)
    assert not world.problems(current=stage)
    (told,) = world.said
    assert "expires on 2027-02-20T23:00:00Z, because the one that it copies was to live" in told
    assert "rotate it before that" in told and "lifetime" in told
    world.issue(current=stage)
    made = world.api.others[-1]
    assert made.expires == "2027-02-20T23:00:00Z"
    for wanted, expires in (("never", ""), ("30d", "2026-12-22T11:00:00Z")):
        world.said.clear()
        world.api.end(world.api.others[-1])
        world.definition = {"lifetime": wanted}
        assert not world.problems(current=stage) and not world.said
        world.issue(current=stage)
        assert world.api.others[-1].expires == expires
    # What the new one may do is said without the old one: so is how long it lives.
    world.api.end(world.api.others[-1])
    world.definition = {"buckets": ["music"]}
    world.issue(current=stage)
    assert world.api.others[-1].expires == ""


def test_a_life_that_nobody_knows_is_asked_for(world: World) -> None:
    world.definition = {}
    token, stage = world.in_use()
    token.expires, token.issued = "2027-01-01T00:00:00Z", ""
    assert "when it was made: give lifetime" in world.problems(current=stage)
    for given in ("soon", "0s", "-1d"):
        world.definition = {"lifetime": given}
        world.fails(BadInput, r"keyturn_issuer\.lifetime: expected ", lambda: world.issuer)


def test_what_an_earlier_try_left_is_deleted_since_its_value_was_told_once(world: World) -> None:
    """It is found on whichever page it is; names that only hold another id are left alone."""
    for number in range(PAGE):
        world.api.add(f"other {number} {ID}0")
    left = [world.api.add(f"r2 {ID}") for _number in range(2)]
    pair = world.issue()
    [made] = [item for item in world.api.others if item.name == f"r2 {ID}"]
    assert pair["token_id"] == made.id and made not in left
    assert [item.id for item in world.api.gone] == [item.id for item in left]
    assert world.api.asked[LIST] == 3
    assert world.guarded == 3


@pytest.mark.parametrize(
    "fault",
    [Fault(Reply(CUT), after=True), Fault(refusal(500, 10001), after=True), Fault(refusal(502, 0))],
    ids=["cut", "500 and made", "502 and not made"],
)
def test_a_lost_answer_leaves_one_token(world: World, fault: Fault) -> None:
    world.api.fail(MAKE, fault)
    pair = world.issue()
    assert [item.id for item in world.api.others] == [pair["token_id"]]
    assert [item.secret for item in world.api.others] == [pair["secret_access_key"].reveal()]


def test_an_answer_without_a_value_is_no_pair(world: World) -> None:
    world.api.fail(MAKE, Fault(Reply(200, {"success": True, "result": {"id": "x"}}), after=True))
    world.fails(Unreachable, "the answer tells no value; run again", world.issue)
    assert len(world.api.others) == 1
    pair = world.issue()
    assert [item.id for item in world.api.others] == [pair["token_id"]]


def test_too_many_calls_are_made_again_as_late_as_it_says(world: World) -> None:
    world.api.fail(LIST, Fault(refusal(429, 971, **{"Retry-After": "1"})))
    world.api.fail(MAKE, Fault(refusal(429, 971)))
    world.issue()
    assert (world.api.asked[LIST], world.api.asked[MAKE], world.api.writes) == (2, 2, 1)
    world.login = {"timeout": "1s"}
    world.api.fail(LIST, Fault(refusal(429, 971, **{"Retry-After": "300"})))
    world.fails(Unreachable, "it asks to be left alone for 300 s", world.issue)


@pytest.mark.parametrize(
    ("call", "fault", "kind", "says"),
    [
        (LIST, refusal(403, 9109), Denied, r"it needs Account API Tokens Write, .* \(Cloudflare's code 9109\)"),
        (LIST, refusal(401, 1000), Denied, r"token is not accepted: it is wrong, disabled"),
        (LIST, refusal(400, 6003), Denied, r"has not the form of an API token"),
        (LIST, refusal(404, 7003), BadInput, r"no such call at this address: check login\.api"),
        (LIST, Reply(200, {"success": False, "result": []}), Unreachable, r"not what Cloudflare's"),
        (LIST, Reply(200, {"success": True, "result": {}}), Unreachable, r"not what Cloudflare's"),
        (LIST, Reply(200, {"success": True, "result": [{}]}), Unreachable, r"not what Cloudflare's"),
        (LIST, Reply(418), Unreachable, r"cannot list the tokens: status 418; run again"),
        (GROUPS, Reply(200, {"success": True, "result": []}), Refused, r"no permission group 'Work"),
        (MAKE, refusal(400, 1001), BadInput, r"50 of a user, 500 of an account .*code 1001\)"),
        (MAKE, refusal(403, 9109), Denied, r"cannot make a token: .* needs Account API Tokens"),
    ],
)  # fmt: skip
def test_what_the_api_refuses(
    world: World, call: str, fault: Reply, kind: type[KeyturnError], says: str
) -> None:
    world.api.fail(call, Fault(fault))
    world.fails(kind, says, world.issue)
    assert world.api.others == []


def test_a_list_without_an_end_is_not_read_for_ever(world: World) -> None:
    page = {"success": True, "result": [world.api.login.body()]}
    world.api.fail(LIST, *[Fault(Reply(200, page))] * 40)
    world.fails(Unreachable, "more than 40 pages", world.issue)


def test_check_mode_makes_nothing_and_asks_nothing(world: World) -> None:
    world.context = world.a_context(check_mode=True)
    told = {
        name: isinstance(value, Secret) and value.known for name, value in world.issue().items()
    }
    assert told == dict.fromkeys(
        ("access_key_id", "secret_access_key", "token_id", "account"), False
    )
    assert not world.api.asked


def test_nothing_can_be_wished_for(world: World) -> None:
    wish = {"value": {"type": "hex"}}
    world.fails(
        BadInput,
        "Cloudflare makes the key",
        lambda: world.issuer.propose(None, wish, world.context),
    )
    assert world.issuer.propose(None, {}, world.context) == {}


def test_a_pair_in_use_is_adopted_where_its_token_is_there(world: World) -> None:
    token, stage = world.in_use()
    pair = {name: stage.fields[name] for name in ("access_key_id", "secret_access_key")}
    own = {**stage.fields, "account": world.api.account}
    assert world.issuer.adopt(pair, world.context) == own
    wrong_way = {"access_key_id": token.id, "secret_access_key": Secret(token.value)}
    for given, says in (
        (wrong_way, "is none of R2's, which have 64 hexadecimal digits"),
        ({"access_key_id": token.id}, "to adopt a pair, give access_key_id and secret_access_key"),
    ):
        world.fails(BadInput, says, lambda given=given: world.issuer.adopt(given, world.context))
    token.status = "disabled"
    world.fails(
        Refused,
        f"token {token.id}, .* is not active",
        lambda: world.issuer.adopt(pair, world.context),
    )
    world.api.end(token)
    world.fails(
        Refused,
        f"token {token.id}, .* is not there",
        lambda: world.issuer.adopt(pair, world.context),
    )
    world.api.fail(DETAILS, Fault(refusal(403, 9109)))
    world.fails(Denied, "cannot look at the token", lambda: world.issuer.adopt(pair, world.context))


def test_a_token_is_deleted_and_one_that_is_gone_is_no_error(world: World) -> None:
    token, _stage = world.in_use()
    retiring = stage_of(token, "retiring")
    world.context = world.a_context(check_mode=True)
    assert world.revoke(retiring).changed and token.id in world.api.tokens
    world.context = world.a_context()
    done = world.revoke(retiring)
    assert (done.changed, done.facts, done.before) == (
        True,
        {"deleted": [token.id]},
        [f"token {token.id}"],
    )
    assert token.id not in world.api.tokens and world.guarded == 1
    assert not world.revoke(retiring).changed
    assert world.api.asked[DELETE] == 1


def test_a_token_is_not_taken_for_gone_where_nobody_may_look(world: World) -> None:
    token, stage = world.in_use()
    for fault, kind in ((refusal(403, 9109), Denied), (refusal(404, 7003), BadInput)):
        world.api.fail(DETAILS, Fault(fault))
        world.fails(kind, "cannot look at the token", lambda: world.revoke(stage))
    world.api.fail(DELETE, Fault(refusal(403, 9109)))
    world.fails(Denied, "cannot delete the token", lambda: world.revoke(stage))
    other = stage_of(token, rotation_id="r1")
    world.fails(
        Refused,
        "the current stage of r2 has it as well",
        lambda: world.revoke(stage, current=other),
    )
    assert token.id in world.api.tokens

    def lost() -> None:
        raise Conflict("lost")

    document = Document("r2", b"", previous=stage)
    world.fails(Conflict, "lost", lambda: world.issuer.revoke(stage, document, world.context, lost))
    assert token.id in world.api.tokens


def test_a_token_of_another_account_is_not_taken_for_one_that_is_gone(world: World) -> None:
    token, stage = world.in_use()
    other = replace(stage, status="retiring", fields={**stage.fields, "account": ACCOUNT})
    world.fails(Refused, f"of account {ACCOUNT}", lambda: world.revoke(other))
    assert token.id in world.api.tokens


def test_what_is_copied_from_a_token_is_copied_before_that_is_deleted(world: World) -> None:
    for definition, said in (
        ({"copy_from": "a" * 32}, "give buckets or policies"),
        ({"buckets": ["music"]}, ""),
    ):
        world.definition = definition
        assert said in world.issuer.comes_first and bool(said) == bool(world.issuer.comes_first)


def test_every_token_of_a_rotation_that_is_given_up_is_deleted(world: World) -> None:
    kept, _stage = world.in_use()
    for _number in range(2):
        world.api.add(f"r2 {ID}")
    done = world.revoke(Stage(ID, "abandoning", {}))
    assert len(done.facts["deleted"]) == 2
    assert world.api.others == [kept]


def test_the_login_is_checked_before_anything_is_begun(world: World) -> None:
    token, stage = world.in_use()
    assert world.problems(current=stage) == ""
    assert (world.api.asked[VERIFY], world.api.writes) == (1, 0)
    login = world.api.login
    groups = login.policies[0]["permission_groups"]
    login.policies[0]["permission_groups"] = [{"id": "x", "name": "Account API Tokens Read"}]
    assert re.search(
        "may not make and delete tokens: give it Account API Tokens W", world.problems()
    )
    login.policies[0]["permission_groups"] = groups
    login.status = "disabled"
    assert "is not accepted: it is wrong, disabled, expired or deleted" in world.problems()
    login.status = "active"
    world.definition = {
        "policies": [{"permission_groups": [{"name": "none"}], "resources": {"a": "*"}}]
    }
    assert "there is no permission group 'none' here" in world.problems()
    world.definition = {}
    world.api.login = token
    world.context = world.a_context()
    token.policies[0]["permission_groups"] = groups
    assert "is the token that is rotated here, and would be deleted" in world.problems(
        current=stage
    )
    body = {"success": True, "result": {"id": login.id, "status": "expired"}}
    world.api.fail(VERIFY, Fault(Reply(200, body)))
    assert f"the login's token {login.id} is not active" in world.problems()
    world.login = {"token": "ref+envsubst://$NOTHING"}
    assert "NOTHING" in world.problems()


def test_a_token_of_a_user_may_make_tokens_of_its_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl.SSLContext.set_default_verify_paths", lambda _context: None)
    with CloudflareApi("user") as api:
        world = World(api)
        assert world.problems() == ""
        assert api.asked[VERIFY] == 2
        world.definition = {"buckets": ["music"], "tokens": "user"}
        assert world.problems() == ""
        world.issue()
        assert [item.owner for item in api.others] == ["user"]
        groups = api.login.policies[0]["permission_groups"]
        groups[:] = [item for item in groups if item["name"].startswith("Account")]
        assert "it needs API Tokens Write" in world.problems()


def test_a_new_token_is_left_alone_until_it_is_known(world: World) -> None:
    token, stage = world.in_use()
    world.definition = {"settle": "1h"}
    token.issued = "2026-11-22T10:00:00Z"
    made = datetime(2026, 11, 22, 10, tzinfo=timezone.utc)
    document, waited = Document("r2", b"", pending=stage), list[float]()

    def apply(later: timedelta) -> None:
        world.context = world.a_context(
            now=lambda: made + later, still_wanted=lambda: waited.append(0)
        )
        assert not world.issuer.apply(stage, document, world.context, world.guard).changed

    apply(timedelta(hours=1))
    assert not waited
    apply(timedelta(hours=1, milliseconds=-200))
    assert waited and "until a new key is known to all of R2" in world.said[-1]
    world.api.end(token)
    apply(timedelta(0))


def test_who_used_an_old_one_lately_is_told(world: World) -> None:
    token, stage = world.in_use()
    assert world.issuer.sessions(stage, world.context) is None
    token.used = "2026-11-22T10:00:00.123456789Z"
    used = datetime(2026, 11, 22, 10, tzinfo=timezone.utc)
    world.context = world.a_context(now=lambda: used + timedelta(minutes=59))
    [told] = world.issuer.sessions(stage, world.context) or []
    assert f"access key id {token.id}, last on 2026-11-22T10:00:00Z" in str(told)
    world.context = world.a_context(now=lambda: used + timedelta(minutes=60))
    assert world.issuer.sessions(stage, world.context) == []
    token.used = "lately"
    assert world.issuer.sessions(stage, world.context) is None
    assert world.issuer.sessions(Stage("r0", "grace", {}), world.context) is None
