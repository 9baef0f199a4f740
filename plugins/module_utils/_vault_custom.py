# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task wants of a secret's metadata: who owns it, which rotation it is from, when that was, and what else is named.

Custom metadata is no secret: Vault shows it to whoever may list, and its audit log has it in clear. Keys that are not named are
others', and stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Dict, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Params
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_metadata import Metadata

LAST_ROTATED = "last_rotated"
NOW = "(time of the write)"
_TRACKED = ("owner", "rotation_id", "max_age")
CUSTOM_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "metadata": {"type": "dict", "default": {}},
        "owner": {"type": "str"},
        "rotation_id": {"type": "str"},
        "max_age": {"type": "str"},
        "keep": {"type": "int"},
    }
)


@dataclass(frozen=True)
class Custom:
    """What is asked for.

    :param wanted: custom metadata by key; none removes one.
    :param tracked: the time of the last write is kept too.
    :param keep: how many versions Vault is to keep.
    """

    wanted: Mapping[str, Optional[str]]
    tracked: bool
    keep: Optional[int]

    @property
    def asked(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self.wanted) or self.keep is not None


@dataclass(frozen=True)
class Plan:
    """What differs.

    :param changes: keys to set, or to remove where there is none.
    :param stamped: the time of the last write is to be set too.
    :param keep: how many versions to keep; none where that fits.
    :param before: what is there of the keys that are asked for.
    """

    changes: Mapping[str, Optional[str]] = field(default_factory=dict)
    stamped: bool = False
    keep: Optional[int] = None
    before: Mapping[str, str] = field(default_factory=dict)
    kept: int = 0

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.changes) or self.stamped or self.keep is not None

    def lines(self) -> Dict[str, str]:
        """The two sides of a diff."""
        changes = {**self.changes, **({LAST_ROTATED: NOW} if self.stamped else {})}
        before = [f"metadata {name}: {self.before.get(name, '(absent)')}\n" for name in changes]
        after = [
            f"metadata {name}: {'(absent)' if value is None else value}\n"
            for name, value in changes.items()
        ]
        if self.keep is not None:
            before.append(f"versions kept: {self.kept}\n")
            after.append(f"versions kept: {self.keep}\n")
        return {"before": "".join(before), "after": "".join(after)}


def wanted_custom(params: Params) -> Custom:
    """What the options ask for.

    :raises BadInput: for a value that is no text, a key that is given twice, or a duration that is none.
    """
    given = {str(name): _text(name, value) for name, value in params["metadata"].items()}
    tracked = {name: params[name] for name in _TRACKED if params.get(name)}
    twice = sorted({*given} & {*tracked, *((LAST_ROTATED,) if tracked else ())})
    if twice:
        raise BadInput(f"metadata.{twice[0]}: the module sets this key itself; leave it out here")
    if "max_age" in tracked:
        parse_duration(tracked["max_age"], "max_age")
    keep = params.get("keep")
    if keep is not None and keep < 1:
        raise BadInput(f"keep: expected at least 1 version, not {keep}")
    return Custom({**given, **tracked}, bool(tracked), keep)


def _text(name: Any, value: Any) -> Optional[str]:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadInput(f"metadata.{name}: expected a text, not a {type(value).__name__}")
    return str(value)


def plan_custom(custom: Custom, found: Optional[Metadata], rewritten: bool) -> Plan:
    """What differs. Pure.

    The time of the last write is set when values were written, and also when the rotation's id was not yet: a run that was
    killed between the two writes is made up for by the next.

    :param rewritten: the values of the secret were, or would be, written by this task.
    """
    if not custom.asked:
        return Plan()
    there = found or Metadata()
    changes = {
        name: value for name, value in custom.wanted.items() if there.custom.get(name) != value
    }
    exists = rewritten or there.newest > 0
    old = LAST_ROTATED not in there.custom or "rotation_id" in changes
    return Plan(
        changes=changes,
        stamped=custom.tracked and exists and (rewritten or old),
        keep=custom.keep if custom.keep != there.keep else None,
        before=there.custom,
        kept=there.keep,
    )
