# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloudflare's API for API tokens, of an account or of a user. What it answers is read by known words alone and never quoted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._cloudflare_errors import (
    explained,
    is_absent,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._http_api import (
    Answer,
    Api,
    Ask,
    read_json,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._only_one import carries
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_time_if_given

OWNERS = ("account", "user")
ACTIVE = "active"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FRACTION = re.compile(r"\.\d+")
_VALUE = re.compile(r"[\x21-\x7e]{20,256}")
_MOST_PAGES = 40
_PER_PAGE = 50


@dataclass(frozen=True)
class Token:
    """One API token.

    :param policies: as they are told; they are checked when they are sent.
    :param condition: from which networks it may be used; empty without such a limit.
    :param used: when it was used last; none where that is not told.
    :param value: only of one that was made in this moment.
    """

    id: str
    name: str
    status: str = ""
    issued: Optional[datetime] = None
    used: Optional[datetime] = None
    expires: Optional[datetime] = None
    policies: Tuple[Any, ...] = ()
    condition: Mapping[str, Any] = field(default_factory=dict)
    value: Optional[Secret] = None

    @property
    def rights(self) -> List[str]:
        """The names of its permission groups, as far as they are told."""
        listed = (_part(policy, "permission_groups") for policy in self.policies)
        groups = [group for item in listed if isinstance(item, list) for group in item]
        return [str(_part(group, "name")) for group in groups if _part(group, "name")]


class TokenLogin:
    """Who asks: an API token, by a reference."""

    def __init__(self, reference: str, context: Context, option: str) -> None:
        self._value = resolve(reference, context, option)
        if not _VALUE.fullmatch(self._value.reveal()):
            raise BadInput(f"{option}: what it refers to is no API token")

    def headers(self) -> Mapping[str, Value]:
        """The token."""
        return {"Authorization": Secret(f"Bearer {self._value.reveal()}")}

    def renew(self) -> bool:
        """There is no other."""
        return False


def is_id(text: Any) -> bool:
    """Whether something can be the id of a token."""
    return isinstance(text, str) and bool(_ID.fullmatch(text))


def _part(body: Any, *path: str) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _time(body: Any, name: str) -> Optional[datetime]:
    text = _FRACTION.sub("", str(_part(body, name) or ""))
    try:
        return parse_time_if_given(text, name)
    except BadInput:
        return None


class Cloudflare:
    """The calls.

    :param account: its id.
    :param owner: whose tokens: account or user.
    """

    def __init__(self, api: Api, account: str, owner: str) -> None:
        self._api, self._account, self._owner = api, account, owner
        self.where = api.where
        self.tries = api.tries

    def _path(self, owner: str = "") -> str:
        return (
            "/user/tokens"
            if (owner or self._owner) == "user"
            else f"/accounts/{self._account}/tokens"
        )

    def verify(self) -> Tuple[str, str]:
        """The id of the login's own token, and whose it is: it is accepted, and active.

        A token is verified where it belongs to: one of a user may be allowed to make tokens of an account.

        :raises Denied: it is not.
        """
        refused: Optional[KeyturnError] = None
        for owner in (self._owner, *(item for item in OWNERS if item != self._owner)):
            try:
                body = self._ask(
                    Ask("verify the login's token", path=f"{self._path(owner)}/verify")
                )
            except (Denied, Refused, BadInput) as error:
                # How the other kind is answered is not documented; where neither is accepted, the first answer counts.
                refused = refused or error
                continue
            status, found = _part(body, "result", "status"), _part(body, "result", "id")
            if not is_id(found):
                raise self._strange()
            if status != ACTIVE:
                raise Denied(
                    f"{self.where}: the login's token {found} is not active; enable it or log in with another"
                )
            return found, owner
        raise refused or self._strange()

    def look(self) -> None:
        """The cheapest call that needs the right to see tokens."""
        self._ask(Ask("list the tokens", path=self._path(), query=(("per_page", "5"),)))

    def named(self, rotation_id: str) -> List[Token]:
        """Tokens whose name holds a rotation id."""
        return [item for item in self._tokens() if carries(item.name, rotation_id)]

    def token(self, token_id: str, owner: str = "") -> Optional[Token]:
        """One token; none when there is none."""
        ask = Ask("look at the token", path=f"{self._path(owner)}/{token_id}")
        answer = self._api.ask(ask)
        return None if is_absent(answer) else self._token(_part(self._read(ask, answer), "result"))

    def make(self, sent: Mapping[str, Any], guard: Guard) -> Token:
        """Make a token. Its value is in this answer alone.

        :raises Uncertain: it may have been made.
        """
        ask = Ask(
            "make a token", "POST", self._path(), body=Secret(json.dumps(sent)), repeats=False
        )
        result = _part(self._ask(ask, guard), "result")
        value = _part(result, "value")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise Unreachable(
                f"{self.where}: a token was made, and the answer tells no value; run again: the next run deletes it and makes another"
            )
        return self._token(result, Secret(value))

    def delete(self, token_id: str, guard: Guard) -> bool:
        """Delete a token; false when it was gone."""
        ask = Ask("delete the token", "DELETE", f"{self._path()}/{token_id}", body=Secret("{}"))
        answer = self._api.ask(ask, guard)
        if is_absent(answer):
            return False
        self._read(ask, answer)
        return True

    def groups(self) -> Dict[str, str]:
        """The ids of all permission groups, by name."""
        path = f"{self._path()}/permission_groups"
        body = self._ask(Ask("list the permission groups", path=path))
        listed = _part(body, "result")
        if not isinstance(listed, list):
            raise self._strange()
        return {
            str(_part(item, "name")): _part(item, "id")
            for item in listed
            if is_id(_part(item, "id"))
        }

    def _tokens(self) -> Iterator[Token]:
        seen = 0
        for page in range(1, _MOST_PAGES + 1):
            query = (("page", str(page)), ("per_page", str(_PER_PAGE)), ("direction", "asc"))
            body = self._ask(Ask("list the tokens", path=self._path(), query=query))
            listed = _part(body, "result")
            if not isinstance(listed, list):
                raise self._strange()
            yield from map(self._token, listed)
            seen += len(listed)
            total = _part(body, "result_info", "total_count")
            if not listed or (isinstance(total, int) and seen >= total):
                return
        raise Unreachable(
            f"{self.where}: cannot list the tokens: there are more than {_MOST_PAGES} pages"
        )

    def _token(self, item: Any, value: Optional[Secret] = None) -> Token:
        found, name = _part(item, "id"), _part(item, "name")
        if not is_id(found):
            raise self._strange()
        policies, condition = _part(item, "policies"), _part(item, "condition")
        return Token(
            id=found,
            name=name if isinstance(name, str) else "",
            status=str(_part(item, "status")),
            issued=_time(item, "issued_on"),
            used=_time(item, "last_used_on"),
            expires=_time(item, "expires_on"),
            policies=tuple(policies) if isinstance(policies, list) else (),
            condition=condition if isinstance(condition, dict) else {},
            value=value,
        )

    def _ask(self, ask: Ask, guard: Optional[Guard] = None) -> Any:
        return self._read(ask, self._api.ask(ask, guard) if guard else self._api.ask(ask))

    def _read(self, ask: Ask, answer: Answer) -> Any:
        if answer.status != 200:
            raise explained(self.where, ask.what, answer, self._owner)
        body = read_json(answer, self.where)
        if _part(body, "success") is not True:
            raise self._strange()
        return body

    def _strange(self) -> Unreachable:
        return Unreachable(
            f"{self.where}: the answer is not what Cloudflare's API describes; is login.api its address?"
        )
