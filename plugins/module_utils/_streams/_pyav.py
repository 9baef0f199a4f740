# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishing by PyAV, in a process of its own, because PyAV knows no time limit here; address and key go to its standard input."""

from __future__ import annotations

import json
import os
import re
import sys
from importlib.util import find_spec
from typing import Any, Callable, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams import _pyav_program
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._child import run_child
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._ended import (
    ACCEPTED,
    FAILED,
    Ended,
    Said,
    failed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._pattern import (
    Pattern,
    Target,
)

_SENT = re.compile(r"^sent ([0-9]{1,9}) ([0-9]{1,15})$", re.MULTILINE)
_FAILED = re.compile(r"^failed ([0-9]{1,6})$", re.MULTILINE)


def missing() -> str:
    """Why PyAV cannot be used with this Python; empty when it can."""
    return "" if find_spec("av") else f"PyAV is not there for {sys.executable} (pip install av)"


def _source() -> str:
    """The program's text: the module may be in an archive, from which no program can be run."""
    module: Any = _pyav_program
    # Ansible's own loader of collections has it as bytes.
    found = module.__loader__.get_source(module.__name__)
    return found.decode() if isinstance(found, bytes) else str(found)


def _places() -> str:
    """Where this Python finds its packages: PyAV may be where only this process looks."""
    spec = find_spec("av")
    origin = spec.origin if spec else None
    return os.path.dirname(os.path.dirname(origin)) if origin else ""


def publish(
    environ: Mapping[str, str],
    target: Target,
    key: Secret,
    pattern: Pattern,
    seconds: float,
    look: Callable[[bool], None],
) -> Ended:
    """Publish once.

    :param seconds: at most so many, for all of it.
    :param look: called several times in a second with whether the ingest took the stream.
    """
    if "/" in key.reveal():
        return Ended(FAILED, "a key with a slash in it cannot be published by PyAV; use ffmpeg")
    job = {
        "url": target.url,
        "key": key.reveal(),
        "width": pattern.width,
        "height": pattern.height,
        "rate": pattern.rate,
        "frames": pattern.frames,
        "video_bitrate": pattern.video_bitrate,
        "audio_bitrate": pattern.audio_bitrate,
        "limit": seconds,
    }
    program = f"import sys; sys.path.append({_places()!r})\n{_body(_source())}"
    try:
        heard = run_child(
            [sys.executable, "-c", program],
            environ,
            json.dumps(job).encode(),
            seconds,
            lambda out: look("taken" in out),
        )
    except OSError:
        return Ended(FAILED, "Python could not be started")
    sent = _SENT.findall(heard.out)
    frames, size = (int(sent[-1][0]), int(sent[-1][1])) if sent else (0, 0)
    if heard.ended and heard.rc == 0 and "done" in heard.out:
        return Ended(ACCEPTED, "", heard.seconds, frames, size)
    published = "taken" in heard.out
    number = _FAILED.search(heard.out)
    said = Said(published, heard.err.lower(), int(number.group(1)) if number else None)
    return failed(heard, said, frames, size)


def _body(source: str) -> str:
    """The program without the line that has to come first in a file, and cannot behind another one."""
    return source.replace("from __future__ import annotations\n", "", 1)
