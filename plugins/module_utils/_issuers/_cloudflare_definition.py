# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``keyturn_issuer`` says of an API token of Cloudflare's, and what such a token may do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._cloudflare_api import (
    OWNERS,
    is_id,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._http_api import (
    CONNECTION_KEYS,
    Connection,
    secure_url,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._label import Label
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import looks_like_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

_API = "https://api.cloudflare.com/client/v4"
_MAY = ("buckets", "policies", "copy_from")
_KEYS = ("type", "login", "account", "tokens", "name", *_MAY, "permission", "jurisdiction", "lifetime", "settle", "quiet")  # fmt: skip
_LOGIN_KEYS = ("token", "api", *CONNECTION_KEYS)
_LABEL = Label(
    key="name",
    thing="token",
    provider="Cloudflare",
    most=120,
    fits=str.isprintable,
    shunned="braces or line breaks",
)
_ACCOUNT = re.compile(r"[0-9a-f]{32}")
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]")
ALL, NEVER = "all", "never"
_BUCKETS = "com.cloudflare.edge.r2.bucket"
PERMISSIONS: Mapping[str, str] = MappingProxyType(
    {
        "read_write": "Workers R2 Storage Bucket Item Write",
        "read": "Workers R2 Storage Bucket Item Read",
    }
)
"""The permission group for each ``permission``, as https://developers.cloudflare.com/r2/api/tokens/ names them."""
_JURISDICTIONS = ("default", "eu", "fedramp")


@dataclass(frozen=True)
class Group:
    """A permission group, by its id or by its name."""

    id: str = ""
    name: str = ""


@dataclass(frozen=True)
class Policy:
    """One policy of a new token.

    :param resources: as the API takes them.
    """

    effect: str
    groups: Tuple[Group, ...]
    resources: Mapping[str, Any]

    def sent(self, ids: Mapping[str, str]) -> Dict[str, Any]:
        """As the API takes it.

        :param ids: of permission groups, by name.
        """
        groups = [{"id": group.id or ids[group.name]} for group in self.groups]
        return {"effect": self.effect, "permission_groups": groups, "resources": self.resources}


@dataclass(frozen=True)
class Definition:
    """A checked definition.

    :param token: a reference to the token of whoever rotates.
    :param owner: whose tokens are made: account or user.
    :param policies: what a new token may do; nothing where that is copied from another one.
    :param copy_from: the token to copy from as long as the keyring knows none.
    :param lifetime: after which time Cloudflare ends a new token by itself; 0: never; none: as that of the one to copy from.
    :param settle: how long a new token is left alone before it is used.
    :param quiet: how long an old one must not have been used before it is deleted.
    """

    option: str
    token: str = field(repr=False)
    api: str
    connection: Connection
    account: str
    owner: str
    name: str
    policies: Tuple[Policy, ...]
    copy_from: str
    lifetime: Optional[timedelta]
    settle: timedelta
    quiet: timedelta

    def named(self, credential: str, rotation_id: str) -> str:
        """The name of a token.

        :raises BadInput: it is too long.
        """
        return _LABEL.fill(self.name, credential, rotation_id, self.option)


def parse_policies(value: Any, option: str) -> Tuple[Policy, ...]:
    """Policies, as the definition or the API has them; what is only told with them, such as their ids, is left out.

    :raises BadInput: naming what is wrong.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise BadInput(
            f"{option}: expected a list of policies, each with effect, permission_groups and resources"
        )
    return tuple(_policy(item, f"{option}[{number}]") for number, item in enumerate(value))


def _policy(item: Any, option: str) -> Policy:
    if not isinstance(item, Mapping):
        raise BadInput(f"{option}: expected a mapping with effect, permission_groups and resources")
    effect, groups, resources = (
        item.get("effect", "allow"),
        item.get("permission_groups"),
        item.get("resources"),
    )
    if effect not in ("allow", "deny"):
        raise BadInput(f"{option}.effect: expected allow or deny")
    if not isinstance(groups, list) or not groups:
        raise BadInput(
            f"{option}.permission_groups: expected a list of groups, each with id or name"
        )
    if (
        not isinstance(resources, Mapping)
        or not resources
        or not all(map(_is_resource, resources.values()))
    ):
        raise BadInput(
            f"{option}.resources: expected a mapping of resources, such as {_BUCKETS}.ACCOUNT_default_BUCKET: '*'"
        )
    return Policy(effect, tuple(_group(group, option) for group in groups), dict(resources))


def _is_resource(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(item, str) for item in value.values())
    return isinstance(value, str)


def _group(item: Any, option: str) -> Group:
    found, name = (item.get("id"), item.get("name")) if isinstance(item, Mapping) else (None, None)
    if found is not None and is_id(found):
        return Group(id=found)
    if found is None and isinstance(name, str) and name:
        return Group(name=name)
    raise BadInput(
        f"{option}.permission_groups: expected groups with id or name, such as {{name: {PERMISSIONS['read']}}}"
    )


def _of_buckets(definition: Mapping[str, Any], account: str, option: str) -> Tuple[Policy, ...]:
    """What ``buckets``, ``permission`` and ``jurisdiction`` mean."""
    permission = definition.get("permission", "read_write")
    if permission not in PERMISSIONS:
        raise BadInput(
            f"{option}.permission: '{permission}' is unknown; expected one of {', '.join(PERMISSIONS)}"
        )
    place = definition.get("jurisdiction", "default")
    if place not in _JURISDICTIONS:
        raise BadInput(
            f"{option}.jurisdiction: '{place}' is unknown; expected one of {', '.join(_JURISDICTIONS)}"
        )
    buckets = definition["buckets"]
    resources: Mapping[str, Any]
    if buckets == ALL:
        resources = {f"com.cloudflare.api.account.{account}": {f"{_BUCKETS}.*": "*"}}
    elif isinstance(buckets, list) and buckets and all(map(_is_bucket, buckets)):
        resources = {f"{_BUCKETS}.{account}_{place}_{bucket}": "*" for bucket in buckets}
    else:
        raise BadInput(
            f"{option}.buckets: expected a list of names of buckets, or '{ALL}' for all of the account"
        )
    return (Policy("allow", (Group(name=PERMISSIONS[permission]),), resources),)


def _is_bucket(name: Any) -> bool:
    return isinstance(name, str) and bool(_BUCKET.fullmatch(name))


def _may(
    definition: Mapping[str, Any], account: str, option: str
) -> Tuple[Tuple[Policy, ...], str]:
    """What a new token may do, and which token to copy that from."""
    given = [name for name in _MAY if definition.get(name)]
    if len(given) > 1:
        raise BadInput(
            f"{option}: {' and '.join(given)} each say what the new token may do; give one of them"
        )
    strange = [name for name in ("permission", "jurisdiction") if name in definition]
    if strange and given != ["buckets"]:
        raise BadInput(
            f"{option}.{strange[0]}: says something of buckets, and there are none; add buckets"
        )
    if given == ["buckets"]:
        return _of_buckets(definition, account, option), ""
    if given == ["policies"]:
        return parse_policies(definition["policies"], f"{option}.policies"), ""
    source = definition.get("copy_from") or ""
    if source and not is_id(source):
        raise BadInput(
            f"{option}.copy_from: expected the id of a token, which is its access key id, too"
        )
    return (), str(source)


def _seconds(definition: Mapping[str, Any], name: str, default: str, option: str) -> timedelta:
    return parse_duration(definition.get(name, default), f"{option}.{name}")


def _lifetime(definition: Mapping[str, Any], option: str) -> Optional[timedelta]:
    given = definition.get("lifetime")
    if given is None:
        return None
    try:
        found = timedelta(0) if given == NEVER else parse_duration(given, option)
    except BadInput:
        found = timedelta(0)
    if given != NEVER and not found:
        raise BadInput(
            f"{option}.lifetime: expected a number with a unit that is more than 0, such as 180d, or '{NEVER}'"
        )
    return found


def parse_definition(definition: Mapping[str, Any], option: str) -> Definition:
    """Check a definition.

    :raises BadInput: naming the key and what is expected.
    """
    refuse_unknown(definition, _KEYS, option)
    login = definition.get("login")
    if not isinstance(login, Mapping):
        raise BadInput(f"{option}.login: expected a mapping with token")
    refuse_unknown(login, _LOGIN_KEYS, f"{option}.login")
    if not looks_like_reference(login.get("token")):
        raise BadInput(
            f"{option}.login.token: expected a reference to the API token of whoever rotates, such as "
            "ref+vault://secret/cloudflare/rotator#/token"
        )
    account, owner = str(definition.get("account") or ""), definition.get("tokens", OWNERS[0])
    if not _ACCOUNT.fullmatch(account):
        raise BadInput(
            f"{option}.account: expected the id of the account, which has 32 hexadecimal digits"
        )
    if owner not in OWNERS:
        raise BadInput(
            f"{option}.tokens: '{owner}' is unknown; expected one of {', '.join(OWNERS)}"
        )
    policies, copy_from = _may(definition, account, option)
    return Definition(
        option=option,
        token=str(login["token"]),
        api=secure_url(login.get("api", _API), f"{option}.login.api"),
        connection=Connection.from_login(login, f"{option}.login"),
        account=account,
        owner=str(owner),
        name=_LABEL.read(definition, option),
        policies=policies,
        copy_from=copy_from,
        lifetime=_lifetime(definition, option),
        settle=_seconds(definition, "settle", "60s", option),
        quiet=_seconds(definition, "quiet", "1h", option),
    )
