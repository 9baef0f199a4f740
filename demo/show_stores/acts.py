# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The acts of this demo: what is run, why, and what the five places have to hold afterwards."""

from __future__ import annotations

from dataclasses import dataclass

from show.acts import Scenario

from show_stores.places import NAMES

EVERY = tuple(NAMES)
LAST = EVERY[-1]


@dataclass(frozen=True)
class StoresScenario(Scenario):
    """What one act plays.

    :param changes: the places whose content changes; no other one may have a further version afterwards.
    :param behind: AWS denies writes to this place from the beginning of this act on; it may be behind afterwards.
    :param shows: the table of the places.
    """

    changes: tuple[str, ...] = ()
    behind: str = ""
    shows: bool = False


UNSEAL = StoresScenario(
    name="unseal",
    title="Open Vault, which was started again",
    why="""After a restart Vault is sealed: nobody can read the keyring. Its key is in five shares, each with a holder of its own
    (here: five folders), and three of them open it. They are read one after the other, and are in no output, log or command
    line. The shop works on: it needs no store to log in.""",
    playbook="vault_unseal",
    keyring="",
    user="shop_a",
)
ADOPT = StoresScenario(
    name="adopt",
    title="Take over what is in use",
    why="""All five places hold the shop's database password, and too many people know it. First it is taken over as it is: a
    login proves it, and it is written to the keyring, the one document in Vault that says where this credential stands.""",
    playbook="adopt",
    keyring="current shop_a (observed, adopted)",
    user="shop_a",
)
ROTATE = StoresScenario(
    name="rotate",
    title="Rotate: one password, five places",
    why="""A second role, shop_b, gets a new password, and a login proves it. Then it is made current in the keyring, and every
    place is brought to it: each is read, and written once, with what else is in it kept. shop_a stays valid meanwhile, so
    whoever reads an old place for a moment longer still logs in.""",
    playbook="rotate_db",
    keyring="current shop_b (observed), previous shop_a (grace, adopted)",
    user="shop_b",
    changes=EVERY,
    shows=True,
)
AGAIN = StoresScenario(
    name="the same again",
    title="Run the same again",
    why="""The password is young, and every place holds it. So nothing is written anywhere: no version, no event, no reload.""",
    playbook="rotate_db",
    keyring=ROTATE.keyring,
    user="shop_b",
    reads_only=True,
    shows=True,
)
REFUSED = StoresScenario(
    name="roll back, refused",
    title="Roll back, while one place refuses",
    why="""Suppose the new password is no good: the one before is still valid, so go back to it. But somebody took the right to
    write the production parameter from this run's identity. It says which place, which right, and what to do, and
    the run fails. The other places were written before, and nobody is locked out: what each place holds is accepted, and the
    shop is told of it once all places are done. Ansible counts a task that fails as not changed, whatever it wrote: the table
    shows what it did. (A rotation that is refused like this waits for you in the same way.)""",
    playbook="rollback",
    arguments=("-e", 'keyturn_reason="errors in the shop"'),
    keyring="current shop_a (promoted, adopted), previous shop_b (grace, failed)",
    user="shop_b",
    changes=EVERY[:-1],
    behind=LAST,
    fails="denies this identity ssm:PutParameter",
    shows=True,
)
RESUMED = StoresScenario(
    name="the same, resumed",
    title="Give the right back, and run the same again",
    why="""The same command goes on from where the keyring says it was: it writes the one place that is behind, has the shop use
    it, and looks that all is well. The fingerprint is the one from before the rotation.""",
    playbook="rollback",
    arguments=REFUSED.arguments,
    keyring="current shop_a (observed, adopted), previous shop_b (grace, failed)",
    user="shop_a",
    changes=(LAST,),
    shows=True,
)
SCENARIOS = (UNSEAL, ADOPT, ROTATE, AGAIN, REFUSED, RESUMED)
