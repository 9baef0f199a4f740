# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine with systemd: what its journal has of a rotation that writes a file there and reloads a unit."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import yaml
from leaks.detectors import Folder, Printed
from leaks.flows import Course, redefine
from leaks.plants import Plants
from leaks.watch import Watch
from machines import Application, SystemdMachine
from rotation import FORCE

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
JOURNAL, LEFT = "journal", "files left there"
RELOAD = "ExecReload=/bin/kill -HUP $MAINPID"


def printed(machine: SystemdMachine, text: str) -> None:
    machine.shell("systemd-cat -t keyturn", stdin=text)
    machine.shell("journalctl --sync")


def left(machine: SystemdMachine, text: str) -> None:
    machine.shell("cat >/var/tmp/note", stdin=text)


DEFECTS: dict[str, tuple[str, Callable[[SystemdMachine, str], None]]] = {
    JOURNAL: ("a program prints it", printed),
    LEFT: ("a program leaves a file on another machine", left),
}


def test_the_journal_of_a_machine(
    course: Maker,
    machine: SystemdMachine,
    report: Callable[[Watch], None],
    record_property: Callable[[str, object], None],
) -> None:
    # What strace would have to follow into the container takes a minute; the machine's own places are what this is about.
    made = course(how="ansible")
    estate, app = made.estate, Application(machine, RELOAD).start()
    definition = estate.definition()
    sink = {**definition["keyturn_sinks"][0], "host": "app1"}
    sink["ref"] = f"ref+file://{app.file}?format=env#/DATABASE_URL"
    unit = {"type": "systemd", "host": "app1", "unit": app.unit, "settle": "0s"}
    consumers = [definition["keyturn_consumers"][0], unit]
    redefine(estate, keyturn_sinks=[sink], keyturn_consumers=consumers)
    machine.write(app.file, estate.env_file.read_text())
    hosts = {"all": {"hosts": {"app1": machine.variables("app1")}}}
    (estate.folder / "inventory" / "machines.yml").write_text(yaml.safe_dump(hosts))
    made.watch.detectors = [
        Folder("output", [estate.ansible.work_dir / "captured"]),
        Printed(JOURNAL, lambda: machine.shell("journalctl --no-pager").encode()),
        Printed(
            LEFT,
            lambda: machine.shell("find /tmp /var/tmp /root -type f -exec cat {} +").encode(),
        ),
    ]
    estate.adopt()
    made.name = "a machine with systemd"
    made.run("rotate", "rotate_db", extra=FORCE)
    assert app.uses
    report(made.watch)
    # What a run prints has its plants where every run's places have them.
    assert {detector.name for detector in made.watch.detectors} == {"output", *DEFECTS}
    for place, (defect, plant) in DEFECTS.items():
        plants = Plants()
        made.known.update(plants.values)
        with made.watch.over(place):
            plant(machine, "\n".join(plants.texts) + "\n")
        lost = made.watch.missed(place, plants.values)
        told = {"place": place, "defect": defect, "forms": len(plants.values)}
        record_property("planted", json.dumps({**told, "found": len(plants.values) - len(lost)}))
        assert lost == []
