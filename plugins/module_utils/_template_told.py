# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be told to everybody of a template's text: the facts of a rotation in it, and nothing else. Pure."""

from __future__ import annotations

from typing import List, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._stage_facts import FACTS, is_fact
from ansible_collections.keyturn.runbooks.plugins.module_utils._template import (
    Placeholder,
    Template,
)

HIDDEN = "…"
"""What stands for text of the template itself: whoever wrote it may have put a password there."""

_HARMLESS = frozenset(("", " ", ",", ", ", ";", "; "))
_LONGEST = 200


def _is_fact(part: Placeholder, document: Document) -> bool:
    """Whether it shows a fact of each stage that is there: a name alone does not tell, as a field comes before a fact."""
    joins = all(name != "join" or (argument or "") in _HARMLESS for name, argument in part.filters)
    return (
        joins
        and part.field in FACTS
        and all(is_fact(stage, part.field) for stage in part.stages_there(document))
    )


def shows_facts(template: Template, document: Document) -> bool:
    """Whether it shows facts of a rotation and no field of a stage. Its own text is not looked at."""
    parts = template.placeholders
    return bool(parts) and all(_is_fact(part, document) for part in parts)


def _own_texts(template: Template) -> List[Optional[str]]:
    """The template's own text by part, none for a placeholder; without the end of its last line."""
    texts = [part if isinstance(part, str) else None for part in template.parts]
    last = texts[-1] if texts else None
    return texts if last is None else [*texts[:-1], last[:-1] if last.endswith("\n") else last]


def is_public(template: Template, document: Document) -> bool:
    """Whether everybody may read its text: facts, and between them nothing that could be a secret."""
    return shows_facts(template, document) and all(
        text is None or text in _HARMLESS for text in _own_texts(template)
    )


def told_facts(template: Template, document: Document) -> str:
    """The facts in its text, in order, with ``…`` for what stands between, before and behind them.

    :return: empty where it shows anything else, or what is not known yet, or is more than a line.
    :raises KeyturnError: as :meth:`Template.render`.
    """
    if not shows_facts(template, document):
        return ""
    shown: List[str] = []
    for part, own in zip(template.parts, _own_texts(template)):
        if isinstance(part, Placeholder):
            text = part.render(document, template.where)
            if text is None:
                return ""
            shown.append(text)
        elif own is not None:
            shown.append(own if own in _HARMLESS else f" {HIDDEN} ")
    line = "".join(shown).strip()
    return line if line.isprintable() and len(line) <= _LONGEST else ""
