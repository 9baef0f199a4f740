# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action ``audit``: all credentials of an estate in one task, on the screen, in a file, and as a verdict."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ansible.plugins.loader import connection_loader
from ansible_collections.keyturn.runbooks.plugins.module_utils._audit import audit
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import describe_process
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._audit_report import (
    CLASSES,
    DEFAULT_FAIL_ON,
    audit_table,
    brief,
    build_audit,
    checked_classes,
    failing,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._direct import (
    DirectAction,
    untagged,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._report_action import (
    OUTPUT_OPTIONS,
    keep,
    screen_width,
    show,
)

_READ = ("keyring", "policy", "issuer", "generate", "owner", "sinks")
_NAMING = ("consumers", "probes", "gates")
_GROUPS = ("credentials", "postgres_roles", "stream_platforms")
_TEMPLATE = ("{{", "{%", "{#")
_TELLING = 20
_TYPES = (int, float, bool, type(None))
_NAMED = re.compile(r"\{\{ *([A-Za-z_][A-Za-z0-9_]*) *\}\}")


def _is_text(value: Any) -> bool:
    """Whether a text is what it says, and nothing that Ansible would decrypt."""
    encrypted = hasattr(value, "_ciphertext") or getattr(value, "__ENCRYPTED__", False)
    return isinstance(value, str) and not encrypted


def _is_template(text: str) -> bool:
    return any(mark in text for mark in _TEMPLATE)


def _may_be_filled(text: str) -> bool:
    """Whether Ansible would take it for a template: what is marked as unsafe stays as it is."""
    try:
        from ansible.template import is_trusted_as_template
    except ImportError:
        return not hasattr(text, "__UNSAFE__")
    return bool(is_trusted_as_template(text))


def filled(value: Any, variables: Mapping[str, Any]) -> Any:
    """A variable without its templates, where those only name other variables that are plain texts.

    Ansible compiles each template once more for each host: for thousands of them that takes longer than all else.

    :raises LookupError: when Ansible has to do it.
    """
    if _is_text(value):
        if not _is_template(value):
            return str(value)
        text = _NAMED.sub(lambda found: _text_of(variables.get(found[1])), value)
        if _is_template(text) or not _may_be_filled(value):
            raise LookupError
        return text
    if isinstance(value, Mapping):
        return {filled(name, {}): filled(item, variables) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled(item, variables) for item in value]
    if not isinstance(value, _TYPES):
        raise LookupError
    return value


@contextmanager
def folders_listed_once() -> Iterator[None]:
    """While variables of thousands of hosts are read: Ansible lists the folders of its connection plugins once more for each of them."""
    every = connection_loader.all
    paths = list(every(path_only=True))

    def known(*given: Any, **named: Any) -> Iterator[Any]:
        return every(*given, **named) if given or named != {"path_only": True} else iter(paths)

    connection_loader.all = known
    try:
        yield
    finally:
        del connection_loader.all


def _text_of(value: Any) -> str:
    if not _is_text(value) or _is_template(value):
        raise LookupError
    return str(value)


def _unused(_params: Params, _context: Context) -> Result:
    """The action does it all: it has the definitions of many hosts, and no module has."""
    raise Refused("audit: this runs on the controller alone")


MODULE = ModuleCore(
    "audit",
    {
        "prefixes": {"type": "list", "elements": "str", "default": []},
        "expected": {"type": "list", "elements": "str", "default": []},
        "notice": {"type": "str", "default": "14d"},
        "fail_on": {"type": "list", "elements": "str", "default": list(DEFAULT_FAIL_ON)},
        **OUTPUT_OPTIONS,
        "threads": {"type": "int", "default": 12},
    },
    _unused,
)


class Warnings:
    """The first few of what may be said of each of thousands of credentials."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn, self._told = warn, 0

    def add(self, text: str) -> None:
        """One more."""
        self._told += 1
        if self._told <= _TELLING:
            self._warn(text)

    def end(self) -> None:
        """How many were not told."""
        if self._told > _TELLING:
            self._warn(
                f"{self._told - _TELLING} more warnings are not shown; status shows all of a credential"
            )


class ActionModule(DirectAction):
    """Reads the definitions of the play's hosts, and looks at all of them in this one task."""

    module = MODULE
    _requires_connection = False

    def _dispatch(self, variables: dict[str, Any], context: Context) -> dict[str, Any]:
        # This process is for this task alone. All that it makes is kept to its end, and to look through it again and again finds nothing.
        gc.freeze()
        gc.disable()
        try:
            return self._audited(variables, context)
        finally:
            gc.enable()

    def _audited(self, variables: dict[str, Any], context: Context) -> dict[str, Any]:
        params = self._validated(self._arguments(variables))
        fail_on = checked_classes(params["fail_on"], "fail_on")
        notice = parse_duration(params["notice"], "notice") if params["notice"] else timedelta(0)
        chosen = [str(name) for name in variables["ansible_play_hosts_all"]]
        names = self._claiming(variables) if params["prefixes"] else []
        more = _NAMING if params["prefixes"] else ()
        with folders_listed_once():
            definitions = {
                name: self._definition(variables["hostvars"], name, more)
                for name in dict.fromkeys([*chosen, *names])
            }
        run = {**describe_process(os.getppid()), "who": "", "why": ""}
        prefixes, expected = params["prefixes"], params["expected"]
        warnings = Warnings(context.warn)
        found = audit(
            definitions,
            chosen,
            prefixes,
            expected,
            run,
            replace(context, warn=warnings.add),
            max(1, params["threads"]),
        )
        warnings.end()
        return self._report(build_audit(found, context.now(), notice), params, fail_on)

    def _claiming(self, variables: Mapping[str, Any]) -> Iterator[str]:
        """Whoever may claim a parameter, also beside ``--limit``."""
        groups = variables.get("groups") or {}
        return (str(name) for group in _GROUPS for name in groups.get(group, ()))

    def _definition(self, hostvars: Any, name: str, more: tuple[str, ...]) -> dict[str, Any]:
        """A credential's variables; a failed result where one cannot be filled.

        :param more: options that are read for the parameters that they name alone.
        """
        found: dict[str, Any] = {}
        try:
            raw = hostvars.raw_get(name)
            for option in _READ:
                variable = f"keyturn_{option}"
                if variable in raw:
                    found[option] = self._variable(hostvars, name, raw, variable)
        except Exception as error:
            said = " ".join(str(error).split()).partition(" The error appears to be in ")[0]
            owner = found.get("owner") or ""
            return {"failed": True, "kind": "BadInput", "msg": f"{name}: {said}", "owner": owner}
        if more:
            found["reads"] = [self._named(hostvars, name, raw, option) for option in more]
        return self._typed(found)

    def _named(self, hostvars: Any, name: str, raw: Mapping[str, Any], option: str) -> Any:
        """What an option says; nothing where that cannot be known, which a rotation tells of."""
        variable = f"keyturn_{option}"
        try:
            return self._variable(hostvars, name, raw, variable) if variable in raw else None
        except Exception:
            return None

    def _variable(self, hostvars: Any, name: str, raw: Mapping[str, Any], variable: str) -> Any:
        try:
            return filled(raw[variable], raw)
        except LookupError:
            return untagged(hostvars[name][variable])

    def _typed(self, found: dict[str, Any]) -> dict[str, Any]:
        kinds: dict[str, Any] = {
            **dict.fromkeys(("policy", "issuer", "generate"), Mapping),
            "sinks": (list, tuple),
        }
        for option, kind in kinds.items():
            if option in found and not isinstance(found[option], kind):
                wanted = "a list" if option == "sinks" else "a mapping"
                said = f"keyturn_{option}: expected {wanted}"
                return {"failed": True, "kind": "BadInput", "msg": said, "owner": ""}
        return found

    def _report(
        self, report: Mapping[str, Any], params: Mapping[str, Any], fail_on: tuple[str, ...]
    ) -> dict[str, Any]:
        document = show(report, lambda: audit_table(report, screen_width()), params)
        changed = keep(document, params, bool(self._task.check_mode))
        told = failing(report, fail_on)
        more = len(told) - _TELLING
        said = told[:_TELLING] + ([f"and {more} more, which the report names"] if more > 0 else [])
        return {
            "changed": changed,
            "summary": report["summary"],
            "brief": brief(report),
            "failing": said,
        }


__all__ = ["CLASSES", "ActionModule"]
