# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs at one keyring, in any order: each with a copy that may be old, dying anywhere, taken over, while hours go by.

The gates, the order of the steps, compare-and-set and the transitions are the product's own. ``two_writers`` says what must stay
true after every single act.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _access,
    _issue,
    _transitions,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import KeyringAccess
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Conflict,
    KeyturnError,
    ProbeFailed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._gates import Facts, gates, refusals
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import chain_faults, once
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import Policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight import NOTHING, todo
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedures import (
    PROCEDURES,
    Progress,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._transitions import transition
from two_writers import (
    CONSUMERS,
    GRACE,
    LEGACY,
    Act,
    Killed,
    MemoryLedger,
    ModelIssuer,
    World,
    acts_of,
    login,
)

Event = tuple[Any, ...]
# Steps that a module records after it did its work, for the rotation that it did it for.
RECORDED = ("applied", "proved", "promote", "observed")
# What asks for nothing that somebody would have to have done first.
HONEST = (
    "claim",
    "stage",
    "promote",
    "promote",
    "abandon",
    "rollback",
    "retire",
    "retire",
    "note",
    "revoke_first",
)
WRITERS = ("ann", "bob")
LENGTH = 60


def chances(random: Random) -> Iterator[Event]:
    """What may happen, mostly that a run goes on."""
    for kind in random.choices(
        ("go_on", "die", "time_goes_by", "one_step_alone"), (10, 2, 2, 3), k=LENGTH
    ):
        name, seldom = random.choice(WRITERS), random.random() < 0.3
        if kind == "go_on":
            acts = random.choice((1, 1, 2, 3, 5, 60))
            yield kind, name, acts, random.randrange(60), seldom, random.random() < 0.2
        elif kind == "die":
            yield kind, name, random.random() < 0.6, random.random() < 0.4
        elif kind == "time_goes_by":
            yield kind, random.choice((0.2, 0.4, 1, 3, 3))
        else:
            yield kind, name, random.choice(HONEST), random.random() < 0.6, seldom


@dataclass
class Writer:
    """One after the other, the runs of one person.

    :ivar acts: what the present run has yet to do; empty: there is none.
    :ivar access: its copy of the keyring, as it was when it was read.
    """

    name: str
    runs: int = 0
    acts: list[Act] = field(default_factory=list)
    take_over: bool = False
    definition: str = "d1"
    access: KeyringAccess | None = None
    proof: tuple[Any, ...] = ()

    @property
    def run_id(self) -> str:
        return f"{self.name}{self.runs}"


class TwoWriters:
    """The runs in their world, and whatever may happen to them."""

    def __init__(self, overlap: bool, legacy: bool) -> None:
        """:param legacy: the application has a value already that no keyring knows of."""
        self.writers = {name: Writer(name) for name in WRITERS}
        self.rotations = 0
        self.world = World(overlap)
        if legacy:
            user = "old" if overlap else "app"
            self.world.accepted[user] = LEGACY
            self.world.held = dict.fromkeys(CONSUMERS, (user, LEGACY))

    def play(self, events: Sequence[Event]) -> Counter[str]:
        """Let it all happen; returns how often what came about.

        :raises AssertionError: when something did not stay true.
        """
        with ExitStack() as patches:
            for name, stand_in in (
                ("open_store", lambda *_: self.world),
                ("open_ledger", lambda *_, **__: MemoryLedger(self.world)),
                ("is_dead", self.world.is_dead),
            ):
                patches.enter_context(patch.object(_access, name, stand_in))
            for event in events:
                getattr(self, event[0])(*event[1:])
                self.world.check()
        assert chain_faults(once(self.world.lines)) == []
        return self.world.reached

    def go_on(self, name: str, acts: int, pick: int, take_over: bool, redefined: bool) -> None:
        """A run does its next acts; where there is none, one begins."""
        writer = self.writers[name]
        if not writer.acts:
            self._start(writer, pick, take_over, "d2" if redefined else "d1")
        for _act in range(acts):
            if writer.acts:
                self._act(writer, writer.acts.pop(0))
                self.world.check()

    def die(self, name: str, known: bool, in_write: bool) -> None:
        """A run is killed; whether others see that depends on where they run."""
        writer = self.writers[name]
        if writer.acts and in_write:
            self.world.kill_after_write = True
            self._act(writer, writer.acts.pop(0))
            self.world.kill_after_write = False
        writer.acts = []
        if known:
            self.world.dead.add(writer.run_id)

    def time_goes_by(self, hours: float) -> None:
        self.world.now += timedelta(hours=hours)

    def one_step_alone(self, name: str, asked: str, fresh: bool, take_over: bool) -> None:
        """A module used by itself, perhaps on what was read long ago."""
        writer = self.writers[name]
        if writer.acts:
            return
        writer.proof, old = (), writer.access
        self._new_run(writer, take_over)
        if old is not None and not fresh:
            writer.access = old
            old.run, old.take_over = Run(writer.run_id), take_over
        writer.acts = [("open",), ("step", "release")]
        self._act(writer, ("step", asked))

    # What a run does

    def _new_run(self, writer: Writer, take_over: bool) -> None:
        writer.runs, writer.take_over = writer.runs + 1, take_over
        self._open(writer)

    def _open(self, writer: Writer) -> None:
        params = {
            "keyring": "ref+file:///keyring.json",
            "credential": "db_app",
            "run": {"run_id": writer.run_id, "host": writer.name, "pid": 1},
            "take_over": writer.take_over,
        }
        writer.access = KeyringAccess(params, self.world.context())

    def _start(self, writer: Writer, pick: int, take_over: bool, definition: str) -> None:
        """Pass the gates of one of the purposes that there is something to do for."""
        self._new_run(writer, take_over)
        writer.definition, writer.proof = definition, ()
        found = [
            (purpose, what)
            for purpose in PROCEDURES
            if purpose != "verify"
            for what in self._todo(writer, purpose)
            if what
        ]
        if not found:
            return
        purpose, what = found[pick % len(found)]
        document = self.world.document()
        progress = Progress(
            checked={
                "todo": what,
                "overlap": self.world.overlap,
                "cutover": not self.world.overlap,
                "under_way": bool(document),
            }
        )
        steps = [step for step in PROCEDURES[purpose] if step.when(progress)]
        acts = [act for step in steps for act in acts_of(step, self.world.overlap)]
        writer.acts = [*acts, ("open",), ("step", "release")]

    def _todo(self, writer: Writer, purpose: str) -> list[str]:
        document = self.world.document()
        facts = Facts(
            credential="db_app",
            run_id=writer.run_id,
            holder_dead=self.world.is_dead(document.claim if document else None),
            take_over=writer.take_over,
            definition=writer.definition,
            overlap=self.world.overlap,
            reason="somebody left" if self.rotations % 3 == 0 else "",
            lagging=self.world.lagging(document) if document else (),
        )
        found = gates(purpose, document, Policy(), self.world.now, facts)
        what, _why = todo(purpose, document, facts, found)
        adoptable = purpose != "adopt" or LEGACY in self.world.accepted.values()
        return [what] if adoptable and what != NOTHING and not refusals(found) else []

    def _act(self, writer: Writer, act: Act) -> None:
        before = self.world.text
        self.world.taking_over = writer.take_over
        try:
            getattr(self, f"_act_{act[0]}")(writer, *act[1:])
        except Killed:
            writer.acts = []
        except KeyturnError as error:
            assert self.world.text == before, "a refused step wrote"
            lost = "lost guard" if isinstance(error, Conflict) else type(error).__name__
            self.world.reached[lost] += 1
            writer.acts = [] if act[-1] == "release" else [("open",), ("step", "release")]

    def _act_open(self, writer: Writer) -> None:
        self._open(writer)

    def _act_step(self, writer: Writer, transition: str) -> None:
        if self._ended_by_taker(writer):
            return
        access = writer.access
        assert access is not None
        if access.document is None and transition in ("note", "release"):
            return
        if transition == "cutover" and not (access.document and access.document.pending):
            return
        self._write(writer, self._request(writer, access.document, transition))

    def _write(self, writer: Writer, asked: Request) -> None:
        access = writer.access
        assert access is not None
        if access.step(asked):
            assert access.document == self.world.written, "it reads otherwise than it was meant"

    def _ended_by_taker(self, writer: Writer) -> bool:
        """Whoever takes over a claim has to know that the other run is dead, or late by its time: it never comes back to write.

        Where the claim still stands in its way, it may try.
        """
        document = self.world.document()
        claim = document.claim if document else None
        if writer.run_id not in self.world.lost or (
            claim
            and claim.expires > self.world.now
            and not self.world.is_dead(claim)
            and not writer.take_over
        ):
            return False
        writer.acts = []
        return True

    def _request(self, writer: Writer, document: Document | None, transition: str) -> Request:
        working = document and (document.pending or document.current)
        asked = Request(
            transition,
            Run(writer.run_id),
            rotation_id=working.rotation_id if working else "",
            definition=writer.definition,
            overlap=self.world.overlap,
            proved_for=working.rotation_id if working and transition in RECORDED else "",
            evidence=writer.proof,
            grace=GRACE,
            notices={writer.run_id: "told"} if transition == "note" else {},
            retain=True,
        )
        if transition not in ("stage", "adopt"):
            return asked
        self.rotations += 1
        rotation = f"r{self.rotations}"
        user, value = self._next_user(document), f"value of {rotation}"
        if transition == "adopt":
            found = [item for item in self.world.accepted.items() if item[1] == LEGACY]
            if not found:
                raise ProbeFailed("it is not in use any more")
            user, value = found[0]
            asked = replace(asked, evidence=({"type": "login", "against": rotation},))
        fields: dict[str, Value] = {"username": user, "password": Secret(value)}
        return replace(asked, rotation_id=rotation, fields=fields)

    def _next_user(self, document: Document | None) -> str:
        latest = (document.current or document.previous) if document else None
        if not self.world.overlap:
            return "app"
        return "app_b" if latest and latest.text("username") == "app_a" else "app_a"

    def _act_issuer(self, writer: Writer, operation: str, stage: str) -> None:
        issuer = ModelIssuer(self.world, writer.run_id)
        params = {"operation": operation, "stage": stage, "issuer": {}}
        with (
            patch.object(_issue, "open_keyring", lambda *_: writer.access),
            patch.object(_issue, "open_issuer", lambda *_: issuer),
        ):
            _issue.run(params, self.world.context())

    def _act_probe(self, writer: Writer, stage: str, key: str) -> None:
        assert writer.access is not None
        document, writer.proof = writer.access.document, ()
        found = document.stage(stage) if document and stage else None
        if found is not None:
            writer.proof = (self.world.probe(found, key != "refused"),)

    def _act_tell(self, writer: Writer, name: str) -> None:
        """A consumer reads again what its sink holds: what the keyring says now."""
        self._open(writer)
        document = writer.access.document if writer.access else None
        if document and document.current:
            self.world.held[name] = login(document.current)

    def _act_receive(self, writer: Writer, name: str) -> None:
        if self._ended_by_taker(writer):
            return
        access = writer.access
        if access and access.document and access.document.current:
            seen = {name: access.document.current.rotation_id}
            self._write(writer, Request("receive", access.run, receipts=seen))


def shortest(overlap: bool, legacy: bool, events: list[Event]) -> list[Event]:
    """Of events that break something, only those without which nothing breaks."""

    def breaks(fewer: list[Event]) -> bool:
        try:
            TwoWriters(overlap, legacy).play(fewer)
        except AssertionError:
            return True
        return False

    for place in reversed(range(len(events))):
        fewer = events[:place] + events[place + 1 :]
        events = fewer if breaks(fewer) else events
    return events


def explore(overlap: bool, examples: int, shorten: bool = True) -> Counter[str]:
    """Play many examples, the same ones each time; returns how often what came about.

    :param shorten: print the events that it takes to break something.
    :raises AssertionError: when something did not stay true.
    """
    reached: Counter[str] = Counter()
    for seed in range(examples):
        events, legacy = list(chances(Random(seed))), seed % 2 == 0  # noqa: S311 - the same ones each time
        try:
            reached += TwoWriters(overlap, legacy).play(events)
        except AssertionError:
            if shorten:
                few = shortest(overlap, legacy, events)
                print(f"overlap={overlap}, legacy={legacy}", *few, sep="\n")
            raise
    return reached


EITHER = (
    *("stage", "observed", "receive", "rollback", "adopt", "note", "release"),
    *(
        "compromise",
        "retire",
        "retired",
        "abandon",
        "abandoned",
        "revoke retiring",
        "revoke abandoning",
    ),
    *("take-over", "dead holder", "expired claim", "lost guard", "conflict", "Refused"),
    *("killed before the ledger", "recovered line"),
)


@pytest.mark.parametrize(
    ("overlap", "own"),
    [(True, ("applied", "proved", "promote", "revoke_first")), (False, ("cutover",))],
    ids=["overlap", "no overlap"],
)
def test_whatever_two_runs_do_every_invariant_holds_and_everything_is_reached(
    overlap: bool, own: tuple[str, ...]
) -> None:
    reached = explore(overlap, 60)
    assert {what: reached[what] for what in (*EITHER, *own) if reached[what] < 3} == {}


_STEPS = dict(_transitions._STEPS)
_WRITE = World.write


def _forgets_pending(document: Document | None, asked: Request, now: datetime) -> Document:
    after = transition(document, asked, now)
    taken = (
        document and document.claim and after.claim and document.claim.run_id != asked.run.run_id
    )
    return replace(after, pending=None) if taken else after


def _forgets_receipts(document: Document | None, asked: Request, now: datetime) -> Document:
    after = transition(document, asked, now)
    return after if asked.transition != "rollback" else replace(after, receipts={})


def _promotes_unproved(document: Document, asked: Request, now: datetime) -> Document:
    stage = document.pending
    if stage and stage.status == "applied":
        document = replace(document, pending=replace(stage, status="proved"))
    return _STEPS["promote"](document, asked, now)


def _forgets_grace(document: Document, asked: Request, now: datetime) -> Document:
    return _STEPS["observed"](document, replace(asked, grace=timedelta(0)), now)


def _revokes_anything(document: Document, asked: Request, now: datetime) -> Document:
    current = document.current
    named = replace(document, current=replace(current, compromised=True)) if current else document
    return _STEPS["revoke_first"](named, asked, now)


def _overwrites(world: World, text: str, expected: str | None) -> str:
    return _WRITE(world, text, str(world.version) if world.text else None)


@pytest.mark.parametrize(
    ("place", "name", "defect", "words"),
    [
        (_access, "transition", _forgets_pending, "pending was forgotten"),
        (_access, "transition", _forgets_receipts, "a receipt was lost"),
        (_transitions, "check_claim", lambda *_: None, "claim was not minded"),
        (_transitions._STEPS, "promote", _promotes_unproved, "promoted without proof"),
        (_transitions._STEPS, "observed", _forgets_grace, "not the grace"),
        (
            _transitions._STEPS,
            "revoke_first",
            _revokes_anything,
            "nobody named it",
        ),
        (
            KeyringAccess,
            "guard",
            lambda _access: None,
            "the issuer was told of an old state|two runs",
        ),
        (World, "write", _overwrites, "the ledger has a gap"),
    ],
    ids=[
        "forgets pending",
        "forgets receipts",
        "no claim",
        "no proof",
        "no grace",
        "nobody named it",
        "no guard",
        "no CAS",
    ],
)
def test_a_planted_defect_is_found(
    place: Any,
    name: str,
    defect: Callable[..., Any],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant = monkeypatch.setitem if isinstance(place, dict) else monkeypatch.setattr
    plant(place, name, defect)
    with pytest.raises(AssertionError, match=words):
        explore(overlap=True, examples=200, shorten=False)
