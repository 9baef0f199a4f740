# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module_defaults can give to a group: its members have the group's options in common, and all that have them are members."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._direct import DirectAction

COLLECTION = "keyturn.runbooks"
PLUGINS = f"ansible_collections.{COLLECTION}.plugins"
ROOT = Path(__file__).resolve().parents[2]
GROUPS = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
FRAGMENTS = {"keyturn": f"{COLLECTION}.keyring", "vault": f"{COLLECTION}.vault"}
NAMES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))


def fragment(name: str) -> dict[str, Any]:
    """What a documentation fragment holds."""
    stem, _dot, variable = name.removeprefix(f"{COLLECTION}.").partition(".")
    module = import_module(f"{PLUGINS}.doc_fragments.{stem}")
    text = getattr(module.ModuleDocFragment, variable.upper() or "DOCUMENTATION")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def documentation(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(import_module(f"{PLUGINS}.modules.{name}").DOCUMENTATION)
    return found


def told(name: str) -> dict[str, Any]:
    """What a module's documentation says of its groups; its own words come before those of fragments, as Ansible has it."""
    own = documentation(name)
    texts = [fragment(other) for other in own.get("extends_documentation_fragment", [])]
    found: dict[str, Any] = {}
    for text in (*texts, own):
        found.update(text.get("attributes", {}).get("action_group", {}))
    return found


def test_every_group_is_looked_at() -> None:
    assert set(GROUPS) == set(FRAGMENTS)


@pytest.mark.parametrize("group", sorted(FRAGMENTS))
def test_members_have_the_options_of_their_group(group: str) -> None:
    for name in GROUPS[group]:
        action = import_module(f"{PLUGINS}.action.{name}")
        assert issubclass(action.ActionModule, DirectAction)
        spec = action.ActionModule.module.argument_spec
        for option in fragment(FRAGMENTS[group])["options"]:
            assert option in spec, f"{name} is in {group} and has no '{option}'"


@pytest.mark.parametrize("group", sorted(FRAGMENTS))
def test_who_has_the_fragment_is_a_member_and_nobody_else(group: str) -> None:
    used = {name: documentation(name).get("extends_documentation_fragment", []) for name in NAMES}
    assert [name for name in NAMES if FRAGMENTS[group] in used[name]] == GROUPS[group]


@pytest.mark.parametrize("name", NAMES)
def test_a_module_tells_the_groups_that_it_is_in(name: str) -> None:
    member = [f"{COLLECTION}.{group}" for group in GROUPS if name in GROUPS[group]]
    assert told(name).get("membership", []) == member
    assert told(name).get("support", "none") == ("full" if member else "none")
