# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a step of a rotation is asked to do, and by whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Value

Evidence = Tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Run:
    """One run of a playbook, as it signs claims and the ledger.

    :param started: start time of the process, in the kernel's ticks, so that a reused pid is not taken for it.
    """

    run_id: str
    host: str = ""
    pid: int = 0
    boot_id: str = ""
    started: str = ""
    who: str = ""
    why: str = ""


@dataclass(frozen=True)
class Request:
    """What a step is asked to do.

    :param salt: for a document that this step begins.
    :param proved_for: the rotation that this step and its evidence are about, where that is known.
    :param overlap: whether the issuer accepts the old and the new value together.
    :param ends: making the value ended the one in use.
    :param returns: whether the issuer can make a value that was replaced accepted again.
    :param handed: a person hands the values over, so that one that was abandoned may be read again.
    :param holder_dead: the process that holds the claim is known to be gone.
    :param before: what was made later is not compromised; none: whatever there is.
    :param receipts: per consumer, the digest of what it was seen using.
    """

    transition: str
    run: Run
    credential: str = ""
    salt: bytes = b""
    rotation_id: str = ""
    proved_for: str = ""
    fields: Mapping[str, Value] = field(default_factory=dict)
    definition: str = ""
    overlap: bool = True
    ends: bool = False
    returns: bool = True
    handed: bool = False
    evidence: Evidence = ()
    grace: timedelta = timedelta(hours=48)
    made: Optional[datetime] = None
    before: Optional[datetime] = None
    receipts: Mapping[str, str] = field(default_factory=dict)
    notices: Mapping[str, str] = field(default_factory=dict)
    retain: bool = False
    take_over: bool = False
    holder_dead: bool = False
    ttl: timedelta = timedelta(minutes=30)
