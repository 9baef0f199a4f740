# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloudflare's API for API tokens with its state in memory.

Each request is held against ``cloudflare_contract``; what is not as described there is refused and kept in ``wrong``. Lists come in
pages of two.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from api_server import ApiServer, Asked, Fault, Reply
from cloudflare_contract import BASE, INFO, OPERATIONS, OWNERS, Operation, Whose, misfits

PAGE = 2
LIST, MAKE, VERIFY, GROUPS = (
    "list-tokens",
    "create-token",
    "verify-token",
    "list-permission-groups",
)
DETAILS, DELETE = "token-details", "delete-token"
ITEM_WRITE, ITEM_READ = (f"Workers R2 Storage Bucket Item {what}" for what in ("Write", "Read"))


def refusal(status: int, code: int, **headers: str) -> Reply:
    """An error as Cloudflare writes it, with a text that must not be passed on."""
    told = f"told by the API {code} <script>"
    errors = [{"code": code, "message": told}]
    body = {"success": False, "errors": errors, "messages": [], "result": None}
    return Reply(status, body, headers)


def now() -> str:
    """As Cloudflare writes a time."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class FakeToken:
    """One API token."""

    owner: str
    name: str
    policies: list[dict[str, Any]]
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    value: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)
    status: str = "active"
    issued: str = field(default_factory=now)
    used: str = ""
    expires: str = ""
    condition: dict[str, Any] | None = None

    @property
    def secret(self) -> str:
        """What signs the S3 calls of this token."""
        return hashlib.sha256(self.value.encode()).hexdigest()

    @property
    def may(self) -> set[str]:
        """The names of its permission groups."""
        return {group["name"] for policy in self.policies for group in policy["permission_groups"]}

    @property
    def resources(self) -> list[str]:
        """What it is for."""
        return [name for policy in self.policies for name in policy["resources"]]

    def body(self) -> dict[str, Any]:
        told = {
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "issued_on": self.issued,
            "modified_on": self.issued,
            "policies": self.policies,
        }
        more = {
            "last_used_on": self.used,
            "expires_on": self.expires,
            "condition": self.condition,
        }
        return {**told, **{name: item for name, item in more.items() if item}}


class CloudflareApi(ApiServer):
    """See the top of this file.

    :ivar login: the token of whoever rotates.
    :ivar groups: the permission groups that there are, by name.
    :ivar heard: each request's body and each answer, by the vendor's name for the call.
    :ivar changed: called after each token that is made or ended.
    """

    def __init__(self, login: str = "account") -> None:
        super().__init__()
        self.account = secrets.token_hex(16)
        names = [f"{item.rights}{right}" for item in OWNERS for right in ("API Tokens Write",)]
        self.groups = {
            name: secrets.token_hex(16) for name in (*names, ITEM_WRITE, ITEM_READ, "DNS Write")
        }
        self.tokens: dict[str, FakeToken] = {}
        self.gone: list[FakeToken] = []
        self.heard: list[tuple[str, Any, Any]] = []
        self.changed: Callable[[], None] = lambda: None
        self.login = self.add("rotator", owner=login, groups=names)

    @property
    def api(self) -> str:
        """What goes into ``login.api``."""
        return f"{self.url}{BASE}"

    @property
    def secrets(self) -> list[str]:
        """Every value that nobody may read anywhere."""
        known = [*self.tokens.values(), *self.gone]
        return [text for token in known for text in (token.value, token.secret)]

    @property
    def others(self) -> list[FakeToken]:
        """All tokens but the one of whoever rotates."""
        return [token for token in self.tokens.values() if token is not self.login]

    def add(
        self,
        name: str,
        owner: str = "account",
        groups: list[str] | None = None,
        bucket: str = "music",
    ) -> FakeToken:
        """A token that was made in another way."""
        listed = [{"id": self.groups[each], "name": each} for each in groups or [ITEM_WRITE]]
        place = f"com.cloudflare.edge.r2.bucket.{self.account}_default_{bucket}"
        policy = {
            "id": secrets.token_hex(16),
            "effect": "allow",
            "permission_groups": listed,
            "resources": {place: "*"},
        }
        made = FakeToken(owner, name, [policy])
        self.tokens[made.id] = made
        self.changed()
        return made

    def end(self, token: FakeToken) -> None:
        """End a token in another way."""
        self.gone.append(self.tokens.pop(token.id))
        self.changed()

    def used(self, token_id: str) -> None:
        """Note that somebody used a token."""
        if token_id in self.tokens:
            self.tokens[token_id].used = now()

    def name(self, asked: Asked) -> str:
        found = self._operation(asked)
        return found[1].vendor if found else super().name(asked)

    def answer(self, asked: Asked) -> Reply:
        found = self._operation(asked)
        if found is None:
            return refusal(404, 7003)
        whose, operation, token_id = found
        by = [item for item in self.tokens.values() if item.value == asked.bearer]
        if (
            not by
            or by[0].status != "active"
            or (operation.vendor == VERIFY and by[0].owner != whose.name)
        ):
            return refusal(401, 1000)
        if operation.rights and not by[0].may & {whose.rights + name for name in operation.rights}:
            return refusal(403, 9109)
        wrong = _against(operation, asked)
        if wrong:
            self.wrong += [f"{operation.vendor}: {text}" for text in wrong]
            return refusal(400, 1001)
        called = {
            LIST: self._list,
            MAKE: self._make,
            VERIFY: self._verify,
            GROUPS: self._groups,
            DETAILS: self._details,
            DELETE: self._delete,
        }[operation.vendor]
        reply = called(asked, whose, token_id)
        self.heard.append(
            (f"{whose.before}{operation.vendor}", asked.json() if asked.body else None, reply.body)
        )
        if reply.status == 200:
            assert not misfits(reply.body["result"], operation.result), (
                "the fake answers what it may not"
            )
        return reply

    def _operation(self, asked: Asked) -> tuple[Whose, Operation, str] | None:
        for whose in OWNERS:
            start = BASE + whose.path.replace("{account_id}", self.account)
            if asked.path != start and not asked.path.startswith(f"{start}/"):
                continue
            rest = asked.path.removeprefix(start)
            for operation in OPERATIONS:
                pattern = re.escape(operation.suffix).replace(r"\{token_id\}", "([^/]+)")
                seen = re.fullmatch(pattern, rest)
                if seen and operation.method == asked.method:
                    return whose, operation, (seen.groups() or ("",))[0]
        return None

    def _list(self, asked: Asked, whose: Whose, _token: str) -> Reply:
        own = [item for item in self.tokens.values() if item.owner == whose.name]
        page = int(dict(asked.query).get("page", "1"))
        shown = own[(page - 1) * PAGE : page * PAGE]
        info = {"page": page, "per_page": PAGE, "count": len(shown), "total_count": len(own)}
        assert not misfits(info, INFO)
        return _said([item.body() for item in shown], result_info=info)

    def _make(self, asked: Asked, whose: Whose, _token: str) -> Reply:
        body = asked.json()
        names = {number: name for name, number in self.groups.items()}
        wanted = [
            group["id"] for policy in body["policies"] for group in policy["permission_groups"]
        ]
        if not 1 <= len(body["name"]) <= 120 or not wanted or not set(wanted) <= set(names):
            return refusal(400, 1001)
        self.writes += 1
        policies = [
            {
                **policy,
                "id": secrets.token_hex(16),
                "permission_groups": [
                    {"id": group["id"], "name": names[group["id"]]}
                    for group in policy["permission_groups"]
                ],
            }
            for policy in body["policies"]
        ]
        more = {"condition": body.get("condition"), "expires": body.get("expires_on", "")}
        made = FakeToken(whose.name, body["name"], policies, **more)
        self.tokens[made.id] = made
        self.changed()
        return _said({**made.body(), "value": made.value})

    def _verify(self, asked: Asked, _whose: Whose, _token: str) -> Reply:
        [by] = [item for item in self.tokens.values() if item.value == asked.bearer]
        return _said({"id": by.id, "status": by.status})

    def _groups(self, _asked: Asked, _whose: Whose, _token: str) -> Reply:
        scopes = ["com.cloudflare.edge.r2.bucket"]
        return _said(
            [{"id": number, "name": name, "scopes": scopes} for name, number in self.groups.items()]
        )

    def _details(self, _asked: Asked, whose: Whose, token: str) -> Reply:
        found = self.tokens.get(token)
        return _said(found.body()) if found and found.owner == whose.name else refusal(404, 1003)

    def _delete(self, _asked: Asked, whose: Whose, token: str) -> Reply:
        found = self.tokens.get(token)
        if found is None or found.owner != whose.name:
            return refusal(404, 1003)
        self.writes += 1
        self.end(found)
        return _said({"id": token})


def _said(result: Any, **more: Any) -> Reply:
    return Reply(200, {"success": True, "errors": [], "messages": [], "result": result, **more})


def _against(operation: Operation, asked: Asked) -> list[str]:
    """What of a request is not as it is described."""
    wrong = [f"{name} is unknown" for name, _value in asked.query if name not in operation.query]
    if operation.body is None:
        return wrong + (["a body"] if asked.body else [])
    if asked.headers.get("content-type") != "application/json":
        wrong.append("the body is no JSON")
    body = asked.json()
    wrong += misfits(body, operation.body)
    return wrong + [f"{name} is missing" for name in operation.must if name not in body]


__all__ = ["CloudflareApi", "FakeToken", "Fault", "refusal"]
