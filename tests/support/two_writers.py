# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A world in memory for runs that work on one keyring: a store, a ledger, an issuer and consumers that mind what must stay true.

The keyring's own code writes to it, from the gates to compare-and-set; only what it would reach over the network is a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Conflict, ProbeFailed
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Outcome
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Claim,
    Document,
    LedgerHead,
    Stage,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    missing_line,
    run_faults,
    tail_faults,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers import Reading, Review
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedures import Step

T0 = datetime(2026, 1, 31, 22, 0, tzinfo=timezone.utc)
GRACE = timedelta(hours=2)
CONSUMERS = ("web", "jobs")
LEGACY = "the value before"
Login = tuple[str, str]
Act = tuple[str, ...]


class Killed(BaseException):
    """The run ends here, as by SIGKILL."""


def login(stage: Stage) -> Login:
    """What a consumer presents of a stage."""
    password = stage.secret("password")
    assert password is not None
    return stage.text("username"), password.reveal()


def evidence(rotation: str, kind: str) -> Mapping[str, str]:
    return {"type": kind, "against": rotation}


def shows(stage: Stage, kind: str) -> bool:
    """Whether a stage bears a proof of that kind about itself, and none about another one."""
    assert all(item["against"] == stage.rotation_id for item in stage.evidence), "another's proof"
    return any(item["type"] == kind for item in stage.evidence)


@dataclass
class World:
    """Everything beside the runs.

    :ivar accepted: the password that the issuer takes for each user.
    :ivar held: what each consumer presents.
    :ivar compromised: what an emergency named: whoever holds it may be locked out.
    :ivar taking_over: the run that writes now was told to take over.
    :ivar kill_after_write: the next write of the keyring is the last thing that its run does.
    :ivar lost: runs whose claim another run took.
    """

    overlap: bool
    now: datetime = T0
    text: str | None = None
    written: Document | None = None
    version: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    held: dict[str, Login] = field(default_factory=dict)
    compromised: set[Login] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    taking_over: bool = False
    kill_after_write: bool = False
    reached: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    def document(self) -> Document | None:
        return self.written

    def is_dead(self, claim: Claim | None) -> bool:
        return claim is not None and claim.run_id in self.dead

    def context(self) -> Context:
        return Context(environ={}, now=lambda: self.now, warn=self.warnings.append)

    def lagging(self, document: Document) -> tuple[str, ...]:
        """Consumers that were not seen using the current value."""
        current = document.current.rotation_id if document.current else ""
        seen = {name: receipt.seen for name, receipt in document.receipts.items()}
        return tuple(name for name in CONSUMERS if seen.get(name) != current)

    def probe(self, stage: Stage, accepted: bool = True) -> Mapping[str, str]:
        """Log in, or be refused.

        :raises ProbeFailed: when it is the other way round.
        """
        user, password = login(stage)
        if (self.accepted.get(user) == password) != accepted:
            raise ProbeFailed(f"{stage.rotation_id}: accepted is not {accepted}")
        return evidence(stage.rotation_id, "login" if accepted else "refused")

    # The store

    def read(self) -> tuple[str, str] | None:
        return (self.text, str(self.version)) if self.text else None

    def write(self, text: str, expected: str | None) -> str:
        if expected != (str(self.version) if self.text else None):
            self.reached["conflict"] += 1
            raise Conflict("somebody else wrote")
        after = parse_document(text)
        mind_write(self, self.written, after)
        self.written, self.text, self.version = after, text, self.version + 1
        if self.kill_after_write:
            self.reached["killed before the ledger"] += 1
            raise Killed
        return str(self.version)

    def time(self) -> datetime | None:
        return None

    def versions(self) -> list[Any]:
        return []

    # The invariants of every instant

    def check(self) -> None:
        """What holds after whatever anybody did.

        :raises AssertionError: when something does not.
        """
        assert self.warnings == []
        document = self.document()
        if document is None:
            return
        self._check_acceptance(document)
        lines = self.lines[-1:]
        lost = missing_line(lines[0] if lines else None, document.ledger)
        assert lost or tail_faults(lines, document.ledger) == []
        assert document.ledger and document.ledger.number - len(self.lines) == (1 if lost else 0)

    def _check_acceptance(self, document: Document) -> None:
        current, previous = document.current, document.previous
        for stage in (document.pending, current, previous, *document.retained):
            ours = stage and f"value of {stage.rotation_id}"
            assert stage is None or login(stage)[1] in (ours, LEGACY), "another stage's value"
        if self.overlap:
            for name, (user, password) in self.held.items():
                ours = self.accepted.get(user) == password or (user, password) in self.compromised
                assert ours, f"I1: {name} is locked out"
        if current is None:
            return
        takes = set(self.accepted.items())
        if self.overlap or current.status == "observed":
            assert login(current) in takes, "the value in force is not accepted"
        elif previous:
            assert {login(current), login(previous)} & takes, "I1': neither value is accepted"
        if current.status == "observed":
            assert set(self.held.values()) <= {login(current)}, "observed, but not by all"


class MemoryLedger:
    """A ledger that reviews as the one in a file does."""

    def __init__(self, world: World) -> None:
        self._world = world

    def append(self, line: Mapping[str, Any]) -> None:
        self._world.reached["recovered line"] += "recovered" in line
        self._world.lines.append(dict(line))

    def review(self, credential: str, head: LedgerHead | None, first: bool, failed: bool) -> Review:
        lines = self._world.lines if first else self._world.lines[-1:]
        lost = missing_line(lines[-1] if lines else None, head)
        faults = run_faults(lines, head) if first else [] if lost else tail_faults(lines, head)
        return Review(lost, tuple(faults))

    def read(self, credential: str) -> Reading:
        return Reading(tuple(self._world.lines))


class ModelIssuer:
    """Takes what apply told it, until revoke or drop; one user for each of two values, or one user for one value at a time."""

    secret_fields = frozenset({"password"})

    def __init__(self, world: World, run_id: str) -> None:
        self._world, self._run_id = world, run_id
        self.overlap = world.overlap

    def _mind(self, stage: Stage, guard: Any, statuses: tuple[str, ...]) -> None:
        """The guard lets pass only whoever works on what the keyring says now."""
        guard()
        document = self._world.document()
        assert document is not None
        known = (document.pending, document.current, document.previous)
        assert stage in known and stage.status in statuses, "the issuer was told of an old state"
        claim = document.claim
        assert claim is None or claim.run_id == self._run_id, "two runs at the issuer"

    def apply(self, stage: Stage, document: Document, context: Context, guard: Any) -> Outcome:
        statuses = ("issued", "applied", "proved") if self.overlap else ()
        self._mind(stage, guard, (*statuses, "cutover", "promoted", "observed"))
        user, password = login(stage)
        self._world.accepted[user] = password
        return Outcome(changed=True)

    def revoke(self, stage: Stage, document: Document, context: Context, guard: Any) -> Outcome:
        self._mind(stage, guard, ("retiring", "abandoning"))
        user, password = login(stage)
        held = login(stage) in self._world.held.values()
        assert stage.compromised or not held, "revoked what a consumer holds"
        if self.overlap or self._world.accepted.get(user) == password:
            self._world.accepted.pop(user, None)
        self._world.reached[f"revoke {stage.status}"] += 1
        return Outcome(changed=True)

    drop = revoke


def _mind_claim(world: World, before: Document, after: Document) -> None:
    """A claim changes hands only when its holder is dead, late, or said to be dead."""
    old, new = before.claim, after.claim
    if old is None or (new is not None and new.run_id == old.run_id):
        return
    why = (
        "dead holder"
        if world.is_dead(old)
        else "expired claim"
        if old.expires <= world.now
        else "take-over"
    )
    phase = after.ledger.line["phase"] if after.ledger else ""
    own = after.ledger is not None and after.ledger.line["run_id"] == old.run_id
    if phase == "release" and own:
        return
    assert why != "take-over" or world.taking_over, "another run's claim was not minded"
    world.lost.add(old.run_id)
    world.reached[why] += 1


def _mind_pending(before: Document, after: Document, phase: str) -> None:
    old, new = before.pending, after.pending
    if old is None:
        return
    if new is not None:
        assert new.rotation_id == old.rotation_id, "a second pending value"
        assert old.status != "abandoning" or new.status == "abandoning", "abandoning was undone"
        return
    if phase == "abandoned":
        assert old.status == "abandoning", "abandoned without its mark"
        return
    assert after.current and after.current.rotation_id == old.rotation_id, "pending was forgotten"
    if phase == "promote":
        assert old.status == "proved" and shows(old, "login"), "promoted without proof"
    else:
        assert phase == "cutover" and old.status == "issued"


def _mind_kept(world: World, before: Document, after: Document, phase: str) -> None:
    """The values in use and kept."""
    kept = {stage.rotation_id for stage in (after.current, after.previous) if stage}
    if before.current:
        assert before.current.rotation_id in kept, "the value in use was dropped"
    old, new = before.previous, after.previous
    if old and old.rotation_id not in kept:
        superseded = phase == "cutover" and not world.overlap
        assert superseded or (phase == "retired" and old.status == "retiring"), "a kept value fell"
        if phase == "retired" and after.retained != before.retained:
            assert shows(after.retained[-1], "refused"), "forgotten without its refusal"
    if old and new and old.status == "retiring" and phase != "cutover":
        assert new.status == "retiring", "retiring was undone"


def _mind_ends(world: World, before: Document, after: Document, phase: str) -> None:
    """Observed means by all; a value ends only after that, and after its grace."""
    if phase == "observed":
        assert world.lagging(after) == (), "observed while a consumer lags"
        assert after.current and shows(after.current, "login"), "observed without proof"
        holding = {login(after.current)}
        assert set(world.held.values()) == holding, "observed, but not by all"
        old = after.previous
        until = old and world.now + (timedelta(0) if old.failed or old.compromised else GRACE)
        assert old is None or old.retire_after == until, "not the grace that was asked for"
    if phase == "revoke_first" and before.current:
        assert before.current.compromised, "taken out of use, and nobody named it"
    if phase == "retire":
        old = before.previous
        over = old and old.retire_after and (old.retire_after <= world.now or old.compromised)
        assert over, "retired in its grace"
        assert before.current and before.current.status == "observed", "retired too early"
        assert (old and old.compromised) or not world.lagging(before), (
            "retired while a consumer lags"
        )


def mind_write(world: World, before: Document | None, after: Document) -> None:
    """What a step may change.

    :raises AssertionError: when it changed something else.
    """
    head = after.ledger
    assert head is not None
    phase = str(head.line["phase"])
    world.reached[phase] += 1
    named = [stage for stage in (after.current, after.previous) if stage and stage.compromised]
    world.compromised.update(map(login, named))
    number = before.ledger.number if before and before.ledger else 0
    assert head.number == number + 1, "the ledger has a gap"
    assert after.step == (before.step if before else 0) + 1, "a step was lost"
    if before is None:
        return
    assert (after.salt, after.credential) == (before.salt, before.credential)
    assert set(before.receipts) <= set(after.receipts), "a receipt was lost"
    assert before.noticed.items() <= after.noticed.items(), "a notice was lost"
    assert after.retained[: len(before.retained)] == before.retained
    _mind_claim(world, before, after)
    _mind_pending(before, after, phase)
    _mind_kept(world, before, after, phase)
    _mind_ends(world, before, after, phase)


def acts_of(step: Step, overlap: bool) -> list[Act]:
    """One step of a procedure as single acts, between any two of which something else may happen."""
    key, own = step.key, step.own
    recorded = [("open",), ("step", str(own["transition"]))] if own.get("transition") else []
    # The last two are for an issuer that has one value and still is no cutover, which none of these is.
    if key in ("show", "hide", "again", "accepted"):
        return []
    if "operation" in own:
        return [("open",), ("issuer", own["operation"], own["stage"]), *recorded]
    if key in ("bring", "back"):
        begun: list[Act] = [("open",), ("step", "cutover" if key == "bring" else "rollback")]
        begun = [] if key == "bring" and overlap else [*begun, ("issuer", "apply", "current")]
        told = [act for name in CONSUMERS for act in (("tell", name), ("receive", name))]
        return [*begun, *told]
    if key in ("prove", "observed", "refused"):
        return [("open",), ("probe", str(own.get("stage", "")), key), *recorded]
    return recorded
