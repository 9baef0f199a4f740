# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image that podman or docker has: which one, and its archive as a stream."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Dict, Iterator, List, Mapping, NoReturn

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import (
    Completed,
    run_command,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import program_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_archive import Readable
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_time import Timed

ENGINES = ("podman", "docker")
_ABOUT = MappingProxyType(
    {
        "podman": '{"id":{{json .ID}},"names":{{json .RepoTags}},"annotations":{{json .Annotations}}}',
        "docker": '{"id":{{json .Id}},"names":{{json .RepoTags}}}',
    }
)
_QUICK = 60.0
_SERVICE, _PROJECT = "com.docker.compose.service", "com.docker.compose.project"
_NO_IMAGE = ("no such image", "image not known", "no such object", "unable to find")


class Engine:
    """podman or docker on this host, for reading alone."""

    def __init__(self, name: str, context: Context) -> None:
        self.name = name
        self._environ = program_environ(context.environ)

    def _run(self, *words: str) -> Completed:
        try:
            return run_command([self.name, *words], _QUICK, environ=self._environ)
        except Absent:
            raise BadInput(
                f"there is no {self.name} on this host; correct 'engine', install it, or give the image as 'archive'"
            ) from None

    def _call(self, *words: str) -> str:
        ended = self._run(*words)
        if ended.code:
            self._refuse(words[0], ended)
        return ended.out

    def _refuse(self, word: str, ended: Completed) -> NoReturn:
        said = f"{self.name} {word}: {ended.first_line}"
        if "permission denied" in ended.err.lower():
            raise Denied(
                f"{said}. Run this task as a user who may use {self.name} (ansible_become)"
            )
        raise Unreachable(f"{said}. See whether {self.name} works on this host")

    def image_of(self, service: str, project: str) -> str:
        """The id of the image that the containers of a compose service were made from.

        :raises BadInput: it has no container, or those of several images or projects.
        """
        labels = {_SERVICE: service, **({_PROJECT: project} if project else {})}
        words = [it for key, value in labels.items() for it in ("--filter", f"label={key}={value}")]
        ids = self._call("ps", "--all", "--quiet", "--no-trunc", *words).split()
        if not ids:
            raise BadInput(
                f"{self.name} has no container of compose service '{service}'; correct 'service', 'project' or 'engine', or give 'image'"
            )
        text = f'{{{{.Image}}}} {{{{index .Config.Labels "{_PROJECT}"}}}}'
        found = {
            self._call("container", "inspect", "--format", text, "--", one).strip() for one in ids
        }
        images = {line.split()[0] for line in found}
        projects = {line.partition(" ")[2] for line in found}
        if len(projects) > 1:
            raise BadInput(
                f"compose service '{service}' is in several projects: {', '.join(sorted(projects))}; give 'project'"
            )
        if len(images) > 1:
            raise BadInput(
                f"the containers of compose service '{service}' run {len(images)} images; name one with 'image'"
            )
        return images.pop()

    def look_up(self, image: str) -> Dict[str, Any]:
        """An image's ``id``, ``names`` and ``annotations``.

        :raises BadInput: there is none of that name.
        """
        if image.startswith("-"):
            raise BadInput(f"image: '{image}' is no name of an image")
        # Not the whole answer, which podman and docker write differently, and which has the environment in it.
        text = _ABOUT[self.name]
        ended = self._run("image", "inspect", "--format", text, "--", image)
        if ended.code and any(said in ended.err.lower() for said in _NO_IMAGE):
            raise BadInput(
                f"{self.name} has no image '{image}' on this host; correct 'image' or 'engine', or pull it first"
            )
        if ended.code:
            self._refuse("image", ended)
        found: Dict[str, Any] = json.loads(ended.out)
        return found

    @contextmanager
    def saved(self, image: str, seconds: float) -> Iterator[Readable]:
        """The image's archive as a stream.

        :raises Unreachable: the engine did not write it to its end.
        """
        # What an image is stored as is not compressed again for a reader who takes it apart at once.
        layout = ["--quiet", "--format", "docker-archive"] if self.name == "podman" else []
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [self.name, "save", *layout, image],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environ,
            )
            try:
                if process.stdout is None:
                    raise Unreachable(f"{self.name} save: it has no output")
                stream = Timed(process.stdout, time.monotonic() + seconds)
                yield stream
                while stream.read(1 << 20):
                    pass
                code = process.wait(_QUICK)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                if process.stdout:
                    process.stdout.close()
            if code:
                errors.seek(0)
                said = Completed(code, "", errors.read(1 << 16).decode("utf-8", "replace"))
                raise Unreachable(f"{self.name} save: {said.first_line}")


def notes_of(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the engine says of an image that is no part of its configuration."""
    told = found.get("annotations")
    return told if isinstance(told, dict) else {}


def names_of(found: Mapping[str, Any]) -> List[str]:
    """The names of an image."""
    return [str(name) for name in found.get("names") or []]
