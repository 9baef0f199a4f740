# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer of keys of any platform with an API, against two small ones."""

from __future__ import annotations

import copy
import json
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
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from api_server import CUT, Fault, Reply
from stream_api import LIST, MAKE, RESET, SET, StreamApi

ID = "r20261122110000abcdef"
INTENDED = Stage(ID, "intended", {})
NAME = "{credential} {rotation_id}"
OVERLAP: dict[str, Any] = {
    "type": "generic_http",
    "overlap": True,
    "login": {"base_url": "https://api.example/v1", "token": "ref+envsubst://$TOKEN"},
    "issue": {
        "path": "/keys",
        "body": {"name": NAME, "options": [True, 3, None]},
        "key": "/data/a~1b/stream~0key",
        "fields": {"id": "/data/id"},
        "find": {
            "path": "/keys",
            "items": "/data",
            "name": "/label",
            "key": "/key",
            "fields": {"id": "/id"},
            "next": {"pointer": "/next", "query": "after"},
        },
    },
    "revoke": {"path": "/keys/{stage.id}"},
    "check": {"path": "/me"},
}
SINGLE: dict[str, Any] = {
    "type": "generic_http",
    "overlap": False,
    "login": OVERLAP["login"],
    "issue": {"path": "/reset", "body": {}, "key": "/key"},
}


def changed(definition: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The definition with another value at one place; none takes it out."""
    made = copy.deepcopy(definition)
    inner, (*way, last) = made, path.split(".")
    for name in way:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return made


class World:
    """A platform, issuers for it, and what was said."""

    def __init__(self, api: StreamApi) -> None:
        self.api = api
        self.said: list[str] = []
        self.guarded = 0
        self.context = self.a_context()

    def a_context(self, check_mode: bool = False) -> Context:
        return Context(check_mode, environ={"TOKEN": self.api.token}, warn=self.said.append)

    def issuer(self, definition: dict[str, Any] | None = None) -> Issuer:
        definition = definition or OVERLAP
        login = {**definition["login"], "base_url": f"{self.api.url}/v1", "timeout": "2s"}
        return open_issuer({**definition, "login": login}, self.context)

    def guard(self) -> None:
        self.guarded += 1

    def issue(self, definition: dict[str, Any] | None = None) -> dict[str, Any]:
        document = Document("restream", b"", pending=INTENDED)
        issuer = self.issuer(definition)
        return dict(issuer.issue(INTENDED, document, self.context, self.guard))

    def issued(self) -> Stage:
        return Stage(ID, "retiring", self.issue())

    def revoke(
        self, stage: Stage, definition: dict[str, Any] | None = None, **stages: Stage
    ) -> Any:
        document = Document("restream", b"", previous=stage, **stages)
        return self.issuer(definition).revoke(stage, document, self.context, self.guard)

    def fails(self, kind: type[KeyturnError], told: str, ask: Any) -> None:
        with pytest.raises(kind, match=told) as caught:
            ask()
        assert caught.type is kind
        self.said.append(f"{caught.value} {caught.value!r} {caught.value.details}")

    def names(self) -> list[str]:
        return [name for name, _key in self.api.keys.values()]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # Each request reads the system's certificates, which nothing here needs and which takes longer than all the rest.
    monkeypatch.setattr("ssl.SSLContext.set_default_verify_paths", lambda _context: None)
    with StreamApi() as api:
        found = World(api)
        yield found
        assert not api.wrong
        text = "\n".join([*found.said, *api.lines])
        assert "told by" not in text
        assert not any(value in text for value in api.secrets)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("overlap", None, r"keyturn_issuer\.overlap: missing; true where the platform accepts"),
        ("url", "x", r"keyturn_issuer: unknown key url; expected some of type, login"),
        ("login", "x", r"keyturn_issuer\.login: expected a mapping with some of base_url"),
        ("login.base_url", "http://api.example", r"login\.base_url: over plain http the login"),
        ("login.base_url", "https://me:x@api.example", r"base_url: the address holds a user name"),
        ("login.token", None, r"keyturn_issuer\.login: expected token .* or headers"),
        ("login.headers", {"X-Api-Key": "hunter2"}, r"headers\.X-Api-Key: a secret does not bel"),
        ("issue", None, r"keyturn_issuer\.issue: expected a mapping with some of method"),
        ("issue.path", "keys", r"issue\.path: expected a path after login\.base_url that begins"),
        ("issue.path", "/keys?x=1", r"issue\.path: .* stands in query"),
        ("issue.path", "//evil.example/x", r"issue\.path: expected a path"),
        ("issue.method", "FETCH", r"issue\.method: 'FETCH' is unknown; expected POST"),
        ("issue.key", "data.key", r"issue\.key: expected a JSON pointer \(RFC 6901\), such as"),
        ("issue.key", "/a~2", r"issue\.key: expected a JSON pointer"),
        ("issue.status", [200, "ok"], r"issue\.status: expected an HTTP status such as 200"),
        ("issue.body", "name=x", r"issue\.body: expected a mapping or a list, which is sent as"),
        ("issue.body", {"name": "{rotation}"}, r"body\.name: there is no placeholder \{rotation\}"),
        ("issue.body", {"x": "{stage.id}"}, r"body\.x: the stage has no field 'id' then; there is"),
        ("issue.body", {"x": "{pending.id}"}, r"body\.x: write \{stage\.FIELD\}"),
        ("issue.body", {"name": "new"}, r"issue: has to tell the platform \{rotation_id\}"),
        ("issue.fields", {"key": "/k"}, r"issue\.fields: 'key' cannot be the name of a field"),
        ("issue.find", None, r"issue\.find: missing; a run that is killed .* leaves_keys: accept"),
        ("issue.leaves_keys", "yes", r"issue\.leaves_keys: expected accept"),
        ("issue.find.fields", {}, r"issue\.find\.fields: has to tell where each of .*: id"),
        ("issue.find.items", None, r"issue\.find\.items: expected a JSON pointer"),
        ("issue.find.next", {"pointer": "/n"}, r"issue\.find\.next: expected link, or pointer"),
        ("issue.find.method", "POST", r"issue\.find: unknown key method"),
        ("revoke", None, r"keyturn_issuer\.revoke: missing; tell how an old key is ended"),
        ("revoke.path", "/keys/{stage.key}", r"revoke\.path: \{stage\.key\} is secret, and addr"),
        ("revoke.query", {"k": "{stage.key}"}, r"revoke\.query\.k: \{stage\.key\} is secret"),
        ("revoke.path", "/keys/{stage.name}", r"revoke\.path: the stage has no field 'name' then"),
        ("revoke.path", "/keys/{stage.id|rot13}", r"revoke\.path: placeholder \{stage\.id\|rot13"),
        ("check.method", "POST", r"check\.method: expected GET: a dry run asks this, too"),
        ("check.body", {"x": 1}, r"check\.body: .* no body with GET"),
    ],
)
def test_a_wrong_definition(path: str, value: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        open_issuer(changed(OVERLAP, path, value), Context())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("returns", True, r"keyturn_issuer\.returns: without overlap the old key is ended"),
        ("issue.leaves_keys", "accept", r"issue: find and leaves_keys have no meaning without"),
        ("revoke", {"path": "/x"}, r"keyturn_issuer\.revoke: has no meaning without overlap"),
    ],
)
def test_a_wrong_definition_without_overlap(path: str, value: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        open_issuer(changed(SINGLE, path, value), Context())


def test_capabilities(world: World) -> None:
    both, single = world.issuer(), world.issuer(SINGLE)
    assert (both.overlap, both.returns, both.cutover, both.uses) == (True, True, False, False)
    assert (single.overlap, single.returns, single.cutover) == (False, False, False)
    setting = changed(SINGLE, "apply", {"path": "/key", "body": {"key": "{stage.key}"}})
    assert world.issuer(changed(setting, "returns", True)).returns
    assert both.secret_fields == {"key"}
    world.fails(
        BadInput,
        "the platform makes the key",
        lambda: both.check_generate({"key": {}}, world.context),
    )
    assert both.propose(None, {}, world.context) == {}
    assert both.sessions(INTENDED, world.context) is None


def test_a_key_is_made_once_and_found_again_on_the_second_page(world: World) -> None:
    for number in range(3):
        world.api.add(f"Sunday {number}")
    first = world.issue()
    name, key = world.api.keys[first["id"]]
    assert (name, first["key"]) == (f"restream {ID}", Secret(key))
    assert world.issue() == first
    assert (world.api.writes, world.guarded) == (1, 1)


def test_pages_by_link(world: World) -> None:
    world.api.links = True
    for number in range(5):
        world.api.add(f"Sunday {number}")
    linked = changed(OVERLAP, "issue.find.next", "link")
    assert world.issue(linked) == world.issue(linked)
    assert (world.api.writes, world.api.asked[LIST]) == (1, 6)
    away = {"Link": '<https://evil.example/keys?after=1>; rel="next"'}
    world.api.fail(LIST, Fault(Reply(200, {"data": []}, away)))
    world.fails(BadInput, "the next page is at another host", lambda: world.issue(linked))


def test_pages_that_go_round(world: World) -> None:
    page = Reply(200, {"data": [], "next": 7})
    world.api.fail(LIST, Fault(page), Fault(page))
    world.fails(Unreachable, r"or goes round: check keyturn_issuer\.issue\.find\.next", world.issue)


@pytest.mark.parametrize("status", [CUT, 502])
def test_a_key_that_was_made_without_an_answer_is_found(world: World, status: int) -> None:
    world.api.fail(MAKE, Fault(Reply(status), after=True))
    fields = world.issue()
    assert world.names() == [f"restream {ID}"]
    assert list(world.api.keys) == [fields["id"]]
    assert world.api.asked[MAKE] == 1


@pytest.mark.parametrize("status", [CUT, 502])
def test_where_keys_are_shown_once_a_lost_one_is_ended(world: World, status: int) -> None:
    world.api.shows = False
    world.api.add("Sunday")
    world.api.fail(MAKE, Fault(Reply(status), after=True))
    fields = world.issue(changed(OVERLAP, "issue.find.key", None))
    assert sorted(world.names()) == ["Sunday", f"restream {ID}"]
    assert world.api.keys[fields["id"]][1] == fields["key"].reveal()
    assert (world.api.asked[MAKE], world.api.asked["DELETE"]) == (2, 1)


def test_a_platform_that_never_answers_well_is_not_asked_for_ever(world: World) -> None:
    world.api.shows = False
    once = changed(OVERLAP, "issue.find.key", None)
    world.api.fail(MAKE, *[Fault(Reply(502), after=True)] * 40)
    world.fails(Unreachable, "status 502 when asked to make a key", lambda: world.issue(once))
    assert 1 < world.api.asked[MAKE] < 10 and len(world.api.keys) == 1
    assert world.revoke(Stage(ID, "abandoning", {}), once).facts == {"ended": 1}


def test_a_run_that_was_killed_leaves_one_that_the_next_one_ends(world: World) -> None:
    world.api.shows = False
    lost = world.api.add(f"restream {ID}")
    fields = world.issue(changed(OVERLAP, "issue.find.key", None))
    assert list(world.api.keys) == [fields["id"]]
    assert lost not in world.api.keys


def test_of_several_one_stays(world: World) -> None:
    first = world.api.add(f"restream {ID}")
    for _more in range(3):
        world.api.add(f"{ID} (copy)")
    assert world.issue()["id"] == first
    assert list(world.api.keys) == [first]


def test_without_a_list_a_lost_key_is_told(world: World) -> None:
    blind = changed(changed(OVERLAP, "issue.find", None), "issue.leaves_keys", "accept")
    world.api.fail(MAKE, Fault(Reply(CUT), after=True))
    says = "it is not asked twice. Look at the platform for a key that nobody knows"
    world.fails(Unreachable, says, lambda: world.issue(blind))
    assert world.api.asked[MAKE] == 1
    assert world.issue(blind)["id"] in world.api.keys
    abandoned = Stage(ID, "abandoning", {})
    assert not world.revoke(abandoned, blind).changed
    assert f"for rotation {ID} is not known" in world.said[-1]


def test_without_overlap_a_reset_is_asked_again_by_the_next_run(world: World) -> None:
    world.api.fail(RESET, Fault(Reply(CUT), after=True))
    says = "which ends every other one"
    world.fails(Unreachable, says, lambda: world.issue(SINGLE))
    assert world.api.asked[RESET] == 1
    fields = world.issue(SINGLE)
    assert fields == {"key": Secret(world.api.single)}
    stage = Stage(ID, "retiring", fields)
    assert not world.revoke(stage, SINGLE).changed
    assert world.issuer(SINGLE).check(None, world.context) == []


def test_a_platform_that_can_be_told_a_key(world: World) -> None:
    setting = changed(SINGLE, "apply", {"path": "/key", "body": {"key": "{stage.key}"}})
    issuer = world.issuer(changed(setting, "returns", True))
    old = world.api.single
    stage = Stage("r1", "promoted", {"key": Secret(old)})
    document = Document("restream", b"", current=stage)
    world.issue(SINGLE)
    assert world.api.single != old
    dry = world.a_context(check_mode=True)
    assert issuer.apply(stage, document, dry, world.guard).changed
    assert not world.api.asked[SET]
    assert issuer.apply(stage, document, world.context, world.guard).changed
    assert world.api.single == old
    assert not world.issuer().apply(stage, document, world.context, world.guard).changed


def test_check_mode_makes_nothing(world: World) -> None:
    made = world.api.add(f"restream {ID}")
    world.context = world.a_context(check_mode=True)
    assert world.issue() == {"key": Secret.new(), "id": Secret.new()}
    assert world.revoke(Stage(ID, "retiring", {"id": made})).changed
    assert world.revoke(Stage(ID, "abandoning", {})).facts == {"ended": 1}
    assert (world.api.writes, world.guarded) == (0, 0)


def test_an_old_key_is_ended_once(world: World) -> None:
    stage, other = world.issued(), world.api.add("Sunday")
    assert "/" in stage.text("id")
    assert world.revoke(stage).changed
    assert list(world.api.keys) == [other]
    assert not world.revoke(stage).changed
    world.fails(
        Refused,
        "the current stage of restream has it as well",
        lambda: world.revoke(stage, current=Stage("r2", "observed", stage.fields)),
    )


def test_a_stage_without_a_key_ends_whatever_bears_its_rotation(world: World) -> None:
    world.api.add("Sunday")
    for _time in range(3):
        world.api.add(f"renamed: {ID}")
    assert world.revoke(Stage(ID, "abandoning", {})).facts == {"ended": 3}
    assert world.names() == ["Sunday"]


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_an_address_without_a_name_is_not_asked(world: World, name: str) -> None:
    stage = Stage(ID, "retiring", {"id": name, "key": Secret("k")})
    world.fails(BadInput, "the field 'id' is empty or no name", lambda: world.revoke(stage))
    assert not world.api.lines


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (Reply(401), Denied, "the login is not accepted: check login.token"),
        (Reply(403), Denied, "this login may not do that"),
        (Reply(404), Absent, r"check keyturn_issuer\.issue\.path and login\.base_url"),
        (Reply(422, {"told by": "x"}), BadInput, r"check keyturn_issuer\.issue\.body"),
        (Reply(302, None, {"Location": "https://evil.example"}), BadInput, "it redirects: name"),
        (Reply(418), Unreachable, "status 418; run again later"),
        (Reply(201, {"data": {"id": "x"}}), BadInput, r"issue\.key: the answer has no text there"),
        (Reply(201, {"data": {}}), BadInput, r"fields\.id: the answer has no text or number there"),
        (Reply(201, []), BadInput, r"fields\.id: the answer has no text or number there"),
        (Reply(201), Unreachable, "the answer with status 201 is no JSON"),
        (
            Reply(201, {"data": {"id": "same", "a/b": {"stream~key": "same"}}}),
            BadInput,
            "that is the key itself, which is secret",
        ),
    ],
)
def test_what_the_platform_refuses_is_told_with_what_to_do(
    world: World, reply: Reply, kind: type[KeyturnError], says: str
) -> None:
    world.api.fail(MAKE, Fault(reply))
    world.fails(kind, says, world.issue)


def test_a_list_that_is_none(world: World) -> None:
    world.api.fail(LIST, Fault(Reply(200, {"keys": []})))
    world.fails(BadInput, r"issue\.find\.items: the answer has no list there", world.issue)


def test_the_login_is_checked_before_anything_is_made(world: World) -> None:
    assert world.issuer().check(None, world.context) == []
    world.context = Context(environ={"TOKEN": "of somebody else"})
    (told,) = world.issuer().check(None, world.context)
    assert "cannot check the login: the login is not accepted" in told
    world.context = Context(environ={"TOKEN": "two\nlines"})
    world.fails(
        BadInput,
        "Authorization holds a line break",
        lambda: world.issuer().check(None, world.context),
    )
    named = {"X-Api-Token": "ref+envsubst://$TOKEN", "Accept-Language": "en"}
    login = {**OVERLAP["login"], "headers": named}
    world.context = world.a_context()
    assert world.issuer({**OVERLAP, "login": login}).check(None, world.context) == []


def test_a_run_that_lost_its_claim_writes_nothing(world: World) -> None:
    def lost() -> None:
        raise Conflict("this run lost its claim")

    document = Document("restream", b"", pending=INTENDED)
    with pytest.raises(Conflict):
        world.issuer().issue(INTENDED, document, world.context, lost)
    assert not world.api.writes


def test_a_key_in_use_is_adopted(world: World) -> None:
    made = [world.api.add(f"Sunday {number}") for number in range(4)][-1]
    key = Secret(world.api.keys[made][1])
    issuer = world.issuer()
    assert issuer.adopt({"key": key}, world.context) == {"key": key, "id": made}
    given = {"key": key, "id": "as told"}
    assert issuer.adopt(given, world.context) == given
    unknown = {"key": Secret("of nobody")}
    world.fails(Refused, "lists no such key", lambda: issuer.adopt(unknown, world.context))
    once = world.issuer(changed(OVERLAP, "issue.find.key", None))
    world.fails(
        BadInput, "give the fields key, id", lambda: once.adopt({"key": key}, world.context)
    )


def test_what_is_sent(world: World) -> None:
    sent: list[Any] = []
    answer = world.api.answer

    def listening(asked: Any) -> Reply:
        if asked.body:
            sent.append(json.loads(asked.body))
        return answer(asked)

    world.api.answer = listening  # type: ignore[method-assign]
    world.issue()
    assert sent == [{"name": f"restream {ID}", "options": [True, 3, None]}]
