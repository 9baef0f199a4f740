# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a result and a diff show of a place: names and fingerprints, never a value. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import fingerprint
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Outcome, Wanted

ABSENT = "(absent)"
OTHER_FORM = "(another form)"
_WHOLE = "content"
"""What the one field of a place that holds one text is called."""


def _shown(salt: bytes, name: str, fields: Mapping[str, Optional[Secret]]) -> str:
    if name not in fields:
        return ABSENT
    value = fields[name]
    return OTHER_FORM if value is None else fingerprint(salt, name, value)


def _after(salt: bytes, name: str, outcome: Outcome, told: Mapping[str, str]) -> str:
    if name not in outcome.changes:
        return _shown(salt, name, outcome.observed.fields)
    value = outcome.changes[name]
    if value is None:
        return ABSENT
    return told.get(name) or fingerprint(salt, name, value)


def shown_fields(
    salt: bytes,
    wanted: Wanted,
    outcome: Outcome,
    names: Optional[Sequence[str]] = None,
    told: Mapping[str, str] = MappingProxyType({}),
) -> Dict[str, Dict[str, str]]:
    """Per field, what was there ``before`` and what is ``after``.

    :param salt: keys the fingerprints: those under one salt can be compared, and none can be guessed without it.
    :param names: only these fields.
    :param told: by field, what everybody may read of the text that is written there, such as the day of a rotation: see
        :mod:`_template_told`. What stood there before is never shown, because it may be anything.
    """
    return {
        name or _WHOLE: {
            "before": _shown(salt, name, outcome.observed.fields),
            "after": _after(salt, name, outcome, told),
        }
        for name in (wanted.names if names is None else names)
    }


def difference(
    salt: bytes,
    wanted: Wanted,
    outcome: Outcome,
    notes: Sequence[str] = (),
    told: Mapping[str, str] = MappingProxyType({}),
) -> Dict[str, str]:
    """A diff as Ansible shows it.

    :param notes: further lines of what is there afterwards.
    :param told: as in :func:`shown_fields`.
    """
    fields = shown_fields(salt, wanted, outcome, told=told)
    before = [f"{name}: {both['before']}\n" for name, both in fields.items()]
    after = [f"{name}: {both['after']}\n" for name, both in fields.items()]
    before += _lines(outcome.observed.drift)
    shown: Dict[str, Any] = {"before_header": wanted.where, "after_header": wanted.where}
    return {**shown, "before": "".join(before), "after": "".join(after + _lines(notes))}


def _lines(texts: Sequence[str]) -> List[str]:
    return [f"{text}\n" for text in texts]
