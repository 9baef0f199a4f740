# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of a request that a definition describes: paths, queries and bodies with placeholders.

``{credential}``, ``{rotation_id}`` and ``{stage.FIELD}``, with the filters of templates. Which stage is meant follows from what is
done. A secret field may stand in a body alone: addresses are written to logs.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, FrozenSet, Iterator, Mapping, Tuple, Union
from urllib.parse import quote

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._template import Template

OWN = ("credential", "rotation_id")
_STAGE = re.compile(r"\{stage\.(?=[A-Za-z_])")
_OWN = re.compile(r"\{(credential|rotation_id)(?=[|}])")
_NAMED = re.compile(r"\{\s*(?:pending|current|previous|retained)\s*[.,]")
_STRANGE = re.compile(r"\{[A-Za-z_][A-Za-z0-9_.|]*\}")


@dataclass(frozen=True)
class Fields:
    """What placeholders may name.

    :param plain: fields of a stage that may stand anywhere.
    :param secret: fields that may stand in a body.
    """

    plain: FrozenSet[str] = frozenset()
    secret: FrozenSet[str] = frozenset()


@dataclass(frozen=True)
class Text:
    """A text with placeholders."""

    template: Template

    @classmethod
    def parse(cls, text: str, where: str, fields: Fields, in_body: bool = False) -> Text:
        """Read it.

        :raises BadInput: naming the placeholder and what there is.
        """
        if _NAMED.search(text):
            raise BadInput(
                f"{where}: write {{stage.FIELD}}: which stage is meant follows from what is done"
            )
        inner = _OWN.sub(r"{pending.\1", _STAGE.sub("{pending.", text))
        try:
            template = Template.parse(inner, where)
        except BadInput as error:
            raise BadInput(error.message.replace("{pending.", "{stage.")) from None
        known = (*OWN, *sorted(fields.plain | (fields.secret if in_body else frozenset())))
        for part in template.parts:
            strange = _STRANGE.search(part) if isinstance(part, str) else None
            if strange:
                raise BadInput(
                    f"{where}: there is no placeholder {strange.group()}; there is {_shown(known)}"
                )
            if not isinstance(part, str) and part.field not in known:
                if part.field in fields.secret:
                    raise BadInput(
                        f"{where}: {{stage.{part.field}}} is secret, and addresses are written to logs; only a body may hold it"
                    )
                raise BadInput(
                    f"{where}: the stage has no field '{part.field}' then; there is {_shown(known)}"
                )
        return cls(template)

    @property
    def names_rotation(self) -> bool:
        """Whether the rotation id stands in it."""
        return self.template.uses("pending", "rotation_id")

    def render(self, stage: Stage, credential: str) -> Secret:
        """The text for a stage.

        :raises BadInput: the stage has no such field.
        """
        return self.template.render(_document(stage, credential))

    def plain(self, stage: Stage, credential: str) -> str:
        """The text for a query, which quotes it.

        :raises BadInput: the stage has no such field.
        """
        return self.render(stage, credential).reveal()

    def quoted(self, stage: Stage, credential: str) -> str:
        """The text as a part of an address, each value quoted.

        :raises BadInput: a value is empty or would name another place.
        """
        document, found = _document(stage, credential), []
        for part in self.template.parts:
            if isinstance(part, str):
                found.append(part)
                continue
            text = replace(self.template, parts=(part,)).render(document).reveal()
            if text in ("", ".", ".."):
                raise BadInput(
                    f"{self.template.where}: the field '{part.field}' is empty or no name; nothing is asked with such an address"
                )
            encoded = any(name == "urlencode" for name, _argument in part.filters)
            found.append(text if encoded else quote(text, safe=""))
        return "".join(found)


def _shown(names: Tuple[str, ...]) -> str:
    return ", ".join(f"{{{name}}}" if name in OWN else f"{{stage.{name}}}" for name in names)


def _document(stage: Stage, credential: str) -> Document:
    own: Mapping[str, Value] = {"credential": credential, "rotation_id": stage.rotation_id}
    shown = Stage(stage.rotation_id, "issued", {**stage.fields, **own})
    return Document("issuer", b"", pending=shown)


Tree = Union[None, bool, int, float, Text, Tuple["Tree", ...], Mapping[str, "Tree"]]


def parse_tree(value: Any, where: str, fields: Fields) -> Tree:
    """A body whose texts may have placeholders.

    :raises BadInput: as :meth:`Text.parse`.
    """
    if isinstance(value, Mapping):
        return {
            str(name): parse_tree(item, f"{where}.{name}", fields) for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return tuple(
            parse_tree(item, f"{where}[{number}]", fields) for number, item in enumerate(value)
        )
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return Text.parse(str(value), where, fields, in_body=True)


def texts_of(tree: Tree) -> Iterator[Text]:
    """Every text of a body."""
    if isinstance(tree, Text):
        yield tree
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from texts_of(item)
    elif isinstance(tree, tuple):
        for item in tree:
            yield from texts_of(item)


def render_tree(tree: Tree, stage: Stage, credential: str) -> Secret:
    """The body as JSON."""

    def plain(item: Tree) -> Any:
        if isinstance(item, Text):
            return item.render(stage, credential).reveal()
        if isinstance(item, Mapping):
            return {name: plain(inner) for name, inner in item.items()}
        return [plain(inner) for inner in item] if isinstance(item, tuple) else item

    return Secret(json.dumps(plain(tree)))
