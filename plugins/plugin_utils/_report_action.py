# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action that makes one report of the results of many hosts: on the screen, in a file, and for the tasks that follow."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from json.encoder import encode_basestring_ascii
from types import MappingProxyType
from typing import Any, ClassVar

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import failure
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._report_file import write_file

OUTPUT_OPTIONS: Mapping[str, Any] = {
    "output": {"type": "str", "default": "table", "choices": ["table", "json"]},
    "output_file": {"type": "str", "default": ""},
}
REPORT_OPTIONS: Mapping[str, Any] = {
    "results": {"type": "dict", "required": True},
    **OUTPUT_OPTIONS,
}
_WIDEST = 120
_WORDS: Mapping[bool | None, str] = MappingProxyType({None: "null", False: "false", True: "true"})


def screen_width() -> int:
    """Columns of the screen, and at most 120: workers have none of their own, so Ansible's display tells what it measured."""
    columns = os.environ.get("COLUMNS", "")
    return min(_WIDEST, int(columns) if columns.isdigit() else int(Display().columns or 79))


def indented(value: Any, margin: str = "\n") -> str:
    """A document as ``json.dumps`` writes it with ``indent=2``, which takes ten times as long: a report has millions of lines."""
    inner = margin + "  "
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, dict) and value:
        items = [f"{_name(name)}: {indented(item, inner)}" for name, item in value.items()]
        return f"{{{inner}{f',{inner}'.join(items)}{margin}}}"
    if isinstance(value, (list, tuple)) and value:
        items = [indented(item, inner) for item in value]
        return f"[{inner}{f',{inner}'.join(items)}{margin}]"
    return _WORDS[value] if value is None or isinstance(value, bool) else json.dumps(value)


def _name(name: Any) -> str:
    """A key: what is no text is one in JSON all the same."""
    return encode_basestring_ascii(name if isinstance(name, str) else json.dumps(name))


def show(
    report: Mapping[str, Any], table: Callable[[], list[str]], params: Mapping[str, Any]
) -> str:
    """Print a report as the options ask for it.

    :param table: the report as lines for a person, which nobody may want.
    :return: the report as JSON; empty where nobody wants that.
    """
    as_json = params["output"] == "json"
    document = indented(report) if as_json or params["output_file"] else ""
    Display().display(document if as_json else "\n".join(table()))
    return document


def keep(document: str, params: Mapping[str, Any], check_mode: bool) -> bool:
    """Write a report to the file that the options name, if any; whether there is one.

    :raises KeyturnError: naming the file and what to do.
    """
    path = params["output_file"]
    if path and not check_mode:
        write_file(os.path.abspath(os.path.expanduser(path)), document + "\n")
    return bool(path)


class ReportAction(ActionBase):
    """Subclasses say which options there are beside :data:`REPORT_OPTIONS`, and what the report is."""

    options: ClassVar[dict[str, Any]]
    _requires_connection = False
    _supports_check_mode = True

    @abstractmethod
    def report(self, results: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """The report, as JSON can hold it."""

    @abstractmethod
    def table(self, report: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
        """The report as lines for a person."""

    @abstractmethod
    def findings(self, report: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """What the result says of the report beside the report itself."""

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the task; see :class:`ansible.plugins.action.ActionBase`."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        spec = {**REPORT_OPTIONS, **self.options}
        _validation, params = self.validate_argument_spec(argument_spec=spec)
        report = self.report(params["results"], datetime.now(timezone.utc))
        document = show(report, lambda: self.table(report, params), params)
        try:
            changed = keep(document, params, bool(self._task.check_mode))
        except Exception as error:
            return {**result, **failure(error)}
        return {**result, "changed": changed, "report": report, **self.findings(report, params)}
