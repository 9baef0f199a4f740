# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct execution of the module ``k8s_secret``."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_secret import MODULE
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._direct import DirectAction

# The client takes a second to import, which each forked worker would spend anew.
if find_spec("kubernetes"):
    import_module("kubernetes")


class ActionModule(DirectAction):
    """Runs ``k8s_secret``."""

    module = MODULE
