# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every issuer can do, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Protocol

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Value


@dataclass(frozen=True)
class Outcome:
    """What an operation did, or in check mode would do.

    :param facts: booleans, counts and names; never a value.
    :param before: lines for a diff, without values.
    :param after: lines for a diff, without values.
    """

    changed: bool
    facts: Mapping[str, Any] = field(default_factory=dict)
    before: List[str] = field(default_factory=list)
    after: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class Session:
    """Somebody who is logged in.

    :param address: where it comes from; ``local`` for a socket, empty when this administrator may not see it.
    :param state: as the server names it, such as ``active`` or ``idle``; empty when it may not be seen.
    :param started: when it logged in, in RFC 3339; empty when it may not be seen.
    :param sending: it presents the value now, and is not only meant to.
    :param text: what people read instead of all this, where no server's session is meant.
    """

    username: str
    pid: int
    database: str = ""
    application: str = ""
    address: str = ""
    state: str = ""
    started: str = ""
    text: str = ""
    sending: bool = False

    def __str__(self) -> str:
        if self.text:
            return self.text
        where = self.address or "address not visible"
        name = self.application or "no application name"
        return f"{self.username} pid {self.pid} in {self.database} from {where} ({name})"


@dataclass(frozen=True)
class Wait:
    """A person is waited for.

    :param what: what the person has to do, and where.
    :param since: when that began; for a value to be ended, when its grace was over.
    """

    what: str
    since: Optional[datetime]


class Issuer(Protocol):
    """Makes the stages of one credential valid, and invalid again."""

    overlap: bool
    """Whether it accepts the old and the new value together."""

    cutover: bool
    """Whether :meth:`apply` itself ends the value before, so that issuer, sinks and consumers change in one go. Never with overlap."""

    returns: bool
    """Whether a value that was replaced can be made accepted again. Not where a provider ended it for good by making another."""

    uses: bool
    """Whether :meth:`use` has anything to do."""

    senders: bool
    """Whether :meth:`sessions` tells who sends with a value now."""

    handed: bool
    """Whether a person hands the values over, so that a wrong one may be read again."""

    comes_first: str
    """Why a compromised value cannot be refused before there is another one; empty where it can."""

    secret_fields: FrozenSet[str]
    """Which fields of a stage are secret."""

    def check_generate(self, generate: Mapping[str, Any], context: Context) -> None:
        """Refuse a description of new values that cannot be meant; nothing is made.

        :raises BadInput: naming the option and what is expected.
        """

    def propose(
        self, document: Optional[Document], generate: Mapping[str, Any], context: Context
    ) -> Dict[str, Value]:
        """The fields of a new stage, made once; nothing is written. None where somebody else makes them: see :meth:`issue`."""

    def issue(
        self, stage: Stage, document: Document, context: Context, guard: Guard
    ) -> Mapping[str, Value]:
        """The fields that somebody else makes, for a stage that was written as intended.

        Whatever an earlier try left under the stage's rotation id is found and taken or ended, so that there are never two. In check
        mode nothing is made, and the fields are unknown.

        :raises Waiting: a person has to do something first.
        """

    def adopt(self, fields: Mapping[str, Value], context: Context) -> Mapping[str, Value]:
        """The fields of a stage for a value that is in use today, with what the issuer knows of it; nothing is written.

        :raises Refused: when the issuer does not accept that value.
        """

    def check(self, document: Optional[Document], context: Context) -> List[str]:
        """Every reason why a rotation could not work, each a sentence with what to do; nothing is written."""

    def apply(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Make this stage accepted."""

    def use(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """What is left to do at the issuer once the value is current, such as binding a broadcast to a new stream. Done before is fine."""

    def revoke(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Make this stage refused, and end what still uses it."""

    def drop(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Remove what is left of this stage."""

    def waits(self, document: Document) -> Optional[Wait]:
        """What a person has to do before this credential's rotation goes on; nothing is asked for that."""

    def sessions(self, stage: Stage, context: Context) -> Optional[List[Session]]:
        """Who uses this stage now; none where the issuer cannot tell."""

    def stands(self, context: Context) -> List[str]:
        """What is there although there is no keyring, and would be changed by a first value, each a sentence; nothing is written."""
