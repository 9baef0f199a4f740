# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate ``reencrypted``: nothing that is stored needs the key that is about to end. Made of each item of ``keyturn_reencrypt``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt import (
    OPTION,
    Place,
    count,
    read_place,
)

KEYS = ("type", "name", "place", "number")


@dataclass(frozen=True)
class Reencrypted:
    """One place where ciphertexts are stored."""

    place: Place
    ends = True

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any], option: str) -> Reencrypted:
        """The gate that a definition describes.

        :raises BadInput: naming the key and what is expected.
        """
        refuse_unknown(definition, KEYS, option)
        if "number" not in definition:
            raise BadInput(
                f"{option}.type: a gate of this type is made of each item of {OPTION}; write the place there instead"
            )
        return cls(read_place(definition.get("place"), f"{OPTION}[{definition['number']}]"))

    @property
    def on(self) -> str:
        """The inventory host whose files these are; it is asked by ``reencrypt``, which takes the keys there."""
        return self.place.on

    def closed(self, context: Context, document: Optional[Document]) -> List[str]:
        """What would be lost.

        :raises KeyturnError: as the place gives cause.
        """
        if document is None:
            return []
        cipher = self.place.cipher(self.place.keys(document))
        with self.place.opened(self.place.resolved(context), context) as store:
            return self.place.closed(count(store, cipher))
