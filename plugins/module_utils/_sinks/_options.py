# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a sink's place is treated apart from its values: its form, its mode and owners, its copies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env import (
    COMMON,
    DIALECT_NAMES,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

FORMATS = ("text", "env", "json", "yaml", "frontmatter", "log")
PATHS = ("yaml", "frontmatter")
"""The formats whose fields are paths to a value."""

WHOLES = ("text", "log")
"""The formats of which a template writes the whole: a text, or a line."""

FILE_ONLY = ("format", "dialect", "mode", "owner", "file_group", "backup")
STAMP = "rotation"
"""What :mod:`_publish` calls the rotation's id, and what it is of, among the parameters of a reference: for places that keep it beside
the value."""

MARKED = ("awsssm",)
"""Those places."""

_ONE_TEXT = ("awssecrets", "awsssm")
"""Stores whose value is one text, which may hold keys as JSON."""
_MODE = re.compile(r"0?[0-7]{3}\Z")
_KEEP = "7d"


@dataclass(frozen=True)
class Options:
    """How a place is treated apart from its values.

    :param format: how a file holds its fields; empty for a store that has fields of its own.
    :param create: whether a place that is not there is made.
    :param dialect: which reader an env file is for.
    :param backup_keep: how long a copy of the file stays, in seconds; none where none is made.
    :param backup_count: how many copies stay at most.
    """

    format: str = ""
    create: bool = True
    mode: Optional[int] = None
    owner: Optional[str] = None
    file_group: Optional[str] = None
    dialect: str = COMMON
    backup_keep: Optional[float] = None
    backup_count: Optional[int] = None


def text_of(definition: Mapping[str, Any], key: str, where: str, default: str = "") -> str:
    """A text of a definition.

    :raises BadInput: for another type, and an empty one.
    """
    value = definition.get(key)
    if value is None:
        return default
    if not isinstance(value, str) or not value:
        raise BadInput(f"{where}: '{key}' must be a text that is not empty")
    return value


def _bool(definition: Mapping[str, Any], key: str, where: str, default: bool) -> bool:
    value = definition.get(key, default)
    if isinstance(value, str) and value.lower() in ("true", "yes", "false", "no"):
        return value.lower() in ("true", "yes")
    if not isinstance(value, bool):
        raise BadInput(f"{where}: '{key}' must be true or false")
    return value


def _mode(definition: Mapping[str, Any], where: str) -> Optional[int]:
    value = definition.get("mode")
    if value is None:
        return None
    if not isinstance(value, str) or not _MODE.match(value):
        raise BadInput(f"{where}: 'mode' must be a quoted octal number such as \"0600\"")
    return int(value, 8)


def options_of(definition: Mapping[str, Any], ref: Reference, where: str) -> Options:
    """What a sink's definition says of its place.

    :raises BadInput: for what is wrong, or has no meaning there.
    """
    create = _bool(definition, "create", where, True)
    if ref.scheme != "file":
        strange = [key for key in FILE_ONLY if key in definition]
        if strange:
            raise BadInput(
                f"{where}: '{strange[0]}' is only for a sink in a file (ref+file://…), not for ref+{ref.scheme}://"
            )
        return Options(_form_of_store(definition, ref, where), create)
    name = _form_of_file(definition, ref, where)
    owner = text_of(definition, "owner", where) or None
    group = text_of(definition, "file_group", where) or None
    keep, count = _backup(definition, name, where)
    dialect = _dialect(definition, name, where)
    return Options(name, create, _mode(definition, where), owner, group, dialect, keep, count)


def _form_of_file(definition: Mapping[str, Any], ref: Reference, where: str) -> str:
    given = [
        text
        for text in (text_of(definition, "format", where), str(ref.params.get("format", "")))
        if text
    ]
    if len(set(given)) > 1:
        raise BadInput(f"{where}: 'format' and the reference's ?format= disagree")
    keyed = bool(ref.fragment) or "fields" in definition
    if not given and keyed:
        raise BadInput(f"{where}: a key in a file needs 'format: env', 'format: json' or another")
    name = given[0] if given else "text"
    if name not in FORMATS:
        raise BadInput(
            f"{where}: there is no format '{name}'; expected one of {', '.join(FORMATS)}"
        )
    if name in (*PATHS, "log") and definition.get("absent", "keep") != "keep":
        what = (
            "nothing is ever taken out of a log"
            if name == "log"
            else "no value is taken out of YAML"
        )
        raise BadInput(f"{where}: 'absent: remove' has no meaning here: {what}; leave it out")
    return name


def _backup(
    definition: Mapping[str, Any], form: str, where: str
) -> Tuple[Optional[float], Optional[int]]:
    """How long copies of the file stay, in seconds, and how many; none of both where none are made."""
    given = definition.get("backup")
    if given is None:
        return None, None
    if form == "log":
        raise BadInput(f"{where}: 'backup' is for a file that is replaced; a log is only added to")
    if not isinstance(given, Mapping) or set(given) - {"keep", "count"}:
        raise BadInput(
            f"{where}: 'backup' must be a mapping of 'keep', and 'count' if you like, such as {{keep: 7d}}"
        )
    age = parse_duration(given.get("keep", _KEEP), f"{where}: backup.keep")
    count = given.get("count")
    if not age:
        raise BadInput(f"{where}: backup.keep: expected more than 0, such as 7d")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise BadInput(
            f"{where}: backup.count: expected a number of 1 or more; for no copies at all leave out 'backup'"
        )
    return age.total_seconds(), count


def _dialect(definition: Mapping[str, Any], form: str, where: str) -> str:
    """Which reader a file is for; all of them where the definition does not say."""
    dialect = text_of(definition, "dialect", where, COMMON)
    if dialect not in DIALECT_NAMES:
        raise BadInput(
            f"{where}: there is no dialect '{dialect}'; expected one of {', '.join(DIALECT_NAMES)}"
        )
    if "dialect" in definition and form != "env":
        raise BadInput(f"{where}: 'dialect' is only for 'format: env', not for {form}")
    return dialect


def _form_of_store(definition: Mapping[str, Any], ref: Reference, where: str) -> str:
    """How a store's value holds fields; empty where the store has fields of its own."""
    if ref.scheme not in _ONE_TEXT:
        return ""
    keyed = bool(ref.fragment) or "fields" in definition
    if ref.scheme == "awssecrets" or keyed == ("mode" in ref.params):
        return "json" if keyed else "text"
    if keyed:
        raise BadInput(
            f"{where}: a parameter is one text; add ?mode=singleparam to keep keys in it as JSON, or give each its own sink"
        )
    raise BadInput(
        f"{where}: ?mode=singleparam keeps keys in the parameter as JSON; end the reference with #/NAME of a key, or use 'fields'"
    )
