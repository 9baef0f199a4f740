# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The template language of sinks: text with placeholders that name stages and fields of a keyring.

Grammar, where everything that does not match ``placeholder`` is literal text, other braces included::

    placeholder = "{" stage *("," stage) "." field *("|" filter [":" argument]) "}"
    stage       = "pending" / "current" / "previous" / "retained"
    argument    = any text without "{", "}" and "|"

A field that a stage does not have may be a fact of it, such as ``promoted``: see :mod:`_stage_facts`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent, BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    STAGES,
    Document,
    Stage,
    fingerprint,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import (
    Secret,
    Value,
    is_known,
    reveal,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._stage_facts import (
    FACTS,
    fact_text,
    fact_value,
    is_fact,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._template_filters import EACH

NAMES = (*STAGES, "retained")
"""What may stand before the dot."""

_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_FILTER = r"\|[A-Za-z0-9_]+(?::[^{}|]*)?"
_PLACEHOLDER = re.compile(rf"\{{({_WORD}(?:,{_WORD})*)\.({_WORD})((?:{_FILTER})*)\}}")
# A brace that is clearly meant as a placeholder (it names a stage) and is none must not be published as it stands.
_NEARLY = re.compile(rf"\{{\s*(?:{'|'.join(NAMES)})\s*[.,|}}]")


class StageAbsent(Absent):
    """What a placeholder names is not there at this point of a rotation: the text cannot be rendered now."""


def _join(texts: List[str], argument: Optional[str]) -> str:
    return ("," if argument is None else argument).join(texts)


_REDUCERS = ("join", "jwks")
FILTERS = (*sorted(EACH), *_REDUCERS)


@dataclass(frozen=True)
class Placeholder:
    """One placeholder of a template.

    :param position: where its brace stands, counted from 1.
    :param filters: names with their argument, in order.
    """

    text: str
    position: int
    stages: Tuple[str, ...]
    field: str
    filters: Tuple[Tuple[str, Optional[str]], ...]

    def render(self, document: Document, where: str) -> Optional[str]:
        """Its text; none where check mode only predicts a value of it.

        :raises StageAbsent: when no stage that it names is there.
        :raises BadInput: when a stage has no such field, or there are several values and nothing joins them.
        """
        at = self.at(where)
        stages = self._stages(document, at)
        by_day = any(name == "date" for name, _argument in self.filters)
        values = [_value(stage, self.field, at, by_day) for stage in stages]
        texts = [_encodable(value, at) for value in values if is_known(value)]
        if len(texts) < len(values):
            return None
        for name, argument in self.filters:
            if name in EACH:
                texts = [EACH[name](text, at) for text in texts]
            elif name == "join":
                texts = [_join(texts, argument)]
            else:
                texts = [_jwks(stages, texts, at)]
        return texts[0]

    def identity(self, document: Document, where: str) -> Tuple[str, ...]:
        """What its text follows from, without any value: itself, and each value that it shows, in order.

        :raises StageAbsent, BadInput: as :meth:`render`.
        """
        at = self.at(where)
        names = [self.field, *(["kid"] if ("jwks", None) in self.filters else [])]
        shown = [
            _name_of(document, stage, name, at)
            for stage in self._stages(document, at)
            for name in names
        ]
        return (self.text, *shown)

    def stages_there(self, document: Document) -> List[Stage]:
        """The stages that it shows, of those that it names."""
        return [stage for name in self.stages for stage in _shown(document, name)]

    def _stages(self, document: Document, at: str) -> List[Stage]:
        stages = self.stages_there(document)
        if not stages:
            names = " or ".join(self.stages)
            raise StageAbsent(
                f"{at}: there is no {names} stage to show now (absent, without a value yet, or on its way out). "
                "Until there is one, what the sink held stays as it is"
            )
        stages = [stage for stage in stages if _is_told(stage, self.field)]
        if not stages:
            raise StageAbsent(
                f"{at}: it is not known when that value was {self.field}: it is not in use yet, or was taken over. Until it is known, what "
                "the sink held stays as it is"
            )
        if len(stages) > 1 and not any(name in _REDUCERS for name, _argument in self.filters):
            raise BadInput(
                f"{at}: {len(stages)} stages are there and nothing joins their values; end it with |join:, or |jwks"
            )
        return stages

    def at(self, where: str) -> str:
        """How a message names this placeholder."""
        return f"{where}: placeholder {self.text} at character {self.position}"


def _jwks(stages: List[Stage], texts: List[str], at: str) -> str:
    # Few templates need what this brings along.
    from ansible_collections.keyturn.runbooks.plugins.module_utils._jwks import jwks

    return jwks([(_key_id(stage, at), text) for stage, text in zip(stages, texts)], at)


def _shown(document: Document, name: str) -> List[Stage]:
    if name == "retained":
        return [stage for stage in document.retained if stage.accepted]
    stage = document.stage(name)
    return [stage] if stage is not None and stage.accepted else []


def _is_told(stage: Stage, name: str) -> bool:
    return not is_fact(stage, name) or fact_text(stage, name) is not None


def _field(stage: Stage, name: str, at: str) -> Value:
    value = stage.fields.get(name)
    if value is None:
        there = ", ".join(sorted(stage.fields)) or "none"
        raise BadInput(
            f"{at}: the credential has no field '{name}'; its fields are: {there}. Beside them there is {', '.join(FACTS)}"
        )
    return value


def _value(stage: Stage, name: str, at: str, by_day: bool = False) -> Value:
    """A field, or a fact that is known."""
    found = fact_value(stage, name, by_day) if is_fact(stage, name) else None
    return _field(stage, name, at) if found is None else found


def _name_of(document: Document, stage: Stage, name: str, at: str) -> str:
    """What tells a stage's value from every other one and shows no secret. It stays the same when the stage gets another name."""
    if is_fact(stage, name):
        return fact_text(stage, name) or ""
    value = _field(stage, name, at)
    if not isinstance(value, Secret):
        return value
    if value.known:
        return fingerprint(document.salt, name, value)
    return f"{name} of {stage.rotation_id}"


def _encodable(value: Value, at: str) -> str:
    text = reveal(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        # The error itself quotes the value.
        raise BadInput(
            f"{at}: the value is no valid Unicode text (it holds half of a surrogate pair)"
        ) from None
    return text


def _key_id(stage: Stage, at: str) -> str:
    return reveal(_field(stage, "kid", at))


def _parse_filters(text: str, at: str) -> Tuple[Tuple[str, Optional[str]], ...]:
    filters: List[Tuple[str, Optional[str]]] = []
    for part in text.split("|")[1:]:
        name, colon, argument = part.partition(":")
        if name not in FILTERS:
            raise BadInput(
                f"{at}: there is no filter '{name}'; the filters are: {', '.join(FILTERS)}"
            )
        if colon and name != "join":
            raise BadInput(
                f"{at}: the filter '{name}' takes no argument; only join does, as in |join:,"
            )
        if name == "jwks" and filters:
            raise BadInput(f"{at}: jwks must come first: it reads the public key as it is")
        filters.append((name, argument if colon else None))
    return tuple(filters)


def _parse_placeholder(match: re.Match[str], where: str) -> Placeholder:
    stages, name, filters = match.groups()
    found = Placeholder(match.group(), match.start() + 1, tuple(stages.split(",")), name, ())
    at = found.at(where)
    for stage in found.stages:
        if stage not in NAMES:
            raise BadInput(f"{at}: there is no stage '{stage}'; the stages are: {', '.join(NAMES)}")
    if len(set(found.stages)) < len(found.stages):
        raise BadInput(f"{at}: it names a stage twice")
    return Placeholder(found.text, found.position, found.stages, name, _parse_filters(filters, at))


def _check_literal(text: str, offset: int, where: str) -> None:
    match = _NEARLY.search(text)
    if match:
        raise BadInput(
            f"{where}: the brace at character {offset + match.start() + 1} names a stage but is no placeholder; expected "
            "{stage.field}, {stage,stage.field} or these with |filter or |filter:argument, without spaces"
        )


@dataclass(frozen=True)
class Template:
    """A parsed template: parse once, render for any keyring.

    :param where: how messages name it, such as ``sink 'app'``.
    :param parts: literal text and placeholders, in order.
    """

    where: str
    parts: Tuple[Union[str, Placeholder], ...]

    @classmethod
    def parse(cls, text: str, where: str) -> Template:
        """Read a template.

        :raises BadInput: for an unknown stage or filter, or a brace that names a stage and is no placeholder; the message
            names the template, the character and what there is.
        """
        parts: List[Union[str, Placeholder]] = []
        end = 0
        for match in _PLACEHOLDER.finditer(text):
            parts += [text[end : match.start()], _parse_placeholder(match, where)]
            _check_literal(text[end : match.start()], end, where)
            end = match.end()
        parts.append(text[end:])
        _check_literal(text[end:], end, where)
        return cls(where, tuple(part for part in parts if part != ""))

    @property
    def placeholders(self) -> Tuple[Placeholder, ...]:
        """What is filled in."""
        return tuple(part for part in self.parts if isinstance(part, Placeholder))

    def uses(self, stage: str, name: str) -> bool:
        """Whether some placeholder shows this field of this stage."""
        return any(stage in part.stages and part.field == name for part in self.placeholders)

    @property
    def tells_only(self) -> bool:
        """Whether it names facts of a rotation and nothing that anybody would log in with. What may be told of it, a name cannot say: see
        :mod:`_template_told`."""
        return bool(self.placeholders) and all(part.field in FACTS for part in self.placeholders)

    def refuse_secrets(self, document: Document) -> None:
        """Find out whether it shows a secret field, encoded or not.

        :raises BadInput: naming the placeholder.
        """
        for part in self.placeholders:
            there = part.stages_there(document)
            if any(isinstance(stage.fields.get(part.field), Secret) for stage in there):
                raise BadInput(
                    f"{part.at(self.where)}: '{part.field}' is secret, and a log is kept and read by many; take it out of the line"
                )

    def render(self, document: Document) -> Secret:
        """The text for this keyring. Pure. Not :attr:`Secret.known` where check mode only predicts a part of it; two such texts
        are equal if they will be.

        :raises StageAbsent: when a placeholder names nothing that is there now.
        :raises BadInput: when a stage has no such field, or several values are not joined.
        """
        texts = [
            part if isinstance(part, str) else part.render(document, self.where)
            for part in self.parts
        ]
        known = [text for text in texts if text is not None]
        if len(known) < len(texts):
            return Secret.new(self._identity(document))
        return Secret("".join(known))

    def _identity(self, document: Document) -> str:
        """What tells this text from others that are not known yet. Keyed, as fingerprints are: literal text may be secret."""
        parts = [
            part if isinstance(part, str) else part.identity(document, self.where)
            for part in self.parts
        ]
        text = json.dumps(parts).encode()
        return hmac.new(document.salt, text, hashlib.sha256).hexdigest()[:32]
