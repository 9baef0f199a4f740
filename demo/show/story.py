# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays the acts of the demo, and counts and checks meanwhile."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Generic, Protocol, TypeVar

from estate.collection import ROOT
from estate.load import LoadClient
from estate.playbook import Ansible, PlaybookResult, RunningPlaybook
from estate.processes import wait_until

from show.acts import COLLECTION, Scenario
from show.leaks import STAGES, CommandLines, Search, secrets_of
from show.screen import INDENT, Compact, heading, indented, paragraph, warnings

COUNTERS = ("transactions", "failed_logins", "failed_transactions")
MARKS = ("failed", "compromised", "adopted")


class Broken(Exception):
    """An act did not end as it had to; the message says how."""


@dataclass(frozen=True)
class Act:
    """What was counted during one act.

    :param counts: by counter of the client.
    :param began: seconds since 1970.
    """

    name: str
    seconds: float
    counts: Mapping[str, int]
    began: float = 0.0


class Stage(Protocol):
    """What acts are played on.

    :ivar client: the application under load.
    """

    client: LoadClient

    def state(self) -> list[str]:
        """All that a run could change, as digests or versions."""

    def users(self) -> list[str]:
        """Who works with the database at this moment."""

    def keyring(self) -> dict[str, Any] | None:
        """The keyring; none before there is one."""


StageT = TypeVar("StageT", bound=Stage)
ScenarioT = TypeVar("ScenarioT", bound=Scenario)


@dataclass
class Story(Generic[StageT, ScenarioT]):
    """Plays acts one after the other.

    :param scene: the estate.
    :param say: shows a line to the person in front.
    :ivar acts: what was counted in each.
    """

    scene: StageT
    ansible: Ansible
    say: Callable[[str], None]
    search: Search = field(default_factory=Search)
    command_lines: CommandLines = field(default_factory=CommandLines)
    acts: list[Act] = field(default_factory=list)

    def play(self, scenario: ScenarioT) -> None:
        """One act: a playbook, shown in few lines.

        :raises Broken: when the playbook fails, ends before it could be killed, or leaves things as they must not be.
        """
        self.say(heading(f"{len(self.acts) + 1}. {scenario.title}"))
        self.say(paragraph(scenario.why))
        playbook = f"{COLLECTION}.{scenario.playbook}"
        inventory = self.ansible.inventory
        place = [] if inventory is None else ["-i", str(inventory.relative_to(ROOT))]
        shown = ["ansible-playbook", *place, playbook, *scenario.arguments]
        self.say(f"\n{INDENT}$ {shlex.join(shown)}")
        self._wait_for_grace(scenario)
        before = self.scene.client.status()
        state = self.scene.state() if scenario.reads_only else []
        began, started = time.time(), time.monotonic()
        self._run(playbook, scenario)
        seconds = time.monotonic() - started
        self._learn()
        after = self._fresh_status()
        counts = {counter: after[counter] - before[counter] for counter in COUNTERS}
        self.acts.append(Act(scenario.name, seconds, counts, began))
        if scenario.reads_only and self.scene.state() != state:
            raise Broken(f"{playbook} was only to read, and wrote something")
        self._check(scenario, counts)

    def _check(self, scenario: ScenarioT, counts: Mapping[str, int]) -> None:
        """Show how things stand, and compare that with how they have to."""
        document, users = self.scene.keyring(), ", ".join(self.scene.users())
        keyring = describe(document) if document else ""
        self.say("")
        if keyring:
            self.say(indented(f"keyring: {keyring}"))
        self.say(
            indented(
                f"the shop: {counts['transactions']} transactions meanwhile, {counts['failed_logins']} failed logins, "
                f"{counts['failed_transactions']} failed transactions; works as {users}"
            )
        )
        if keyring != scenario.keyring:
            raise Broken(f"the keyring has to have '{scenario.keyring}', and has '{keyring}'")
        if users != scenario.user:
            raise Broken(f"the shop has to work as {scenario.user}, and works as {users}")

    def _run(self, playbook: str, scenario: Scenario) -> None:
        running = self.ansible.start(playbook, *scenario.arguments)
        try:
            result = self._follow(running, scenario.kill_after)
        except BaseException:
            running.kill()
            raise
        for text in warnings(result.stderr):
            self.say(f"{INDENT}{text}")
        if scenario.kill_after:
            if result.returncode != -9:
                raise Broken(
                    f"{playbook} ended before it could be killed after '{scenario.kill_after[0]}'"
                )
        elif scenario.fails:
            if not result.returncode or scenario.fails not in result.output:
                raise Broken(
                    f"{playbook} had to fail with '{scenario.fails}', and ended with status {result.returncode}"
                )
        elif result.returncode:
            raise Broken(f"{playbook} ended with status {result.returncode}:\n{result.output}")

    def _follow(
        self, running: RunningPlaybook, kill_after: tuple[str, int] | None
    ) -> PlaybookResult:
        """Show what it prints until it ends, or until the task that it is to be killed after has ended."""
        compact = Compact()
        for line in running.follow():
            for text in compact.feed(line):
                self.say(text)
            if kill_after and compact.ended[kill_after[0]] == kill_after[1]:
                result = running.kill()
                self.say(
                    f"{INDENT}^^^^^^^  SIGKILL to ansible-playbook and every process that it started"
                )
                return result
        return running.wait()

    def _wait_for_grace(self, scenario: Scenario) -> None:
        """A fast machine would retire too early."""
        if scenario.playbook == "retire_due":
            document = self.scene.keyring()
            if document is None:
                raise Broken("there is no keyring, and so nothing to retire")
            told = document["stages"]["previous"]["retire_after"]
            end = datetime.fromisoformat(told.replace("Z", "+00:00"))
            wait_until(lambda: datetime.now(timezone.utc) > end, 10, "the end of the grace period")

    def _fresh_status(self) -> dict[str, Any]:
        """Counters that were written after now.

        :raises EstateError: when the client writes none any more.
        """
        now, client = time.time(), self.scene.client
        wait_until(lambda: bool(client.status()["updated"] > now), 10, "the client's counters")
        return client.status()

    def _learn(self) -> None:
        """Know every secret that the keyring holds at this moment, so that it can be searched for."""
        document = self.scene.keyring()
        if document:
            self.search.know(secrets_of(document))


def describe(document: Mapping[str, Any]) -> str:
    """The stages of a keyring in a line: each with its role, its status and its marks."""
    shown = []
    for name in STAGES:
        stage = document["stages"].get(name)
        if stage:
            marks = [stage["status"], *(mark for mark in MARKS if stage.get(mark))]
            shown.append(f"{name} {stage['fields']['username']} ({', '.join(marks)})")
    return ", ".join(shown)
