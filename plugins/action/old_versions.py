# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct execution of the module ``old_versions``."""

from __future__ import annotations

from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions_task import MODULE
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._direct import DirectAction


class ActionModule(DirectAction):
    """Runs ``old_versions``."""

    module = MODULE
