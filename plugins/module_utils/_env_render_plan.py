# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an env file that is rendered from a path of parameters should hold: which names, and which pairs belong together. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env import EnvCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_dialects import DIALECTS
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_text import (
    KEY,
    parse,
    quote,
    values,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_mark import Mark
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

CONTROLLER, HOST = "controller", "host"
REMOVE, KEEP = "remove", "keep"
REFUSE, TAKE = "refuse", "take"
WAIT = "10s"
_PART = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*\Z")
NO_NAME = "(a line of base64)"
_LEAST_OF_A_VALUE = 12
_KEYRING = "keyturn1:"
"""How a version of a keyring begins, which may be below the same path."""


@dataclass(frozen=True)
class Held:
    """One parameter as it was read.

    :param name: below the path.
    """

    name: str
    value: Secret
    version: int


@dataclass(frozen=True)
class Rules:
    """How parameters become lines.

    :param names: parameter → variable, for those that are not to be called alike.
    :param skip: parameters that are left out.
    :param pairs: parameters that are taken only when all of them are of one rotation.
    :param unmarked: ``take`` a pair of which no part carries a rotation's id, or ``refuse`` it.
    :param recursive: also what is further down; a slash becomes an underscore.
    :param watch_marks: also look by itself at what the sinks of one group have written.
    :param wait: seconds that a pair that is being written is waited for.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    skip: Tuple[str, ...] = ()
    pairs: Tuple[Tuple[str, ...], ...] = ()
    unmarked: str = REFUSE
    recursive: bool = False
    watch_marks: bool = True
    wait: float = 10.0


def _part(text: Any, option: str) -> str:
    if not isinstance(text, str) or not _PART.match(text):
        raise BadInput(
            f"{option}: expected the name of a parameter below the path, without a slash in front, such as R2_ACCESS_KEY_ID"
        )
    return text


def _pairs(given: Any, option: str) -> Tuple[Tuple[str, ...], ...]:
    if not isinstance(given, (list, tuple)):
        raise BadInput(f"{option}: expected a list of lists of names")
    found: List[Tuple[str, ...]] = []
    for number, item in enumerate(given):
        if not isinstance(item, (list, tuple)) or len(item) < 2:
            raise BadInput(
                f"{option}[{number}]: expected a list of two names or more, such as [R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY]"
            )
        found.append(tuple(_part(name, f"{option}[{number}]") for name in item))
    everything = [name for pair in found for name in pair]
    twice = next((name for name in everything if everything.count(name) > 1), None)
    if twice:
        raise BadInput(f"{option}: '{twice}' is named twice; put all that belongs together in one")
    return tuple(found)


def _names(given: Any, option: str) -> Dict[str, str]:
    if not isinstance(given, Mapping):
        raise BadInput(f"{option}: expected parameters and their variables, such as {{db-pass: DB_PASSWORD}}")  # fmt: skip
    for name, variable in given.items():
        _part(name, option)
        if not isinstance(variable, str) or not KEY.match(variable):
            raise BadInput(
                f"{option}.{name}: expected the name of a variable: letters, digits and underscores, no digit first"
            )
    return {str(name): str(variable) for name, variable in given.items()}


def read_rules(given: Mapping[str, Any], where: str) -> Rules:
    """The rules of a task or a consumer.

    :param where: how messages name it; the key is added.
    :raises BadInput: naming the key.
    """
    begin = f"{where}: " if where else ""
    skip = given.get("skip") or []
    if not isinstance(skip, (list, tuple)):
        raise BadInput(f"{begin}skip: expected a list of names")
    unmarked = given.get("unmarked") or REFUSE
    if unmarked not in (REFUSE, TAKE):
        raise BadInput(f"{begin}unmarked: expected {REFUSE} or {TAKE}")
    recursive, watch_marks = given.get("recursive", False), given.get("watch_marks", True)
    for name, value in (("recursive", recursive), ("watch_marks", watch_marks)):
        if not isinstance(value, bool):
            raise BadInput(f"{begin}{name}: expected true or false")
    rules = Rules(
        _names(given.get("names") or {}, f"{begin}names"),
        tuple(_part(name, f"{begin}skip") for name in skip),
        _pairs(given.get("pairs") or [], f"{begin}pairs"),
        unmarked,
        recursive,
        watch_marks,
        parse_duration(given.get("wait") or WAIT, f"{begin}wait").total_seconds(),
    )
    paired = {name for pair in rules.pairs for name in pair}
    strange = sorted(paired & set(rules.skip))
    if strange:
        raise BadInput(f"{begin}pairs: '{strange[0]}' is in 'skip' too; take it out of one of them")
    return rules


def variables(parameters: Sequence[str], rules: Rules, where: str) -> Dict[str, str]:
    """Parameter → variable, of those that are not left out.

    :param where: how messages name the path.
    :raises BadInput: for one that is no name of a variable, and for two that would be the same.
    """
    found: Dict[str, str] = {}
    taken: Dict[str, str] = {}
    for name in sorted(parameters):
        if name in rules.skip:
            continue
        variable = rules.names.get(name) or name.replace("/", "_")
        if not KEY.match(variable):
            raise BadInput(
                f"{where}: the parameter '{name}' is no name of a variable (letters, digits and underscores, no digit first); give it one "
                f"with 'names', such as {{{name}: DB_PASSWORD}}, or leave it out with 'skip'"
            )
        other = taken.setdefault(variable, name)
        if other != name:
            raise BadInput(
                f"{where}: the parameters '{other}' and '{name}' would both be the variable {variable}; give one another name with "
                "'names', or leave it out with 'skip'"
            )
        found[name] = variable
    return found


def refuse_keyrings(found: Mapping[str, Held], rules: Rules, where: str) -> None:
    """Refuse a keyring among the parameters: it holds more than an application may know.

    :raises BadInput: naming it.
    """
    for name, held in sorted(found.items()):
        if name not in rules.skip and held.value.reveal().startswith(_KEYRING):
            raise BadInput(
                f"{where}: the parameter '{name}' is a version of a keyring, which no application may be given; keep keyrings below "
                "another path, or leave out 'recursive'"
            )


def unsettled(
    rules: Rules, there: Mapping[str, int], marks: Mapping[str, Mark], ignored: Sequence[str]
) -> List[str]:
    """Why pairs cannot be taken now, one text for each; none when all is well.

    :param there: version by parameter.
    :param marks: what is known of a parameter's version.
    :param ignored: parameters whose pairs do not count.
    """
    found = []
    rotations = {name: mark.rotation for name, mark in marks.items()}
    for pair in rules.pairs:
        if set(pair) & set(ignored) or not set(pair) & set(there):
            continue
        told = {name: rotations.get(name, "") if name in there else None for name in pair}
        if len(set(told.values())) == 1 and (told[pair[0]] or rules.unmarked == TAKE):
            continue
        found.append(f"{_listed(told)}{'' if any(told.values()) else _UNMARKED}")
    named = {name for pair in rules.pairs for name in pair}
    for group in sorted({mark.group for mark in marks.values()} if rules.watch_marks else ()):
        names = [name for name in sorted(marks) if marks[name].group == group]
        several = {name: rotations[name] for name in names if name not in rules.skip}
        if len(set(several.values())) > 1 and not set(names) & {*ignored, *named}:
            found.append(f"{_listed(several)} (they belong together, of {group})")
    return found


def _listed(told: Mapping[str, Optional[str]]) -> str:
    return ", ".join(f"{name} {_shown(rotation)}" for name, rotation in told.items())


_UNMARKED = (
    " (written by something else than the sinks of one group: nobody can tell whether they belong together. Rotate the credential that "
    "they are of, or say 'unmarked: take' until then)"
)


def _shown(rotation: Optional[str]) -> str:
    if rotation is None:
        return "is not there"
    return f"is of rotation {rotation}" if rotation else "carries no rotation's id"


def looked_up(rules: Rules, there: Mapping[str, int]) -> List[str]:
    """The parameters whose rotation has to be known."""
    if rules.watch_marks:
        return sorted(there)
    return [name for pair in rules.pairs for name in pair if name in there]


def refused(where: str, problems: Sequence[str], wait: float) -> Refused:
    """The error for what did not settle in time."""
    return Refused(
        f"{where}: not rendered, because after {wait:g} s {'; '.join(problems)}. The file is as it was. Run the rotation that was ended "
        "half way again, then this",
        unsettled=list(problems),
    )


def text_of(fields: Mapping[str, Secret], dialect: str, where: str) -> str:
    """The whole file.

    :raises BadInput: for a value that its readers cannot be given.
    """
    EnvCodec(dialect).check(fields, where)
    reader = DIALECTS.get(dialect)
    known = {name: value.reveal() if value.known else "" for name, value in fields.items()}
    return "".join(f"{name}={quote(text, where, reader)}\n" for name, text in sorted(known.items()))


@dataclass(frozen=True)
class Difference:
    """What changes, by the names of variables."""

    added: Tuple[str, ...] = ()
    updated: Tuple[str, ...] = ()
    removed: Tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether a variable changes."""
        return bool(self.added or self.updated or self.removed)


def _removed(gone: Mapping[str, Optional[str]]) -> Tuple[str, ...]:
    """The names of variables that go. A line of base64, as in a key of several lines, ends like the name of an empty one."""

    def is_value(name: str, text: Optional[str]) -> bool:
        mixed = all(re.search(some, name) for some in ("[0-9]", "[A-Z]", "[a-z]"))
        return text == "=" or (text == "" and mixed and len(name) >= _LEAST_OF_A_VALUE)

    return tuple(sorted({NO_NAME if is_value(name, text) else name for name, text in gone.items()}))


def difference(
    before: Optional[str], fields: Mapping[str, Secret], others: str, dialect: str
) -> Difference:
    """What changes for readers of the file.

    :param before: its text; none when it is not there.
    :param others: ``keep`` or ``remove`` what is no field.
    """
    there = values(parse(before or "", DIALECTS.get(dialect)))
    wanted = {name: value.reveal() if value.known else None for name, value in fields.items()}
    return Difference(
        tuple(sorted(name for name in wanted if name not in there)),
        tuple(
            sorted(
                name
                for name, value in wanted.items()
                if name in there and (value is None or there[name] != value)
            )
        ),
        _removed({name: there[name] for name in set(there) - set(wanted)})
        if others == REMOVE
        else (),
    )
