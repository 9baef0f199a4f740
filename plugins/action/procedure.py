# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct execution of the module ``procedure``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.utils.display import Display
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedure import MODULE
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._direct import DirectAction
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._phases import phases_of


class ActionModule(DirectAction):
    """Runs ``procedure``, with the phases that ``--tags`` asks for."""

    module = MODULE

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the task; of a task that failed, Ansible itself shows no difference."""
        result = super().run(tmp, task_vars)
        if result.get("failed") and result.get("diff") and not self._task.no_log:
            Display().display(CallbackBase()._get_diff(result["diff"]), stderr=True)
        return result

    def _arguments(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        arguments = super()._arguments(variables)
        tags = (variables.get("ansible_run_tags") or [], variables.get("ansible_skip_tags") or [])
        phases = phases_of(str(arguments.get("purpose")), *tags, self._task.tags)
        return {"phases": phases, **arguments}

    def _dispatch(self, variables: dict[str, Any], context: Context) -> dict[str, Any]:
        self._refuse_files_of_two_machines()
        return super()._dispatch(variables, context)

    def _refuse_files_of_two_machines(self) -> None:
        """Some steps are done there and some on the controller: in a file, each would have a keyring of its own.

        :raises Refused: for a keyring or a ledger that only one of the two can see.
        """
        given = (self._task.args.get("keyring"), self._task.args.get("ledger"))
        files = [text for text in map(str, given) if text.startswith("ref+file:")]
        other = self._task.delegate_to
        if other not in (None, "localhost") and self._connection.transport != "local" and files:
            raise Refused(
                f"keyturn_control_host: {other} is another machine, and '{files[0]}' is a file on each of them. Keep "
                "keyring and ledger in a store that both reach, such as ref+vault://"
            )
