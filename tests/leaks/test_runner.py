# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-runner, the engine of AWX, keeps of a run: its events, and the command that it started."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from estate.errors import Missing
from estate.playbook import Ansible
from leaks.detectors import Folder
from leaks.flows import Course
from leaks.plants import Plants
from leaks.watch import Watch
from machines import required
from rotation import FORCE

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
PLACE = "runner events"


def runner() -> Any:
    """The library.

    :raises Missing: when it is not installed.
    """
    try:
        return import_module("ansible_runner")
    except ImportError:
        raise Missing("ansible-runner: pip install ansible-runner") from None


def start(
    ansible: Ansible, folder: Path, playbook: str, inventory: Path, extra: Mapping[str, Any]
) -> Any:
    """Run a playbook by it in the surroundings of the tests; returns how it ended."""
    extras = folder / "extra.json"
    extras.write_text(json.dumps(dict(extra)))
    return runner().run(
        private_data_dir=str(folder),
        ident="run",
        playbook=playbook,
        inventory=str(inventory),
        cmdline=f"-vvvv --diff -e @{extras}",
        envvars=ansible._environment({}),
        suppress_env_files=True,
        quiet=True,
    )


@pytest.fixture
def course_by_runner(course: Maker, scratch: Path) -> Course:
    """A credential whose runs are watched by what ansible-runner keeps of them alone."""
    with required():
        runner()
    made = course(how="ansible")
    folder = scratch / "runner"
    folder.mkdir(mode=0o700)
    made.watch.detectors = [Folder(PLACE, [folder / "artifacts"])]
    return made


def test_a_rotation_and_a_refusal(
    course_by_runner: Course, report: Callable[[Watch], None]
) -> None:
    made = course_by_runner
    estate = made.estate
    folder = made.estate.folder / "runner"
    estate.adopt()
    inventory = estate.folder / "inventory"
    with made.watch.over("ansible-runner: 1 rotate"):
        done = start(estate.ansible, folder, "keyturn.runbooks.rotate_db", inventory, FORCE)
    assert done.rc == 0
    estate.keyring_path.write_text(estate.keyring_path.read_text()[:-20])
    (folder / "artifacts" / "run").rename(folder / "artifacts" / "before")
    with made.watch.over("ansible-runner: 2 a damaged keyring"):
        done = start(estate.ansible, folder, "keyturn.runbooks.rotate_db", inventory, FORCE)
    assert done.rc == 2
    report(made.watch)


def test_it_is_found(
    course_by_runner: Course, record_property: Callable[[str, object], None]
) -> None:
    made, plants = course_by_runner, Plants()
    made.known.update(plants.values)
    folder = made.estate.folder / "runner"
    book = plants.play(made.estate.folder, {"ansible.builtin.debug": {"var": "texts"}})
    with made.watch.over(PLACE):
        start(made.estate.ansible, folder, str(book), made.estate.folder / "inventory", {})
    lost = made.watch.missed(PLACE, plants.values)
    told = {"place": PLACE, "defect": "a result holds it", "forms": len(plants.values)}
    record_property("planted", json.dumps({**told, "found": len(plants.values) - len(lost)}))
    assert lost == []
