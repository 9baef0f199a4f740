# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer ``generic_http``: a platform whose HTTP API is described in data.

============  ==========================================================================================
login         ``base_url``; ``token`` (a reference to a bearer token) or ``headers``; ``timeout``, ``validate_certs``, ``ca_path``
overlap       whether the platform accepts the old and the new key together
returns       whether a key that was replaced can be used again; by default as overlap
issue         the request that makes a key, where the answer has it, and how it is found again
apply         a request that has a key accepted, where that is needed
revoke        the request that ends a key
check         a request that shows that the login works
============  ==========================================================================================

A request has ``method``, ``path``, ``query``, ``body`` and ``status``; see docs/stream-issuers.md. A stage has the field ``key``
(secret) and those of ``issue.fields``.
"""

from __future__ import annotations

from typing import Any, FrozenSet, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Outcome
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._generic_api import (
    Key,
    Platform,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._generic_definition import (
    KEY,
    Call,
    Definition,
    parse_definition,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._http_api import Uncertain
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._only_one import OnlyOne
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._passive import (
    MAYBE_ENDED,
    MadeElsewhere,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value

_NO_ROTATION = "none"
_LOOKS = "Run again: the next run looks what came of it first"
_RESETS = "Run again: the next run has a key made anew, which ends every other one"
_BY_HAND = "Look at the platform for a key that nobody knows and end it there, then run again"


class GenericHttp(MadeElsewhere):
    """See the table at the top of this file."""

    no_wish = "the platform makes the key; say what it shall be like in keyturn_issuer.issue.body"
    cutover = False
    secret_fields: FrozenSet[str] = frozenset({KEY})

    def __init__(self, definition: Definition) -> None:
        self._own = definition
        self.overlap, self.returns = definition.overlap, definition.returns
        self._names = (KEY, *definition.fields)

    @classmethod
    def from_definition(
        cls, definition: Mapping[str, Any], context: Context, option: str
    ) -> GenericHttp:
        """The issuer that a ``keyturn_issuer`` describes.

        :raises BadInput: naming the key and what is expected.
        """
        return cls(parse_definition(definition, option))

    def issue(
        self, stage: Stage, document: Document, context: Context, guard: Guard
    ) -> Mapping[str, Value]:
        """The key of this rotation; made if there is none.

        :raises KeyturnError: as the API's answers give cause.
        """
        if context.check_mode:
            return {name: Secret.new() for name in self._names}
        platform, find = Platform(self._own, document.credential, context), self._own.find
        if find is None:
            return self._issue_blindly(platform, stage, guard).values
        made = OnlyOne[Key](
            look=lambda: platform.named(find, stage),
            make=lambda: platform.issue(stage, guard, _LOOKS),
            end=lambda key: self._end(platform, stage, key, guard),
            usable=lambda key: key.key is not None,
            same=_same,
            tries=platform.tries,
        ).get()
        return made.values

    def _issue_blindly(self, platform: Platform, stage: Stage, guard: Guard) -> Key:
        """Where nothing can be found again: harmless where a new key ends the others, and accepted elsewhere."""
        try:
            return platform.issue(stage, guard, _BY_HAND if self.overlap else _RESETS)
        except Uncertain as doubt:
            raise doubt.problem from None

    def _end(self, platform: Platform, stage: Stage, key: Key, guard: Guard) -> None:
        revoke = self._need_revoke()
        shown = Stage(stage.rotation_id, "issued", key.values)
        platform.ask(revoke, "end a key", shown, guard)

    def _need_revoke(self) -> Call:
        if self._own.revoke is None:
            raise BadInput(f"{self._own.option}.revoke: missing; tell how a key is ended")
        return self._own.revoke

    def adopt(self, fields: Mapping[str, Value], context: Context) -> Mapping[str, Value]:
        """The fields of a key in use: looked up by it where the platform shows keys, else as they are given.

        :raises Refused: the platform lists no such key.
        """
        find, key = self._own.find, fields.get(KEY)
        if set(fields) == set(self._names):
            return fields
        if set(fields) != {KEY} or not isinstance(key, Secret) or find is None or find.key is None:
            raise BadInput(
                f"{self._own.option}: to adopt a key, give the fields {', '.join(self._names)}"
            )
        platform = Platform(self._own, "", context)
        for _name, found in platform.listed(find, Stage(_NO_ROTATION, "observed", {})):
            if found.key == key:
                return found.values
        raise Refused(
            f"{self._own.option}: the platform lists no such key; give the key in use, and check whose keys the login sees"
        )

    def check(self, document: Optional[Document], context: Context) -> List[str]:
        """The reasons why no key could be made, as far as reading tells them."""
        own, stage = self._own, Stage(_NO_ROTATION, "intended", {})
        try:
            platform = Platform(own, document.credential if document else "", context)
            if own.check:
                platform.ask(own.check, "check the login", stage)
            if own.find:
                next(platform.listed(own.find, stage), None)
        except BadInput:
            raise
        except KeyturnError as error:
            return [error.message]
        return []

    def apply(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Have the platform accept this key, where it needs to be told."""
        own = self._own
        if own.apply is None:
            return Outcome(False)
        if not context.check_mode:
            platform = Platform(own, document.credential, context)
            platform.ask(own.apply, "have the key accepted", stage, guard)
        return Outcome(True)

    def revoke(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """End this key; for a stage without one, every key that bears its rotation id.

        :raises Refused: another stage has it.
        """
        own = self._own
        if own.revoke is None or not (stage.fields or own.find):
            self._warn_of_unknown(stage, document, context)
            return Outcome(False)
        self._refuse_shared(stage, document)
        platform = Platform(own, document.credential, context)
        found = [Key({}, None)]
        if not stage.fields and own.find:
            found = platform.named(own.find, stage)
        ended = 0
        for key in found:
            shown = Stage(stage.rotation_id, "issued", key.values) if key.fields else stage
            if context.check_mode:
                ended += 1
                continue
            answer = platform.ask(own.revoke, "end the key", shown, guard)
            ended += answer.status not in own.revoke.gone
        return Outcome(ended > 0, {"ended": ended})

    def _warn_of_unknown(self, stage: Stage, document: Document, context: Context) -> None:
        if not stage.fields:
            what = _BY_HAND if self.overlap else MAYBE_ENDED
            context.warn(
                f"{document.credential}: whether the platform made a key for rotation {stage.rotation_id} is not known. {what}"
            )

    def _refuse_shared(self, stage: Stage, document: Document) -> None:
        names = tuple(self._own.fields) or (KEY,)
        for which in ("current", "previous", "pending"):
            other = document.stage(which)
            if not other or other.rotation_id == stage.rotation_id or not stage.fields:
                continue
            if all(other.fields.get(name) == stage.fields.get(name) for name in names):
                raise Refused(
                    f"the key of rotation {stage.rotation_id} is not ended: the {which} stage of {document.credential} has it as well; "
                    "finish or undo that rotation first"
                )


def _same(one: Key, other: Key) -> bool:
    return one.fields == other.fields if one.fields else one.key == other.key
