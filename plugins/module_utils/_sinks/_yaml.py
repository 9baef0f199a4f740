# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values in a YAML file, or in the front matter of a Markdown file, as a place for sinks.

Nothing is written anew: PyYAML tells where a value stands, these characters alone are replaced, and the result is read again and
compared with what was there. So comments, order, quotes, blanks and line ends stay to the byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Changes
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._yaml_path import (
    path_parts,
    path_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._yaml_scalar import written
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._yaml_tree import (
    ALIAS,
    MAPPING,
    SCALAR,
    Node,
    Tree,
    read_tree,
    yaml_library,
)

_FRONT = re.compile(r"\A(\ufeff?---[ \t]*\r?\n)((?:.*\n)*?)(?:---|\.\.\.)[ \t]*\r?(?:\n|\Z)")
_MERGE = "<<"


@dataclass(frozen=True)
class Spot:
    """Where a path leads.

    :param node: the value; none where only its key is missing.
    :param parent: the mapping that would get the key.
    """

    path: str
    node: Optional[Node]
    parent: Optional[Node] = None
    key: str = ""

    @property
    def identity(self) -> Tuple[int, str]:
        """The same for two paths that lead to one place."""
        if self.node is not None or self.parent is None:
            return (self.node.start if self.node else -1, "")
        return (self.parent.start, self.key)


def _next(node: Node, part: str, so_far: str, where: str) -> Optional[Node]:
    """What is one part further; none for a key that a mapping does not have."""
    at = f"{where}: at '{so_far}'" if so_far else f"{where}: at the top"
    if node.kind == ALIAS or node.special:
        raise BadInput(
            f"{at} is an alias, or a value with an anchor or a tag (line {node.line}): it may count in other places, too; nothing was "
            "changed. Write it out, or name another path"
        )
    if node.kind == MAPPING:
        return node.under(part)
    if node.kind == SCALAR:
        raise BadInput(
            f"{at} is a single value (line {node.line}) and nothing that has '{part}' in it; correct the path"
        )
    if part.isdigit():
        if int(part) >= len(node.children):
            raise BadInput(
                f"{at} the list has {len(node.children)} items, counted from 0, and none is '{part}'; correct the path"
            )
        return node.children[int(part)]
    key, equals, value = part.partition("=")
    if not equals:
        raise BadInput(
            f"{at} is a list (line {node.line}); expected the number of an item, or key=value, instead of '{part}'"
        )
    return _chosen(node, key, value, at)


def _chosen(node: Node, key: str, value: str, at: str) -> Node:
    mappings = [item for item in node.children if item.kind == MAPPING]
    named = [(item, item.under(key)) for item in mappings]
    found = [item for item, name in named if name and name.kind == SCALAR and name.value == value]
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadInput(
            f"{at} no item of the list has '{value}' under '{key}'; add the item, or correct the path"
        )
    lines = " and ".join(str(item.line) for item in found)
    raise BadInput(
        f"{at} {len(found)} items of the list have '{value}' under '{key}' (lines {lines}); name one of them by its number"
    )


def _find(tree: Tree, path: str, where: str) -> Spot:
    """Follow a path.

    :raises BadInput: when it leads nowhere, or to something else than one value.
    """
    parts = path_parts(path, where)
    node = tree.root
    if node is None:
        raise BadInput(
            f"{where}: there is nothing in it, so '{path}' cannot be set; make the file with its mappings first"
        )
    for index, part in enumerate(parts):
        so_far = path_text(parts[:index])
        following = _next(node, part, so_far, where)
        if following is None:
            if index == len(parts) - 1:
                return Spot(path, None, node, part)
            at = f"at '{so_far}'" if so_far else "at the top"
            raise BadInput(
                f"{where}: {at} there is no '{part}', so '{path}' cannot be set; make it first, or correct the path"
            )
        node = following
    _check_value(node, path, where)
    return Spot(path, node)


def _check_value(node: Node, path: str, where: str) -> None:
    if node.kind == ALIAS or node.special:
        raise BadInput(
            f"{where}: '{path}' is an alias, or has an anchor or a tag (line {node.line}); nothing was changed. Write it as a plain value"
        )
    if node.kind != SCALAR:
        raise BadInput(
            f"{where}: '{path}' is a {node.kind} (line {node.line}) and no single value; go on to one in it"
        )
    if node.style in ("|", ">"):
        raise BadInput(
            f"{where}: '{path}' is a block of lines (line {node.line}); nothing was changed. Write it on one line first"
        )


def _text(node: Node) -> Optional[Secret]:
    """A value; none for nothing (``null``), which equals no text."""
    return None if node.kind_of == "null" else Secret(node.value)


class YamlCodec:
    """Reads and changes single values of a YAML file.

    :param front_matter: they are in the block between two lines of ``---`` at the top of a Markdown file.
    """

    def __init__(self, front_matter: bool = False) -> None:
        self._front_matter = front_matter

    def check(self, changes: Changes, where: str) -> None:
        """Refuse paths that are none, and values that cannot be written.

        :raises BadInput: naming the path.
        """
        for name, value in changes.items():
            path_parts(name, where)
            try:
                (value.reveal() if value else "").encode()
            except UnicodeEncodeError:
                raise BadInput(
                    f"{where}: '{name}': the value is no UTF-8 text; encode it first"
                ) from None

    def _block(self, text: str, where: str) -> Tuple[int, int]:
        """Where the YAML is in the text."""
        if not self._front_matter:
            return 0, len(text)
        found = _FRONT.match(text)
        if not found:
            raise BadInput(
                f"{where}: there is no front matter; expected '---' as the first line, YAML, and '---' on a line of its own behind it"
            )
        return found.start(2), found.end(2)

    def _tree(self, text: str, where: str) -> Tuple[Tree, int]:
        start, end = self._block(text, where)
        return read_tree(text[start:end], where, 1 + text.count("\n", 0, start)), start

    def _spots(self, text: str, names: Tuple[str, ...], where: str) -> List[Spot]:
        tree, _start = self._tree(text, where)
        spots = [_find(tree, name, where) for name in names]
        known: Dict[Tuple[int, str], str] = {}
        for spot in spots:
            other = known.setdefault(spot.identity, spot.path)
            if other != spot.path:
                raise BadInput(
                    f"{where}: '{other}' and '{spot.path}' lead to one value; leave one of them out"
                )
        return spots

    def fields(self, text: str, names: Tuple[str, ...], where: str) -> Dict[str, Optional[Secret]]:
        """The values that are there.

        :raises Corrupt, BadInput, MissingLibrary: as the file and the paths give cause.
        """
        spots = self._spots(text, names, where)
        return {spot.path: _text(spot.node) for spot in spots if spot.node is not None}

    def notes(self, text: str, names: Tuple[str, ...]) -> Tuple[str, ...]:
        """Nothing."""
        return ()

    def edit(self, text: str, changes: Mapping[str, Optional[str]], where: str) -> Optional[str]:
        """The new text of the file.

        :raises Corrupt, BadInput, MissingLibrary: as :meth:`fields`, or when a key cannot be added safely.
        """
        if not text.strip():
            raise BadInput(
                f"{where}: the file is not there, or empty; make it with its mappings first: only values are set here"
            )
        self._spots(text, tuple(changes), where)
        for name, value in changes.items():
            if value is not None:
                text = self._edit_one(text, name, value, where)
        return text

    def _edit_one(self, text: str, name: str, value: str, where: str) -> str:
        tree, offset = self._tree(text, where)
        spot = _find(tree, name, where)
        yaml = yaml_library(where)
        if spot.node is not None:
            start, end = spot.node.start + offset, spot.node.end + offset
            put = written(yaml, value, spot.node.style, spot.node.kind_of)
            # A key without a value has no place of its own, but the one right behind its colon.
            put = f" {put}" if start == end else put
        else:
            key = written(yaml, spot.key)
            line = f"{key}: {written(yaml, value)}"
            start, put = _new_line(text, offset, spot, line, where)
            end = start
        after = text[:start] + put + text[end:]
        self._check_same(tree, after, spot, value, where)
        return after

    def _check_same(self, before: Tree, text: str, spot: Spot, value: str, where: str) -> None:
        """Make sure that nothing but this value is another one.

        :raises BadInput: when something else would be.
        """
        after, _offset = self._tree(text, where)
        found = _find(after, spot.path, where).node
        added = spot.node is None
        pairs = enumerate(zip(before.shape, after.shape))
        first = next((index for index, (old, new) in pairs if old != new), len(before.shape))
        # What follows the one value, or the new key with it, is as it was.
        old, new = (first, first + 2) if added else (first + 1, first + 1)
        kept = before.shape[old:] == after.shape[new:]
        if found is None or found.value != value or not kept:
            raise BadInput(
                f"{where}: '{spot.path}' cannot be set without another change to the file; nothing was changed. Set it by hand once"
            )


def _new_line(text: str, offset: int, spot: Spot, line: str, where: str) -> Tuple[int, str]:
    """Where a new key goes, and what is put there: on a line of its own, behind the last single value of its mapping."""
    parent = spot.parent
    fits = [
        value
        for key, value in (parent.pairs if parent and parent.kind == MAPPING else ())
        if value.kind == SCALAR and value.style not in ("|", ">")
    ]
    merged = bool(parent and parent.under(_MERGE))
    if parent is None or parent.flow or merged or not fits:
        raise BadInput(
            f"{where}: '{spot.path}' is not there, and where it would go is not clear (its mapping is in braces, merges another, or has "
            "no single value); add the key by hand once, with any value"
        )
    first = text.rfind("\n", 0, parent.start + offset) + 1
    if "\t" in text[first : parent.start + offset]:
        raise BadInput(
            f"{where}: line {parent.line} is indented by a tab, so '{spot.path}' cannot be added; add the key by hand once"
        )
    end = "\r\n" if "\r\n" in text else "\n"
    new = " " * parent.column + line
    stop = text.find("\n", fits[-1].end + offset)
    return (len(text), end + new) if stop < 0 else (stop + 1, new + end)
