# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs what a module does on its host, without Ansible: module, parameters and mode as JSON on stdin, the result on stdout."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from types import ModuleType

UTILS = "ansible_collections.keyturn.runbooks.plugins.module_utils"
# Ansible brings its own part along to a host; nothing that is tested by this program uses it.
for name in ("ansible", "ansible.module_utils", "ansible.module_utils.basic"):
    sys.modules[name] = ModuleType(name)
sys.modules["ansible.module_utils.basic"].AnsibleModule = object  # type: ignore[attr-defined]

context_of = import_module(f"{UTILS}._context").Context
failure = import_module(f"{UTILS}._module").failure
given = json.load(sys.stdin)
core = import_module(f"{UTILS}._{given['module']}").MODULE
warnings: list[str] = []
context = context_of(given["check_mode"], warn=warnings.append)
defaults = {name: option.get("default") for name, option in core.argument_spec.items()}
try:
    result = core.run({**defaults, **given["params"]}, context)
except Exception as error:
    result = failure(error)
print(json.dumps({"warnings": warnings, **result}))
