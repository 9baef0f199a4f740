# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers behind one barrier, with real programs: nobody is told before all are ready, and all are told at once."""

from __future__ import annotations

import json
import secrets
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import _receipts
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumer import (
    MODULE,
    prepare,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumer_part import parts
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    parse_consumers,
    turns,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._together import (
    Member,
    tell_together,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
    ProbeFailed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import asked, execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, to_plain

# Tells that it was told, and then waits for the other one: one after the other, the first would wait in vain.
WAITS = "echo told >> {mine}; for i in $(seq 40); do test -s {other} && exit 0; sleep 0.05; done; exit 9"


class Pair:
    """A credential that two programs read, behind one barrier."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keyring = folder / "keyring.json"
        document = Document("token", secrets.token_bytes(32))
        fields = {"value": Secret(secrets.token_urlsafe(16))}
        stage = document.with_fingerprints(Stage("r1", "promoted", fields))
        self.keyring.write_text(dump_text(replace(document, current=stage)))
        self.consumers = [self._one("hub", "runner"), self._one("runner", "hub")]

    def _one(self, name: str, other: str) -> dict[str, Any]:
        mine, its = (shlex.quote(str(self.folder / it)) for it in (name, other))
        argv = ["sh", "-c", WAITS.format(mine=mine, other=its)]
        return {"name": name, "type": "command", "barrier": "pair", "argv": argv}

    def told(self, name: str) -> int:
        """How often it was told."""
        path = self.folder / name
        return len(path.read_text().splitlines()) if path.exists() else 0

    def receipts(self) -> dict[str, str]:
        found = parse_document(self.keyring.read_text()).receipts
        return {name: receipt.seen for name, receipt in found.items() if receipt.seen}

    def tell(self, check_mode: bool = False, diff: bool = False) -> dict[str, Any]:
        """What the task does that has one of them told."""
        context = Context(environ={}, check_mode=check_mode, diff=diff)
        access = {"keyring": f"ref+file://{self.keyring}", "credential": "token"}
        common = {**access, "consumers": self.consumers, "sinks": []}
        options = {name: spec.get("default") for name, spec in MODULE.argument_spec.items()}
        look = asked(_receipts.MODULE, {**options, **access}, **common)
        found = execute(_receipts.MODULE, look, context)
        [turn] = found["turns"] or [{}]
        if not turn:
            return {"changed": False}
        wanted = {name: turn[name] for name in ("definition", "together")}
        return execute(MODULE, {**options, **common, **wanted}, context)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_both_are_told_at_once_and_have_their_receipts(pair: Pair) -> None:
    predicted = pair.tell(check_mode=True, diff=True)
    assert (pair.told("hub"), pair.told("runner"), pair.receipts()) == (0, 0, {})
    done = pair.tell(diff=True)
    assert (pair.told("hub"), pair.told("runner")) == (1, 1)
    assert set(pair.receipts()) == {"hub", "runner"}
    assert [done["consumer"], done["together"][0]["consumer"]] == ["hub", "runner"]
    headers = [[diff["after_header"] for diff in it["diff"]] for it in (predicted, done)]
    assert headers == [["receipt of hub", "receipt of runner"]] * 2
    assert not pair.tell()["changed"]


def test_nobody_is_told_when_one_is_not_ready(pair: Pair) -> None:
    pair.consumers[1]["prepare"] = ["false"]
    with pytest.raises(ProbeFailed) as caught:
        pair.tell()
    assert caught.value.message == (
        "consumer runner: 'prepare': 'false' ended with exit code 1, so it was not told; run it by hand on this host to see what it "
        "says. Nobody behind its barrier was told"
    )
    assert (pair.told("hub"), pair.told("runner"), pair.receipts()) == (0, 0, {})
    for words, told in (
        (["no-such-program"], "program no-such-program was not found"),
        ("false", "consumers[1]: prepare"),
    ):
        pair.consumers[1]["prepare"] = words
        with pytest.raises(BadInput) as refused:
            pair.tell()
        assert told in refused.value.message


def test_one_that_fails_leaves_none_with_a_receipt(pair: Pair) -> None:
    pair.consumers[0]["seen"] = ["false"]
    pair.consumers[0]["timeout"] = "1s"
    with pytest.raises(ProbeFailed, match="consumer hub: its proof 'false' did not succeed"):
        pair.tell()
    assert (pair.told("hub"), pair.told("runner"), pair.receipts()) == (1, 1, {})
    for consumer in pair.consumers:
        consumer.update(seen=["false"], timeout="1s")
    with pytest.raises(ProbeFailed) as caught:
        pair.tell()
    assert "consumer hub: its proof" in caught.value.message
    assert "; consumer runner: its proof" in caught.value.message


def test_what_is_prepared_comes_before_any_telling(pair: Pair) -> None:
    order = pair.folder / "order"
    for consumer in pair.consumers:
        consumer["prepare"] = ["sh", "-c", f"echo ready >> {order}"]
        consumer["argv"] = ["sh", "-c", f"echo told >> {order}"]
    pair.tell()
    assert order.read_text().split() == ["ready", "ready", "told", "told"]


def test_each_gets_what_it_alone_may_know(pair: Pair) -> None:
    """A unit whose log is read needs the values to hide them; a command beside it gets none."""
    unit = {"name": "unit", "type": "systemd", "unit": "app", "barrier": "pair", "log": {}}
    for order in ([unit, pair.consumers[0]], [pair.consumers[0], unit]):
        access = {"keyring": f"ref+file://{pair.keyring}", "credential": "token"}
        options = {name: spec.get("default") for name, spec in MODULE.argument_spec.items()}
        first, second = order
        wanted = {"definition": first, "together": [{"definition": second}], "consumers": order}
        ready = prepare({**options, **access, **wanted}, Context(environ={}))
        found = {part.consumer.name: part.task.hidden for part in parts(ready, Context(environ={}))}
        assert len(found["unit"]) == 1 and found["hub"] == ()
        # As it arrives on another host.
        sent = {name: to_plain(ready[name]) for name in MODULE.argument_spec}
        sent = json.loads(json.dumps({name: it for name, it in sent.items() if it is not None}))
        checked = ArgumentSpecValidator(dict(MODULE.argument_spec)).validate(sent)
        assert not checked.error_messages
        there = parts(checked.validated_parameters, Context(environ={}))
        known = {part.consumer.name: part.task.hidden for part in there}
        assert [len(known[name]) for name in ("unit", "hub")] == [1, 0]
        assert known["unit"][0].reveal() == found["unit"][0].reveal()


def test_those_of_one_lane_follow_each_other() -> None:
    order: list[str] = []

    def member(name: str, lane: str, error: KeyturnError | None = None) -> Member:
        def tell() -> dict[str, Any]:
            order.append(name)
            time.sleep(0.05)
            order.append(name)
            if error:
                raise error
            return {"consumer": name}

        return Member(lambda: None, tell, lane)

    done = tell_together([member("a", "one"), member("b", ""), member("c", "one")])
    assert [result["consumer"] for result in done] == ["a", "b", "c"]
    of_lane = [name for name in order if name != "b"]
    assert of_lane == ["a", "a", "c", "c"] and order[:4] != of_lane
    order.clear()
    with pytest.raises(ProbeFailed, match=r"^a; b$"):
        tell_together(
            [
                member("a", "one", ProbeFailed("a")),
                member("b", "", ProbeFailed("b")),
                member("c", "one"),
            ]
        )
    assert "c" not in order


def test_a_turn_is_of_one_barrier_on_one_host() -> None:
    places = {"a": ("x", ""), "b": ("", ""), "c": ("x", "app1"), "d": ("x", ""), "e": ("x", "app1")}
    given = [
        {"type": "none", "name": name, **({"barrier": at} if at else {}), "host": host or None}
        for name, (at, host) in places.items()
    ]
    found = [[one.name for one in turn] for turn in turns(parse_consumers(given))]
    assert found == [["a", "d"], ["b"], ["c", "e"]]
