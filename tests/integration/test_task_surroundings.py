# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task gets from around it, by each way of execution: environment, defaults, another interpreter, async."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import yaml
from estate.playbook import Ansible
from estate.processes import wait_until
from estate.vault import VaultServer

INFO = "keyturn.runbooks.keyring_info"


def interpreter(place: Path, *libraries: str) -> str:
    """A Python of its own, which sees these directories of libraries and no others."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "more.pth").write_text("".join(f"{path}\n" for path in libraries))
    return str(place / "bin" / "python")


def info(name: str, **more: Any) -> dict[str, Any]:
    """Look at the keyring, which the defaults of the action group name."""
    return {"name": name, INFO: {}, "register": name, **more}


def tasks(scratch: Path, inside: dict[str, str]) -> list[dict[str, Any]]:
    """The same look at the keyring in each way; the last task writes down what they returned.

    :param inside: the environment of the tasks, which says where Vault is.
    """
    claim = {"keyturn.runbooks.keyring": {"transition": "claim"}, "environment": inside}
    in_a_file = {INFO: {"keyring": f"ref+file://{scratch}/keyring.json"}}
    looks = [
        # First: what watches it looks only every five seconds whether it has ended, and removes its files then.
        info("detached", environment=inside, **{"async": 60, "poll": 1}),
        info("direct", environment=inside),
        info("module", environment=inside, vars={"keyturn_direct": False}),
        info("delegated", environment=inside, delegate_to="full"),
        info("without", ignore_errors=True),
        info("no_library", environment=inside, delegate_to="bare", ignore_errors=True),
        {**info("no_library_needed", delegate_to="bare"), **in_a_file},
    ]
    tell = {
        "dest": str(scratch / "told.json"),
        "mode": "0600",
        "content": "{{ dict(names | zip(names | map('extract', vars))) | to_json }}",
    }
    names = {"names": [look["name"] for look in looks]}
    return [claim, *looks, {"ansible.builtin.copy": tell, "vars": names}]


def inventory(scratch: Path) -> Path:
    """This machine under three names: with Ansible's own interpreter, with one that has the libraries, with one that has none."""
    pythons = {
        "localhost": sys.executable,
        "full": interpreter(scratch / "full", sysconfig.get_path("purelib")),
        "bare": interpreter(scratch / "bare"),
    }
    hosts = {
        name: {"ansible_connection": "local", "ansible_python_interpreter": python}
        for name, python in pythons.items()
    }
    path = scratch / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    return path


def test_a_task_sees_the_same_in_each_way(
    scratch: Path, ansible: Ansible, vault: VaultServer, vault_mount: str
) -> None:
    token = scratch / "token"
    token.touch(mode=0o600)
    rights = '["create", "read", "update"]'
    token.write_text(vault.token(f'path "{vault_mount}/*" {{ capabilities = {rights} }}'))
    inside = {"VAULT_ADDR": vault.address, "VAULT_TOKEN_FILE": str(token)}
    defaults = {"keyring": f"ref+vault://{vault_mount}/keyring", "credential": "db"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/keyturn.runbooks.keyturn": defaults},
        "tasks": tasks(scratch, inside),
    }
    book = scratch / "play.yml"
    book.write_text(yaml.safe_dump([play]))
    # Without it Ansible looks for the job in the home directory that the user database names.
    jobs = {"ANSIBLE_ASYNC_DIR": str(scratch / "jobs")}
    ended = ansible.run(str(book), "-vvv", inventory=inventory(scratch), env=jobs).check()
    told = json.loads((scratch / "told.json").read_text())
    seen = {name: item.get("keyring") for name, item in told.items()}
    assert seen["direct"]["claim"]["run_id"]
    assert seen["direct"] == seen["module"] == seen["delegated"] == seen["detached"]
    assert told["detached"]["ansible_job_id"]
    assert "no credentials for Vault" in told["without"]["msg"]
    assert told["no_library"]["kind"] == "MissingLibrary"
    assert "needs the Python library hvac where this task runs" in told["no_library"]["msg"]
    assert seen["no_library_needed"]["exists"] is False
    assert token.read_text() not in ended.output + ansible.log()
    wait_until(lambda: ansible.leftovers() == [], 20, "the end of the detached task")
