# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the person in front sees of an act: its title, why it is played, the command, and what was measured."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from estate.collection import ROOT
from estate.playbook import Ansible, PlaybookResult
from show.acts import COLLECTION
from show.leaks import CommandLines, Search
from show.screen import (
    INDENT,
    Compact,
    Screen,
    described,
    heading,
    indented,
    paragraph,
    warnings,
)
from show.story import Broken


@dataclass
class Film:
    """Shows acts one after the other.

    :param learn: gives all secrets that there are at the moment, by name.
    :ivar seconds: how long each act took, by its title.
    """

    screen: Screen
    ansible: Ansible
    learn: Callable[[], Mapping[str, str]]
    search: Search = field(default_factory=Search)
    command_lines: CommandLines = field(default_factory=CommandLines)
    seconds: dict[str, float] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)
    _began: float = 0.0
    _title: str = ""

    def act(self, title: str, why: str) -> None:
        """Begin an act."""
        self.end()
        self._title, self._began = title, time.monotonic()
        self.screen.say(heading(f"{len(self.seconds) + 1}. {title}"))
        self.screen.say(paragraph(why))

    def end(self) -> None:
        """End the act that is shown."""
        if self._title:
            self.seconds[self._title] = time.monotonic() - self._began
            self._title = ""

    def note(self, text: str) -> None:
        """What was measured."""
        self.screen.say(indented(f"=> {text}"))

    def show(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names with what each is."""
        self.screen.say("\n" + described(rows))

    def play(
        self,
        name: str,
        *words: str,
        fails: str = "",
        brief: str = "",
        env: Mapping[str, str] | None = None,
    ) -> PlaybookResult:
        """A playbook of the collection, shown in few lines.

        :param fails: what it has to say, when it has to fail.
        :param brief: only what it reports: ``report`` all of it, ``summary`` without what it says of each.
        :param env: further environment variables.
        :raises Broken: when it ends otherwise.
        """
        playbook, inventory = f"{COLLECTION}.{name}", self.ansible.inventory
        place = [] if inventory is None else ["-i", str(inventory.relative_to(ROOT))]
        self.screen.say(f"\n{INDENT}$ {shlex.join(['ansible-playbook', *place, playbook, *words])}")
        running, compact = self.ansible.start(playbook, *words, env=env), Compact(bool(brief))
        try:
            for line in running.follow():
                for text in compact.feed(line):
                    if brief != "summary" or not text.startswith(f"{INDENT} "):
                        self.screen.say(text)
            result = running.wait()
        except BaseException:
            running.kill()
            raise
        for text in warnings(result.stderr):
            # Each once: it is as true the second time.
            if text.startswith("[WARNING]") and text not in self._warned:
                self.screen.say(indented(text))
                self._warned.add(text)
        self.search.know(self.learn())
        if bool(result.returncode) != bool(fails) or fails not in result.output:
            wanted = f"had to fail with '{fails}'" if fails else "had to succeed"
            raise Broken(
                f"{playbook} {wanted}, and ended with status {result.returncode}:\n{result.output}"
            )
        return result
