# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may take a step: the run that holds the claim, by a clock that can be trusted. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Claim, Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_duration,
    format_time,
)

CLOCK_TOLERANCE = timedelta(seconds=60)
_TOLERATED = f"{CLOCK_TOLERANCE.total_seconds():.0f} s"


def same_run(holder: Claim, run: Run) -> bool:
    """Whether this run holds the claim."""
    return holder.run_id == run.run_id


def check_claim(document: Document, request: Request, now: datetime) -> None:
    """Refuse when another run holds the claim and may still be alive.

    :raises Refused: naming the other run and what to do.
    """
    holder = document.claim
    if (
        holder is None
        or same_run(holder, request.run)
        or request.holder_dead
        or request.take_over
        or holder.expires <= now
    ):
        return
    raise Refused(
        f"{document.credential}: another run is working on it: run {holder.run_id} on {holder.host} (process {holder.pid}), last seen "
        f"{format_duration(now - holder.renewed)} ago. Wait for it to end; if it is dead, run again with "
        f"-e keyturn_take_over=true, else its claim ends by itself at {format_time(holder.expires)}",
        holder=holder.run_id,
    )


def clock_fault(
    document: Optional[Document], now: datetime, store_time: Optional[datetime] = None
) -> str:
    """Why this clock cannot be trusted; empty when it can. Grace periods and claims are measured by it.

    :param store_time: the secret store's own clock, where it tells it.
    """
    here = format_time(now)
    if store_time is not None and abs(store_time - now) > CLOCK_TOLERANCE:
        apart = round(abs(store_time - now).total_seconds())
        return (
            f"the clock here says {here}, the secret store's {format_time(store_time)}, {apart} s apart (at most {_TOLERATED} are "
            "tolerated): set them right (NTP)"
        )
    if document and document.updated and document.updated - now > CLOCK_TOLERANCE:
        wrote = format_time(document.updated)
        back = round((document.updated - now).total_seconds())
        return (
            f"the clock here says {here}, but the keyring was written at {wrote}, {back} s later (at most {_TOLERATED} are tolerated): the "
            "clock went back; set it right (NTP)"
        )
    return ""


def check_clock(
    credential: str,
    document: Optional[Document],
    now: datetime,
    store_time: Optional[datetime] = None,
) -> None:
    """Refuse when this clock is behind the document's own times, or differs from the store's.

    :raises Refused: naming both times.
    """
    fault = clock_fault(document, now, store_time)
    if fault:
        raise Refused(f"{credential}: {fault}")
