# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A child process that publishes: it gets the key by its standard input, and it and all that it started end in time.
No memory of it is written to a disk when it crashes."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import IO, Callable, Dict, List, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import program_environ

_MOST = 1 << 18
_EVERY = 0.2


@dataclass(frozen=True)
class Heard:
    """What a child said; it may quote the key.

    :param ended: false when its time was up and it was killed.
    """

    rc: int
    out: str
    err: str
    ended: bool
    seconds: float


def _nothing(_out: str) -> None:
    """Nobody looks on."""


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _piped(stream: Optional[IO[bytes]]) -> IO[bytes]:
    """A stream that was asked for.

    :raises OSError: it is not there, which cannot be.
    """
    if stream is None:
        raise OSError
    return stream


def _undumped(process: subprocess.Popen[bytes]) -> None:
    """Have the kernel write no memory of it when it crashes: the key is in there.

    :raises OSError: the kernel does not allow it.
    """
    most = resource.prlimit(process.pid, resource.RLIMIT_CORE)[1]
    # One byte stops a dump into another program, too; for that zero means nothing.
    limit = 1 if most else 0
    resource.prlimit(process.pid, resource.RLIMIT_CORE, (limit, limit))


def _feed(process: subprocess.Popen[bytes], fed: bytes) -> None:
    """Hand over the key and close; it fits into a pipe, so this does not wait for a reader."""
    stdin = _piped(process.stdin)
    with contextlib.suppress(BrokenPipeError):
        stdin.write(fed)
        stdin.flush()
    with contextlib.suppress(BrokenPipeError):
        stdin.close()


def _listen(
    process: subprocess.Popen[bytes], until: float, look: Callable[[str], None]
) -> Dict[str, bytes]:
    """Read what it says until it closes both streams or time is up."""
    said = {"out": b"", "err": b""}
    with selectors.DefaultSelector() as waiting:
        for name, stream in (("out", _piped(process.stdout)), ("err", _piped(process.stderr))):
            os.set_blocking(stream.fileno(), False)
            waiting.register(stream, selectors.EVENT_READ, name)
        while waiting.get_map() and time.monotonic() < until:
            for key, _events in waiting.select(_EVERY):
                piece = os.read(key.fd, 1 << 16)
                if not piece:
                    waiting.unregister(key.fileobj)
                said[key.data] = (said[key.data] + piece)[-_MOST:]
            look(said["out"].decode("utf-8", "replace"))
    return said


def _dying_with_us(environ: Mapping[str, str]) -> List[str]:
    """What to put before a command, so that the kernel kills it when this process dies: a run that is killed would leave a stream that the
    next one takes for somebody who is live. The child waits for no output of its own to fail: ffmpeg goes on without a reader."""
    setpriv = shutil.which("setpriv", path=environ.get("PATH"))
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def run_child(
    argv: Sequence[str],
    environ: Mapping[str, str],
    fed: bytes,
    seconds: float,
    look: Callable[[str], None] = _nothing,
) -> Heard:
    """Run a program to its end, or to the end of its time: then it and its children are killed.

    :param environ: the task's environment, of which it gets what programs need.
    :param fed: what it reads from its standard input.
    :param seconds: at most so many.
    :param look: called several times in a second with what it wrote to its standard output so far.
    :raises OSError: it could not be started.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        [*_dying_with_us(environ), *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**program_environ(environ), "LC_ALL": "C"},
        cwd="/",
        start_new_session=True,
    )
    try:
        with contextlib.suppress(ProcessLookupError):
            _undumped(process)
        _feed(process, fed)
        said = _listen(process, began + seconds, look)
        left = max(began + seconds - time.monotonic(), 0.0)
        ended = True
        try:
            process.wait(left)
        except subprocess.TimeoutExpired:
            ended = False
    finally:
        # Also what it started and left behind.
        _kill(process)
        _piped(process.stdout).close()
        _piped(process.stderr).close()
    out, err = (said[name].decode("utf-8", "replace") for name in ("out", "err"))
    return Heard(process.returncode, out, err, ended, time.monotonic() - began)
