# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit finds in places: those that hold something else than the keyring says, and those that nobody claims."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._audit_ahead import (
    Account,
    of_aws,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import under_way
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    Reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import Sink, render_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._open import (
    Address,
    open_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Observed,
    described,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import (
    IN_PARAMETERS,
    escape,
)

CHANGED, GONE, UNREADABLE, ELSEWHERE = "changed", "gone", "unreadable", "elsewhere"
_REFERENCE = re.compile(r"ref\+awsssm://[^\s\"']+")
_SLASH = re.compile(r"/(?=\?|\Z)")
_VERSION = re.compile(r"/[0-9]{10}\Z")


@dataclass
class PlaceFound:
    """A place that is not as the keyring says.

    :param place: described.
    :param state: ``changed``, ``gone``, ``unreadable``, or ``elsewhere``: it is written from another host and was not looked at.
    :param why: a sentence.
    :ivar told: ``modified`` and ``by``, where the store tells them.
    """

    sink: str
    place: str
    state: str
    why: str = ""
    ref: Optional[Reference] = None
    told: Dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> Dict[str, Any]:
        """For results."""
        told = {"modified": None, "by": None, **self.told}
        return {
            "sink": self.sink,
            "place": self.place,
            "state": self.state,
            "why": self.why,
            **told,
        }


def difference(
    observed: Observed, wanted: Mapping[str, Optional[Secret]]
) -> Optional[Tuple[str, str]]:
    """The state of a place that is not as it should be, and why; none when it is. Pure."""
    there = {name for name, value in wanted.items() if value is not None}
    if not observed.exists and there:
        return GONE, "it is not there any more"
    missing = sorted(there - set(observed.fields))
    if missing:
        return GONE, f"not there any more: {_named(missing)}"
    other = sorted(
        name
        for name, value in wanted.items()
        if (name in observed.fields if value is None else observed.fields.get(name) != value)
    )
    if other:
        return CHANGED, f"it holds another value than the keyring says: {_named(other)}"
    return (CHANGED, f"it is {', '.join(observed.drift)}") if observed.drift else None


def _named(fields: Sequence[str]) -> str:
    return ", ".join(f"field '{name}'" if name else "its text" for name in fields)


def is_settled(document: Document) -> bool:
    """Whether places are to hold what the keyring says: a value is in use, and nothing is begun, undone or ended just now."""
    previous = document.previous
    ending = previous is not None and previous.status == "retiring"
    moving = bool(document.pending) or under_way(document) or ending
    return document.current is not None and not moving


def look_at_places(
    document: Optional[Document], sinks: Sequence[Sink], context: Context
) -> List[PlaceFound]:
    """The places that are not as they should be. While a rotation is under way, or nothing is in use, nobody can say how that is."""
    found = [
        PlaceFound(sink.name, described(sink.ref.place, sink.name, sink.host), ELSEWHERE)
        for sink in sinks
        if sink.host
    ]
    if document is None or not is_settled(document):
        return found
    here = [item for item in render_sinks(document, sinks) if not item.sink.host]
    for item in here:
        if item.fields and not item.sink.only_adds:
            told = _look(item.sink, item.fields, context)
            found += [told] if told else []
    return found


def _look(
    sink: Sink, wanted: Mapping[str, Optional[Secret]], context: Context
) -> Optional[PlaceFound]:
    ref = sink.ref
    where = described(ref.place, sink.name, sink.host)
    address = Address(ref.scheme, ref.path, dict(ref.params), ref.place, where)
    try:
        observed = open_place(address, sink.options, context).read(tuple(wanted))
    except KeyturnError as error:
        return PlaceFound(sink.name, where, UNREADABLE, error.message, ref)
    told = difference(observed, wanted)
    return PlaceFound(sink.name, where, *told, ref=ref) if told else None


def _texts(given: Any) -> Iterator[str]:
    """Every text of a definition."""
    if isinstance(given, str):
        yield given
    elif isinstance(given, Mapping):
        for value in given.values():
            yield from _texts(value)
    elif isinstance(given, (list, tuple)):
        for value in given:
            yield from _texts(value)


def _readable(text: str) -> Optional[Reference]:
    try:
        return parse_reference(text, "reference")
    except KeyturnError:
        return None


class Known:
    """What credentials claim of Parameter Store, by account and region as the references name them."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._names: Dict[str, Set[str]] = {}
        self._keyrings: Dict[str, Set[str]] = {}

    @staticmethod
    def account_of(reference: Optional[Reference], context: Context) -> str:
        """Which account and region a reference means, for comparing and for people."""
        params = reference.params if reference else {}
        environ = context.environ
        region = (
            params.get("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        )
        parts = {"region": region or "", **{key: params.get(key, "") for key in _ACCOUNT}}
        return " ".join(f"{key}={value}" for key, value in parts.items() if value)

    def claim(
        self, keyring: Optional[Reference], sinks: Sequence[Sink], options: Mapping[str, Any]
    ) -> None:
        """What one credential has: its keyring, its sinks, and what its definition reads, such as an administrator's login."""
        if of_aws(keyring) and keyring:
            path = "/" + escape(keyring.path, IN_PARAMETERS)
            self._keyrings.setdefault(self.account_of(keyring, self.context), set()).add(path)
        texts = _texts({key: options[key] for key in options if key != "keyring"})
        read = [_readable(text) for item in texts for text in _REFERENCE.findall(item)]
        for reference in [*(sink.ref for sink in sinks), *read]:
            if reference and of_aws(reference):
                account = self.account_of(reference, self.context)
                self._names.setdefault(account, set()).add(f"/{reference.path}")

    def claims(self, account: str, name: str) -> bool:
        """Whether anybody has this parameter."""
        if name in self._names.get(account, ()):
            return True
        path = _VERSION.sub("", name)
        return path != name and path in self._keyrings.get(account, ())


_ACCOUNT = ("profile", "role_arn", "endpoint_url")


def prefix_of(text: Any, option: str) -> Tuple[Reference, str]:
    """The path that a prefix means.

    :raises BadInput: for what is no place in Parameter Store, or all of it.
    """
    # A slash at its end says more clearly that a path is meant.
    reference = parse_reference(_SLASH.sub("", str(text), count=1), option)
    if not of_aws(reference):
        raise BadInput(
            f"{option}: {reference.text}: only Parameter Store can be asked what is below a path; expected such as "
            "ref+awsssm://musehub/production/"
        )
    path = reference.path.strip("/")
    if reference.fragment or not path or path.startswith("arn:"):
        raise BadInput(
            f"{option}: {reference.text}: expected a path, such as ref+awsssm://musehub/production/"
        )
    return reference, f"/{path}"


def unknown_below(
    prefix: Any,
    option: str,
    known: Known,
    expected: Sequence[str],
    told: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> List[Dict[str, Any]]:
    """The parameters below a prefix that nobody claims, with what AWS tells of them beside their values.

    :raises KeyturnError: for a prefix that cannot be meant or listed.
    """
    reference, path = prefix_of(prefix, option)
    account = known.account_of(reference, known.context)
    place = Account(reference, known.context, option)
    items = {str(item["Name"]): item for item in place.below(path)}
    left = [
        name
        for name in sorted(items)
        if not known.claims(account, name)
        and not any(fnmatchcase(name, pattern) for pattern in expected)
    ]
    described_ = _described(place, left, known.context, option)
    return [
        {
            "name": name,
            "account": account,
            "type": str(items[name].get("Type") or ""),
            "version": int(items[name].get("Version") or 0),
            **told({**items[name], **described_.get(name, {})}),
        }
        for name in left
    ]


def _described(
    place: Account, names: Sequence[str], context: Context, option: str
) -> Mapping[str, Mapping[str, Any]]:
    if not names:
        return {}
    try:
        return place.described(names)
    except KeyturnError as error:
        context.warn(f"{option}: who made unknown parameters is not told: {error.message}")
        return {}
