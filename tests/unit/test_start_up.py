# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module imports before it knows whether it needs it, and what an action has ready before Ansible forks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PLUGINS = "ansible_collections.keyturn.runbooks.plugins"


def loads_vault(module: str, **further: str) -> bool:
    """Whether importing this module of the collection, in a fresh interpreter, brings in what speaks to Vault."""
    code = f"import {PLUGINS}.{module}, sys; print('{PLUGINS}.module_utils._vault_client' in sys.modules)"
    plain = {name: text for name, text in os.environ.items() if not name.startswith("VAULT_")}
    env = {**plain, "PYTHONPATH": os.pathsep.join(sys.path), **further}
    told = subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True
    )
    return told.stdout.strip() == "True"


@pytest.mark.parametrize("module", ["_stores", "_sinks._open", "_refs"])
def test_a_module_loads_vault_only_when_a_reference_names_it(module: str) -> None:
    assert not loads_vault(f"module_utils.{module}")


def test_an_action_has_vault_loaded_for_all_forks_where_the_environment_names_it() -> None:
    assert loads_vault("plugin_utils._direct", VAULT_ADDR="https://vault.example:8200")
    assert not loads_vault("plugin_utils._direct")
