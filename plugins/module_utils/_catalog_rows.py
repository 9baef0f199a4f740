# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a row of a catalog to the definition of a credential. Pure.

Places are paths in Vault (``mount/path``, or as Vault's API has them, ``mount/data/path``) or names of SSM parameters (with a
slash in front, or the word ``SSM``). ``<env>`` stands for each of the given environments. Frequencies are words that such
catalogs use; one that is not known is refused rather than guessed.

A table is often kept by more people than the inventory is. What is written from it, Ansible reads as YAML and runs as templates:
so no cell may hold what would become more than text there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import quote

from ansible_collections.keyturn.runbooks.plugins.module_utils._catalog_table import Row
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference

ENVIRONMENT = "<env>"
_AGES: Mapping[str, str] = MappingProxyType(
    {
        "daily": "1d",
        "weekly": "7d",
        "monthly": "30d",
        "quarterly": "90d",
        "half-yearly": "180d",
        "annually": "365d",
        "yearly": "365d",
    }
)
_UNIT_DAYS: Mapping[str, int] = MappingProxyType({"day": 1, "week": 7, "month": 30, "year": 365})
_EVERY = re.compile(r"(?:every )?(\d+) (day|week|month|year)s?\Z")
_CHANGE = re.compile(r"on (?:provider|password|token|key|secret|user) change\Z")
_KEY = re.compile(r"[A-Za-z0-9_.-]+\Z")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_RUNS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]|\{[{%#]")
"""What ends a line or a comment in YAML, other control characters, and what begins a template."""
# The host that Ansible runs its own tasks on, under its names, and the groups that it makes itself.
_TAKEN = frozenset(("localhost", "127.0.0.1", "all", "ungrouped"))
FREQUENCIES = (
    "Daily, Weekly, Monthly, Quarterly, Annually, 'Every 90 days', 'On compromise', 'On provider change' (or password, token, key, "
    "secret, user), Never"
)


@dataclass(frozen=True)
class Rules:
    """What is the same for all rows.

    :param keyring: the reference of a keyring, with ``{name}``.
    :param owner: for tables without that column.
    :param policy: keys that each policy has beside ``rotate`` and ``max_age``.
    :param issuer: who makes all of them valid; empty where that differs.
    """

    keyring: str
    owner: str = ""
    environments: Tuple[str, ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    issuer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Credential:
    """One credential of the catalog.

    :param name: its inventory host.
    :param line: where its row is.
    :param place: as messages and comments name it.
    :param variables: its host variables.
    """

    name: str
    line: int
    place: str
    variables: Mapping[str, Any]


def policy_of(frequency: str) -> Dict[str, Any]:
    """What a frequency means; empty for one that is not known."""
    words = re.sub(r"\s*\(.*\)\Z", "", " ".join(frequency.lower().split()))
    if words in _AGES:
        return {"rotate": "age", "max_age": _AGES[words]}
    every = _EVERY.match(words)
    if every and int(every.group(1)) > 0:
        return {"rotate": "age", "max_age": f"{int(every.group(1)) * _UNIT_DAYS[every.group(2)]}d"}
    if words in ("on compromise", "on compromise/expiry", "on expiry/compromise"):
        return {"rotate": "on_compromise"}
    if _CHANGE.match(words):
        return {"rotate": "on_provider_change"}
    return {"rotate": "never"} if words == "never" else {}


class _Mistake(Exception):
    """What is wrong with one row, in words."""


def _bare(cell: str) -> str:
    return cell.replace("`", "").strip()


def _harmless(cells: Mapping[str, str]) -> None:
    for column, cell in cells.items():
        if _RUNS.search(_bare(cell)):
            raise _Mistake(
                f"the column '{column}' holds a line break, another control character or the beginning of a template, which could "
                "make Ansible run something; expected plain text"
            )


def _keys(cell: str) -> List[str]:
    keys = [key.strip() for key in re.split(r"[/,]", _bare(cell)) if key.strip()]
    if not keys or not all(_KEY.match(key) for key in keys):
        raise _Mistake(
            "the keys are not understood; expected names of letters, digits and underscores, separated by commas"
        )
    return keys


def _environments(place: str, rules: Rules) -> List[str]:
    if ENVIRONMENT not in place:
        return [place]
    if not rules.environments:
        raise _Mistake(f"the place holds {ENVIRONMENT}; say which there are, with 'environments'")
    return [place.replace(ENVIRONMENT, name) for name in rules.environments]


def _reference(place: str, key: str) -> Tuple[str, str]:
    """The reference of a key, and what its name is made of."""
    if re.match(r"(?:ssm\s+)?/", place, re.IGNORECASE):
        path = place[place.index("/") :].strip("/")
        above, _slash, last = path.rpartition("/")
        if last.endswith("*"):
            path = f"{above}/{key}"
        elif last != key:
            raise _Mistake(
                f"the parameter /{path} does not end in the key {key}; expected its whole name, or one that ends in *"
            )
        return f"ref+awsssm://{_escaped(path)}", path
    path = place.strip("/")
    parts = path.split("/")
    # As Vault's API has it for KV version 2: mount/data/path.
    parts = [parts[0], *parts[2:]] if len(parts) > 2 and parts[1] == "data" else parts
    if len(parts) < 2 or not all(parts) or " " in path:
        raise _Mistake(
            "the place is not understood; expected MOUNT/PATH for Vault, or SSM /PATH/OF/PARAMETER"
        )
    path = "/".join(parts)
    return f"ref+vault://{_escaped(path)}#/{_escaped(key)}", f"{path}/{key}"


def _escaped(path: str) -> str:
    return quote(path, safe="/-._~@:+=")


def _name_of(path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", path.lower()).strip("_")


def _variables(reference: str, name: str, owner: str, frequency: str, rules: Rules) -> Any:
    policy = policy_of(frequency)
    if not policy:
        raise _Mistake(
            f"the frequency '{frequency}' is not understood; expected one of {FREQUENCIES}"
        )
    return {
        "keyturn_owner": owner,
        "keyturn_policy": {**policy, **rules.policy},
        "keyturn_keyring": rules.keyring.replace("{name}", name),
        **({"keyturn_issuer": dict(rules.issuer)} if rules.issuer else {}),
        "keyturn_sinks": [{"ref": reference, "template": "{current.value}"}],
        "keyturn_adopt": {"value": reference},
    }


def _of_key(row: Row, place: str, key: str, single: bool, rules: Rules) -> Credential:
    reference, path = _reference(place, key)
    given = _bare(row.cells.get("name", ""))
    if given and (not single or not _NAME.match(given)):
        raise _Mistake("a name is for one credential, and of letters, digits and underscores")
    name = given or _name_of(path)
    if name.lower() in _TAKEN:
        raise _Mistake(
            f"'{name}' is no name for a credential, because Ansible has a meaning for it; give it one in the column 'name'"
        )
    owner = _bare(row.cells.get("owner", "")) or rules.owner
    if not owner:
        raise _Mistake("the owner is missing; fill it in, or give 'owner' for all that have none")
    frequency = _bare(row.cells.get("frequency", ""))
    parse_reference(reference, "place")
    variables = _variables(reference, name, owner, frequency, rules)
    parse_reference(variables["keyturn_keyring"], "keyring")
    return Credential(name, row.line, path, variables)


def credentials_of(row: Row, rules: Rules) -> List[Credential]:
    """The credentials of one row.

    :raises BadInput: saying the line, what is wrong and what was expected.
    """
    try:
        _harmless(row.cells)
        place, keys = _bare(row.cells.get("place", "")), _keys(row.cells.get("keys", ""))
        if not place:
            raise _Mistake("the place is missing; expected MOUNT/PATH for Vault, or SSM /PATH")
        places = _environments(place, rules)
        single = len(places) * len(keys) == 1
        return [_of_key(row, where, key, single, rules) for where in places for key in keys]
    except _Mistake as error:
        raise BadInput(f"line {row.line}: {error}") from None
    except BadInput as error:
        raise BadInput(f"line {row.line}: {error.message}") from None


def all_credentials(rows: Sequence[Row], rules: Rules, where: str) -> List[Credential]:
    """The credentials of all rows, in their order.

    :param where: how messages name the catalog.
    :raises BadInput: naming every bad row; none is used then.
    """
    found: Dict[str, Credential] = {}
    mistakes: List[str] = []
    for row in rows:
        try:
            made: Optional[List[Credential]] = credentials_of(row, rules)
        except BadInput as error:
            mistakes.append(error.message)
            made = None
        for item in made or ():
            other = found.setdefault(item.name, item)
            if other is not item:
                mistakes.append(
                    f"line {row.line}: {item.name} is the name of what line {other.line} has, too; list it once, or give it a name"
                )
    if mistakes:
        raise BadInput(f"{where}: nothing was written. {'. '.join(mistakes)}")
    return list(found.values())
