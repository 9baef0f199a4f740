# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct execution of the module ``procedure``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible.utils.display import Display
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedure import MODULE
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._direct import DirectAction
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._phases import phases_of

_OWN = re.compile(r"keyturn_.")
_ALIKE = (
    "keyring",
    "ledger",
    "take_over",
    "replay",
    "policy",
    "owner",
    "issuer",
    "generate",
    "sinks",
    "consumers",
    "probes",
    "interval",
    "force",
    "reason",
    "outside_window",
    "rotation_id",
    "resume",
    "found",
)
_ADOPTED = {"value": "keyturn_adopt", "made": "keyturn_adopt_made"}
_VARIABLES = {
    **{option: f"keyturn_{option}" for option in _ALIKE},
    "timeout": "keyturn_wait",
    **_ADOPTED,
}


class ActionModule(DirectAction):
    """Runs ``procedure``, with the phases that ``--tags`` asks for."""

    module = MODULE

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the task; of a task that failed, Ansible itself shows no difference."""
        variables = task_vars or {}
        result = super().run(tmp, variables)
        if self._task.no_log:
            return result
        # In this process they were said when it was time.
        said = [] if self._is_direct(variables) else result.get("say") or []
        if result.get("failed") and result.get("diff"):
            said.append(CallbackBase()._get_diff(result["diff"]))
        for text in said:
            Display().display(text, stderr=True)
        return result

    def _arguments(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        arguments = super()._arguments(variables)
        tags = (variables.get("ansible_run_tags") or [], variables.get("ansible_skip_tags") or [])
        phases = phases_of(str(arguments.get("purpose")), *tags, self._task.tags)
        own = sorted(name for name in variables if _OWN.match(name))
        return {
            "phases": phases,
            "variables": own,
            **self._of_the_credential(arguments, variables),
            **arguments,
        }

    def _of_the_credential(
        self, arguments: Mapping[str, Any], variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The options that the task leaves to the role's variables."""
        known = self._task.args.get("known_variables") or ()
        found = {}
        for option, variable in _VARIABLES.items():
            taken = option not in _ADOPTED or arguments.get("purpose") == "adopt"
            if taken and variable in known and variable in variables and option not in arguments:
                found[option] = self._filled(variable, variables[variable])
        policy = found.get("policy")
        if isinstance(policy, Mapping) and policy.get("grace"):
            found["grace"] = policy["grace"]
        return found

    def _filled(self, variable: str, text: Any) -> Any:
        """A variable's value.

        :raises BadInput: for a template that cannot be filled.
        """
        try:
            return self._templar.template(text)
        except AnsibleError as error:
            raise BadInput(f"{variable}: its template cannot be filled: {error}") from None

    def _called(self, option: str) -> str:
        variable = _VARIABLES.get(option, "")
        return variable if variable in (self._task.args.get("known_variables") or ()) else option

    def _validated(self, arguments: dict[str, Any]) -> dict[str, Any]:
        for option in ("keyring", "issuer"):
            called = self._called(option)
            if called != option and option not in arguments:
                raise BadInput(
                    f"{called}: it is not set; set it for the credential, such as in its file of host_vars"
                )
        params = super()._validated(arguments)
        self._refuse_files_of_two_machines(params)
        return params

    def _refuse_files_of_two_machines(self, params: Mapping[str, Any]) -> None:
        """Some steps are done there and some on the controller: in a file, each would have a keyring of its own.

        :raises Refused: for a keyring or a ledger that only one of the two can see.
        """
        given = (params["keyring"], params["ledger"])
        files = [text for text in map(str, given) if text.startswith("ref+file:")]
        other = self._task.delegate_to
        if other not in (None, "localhost") and self._connection.transport != "local" and files:
            raise Refused(
                f"keyturn_control_host: {other} is another machine, and '{files[0]}' is a file on each of them. Keep "
                "keyring and ledger in a store that both reach, such as ref+vault://"
            )
