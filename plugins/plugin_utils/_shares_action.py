# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct execution of modules that are given shares of Vault's unseal key."""

from __future__ import annotations

from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_unseal_shares import (
    refuse_values,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._direct import DirectAction
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._secret_options import holds_values


class SharesAction(DirectAction):
    """A share that stands in the task itself goes no further than here: the option ``shares`` takes references alone."""

    def _validated(self, arguments: dict[str, Any]) -> dict[str, Any]:
        params = super()._validated(arguments)
        refuse_values(params["shares"])
        return params

    def _remote(
        self, params: dict[str, Any], variables: Any, carries_secrets: bool
    ) -> dict[str, Any]:
        others = {name: value for name, value in params.items() if name != "shares"}
        carries = holds_values(self.module.argument_spec, others)
        return super()._remote(params, variables, carries_secrets=carries)
