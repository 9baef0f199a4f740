# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of false positives: what is let pass, why, and until when. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput

KEYS = ("path", "name", "fingerprint")
"""What an entry tells a finding by; all that it says have to fit."""

_OTHERS = ("reason", "expires")


@dataclass(frozen=True)
class Allowance:
    """One entry.

    :param number: its place in the list, from 1.
    :param expires: the last day that it counts.
    """

    number: int
    fits: Mapping[str, str]
    reason: str
    expires: date

    def covers(self, finding: Mapping[str, Any]) -> bool:
        """Whether it is about this finding. A value of the estate is let pass by its fingerprint alone."""
        if finding.get("credential") and "fingerprint" not in self.fits:
            return False
        return all(
            fnmatchcase(str(finding.get(key) or ""), pattern) for key, pattern in self.fits.items()
        )

    def told(self) -> Dict[str, Any]:
        """The entry, for a report."""
        return {**self.fits, "reason": self.reason, "expires": self.expires.isoformat()}


def _date(value: Any, where: str) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return datetime.strptime(str(value), "%Y-%m-%d").date()
    except ValueError:
        raise BadInput(
            f"{where}: 'expires' is no date; write the last day that it counts, such as 2027-01-31"
        ) from None


def read_allowances(given: Sequence[Any]) -> List[Allowance]:
    """The entries of the list.

    :raises BadInput: one has no reason or no last day, or does not say what it is about.
    """
    found = []
    for number, entry in enumerate(given, 1):
        where = f"allow, entry {number}"
        if not isinstance(entry, Mapping):
            raise BadInput(
                f"{where}: expected a mapping with {', '.join(KEYS)}, reason and expires"
            )
        said = {
            str(key): value for key, value in entry.items() if value is not None and value != ""
        }
        unknown = sorted(set(said) - {*KEYS, *_OTHERS})
        if unknown:
            raise BadInput(
                f"{where}: '{unknown[0]}' is unknown; there are {', '.join((*KEYS, *_OTHERS))}"
            )
        fits = {key: str(said[key]) for key in KEYS if key in said}
        if not fits or all(pattern.strip("*") == "" for pattern in fits.values()):
            raise BadInput(
                f"{where}: say what it is about with {', '.join(KEYS[:-1])} or {KEYS[-1]}, and not everything"
            )
        reason = str(said.get("reason", "")).strip()
        if not reason:
            raise BadInput(
                f"{where}: 'reason' is missing; say why this is no secret, for whoever reads the list next"
            )
        if "expires" not in said:
            raise BadInput(
                f"{where}: 'expires' is missing; write the last day that it counts, such as 2027-01-31"
            )
        found.append(Allowance(number, fits, reason, _date(said["expires"], where)))
    return found


def sort_out(
    findings: Sequence[Mapping[str, Any]], allowances: Sequence[Allowance], today: date
) -> Tuple[List[Dict[str, Any]], List[Dict[str, Any]]]:
    """The findings that count, and those that an entry lets pass.

    A finding of an entry that is over counts, and says so.
    """
    counted: List[Dict[str, Any]] = []
    passed: List[Dict[str, Any]] = []
    for finding in findings:
        about = [one for one in allowances if one.covers(finding)]
        valid = next((one for one in about if one.expires >= today), None)
        if valid:
            passed.append({**finding, "allowed": valid.told()})
        elif about:
            counted.append({**finding, "allowed_until": about[0].expires.isoformat()})
        else:
            counted.append(dict(finding))
    return counted, passed


def unneeded(
    findings: Sequence[Mapping[str, Any]], allowances: Sequence[Allowance], today: date
) -> Dict[str, List[Dict[str, Any]]]:
    """Entries that are over, and entries that no finding needs any more."""
    return {
        "expired": [one.told() for one in allowances if one.expires < today],
        "unused": [one.told() for one in allowances if not any(map(one.covers, findings))],
    }
