# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example inventory and the README's first credential: every definition is read by the code that will read a user's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager
from ansible_collections.keyturn.runbooks.plugins.filter.known_hosts import known_hosts
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    order,
    parse_consumers,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import parse_policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight_facts import (
    Problems,
    read_definitions,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "inventories" / "example"
CATALOGUED = set(yaml.safe_load((EXAMPLE / "catalog.yml").read_text())["catalogued"]["hosts"])
CREDENTIALS = sorted(
    path.stem
    for path in (EXAMPLE / "host_vars").iterdir()
    if path.stem not in CATALOGUED or "keyturn_issuer:" in path.read_text()
)
"""Those that are defined by hand, and those of a table that somebody worked out; what it says of the others is in test_catalog.py."""

PLAYBOOKS = sorted(
    path.stem
    for path in (ROOT / "playbooks").glob("*.yml")
    if "-i inventories/example" in path.read_text() and " hosts: " in path.read_text()
)


DEFINING = tuple(
    f"keyturn_{name}"
    for name in ["keyring", "policy", "generate", "issuer", "sinks", "consumers", "probes", "gates"]
)


def problems(variables: dict[str, Any]) -> list[str]:
    """What is wrong with one credential's variables."""
    found = Problems()
    policy = parse_policy(variables["keyturn_policy"])
    parse_reference(variables["keyturn_keyring"], "keyturn_keyring")
    names = ("issuer", "sinks", "consumers", "probes")
    params = {name: variables[f"keyturn_{name}"] for name in names}
    params["gates"] = variables.get("keyturn_gates", [])
    later = {"generate": variables.get("keyturn_generate", {}), "timeout": "60s", "interval": "1s"}
    params = {**params, **later}
    read_definitions(params, policy, Context(environ={}), found)
    order(parse_consumers(params["consumers"]))
    return found.sentences


@pytest.fixture(scope="module")
def manager() -> VariableManager:
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(EXAMPLE)])
    return VariableManager(loader=loader, inventory=inventory)


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_credential_of_the_example_has_no_problem(name: str, manager: VariableManager) -> None:
    host = manager._inventory.get_host(name)
    assert host is not None, f"{name} has variables, but hosts.yml does not name it"
    given = manager.get_vars(host=host, include_hostvars=False)
    templar = Templar(loader=DataLoader(), variables=given)
    variables = {key: templar.template(given[key]) for key in DEFINING if key in given}
    assert problems(variables) == []
    hosts = {item["host"] for item in variables["keyturn_consumers"] if "host" in item}
    assert hosts <= {machine.name for machine in manager._inventory.get_hosts("machines")}


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_a_playbook_that_names_the_example_finds_its_hosts_there(
    name: str, manager: VariableManager
) -> None:
    plays = yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text())
    groups = manager._inventory.groups
    for play in (play for play in plays if play["hosts"] != "localhost"):
        quoted = re.findall(r"'(\w+)'", play["hosts"])
        named = {*quoted} & {*groups} or {
            *known_hosts("", manager._inventory.get_groups_dict()).split(":")
        }
        assert named <= {*groups}, f"none of the groups of {play['hosts']} is in the example"
        assert all(groups[group].get_hosts() for group in named)


def test_a_node_of_vault_has_what_both_playbooks_need(manager: VariableManager) -> None:
    [host] = manager._inventory.get_hosts("vault")
    variables = manager.get_vars(host=host, include_hostvars=False)
    assert variables["keyturn_vault"]["url"].startswith("https://")
    shares = variables["keyturn_vault_shares"]
    for reference in (*shares, variables["keyturn_vault"]["token"]):
        parse_reference(reference, "keyturn_vault_shares")
    assert len(set(shares)) == len(shares) > 2


def credentials(page: str) -> list[dict[str, Any]]:
    """The variables in each of a page's blocks that has an issuer."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [yaml.safe_load(block) for block in blocks if "keyturn_issuer:" in block]


def test_the_readme_s_first_credential_has_no_problem() -> None:
    assert problems(credentials("README.md")[0]) == []


def test_the_platforms_of_the_page_about_stream_keys_have_no_problem() -> None:
    """The first block is a whole one, and each later one says another issuer."""
    whole, *others = credentials("docs/stream-keys.md")
    assert others
    for variables in ({}, *others):
        assert problems({**whole, **variables}) == []
