# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a template can name of a stage beside its fields: when and why it was made, and by whom. None of it is secret."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Callable, Iterable, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

NEW = "(new)"
"""The rotation id that check mode predicts."""

NOT_GIVEN = "-"
"""What stands for a reason or an operator that nobody told, as in other logs."""


def _time(moment: Optional[datetime]) -> Optional[str]:
    return None if moment is None else format_time(moment)


_FACTS: Mapping[str, Callable[[Stage], Optional[str]]] = MappingProxyType(
    {
        "made": lambda stage: _time(stage.made),
        "operator": lambda stage: stage.operator or NOT_GIVEN,
        "promoted": lambda stage: _time(stage.promoted),
        "reason": lambda stage: stage.reason or NOT_GIVEN,
        "rotation_id": lambda stage: stage.rotation_id,
    }
)
FACTS = tuple(_FACTS)
_TIMES = ("made", "promoted")


def refuse_facts(names: Iterable[str], option: str) -> None:
    """Keep an issuer's secret fields from the names of facts, which everybody may read.

    A keyring that has such a field from before is read as it was: there a field comes before a fact.

    :param option: how messages name where the fields are named.
    :raises BadInput: for one of these names.
    """
    for name in names:
        if name in _FACTS:
            raise BadInput(
                f"{option}: '{name}' cannot be the name of a secret field: in templates {', '.join(FACTS)} are what everybody may know "
                "of a rotation; name the field otherwise, such as value or key, in sinks and probes, too"
            )


def is_fact(stage: Stage, name: str) -> bool:
    """Whether the name means a fact of this stage: a field of that name comes first."""
    return name in _FACTS and name not in stage.fields


def fact_text(stage: Stage, name: str) -> Optional[str]:
    """A fact; none where it is not known: when a value was made that was taken over, or a pending one is promoted."""
    return _FACTS[name](stage)


def fact_value(stage: Stage, name: str, by_day: bool = False) -> Optional[Value]:
    """A fact, as templates show it; none where it is not known.

    In check mode, the id of a rotation that would be begun is not known yet, nor its times but for the day.

    :param by_day: whether only the day of a time is asked for.
    """
    text = fact_text(stage, name)
    predicted = stage.rotation_id == NEW and (name == "rotation_id" or name in _TIMES)
    if text is None or not predicted or (by_day and name in _TIMES):
        return text
    return Secret.new(text)
