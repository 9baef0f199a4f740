# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Re-encryption of what is stored (``keyturn_reencrypt``): places that hold ciphertexts, and the keys of a keyring that open them.

A kind of place is a definition with the three properties of :class:`PlaceDefinition`, and a store with the methods of :class:`Store`; a
further one is added here and in modules beside this one.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._engine import (
    count,
    reencrypt,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._fernet import (
    FernetCipher,
    keys_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._options import (
    FAIL,
    REPORT,
    check_common,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._port import (
    Counts,
    PlaceDefinition,
    Store,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve_mapping
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

OPTION = "keyturn_reencrypt"
Needed = Mapping[str, Mapping[str, Secret]]
Keys = Tuple[Optional[Secret], Tuple[Secret, ...]]


# Imported where they are used: Ansible compiles each module of a collection anew in every run.
def _rows(definition: Mapping[str, Any], option: str) -> PlaceDefinition:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._rows import Rows

    return Rows.from_definition(definition, option)


def _row_store(place: Any, needed: Needed, context: Context) -> Store:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._row_store import (
        RowStore,
    )

    return RowStore(place, needed["admin"], context)


def _files(definition: Mapping[str, Any], option: str) -> PlaceDefinition:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._files import Files

    return Files.from_definition(definition, option)


def _file_store(place: Any, _needed: Needed, context: Context) -> Store:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._files import (
        FileStore,
    )

    return FileStore(place, context)


_Read = Callable[[Mapping[str, Any], str], PlaceDefinition]
_Open = Callable[[Any, Needed, Context], Store]
TYPES: Mapping[str, Tuple[_Read, _Open]] = MappingProxyType(
    {"postgres_rows": (_rows, _row_store), "files": (_files, _file_store)}
)
"""Every type of place, by name: how its definition is read, and how it is opened."""


@dataclass(frozen=True)
class Place:
    """One item of ``keyturn_reencrypt``.

    :param field: of the keyring's stages, the one that holds the key.
    :param on_unreadable: ``fail`` or ``report``.
    """

    type: str
    definition: PlaceDefinition
    field: str
    on_unreadable: str
    option: str

    @property
    def on(self) -> str:
        """The inventory host whose files these are; empty where the rotation runs."""
        return self.definition.on

    @property
    def where(self) -> str:
        """How messages and results name it."""
        return self.definition.where

    def keys(self, document: Document) -> Keys:
        """The keys of a keyring for this place.

        :raises BadInput: there are none.
        """
        return keys_of(document, self.field, f"{self.option}.field")

    def resolved(self, context: Context) -> Dict[str, Dict[str, Secret]]:
        """What it needs to be opened, such as a login.

        :raises KeyturnError: as the references give cause.
        """
        return {
            name: resolve_mapping(reference, context, f"{self.option}.{name}")
            for name, reference in self.definition.needs.items()
        }

    @contextmanager
    def opened(self, needed: Needed, context: Context) -> Iterator[Store]:
        """Open it, and close it at the end.

        :raises KeyturnError: as the place gives cause.
        """
        with closing(TYPES[self.type][1](self.definition, needed, context)) as store:
            yield store

    def cipher(self, keys: Keys) -> FernetCipher:
        """The keys at work.

        :raises BadInput: the newest one is none of the kind that this place has.
        """
        return FernetCipher(keys[0], keys[1], f"{self.option}.field")

    def _unreadable(self, counts: Counts, how: str) -> List[str]:
        if not counts.unreadable or self.on_unreadable != how:
            return []
        said = f"{len(counts.unreadable)} that no key of the keyring opens ({counts.some(counts.unreadable)}), and they stay as they are"
        mend = ". Find out what they are; where they may stay so, set on_unreadable: report"
        return [f"{self.where}: {said}{mend if how == FAIL else ''}"]

    def notes(self, counts: Counts) -> List[str]:
        """What a person should know although nothing is wrong."""
        return self._unreadable(counts, REPORT)

    def faults(self, counts: Counts) -> List[str]:
        """Why a run did not go well, each a sentence with what to do."""
        said = (
            f"{len(counts.left)} are still under an older key, because somebody works on them all the time ({counts.some(counts.left)}); "
            "run again"
        )
        left = [f"{self.where}: {said}"] if counts.left else []
        return [*left, *self._unreadable(counts, FAIL)]

    def closed(self, counts: Counts) -> List[str]:
        """Why the previous value may not end yet, each a sentence with what to do."""
        said = f"{counts.to_do} are under an older key, and would be lost with it"
        how = "run the playbook reencrypt, then run again"
        to_do = [f"{self.where}: {said}: {how}"] if counts.to_do else []
        return [*to_do, *self._unreadable(counts, FAIL)]


def read_place(definition: Any, option: str) -> Place:
    """One place, checked.

    :param option: how messages name it.
    :raises BadInput: naming the key and what is expected.
    """
    kind = definition.get("type") if isinstance(definition, Mapping) else None
    if kind not in TYPES:
        said = f"'{kind}' is unknown" if kind else "missing"
        raise BadInput(f"{option}.type: {said}; expected one of {', '.join(sorted(TYPES))}")
    check_common(definition, option)
    read, _open = TYPES[str(kind)]
    return Place(
        str(kind),
        read(definition, option),
        definition.get("field", "value"),
        definition.get("on_unreadable", FAIL),
        option,
    )


def read_places(definitions: Any, option: str = OPTION) -> List[Place]:
    """All places of a credential.

    :raises BadInput: naming the key and what is expected.
    """
    if not isinstance(definitions, Sequence) or isinstance(definitions, str):
        raise BadInput(f"{option}: expected a list of places, each with type")
    return [read_place(item, f"{option}[{number}]") for number, item in enumerate(definitions)]


__all__ = [
    "OPTION",
    "TYPES",
    "Counts",
    "Guard",
    "Keys",
    "Needed",
    "Place",
    "count",
    "read_place",
    "read_places",
    "reencrypt",
]
