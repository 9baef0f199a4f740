# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``keyturn_issuer`` says of a platform with an HTTP API."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._generic_text import (
    OWN,
    Fields,
    Text,
    Tree,
    parse_tree,
    texts_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._http_api import (
    CONNECTION_KEYS,
    Connection,
    secure_url,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import (
    as_flag,
    refuse_unknown,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    looks_like_reference,
    parse_reference,
)

_KEYS = ("type", "login", "overlap", "returns", "issue", "apply", "revoke", "check")
_LOGIN_KEYS = ("base_url", "token", "headers", *CONNECTION_KEYS)
_CALL_KEYS = ("method", "path", "query", "body", "status")
_ISSUE_KEYS = (*_CALL_KEYS, "key", "fields", "find", "leaves_keys")
_FIND_KEYS = ("path", "query", "status", "items", "name", "key", "fields", "next")
_METHODS = ("POST", "PUT", "PATCH", "DELETE", "GET")
_SECRET_HEADER = re.compile(r"authorization|cookie|key|token|secret|password", re.IGNORECASE)
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")
_PATH = re.compile(r"/[^\s?#\\\x00-\x1f\x7f]*")
LINK = "link"
KEY = "key"


@dataclass(frozen=True)
class Call:
    """One request.

    :param where: the option that describes it, for messages.
    :param status: what says that it was done.
    :param gone: what says that there is nothing to do it with.
    """

    where: str
    method: str
    path: Text
    query: Tuple[Tuple[str, Text], ...] = ()
    body: Tree = None
    status: Tuple[int, ...] = (200,)
    gone: Tuple[int, ...] = ()

    @property
    def names_rotation(self) -> bool:
        """Whether the platform is told the rotation id."""
        texts = (self.path, *(text for _name, text in self.query), *texts_of(self.body))
        return any(text.names_rotation for text in texts)


@dataclass(frozen=True)
class Find:
    """How keys are listed.

    :param items: JSON pointer to the list; the others count from an item of it.
    :param name: to the text that has the rotation id.
    :param key: to the key; none where a platform shows it once.
    :param following: where the next page is: ``link`` for the header Link, else JSON pointer and the query's name; none for one page.
    """

    call: Call
    items: str
    name: str
    key: Optional[str]
    fields: Mapping[str, str]
    following: Tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Definition:
    """A checked definition.

    :param key: JSON pointer to the key in the answer of ``issue``.
    :param fields: field → JSON pointer.
    """

    option: str
    base_url: str
    connection: Connection
    headers: Mapping[str, str] = field(repr=False)
    bearer: str = field(repr=False)
    overlap: bool
    returns: bool
    issue: Call
    key: str
    fields: Mapping[str, str]
    find: Optional[Find]
    apply: Optional[Call]
    revoke: Optional[Call]
    check: Optional[Call]


def _mapping(value: Any, option: str, keys: Tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadInput(f"{option}: expected a mapping with some of {', '.join(keys)}")
    refuse_unknown(value, keys, option)
    return value


def _pointer(value: Any, option: str) -> str:
    if not isinstance(value, str) or not _POINTER.fullmatch(value):
        raise BadInput(f"{option}: expected a JSON pointer (RFC 6901), such as /data/id")
    return value


def _pointers(value: Any, option: str) -> Dict[str, str]:
    given = value or {}
    if not isinstance(given, Mapping):
        raise BadInput(f"{option}: expected fields and JSON pointers, such as {{id: /data/id}}")
    for name in given:
        if not str(name).isidentifier() or name in (KEY, *OWN):
            raise BadInput(
                f"{option}: '{name}' cannot be the name of a field; expected letters, digits and underscores, and none of "
                f"{', '.join((KEY, *OWN))}"
            )
    return {
        str(name): _pointer(pointer, f"{option}.{name}") for name, pointer in sorted(given.items())
    }


def _statuses(value: Any, option: str) -> Tuple[int, ...]:
    items = value if isinstance(value, (list, tuple)) else [value]
    if not items or not all(str(item).isdigit() and 200 <= int(item) <= 499 for item in items):
        raise BadInput(f"{option}: expected an HTTP status such as 200, or a list of them")
    return tuple(int(item) for item in items)


def _call(
    given: Mapping[str, Any], option: str, fields: Fields, method: str, status: Tuple[int, ...]
) -> Call:
    chosen = str(given.get("method", method)).upper()
    if chosen not in _METHODS:
        raise BadInput(f"{option}.method: '{chosen}' is unknown; expected {', '.join(_METHODS)}")
    path = given.get("path")
    if not isinstance(path, str) or not _PATH.fullmatch(path) or path.startswith("//"):
        raise BadInput(
            f"{option}.path: expected a path after login.base_url that begins with a slash, such as /keys/{{stage.id}}; what follows a "
            "question mark stands in query"
        )
    query = given.get("query") or {}
    if not isinstance(query, Mapping):
        raise BadInput(f"{option}.query: expected a mapping of names and values")
    return Call(
        where=option,
        method=chosen,
        path=Text.parse(path, f"{option}.path", fields),
        query=tuple(
            (str(name), Text.parse(str(value), f"{option}.query.{name}", fields))
            for name, value in query.items()
        ),
        body=parse_tree(_body(given, chosen, option), f"{option}.body", fields),
        status=_statuses(given.get("status", list(status)), f"{option}.status"),
        gone=_statuses(given["gone"], f"{option}.gone") if given.get("gone") else (),
    )


def _body(given: Mapping[str, Any], method: str, option: str) -> Any:
    body = given.get("body")
    if body is None:
        return None
    if method == "GET" or not isinstance(body, (Mapping, list)):
        raise BadInput(
            f"{option}.body: expected a mapping or a list, which is sent as JSON, and no body with GET"
        )
    return body


def _next(value: Any, option: str) -> Tuple[str, str]:
    if not value:
        return "", ""
    if value == LINK:
        return LINK, ""
    given = _mapping(value, option, ("pointer", "query"))
    if not given.get("query"):
        raise BadInput(
            f"{option}: expected link, or pointer (where the answer has the next page's name) and query (what it is asked by)"
        )
    return _pointer(given.get("pointer"), f"{option}.pointer"), str(given["query"])


def _find(value: Any, option: str, names: Mapping[str, str]) -> Optional[Find]:
    if value is None:
        return None
    given = _mapping(value, option, _FIND_KEYS)
    fields = _pointers(given.get("fields"), f"{option}.fields")
    if set(fields) != set(names):
        raise BadInput(
            f"{option}.fields: has to tell where each of the fields of issue is in an item: {', '.join(names) or 'none'}"
        )
    key = given.get("key")
    return Find(
        call=_call(given, option, Fields(), "GET", (200,)),
        items=_pointer(given.get("items"), f"{option}.items"),
        name=_pointer(given.get("name"), f"{option}.name"),
        key=_pointer(key, f"{option}.key") if key is not None else None,
        fields=fields,
        following=_next(given.get("next"), f"{option}.next"),
    )


def _headers(login: Mapping[str, Any], option: str) -> Tuple[Mapping[str, str], str]:
    given, bearer = login.get("headers") or {}, str(login.get("token") or "")
    if not isinstance(given, Mapping) or not (given or bearer):
        raise BadInput(
            f"{option}: expected token (a reference to a bearer token), or headers with references"
        )
    if bearer:
        parse_reference(bearer, f"{option}.token")
    for name, value in given.items():
        if looks_like_reference(str(value)):
            parse_reference(str(value), f"{option}.headers.{name}")
        elif _SECRET_HEADER.search(str(name)):
            raise BadInput(
                f"{option}.headers.{name}: a secret does not belong into an inventory; give a reference to the header's whole value"
            )
    return {str(name): str(value) for name, value in given.items()}, bearer


def _capabilities(definition: Mapping[str, Any], option: str) -> Tuple[bool, bool]:
    if "overlap" not in definition:
        raise BadInput(
            f"{option}.overlap: missing; true where the platform accepts the old and the new key together, false where making a new key "
            "ends the old one"
        )
    overlap = as_flag(definition["overlap"], f"{option}.overlap")
    returns = as_flag(definition.get("returns", overlap), f"{option}.returns")
    if returns and not overlap and not definition.get("apply"):
        raise BadInput(
            f"{option}.returns: without overlap the old key is ended, so nothing can be returned to unless apply tells how a key is set"
        )
    return overlap, returns


def _check_cleaning(
    issue: Call, find: Optional[Find], given: Mapping[str, Any], overlap: bool, option: str
) -> None:
    """Refuse what would leave keys behind that nobody knows."""
    accepted = given.get("leaves_keys")
    if accepted not in (None, "accept"):
        raise BadInput(f"{option}.leaves_keys: expected accept, or nothing")
    if not overlap and (find or accepted):
        raise BadInput(
            f"{option}: find and leaves_keys have no meaning without overlap: a new key ends every other one"
        )
    if find and not issue.names_rotation:
        raise BadInput(
            f"{option}: has to tell the platform {{rotation_id}}, by which find recognises a key; such as body: {{name: '{{rotation_id}}'}}"
        )
    if overlap and not find and not accepted:
        raise BadInput(
            f"{option}.find: missing; a run that is killed after the platform made a key leaves one that is valid and unknown, and only "
            "find can find it again. Where the platform lists no keys, accept that with leaves_keys: accept"
        )


def parse_definition(definition: Mapping[str, Any], option: str) -> Definition:
    """Check a definition.

    :raises BadInput: naming the key and what is expected.
    """
    refuse_unknown(definition, _KEYS, option)
    login = _mapping(definition.get("login"), f"{option}.login", _LOGIN_KEYS)
    headers, bearer = _headers(login, f"{option}.login")
    overlap, returns = _capabilities(definition, option)
    given = _mapping(definition.get("issue"), f"{option}.issue", _ISSUE_KEYS)
    fields = _pointers(given.get("fields"), f"{option}.issue.fields")
    known = Fields(frozenset(fields), frozenset({KEY}))
    issue = _call(given, f"{option}.issue", Fields(), "POST", (200, 201))
    find = _find(given.get("find"), f"{option}.issue.find", fields)
    _check_cleaning(issue, find, given, overlap, f"{option}.issue")

    def other(name: str, method: str, status: Tuple[int, ...], *more: str) -> Optional[Call]:
        if name not in definition:
            return None
        told = _mapping(definition[name], f"{option}.{name}", (*_CALL_KEYS, *more))
        allowed = Fields() if name == "check" else known
        if "gone" in more:
            told = {"gone": [404, 410], **told}
        return _call(told, f"{option}.{name}", allowed, method, status)

    check = other("check", "GET", (200,))
    if check and check.method != "GET":
        raise BadInput(f"{option}.check.method: expected GET: a dry run asks this, too")
    revoke = other("revoke", "DELETE", (200, 202, 204), "gone")
    if overlap != (revoke is not None):
        raise BadInput(
            f"{option}.revoke: missing; tell how an old key is ended, such as {{path: '/keys/{{stage.id}}'}}"
            if overlap
            else f"{option}.revoke: has no meaning without overlap: a new key ends the old one"
        )
    return Definition(
        option=option,
        base_url=secure_url(login.get("base_url"), f"{option}.login.base_url"),
        connection=Connection.from_login(login, f"{option}.login"),
        headers=headers,
        bearer=bearer,
        overlap=overlap,
        returns=returns,
        issue=issue,
        key=_pointer(given.get("key"), f"{option}.issue.key"),
        fields=fields,
        find=find,
        apply=other("apply", "PUT", (200, 201, 202, 204)),
        revoke=revoke,
        check=check,
    )
