# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: python warm_server.py DIRECTORY < jobs
"""Starts ``ansible-playbook`` again and again without importing Ansible and this collection each time.

Each line on standard input is a job (argv, env, cwd, captured); each line on standard output the process id of the
``ansible-playbook`` that was forked for it, in a session of its own. Its wait status goes to the file ``status``.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from ansible import constants
from ansible.cli import playbook
from ansible.plugins.loader import init_plugin_loader

ACTIONS = "ansible_collections.keyturn.runbooks.plugins.action"


def preload(collection: Path) -> None:
    """Import what every run imports before it forks its first worker."""
    init_plugin_loader()
    warnings.filterwarnings("ignore", message="AnsibleCollectionFinder has already been configured")
    for path in (collection / "plugins" / "action").glob("*.py"):
        import_module(f"{ACTIONS}.{path.stem}")


def run(job: dict[str, Any]) -> NoReturn:
    """Be the ``ansible-playbook`` of a job."""
    os.setsid()
    os.chdir(job["cwd"])
    captured = Path(job["captured"])
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        with (captured / name).open("wb") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(job["env"])
    # What Ansible made at its import belongs to the server, which alone removes it.
    atexit._clear()
    base = Path(os.environ["ANSIBLE_LOCAL_TEMP"])
    base.mkdir(mode=0o700, exist_ok=True)
    constants.DEFAULT_LOCAL_TMP = tempfile.mkdtemp(prefix=f"ansible-local-{os.getpid()}", dir=base)
    atexit.register(shutil.rmtree, constants.DEFAULT_LOCAL_TMP, ignore_errors=True)
    sys.argv = ["ansible-playbook", *job["argv"]]
    code = 1
    try:
        playbook.main(sys.argv)
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def watch(job: dict[str, Any], told: int) -> NoReturn:
    """Fork the run, tell its process id, and write down how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(told)
        run(job)
    os.write(told, str(pid).encode())
    os.close(told)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    part = Path(job["captured"]) / "status.part"
    part.write_text(str(code))
    part.rename(part.with_suffix(""))
    os._exit(0)


def serve() -> None:
    """Until the end of standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while line := sys.stdin.readline():
        heard, told = os.pipe()
        if os.fork() == 0:
            os.close(heard)
            watch(json.loads(line), told)
        os.close(told)
        pid = os.read(heard, 32).decode()
        os.close(heard)
        print(pid, flush=True)


if __name__ == "__main__":
    preload(Path(sys.argv[1]))
    serve()
