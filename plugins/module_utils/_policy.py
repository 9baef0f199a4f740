# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential's policy: when it is rotated, how long the old value lives on, who owns it and who is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration
from ansible_collections.keyturn.runbooks.plugins.module_utils._windows import Window, parse_windows

ROTATE = ("age", "on_compromise", "on_provider_change", "never")
DEFAULT_GRACE = timedelta(hours=48)
SOON = 0.9
_KEYS = (
    "rotate",
    "max_age",
    "min_age",
    "grace",
    "window",
    "reason_required",
    "owner",
    "contacts",
    "alert",
    "escalation",
)
_ALERT_KEYS = (
    "command",
    "url",
    "headers",
    "status",
    "json",
    "contains",
    "validate_certs",
    "ca_path",
    "timeout",
    "rc",
    "environment",
)


@dataclass(frozen=True)
class Policy:
    """What ``keyturn_policy`` says.

    :param rotate: ``age``, ``on_compromise``, ``on_provider_change`` or ``never``.
    :param max_age: how old a value may become; only with ``age``. None when there is no policy: it is rotated when asked.
    :param min_age: younger than this, a rotation is refused unless forced. By default 90 % of the maximum age.
    :param grace: how long the previous value stays accepted after the cut-over was observed.
    :param windows: when a rotation may run; none: at any time.
    :param contacts: who is told of what; ``_notify`` reads them.
    :param escalation: whom a person asks for help when a rotation that was begun fails, and how.
    :param alert: a command or an address that says whether an alert is firing.
    """

    rotate: str = "age"
    max_age: Optional[timedelta] = None
    min_age: timedelta = timedelta(0)
    grace: timedelta = DEFAULT_GRACE
    windows: Tuple[Window, ...] = ()
    reason_required: bool = False
    owner: str = ""
    contacts: Tuple[Mapping[str, Any], ...] = ()
    alert: Mapping[str, Any] = field(default_factory=dict)
    escalation: str = ""


def refuse_unknown(body: Mapping[Any, Any], known: Tuple[str, ...], where: str) -> None:
    """Refuse keys that nobody would read.

    :raises BadInput: with every unknown key and the list of known ones.
    """
    strange = sorted(str(key) for key in body if key not in known)
    if strange:
        raise BadInput(
            f"{where}: unknown key {', '.join(strange)}; expected some of {', '.join(known)}"
        )


def as_flag(value: Any, where: str) -> bool:
    """Read a boolean as Ansible's variables carry it: a real one, or the word from ``-e``."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0", ""):
        return False
    raise BadInput(f"{where}: '{value}' is neither true nor false")


def _max_age(body: Mapping[str, Any], rotate: str, option: str) -> Optional[timedelta]:
    if rotate != "age":
        if "max_age" in body:
            raise BadInput(
                f"{option}.max_age: has no meaning with rotate: {rotate}; remove it or write rotate: age"
            )
        return None
    if "max_age" not in body:
        raise BadInput(f"{option}.max_age: is missing; rotate: age needs one, such as 180d")
    age = parse_duration(body["max_age"], f"{option}.max_age")
    if age <= timedelta(0):
        raise BadInput(f"{option}.max_age: must be longer than nothing")
    return age


def _alert(value: Any, option: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadInput(f"{option}: expected a mapping with command or url")
    refuse_unknown(value, _ALERT_KEYS, option)
    if ("command" in value) == ("url" in value):
        raise BadInput(f"{option}: expected either command (a list of words) or url")
    return dict(value)


def _escalation(value: Any, option: str) -> str:
    if not isinstance(value, str):
        raise BadInput(
            f"{option}: expected a text that says whom to ask and how, such as 'on-call broadcast, +49 30 1234'"
        )
    return " ".join(value.split())


def _contacts(value: Any, option: str) -> Tuple[Mapping[str, Any], ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, Mapping) for item in value):
        raise BadInput(
            f"{option}: expected a list of contacts, each a mapping with a type: command, webhook or mail"
        )
    return tuple(value)


def parse_policy(value: Any, option: str = "keyturn_policy") -> Policy:
    """Read a policy; an empty or missing one lets a rotation run whenever it is asked for, with the default grace.

    :raises BadInput: naming the key, what was expected and, for an unknown key, the known ones.
    """
    if not value:
        return Policy()
    if not isinstance(value, Mapping):
        raise BadInput(
            f"{option}: expected a mapping such as {{rotate: age, max_age: 180d, grace: 48h}}"
        )
    refuse_unknown(value, _KEYS, option)
    rotate = str(value.get("rotate", "age"))
    if rotate not in ROTATE:
        raise BadInput(
            f"{option}.rotate: '{rotate}' is unknown; expected one of {', '.join(ROTATE)}"
        )
    max_age = _max_age(value, rotate, option)
    min_age = (
        parse_duration(value["min_age"], f"{option}.min_age")
        if "min_age" in value
        else (max_age or timedelta(0)) * SOON
    )
    if max_age and min_age > max_age:
        raise BadInput(
            f"{option}.min_age: is longer than max_age: such a value could never be rotated in time"
        )
    return Policy(
        rotate=rotate,
        max_age=max_age,
        min_age=min_age,
        grace=parse_duration(value["grace"], f"{option}.grace")
        if "grace" in value
        else DEFAULT_GRACE,
        windows=parse_windows(value["window"], f"{option}.window") if value.get("window") else (),
        reason_required=as_flag(value.get("reason_required", False), f"{option}.reason_required"),
        owner=str(value.get("owner") or ""),
        contacts=_contacts(value.get("contacts") or (), f"{option}.contacts"),
        alert=_alert(value["alert"], f"{option}.alert") if value.get("alert") else {},
        escalation=_escalation(value.get("escalation", ""), f"{option}.escalation"),
    )
