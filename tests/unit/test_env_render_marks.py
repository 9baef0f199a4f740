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
    group_stamps,
    parse_sinks,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_mark import (
    LONGEST,
    Mark,
    mark_of,
    marked,
    stamp,
)


def test_a_mark_is_of_one_version_and_leaves_the_description() -> None:
    one, other = (stamp(rotation, "app one", "a pair") for rotation in ("r1", "r2"))
    group = "app%20one/a%20pair"
    first = marked("of the app", one, 3, "sink")
    assert first.startswith("of the app ")
    assert mark_of(first, 3) == Mark("r1", group)
    assert mark_of(first, 4) == Mark("", group), "somebody else wrote that one"
    second = marked(first, other, 4, "sink")
    assert second.startswith("of the app ")
    assert second.count("keyturn") == 1
    assert mark_of(second, 4) == Mark("r2", group)


@pytest.mark.parametrize(
    "text",
    ["", "of the app", "[keyturn rotation r1 of a version x]", "[keyturn rotation r1 of a version 1] of us"],
)  # fmt: skip
def test_what_is_no_mark_tells_no_rotation(text: str) -> None:
    assert mark_of(text, 1) is None


def test_a_description_without_room_is_named() -> None:
    with pytest.raises(BadInput, match="leaves no room"):
        marked("x" * LONGEST, "r1 of app/a", 1, "sink")


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
    assert group_stamps(document, one) == {"pair": "r1 of app/pair"}
    assert group_stamps(document, both) == {"pair": "r1+r2 of app/pair"}
    assert group_stamps(document, alone) == {}
