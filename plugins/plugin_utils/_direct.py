# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct execution: the one action plugin behind every module of this collection."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import AnsibleValidationError, UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import (
    TELLING,
    URL_WITH_PASSWORD,
    named,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    concluded,
    execute,
    failure,
    prepared,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import describe_process
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import MASK, to_plain
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._secret_options import (
    holds_values,
    masked,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._stops import ending_with_the_run

MODULE_UTILS = "ansible_collections.keyturn.runbooks.plugins.module_utils"

# What a module imports where it first needs it would be imported by each forked worker anew. Ansible loads an action before it forks, but
# knows no variable then: only the environment tells that this run speaks to Vault or AWS. Kubernetes's library takes a second, which is too
# much for a run that has a KUBECONFIG and no use for it.
_OF_VAULT = tuple(
    f"{MODULE_UTILS}.{name}" for name in ("_ledgers._vault", "_sinks._vault", "_stores._vault")
)
_OF_AWS = (f"{MODULE_UTILS}._sinks._ssm", "boto3")
_AHEAD = {"VAULT_": _OF_VAULT, "ANSIBLE_HASHI_VAULT_": _OF_VAULT, "AWS_": _OF_AWS}
for _begin, _names in _AHEAD.items():
    if any(name.startswith(_begin) for name in os.environ):
        for _name in _names:
            if find_spec(_name):
                import_module(_name)

COLLECTION = "keyturn.runbooks"
_WHO = ("keyturn_who", "awx_user_name", "tower_user_name")


class Arguments(dict[str, Any]):
    """A module's arguments, which show their names alone: Ansible prints what it executes when ANSIBLE_DEBUG is set."""

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self, MASK))


def untagged(given: Any) -> Any:
    """The same data of Python's own types: Ansible's strings know where they were written, and to copy those takes long."""
    if isinstance(given, Mapping):
        return {untagged(name): untagged(value) for name, value in given.items()}
    if isinstance(given, (list, tuple)):
        return [untagged(item) for item in given]
    # Before ansible-core 2.19, what ansible-vault encrypts is a class of its own, which decrypts itself.
    text = isinstance(given, str) or getattr(given, "__ENCRYPTED__", False)
    return str(given) if text else given


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _told(error: AnsibleValidationError) -> str:
    """What Ansible says of an argument; that an option is unsupported it leaves to its own modules to say."""
    begin = "unsupported option: " if isinstance(error, UnsupportedError) else ""
    return f"{begin}{error.msg}"


def _said(spec: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that say something, each under one name, also inside of other options."""
    aliases = {alias for option in spec.values() for alias in option.get("aliases") or ()}
    return {
        name: _inside(spec.get(name, {}), value)
        for name, value in params.items()
        if value is not None and name not in aliases
    }


def _inside(option: Mapping[str, Any], value: Any) -> Any:
    inner = option.get("options")
    if inner and isinstance(value, Mapping):
        return _said(inner, value)
    if inner and isinstance(value, list):
        return [_inside(option, item) for item in value]
    return value


class DirectAction(ActionBase):
    """Runs a module's core in this process when the task is on the controller, else as an ordinary module.

    Subclasses name the module. A host module's references are resolved here in either case.
    """

    module: ModuleCore
    _supports_check_mode = True
    _supports_diff = True
    _supports_async = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the task; see :class:`ansible.plugins.action.ActionBase`."""
        # Tried again (until, retries), the same action has the arguments that it was given, and not the masked ones.
        self._task.args = self._given = getattr(self, "_given", self._task.args)
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        warnings: list[str] = []
        before = dict(os.environ)
        try:
            context = self._context(warnings)
            # libpq and the cloud SDKs read the process's own environment; this process serves one task.
            os.environ.update(context.environ)
            with ending_with_the_run(), contextlib.closing(context):
                result.update(self._dispatch(variables, context))
        except Exception as error:
            host = self._task.delegate_to or variables.get("inventory_hostname")
            result.update(failure(error, str(host or "")))
        finally:
            os.environ.clear()
            os.environ.update(before)
            self._task.args = masked(self.module.argument_spec, self._given)
        if warnings:
            result["warnings"] = [*result.get("warnings", []), *warnings]
        result.pop("invocation", None)
        return result

    def _dispatch(self, variables: dict[str, Any], context: Context) -> dict[str, Any]:
        params = self._validated(self._arguments(variables))
        if self._is_direct(variables):
            return execute(self.module, params, context)
        if not self.module.host:
            public = self.module.public(params)
            given = holds_values(self.module.argument_spec, params, public)
            return self._remote(params, variables, carries_secrets=given)
        ready = prepared(self.module, params, context)
        result = self._remote(to_plain(ready), variables, carries_secrets=True)
        if not result.get("failed"):
            return concluded(self.module, ready, result, context)
        if self.module.conclude and self.module.concludes_failures:
            try:
                return self.module.conclude(ready, result, context)
            except KeyturnError as error:
                # The failure on the host is what is to be told first.
                context.warn(error.message)
        return result

    def _arguments(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        arguments = dict(self._task.args)
        if "run" in self.module.argument_spec:
            who = (
                next(filter(None, (self._setting(variables, name) for name in _WHO)), "") or _user()
            )
            why = self._setting(variables, "keyturn_reason")
            given = arguments.get("run") or {}
            arguments["run"] = {**describe_process(os.getppid()), "who": who, "why": why, **given}
        return arguments

    def _setting(self, variables: Mapping[str, Any], name: str) -> str:
        """A variable of the user's as text: an action gets variables as they were written, which may be templates."""
        value = self._templar.template(variables.get(name))
        return "" if value is None else str(value)

    def _validated(self, arguments: dict[str, Any]) -> dict[str, Any]:
        called = {name: self._called(name) for name in {*self.module.argument_spec, *arguments}}
        spec = {called[name]: dict(option) for name, option in self.module.argument_spec.items()}
        given = {called[name]: untagged(value) for name, value in arguments.items()}
        validation = ArgumentSpecValidator(spec, **self.module.constraints).validate(given)
        if validation.errors.errors:
            told = "; ".join(_told(error) for error in validation.errors.errors)
            hidden = remove_values(told, validation._no_log_values)
            raise BadInput(f"{COLLECTION}.{self.module.name}: {hidden}")
        found = validation.validated_parameters
        # Not under its aliases, too, which the module would be given again.
        own = self.module.argument_spec
        return {name: found[called[name]] for name in own if called[name] in found}

    def _called(self, option: str) -> str:
        """The name that the user knows an option by, for messages."""
        return option

    def _context(self, warnings: list[str]) -> Context:
        display = Display()
        host = self._task_host()
        secrets = getattr(getattr(self._loader, "_vault", None), "secrets", None)
        return Context(
            check_mode=bool(self._task.check_mode),
            diff=bool(self._task.diff),
            environ={**os.environ, **self._environment()},
            warn=warnings.append,
            # On the standard error stream: what reads a callback's JSON from the output is not to meet it.
            progress=lambda line: (
                None if self._task.no_log else display.display(f"  {host}: {line}", stderr=True)
            ),
            vault_secrets=secrets,
        )

    def _environment(self) -> dict[str, str]:
        """The task's own environment; it names its variables, because programs get those that somebody wrote there."""
        environment: dict[str, str] = {}
        for item in self._task.environment or []:
            filled = self._templar.template(item)
            if isinstance(filled, Mapping):
                environment.update({str(key): str(value) for key, value in filled.items()})
        return named(environment)

    def _task_host(self) -> str:
        return str(self._task.args.get("credential") or self._task.delegate_to or "keyturn")

    def _is_direct(self, variables: Mapping[str, Any]) -> bool:
        become = bool(self._connection.become)
        interpreter = self._interpreter(variables)
        same = interpreter in (
            "",
            "auto",
            "auto_silent",
            "auto_legacy",
            "auto_legacy_silent",
            sys.executable,
        )
        forced = self._setting(variables, "keyturn_direct").lower() in ("false", "no", "0")
        return (
            self._connection.transport == "local"
            and not become
            and same
            and not self._task.async_val
            and not forced
        )

    def _interpreter(self, variables: Mapping[str, Any]) -> str:
        """The interpreter that is set for the host where the task runs; the variable may be a template."""
        delegated = (variables.get("ansible_delegated_vars") or {}).get(self._task.delegate_to)
        setting = (delegated or variables).get("ansible_python_interpreter")
        return str(self._templar.template(setting) or "")

    def _remote(
        self, params: dict[str, Any], variables: dict[str, Any], carries_secrets: bool
    ) -> dict[str, Any]:
        if carries_secrets:
            self._keep_arguments_off_disk(variables)
        name = f"{COLLECTION}.{self.module.name}"
        wrap = bool(self._task.async_val)
        before = self._task.environment
        self._task.environment = [self._public_environment()]
        try:
            result: dict[str, Any] = self._execute_module(
                module_name=name,
                # An ordinary module takes none for a choice that there is not.
                module_args=Arguments(_said(self.module.argument_spec, params)),
                task_vars=variables,
                wrap_async=wrap,
            )
        finally:
            self._task.environment = before
        # Every module says whether it changed something: an answer without that is another program's.
        answered = wrap or "changed" in result or result.get("unreachable")
        if (answered and not result.get("failed")) or "kind" in result:
            return dict(result)
        return self._of_the_host(result, variables, carries_secrets)

    def _of_the_host(
        self, result: Mapping[str, Any], variables: Mapping[str, Any], carries_secrets: bool
    ) -> dict[str, Any]:
        """A failure of Ansible's own on that host, such as no Python there."""
        if not carries_secrets:
            unanswered = {"msg": f"{self.module.name}: the host gave no answer of this module"}
            return {"kind": "Host", **unanswered, **result, "failed": True}
        # What was printed there may be the module itself, with the values that it was sent.
        python = self._interpreter(variables) or "the Python that Ansible found"
        causes = {126: f"{python} may not be run", 127: f"{python} is not there"}
        code = result.get("rc")
        cause = causes.get(code if isinstance(code, int) else 0, f"it ended with {code}")
        message = (
            f"{self.module.name}: Python on the host gave no answer that can be read ({cause}). What it printed is not shown: it may "
            "hold the values of this task. See to ansible_python_interpreter, and run the module ping there"
        )
        return {"failed": True, "changed": False, "msg": message, "kind": "Host", "rc": code}

    def _public_environment(self) -> dict[str, str]:
        """The task's environment without tokens and passwords: the references that need them are resolved here.

        :raises Refused: for a module that resolves them on the host, and for a URL with a password in it, which may be for a program.
        """
        environment = self._environment()
        # Ansible puts it into the command line on the host, and shows that at -vvv.
        telling = [name for name in environment if TELLING.search(name)]
        urls = [name for name, value in environment.items() if URL_WITH_PASSWORD.search(value)]
        refused = urls if self.module.host else telling + urls
        if refused:
            raise Refused(
                f"{self.module.name}: Ansible would put {refused[0]} from this task's 'environment' into the command line on the host, "
                "which every user there sees. Set it in the environment of the login there, or name a file (such as VAULT_TOKEN_FILE)"
            )
        return {name: value for name, value in environment.items() if name not in telling}

    def _keep_arguments_off_disk(self, variables: Mapping[str, Any]) -> None:
        """Make Ansible send the module through the connection instead of writing it, with its arguments, to a file.

        :raises Refused: where the connection cannot, unless the user allows it.
        """
        setting = self._setting(variables, "keyturn_allow_unpipelined")
        allowed = setting.lower() in ("true", "yes", "1")
        self._connection.always_pipeline_modules = True
        possible = bool(self._connection.has_pipelining) and self._is_pipelining_enabled(
            "new", bool(self._task.async_val)
        )
        if not possible and not allowed:
            raise Refused(
                f"{self.module.name}: the connection '{self._connection.transport}' would put this task's secret values into a temporary "
                "file on the host, and a killed run would leave it there. Use ssh without ANSIBLE_KEEP_REMOTE_FILES, without async "
                "and without a become method that cannot be piped to (su), or accept it with keyturn_allow_unpipelined=true"
            )
