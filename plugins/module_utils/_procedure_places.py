# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of sinks and consumers where a delivery failed half way: which have the value in use, and which may not have it."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import parse_consumers
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._gate_port import some
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Params
from ansible_collections.keyturn.runbooks.plugins.module_utils._receipts import behind
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import Sink, parse_sinks

Names = Tuple[str, ...]


def every_sink(params: Mapping[str, Any]) -> Names:
    """The names of all sinks."""
    return tuple(sink.name for sink in parse_sinks(params["sinks"]))


def of_other_hosts(params: Mapping[str, Any]) -> Names:
    """The names of the sinks that are not written from here."""
    return tuple(sink.name for sink in parse_sinks(params["sinks"]) if sink.host)


def left_elsewhere(params: Mapping[str, Any], found: Mapping[str, Any]) -> Names:
    """The sinks that other hosts may not have written.

    :param found: what the role tells of them: a failure, and the sinks that it kept from being written, where that is known.
    """
    if not found["failure"]:
        return ()
    return tuple(found["unwritten"]) or of_other_hosts(params)


def _split(names: Sequence[str], left: Sequence[str]) -> Tuple[Names, Names]:
    return tuple(name for name in names if name not in left), tuple(left)


def _listed(what: str, names: Names) -> List[str]:
    return [f"{what}{'s' * (len(names) > 1)} {some(names)}"] if names else []


def _consumers(params: Params, document: Document, sinks: Sequence[Sink]) -> Tuple[Names, Names]:
    known = [item for item in parse_consumers(params["consumers"]) if item.type != "none"]
    late = {item.name for item in behind(document, sinks, known)}
    names = [item.name for item in known]
    return _split(names, [name for name in names if name in late])


def where_it_is(params: Params, context: Context, unbrought: Optional[Sequence[str]]) -> str:
    """One sentence, which ends with a full stop and a space; empty where nothing is known, and of a dry run.

    :param unbrought: the sinks that may not hold the value in use; none where nobody looked.
    """
    if context.check_mode or unbrought is None:
        return ""
    try:
        document = open_keyring(params, context).document
        if document is None or document.current is None:
            return ""
        sinks = parse_sinks(params["sinks"])
        written, left = _split([sink.name for sink in sinks], unbrought)
        told, late = _consumers(params, document, sinks)
    except KeyturnError:
        # What is told is the failure; this only adds to it.
        return ""
    has = " and ".join(_listed("sink", written) + _listed("consumer", told))
    lacks = " and ".join(_listed("sink", left) + _listed("consumer", late))
    value = f"The value of rotation {document.current.rotation_id}"
    if not (has and lacks):
        return (
            f"{value} {'is in' if has else 'may not be in'} {has or lacks}. "
            if has or lacks
            else ""
        )
    return f"{value} is in {has}; it may not be in {lacks}. "
