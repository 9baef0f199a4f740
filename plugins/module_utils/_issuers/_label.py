# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a thing at a provider is called, so that a run finds again what it, or one before it, made for a rotation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Callable, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_DEFAULT = "{credential} {rotation_id}"


@dataclass(frozen=True)
class Label:
    """How one provider's things are named.

    :param key: of the definition that says it; it is also the provider's word for it.
    :param thing: what is named.
    :param provider: for messages.
    :param most: characters that the provider takes.
    :param fits: whether the provider takes a text, however long it is.
    :param shunned: what it does not take beside other placeholders, for messages.
    """

    key: str
    thing: str
    provider: str
    most: int
    fits: Callable[[str], bool]
    shunned: str

    def read(self, definition: Mapping[str, Any], option: str) -> str:
        """The pattern of names that a definition says, or the usual one.

        :raises BadInput: naming the key and what is expected.
        """
        value, where = definition.get(self.key, _DEFAULT), f"{option}.{self.key}"
        if not isinstance(value, str) or "{rotation_id}" not in value:
            raise BadInput(
                f"{where}: has to name {{rotation_id}}, by which a {self.thing} is found again; such as '{_DEFAULT}'"
            )
        others = set(_PLACEHOLDER.findall(value)) - {"credential", "rotation_id"}
        if others or not self.fits(value):
            raise BadInput(
                f"{where}: expected text with {{credential}} and {{rotation_id}}, and no other {self.shunned}"
            )
        return value

    def fill(self, pattern: str, credential: str, rotation_id: str, option: str) -> str:
        """The name for one rotation.

        :raises BadInput: it is too long.
        """
        text = pattern.replace("{credential}", credential).replace("{rotation_id}", rotation_id)
        if len(text) > self.most:
            raise BadInput(
                f"{option}.{self.key}: makes a {self.key} of {len(text)} characters, and {self.provider} takes {self.most}; shorten it"
            )
        return text
