# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of ``app_log`` mean: how a line is read, and which entries count. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Mapping, Optional, Tuple, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    DENIED,
    DONE,
    FAILED,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._app_entry import (
    APP_FORMATS,
    COMBINED,
    COMBINED_REFUSED,
    COMBINED_SUCCESS,
    COMBINED_TIME,
    JSON,
    REGEX,
    JsonForm,
    PatternForm,
    combined,
    json_form,
    pattern_form,
    text_of,
    value_at,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._app_time import (
    Clock,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._postgres_log import (
    offset_of,
)

Form = Union[JsonForm, PatternForm]
Wanted = Tuple[str, ...]


def _wanted(given: Any, option: str) -> Wanted:
    """What a field may be, as patterns with ``*`` and ``?``.

    :raises BadInput: for nothing, and for what is no single value.
    """
    items = given if isinstance(given, (list, tuple)) else [given]
    texts = [text_of(item) for item in items]
    if not texts or any(not text for text in texts):
        raise BadInput(f"{option}: expected a value or a list of them, such as [login, 'auth.*']")
    return tuple(str(text) for text in texts)


def _is(value: str, wanted: Wanted) -> bool:
    return any(fnmatchcase(value, one) for one in wanted)


@dataclass(frozen=True)
class Rules:
    """Which entries count, and how they went.

    :param match: what each of these fields has to be.
    """

    match: Mapping[str, Wanted] = field(default_factory=dict)
    success: Wanted = ()
    refused: Wanted = ()

    def counts(self, entry: Mapping[str, Any], principal: str) -> bool:
        """Whether an entry is about the credential: by what was asked for, else by naming somebody."""
        if not self.match:
            return bool(principal)
        return all(_is(value_at(entry, at) or "", wanted) for at, wanted in self.match.items())

    def outcome(self, told: Optional[str]) -> str:
        """How it went; an entry that does not say counts as failed where success is said to look otherwise."""
        if told is not None and _is(told, self.refused):
            return DENIED
        if self.success and (told is None or not _is(told, self.success)):
            return FAILED
        return DONE


def form_of(params: Mapping[str, Any]) -> Form:
    """How a line is read.

    :raises BadInput: for a format that is none, and options that do not go with it.
    """
    form = str(params.get("format") or "")
    if form not in APP_FORMATS:
        raise BadInput(
            f"format: expected one of {', '.join(APP_FORMATS)}; combined is what nginx and Apache write into their access logs"
        )
    if params.get("fields") and form != JSON:
        raise BadInput(f"fields: for format {JSON} alone; a regular expression names its groups")
    if params.get("pattern") and form != REGEX:
        raise BadInput(f"pattern: for format {REGEX} alone")
    if form == JSON:
        return json_form(params.get("fields"), "fields")
    return combined() if form == COMBINED else pattern_form(str(params["pattern"]), "pattern")


def rules_of(params: Mapping[str, Any], form: Form) -> Rules:
    """Which entries count.

    :raises BadInput: for rules about what an entry does not have, and for none at all.
    """
    match = {
        str(at): _wanted(value, f"match.{at}") for at, value in (params["match"] or {}).items()
    }
    if isinstance(form, PatternForm):
        strange = [at for at in match if at not in form.groups]
        if strange:
            raise BadInput(
                f"match.{strange[0]}: there is no such group; expected some of {', '.join(form.groups)}"
            )
    if not match and "principal" not in form.fields:
        raise BadInput(
            "match: missing; without a principal among the fields or groups, say which entries are about the credential"
        )
    given = {name: params.get(name) for name in ("success", "refused")}
    lists = {name: _wanted(value, name) for name, value in given.items() if value}
    if lists and "outcome" not in form.fields:
        raise BadInput(
            f"{next(iter(lists))}: no field or group is called outcome, so nothing could be compared with this"
        )
    if params["format"] == COMBINED:
        lists = {"success": COMBINED_SUCCESS, "refused": COMBINED_REFUSED, **lists}
    return Rules(match, **lists)


def clock_of(params: Mapping[str, Any], form: Form, timed: bool, now: datetime) -> Optional[Clock]:
    """What reads an entry's time; none where each line comes with it.

    :raises BadInput: for an entry without a time, and a format that cannot be meant.
    """
    offset = offset_of(str(params.get("utc_offset") or ""))
    if timed:
        return None
    if "time" not in form.fields:
        raise BadInput(
            f"{'fields' if isinstance(form, JsonForm) else 'pattern'}: it has no time: nobody can know what of this log is in the window"
        )
    wanted = COMBINED_TIME if params["format"] == COMBINED else str(params["time_format"])
    return Clock(wanted, offset, now)
