# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role knows every variable of its prefix: those that users set, and those that it makes itself."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles" / "keyturn"
MADE = re.compile(r"(?:register: |loop_var: |^\s*)(keyturn_[a-z_]+)(?:: |:?$)", re.MULTILINE)


def made() -> set[str]:
    """What the role's files register, loop over, define or default."""
    files = [path for folder in ("tasks", "handlers") for path in (ROLE / folder).glob("*.yml")]
    found = {name for path in files for name in MADE.findall(path.read_text())}
    for folder in ("defaults", "vars"):
        found |= set(yaml.safe_load((ROLE / folder / "main.yml").read_text()))
    return found


def specified() -> set[str]:
    """What the argument specs name."""
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    return {name for spec in specs.values() for name in spec.get("options", {})}


def test_no_variable_of_the_roles_own_is_what_a_typo_makes_of_a_users() -> None:
    own = made() - specified()
    assert "keyturn_each_consumer" in own
    near = {name: get_close_matches(name, own, 1, 0.9) for name in sorted(specified())}
    assert {name: found for name, found in near.items() if found} == {}


def test_the_role_knows_every_variable_of_its_prefix() -> None:
    known = set(yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["keyturn_known"])
    plays = "".join(path.read_text() for path in (ROOT / "playbooks").glob("*.yml"))
    action = (ROOT / "plugins" / "plugin_utils" / "_direct.py").read_text()
    elsewhere = set(re.findall(r"(?<![-\w.])keyturn_[a-z_]+", plays + action))
    documented = set(re.findall(r"`(?:-e )?(keyturn_[a-z_]+)", (ROOT / "README.md").read_text()))
    needed = made() | specified() | elsewhere | documented
    assert needed - known == set()
    assert known - needed == set(), "nobody reads these any more"
