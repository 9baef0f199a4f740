# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong is not what a person wrote: a disk, a right, a clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import parse_document
from bad_input import Case, Trial
from estate.errors import Missing
from estate.playbook import Ansible
from machines import required

pytestmark = [
    pytest.mark.pg_versions("16"),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts and other users are root's"),
]
MODULES = "ansible_collections.keyturn.runbooks.plugins.modules"
HOST = "db_00"
NOBODY = 65534
RUN = """
import importlib, json, os, sys
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute, failure
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import _file
core = importlib.import_module(sys.argv[1]).MODULE
asked = ArgumentSpecValidator(dict(core.argument_spec)).validate(json.loads(sys.argv[3]))
user = int(sys.argv[2])
os.setgroups([])
os.setgid(user)
os.setuid(user)
try:
    result = execute(core, dict(asked.validated_parameters), Context())
except Exception as error:
    result = failure(error)
print(json.dumps(result))
"""


@pytest.fixture
def keyring(trial: Trial) -> Path:
    """The keyring of a credential that is in order."""
    trial.hosts[HOST] = Case("in order", "rotate_db", "", {})
    trial.files(HOST)
    trial.adopt(HOST)
    return trial.place / HOST / "keyring.json"


def module(keyring: Path, name: str, user: int = 0, setup: str = ":", **options: Any) -> str:
    """Run a module's core in a process of its own; its message.

    :param user: who it becomes once everything is imported, which may lie where that user sees nothing.
    :param setup: commands that are run first, with mounts that vanish with them.
    """
    given = {"keyring": f"ref+file://{keyring}", "credential": HOST, **options}
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{setup} && exec "$@"']
    argv += ["sh", sys.executable, "-c", RUN, f"{MODULES}.{name}", str(user), json.dumps(given)]
    ended = subprocess.run(
        argv,
        env={**os.environ, "DIR": str(keyring.parent), "PYTHONPATH": _path(), "HOME": "/"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare:" in ended.stderr or "mount:" in ended.stderr:
        pytest.skip(f"cannot mount here: {ended.stderr.strip()}")
    assert ended.stdout, ended.stderr
    result = json.loads(ended.stdout)
    assert (result["failed"], result["changed"]) == (True, False)
    return str(result["msg"])


def _path() -> str:
    return os.environ["ANSIBLE_COLLECTIONS_PATH"]


ON_DISK = 'cp -a "$DIR" "$DIR.kept" && mount -t tmpfs -o size=64k none "$DIR" && cp -a "$DIR.kept/." "$DIR"'
FULL = f'{ON_DISK} && (dd if=/dev/zero of="$DIR/filling" bs=4k 2>/dev/null || true)'
READ_ONLY = f'{ON_DISK} && mount -o remount,ro "$DIR"'


def test_a_full_disk(keyring: Path) -> None:
    before = keyring.read_bytes()
    message = module(keyring, "keyring", setup=FULL, transition="claim")
    assert message == (
        f"keyturn_keyring: cannot write {keyring}: no space left on device; this file is as it was. Make room there and run again"
    )
    assert keyring.read_bytes() == before


def test_a_read_only_file_system(keyring: Path) -> None:
    before, lock = keyring.read_bytes(), keyring.with_name(".keyring.json.keyturn.lock")
    message = module(keyring, "keyring", setup=READ_ONLY, transition="claim")
    assert message == (
        f"keyturn_keyring: cannot write {lock}: read-only file system; this file is as it was. Mount it read-write or name another place"
    )
    assert keyring.read_bytes() == before


def test_a_keyring_of_another_user(keyring: Path) -> None:
    message = module(keyring, "keyring_info", NOBODY)
    assert message == (
        f"keyturn_keyring: cannot read {keyring}: permission denied for user nobody; give that user the right, or become one who has it"
    )


def test_a_directory_of_another_user(keyring: Path) -> None:
    """It may be read, and not replaced."""
    os.chown(keyring, NOBODY, NOBODY)
    before = keyring.read_bytes()
    message = module(keyring, "keyring", NOBODY, transition="claim")
    assert message == (
        f"keyturn_keyring: cannot write {keyring}: permission denied for user nobody; give that user the right, or become one who has it"
    )
    assert keyring.read_bytes() == before


def _faketime() -> str:
    """The library that makes a process see another time."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise Missing("libfaketime is not installed: apt-get install libfaketime")
    return str(found[0])


@pytest.mark.parametrize(
    ("playbook", "where"),
    [
        ("rotate_db", "{host}: 1 gate is closed. (1) clock: "),
        ("retire_due", "Let other runs in again: {host}: "),
    ],
)
def test_a_clock_that_went_back(
    trial: Trial, ansible_command: Ansible, playbook: str, where: str
) -> None:
    with required():
        library = _faketime()
    trial.ansible = ansible_command
    trial.host(Case("a clock that went back", playbook, "", {}))
    before = trial.world()
    ansible_command.env.update(LD_PRELOAD=library, FAKETIME="-2h")
    told = trial.run(playbook, code=2)
    document = parse_document((trial.place / HOST / "keyring.json").read_text())
    assert document.current and document.claim is None and document.updated
    assert trial.named(HOST, told[HOST]) == (
        f"{where}the clock here says {{now}}, but the keyring was written at {{now}}, {{later}} (at most 60 s are tolerated): the clock "
        "went back; set it right (NTP)"
    )
    assert f"written at {document.updated:%Y-%m-%dT%H:%M:%S}" in told[HOST]
    assert trial.world() == before
