# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer ``generated``: a value that is made here, and valid because whoever checks it reads it from a sink.

============  ==========================================================================================
fields        the secret fields of a stage: ``[value]``
overlap       whether whoever checks the value takes several at once. ``true``: the sinks that it reads
              show a list, such as ``{current,pending,previous.value|join:,}``. ``false``: one at a time,
              so that sinks and consumers change in one go
============  ==========================================================================================

There is no server to be told and none to be asked: the sinks make a stage accepted and refused, and the probes prove both.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._generate import generate, recipe
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._passive import (
    Passive,
    exactly,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import as_flag
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value

_KEYS = ("type", "fields", "overlap")
_GENERATE = "keyturn_generate"
_DEFAULT: Mapping[str, Any] = {"type": "base64url", "bytes": 32}


class Generated(Passive):
    """See the table at the top of this file."""

    comes_first = (
        "whoever checks the value reads it from a sink, which goes on showing it until there is another, so nothing can have it refused "
        "before"
    )

    def __init__(self, fields: List[str], overlap: bool, option: str) -> None:
        self._fields = fields
        self._option = option
        self.overlap, self.cutover, self.returns = overlap, not overlap, True
        self.secret_fields: FrozenSet[str] = frozenset(fields)

    @classmethod
    def from_definition(
        cls, definition: Mapping[str, Any], context: Context, option: str
    ) -> Generated:
        """The issuer that a ``keyturn_issuer`` describes.

        :raises BadInput: naming the key and what is expected.
        """
        strange = sorted(str(key) for key in definition if key not in _KEYS)
        if strange:
            raise BadInput(
                f"{option}: there is no '{strange[0]}' for type generated; expected some of {', '.join(_KEYS)}"
            )
        if "overlap" not in definition:
            raise BadInput(
                f"{option}.overlap: missing; true where whoever checks the value takes a list of them, false where it knows one"
            )
        fields = definition.get("fields", ["value"])
        named = isinstance(fields, list) and all(
            isinstance(name, str) and name.isidentifier() for name in fields
        )
        if not named or not fields or len(set(fields)) < len(fields):
            raise BadInput(
                f"{option}.fields: expected a list of different names of letters, digits and underscores, such as [value]"
            )
        return cls(list(fields), as_flag(definition["overlap"], f"{option}.overlap"), option)

    def _recipes(self, wishes: Mapping[str, Any]) -> Dict[str, Mapping[str, Any]]:
        strange = sorted(set(map(str, wishes)) - self.secret_fields)
        if strange:
            raise BadInput(
                f"{_GENERATE}: the issuer has no field '{strange[0]}'; expected some of {', '.join(self._fields)}"
            )
        return {name: wishes.get(name) or _DEFAULT for name in self._fields}

    def check_generate(self, generate: Mapping[str, Any], context: Context) -> None:
        """Refuse a description of new values that cannot be meant; nothing is made.

        :raises BadInput: naming the option and what is expected.
        """
        for name, wish in self._recipes(generate).items():
            recipe(wish, context, f"{_GENERATE}.{name}")

    def propose(
        self, document: Optional[Document], generate_spec: Mapping[str, Any], context: Context
    ) -> Dict[str, Value]:
        """New values, made once.

        :raises BadInput: as :meth:`check_generate`.
        """
        self.check_generate(generate_spec, context)
        if context.check_mode:
            return {name: Secret.new() for name in self._fields}
        return {
            name: Secret(generate(wish, context, f"{_GENERATE}.{name}"))
            for name, wish in self._recipes(generate_spec).items()
        }

    def adopt(self, fields: Mapping[str, Value], context: Context) -> Mapping[str, Value]:
        """The fields of a stage for values that are in use: those that were given.

        :raises BadInput: when one is missing, or there is one that the issuer does not have.
        """
        return exactly(fields, self.secret_fields, self._fields, self._option)

    def check(self, document: Optional[Document], context: Context) -> List[str]:
        """Nothing could be in the way."""
        return []
