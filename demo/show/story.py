# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The acts of the demo, and what is counted meanwhile."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.parsing.vault import VaultLib, VaultSecret
from estate.collection import ROOT
from estate.playbook import Ansible, PlaybookResult
from estate.processes import wait_until

from show.leaks import CommandLines, Search
from show.scene import Scene
from show.screen import INDENT, Compact, heading, paragraph, warnings

INVENTORY = ROOT / "inventories" / "demo"
COLLECTION = "keyturn.runbooks"
COUNTERS = ("transactions", "failed_logins", "failed_transactions")


class Broken(Exception):
    """An act did not end as it had to; the message says how."""


@dataclass(frozen=True)
class Act:
    """What was counted during one act.

    :param counts: by counter of the client.
    """

    name: str
    seconds: float
    counts: Mapping[str, int]


@dataclass
class Story:
    """Plays the acts one after the other.

    :param scene: the estate.
    :param say: shows a line to the person in front.
    :ivar acts: what was counted in each.
    """

    scene: Scene
    ansible: Ansible
    say: Callable[[str], None]
    search: Search = field(default_factory=Search)
    command_lines: CommandLines = field(default_factory=CommandLines)
    acts: list[Act] = field(default_factory=list)

    def play(
        self,
        name: str,
        title: str,
        why: str,
        playbook: str,
        *arguments: str,
        kill_after: str = "",
    ) -> PlaybookResult:
        """One act: a playbook, shown in few lines.

        :param name: what the table calls it.
        :param title: its heading.
        :param why: what happens, for somebody who has never seen it.
        :param kill_after: SIGKILL as soon as the task after this one begins.
        :raises Broken: when the playbook fails, or ends before it could be killed.
        """
        self.say(heading(f"{len(self.acts) + 1}. {title}"))
        self.say(paragraph(why))
        shown = " ".join(
            ["ansible-playbook -i inventories/demo", f"{COLLECTION}.{playbook}", *arguments]
        )
        self.say(f"\n{INDENT}$ {shown}")
        before, started = self.scene.client.status(), time.monotonic()
        result = self._run(f"{COLLECTION}.{playbook}", arguments, kill_after)
        seconds = time.monotonic() - started
        self._learn()
        after = self._fresh_status()
        counts = {counter: after[counter] - before[counter] for counter in COUNTERS}
        self.acts.append(Act(name, seconds, counts))
        users = ", ".join(sorted(set(self._users_now())))
        self.say(
            f"{INDENT}the client meanwhile: {counts['transactions']} transactions, {counts['failed_logins']} failed logins, "
            f"{counts['failed_transactions']} failed transactions; it now works as {users}"
        )
        return result

    def _run(
        self,
        playbook: str,
        arguments: tuple[str, ...],
        kill_after: str,
    ) -> PlaybookResult:
        running = self.ansible.start(playbook, *arguments)
        compact, passed = Compact(), False
        for line in running.follow():
            if passed and line.startswith(("TASK [", "RUNNING HANDLER [")):
                result = running.kill()
                self.say(
                    f"{INDENT}^^^ SIGKILL to ansible-playbook and every process that it started"
                )
                return result
            passed = passed or bool(
                kill_after and re.match(rf"TASK \[(?:.* : )?{re.escape(kill_after)}\]", line)
            )
            for text in compact.feed(line):
                self.say(text)
        result = running.wait()
        for text in warnings(result.stderr):
            self.say(f"{INDENT}{text}")
        if kill_after:
            raise Broken(f"{playbook} ended before it could be killed after '{kill_after}'")
        if result.returncode:
            raise Broken(f"{playbook} ended with status {result.returncode}:\n{result.output}")
        return result

    def _fresh_status(self) -> dict[str, Any]:
        """Counters that were written after now.

        :raises EstateError: when the client writes none any more.
        """
        now, client = time.time(), self.scene.client
        wait_until(lambda: bool(client.status()["updated"] > now), 10, "the client's counters")
        return client.status()

    def _users_now(self) -> list[str]:
        rows = self.scene.pgbouncer.show("CLIENTS")
        return [row["user"] for row in rows if row["database"] != "pgbouncer"]

    def _learn(self) -> None:
        """Know every secret that the keyring holds at this moment, so that it can be searched for."""
        if not self.scene.places.keyring.exists():
            return
        document = read_keyring(self.scene.places.keyring, self.scene.places.keyring_password)
        stages = document["stages"]
        for stage in [
            *(stages.get(name) for name in ("pending", "current", "previous")),
            *stages.get("retained", []),
        ]:
            if stage:
                who = f"{stage['fields'].get('username', '?')} in rotation {stage['rotation_id']}"
                self.search.know(
                    {f"{kind} of {who}": value for kind, value in stage["secrets"].items()}
                )


def read_keyring(path: Path, password: Path) -> dict[str, Any]:
    """What ``ansible-vault view`` shows of a keyring."""
    library = VaultLib([("default", VaultSecret(password.read_bytes().strip()))])
    document: dict[str, Any] = json.loads(library.decrypt(path.read_bytes()))
    return document


def play_all(story: Story) -> None:
    """The whole demo.

    :raises Broken: when an act does not end as it has to.
    """
    story.play(
        "adopt",
        "Take over what is in use",
        """The shop's database password is years old and known to too many. First it is taken over as it is: it is proved by a
        login and written to the keyring, the one document that says where this credential stands. Nothing else changes.""",
        "adopt",
    )
    story.play(
        "dry run",
        "Dry run",
        """What would a rotation do? It reads everything for real, logs in for real, and writes nothing. Values that do not exist
        yet are shown as (new), others as fingerprints.""",
        "rotate_db",
        "--check",
        "--diff",
    )
    story.play(
        "rotate",
        "Rotate, under load",
        """The second role, shop_b, gets a new password and the rights of the first. PgBouncer learns it, a login through PgBouncer
        proves it, and only then it becomes the current one: the env file is written and the client told. shop_a stays valid.""",
        "rotate_db",
    )
    story.play(
        "retire",
        "Retire the old role",
        """The grace period of the old password (one second here, 48 hours by default) is over, and nobody uses it any more: both
        are checked. It is taken out, and a login proves that it is refused.""",
        "retire_due",
    )
    story.play(
        "killed rotation",
        "Rotate again, and kill it in the middle",
        """The worst moment: the new password has just become the current one, and the application has not been told yet. Handlers
        that ran only at the end of a play would now be lost for good.""",
        "rotate_db",
        kill_after="Promote the proved value",
    )
    story.play(
        "status",
        "Where does it stand?",
        "The keyring knows, because every step was written before it was taken.",
        "status",
    )
    story.play(
        "resumed rotation",
        "Run it again",
        """The same command goes on from there: it sees that the dead run's claim is void, that the env file is not written and
        that the client was not seen using the new password, and does only that.""",
        "rotate_db",
    )
    story.play(
        "roll back",
        "Roll back",
        """Suppose the new password is no good. The one before is still valid: it is proved, made current again, and the client is
        told. The failed one keeps no grace.""",
        "rollback",
        "-e",
        "keyturn_reason='the demo wants it back'",
    )
    story.play(
        "retire the failed",
        "Retire what was rolled back",
        "The failed password is ended like any other: first nobody uses it, then it is refused, then it is gone.",
        "retire_due",
    )
