# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible does again in each run with the same result, done once for all runs that a server forks."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import glob
import hashlib
import marshal
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

from ansible import constants
from ansible.plugins import loader, strategy
from jinja2 import Environment

# What a template is compiled to depends on these and on its text.
SYNTAX = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
    "autoescape",
    "sandboxed",
)

# Bytes of a huge page, and MADV_HUGEPAGE and MADV_COLLAPSE of madvise(2).
HUGE, MAY_BE_HUGE, MAKE_HUGE = 2 << 20, 14, 25


def use_huge_pages() -> None:
    """Put what this process has in memory into huge pages, so that its table of pages is short.

    That table is copied for each fork, which is half of what a fork costs the kernel; a server forks each run and each run a
    worker for each task. Where the kernel does not know how, nothing is changed.
    """
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text("ascii", "replace").splitlines():
        span, rights, _offset, _device, inode, *name = line.split()
        if rights != "rw-p" or inode != "0" or name not in ([], ["[heap]"]):
            continue
        begin, end = (int(address, 16) for address in span.split("-"))
        begin, end = -(-begin // HUGE) * HUGE, end // HUGE * HUGE
        if begin < end:
            for advice in (MAY_BE_HUGE, MAKE_HUGE):
                madvise(begin, end - begin, advice)


def find_once(folders: Path, names: list[str]) -> None:
    """Look into a folder of plugins once for each name; other folders are looked into each time.

    :param folders: what holds those folders.
    :param names: of the collection's modules, in full.
    """
    known: dict[str, list[str]] = {}

    def look(pattern: str) -> Iterator[str]:
        if not pattern.startswith(f"{folders}{os.sep}"):
            return glob.iglob(pattern)
        if pattern not in known:
            known[pattern] = glob.glob(pattern)
        return iter(known[pattern])

    loader.glob = SimpleNamespace(glob=glob.glob, iglob=look)
    for name in names:
        for kind in (loader.module_loader, loader.action_loader):
            kind.find_plugin_with_context(name)


class _Told(deque[Any]):
    """The results of a run that are to be looked at.

    :cvar came: set when there is one.
    """

    came = threading.Event()

    def append(self, result: Any) -> None:
        super().append(result)
        self.came.set()


def wait_for_results() -> None:
    """Ansible looks for results hundreds of times in a second, and takes a tenth of a processor for it; here they wake it.

    A quarter of a second, for what it looks at beside results.
    """

    def wait(seconds: float) -> None:
        if seconds < 0.001:
            time.sleep(seconds)
        elif _Told.came.wait(0.25):
            _Told.came.clear()

    strategy.deque = _Told
    strategy.time = SimpleNamespace(**{**vars(time), "sleep": wait})


def compile_templates_once(kept: Path) -> None:
    """Take what a template was compiled to in another run.

    :param kept: where that is; an existing directory.
    """
    compile_now = Environment.compile

    def take(self: Environment, source: Any, *more: Any, **options: Any) -> Any:
        if not isinstance(source, str) or more or options:
            return compile_now(self, source, *more, **options)
        syntax = [getattr(self, name) for name in SYNTAX]
        same = (type(self).__qualname__, syntax, sorted(self.extensions), str(source))
        name = hashlib.sha256(repr(same).encode()).hexdigest()
        try:
            found: CodeType = marshal.loads((kept / name).read_bytes())  # noqa: S302 (written below)
        except FileNotFoundError:
            found = compile_now(self, source)
            if (own := _own_templates()).is_dir():
                part = own / f"{os.getpid()}.lock"
                part.write_bytes(marshal.dumps(found))
                part.rename(own / name)
        return found

    Environment.compile = take  # type: ignore[method-assign]


def _own_templates() -> Path:
    """Where a run puts what it compiled: its own temporary directory, since tests look for whatever it writes elsewhere."""
    return Path(constants.DEFAULT_LOCAL_TMP) / "templates"


def leave_templates(kept: Path) -> None:
    """What this run will have compiled is there for the next one."""
    _own_templates().mkdir()
    atexit.register(link, _own_templates(), kept)


def link(source: Path, target: Path) -> None:
    """Have the files of one directory in another, too."""
    for path in source.iterdir():
        if path.suffix != ".lock":
            with contextlib.suppress(FileExistsError):
                try:
                    os.link(path, target / path.name)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    # A demo's files may be on a disk, and those of the tests' servers in memory.
                    part = target / f"{os.getpid()}.lock"
                    shutil.copyfile(path, part)
                    part.rename(target / path.name)
