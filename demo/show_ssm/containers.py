# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of the application where podman runs them, and images to look into; without podman, images as files."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from estate.collection import ROOT
from estate.errors import EstateError, Missing
from estate.shop import write_secret
from image_archives import docker, tar

PROGRAM = Path(__file__).with_name("musehub.py")
SETTINGS = ROOT / "tests" / "servers" / "containers.conf"
TOP = ("bin", "lib", "lib64", "sbin")
SETTING, LEFT = "srv/settings.env", "STRIPE_API_KEY"
HARMLESS = b"# settings come from the environment\n"
BUILD = """FROM {base}
ENV PYTHONUNBUFFERED=1 {left}={key}
COPY one /
COPY two /
"""


def baked(password: str) -> bytes:
    """A settings file that somebody copied into an image by mistake."""
    return f"LOG_LEVEL=info\nDB_LOGIN={password}\n".encode()


class Archives:
    """Images as files that docker could load: there is no podman here.

    :ivar why: why there are no containers.
    """

    compose = project = ""

    def __init__(self, folder: Path, why: str) -> None:
        self.folder, self.why = folder, why
        self.environ: dict[str, str] = {}

    def images(self, password: str, key: str) -> list[dict[str, str]]:
        """An image without secrets and one with two, as the inventory names them."""
        variables = ["PYTHONUNBUFFERED=1"]
        over = tar({SETTING: HARMLESS})
        layers = [tar({SETTING: baked(password)}), over]
        config = {"Env": [*variables, f"{LEFT}={key}"]}
        for name in ("clean", "new"):
            (self.folder / f"musehub-{name}.tar").touch(mode=0o600)
        clean = docker(self.folder / "musehub-clean.tar", [over], config={"Env": variables})
        planted = docker(self.folder / "musehub-new.tar", layers, config=config)
        return [{"archive": str(path)} for path in (clean, planted)]

    def close(self) -> None:
        """Nothing runs."""


class Containers:
    """podman with an image that has nothing but links to this machine's programs, which it sees read-only.

    :param folder: where the compose project and the parts of images go.
    :param port: where the application listens.
    :raises Missing: when containers cannot be run.
    """

    why = ""

    def __init__(self, folder: Path, port: int, database_port: int) -> None:
        self.folder, self._made = folder, list[str]()
        beside = shutil.which("podman-compose", path=str(Path(sys.executable).parent))
        self.compose = beside or shutil.which("podman-compose") or ""
        if os.geteuid():
            raise Missing("containers are started as root only, so that nothing is left in a home")
        if not (shutil.which("podman") and shutil.which("runc")):
            raise Missing("there is no podman here, or no runc")
        if not self.compose:
            raise Missing("there is no podman-compose here")
        self.environ = {"CONTAINERS_CONF": str(SETTINGS)}
        # A name of its own: somebody may have an application of that name here.
        self.project = f"musehub-{secrets.token_hex(4)}"
        self.name = f"localhost/{self.project}"
        try:
            self._base()
            self._project(port, database_port)
            self._call("run", "--rm", "--network=none", *self._volumes(), self.name, "true")
        except EstateError as error:
            self.close()
            raise Missing(str(error)) from None

    def images(self, password: str, key: str) -> list[dict[str, str]]:
        """The image that the service runs, and one with two secrets, as the inventory names them."""
        for name, content in (("one", baked(password)), ("two", HARMLESS)):
            path = self.folder / "images" / name / SETTING
            path.parent.mkdir(parents=True)
            write_secret(path, content.decode())
        text = BUILD.format(base=self.name, left=LEFT, key=key)
        write_secret(self.folder / "images" / "Containerfile", text)
        planted = f"{self.name}-new"
        self._made.append(planted)
        self._call("build", "--quiet", "--pull=never", "--tag", planted, f"{self.folder}/images")
        return [{"service": "musehub", "project": self.project}, {"image": planted}]

    def started(self) -> str:
        """When the application's container was made; it is another time after each deployment."""
        return self._call("inspect", "--format={{.Created}}", *self._own())

    def close(self) -> None:
        """Remove what was made here, and nothing else."""
        for container in self._own():
            self._call("rm", "--force", "--time=0", container)
        for image in reversed(self._made):
            self._call("rmi", "--force", "--ignore", image)
        self._made.clear()

    def _own(self) -> list[str]:
        return self._call("ps", "--all", "--quiet", "--filter", f"ancestor={self.name}").split()

    def _base(self) -> None:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            for name in TOP:
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
                archive.addfile(link)
            file = tarfile.TarInfo(SETTING)
            file.size = len(HARMLESS)
            archive.addfile(file, io.BytesIO(HARMLESS))
        path = self.folder / "base.tar"
        path.write_bytes(made.getvalue())
        self._made.append(self.name)
        self._call("import", "--quiet", str(path), self.name)

    def _mounts(self) -> list[str]:
        """What a Python of this machine needs, the collection's own folder and the env file's."""
        wanted = [Path("/usr"), Path(sys.prefix), Path(sys.base_prefix), PROGRAM.parent]
        needed = [path for path in dict.fromkeys(wanted) if Path("/usr") not in path.parents]
        return [f"{path}:{path}:ro" for path in (*needed, self.folder / "env")]

    def _volumes(self) -> list[str]:
        return [f"--volume={mount}" for mount in self._mounts()]

    def _project(self, port: int, database_port: int) -> None:
        # The folder is mounted: with env_file, podman-compose would put each value into a command line.
        (self.folder / "env").mkdir(mode=0o700)
        env_file = str(self.folder / "env" / ".env")
        program = [sys.executable, "-B", str(PROGRAM), env_file, str(port), str(database_port)]
        service = {
            "image": self.name,
            "command": program,
            "volumes": self._mounts(),
            "network_mode": "host",
            "stop_grace_period": "2s",
        }
        project = self.folder / self.project
        project.mkdir()
        # JSON is YAML, too.
        text = json.dumps({"services": {"musehub": service}}, indent=1)
        (project / "compose.yaml").write_text(text, encoding="utf-8")

    def _call(self, *words: str) -> str:
        environ = {**os.environ, **self.environ}
        ended = subprocess.run(
            ["podman", *words], env=environ, capture_output=True, text=True, check=False, timeout=60
        )
        if ended.returncode:
            told = ended.stderr.strip()[-300:]
            raise EstateError(f"podman {words[0]} ended with {ended.returncode}: {told}")
        return ended.stdout.strip()


def open_containers(
    folder: Path, port: int, database_port: int, wanted: bool = True
) -> Archives | Containers:
    """podman where it works, and is wanted."""
    if not wanted:
        return Archives(folder, "the demo was told to run none")
    try:
        return Containers(folder, port, database_port)
    except Missing as error:
        return Archives(folder, str(error))
