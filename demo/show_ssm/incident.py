# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What CloudTrail would know of the theft, and what the record of the incident says, in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cloudtrail_api import event

APPLICATION = "arn:aws:sts::111122223333:assumed-role/musehub/i-1"
STRANGER = "arn:aws:iam::111122223333:user/eve"


def stamp(moment: datetime) -> str:
    """A time as it is given to a playbook."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def reads(moment: datetime) -> list[dict[str, Any]]:
    """The application reads its parameter, and so does somebody else."""
    asked = {"name": "/musehub/production/DB_PASSWORD", "withDecryption": True}
    return [
        event(
            "GetParameter",
            moment,
            requestParameters=asked,
            userIdentity={"arn": arn},
            sourceIPAddress=address,
        )
        for arn, address in ((APPLICATION, "10.20.0.5"), (STRANGER, "198.51.100.7"))
    ]


def summary(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The record in rows: what, and how it is told."""
    reads, logins = record["reads"], record["logins"]
    rows = [
        ("not expected", f"{one['principal']} read it from {one['address']}")
        for one in reads["unexpected"]
    ]
    rows += [
        ("not expected", f"a login as {one['principal']} from {one['address']}")
        for one in logins["unexpected"]
    ]
    expected = (_count(reads["expected"], "read"), _count(logins["expected"], "login"))
    rows.append(("expected", ", ".join(expected)))
    refused = _count(logins["denied"], "login")
    rows.append(
        ("refused", f"{refused}: the thief's, and what proved that the old values are ended")
    )
    rows.append(("timeline", f"{len(record['timeline'])} steps of the ledger, with who and why"))
    return rows


def strangers_missing(record: Mapping[str, Any]) -> int:
    """How many unexpected readers the record does not have, or has too many."""
    return len({one["principal"] for one in record["reads"]["unexpected"]} ^ {STRANGER})


def _count(uses: Sequence[Mapping[str, Any]], what: str) -> str:
    number = sum(one.get("count", 1) for one in uses)
    return f"{number} {what}{'' if number == 1 else 's'}"
