# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays the acts of this demo, and shows and checks what each place holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from show.screen import INDENT, table
from show.story import Broken, Story

from show_stores.acts import StoresScenario
from show_stores.places import Held, fingerprint, rows
from show_stores.scene import Scene

TITLES = ("place", "version", "role", "fingerprint", "login")


@dataclass
class StoresStory(Story[Scene, StoresScenario]):
    """Plays acts one after the other.

    :ivar held: what each place held before the act that is played.
    """

    held: Mapping[str, Held] = field(default_factory=dict)

    def play(self, scenario: StoresScenario) -> None:
        """One act; see :class:`show.story.Story`."""
        self.scene.deny_writes(bool(scenario.behind))
        super().play(scenario)

    def _check(self, scenario: StoresScenario, counts: Mapping[str, int]) -> None:
        """Show the places, too, and compare them with what they have to hold."""
        before, after = self.held, self.scene.places.look()
        self.held = after
        if scenario.shows:
            self._show(before, after)
        super()._check(scenario, counts)
        for name, held in after.items():
            self._compare(name, before.get(name, held), held, name in scenario.changes)
            if name != scenario.behind:
                self._is_current(name, held)

    def _show(self, before: Mapping[str, Held], after: Mapping[str, Held]) -> None:
        document = self.scene.keyring()
        entries = [
            (*row, "works" if self._accepted(after[row[0]]) else "FAILS")
            for row in rows(before, after, lambda password: fingerprint(document, password))
        ]
        self.say("")
        for line in table(TITLES, entries, left=True).splitlines():
            self.say(f"{INDENT}{line}")

    def _compare(self, name: str, before: Held, after: Held, changes: bool) -> None:
        changed = (before.user, before.password) != (after.user, after.password)
        if changed != changes:
            raise Broken(f"{name} has {'not ' if changes else ''}changed")
        if not changed and before.version != after.version:
            raise Broken(f"{name} was written, from version {before.version} to {after.version}")
        if before.others != after.others:
            raise Broken(f"{name} has lost what else was in it")
        if not self._accepted(after):
            raise Broken(f"what {name} holds is refused")

    def _is_current(self, name: str, held: Held) -> None:
        document = self.scene.keyring()
        current = document["stages"]["current"] if document else None
        if current and held.password != current["secrets"]["password"]:
            raise Broken(f"{name} does not hold what is current in the keyring")

    def _accepted(self, held: Held) -> bool:
        """Whether whoever reads this place can log in."""
        return self.scene.shop.accepts(held.user, held.password)
