# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Standard output for what playbooks have to say to programs, and nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
name: quiet
type: stdout
short_description: Print what tasks print themselves, and nothing else
version_added: 0.1.0
description:
  - Standard output holds nothing of Ansible's own, so that C(-e output=json) of the playbook C(keyturn.runbooks.status) is a
    document that a program can parse as a whole. What fails is told on standard error, one line each.
requirements:
  - Set as stdout callback, such as with E(ANSIBLE_STDOUT_CALLBACK) set to V(keyturn.runbooks.quiet).
author:
  - keyturn.runbooks contributors (@keyturn)
"""

from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Tells failures alone."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "keyturn.runbooks.quiet"

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task succeeded, perhaps with a warning."""
        self._warn(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """So did an item of a loop."""
        self._warn(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """An item of a loop failed; the task tells only how many."""
        self._warn(result)
        self._tell(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed."""
        self._warn(result)
        if not ignore_errors:
            self._tell(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host did not answer."""
        self._tell(result)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """A play has no host, so nothing is looked at."""
        self._display.display("no host matches: nothing was looked at", color="red", stderr=True)

    def _warn(self, result: Any) -> None:
        for line in result._result.get("warnings") or []:
            self._display.warning(str(line))

    def _tell(self, result: Any) -> None:
        said = result._result.get("msg") or "failed, without a message"
        line = " ".join(str(said).split())
        self._display.display(f"{result._host.get_name()}: {line}", color="red", stderr=True)
