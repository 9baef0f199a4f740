# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a result and a diff show of a place: names and fingerprints, never a value. Pure."""

from __future__ import annotations

from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import fingerprint
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Outcome, Wanted

ABSENT = "(absent)"
OTHER_FORM = "(another form)"
_LONGEST = 200
_WHOLE = "content"
"""What the one field of a place that holds one text is called."""


def _shown(salt: bytes, name: str, fields: Mapping[str, Optional[Secret]]) -> str:
    if name not in fields:
        return ABSENT
    value = fields[name]
    return OTHER_FORM if value is None else fingerprint(salt, name, value)


def _fact(value: Secret) -> str:
    """The text of a fact that may be read by everybody; empty where it is not known yet, or is more than a line."""
    text = value.reveal().rstrip("\n") if value.known else ""
    return text if text.isprintable() and len(text) <= _LONGEST else ""


def _after(salt: bytes, name: str, wanted: Wanted, outcome: Outcome, facts: Collection[str]) -> str:
    if name not in outcome.changes:
        return _shown(salt, name, outcome.observed.fields)
    value = outcome.changes[name]
    if value is None:
        return ABSENT
    return (_fact(value) if name in facts else "") or fingerprint(salt, name, value)


def shown_fields(
    salt: bytes,
    wanted: Wanted,
    outcome: Outcome,
    names: Optional[Sequence[str]] = None,
    facts: Collection[str] = (),
) -> Dict[str, Dict[str, str]]:
    """Per field, what was there ``before`` and what is ``after``.

    :param salt: keys the fingerprints: those under one salt can be compared, and none can be guessed without it.
    :param names: only these fields.
    :param facts: fields that get nothing but facts of a rotation, such as its day. What is written there is shown; what stood there
        before is not, because it may be anything.
    """
    return {
        name or _WHOLE: {
            "before": _shown(salt, name, outcome.observed.fields),
            "after": _after(salt, name, wanted, outcome, facts),
        }
        for name in (wanted.names if names is None else names)
    }


def difference(
    salt: bytes,
    wanted: Wanted,
    outcome: Outcome,
    notes: Sequence[str] = (),
    facts: Collection[str] = (),
) -> Dict[str, str]:
    """A diff as Ansible shows it.

    :param facts: as in :func:`shown_fields`.
    :param notes: further lines of what is there afterwards.
    """
    fields = shown_fields(salt, wanted, outcome, facts=facts)
    before = [f"{name}: {both['before']}\n" for name, both in fields.items()]
    after = [f"{name}: {both['after']}\n" for name, both in fields.items()]
    before += _lines(outcome.observed.drift)
    shown: Dict[str, Any] = {"before_header": wanted.where, "after_header": wanted.where}
    return {**shown, "before": "".join(before), "after": "".join(after + _lines(notes))}


def _lines(texts: Sequence[str]) -> List[str]:
    return [f"{text}\n" for text in texts]
