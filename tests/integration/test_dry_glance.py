# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dry run that looks at another host on its way predicts the same differences as one that does not."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import yaml
from estate.playbook import Ansible, PlaybookResult
from predicted import Naming

NAME = "upload_token"
# At the promotion it stays as it is.
LIST = "{previous,current,pending.value|join:\n}\n"


class Upload:
    """A token that a server here takes by a list of them, with a gate that is asked on another host.

    :ivar told: a line for each time that the server was told to read its list.
    """

    def __init__(self, folder: Path, ansible: Ansible, port: int) -> None:
        self.inventory, self.ansible = folder / "inventory", ansible
        self.told = folder / "told"
        tell = ["sh", "-c", f"echo told >>{self.told}"]
        variables: dict[str, Any] = {
            "keyturn_keyring": f"ref+file://{folder}/keyring.json",
            "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
            "keyturn_issuer": {"type": "generated", "overlap": True},
            "keyturn_sinks": [
                {"name": "list", "ref": f"ref+file://{folder}/tokens", "template": LIST},
                {
                    "name": "token",
                    "ref": f"ref+file://{folder}/token",
                    "template": "{current.value}",
                },
            ],
            "keyturn_consumers": [
                {"name": "server", "type": "command", "argv": tell, "reads": ["list"]}
            ],
            "keyturn_gates": [{"type": "not_connected", "host": "far", "ports": [port]}],
            "keyturn_probes": [
                {
                    "type": "command",
                    "argv": ["sh", "-c", f'grep -qxF -- "$TOKEN" {folder}/tokens'],
                    "environment": {"TOKEN": "{pending.value}"},
                    "refused_rc": [1],
                }
            ],
            "keyturn_wait": "3s",
        }
        (self.inventory / "host_vars").mkdir(parents=True)
        far = {"far": {"ansible_connection": "local"}}
        hosts = {"all": {"hosts": far, "children": {"credentials": {"hosts": {NAME: None}}}}}
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (self.inventory / "host_vars" / f"{NAME}.yml").write_text(yaml.safe_dump(variables))

    def rotate(self, *arguments: str) -> PlaybookResult:
        """Rotate, although it is young."""
        return self.ansible.run(
            "keyturn.runbooks.rotate",
            "--diff",
            *arguments,
            inventory=self.inventory,
            extra_vars={"keyturn_force": True},
        ).check()


def differences(run: PlaybookResult, known: str) -> list[str]:
    """The lines of all differences that a run shows; what was there before is told apart from what is new.

    :param known: what the runs before printed.
    """
    name = Naming(known, NAME)
    return [name.text(line) for line in run.stdout.splitlines() if re.match(r"[+-]", line)]


def test_what_a_look_at_another_host_comes_between_is_written_and_told_once(
    scratch: Path, ansible: Ansible
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        upload, known = Upload(scratch, ansible, server.getsockname()[1]), ""
        for _rotation in range(2):
            predicted = upload.rotate("--check")
            done = upload.rotate()
            assert differences(predicted, known) == differences(done, known)
            assert upload.told.read_text() == "told\n"
            upload.told.unlink()
            known += done.stdout
