# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sinks: the places a credential is published to, as their user defines them, and what a keyring puts into each.

Everything here is pure. The places themselves are in the modules beside this one, opened by :mod:`_open`.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._define import (
    Sink,
    parse_group,
    parse_sink,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_mark import stamp
from ansible_collections.keyturn.runbooks.plugins.module_utils._template import (
    StageAbsent,
    Template,
)


def parse_sinks(definitions: Sequence[Any], option: str = "keyturn_sinks") -> Tuple[Sink, ...]:
    """Read a credential's sinks.

    :param definitions: the list as the user wrote it.
    :param option: how messages name the list.
    :raises BadInput: for an unknown key, a wrong type, a name or a field that is there twice, two definitions of one place that
        disagree, or a template that cannot be read; the message names the sink.
    """
    sinks: List[Sink] = []
    names: List[str] = []
    for index, definition in enumerate(definitions):
        read = _parse(definition, f"{option}[{index}]")
        names += [name for name in [read[0].group, *(sink.name for sink in read)] if name]
        sinks += read
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{option}: two sinks have the name '{name}'; give each its own 'name'")
    _check_places(sinks, option)
    return tuple(sinks)


def _parse(definition: Any, where: str) -> List[Sink]:
    if not isinstance(definition, Mapping):
        raise BadInput(f"{where}: expected a mapping with 'ref' and 'template' or 'fields'")
    return (
        parse_group(definition, where) if "group" in definition else [parse_sink(definition, where)]
    )


def _check_places(sinks: Sequence[Sink], option: str) -> None:
    first: Dict[Tuple[str, ...], Sink] = {}
    fields: Dict[Tuple[str, ...], Dict[str, str]] = {}
    for sink in sinks:
        other = first.setdefault(sink.place, sink)
        if other.options != sink.options:
            names = f"'{other.name}' and '{sink.name}'"
            raise BadInput(
                f"{option}: the sinks {names} share one place but disagree about its format, dialect, mode, owner, backup or create"
            )
        for name in sink.templates:
            holder = fields.setdefault(sink.place, {}).setdefault(name, sink.name)
            if holder != sink.name:
                what = f"the field '{name}'" if name else "the whole file"
                raise BadInput(
                    f"{option}: the sinks '{holder}' and '{sink.name}' both write {what} of {sink.ref.text}"
                )


@dataclass(frozen=True)
class RenderedSink:
    """A sink with what it should hold now.

    :param fields: value by field; none for a field that should not be there.
    :param held: fields that cannot be rendered now and stay as they are, each with the reason.
    """

    sink: Sink
    fields: Mapping[str, Optional[Secret]] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether all its values exist already."""
        return all(value is None or value.known for value in self.fields.values())


_UNSHOWN = ("intended", "issued")
"""How a pending value stands before the issuer accepts it, which is before any place is written."""


def is_first(document: Optional[Document]) -> bool:
    """Whether the keyring knows no value that a place may hold: nothing was adopted, and no rotation has written to one.

    A first rotation that waits for a person may wait for days, and what others write meanwhile is not its own.
    """
    if document is None:
        return True
    pending = document.pending
    unshown = pending is None or pending.status in _UNSHOWN
    return unshown and not (document.current or document.previous)


def _render_field(document: Document, template: Template) -> Union[Secret, StageAbsent]:
    try:
        return template.render(document)
    except StageAbsent as absent:
        return absent


def _render(document: Document, sink: Sink) -> RenderedSink:
    fields: Dict[str, Optional[Secret]] = {}
    held: Dict[str, str] = {}
    for name, template in sink.templates.items():
        if sink.options.format == "log":
            template.refuse_secrets(document)
        found = _render_field(document, template)
        if isinstance(found, Secret):
            fields[name] = found
        elif sink.absent == "remove":
            fields[name] = None
        else:
            held[name] = found.message
    return RenderedSink(sink, fields, held)


def _hold(item: RenderedSink) -> RenderedSink:
    reason = (
        f"the group '{item.sink.group}' is written whole or not at all, and a part of it cannot be "
        "rendered now"
    )
    held = {name: item.held.get(name, reason) for name in item.sink.templates}
    return RenderedSink(item.sink, {}, held)


def _hold_groups(rendered: Sequence[RenderedSink]) -> Tuple[RenderedSink, ...]:
    waiting = {item.sink.group for item in rendered if item.held and item.sink.group}
    return tuple(_hold(item) if item.sink.group in waiting else item for item in rendered)


def render_sinks(document: Document, sinks: Sequence[Sink]) -> Tuple[RenderedSink, ...]:
    """What each sink should hold for this keyring. Pure.

    A field whose placeholder names no stage that is there now is held (or removed, with ``absent: remove``); a group with
    such a field is held as a whole.

    :raises BadInput: when a stage lacks a field that a template names, or the line of a log would show a secret one.
    """
    return _hold_groups([_render(document, sink) for sink in sinks])


def group_stamps(document: Document, sinks: Sequence[Sink]) -> Dict[str, str]:
    """By group, what its sinks write beside their values: the id of the rotation that these are from, and what they belong to.

    Several ids, joined by ``+``, where it shows several stages.
    """
    found: Dict[str, List[str]] = {}
    for sink in sinks:
        placeholders = [part for it in sink.templates.values() for part in it.placeholders]
        for stage in (stage for part in placeholders for stage in part.stages_there(document)):
            ids = found.setdefault(sink.group, [])
            if sink.group and stage.rotation_id not in ids:
                ids.append(stage.rotation_id)
    return {
        group: stamp("+".join(ids), document.credential, group)
        for group, ids in found.items()
        if group
    }


def digests(document: Document, rendered: Sequence[RenderedSink]) -> Dict[str, str]:
    """Per sink name, and per group name, a keyed digest of what it should hold: what a consumer's receipt is compared with.

    It begins with ``(new)`` where check mode only predicts a value, and is the same while the value will be.
    """
    parts: Dict[str, List[RenderedSink]] = {}
    for item in rendered:
        for name in sorted({item.sink.name, item.sink.group or item.sink.name}):
            parts.setdefault(name, []).append(item)
    return {name: _digest(document.salt, items) for name, items in parts.items()}


def _digest(salt: bytes, items: Sequence[RenderedSink]) -> str:
    mac = hmac.new(salt, digestmod=hashlib.sha256)
    for item in items:
        for name, value in sorted(item.fields.items()):
            text = "-" if value is None else "=" + value.reveal()
            for part in (item.sink.name, name, text):
                data = part.encode()
                mac.update(len(data).to_bytes(8, "big") + data)
    known = all(item.known for item in items)
    return f"{'hmac' if known else '(new)'}:{mac.hexdigest()[:32]}"


def requires_username(sinks: Sequence[Sink]) -> bool:
    """Whether some sink tells its readers the user name of the current stage.

    An application that is told only a password would go on with the old role after a switch to the alternate one.
    """
    return any(
        template.uses("current", "username")
        for sink in sinks
        for template in sink.templates.values()
    )


__all__ = [
    "RenderedSink",
    "Sink",
    "digests",
    "group_stamps",
    "is_first",
    "parse_sinks",
    "render_sinks",
    "requires_username",
]
