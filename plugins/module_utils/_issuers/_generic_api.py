# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of a platform's API that a definition describes. What it answers is read by pointers alone and never quoted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Type
from urllib.parse import parse_qsl, unquote, urljoin, urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._alert import resolved_headers
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import origin, pointed
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._generic_definition import (
    KEY,
    LINK,
    Call,
    Definition,
    Find,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._generic_text import (
    render_tree,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._http_api import (
    Answer,
    Api,
    Ask,
    read_json,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._only_one import carries
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value

_MOST_PAGES = 200
_PLAIN = re.compile(r"[^\x00-\x20\x7f]{1,200}")
_NEXT = re.compile(r"<([^<>]+)>\s*;[^,]*\brel=\"?next\"?")
_BREAK = re.compile(r"[\r\n\0]")
_BY_STATUS: Mapping[int, Tuple[Type[KeyturnError], str]] = MappingProxyType(
    {
        400: (BadInput, "the API refuses the request as one that cannot be meant: check {where}"),
        401: (Denied, "the login is not accepted: check login.token and login.headers"),
        403: (Denied, "this login may not do that: give it the right to, or name another one"),
        404: (Absent, "there is nothing at that path: check {where}.path and login.base_url"),
        405: (BadInput, "the API does not know this method there: check {where}.method"),
        409: (BadInput, "the API says that it conflicts with what is there: check {where}"),
        422: (BadInput, "the API refuses the content: check {where}.body"),
    }
)


@dataclass(frozen=True)
class Key:
    """One key at the platform.

    :param key: none where the platform does not show it any more.
    """

    fields: Mapping[str, str]
    key: Optional[Secret]

    @property
    def values(self) -> Mapping[str, Value]:
        """What a stage keeps of it."""
        own: Dict[str, Value] = dict(self.fields)
        return {**own, KEY: self.key} if self.key is not None else own


class _Headers:
    """A login that is the same for every request."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def headers(self) -> Mapping[str, Value]:
        """All of them."""
        return self._values

    def renew(self) -> bool:
        """There is nothing else to show."""
        return False


def _login(own: Definition, context: Context) -> _Headers:
    option = f"{own.option}.login"
    found = resolved_headers(own.headers, context, f"{option}.headers")
    if own.bearer:
        token = resolve(own.bearer, context, f"{option}.token")
        found["Authorization"] = Secret(f"Bearer {token.reveal()}")
    for name, value in found.items():
        text = value.reveal() if isinstance(value, Secret) else value
        if _BREAK.search(text) or not text.isprintable():
            raise BadInput(
                f"{option}: the value of the header {name} holds a line break or another sign that no header may"
            )
    return _Headers(found)


class Platform:
    """The calls.

    :param credential: for ``{credential}``.
    """

    def __init__(self, definition: Definition, credential: str, context: Context) -> None:
        self._own, self._credential = definition, credential
        where = f"{definition.option} ({definition.base_url})"
        self._api = Api(
            definition.base_url, definition.connection, context, where, _login(definition, context)
        )
        self.where, self.tries = where, self._api.tries

    def issue(self, stage: Stage, guard: Guard, afterwards: str) -> Key:
        """Have a key made.

        :raises Uncertain: it may have been made.
        :raises BadInput: it was made, and the answer does not hold it where it is said to.
        """
        own = self._own
        answer = self.ask(own.issue, "make a key", stage, guard, False, afterwards)
        found = self._key(read_json(answer, self.where), own.key, own.fields, f"{own.option}.issue")
        if found.key is None:
            raise BadInput(
                f"{own.option}.issue.key: the answer has no text there, though a key was made; correct the pointer. {afterwards}"
            )
        return found

    def listed(self, find: Find, stage: Stage) -> Iterator[Tuple[str, Key]]:
        """Every key with its name."""
        query: Tuple[Tuple[str, str], ...] = ()
        seen: List[str] = []
        for _page in range(_MOST_PAGES):
            answer = self.ask(find.call, "list the keys", stage, more=query)
            content = read_json(answer, self.where)
            for item in self._items(content, find):
                name = pointed(item, find.name)[1]
                key = self._key(item, find.key, find.fields, find.call.where)
                yield name if isinstance(name, str) else "", key
            following = self._following(find, answer, content)
            if not following:
                return
            if following in seen:
                break
            seen.append(following)
            query = self._page_query(find, following)
        raise Unreachable(
            f"{self.where}: the list of keys has more than {_MOST_PAGES} pages, or goes round: check {find.call.where}.next"
        )

    def named(self, find: Find, stage: Stage) -> List[Key]:
        """The keys whose name has the stage's rotation id."""
        return [key for name, key in self.listed(find, stage) if carries(name, stage.rotation_id)]

    def _items(self, content: Any, find: Find) -> List[Any]:
        there, items = pointed(content, find.items)
        if not there or not isinstance(items, list):
            raise BadInput(f"{find.call.where}.items: the answer has no list there; correct it")
        return items

    def _following(self, find: Find, answer: Answer, content: Any) -> str:
        how, _query = find.following
        if how == LINK:
            match = _NEXT.search(answer.headers.get("link", ""))
            return match.group(1) if match else ""
        found = pointed(content, how)[1] if how else None
        return str(found) if isinstance(found, (str, int)) and not isinstance(found, bool) else ""

    def _page_query(self, find: Find, following: str) -> Tuple[Tuple[str, str], ...]:
        how, name = find.following
        if how != LINK:
            return ((name, following),)
        base = self._own.base_url
        target = urljoin(f"{base}/", following)
        if origin(target) != origin(base):
            raise BadInput(
                f"{find.call.where}.next: the next page is at another host, and the login is not sent there"
            )
        return tuple(parse_qsl(urlsplit(target).query, keep_blank_values=True))

    def _key(self, content: Any, key: Optional[str], fields: Mapping[str, str], option: str) -> Key:
        value = pointed(content, key)[1] if key is not None else None
        plain: Dict[str, str] = {}
        for name, pointer in fields.items():
            found = pointed(content, pointer)[1]
            text = str(found) if isinstance(found, (str, int)) else ""
            if isinstance(found, bool) or not _PLAIN.fullmatch(text):
                raise BadInput(
                    f"{option}.fields.{name}: the answer has no text or number there; correct the pointer"
                )
            if isinstance(value, str) and value and (value in text or value in unquote(text)):
                raise BadInput(f"{option}.fields.{name}: that is the key itself, which is secret")
            plain[name] = text
        return Key(plain, Secret(value) if isinstance(value, str) and value else None)

    def ask(
        self,
        call: Call,
        what: str,
        stage: Stage,
        guard: Guard = no_guard,
        repeats: bool = True,
        afterwards: str = "",
        more: Tuple[Tuple[str, str], ...] = (),
    ) -> Answer:
        """One request.

        :param more: of the query, over what the definition says.
        :return: an answer that says that it was done, or that there is nothing to do it with where that is to be told apart.
        :raises KeyturnError: as the answer gives cause.
        """
        body = None if call.body is None else render_tree(call.body, stage, self._credential)
        query = {name: text.plain(stage, self._credential) for name, text in call.query}
        path = call.path.quoted(stage, self._credential)
        asked = Ask(
            what,
            call.method,
            path,
            tuple({**query, **dict(more)}.items()),
            body,
            repeats=repeats,
            afterwards=afterwards,
        )
        answer = self._api.ask(asked, guard)
        if answer.status not in (*call.status, *call.gone):
            raise self._explained(call, what, answer)
        return answer

    def _explained(self, call: Call, what: str, answer: Answer) -> KeyturnError:
        kind, text = _BY_STATUS.get(
            answer.status, (Unreachable, "status {status}; run again later")
        )
        if 300 <= answer.status < 400:
            kind, text = BadInput, "it redirects: name the final address in login.base_url"
        told = text.format(where=call.where, status=answer.status)
        return kind(f"{self.where}: cannot {what}: {told}")
