# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A YAML text as a tree whose nodes know where they stand in it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Corrupt,
    MissingLibrary,
)

SCALAR, MAPPING, LIST, ALIAS = "value", "mapping", "list", "alias"
_MOST_EVENTS = 500_000
_MOST_LEVELS = 100
_LONGEST = 1 << 20


@dataclass
class Node:
    """A part of a YAML document.

    :param start: its first character; ``end`` the one after its last.
    :param line: counted from 1.
    :param style: how a value is written: empty for plain, else a quote, ``|`` or ``>``.
    :param kind_of: what readers take a value for, such as ``str`` or ``null``; empty for what is no value.
    :param special: it has an anchor or a tag, or is an alias.
    :param flow: it is written in brackets or braces.
    """

    kind: str
    start: int
    end: int
    line: int
    column: int
    value: str = ""
    style: str = ""
    kind_of: str = ""
    special: bool = False
    flow: bool = False
    children: List[Node] = field(default_factory=list)

    @property
    def pairs(self) -> List[Tuple[Node, Node]]:
        """Keys and values of a mapping."""
        return list(zip(self.children[::2], self.children[1::2]))

    def under(self, key: str) -> Optional[Node]:
        """What is under a key of a mapping; none where there is no such key."""
        found = [value for name, value in self.pairs if name.kind == SCALAR and name.value == key]
        return found[0] if found else None


@dataclass(frozen=True)
class Tree:
    """A YAML document.

    :param root: none for an empty one.
    :param shape: all that it says, in order, to compare it with what another text says.
    """

    root: Optional[Node]
    shape: Tuple[Tuple[Any, ...], ...]


def yaml_library(where: str) -> Any:
    """PyYAML.

    :raises MissingLibrary: it is not installed where the file is.
    """
    try:
        import yaml
    except ImportError:
        raise MissingLibrary(
            f"{where}: a YAML file needs the Python library PyYAML (python3-yaml) on the host where it is, for {sys.executable}; "
            "install it there"
        ) from None
    return yaml


def resolved(yaml: Any, text: str) -> str:
    """What a plain text means to readers: ``str``, ``timestamp``, ``int``, ``bool``, ``null`` and so on."""
    tag = yaml.resolver.Resolver().resolve(yaml.nodes.ScalarNode, text, (True, False))
    return str(tag).rpartition(":")[2]


def read_tree(text: str, where: str, first_line: int = 1) -> Tree:
    """Read one YAML document.

    :param first_line: the number of the text's first line in its file.
    :raises Corrupt: when it is no YAML, or a mapping has a key twice.
    :raises BadInput: for a file of several documents, and one that is too large or nested too deeply to be read in time.
    :raises MissingLibrary: without PyYAML.
    """
    yaml = yaml_library(where)
    events = _events(yaml, text, where, first_line)
    documents = sum(isinstance(event, yaml.DocumentStartEvent) for event in events)
    if documents > 1:
        raise BadInput(
            f"{where}: the file has {documents} YAML documents, and a path leads through one; nothing was changed. Split the file"
        )
    root = _tree(yaml, events, first_line)
    _refuse_twice(root, where)
    return Tree(root, tuple(_said(event) for event in events))


def _events(yaml: Any, text: str, where: str, first_line: int) -> List[Any]:
    if len(text) > _LONGEST:
        raise BadInput(f"{where}: the file has more than 1 MiB; name a smaller one")
    events: List[Any] = []
    levels = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            events.append(event)
            levels += isinstance(event, yaml.CollectionStartEvent)
            levels -= isinstance(event, yaml.CollectionEndEvent)
            if levels > _MOST_LEVELS:
                raise BadInput(
                    f"{where}: more than {_MOST_LEVELS} levels in each other (line {event.start_mark.line + first_line}); "
                    "nothing was changed. Name a simpler file"
                )
            if len(events) > _MOST_EVENTS:
                raise BadInput(f"{where}: more than {_MOST_EVENTS} values; name a smaller file")
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The error itself quotes the text.
        mark = getattr(error, "problem_mark", None)
        at = f" (line {mark.line + first_line})" if mark else ""
        reason = "" if mark else ", or has characters that YAML does not allow"
        raise Corrupt(
            f"{where}: this is no YAML{at}{reason}; nothing was changed. Mend it, or name another place"
        ) from None
    return events


def _said(event: Any) -> Tuple[Any, ...]:
    names = ("anchor", "tag", "implicit", "value", "style", "flow_style", "explicit", "version")
    return (type(event).__name__, *(repr(getattr(event, name, None)) for name in names))


def _node(yaml: Any, event: Any, first_line: int) -> Node:
    start, end = event.start_mark, event.end_mark
    special = bool(event.anchor or getattr(event, "tag", None))
    place = (start.index, end.index, start.line + first_line, start.column)
    if isinstance(event, yaml.AliasEvent):
        return Node(ALIAS, *place, special=True)
    if isinstance(event, yaml.ScalarEvent):
        style = event.style or ""
        means = "str" if style else resolved(yaml, event.value)
        return Node(SCALAR, *place, event.value, style, means, special)
    kind = MAPPING if isinstance(event, yaml.MappingStartEvent) else LIST
    return Node(kind, *place, special=special, flow=bool(event.flow_style))


def _tree(yaml: Any, events: Sequence[Any], first_line: int) -> Optional[Node]:
    root: Optional[Node] = None
    opened: List[Node] = []
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            opened.pop().end = event.end_mark.index
        elif isinstance(event, yaml.NodeEvent):
            node = _node(yaml, event, first_line)
            if opened:
                opened[-1].children.append(node)
            else:
                root = node
            if node.kind in (MAPPING, LIST):
                opened.append(node)
    return root


def _refuse_twice(root: Optional[Node], where: str) -> None:
    left = [root] if root else []
    while left:
        node = left.pop()
        left += node.children
        lines: Dict[Tuple[str, str], int] = {}
        for key, _value in node.pairs if node.kind == MAPPING else ():
            name = (key.kind, key.value) if key.kind == SCALAR else (key.kind, str(key.start))
            if name in lines:
                # Its name may be a value: there are files whose keys are those of streams.
                raise Corrupt(
                    f"{where}: a mapping has one key twice (lines {lines[name]} and {key.line}), and readers disagree about which of them "
                    "counts; nothing was changed. Take one out"
                )
            lines[name] = key.line
