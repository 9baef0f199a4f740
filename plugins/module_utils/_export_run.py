# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a program that is given values in its environment: what it says is dropped, or told without them."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import Dict, Iterable, Mapping, Optional, Set, Tuple
from urllib.parse import quote, quote_plus

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import MASK, Secret

MOST_OUTPUT = 100_000
"""How many characters of each stream are told at most: the last ones."""

_GRACE = 1.0


@dataclass(frozen=True)
class Command:
    """What to run.

    :param environ: what it inherits, which holds no value.
    :param values: environment variables whose values are secret.
    :param seconds: how long it may take.
    """

    argv: Tuple[str, ...]
    environ: Mapping[str, str]
    values: Mapping[str, Secret]
    chdir: Optional[str]
    seconds: float
    keep_output: bool = False


@dataclass(frozen=True)
class Ended:
    """How it ended; its output without any value, where that was asked for."""

    rc: int
    stdout: str = ""
    stderr: str = ""


def _forms(value: str) -> Set[str]:
    """A value as programs print it: itself, its lines, and escaped or encoded in the usual ways."""
    data = value.encode("utf-8", "surrogatepass")
    encoded = (base64.b64encode(data), base64.urlsafe_b64encode(data))
    return {
        value,
        *(line.strip() for line in value.splitlines()),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        value.replace("'", "'\\''"),
        quote(data, safe=""),
        quote(data),
        quote_plus(data),
        data.hex(),
        *(text.decode().rstrip("=") for text in encoded),
    }


def redacted(text: str, values: Iterable[Secret]) -> str:
    """The text without the values, in whatever usual form they are there."""
    forms = {form for value in values for form in _forms(value.reveal()) if form}
    if not forms:
        return text
    # Where one form begins with another, the longer one is looked for first.
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.sub("|".join(map(re.escape, longest_first)), MASK, text)


def _told(data: Optional[bytes], command: Command) -> str:
    if data is None:
        return ""
    # Cut only afterwards: a part of a value at the edge would not be recognised.
    text = redacted(data.decode("utf-8", "replace"), command.values.values())
    return text[-MOST_OUTPUT:]


def find(command: Command) -> None:
    """See whether it could be started.

    :raises BadInput: when folder or program is not there.
    """
    if command.chdir and not os.path.isdir(command.chdir):
        raise BadInput(f"chdir: directory {command.chdir} was not found on this host; correct it")
    name = command.argv[0]
    path = os.path.join(command.chdir or "", name) if "/" in name else name
    if not shutil.which(path, path=command.environ.get("PATH", os.defpath)):
        raise BadInput(
            f"argv: program {name} was not found on this host; install it, or correct 'argv'"
        )


def _environ(command: Command) -> Dict[str, str]:
    own = {name: value.reveal() for name, value in command.values.items()}
    return {**command.environ, **own}


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        process.kill()
    try:
        process.communicate(timeout=_GRACE)
    except subprocess.TimeoutExpired:
        # A child that left the group lives on and holds the other end; what it still says is not waited for.
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
        process.wait()


def execute(command: Command) -> Ended:
    """Run it to its end, in a session of its own, with nothing to read.

    :raises BadInput: it is not there.
    :raises Unreachable: it could not be started, or did not end in time (then it and its children are killed).
    """
    find(command)
    name, stream = command.argv[0], subprocess.PIPE if command.keep_output else subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=_environ(command),
            cwd=command.chdir,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        code = f": {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else ""
        raise Unreachable(f"argv: {name} could not be started{code}") from None
    try:
        stdout, stderr = process.communicate(timeout=command.seconds)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise Unreachable(
            f"argv: {name} did not end within {command.seconds:g} s and was killed; give it a longer 'timeout'"
        ) from None
    except BaseException:
        _kill(process)
        raise
    return Ended(process.returncode, _told(stdout, command), _told(stderr, command))
