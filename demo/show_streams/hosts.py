# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of molecule/shared: started, looked at past Ansible, and removed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from estate.collection import ROOT, collections_path
from estate.errors import EstateError, Missing

NAMES = ("relay1", "encoder1", "ingest1")
SHARED = ROOT / "molecule" / "shared"
# What a rotation could touch, and since when the services run.
LOOK = (SHARED / "look.sh").read_text()


class Hosts:
    """Three containers with systemd, and a folder for what is kept of them.

    :param folder: that of hosts which were started before, such as molecule's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if os.geteuid() or not all(map(shutil.which, ("podman", "runc", "ffmpeg"))):
            raise Missing("hosts with systemd: run it as root, with podman, runc and ffmpeg")
        self.addresses: dict[str, str] = {}
        if folder:
            self.folder = folder
            self._know_addresses()
        else:
            self.folder = Path(tempfile.mkdtemp(prefix="streams-"))
            (self.folder / "keyrings").mkdir()
        settings = self.folder / "ansible.cfg"
        settings.write_text("[defaults]\ninterpreter_python = auto_silent\n")
        self.environ = {
            **os.environ,
            "KEYTURN_STREAMS": str(self.folder),
            "CONTAINERS_CONF": str(ROOT / "tests" / "servers" / "containers.conf"),
            "ANSIBLE_COLLECTIONS_PATH": str(collections_path(self.folder)),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_CONFIG": str(settings),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
            "ANSIBLE_NOCOLOR": "true",
            "PYTHONUNBUFFERED": "1",
        }

    def image(self) -> None:
        """Find the image of the hosts, or build it; what it waits for goes to the screen."""
        self._script("stream-image")

    def start(self) -> None:
        """Start them."""
        self._script("stream-hosts", "up", str(self.folder), *NAMES)
        self._know_addresses()

    def _know_addresses(self) -> None:
        self.addresses = json.loads((self.folder / "addresses.json").read_text())

    def close(self, keep: bool) -> None:
        """Remove them, and the folder unless it is to be kept."""
        self._script("stream-hosts", "down", str(self.folder))
        if not keep:
            shutil.rmtree(self.folder)

    def _script(self, name: str, *words: str) -> None:
        argv = [str(ROOT / "scripts" / name), *words]
        if subprocess.run(
            argv, env=self.environ, check=False, stdout=subprocess.DEVNULL
        ).returncode:
            raise EstateError(f"scripts/{name} failed")

    def shell(self, host: str, script: str) -> str:
        """What a script prints on a host, as root."""
        argv = ["podman", "exec", "-i", f"keyturn-{self.folder.name}-{host}", "sh"]
        ended = subprocess.run(
            argv,
            input=script,
            env=self.environ,
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
        )
        return ended.stdout

    def play(self, playbook: str, words: Sequence[str]) -> Iterator[str]:
        """The lines of a run of Ansible; the last one is its exit status."""
        argv = ["ansible-playbook", "-i", str(SHARED / "inventory"), playbook, *words]
        with subprocess.Popen(
            argv, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as run:
            assert run.stdout is not None  # noqa: S101 - asked for above; for mypy
            yield from run.stdout
        yield str(run.returncode)

    def look(self) -> dict[str, str]:
        """Every file and service that a rotation could touch, by host."""
        return {name: self.shell(name, LOOK) for name in NAMES}

    def received(self) -> int:
        """How many bytes viewers of the platform were sent so far of the stream that is on; 0 when none is."""
        script = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8080/stat\").read().decode())'"
        told = self.shell("ingest1", script)
        found = re.search(
            r"<name>watch</name>.*?<name>restream</name>.*?<bytes_in>(\d+)<", told, re.DOTALL
        )
        return int(found[1]) if found else 0

    def known_keys(self) -> set[str]:
        """All keys that the keyrings hold, and the first ones."""
        found = {path.read_text() for path in self.folder.glob("*.first")}
        for path in self.folder.glob("keyrings/*.json"):
            stages = json.loads(path.read_text())["stages"]
            found |= {
                stages[name]["secrets"]["key"]
                for name in ("current", "previous")
                if stages.get(name)
            }
        return found
