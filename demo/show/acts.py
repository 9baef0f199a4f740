# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The acts of the demo: what is run, why, and how things have to stand afterwards."""

from __future__ import annotations

from dataclasses import dataclass

COLLECTION = "keyturn.runbooks"


@dataclass(frozen=True)
class Scenario:
    """What one act plays.

    :param name: what the table calls it.
    :param title: its heading.
    :param why: what happens, for somebody who has never seen it.
    :param playbook: one of the collection's.
    :param keyring: the stages in the keyring afterwards.
    :param user: the role that all connections of the shop use afterwards.
    :param arguments: further ones of the command line.
    :param kill_after: SIGKILL as soon as this task has ended so many times.
    :param reads_only: nothing may be written.
    :param fails: the playbook has to fail, and to say this.
    """

    name: str
    title: str
    why: str
    playbook: str
    keyring: str
    user: str
    arguments: tuple[str, ...] = ()
    kill_after: tuple[str, int] | None = None
    reads_only: bool = False
    fails: str = ""


ADOPT = Scenario(
    name="adopt",
    title="Take over what is in use",
    why="""The shop's database password is years old and known to too many. First it is taken over as it is: a login proves
    it, and it is written to the keyring, the one encrypted document that says where this credential stands. Nothing else
    changes. (Below: "ok" looked at something, "changed" wrote something.)""",
    playbook="adopt",
    keyring="current shop_a (observed, adopted)",
    user="shop_a",
)
DRY_RUN = Scenario(
    name="dry run",
    title="Dry run",
    why="""What would a rotation do? It reads everything for real, logs in for real, and writes nothing. Values that do not
    exist yet are shown as (new), others as fingerprints.""",
    playbook="rotate_db",
    arguments=("--check", "--diff"),
    keyring=ADOPT.keyring,
    user="shop_a",
    reads_only=True,
)
ROTATE = Scenario(
    name="rotate",
    title="Rotate, under load",
    why="""A second role, shop_b, gets a new password and the rights of the first. PgBouncer learns it, and a login through
    PgBouncer proves it. Only then it becomes the current one: the env file is written, and the shop is told and seen using
    it. shop_a stays valid meanwhile, so no moment exists in which a login could fail.""",
    playbook="rotate_db",
    keyring="current shop_b (observed), previous shop_a (grace, adopted)",
    user="shop_b",
)
RETIRE = Scenario(
    name="retire",
    title="Retire the old password",
    why="""Its grace period is over (one second here, 48 hours by default), and nobody uses it any more: both are checked. It
    is taken away from shop_a, and a login proves that it is refused.""",
    playbook="retire_due",
    keyring="current shop_b (observed)",
    user="shop_b",
)
KILL = Scenario(
    name="killed rotation",
    title="Rotate again, and kill it in the middle",
    why="""It is the turn of shop_a again, with a new password. The worst moment: that password has just become the current
    one, and the shop has not been told yet. What a playbook keeps for its end would now be lost for good.""",
    playbook="rotate_db",
    keyring="current shop_a (promoted), previous shop_b (grace)",
    user="shop_b",
    # It stops for the other hosts when it has looked, has shown the value to the pooler, and has promoted it.
    kill_after=("Take the steps: rotate", 3),
)
STATUS = Scenario(
    name="status",
    title="Where does it stand?",
    why="""The keyring knows, because every step was written there before it was taken: shop_a is promoted, not observed in
    use, and a run, dead by now, is at work.""",
    playbook="status",
    keyring=KILL.keyring,
    user="shop_b",
    reads_only=True,
)
RESUME = Scenario(
    name="resumed rotation",
    title="Run it again",
    why="""The same command goes on from there. It sees that the run which claims the keyring is dead, that the env file is not
    written, and that the shop was not seen using the new password. It does only that, and makes no third password.""",
    playbook="rotate_db",
    keyring="current shop_a (observed), previous shop_b (grace)",
    user="shop_a",
)
ROLL_BACK = Scenario(
    name="roll back",
    title="Roll back",
    why="""Suppose the new password is no good. The one before is still valid: it is proved, made current again, and the shop
    is told. The reason goes to the ledger, the audit log that every step leaves a line in.""",
    playbook="rollback",
    arguments=("-e", 'keyturn_reason="errors in the shop"'),
    keyring="current shop_b (observed), previous shop_a (grace, failed)",
    user="shop_b",
)
RETIRE_FAILED = Scenario(
    name="retire again",
    title="Retire the old role",
    why="""What was rolled back has no grace period. It is ended like any other: first nobody uses it, then it is refused, then
    it is gone.""",
    playbook="retire_due",
    keyring="current shop_b (observed)",
    user="shop_b",
)
SCENARIOS = (ADOPT, DRY_RUN, ROTATE, RETIRE, KILL, STATUS, RESUME, ROLL_BACK, RETIRE_FAILED)
