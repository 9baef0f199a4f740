# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What host modules do on a machine with systemd, called there without Ansible; see programs/run_core.py."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._redact import seal_values
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from machines import COLLECTIONS, SystemdMachine


def call(
    machine: SystemdMachine,
    module: str,
    hidden: Sequence[str] = (),
    check_mode: bool = False,
    user: str = "",
    **params: Any,
) -> dict[str, Any]:
    """Run a module's core on the machine; returns its result, also of a failure.

    :param hidden: values that its controller would have sent along.
    :param user: who runs it; root unless given.
    """
    sealed = seal_values([Secret(value) for value in hidden]).reveal()
    asked = {**params, "contents": {"sealed": sealed}}
    given = {"module": module, "params": asked, "check_mode": check_mode}
    become = f"setpriv --reuid={user} --regid={user} --clear-groups " if user else ""
    script = f"PYTHONPATH={COLLECTIONS} PYTHONPYCACHEPREFIX=/tmp/compiled {become}python3 /opt/programs/run_core.py"
    told: dict[str, Any] = json.loads(machine.shell(script, stdin=json.dumps(given)))
    text = json.dumps(told)
    if any(value in text for value in hidden):
        raise AssertionError("a value is told")
    return told


class Unit:
    """A unit of the machine, made for one test.

    :param service: lines of its ``[Service]`` section; with ``%N`` for its name.
    """

    def __init__(self, machine: SystemdMachine, *service: str, start: bool = True) -> None:
        self.machine = machine
        self.name = f"u-{secrets.token_hex(4)}"
        self.unit = f"{self.name}.service"
        self.folder = f"/srv/{self.name}"
        machine.write(f"{self.folder}/file", secrets.token_urlsafe(9))
        self.define(*service)
        if start:
            machine.shell(f"systemctl start {self.unit}")

    def define(self, *service: str, known: bool = True) -> None:
        """Write its file.

        :param known: let systemd read it.
        """
        lines = service if any("ExecStart=" in line for line in service) else ("ExecStart=/bin/sleep 600", *service)  # fmt: skip
        text = "\n".join(["[Service]", *lines, ""])
        self.machine.write(f"/etc/systemd/system/{self.unit}", text)
        if known:
            self.machine.shell("systemctl daemon-reload")

    def say(self, text: str) -> None:
        """Have it write a line now, as one of its processes."""
        script = f"systemd-cat -t {self.name} cat"
        self.machine.shell(
            f"systemd-run --quiet --wait --unit={self.name}-says-{secrets.token_hex(3)} true; {script}",
            stdin=text,
        )

    @property
    def pid(self) -> int:
        """Its process; 0 when it does not run."""
        return int(self.machine.show(self.unit, "MainPID"))

    @property
    def shown(self) -> str:
        """All that telling it would change of it: its process, its state, what is in the journal about it."""
        return self.machine.shell(
            f"systemctl show {self.unit} -p MainPID,NRestarts,ActiveState,InvocationID,ExecReload; journalctl -o cat -u {self.unit}"
        )

    @property
    def trace(self) -> str:
        """The same, with the locks of all units."""
        return self.shown + self.machine.shell("ls -lR --full-time /run/lock")

    def reload(self, **params: Any) -> dict[str, Any]:
        """Run ``systemd_reload`` for it, with no time to settle unless given."""
        return call(self.machine, "systemd_reload", **{"units": [self.unit], "settle": "0s", **params})  # fmt: skip

    def row(self, **params: Any) -> dict[str, Any]:
        """The row of it in the result."""
        told = self.reload(**params)
        assert "units" in told, told
        found: dict[str, Any] = told["units"][0]
        return found
