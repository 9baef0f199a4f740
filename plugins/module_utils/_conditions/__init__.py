# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential's own gates (``keyturn_gates``): conditions outside of the keyring that stop a rotation, such as somebody who is live.

Those of what is stored (``keyturn_reencrypt``) are among them, and stop only the end of a value.

A type of gate is a class with the properties and the method of :class:`Condition`; a further one is added here and in a module beside
this one. What cannot be found out closes a gate as what is found does: nobody is known to be off the air because a server did not answer.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Callable, List, Mapping, Optional, Protocol, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document

OPTION = "keyturn_gates"


class Condition(Protocol):
    """One gate, read; nothing was asked yet."""

    @property
    def on(self) -> str:
        """The inventory host that it has to be asked on; empty where the rotation runs."""

    @property
    def ends(self) -> bool:
        """Whether it is about the end of a value alone, and stops nothing else."""

    def closed(self, context: Context, document: Optional[Document]) -> Sequence[str]:
        """Why it is closed, each a sentence with what to do; nothing when it is open. It only reads.

        :param document: the credential's keyring, where there is one.
        :raises KeyturnError: it could not be found out.
        """


# Imported where they are used: Ansible compiles each module of a collection anew in every run.
def _not_connected(definition: Mapping[str, Any], option: str) -> Condition:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions._not_connected import (
        NotConnected,
    )

    return NotConnected.from_definition(definition, option)


def _not_publishing(definition: Mapping[str, Any], option: str) -> Condition:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions._not_publishing import (
        NotPublishing,
    )

    return NotPublishing.from_definition(definition, option)


def _reachable(definition: Mapping[str, Any], option: str) -> Condition:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions._reachable import (
        Reachable,
    )

    return Reachable.from_definition(definition, option)


def _reencrypted(definition: Mapping[str, Any], option: str) -> Condition:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions._reencrypted import (
        Reencrypted,
    )

    return Reencrypted.from_definition(definition, option)


TYPES: Mapping[str, Callable[[Mapping[str, Any], str], Condition]] = MappingProxyType(
    {"not_connected": _not_connected, "not_publishing": _not_publishing, "reachable": _reachable}
)
"""Every type of gate that a user writes, by name."""
_MADE: Mapping[str, Callable[[Mapping[str, Any], str], Condition]] = MappingProxyType(
    {"reencrypted": _reencrypted}
)
"""Those that are made of other definitions."""


def read_conditions(definitions: Sequence[Any]) -> Tuple[Condition, ...]:
    """The gates that a credential's definition names.

    :raises BadInput: naming the key and what is expected.
    """
    found: List[Condition] = []
    for number, definition in enumerate(definitions):
        option = f"{OPTION}[{number}]"
        kind = definition.get("type") if isinstance(definition, Mapping) else None
        read = TYPES.get(str(kind)) or _MADE.get(str(kind))
        if read is None:
            said = f"'{kind}' is unknown" if kind else "missing"
            raise BadInput(f"{option}.type: {said}; expected one of {', '.join(sorted(TYPES))}")
        found.append(read(definition, option))
    return tuple(found)


def gates_of_stores(places: Any) -> List[Mapping[str, Any]]:
    """The gates that the items of ``keyturn_reencrypt`` are beside all else: nothing that is stored there needs a key that ends.

    :raises BadInput: it is no list.
    """
    if not isinstance(places, Sequence) or isinstance(places, str):
        raise BadInput("keyturn_reencrypt: expected a list of places, each with type")
    return [
        {"type": "reencrypted", "place": place, "number": number}
        for number, place in enumerate(places)
    ]


def is_asked(condition: Condition, purpose: str, document: Optional[Document]) -> bool:
    """Whether a gate has to do with what is about to be done.

    :param purpose: of the preflight, one of those for which gates are asked; empty for a look of somebody else.
    """
    if not condition.ends or purpose == "retire":
        return True
    # Between the mark and the end, once no consumer has the value any more.
    previous = document.previous if document else None
    return purpose == "look" and bool(previous and previous.status == "retiring")


def closed(
    definitions: Sequence[Any],
    context: Context,
    document: Optional[Document] = None,
    host: str = "",
    purpose: str = "",
) -> List[str]:
    """Why those that are closed are, all of them at once.

    :param document: the credential's keyring, where there is one.
    :param purpose: as :func:`is_asked`.
    :param host: the inventory host that this is; those of others are not asked here.
    :raises BadInput: as :func:`read_conditions`.
    """
    return [
        sentence
        for condition in read_conditions(definitions)
        if condition.on == host and is_asked(condition, purpose, document)
        for sentence in _closed(condition, context, document)
    ]


def _closed(condition: Condition, context: Context, document: Optional[Document]) -> Sequence[str]:
    try:
        return condition.closed(context, document)
    except KeyturnError as error:
        return [error.message]
