# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer of streams of YouTube, against a fake of its API that refuses what the API does not describe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import Issuer, open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._only_one import carries
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from api_server import CUT, Fault, Reply, new_token
from youtube_api import BIND, BROADCASTS, DELETE, INSERT, LIST, TOKEN, YouTubeApi, refusal

ID = "r20261122110000abcdef"
INTENDED = Stage(ID, "intended", {})
NOTHING = Document("youtube", b"", pending=INTENDED)
CREDENTIALS = {
    "client_id": "ref+envsubst://$CLIENT_ID",
    "client_secret": "ref+envsubst://$CLIENT_SECRET",
    "refresh_token": "ref+envsubst://$REFRESH_TOKEN",
}


class World:
    """An API, an issuer for it, and what was said."""

    def __init__(self, api: YouTubeApi) -> None:
        self.api = api
        self.said: list[str] = []
        self.guarded = 0
        self.context = self.a_context()

    def a_context(self, check_mode: bool = False) -> Context:
        """As each call of a module has its own."""
        login = self.api.login
        environ = {
            "CLIENT_ID": login.client_id,
            "CLIENT_SECRET": login.client_secret,
            "REFRESH_TOKEN": login.refresh_token,
        }
        return Context(check_mode, environ=environ, warn=self.said.append)

    def issuer(self, login: dict[str, Any] | None = None, **definition: Any) -> Issuer:
        own = {
            "credentials": CREDENTIALS,
            "api": self.api.url,
            "token_url": f"{self.api.url}{TOKEN}",
            "timeout": "3s",
            **(login or {}),
        }
        return open_issuer({"type": "youtube", "login": own, **definition}, self.context)

    def guard(self) -> None:
        self.guarded += 1

    def issue(self, stage: Stage = INTENDED) -> dict[str, Any]:
        document = Document("youtube", b"", pending=stage)
        return dict(self.issuer().issue(stage, document, self.context, self.guard))

    def issued(self, **marks: Any) -> Stage:
        return Stage(ID, "retiring", self.issue(), **marks)

    def revoke(self, stage: Stage, **stages: Stage) -> Any:
        document = Document("youtube", b"", previous=stage, **stages)
        return self.issuer().revoke(stage, document, self.context, self.guard)

    def fails(self, kind: type[KeyturnError], told: str, ask: Any) -> None:
        """It fails so, and nothing secret is told."""
        with pytest.raises(kind, match=told) as caught:
            ask()
        assert caught.type is kind
        self.said.append(f"{caught.value} {caught.value!r} {caught.value.details}")

    def titled(self) -> list[str]:
        return [stream.title for stream in self.api.streams.values()]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # Each request reads the system's certificates, which nothing here needs and which takes longer than all the rest.
    monkeypatch.setattr("ssl.SSLContext.set_default_verify_paths", lambda _context: None)
    with YouTubeApi() as api:
        found = World(api)
        yield found
        assert not api.wrong
        text = "\n".join([*found.said, *api.lines])
        assert "told by" not in text
        assert not any(value in text for value in api.secrets)


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        (
            {"stream": "x"},
            r"keyturn_issuer: unknown key stream; expected some of type, login",
        ),
        ({"broadcast": "a b"}, r"keyturn_issuer\.broadcast: expected the id of a broadcast"),
        ({"login": "me"}, r"keyturn_issuer\.login: expected a mapping with credentials"),
        ({"title": "live"}, r"keyturn_issuer\.title: has to name \{rotation_id\}"),
        ({"title": "{rotation_id} {date}"}, r"keyturn_issuer\.title: expected text with"),
        ({"cdn": {"resolution": "8k"}}, r"cdn\.resolution: '8k' is unknown; expected one of"),
        ({"cdn": {"fps": 30}}, r"keyturn_issuer\.cdn: unknown key fps; expected some of resol"),
        ({"cdn": "rtmp"}, r"keyturn_issuer\.cdn: expected a mapping with resolution"),
    ],
)
def test_a_wrong_definition(definition: dict[str, Any], says: str) -> None:
    given = {"type": "youtube", "login": {"credentials": "ref+file:///x"}, **definition}
    with pytest.raises(BadInput, match=says):
        open_issuer(given, Context())


@pytest.mark.parametrize(
    ("login", "says"),
    [
        ({"credentials": "hunter2"}, r"login\.credentials: expected a reference to a mapping"),
        ({"credentials": None}, r"login\.credentials: expected a reference to a mapping"),
        (
            {"credentials": {"token": "x"}},
            r"credentials: there is no key 'token'; known: client_id",
        ),
        (
            {"credentials": {"refresh_token": "hunter2"}},
            r"credentials\.refresh_token: a secret does not belong into an inventory",
        ),
        ({"api": "http://api.example"}, r"login\.api: over plain http the login and the new key"),
        ({"api": "https://api.example/?x=1"}, r"login\.api: the address has a query"),
        ({"api": "youtube"}, r"login\.api: this is no address"),
        ({"timeout": "0s"}, r"login\.timeout: expected more than nothing"),
        ({"user": "x"}, r"keyturn_issuer\.login: unknown key user"),
    ],
)
def test_a_wrong_login(login: dict[str, Any], says: str) -> None:
    given = {"credentials": "ref+file:///x", **login}
    with pytest.raises(BadInput, match=says) as caught:
        open_issuer({"type": "youtube", "login": given}, Context())
    assert "hunter2" not in str(caught.value)


def test_credentials_that_are_not_whole(world: World) -> None:
    short = {"refresh_token": CREDENTIALS["refresh_token"], "client_id": "public"}
    issuer = world.issuer({"credentials": short})
    told = issuer.check(None, world.context)
    assert len(told) == 1 and "there is no key 'client_secret'" in told[0]
    issuer = world.issuer({"credentials": {"client_id": "public"}})
    world.fails(
        Absent,
        "neither a refresh_token .* nor an access_token",
        lambda: issuer.adopt({"key": Secret("x")}, world.context),
    )


def test_nothing_can_be_wished_for(world: World) -> None:
    world.fails(
        BadInput,
        "YouTube makes the key",
        lambda: world.issuer().propose(None, {"key": {"type": "hex"}}, world.context),
    )
    assert world.issuer().propose(None, {}, world.context) == {}


def test_a_stream_is_made_once_and_found_again_on_the_second_page(world: World) -> None:
    for number in range(3):
        world.api.add(f"Sunday {number}")
    first = world.issue()
    assert set(first) == {"key", "stream_id", "ingest"}
    assert first["ingest"].startswith("rtmp://")
    assert isinstance(first["key"], Secret)
    made = world.api.streams[first["stream_id"]]
    assert (made.key, made.title, made.reusable) == (first["key"].reveal(), f"youtube {ID}", True)
    assert made.cdn == {
        "ingestionType": "rtmp",
        "resolution": "variable",
        "frameRate": "variable",
    }
    assert world.guarded == 1
    world.context = world.a_context()
    assert world.issue() == first
    assert (world.api.writes, world.guarded) == (1, 1)


def test_a_title_is_recognised_by_the_whole_rotation_id() -> None:
    assert carries(f"youtube {ID}", ID) and carries(f"({ID})", ID) and carries(ID, ID)
    assert not any(carries(title, ID) for title in (f"{ID}0", f"x{ID}", "", ID[:-1], f"{ID}-2"))
    assert not carries("youtube ", "")


def test_of_several_of_one_rotation_one_stays(world: World) -> None:
    world.api.add("Sunday")
    oldest = world.api.add(f"youtube {ID}")
    for _more in range(2):
        world.api.add(f"youtube {ID}")
    assert world.issue()["stream_id"] == oldest.id
    assert sorted(world.titled()) == ["Sunday", f"youtube {ID}"]
    assert (world.api.writes, world.guarded) == (2, 2)


def test_check_mode_makes_nothing(world: World) -> None:
    world.context = world.a_context(check_mode=True)
    found = world.issue()
    assert found == dict.fromkeys(("key", "stream_id", "ingest"), Secret.new())
    stream = world.api.add(f"youtube {ID}")
    stage = Stage(ID, "retiring", {"stream_id": stream.id})
    outcome = world.revoke(stage)
    assert outcome.changed and outcome.facts == {"deleted": [stream.id]}
    assert (world.api.writes, world.guarded) == (0, 0)


@pytest.mark.parametrize("status", [CUT, 500, 503])
def test_a_stream_that_was_made_without_an_answer_is_found(world: World, status: int) -> None:
    world.api.add("Sunday 1")
    world.api.add("Sunday 2")
    world.api.fail(INSERT, Fault(Reply(status), after=True))
    fields = world.issue()
    assert world.api.streams[fields["stream_id"]].title == f"youtube {ID}"
    assert world.titled().count(f"youtube {ID}") == 1
    assert world.api.asked[INSERT] == 1


def test_a_server_that_failed_is_asked_again_when_nothing_came_of_it(world: World) -> None:
    world.api.fail(INSERT, Fault(Reply(500)), Fault(Reply(503)))
    assert world.issue()["stream_id"] in world.api.streams
    assert (world.api.asked[INSERT], world.api.writes) == (3, 1)


def test_what_is_not_known_is_left_to_the_next_run(world: World) -> None:
    """Nothing is to be found, but the request may still be under way: a second one could make a second stream."""
    world.api.fail(INSERT, Fault(Reply(CUT)))
    world.fails(Unreachable, "it may have been done all the same.* Run again", world.issue)
    assert world.api.asked[INSERT] == 1
    assert world.issue()["stream_id"] in world.api.streams
    assert world.api.writes == 1


def test_a_slow_request_is_waited_for(world: World) -> None:
    """It takes effect after nobody listened any more."""
    world.api.fail(INSERT, Fault(slow=1.3))
    document = Document("youtube", b"", pending=INTENDED)
    issuer = world.issuer({"timeout": "1s"})
    fields = issuer.issue(INTENDED, document, world.context, world.guard)
    assert list(world.api.streams) == [fields["stream_id"]]
    assert world.api.asked[INSERT] == 1


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(400, {"error": "invalid_request"}), r"no access token is given \(status 400\)"),
        (Reply(200, {"access_token": "two words"}), "the answer holds no access token"),
        (Reply(200, []), "the answer holds no access token"),
        (Reply(404), "the answer with status 404 is no JSON; is this the API's address"),
        (
            Reply(429, None, {"Retry-After": "60"}),
            "cannot get an access token: status 429; it asks",
        ),
    ],
)
def test_a_token_that_is_not_to_be_had(world: World, reply: Reply, says: str) -> None:
    world.api.fail(f"POST {TOKEN}", Fault(reply))
    (told,) = world.issuer().check(None, world.context)
    assert re.search(says, told) and "login.credentials (token from http://127.0.0.1" in told
    assert not world.api.asked[LIST]


def test_a_lost_stream_that_shows_up_late_does_not_stay(world: World) -> None:
    world.api.fail(INSERT, Fault(Reply(500)))
    late = Fault()
    issuer_look = world.api.answer

    def answer(asked: Any) -> Reply:
        # It was made by the request that was answered with 500, and is listed only after the second one.
        if world.api.name(asked) == INSERT:
            world.api.add(f"youtube {ID}")
        return issuer_look(asked)

    world.api.answer = answer  # type: ignore[method-assign]
    world.api.fail(INSERT, late)
    fields = world.issue()
    assert world.titled() == [f"youtube {ID}"]
    assert list(world.api.streams) == [fields["stream_id"]]


def test_a_server_that_is_busy_is_asked_later(world: World) -> None:
    wait = {"Retry-After": "1"}
    world.api.fail(INSERT, Fault(Reply(429, None, wait)), Fault(refusal(403, "rateLimitExceeded")))
    world.api.fail(LIST, Fault(Reply(503)), Fault(Reply(CUT)), Fault(Reply(500)))
    assert world.issue()["stream_id"] in world.api.streams
    assert (world.api.asked[INSERT], world.api.writes, world.guarded) == (3, 1, 3)


def test_a_server_that_asks_for_too_much_patience(world: World) -> None:
    world.api.fail(LIST, Fault(Reply(429, None, {"Retry-After": "3600"})))
    world.fails(Unreachable, "status 429; it asks to be left alone for 3600 s", world.issue)


def test_a_server_that_is_not_there(world: World) -> None:
    with YouTubeApi() as gone:
        pass
    issuer = world.issuer({"api": gone.url, "timeout": "1s"})
    (told,) = issuer.check(None, world.context)
    assert re.search(r"cannot list the streams: nothing listens there\. Tried for 1 s", told)


def test_a_token_that_is_too_old_is_made_anew_once(world: World) -> None:
    issuer = world.issuer()
    assert issuer.check(None, world.context) == []
    world.api.expire()
    assert issuer.check(None, world.context) == []
    assert world.api.asked[f"POST {TOKEN}"] == 2
    world.api.fail(LIST, Fault(refusal(401, "authError")), Fault(refusal(401, "authError")))
    (told,) = issuer.check(None, world.context)
    assert "the access token is not accepted" in told


def test_a_token_that_expires_right_before_the_write(world: World) -> None:
    world.api.fail(INSERT, Fault(refusal(401, "authError")))
    assert world.issue()["stream_id"] in world.api.streams
    assert (world.api.asked[f"POST {TOKEN}"], world.api.writes) == (2, 1)


def test_an_access_token_alone_will_do_while_it_lasts(world: World) -> None:
    world.api.tokens["tok-en"] = world.api.scopes
    environ = {"T": "tok-en"}
    context = Context(environ=environ)
    issuer = world.issuer({"credentials": {"access_token": "ref+envsubst://$T"}})
    assert issuer.check(None, context) == []
    world.api.expire()
    (told,) = issuer.check(None, context)
    assert "the access token is not accepted" in told
    assert not world.api.asked[f"POST {TOKEN}"]


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (
            refusal(403, "quotaExceeded"),
            Refused,
            "quota of this API is used up: it is filled again",
        ),
        (refusal(403, "liveStreamingNotEnabled"), Denied, "live streaming is not enabled for this"),
        (
            refusal(403, "insufficientPermissions"),
            Denied,
            "may not make and delete streams: log in",
        ),
        (refusal(403, "accessNotConfigured"), Denied, "Data API v3 is not enabled in the project"),
        (refusal(403, "forbidden"), Denied, "log in as the owner of the channel"),
        (refusal(400, "invalidCdn"), BadInput, "check cdn and title"),
        (refusal(404, "notFound"), Refused, "check login.api"),
        (Reply(418), Unreachable, "status 418"),
        (Reply(200, {"items": "x"}), Unreachable, "not what YouTube's API describes"),
        (Reply(200, {"items": [{"id": "a b"}]}), Unreachable, "not what YouTube's API describes"),
        (Reply(200), Unreachable, "is no JSON"),
    ],
)
def test_what_the_api_refuses_is_told_with_what_to_do(
    world: World, reply: Reply, kind: type[KeyturnError], says: str
) -> None:
    world.api.fail(LIST, Fault(reply))
    world.fails(kind, says, world.issue)


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("refresh_token", "the refresh token is not valid any more"),
        ("client_secret", "the client id and secret are not accepted"),
    ],
)
def test_a_login_that_is_not_accepted(world: World, lost: str, says: str) -> None:
    setattr(world.api.login, lost, new_token())
    (told,) = world.issuer().check(None, world.context)
    assert says in told
    world.said.append(told)


def test_a_login_that_may_only_read(world: World) -> None:
    world.api.scopes = "https://www.googleapis.com/auth/youtube.readonly"
    (told,) = world.issuer().check(None, world.context)
    assert "may not make and delete streams: log in" in told and "auth/youtube," in told
    world.fails(Denied, "may not make and delete streams", world.issue)
    assert not world.api.streams


def test_broadcasts_on_the_stream_in_use_are_told_before_a_rotation(world: World) -> None:
    stream = world.api.add("in use")
    broadcast = world.api.bind(stream)
    world.api.bind(stream, "complete")
    current = Stage("r1", "observed", {"key": Secret(stream.key), "stream_id": stream.id})
    assert world.issuer().check(Document("y", b"", current=current), world.context) == []
    (told,) = world.said
    assert told.startswith(f"broadcast {broadcast.id} (ready) is bound to the stream in use")


def test_the_named_broadcast_is_bound_to_the_stream_in_use(world: World) -> None:
    stage, old = world.issued(), world.api.add("old")
    broadcast = world.api.bind(old)
    issuer = world.issuer(broadcast=broadcast.id)
    assert issuer.uses and not world.issuer().uses
    document = Document("youtube", b"", current=stage)
    current = Stage("r1", "observed", {"stream_id": old.id})
    assert issuer.check(Document("y", b"", current=current), world.context) == []
    assert world.said == []
    dry = issuer.use(stage, document, world.a_context(check_mode=True), world.guard)
    assert dry.changed and broadcast.stream == old.id
    world.api.fail(BIND, Fault(Reply(CUT), after=True))
    done = issuer.use(stage, document, world.context, world.guard)
    assert done.changed and broadcast.stream == stage.text("stream_id")
    assert done.before == dry.before and done.after == dry.after
    assert not issuer.use(stage, document, world.context, world.guard).changed
    assert not world.issuer().use(stage, document, world.context, world.guard).changed
    assert world.api.asked[BIND] == 2


def test_a_broadcast_that_cannot_be_bound(world: World) -> None:
    stage, old = world.issued(), world.api.add("old")
    broadcast = world.api.bind(old, "live")
    document = Document("youtube", b"", current=stage)
    issuer = world.issuer(broadcast=broadcast.id)

    def use() -> Any:
        return issuer.use(stage, document, world.context, world.guard)

    says = rf"broadcast {re.escape(broadcast.id)} is on the air \(live\)"
    (told,) = issuer.check(None, world.context)
    assert re.search(says, told)
    world.fails(Refused, says, use)
    broadcast.state = "complete"
    assert issuer.check(None, world.context) == []
    assert not use().changed
    assert "is over, so it is bound to nothing any more" in world.said[-1]
    broadcast.state = "ready"
    world.api.fail(BIND, Fault(refusal(403, "liveBroadcastBindingNotAllowed")))
    world.fails(Refused, "does not let it be bound to another stream", use)
    world.api.broadcasts.clear()
    (told,) = issuer.check(None, world.context)
    assert "this channel has no broadcast" in told
    world.fails(Refused, "this channel has no broadcast", use)
    assert broadcast.stream == old.id


def test_a_title_that_gets_too_long(world: World) -> None:
    document = Document("c" * 120, b"", pending=INTENDED)
    world.fails(
        BadInput,
        "makes a title of 142 characters, and YouTube takes 128",
        lambda: world.issuer().issue(INTENDED, document, world.context, world.guard),
    )
    assert not world.api.asked[INSERT]


def test_the_old_stream_is_deleted_once(world: World) -> None:
    stage = world.issued()
    other = world.api.add("Sunday")
    outcome = world.revoke(stage)
    assert outcome.changed and outcome.facts == {"deleted": [stage.text("stream_id")]}
    assert list(world.api.streams) == [other.id]
    assert not world.revoke(stage).changed
    assert world.guarded == 2


@pytest.mark.parametrize("status", [CUT, 500])
def test_a_deletion_without_an_answer_is_asked_again(world: World, status: int) -> None:
    stage = world.issued()
    world.api.fail(DELETE, Fault(Reply(status), after=True))
    assert world.revoke(stage).changed
    assert not world.api.streams and world.api.asked[DELETE] == 2


def test_a_stage_without_a_key_ends_whatever_names_its_rotation(world: World) -> None:
    world.api.add("Sunday")
    for _time in range(3):
        world.api.add(f"renamed since: {ID}")
    stage = Stage(ID, "abandoning", {})
    outcome = world.issuer(title="{rotation_id}").revoke(
        stage, Document("youtube", b"", pending=stage), world.context, world.guard
    )
    assert outcome.changed and len(outcome.facts["deleted"]) == 3
    assert world.titled() == ["Sunday"]


def test_a_stream_that_is_sent_to_is_not_deleted(world: World) -> None:
    stage = world.issued()
    stream = world.api.streams[stage.text("stream_id")]
    stream.state = "active"
    broadcast = world.api.bind(stream, "live")
    says = rf"somebody sends to it now; broadcast {re.escape(broadcast.id)} \(live\) is bound to it"
    world.fails(Refused, says, lambda: world.revoke(stage))
    stream.state = "inactive"
    world.fails(Refused, "End it, or bind it to the stream", lambda: world.revoke(stage))
    world.api.fail(f"GET {BROADCASTS}", Fault(Reply(200, {})), Fault(Reply(200, {})))
    world.fails(Refused, "a broadcast that is not over is bound", lambda: world.revoke(stage))
    assert stream.id in world.api.streams
    broadcast.state = "complete"
    stream.state = "active"
    assert world.revoke(Stage(ID, "retiring", stage.fields, compromised=True)).changed


def test_who_uses_a_stream(world: World) -> None:
    stage, issuer = world.issued(), world.issuer()
    assert issuer.sessions(stage, world.context) == []
    stream = world.api.streams[stage.text("stream_id")]
    stream.state = "active"
    broadcast = world.api.bind(stream, "live")
    found = [(str(user), user.sending) for user in issuer.sessions(stage, world.context) or []]
    assert found == [
        (f"a sender to stream {stream.id} (its status is active)", True),
        (f"broadcast {broadcast.id} (live), bound to stream {stream.id}", False),
    ]
    del world.api.streams[stream.id]
    assert issuer.sessions(stage, world.context) == []
    assert issuer.sessions(INTENDED, world.context) == []


def test_a_stream_that_another_stage_has_is_not_deleted(world: World) -> None:
    stage = world.issued()
    current = Stage("r2", "observed", stage.fields)
    world.fails(Refused, "the current stage", lambda: world.revoke(stage, current=current))
    assert world.api.streams


def test_a_run_that_lost_its_claim_writes_nothing(world: World) -> None:
    def lost() -> None:
        raise Conflict("this run lost its claim")

    issuer = world.issuer()
    with pytest.raises(Conflict):
        issuer.issue(INTENDED, NOTHING, world.context, lost)
    stage = world.issued()
    with pytest.raises(Conflict):
        issuer.revoke(stage, NOTHING, world.context, lost)
    assert len(world.api.streams) == 1


def test_a_key_in_use_is_adopted(world: World) -> None:
    for number in range(3):
        world.api.add(f"Sunday {number}")
    mine = world.api.add("in use for years")
    issuer = world.issuer()
    found = issuer.adopt({"key": Secret(mine.key)}, world.context)
    assert found["stream_id"] == mine.id and found["key"] == Secret(mine.key)
    for fields in ({}, {"key": Secret("x"), "stream_id": "y"}):
        with pytest.raises(BadInput, match="give its key alone"):
            issuer.adopt(fields, world.context)
    once = world.api.add("one broadcast", reusable=False)
    for key in (once.key, "of somebody else"):
        wanted = {"key": Secret(key)}
        with pytest.raises(Refused, match="none of this channel's streams has the given key"):
            issuer.adopt(wanted, world.context)


def test_pages_that_never_end(world: World) -> None:
    page = Reply(200, {"items": [], "nextPageToken": "again"})
    world.api.fail(LIST, Fault(page), Fault(page))
    world.fails(Unreachable, "not what YouTube's API describes", world.issue)


def test_capabilities(world: World) -> None:
    issuer = world.issuer()
    assert (issuer.overlap, issuer.cutover, issuer.returns) == (True, False, True)
    assert issuer.secret_fields == {"key"}
    stage = world.issued()
    for operation in (issuer.apply, issuer.drop):
        assert not operation(stage, NOTHING, world.context, world.guard).changed
