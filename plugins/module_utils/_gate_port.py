# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gates are made of: the verdict, the facts that come in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._due import in_emergency
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import Policy

_SHOWN = 8


@dataclass(frozen=True)
class Gate:
    """One condition and whether it holds; the message says why not and what to do, or why it is fine."""

    name: str
    passed: bool
    message: str


@dataclass(frozen=True)
class Facts:
    """What the gates need to know beside the keyring and the policy.

    :param credential: how messages name it.
    :param run_id: this run.
    :param holder_dead: the process that holds the claim is known to be gone.
    :param take_over: the user says that the other run is dead.
    :param definition: digest of the definition as it is now; empty: nobody computed it.
    :param overlap: whether the issuer accepts old and new together.
    :param force: the user wants this rotation although the policy does not.
    :param reason: why, in the user's words.
    :param outside_window: the user wants it outside the maintenance window.
    :param emergency: a person says that the value is compromised.
    :param store_time: the secret store's own clock, where it tells it.
    :param returns: whether a value that was replaced can be made accepted again.
    :param handed: a person hands the values over.
    :param comes_first: why a value cannot be refused before there is another; empty where it can.
    :param conditions: the credential's own gates that are closed, as sentences.
    :param issuer_problems: why the issuer could not do it, as sentences.
    :param unreadable: sinks that cannot be read or written, as sentences.
    :param unready: consumers that could not be told now, as sentences.
    :param unknown: sinks whose places hold values that the keyring does not know.
    :param replace: the user says that these may go.
    :param behind: sinks that do not hold what the keyring says.
    :param lagging: consumers that were not seen using what the sinks hold.
    :param sessions: who still uses the previous value; none when nobody looked.
    :param alert: what is firing; none when no alert is configured or it is quiet.
    :param rotation_id: the rotation that a rollback is meant for; empty: whichever is in use.
    :param stored: something is stored that only this credential's values open, so that ending one too early loses it for good.
    :param made_before: what was made later is not compromised; none: whatever is in use.
    :param probes: how many proofs the credential has; none when nobody counted.
    :param first: only a credential without a value gets one, which no policy keeps from it.
    :param given: the value that a person was asked for by the rotation under way is there.
    """

    credential: str = ""
    run_id: str = ""
    holder_dead: bool = False
    take_over: bool = False
    definition: str = ""
    overlap: bool = True
    returns: bool = True
    handed: bool = False
    comes_first: str = ""
    conditions: Tuple[str, ...] = ()
    force: bool = False
    reason: str = ""
    outside_window: bool = False
    emergency: bool = False
    store_time: Optional[datetime] = None
    issuer_problems: Tuple[str, ...] = ()
    unreadable: Tuple[str, ...] = ()
    unready: Tuple[str, ...] = ()
    unknown: Tuple[str, ...] = ()
    replace: bool = False
    behind: Tuple[str, ...] = ()
    lagging: Tuple[str, ...] = ()
    sessions: Optional[Tuple[str, ...]] = None
    alert: Optional[str] = None
    rotation_id: str = ""
    stored: bool = False
    made_before: Optional[datetime] = None
    probes: Optional[int] = None
    given: bool = False
    first: bool = False


@dataclass(frozen=True)
class Case:
    """All that one gate looks at."""

    document: Optional[Document]
    policy: Policy
    now: datetime
    facts: Facts

    @property
    def emergency(self) -> bool:
        """A person says now that the value is compromised, or said so before and it is not over."""
        return self.facts.emergency or in_emergency(self.document)


def some(items: Tuple[str, ...]) -> str:
    """The first few of many, joined."""
    more = len(items) - _SHOWN
    return "; ".join(items[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
