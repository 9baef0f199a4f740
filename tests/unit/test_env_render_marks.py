# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation's id in the description of a parameter, and which id the sinks of a group write."""

from __future__ import annotations

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import (
    group_rotations,
    parse_sinks,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_mark import (
    LONGEST,
    marked,
    rotation_of,
)


def test_a_mark_is_of_one_version_and_leaves_the_description() -> None:
    first = marked("of the app", "r1", 3, "sink")
    assert first.startswith("of the app ")
    assert (rotation_of(first, 3), rotation_of(first, 4)) == ("r1", "")
    second = marked(first, "r2", 4, "sink")
    assert second.startswith("of the app ")
    assert second.count("keyturn") == 1
    assert (rotation_of(second, 4), rotation_of(second, 3)) == ("r2", "")


@pytest.mark.parametrize(
    "text",
    ["", "of the app", "[keyturn rotation r1 version x]", "[keyturn rotation r1 version 1] of us"],
)
def test_what_is_no_mark_tells_no_rotation(text: str) -> None:
    assert rotation_of(text, 1) == ""


def test_a_description_without_room_is_named() -> None:
    with pytest.raises(BadInput, match="leaves no room"):
        marked("x" * LONGEST, "r1", 1, "sink")


def group(*templates: str) -> list[dict[str, object]]:
    sinks = [
        {"ref": f"ref+awsssm://app/{number}", "template": text}
        for number, text in enumerate(templates)
    ]
    return [{"name": "pair", "group": sinks}]


def stage(rotation: str, status: str) -> Stage:
    return Stage(rotation, status, {"id": Secret("i"), "key": Secret("k")}, "hash")


def test_all_sinks_of_a_group_write_the_same_id() -> None:
    current, pending = stage("r1", "observed"), stage("r2", "applied")
    document = Document("app", bytes(16), current=current, pending=pending)
    one = parse_sinks(group("{current.id}", "{current.key}"))
    both = parse_sinks(group("{current.id}", "{current,pending.key|join:,}"))
    alone = parse_sinks([{"ref": "ref+awsssm://app/x", "template": "{current.key}"}])
    assert group_rotations(document, one) == {"pair": "r1"}
    assert group_rotations(document, both) == {"pair": "r1+r2"}
    assert group_rotations(document, alone) == {}
