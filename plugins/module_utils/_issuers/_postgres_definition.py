# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``keyturn_issuer`` says of a PostgreSQL role."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._login import check_login
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import (
    MAX_BYTES,
    check_role_name,
)

ALTERNATE = "alternate_roles"
SAME = "same_role"
NEW = "new_role"

_KEYS = {
    ALTERNATE: ("roles", "like", "owner_role", "ownership", "databases", "name_policies"),
    SAME: ("role", "roles"),
    NEW: (
        "role_template",
        "retire",
        "like",
        "owner_role",
        "ownership",
        "databases",
        "name_policies",
    ),
}
_COMMON = ("type", "strategy", "login")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
PLACEHOLDERS = ("date", "rotation")


@dataclass(frozen=True)
class Definition:
    """A checked definition.

    :param roles: the roles to alternate between; one for ``same_role``; none for ``new_role``.
    :param databases: where rights are copied; none for every database that has something to do with the role.
    """

    strategy: str
    login: Mapping[str, Any]
    option: str
    roles: Tuple[str, ...] = ()
    template: str = ""
    retire: str = "drop"
    like: str = ""
    owner_role: str = ""
    ownership: str = "group"
    databases: Optional[Tuple[str, ...]] = None
    name_policies: str = "refuse"

    @property
    def default_group(self) -> str:
        """The name of the group role that is made when one is needed and none is named."""
        if self.strategy == NEW:
            stem = _PLACEHOLDER.sub("", self.template)
        else:
            first, last = min(self.roles), max(self.roles)
            same = (
                pair[0] for pair in takewhile(lambda pair: pair[0] == pair[1], zip(first, last))
            )
            stem = "".join(same) if first != last else ""
        stem = stem.strip("_-. ") or (self.roles[0] if self.roles else "app")
        while len(stem.encode()) > MAX_BYTES - len("_owner"):
            stem = stem[:-1]
        return f"{stem}_owner"


def _choice(definition: Mapping[str, Any], key: str, choices: Tuple[str, ...], option: str) -> str:
    value = definition.get(key, choices[0])
    if value not in choices:
        raise BadInput(f"{option}.{key}: expected {' or '.join(choices)}")
    return str(value)


def _one_role(definition: Mapping[str, Any], option: str) -> str:
    roles = definition.get("roles")
    if roles is None:
        return check_role_name(definition.get("role"), f"{option}.role")
    if (
        definition.get("role") is not None
        or not isinstance(roles, (list, tuple))
        or len(roles) != 1
    ):
        raise BadInput(
            f"{option}.roles: strategy same_role changes the password of one role; name that one alone"
        )
    return check_role_name(roles[0], f"{option}.roles[0]")


def _roles(definition: Mapping[str, Any], strategy: str, option: str) -> Tuple[str, ...]:
    if strategy == SAME:
        return (_one_role(definition, option),)
    if strategy == NEW:
        return ()
    roles = definition.get("roles")
    if not isinstance(roles, (list, tuple)) or len(roles) < 2:
        raise BadInput(f"{option}.roles: expected a list of two roles to alternate between")
    names = tuple(
        check_role_name(role, f"{option}.roles[{index}]") for index, role in enumerate(roles)
    )
    if len(set(names)) != len(names):
        raise BadInput(f"{option}.roles: the same role is named twice; they must differ")
    return names


def _template(definition: Mapping[str, Any], strategy: str, option: str) -> str:
    if strategy != NEW:
        return ""
    template = definition.get("role_template")
    option = f"{option}.role_template"
    if not isinstance(template, str) or not template:
        raise BadInput(f"{option}: missing; give a name such as app_{{date}}")
    named = _PLACEHOLDER.findall(template)
    unknown = [name for name in named if name not in PLACEHOLDERS]
    if unknown:
        raise BadInput(
            f"{option}: there is no placeholder '{{{unknown[0]}}}'; known: {{date}}, {{rotation}}"
        )
    if not named:
        raise BadInput(
            f"{option}: each rotation makes a role of its own, so name {{date}} or {{rotation}} in it"
        )
    check_role_name(fill(template, "20260101", "abcdef"), option)
    return template


def fill(template: str, date: str, rotation: str) -> str:
    """A role's name from its template."""
    return template.replace("{date}", date).replace("{rotation}", rotation)


def _databases(definition: Mapping[str, Any], option: str) -> Optional[Tuple[str, ...]]:
    value = definition.get("databases", "all")
    if value == "all":
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise BadInput(f"{option}.databases: expected 'all' or a list of databases")
    return tuple(value)


def _optional_name(definition: Mapping[str, Any], key: str, option: str) -> str:
    value = definition.get(key)
    return check_role_name(value, f"{option}.{key}") if value not in (None, "") else ""


def parse_definition(definition: Mapping[str, Any], option: str) -> Definition:
    """Check a definition.

    :param option: the variable that it came in, for messages.
    :raises BadInput: naming the key and what is expected.
    """
    strategy = definition.get("strategy", ALTERNATE)
    if strategy not in _KEYS:
        raise BadInput(
            f"{option}.strategy: there is no strategy '{strategy}'; expected one of {', '.join(_KEYS)}"
        )
    allowed = (*_COMMON, *_KEYS[strategy])
    unknown = sorted(set(definition) - set(allowed))
    if unknown:
        raise BadInput(
            f"{option}: '{unknown[0]}' means nothing for strategy {strategy}; known: {', '.join(allowed)}"
        )
    roles = _roles(definition, strategy, option)
    owner_role = _optional_name(definition, "owner_role", option)
    if owner_role in roles:
        raise BadInput(
            f"{option}.owner_role: {owner_role} is a login role; an owner role is one that nobody logs in as"
        )
    return Definition(
        strategy=strategy,
        login=check_login(definition.get("login"), f"{option}.login"),
        option=option,
        roles=roles,
        template=_template(definition, strategy, option),
        retire=_choice(definition, "retire", ("drop", "lock"), option),
        like=_optional_name(definition, "like", option),
        owner_role=owner_role,
        ownership=_choice(definition, "ownership", ("group", "refuse"), option),
        databases=_databases(definition, option),
        name_policies=_choice(definition, "name_policies", ("refuse", "allow"), option),
    )
