# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishing by ffmpeg: the key is an option of a preset, which is read from the standard input.

Only some versions pass such an option on to the RTMP protocol. Of 5.1, 7.0 and 7.1 it was seen that they do; 9.0 takes it and publishes
an empty name, which every ingest refuses. So the versions 5.1 to 7 are taken, and PyAV where there is another one.
"""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import program_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
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

# It reads each line into 1000 bytes, and takes the rest for another one.
_LONGEST_LINE = 900
FIRST, LAST = (5, 1), (7, 99)
_VERSION = re.compile(r"ffmpeg version n?([0-9]{1,3})\.([0-9]{1,3})")
_FRAME = re.compile(r"^frame=\s*([0-9]{1,9})$", re.MULTILINE)
_SIZE = re.compile(r"^total_size=\s*([0-9]{1,15})$", re.MULTILINE)
_WHILE_PUBLISHING = (
    "av_interleaved_write_frame", "error writing trailer", "error muxing a packet", "error submitting a packet to the muxer",
)  # fmt: skip


def version_of(program: str, environ: Mapping[str, str]) -> Optional[Tuple[int, int]]:
    """The version that a program says it has; none when it says none."""
    try:
        ended = subprocess.run(
            [program, "-version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=program_environ(environ),
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.match(ended.stdout.decode("utf-8", "replace"))
    return (int(found.group(1)), int(found.group(2))) if found else None


def find(environ: Mapping[str, str]) -> Tuple[str, str]:
    """The program, or why there is none that is fit: one of the two is empty."""
    program = shutil.which("ffmpeg", path=environ.get("PATH"))
    if program is None:
        return "", "ffmpeg is not there"
    version = version_of(program, environ)
    if version is None:
        return "", "ffmpeg does not say its version"
    if not FIRST <= version <= LAST:
        told = f"{version[0]}.{version[1]}"
        return (
            "",
            f"ffmpeg {told} is there, and only 5.1 to 7 take a key that is in no command line",
        )
    return program, ""


def arguments(program: str, target: Target, pattern: Pattern) -> List[str]:
    """The command line; it has no key in it."""
    size = f"size={pattern.width}x{pattern.height}:rate={pattern.rate}"
    picture, bits = str(pattern.rate * 2), str(pattern.video_bitrate)
    return [
        *(program, "-hide_banner", "-loglevel", "verbose", "-nostdin", "-nostats"),
        *("-progress", "pipe:1", "-re", "-f", "lavfi", "-i", f"testsrc={size}"),
        *("-re", "-f", "lavfi", "-i", "sine=frequency=440", "-t", f"{pattern.seconds:g}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p"),
        *("-b:v", bits, "-maxrate", bits, "-bufsize", str(pattern.video_bitrate * 2)),
        *("-g", picture, "-keyint_min", picture, "-c:a", "aac", "-b:a", str(pattern.audio_bitrate)),
        *("-fpre", "/dev/stdin", "-f", "flv", target.url),
    ]


def _last(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.findall(text)
    return int(found[-1]) if found else 0


def preset(target: Target, key: Secret, seconds: float) -> str:
    """What is not for the command line, and what holds for the whole connection.

    :raises BadInput: a line would be read as several, so that a key could be an option; nothing is quoted.
    """
    silence = int(min(seconds, 10.0) * 1_000_000)
    found: Dict[str, Any] = {
        "rtmp_app": target.application,
        "rtmp_playpath": key.reveal(),
        "rw_timeout": silence,
    }
    if target.scheme == "rtmps":
        found["tls_verify"] = 1
        trusted = ssl.get_default_verify_paths().cafile
        # Without a file it trusts what the system trusts.
        found.update({"ca_file": trusted} if trusted else {})
    lines = [f"{name}={value}" for name, value in found.items()]
    if any(len(line.encode()) > _LONGEST_LINE or not line.isprintable() for line in lines):
        raise BadInput(
            "the key, the application or the path of the certificates is too long for ffmpeg, or holds a line break; give a shorter one"
        )
    return "".join(f"{line}\n" for line in lines)


def publish(
    program: str,
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
    try:
        heard = run_child(
            arguments(program, target, pattern),
            environ,
            preset(target, key, seconds).encode(),
            seconds,
            lambda out: look("frame=" in out),
        )
    except OSError:
        return Ended(FAILED, "ffmpeg could not be started")
    frames, sent = _last(_FRAME, heard.out), _last(_SIZE, heard.out)
    text = heard.err.lower()
    if heard.ended and heard.rc == 0:
        return Ended(ACCEPTED, "", heard.seconds, frames, sent)
    published = frames > 0 or any(words in text for words in _WHILE_PUBLISHING)
    return failed(heard, Said(published, text), frames, sent)
