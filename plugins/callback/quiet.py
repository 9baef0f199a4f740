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

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed."""
        if not ignore_errors:
            self._tell(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host did not answer."""
        self._tell(result)

    def _tell(self, result: Any) -> None:
        said = result._result.get("msg") or "failed, without a message"
        line = " ".join(str(said).split())
        self._display.display(f"{result._host.get_name()}: {line}", color="red", stderr=True)
