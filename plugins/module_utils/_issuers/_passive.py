# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What most issuers have nothing to do for; one that has says so itself."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import (
    Outcome,
    Session,
    Wait,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Value

MAYBE_ENDED = (
    "Where one was made, the one in use has ended, and the keyring does not know that. Run verify_stream_keys; where the one in use is "
    "refused, rotate once more, with -e keyturn_force=true if it is young"
)


class Passive:
    """The parts of :class:`_issuer_port.Issuer` for which there is nothing to do."""

    uses = senders = handed = False
    comes_first = ""

    def issue(
        self, stage: Stage, document: Document, context: Context, guard: Guard
    ) -> Mapping[str, Value]:
        """Nothing is missing: the fields were made at once."""
        return {}

    def apply(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Nothing: it is accepted without being told of."""
        return Outcome(False)

    def use(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Nothing is left to do."""
        return Outcome(False)

    def revoke(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Nothing: it is refused without being told of."""
        return Outcome(False)

    def drop(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Nothing is left of it."""
        return Outcome(False)

    def waits(self, document: Document) -> Optional[Wait]:
        """Nobody is waited for."""
        return None

    def sessions(self, stage: Stage, context: Context) -> Optional[List[Session]]:
        """Nobody counts who uses it."""
        return None

    def stands(self, context: Context) -> List[str]:
        """A first value changes nothing that is there."""
        return []


class MadeElsewhere(Passive):
    """An issuer whose values somebody else makes, so that nothing is proposed here.

    :cvar no_wish: why a wish cannot be met, and what to do.
    """

    no_wish: str

    def check_generate(self, generate: Mapping[str, Any], context: Context) -> None:
        """Refuse any wish.

        :raises BadInput: there is one.
        """
        if generate:
            raise BadInput(f"keyturn_generate: {self.no_wish}")

    def propose(
        self, document: Optional[Document], generate: Mapping[str, Any], context: Context
    ) -> Dict[str, Value]:
        """Nothing: see :meth:`issue`."""
        self.check_generate(generate, context)
        return {}


def exactly(
    fields: Mapping[str, Value], wanted: FrozenSet[str], names: List[str], option: str
) -> Mapping[str, Value]:
    """The fields of a value that is adopted: all of these, and no others.

    :param names: the same ones, in the order of messages.
    :raises BadInput: when one is missing, or there is one that the issuer does not have.
    """
    if set(fields) != wanted:
        raise BadInput(f"{option}: to adopt a value, give exactly the fields {', '.join(names)}")
    return fields
