# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Cloudflare's API wants and gives, as far as API tokens need it: in our words, and no more than is used.

The fake in ``cloudflare_api`` refuses what is not as described here, and answers nothing else. Whether this is what the vendor
describes is held against the vendor's own document by ``test_cloudflare_contract``, where that document is at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BASE = "/client/v4"
TEXT, NUMBER, RESOURCES = "string", "number", "resources"
EFFECT = ("allow", "deny")
NETWORKS = {"request.ip": {"in": [TEXT], "not_in": [TEXT]}}
SENT_POLICY = {"effect": EFFECT, "permission_groups": [{"id": TEXT}], "resources": RESOURCES}
POLICY = {**SENT_POLICY, "id": TEXT, "permission_groups": [{"id": TEXT, "name": TEXT}]}
STATUS = ("active", "disabled", "expired")
TOKEN: Mapping[str, Any] = {
    "id": TEXT,
    "name": TEXT,
    "status": STATUS,
    "issued_on": TEXT,
    "modified_on": TEXT,
    "last_used_on": TEXT,
    "expires_on": TEXT,
    "policies": [POLICY],
    "condition": NETWORKS,
}
VERIFIED: Mapping[str, Any] = {"id": TEXT, "status": STATUS, "expires_on": TEXT}
GROUP: Mapping[str, Any] = {"id": TEXT, "name": TEXT, "scopes": [TEXT]}
INFO = {"page": NUMBER, "per_page": NUMBER, "count": NUMBER, "total_count": NUMBER}
SENT: Mapping[str, Any] = {
    "name": TEXT,
    "policies": [SENT_POLICY],
    "condition": NETWORKS,
    "expires_on": TEXT,
}


@dataclass(frozen=True)
class Operation:
    """One call.

    :param vendor: what the vendor's names for it end in.
    :param suffix: of the path, after the tokens of an account or of a user.
    :param rights: permission groups, each of which is enough; none where every token may.
    :param query: what the query may have.
    :param body: what may be sent; ``must`` of it has to be.
    :param result: what the answer's result is.
    :param pages: the answer tells of pages.
    """

    vendor: str
    method: str
    suffix: str
    rights: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    body: Any = None
    must: tuple[str, ...] = ()
    result: Any = None
    pages: bool = False


WRITING = ("API Tokens Write",)
READING = (*WRITING, "API Tokens Read")
OPERATIONS = (
    Operation(
        "list-tokens",
        "GET",
        "",
        READING,
        ("page", "per_page", "direction"),
        result=[TOKEN],
        pages=True,
    ),
    Operation(
        "create-token",
        "POST",
        "",
        WRITING,
        body=SENT,
        must=("name", "policies"),
        result={**TOKEN, "value": TEXT},
    ),
    Operation("verify-token", "GET", "/verify", result=VERIFIED),
    Operation(
        "list-permission-groups", "GET", "/permission_groups", READING, ("name",), result=[GROUP]
    ),
    Operation("token-details", "GET", "/{token_id}", READING, result=TOKEN),
    Operation("delete-token", "DELETE", "/{token_id}", WRITING, body={}, result={"id": TEXT}),
)
UNDESCRIBED = frozenset({("user", "list-permission-groups")})
"""What the vendor's reference has, and the part of its document that we were given has not."""


@dataclass(frozen=True)
class Whose:
    """Of whom tokens are.

    :param before: what the vendor's names for the calls begin with.
    :param path: of the tokens, as the vendor writes it.
    :param rights: what the names of the rights begin with.
    """

    name: str
    before: str
    path: str
    rights: str = field(default="")


OWNERS = (
    Whose("account", "account-api-tokens-", "/accounts/{account_id}/tokens", "Account "),
    Whose("user", "user-api-tokens-", "/user/tokens"),
)


def misfits(value: Any, shape: Any, at: str = "") -> list[str]:
    """Where a value is not of a shape: ``place: what is wrong``, without the value."""
    if isinstance(shape, (tuple, str)):
        return [] if _is_one(value, shape) else [f"{at}: not as described"]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{at}: no list"]
        return [wrong for item in value for wrong in misfits(item, shape[0], f"{at}[]")]
    if not isinstance(value, dict):
        return [f"{at}: no mapping"]
    strange = [f"{at}.{name}: not described" for name in value if name not in shape]
    return strange + [
        wrong
        for name in value
        if name in shape
        for wrong in misfits(value[name], shape[name], f"{at}.{name}")
    ]


def _is_one(value: Any, shape: tuple[str, ...] | str) -> bool:
    if isinstance(shape, tuple):
        return value in shape
    if shape == RESOURCES:
        return _are_resources(value)
    return isinstance(value, {TEXT: str, NUMBER: int}[shape])


def _are_resources(value: Any) -> bool:
    """Names of resources, each with ``*`` or, for all of an account, with names of its own."""
    if not isinstance(value, dict) or not value:
        return False
    return all(
        isinstance(item, str) or (isinstance(item, dict) and _are_resources(item))
        for item in value.values()
    )
