# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct execution of the module ``procedure``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleUndefinedVariable
from ansible.plugins.callback import CallbackBase
from ansible.utils.display import Display
from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions import gates_of_stores
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedure import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedures import PREFLIGHT
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._direct import DirectAction
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._phases import phases_of

# Its class is in no public place.
_OMITTED = "AnsibleValueOmittedError"
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
    "gates",
    "reencrypt",
    "interval",
    "force",
    "replace",
    "reason",
    "outside_window",
    "rotation_id",
    "made_before",
    "resume",
    "found",
)
_ADOPTED = {"value": "keyturn_adopt", "made": "keyturn_adopt_made"}
_VARIABLES = {
    **{option: f"keyturn_{option}" for option in _ALIKE},
    "timeout": "keyturn_wait",
    **_ADOPTED,
}


def without(given: Any, omit: str) -> Any:
    """The data without what is omitted."""
    if isinstance(given, Mapping):
        return {name: without(value, omit) for name, value in given.items() if value != omit}
    if isinstance(given, (list, tuple)):
        return [without(item, omit) for item in given if item != omit]
    return given


def _only_looks_at_an_answer(
    arguments: Mapping[str, Any], phases: list[str], variables: Mapping[str, Any]
) -> bool:
    """Whether an answer to a compromise is only looked at: then nothing in the keyring says yet that the value is compromised."""
    looks = arguments.get("purpose") == "rotate" and phases == [PREFLIGHT]
    return looks and bool(variables.get("keyturn_response"))


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
        said = list(result.get("say") or [])
        if said and self._is_direct(variables):
            said = []
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
            "emergency": _only_looks_at_an_answer(arguments, phases, variables),
            "variables": own,
            **arguments,
            # The variables of a credential are what its sinks and consumers on other hosts go by, whatever a play's module_defaults are.
            **self._of_the_credential(arguments, variables),
        }

    def _of_the_credential(
        self, arguments: Mapping[str, Any], variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The options that the task leaves to the role's variables."""
        known = self._task.args.get("known_variables") or ()
        found = {}
        for option, variable in _VARIABLES.items():
            taken = option not in _ADOPTED or arguments.get("purpose") == "adopt"
            if option == "replay" and not self._task.check_mode:
                continue
            if taken and variable in known and variable in variables:
                found.update(self._filled(option, variables[variable], variables.get("omit")))
        stored, gates = found.pop("reencrypt", None), found.get("gates") or []
        if stored and isinstance(gates, list):
            found["gates"] = [*gates, *gates_of_stores(stored)]
        policy = found.get("policy")
        if isinstance(policy, Mapping) and policy.get("grace"):
            found["grace"] = policy["grace"]
        return found

    def _filled(self, option: str, text: Any, omit: Any) -> dict[str, Any]:
        """The value of an option's variable; nothing where it is omitted.

        :param omit: what stood for it before ansible-core 2.19.

        :raises BadInput: for a template that cannot be filled; what filters say of it may quote a value.
        """
        try:
            value = self._templar.template(text)
        except Exception as error:
            if type(error).__name__ == _OMITTED:
                return {}
            secret = self.module.argument_spec.get(option, {}).get("no_log")
            tellable = isinstance(error, AnsibleUndefinedVariable) and not secret
            told = str(error) if tellable else type(error).__name__
            raise BadInput(
                f"{_VARIABLES[option]}: its template cannot be filled: {told}. Look at its filters and variables; a value that "
                "holds braces itself is marked !unsafe, or given as a reference"
            ) from None
        if not isinstance(omit, str):
            return {option: value}
        return {} if value == omit else {option: without(value, omit)}

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
