# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer ``operator``: a person makes the value in a dashboard, and hands it over by a reference.

============  ==========================================================================================
values        field → reference to where the person puts the new value, such as ``{key: 'ref+file:///root/new.key'}``
overlap       whether the old value stays accepted beside the new one until it is ended by hand. ``false``: making the
              new one ends the old one in that moment, as a reset does
platform      a platform whose dashboard is known here: ``youtube`` or ``twitch``
make          where to click to make a new value; what is known of the platform without it
end           where to click to end the old one; needed with overlap where the platform is not known
============  ==========================================================================================

A run writes the intention, and stops until the value is there: the same command goes on. Nobody is waited for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Dict, FrozenSet, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    Waiting,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Outcome, Wait
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._passive import (
    MAYBE_ENDED,
    MadeElsewhere,
    exactly,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import (
    as_flag,
    refuse_unknown,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

_KEYS = ("type", "values", "overlap", "platform", "make", "end")
_STRANGE = re.compile(r"[^!-~]")


@dataclass(frozen=True)
class _Ways:
    """Where to click.

    :param beside: makes another value beside the one in use; empty where there is no such thing.
    :param reset: makes a new value that ends the one in use.
    :param end: ends an old value.
    """

    beside: str
    reset: str
    end: str


_PLATFORMS: Mapping[str, _Ways] = MappingProxyType(
    {
        "twitch": _Ways(
            "",
            "https://dashboard.twitch.tv, Settings, Stream, Primary Stream Key: Reset",
            "",
        ),
        "youtube": _Ways(
            "https://studio.youtube.com, Go live, Stream, Select stream key: Create new stream key",
            "https://studio.youtube.com, Go live, Stream, Stream key: Reset",
            "https://studio.youtube.com, Go live, Stream, Stream key of the old one: Reset, which makes the value that it had invalid",
        ),
    }
)


def _text(definition: Mapping[str, Any], key: str, option: str) -> str:
    value = definition.get(key, "")
    if not isinstance(value, str):
        raise BadInput(f"{option}.{key}: expected a text that tells a person where to click")
    return " ".join(value.split())


def _values(definition: Mapping[str, Any], option: str) -> Dict[str, str]:
    given = definition.get("values")
    if not isinstance(given, Mapping) or not given:
        raise BadInput(
            f"{option}.values: expected field and reference to where a person puts the new value, such as {{key: 'ref+file:///root/new.key'}}"
        )
    for name, text in given.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise BadInput(
                f"{option}.values: a field's name has letters, digits and underscores, such as key"
            )
        parse_reference(str(text), f"{option}.values.{name}")
    return {str(name): str(text) for name, text in given.items()}


def _ways(definition: Mapping[str, Any], overlap: bool, option: str) -> Dict[str, str]:
    """Where a person makes and ends a value.

    :raises BadInput: nobody could know it.
    """
    platform = _text(definition, "platform", option)
    known = _PLATFORMS.get(platform.lower(), _Ways("", "", ""))
    if overlap and known.reset and not known.beside:
        raise BadInput(
            f"{option}.overlap: {platform} ends the key in use when it makes a new one; say overlap: false"
        )
    make = _text(definition, "make", option) or (known.beside if overlap else known.reset)
    end = _text(definition, "end", option) or known.end
    names = ", ".join(sorted(_PLATFORMS))
    if not make:
        raise BadInput(
            f"{option}.make: missing; tell where a person makes a new value, or name a platform that is known ({names})"
        )
    if overlap and not end:
        raise BadInput(
            f"{option}.end: missing; tell where a person ends the old value, or name a platform that is known ({names})"
        )
    return {"make": make, "end": end}


class Operator(MadeElsewhere):
    """See the table at the top of this file."""

    no_wish = "a person makes the value of this issuer; leave it out"
    cutover = False
    uses = handed = True

    def __init__(
        self, values: Mapping[str, str], overlap: bool, ways: Mapping[str, str], option: str
    ) -> None:
        self._values, self._ways, self._option = values, ways, option
        self.overlap = self.returns = overlap
        self.secret_fields: FrozenSet[str] = frozenset(values)

    @classmethod
    def from_definition(
        cls, definition: Mapping[str, Any], context: Context, option: str
    ) -> Operator:
        """The issuer that a ``keyturn_issuer`` describes.

        :raises BadInput: naming the key and what is expected.
        """
        refuse_unknown(definition, _KEYS, option)
        if "overlap" not in definition:
            raise BadInput(
                f"{option}.overlap: missing; true where the old value stays accepted until a person ends it, false where making a new "
                "one ends it"
            )
        overlap = as_flag(definition["overlap"], f"{option}.overlap")
        values = _values(definition, option)
        return cls(values, overlap, _ways(definition, overlap, option), option)

    def propose(
        self, document: Optional[Document], generate: Mapping[str, Any], context: Context
    ) -> Dict[str, Value]:
        """Nothing yet: see :meth:`issue`."""
        return {}

    def issue(
        self, stage: Stage, document: Document, context: Context, guard: Guard
    ) -> Mapping[str, Value]:
        """What the person put there.

        :raises Waiting: nothing is there yet, or still a value that is known, or one that was abandoned.
        :raises BadInput: what is there can be no key.
        """
        found = {name: self._given(name, document, context) for name in self._values}
        guard()
        return {name: Secret.new() for name in found} if context.check_mode else found

    def _given(self, name: str, document: Document, context: Context) -> Secret:
        option, text = f"{self._option}.values.{name}", self._values[name]
        place = self._place(name)
        try:
            value = resolve(text, context, option).reveal().strip()
        except Absent:
            value = ""
        if not value:
            raise self._waiting(document, f"{place} holds no value yet", context)
        for kept, which in ((document.current, "in use"), (document.previous, "before it")):
            if kept and kept.secret(name) == Secret(value):
                why = f"{place} holds the value {which}, and no new one"
                raise self._waiting(document, why, context)
        tried = document.was_abandoned(name, Secret(value), context.now())
        if tried:
            why = f"{place} holds the value that was tried and abandoned on {format_time(tried.at)}, and no new one"
            raise self._waiting(document, why, context, tried=True)
        if _STRANGE.search(value):
            raise BadInput(
                f"{option}: {place} holds a value with a space, a line break or a letter beyond ASCII in it; put the value alone there"
            )
        return Secret(value)

    def _waiting(
        self, document: Document, why: str, context: Context, tried: bool = False
    ) -> Waiting:
        if context.check_mode:
            context.warn(
                f"{document.credential}: this is a dry run: make no value for it. Run the playbook without --check first, which asks every "
                "gate and tells when"
            )
        again = ". Where the one that is there is right after all, run it with -e keyturn_force=true, which takes it"
        return Waiting(
            f"{document.credential}: {why}. {self._make(document, tried)}. Put it there, in a file of mode 0600 where it is one, and run "
            f"the same playbook again: it goes on from here{again * tried}"
        )

    def _make(self, document: Document, tried: bool) -> str:
        """Where a value is made, and what that ends.

        :param tried: the one that is there is known, and is not meant.
        """
        before = "in use" if document.current else "before it"
        ends = "" if self.overlap else f", which ends the one {before}"
        if document.current and document.current.ended:
            other = "another one that" if tried else "the one that"
            ends = f" (by the keyring the one in use has ended), or take {other} was made then"
        return f"Make a new value{ends}: {self._ways['make']}"

    def waits(self, document: Document) -> Optional[Wait]:
        """The person who makes a value, or ends the old one."""
        pending, previous = document.pending, document.previous
        if pending and pending.status == "intended":
            return Wait(self._wanted(document), pending.made)
        if self.overlap and previous and previous.status == "retiring":
            what = f"{self._end(previous, document)}. Then run retire_due, which proves that it is refused"
            return Wait(what, previous.retire_after)
        return None

    def _wanted(self, document: Document) -> str:
        places = " and ".join(map(self._place, self._values))
        if self.overlap:
            return f"{self._make(document, False)}. Put it there: {places}. Then run the same playbook again"
        # Nobody is sent to a reset by what asks no gate, and a value that is known as ended may be on the air all the same.
        ends = " Making it ends the one in use." if document.current else ""
        return (
            f"A new value has to be made and put there: {places}.{ends} Run the same playbook first, which asks every gate and says where "
            "to make it"
        )

    def _end(self, stage: Stage, document: Document) -> str:
        """Which of two values a person ends: nothing of either is shown, so they are told apart by their age."""
        kept, named = document.current, f"{_made(stage)} (rotation {stage.rotation_id})"
        if kept is None:
            return f"End the value {named}: {self._ways['end']}"
        # What was there before there was a keyring is older than anything that was made since.
        older = kept.made is not None and (stage.made is None or stage.made < kept.made)
        one, other = ("older", "newer") if older else ("newer", "older")
        return f"End the {one} of the two values, {named}: {self._ways['end']}. The {other} one, {_made(kept)}, is in use and stays"

    def adopt(self, fields: Mapping[str, Value], context: Context) -> Mapping[str, Value]:
        """The fields of a stage for values that are in use: those that were given.

        :raises BadInput: when one is missing, or there is one that the issuer does not have.
        """
        return exactly(fields, self.secret_fields, sorted(self._values), self._option)

    def check(self, document: Optional[Document], context: Context) -> List[str]:
        """Nobody can be asked."""
        return []

    def use(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Nothing is left to do here; where the person's copy of the value is still there, they are told to remove it."""
        left = [self._place(name) for name in self._values if self._is_left(name, stage, context)]
        if left and not context.check_mode:
            context.warn(
                f"{document.credential}: {' and '.join(left)} still holds the value that is in use now, and the keyring has it too: remove "
                "it there"
            )
        return Outcome(False)

    def _place(self, name: str) -> str:
        return parse_reference(self._values[name], f"{self._option}.values.{name}").text

    def _is_left(self, name: str, stage: Stage, context: Context) -> bool:
        """Whether a value still stands where the person put it; what cannot be read is told by whoever needs it."""
        try:
            found = resolve(self._values[name], context, f"{self._option}.values.{name}").reveal()
        except KeyturnError:
            return False
        return stage.secret(name) == Secret(found.strip())

    def revoke(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Tell the person to end it; whether that was done is what the proof of the refusal finds out."""
        dry = "this is a dry run: end nothing for it. The run will say: " * context.check_mode
        if self.overlap and stage.fields:
            ends = self._end if stage.status == "retiring" else self._end_unused
            context.warn(f"{document.credential}: {dry}{ends(stage, document)}")
        current = document.current
        if not (self.overlap or stage.fields) and current and not current.ended:
            context.warn(
                f"{document.credential}: whether a person made a value for rotation {stage.rotation_id} is not known. {MAYBE_ENDED}"
            )
        return Outcome(False)

    def _end_unused(self, stage: Stage, document: Document) -> str:
        """What becomes of a value that never came into use: the text may have been wrong, or it may be handed over again."""
        kept = f". The one in use, {_made(document.current)}, stays" if document.current else ""
        return (
            f"Where a value was made for rotation {stage.rotation_id}, and it is not the one that you hand over next, end it: "
            f"{self._ways['end']}{kept}"
        )


def _made(stage: Stage) -> str:
    if stage.made is None:
        return "made before it was adopted"
    return f"made on {format_time(stage.made)[:16].replace('T', ' at ')}Z"
