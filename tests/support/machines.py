# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real containers, and a real machine with systemd in one of them that is reached by ssh. No registry and no network is used."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from estate.errors import EstateError, Missing
from estate.processes import Running, wait_until

ROOT = Path(__file__).resolve().parents[2]
FINDER = ROOT / "scripts" / "systemd-image"
SETTINGS = ROOT / "tests" / "servers" / "containers.conf"
PROGRAMS = Path(__file__).resolve().parent / "programs"
INSIDE = "ansible_collections/keyturn/runbooks"
COLLECTIONS = "/opt/collections"
APP = "/opt/programs/app.py"


def digest(text: str) -> str:
    """What the application notes when it reads this text."""
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def required() -> Iterator[None]:
    """Skip with the reason when a real part is missing; fail where every real part is required."""
    try:
        yield
    except Missing as error:
        told = f"real part missing: {error}"
        if os.environ.get("KEYTURN_REQUIRE_REAL") == "1":
            pytest.fail(told, pytrace=False)
        pytest.skip(told)


def machine_image() -> str:
    """The name of the image of Debian with systemd, python3 and sshd; it is never built here.

    :raises Missing: when there is none.
    """
    found = subprocess.run([str(FINDER), "--cached"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise Missing(f"containers: {found.stderr.strip()}")
    return found.stdout.strip()


def run(
    argv: Sequence[str],
    environ: Mapping[str, str],
    stdin: str = "",
    folder: Path = Path("/"),
    accept: Sequence[int] = (0,),
) -> str:
    """Run a program; returns what it printed.

    :raises EstateError: when it ends otherwise, with the end of its errors.
    """
    ended = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        env=environ,
        cwd=folder,
        check=False,
        timeout=120,
    )
    if ended.returncode not in accept:
        told = (ended.stderr or ended.stdout).strip()[-400:]
        raise EstateError(f"{shlex.join(argv)} ended with {ended.returncode}: {told}")
    return ended.stdout


class Podman(Running):
    """podman as the tests use it; what was started through it is removed at the end, and nothing else.

    :ivar image: the image of all containers.
    :ivar environ: the environment in which this podman is used; ``own_environ`` is what it adds to this process's.
    """

    def __init__(self) -> None:
        self.image = machine_image()
        self.own_environ = {"CONTAINERS_CONF": str(SETTINGS)}
        if not Path("/run/systemd/system").exists():
            # Nobody keeps the engine's timers here: a test asks for health itself.
            self.own_environ["DISABLE_HC_SYSTEMD"] = "true"
        self.environ = {**os.environ, **self.own_environ}
        self._started: list[str] = []

    def start(self) -> Podman:
        """See whether containers can be run at all; returns itself.

        :raises Missing: when they cannot.
        """
        try:
            self.call("rm", "--force", self.run("true"))
        except EstateError as error:
            raise Missing(f"containers: {error}") from None
        return self

    def close(self) -> None:
        """Remove what was started."""
        while self._started:
            self.remove(self._started[-1])

    def call(self, *words: str, accept: Sequence[int] = (0,)) -> str:
        """Run podman.

        :raises EstateError: with the end of its errors.
        """
        return run(["podman", *words], self.environ, accept=accept)

    def compose(self, program: str, *words: str, folder: Path) -> None:
        """Run podman-compose in a folder.

        :raises Missing: when it is not installed.
        :raises EstateError: with the end of its errors.
        """
        if not Path(program).exists():
            raise Missing("podman-compose: pip install podman-compose")
        run([program, *words], self.environ, folder=folder)

    def run(self, *command: str, options: Sequence[str] = ()) -> str:
        """Start a container without network in the background; returns its id."""
        words = ["run", "--detach", "--network=none", "--stop-timeout=2", *options]
        started = self.call(*words, self.image, *command).strip()
        self._started.append(started)
        return started

    def remove(self, container: str) -> None:
        """Remove a container, however it is doing."""
        if container in self._started:
            self._started.remove(container)
        # One that podman is just restarting cannot be stopped in that moment.
        words = ("rm", "--force", "--ignore", "--time=0", container)
        wait_until(lambda: self._is_done(words), 20, f"podman to remove {container}")

    def _is_done(self, words: Sequence[str]) -> bool:
        try:
            self.call(*words)
        except EstateError:
            return False
        return True

    def remove_project(self, project: str) -> None:
        """Remove what compose started of a project."""
        label = f"label=com.docker.compose.project={project}"
        for container in self.call("ps", "--all", "--quiet", "--filter", label).split():
            self.remove(container)


class SystemdMachine(Running):
    """A Debian with a running systemd; Ansible reaches it by ssh through ``podman exec``, so that it needs no network.

    :param folder: where the keys for ssh go.
    :param collection: the collection's files; the machine sees them read-only.
    """

    def __init__(self, podman: Podman, folder: Path, collection: Path) -> None:
        self._podman = podman
        self._folder = folder
        self._collection = collection.resolve()
        self.id = self._pid = ""

    def start(self) -> SystemdMachine:
        """Start it and wait until it is up."""
        mounts = {self._collection: f"{COLLECTIONS}/{INSIDE}", PROGRAMS: "/opt/programs"}
        options = [f"--volume={here}:{there}:ro" for here, there in mounts.items()]
        self.id = self._podman.run(options=["--systemd=always", *options])
        self._pid = self._podman.call("inspect", "--format={{.State.Pid}}", self.id).strip()
        wait_until(self._is_up, 30, "systemd to be up")
        self._open_ssh()
        return self

    def close(self) -> None:
        """Remove it."""
        if self.id:
            self._podman.remove(self.id)

    def _is_up(self) -> bool:
        return self.shell("systemctl is-system-running || true").strip() in ("running", "degraded")

    def shell(self, script: str, stdin: str = "") -> str:
        """Run a script as root; returns what it printed.

        :raises EstateError: when it fails.
        """
        argv = ["nsenter", "--all", f"--target={self._pid}", "sh", "-ec", script]
        return run(argv, {"PATH": os.defpath + ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}, stdin)

    def write(self, path: str, text: str) -> None:
        """Write a file of mode 0600, with the directories above it."""
        script = f'umask 077; mkdir -p "$(dirname "{path}")"; cat >"{path}.new"; mv "{path}.new" "{path}"'
        self.shell(script, stdin=text)

    def read(self, path: str) -> str:
        """A file's text; empty when it is not there."""
        return self.shell(f'cat "{path}" 2>/dev/null || true')

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.shell(f"systemctl show --value --property={name} {unit}").strip()

    def pick_up(
        self, definition: Mapping[str, Any], files: Sequence[str] = (), check_mode: bool = False
    ) -> dict[str, Any]:
        """Have a consumer of this machine pick up its value; see programs/pick_up.py."""
        given = {"definition": definition, "files": list(files), "check_mode": check_mode}
        call = f"PYTHONPATH={COLLECTIONS} exec python3 -B /opt/programs/pick_up.py"
        told: dict[str, Any] = json.loads(self.shell(call, stdin=json.dumps(given)))
        return told

    def variables(self, name: str) -> dict[str, Any]:
        """The host variables of this machine in an inventory where it has this name."""
        known = self._folder / "known_hosts"
        key = self.shell("cat /etc/ssh/ssh_host_ed25519_key.pub")
        known.write_text(f"{self.id} {key}")
        podman = shutil.which("podman")
        proxy = f"env CONTAINERS_CONF={SETTINGS} {podman} exec -i {self.id} /usr/sbin/sshd -i"
        options = {
            "HostKeyAlias": self.id,
            "IdentitiesOnly": "yes",
            "ProxyCommand": f"'{proxy}'",
            "UserKnownHostsFile": known,
        }
        words = [f"-o {option}={value}" for option, value in options.items()]
        return {
            "ansible_connection": "ssh",
            "ansible_host": name,
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_control_path_dir": str(self._folder),
            "ansible_ssh_private_key_file": str(self._folder / "id"),
            "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=10s",
            "ansible_ssh_common_args": " ".join(["-F /dev/null", *words]),
        }

    def _open_ssh(self) -> None:
        """Make the keys of both sides."""
        key = self._folder / "id"
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", ""]
        if not shutil.which(make[0]):
            raise Missing("ssh: install the Debian package openssh-client")
        subprocess.run([*make, "-C", "tests", "-f", str(key)], check=True, timeout=60)
        self.shell(f"mkdir -p /run/sshd; {' '.join(make)[:-1]} '' -f /etc/ssh/ssh_host_ed25519_key")
        self.write("/root/.ssh/authorized_keys", key.with_suffix(".pub").read_text())


class Application:
    """A unit of the machine that runs programs/app.py: what it reads, and what it noted.

    :param service: lines of the unit's ``[Service]`` section beside its ``ExecStart``.
    :param source: what it reads; its own file unless given.
    """

    def __init__(
        self,
        machine: SystemdMachine,
        *service: str,
        source: str = "",
        name: str = "",
        seconds: str = "",
    ) -> None:
        self.machine = machine
        self.name = name or f"app-{secrets.token_hex(4)}"
        self.unit = f"{self.name}.service"
        self.folder = f"/srv/{self.name}"
        self.file = f"{self.folder}/value"
        self.notes = f"{self.folder}/notes"
        self.value = ""
        start = f"ExecStart=/usr/bin/python3 -B {APP} {source or self.file} {self.notes} {seconds}"
        lines = ["[Service]", "Type=notify", start, *service, ""]
        self.put()
        machine.write(f"/etc/systemd/system/{self.unit}", "\n".join(lines))
        machine.shell("systemctl daemon-reload")

    def start(self) -> Application:
        """Start it; returns itself."""
        self.machine.shell(f"systemctl start {self.unit}")
        return self

    def put(self, template: str = "{value}") -> str:
        """Write a new value; returns it."""
        self.value = secrets.token_urlsafe(24)
        self.machine.write(self.file, template.format(value=self.value))
        return self.value

    @property
    def times(self) -> int:
        """How often it read a value."""
        return len(self.machine.read(self.notes).split())

    @property
    def uses(self) -> str:
        """The digest of what it read last."""
        return self.machine.read(self.notes).split()[-1]

    @property
    def is_current(self) -> bool:
        """Whether it uses the value that was written last."""
        return self.uses == digest(self.value)

    @property
    def pid(self) -> str:
        """Its process."""
        return self.machine.show(self.unit, "MainPID")

    def pick_up(self, check_mode: bool = False, **definition: Any) -> dict[str, Any]:
        """Have it pick up its value; with a timeout of 30 s and no time to settle unless given."""
        given = {"type": "systemd", "unit": self.unit, "timeout": "30s", "settle": "0s"}
        told = self.machine.pick_up({**given, **definition}, [self.file], check_mode)
        if self.value in json.dumps(told):
            raise AssertionError("a value is told")
        return told
