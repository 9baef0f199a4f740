# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module inside Ansible's process and as an ordinary module: same arguments, same results, on every server version."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from both_ways import (
    Case,
    Lane,
    Record,
    Values,
    comparable,
    keyring_lane,
    play,
    postgres_lane,
    publishing_lane,
)
from estate.databases import fresh_database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible
from estate.postgres import VERSIONS, PostgresServer

BESIDE_THEIR_SERVERS = {
    "env_render": "test_deploy.py",
    "gate": "test_stream_reload.py",
    "image_audit": "test_image_audit.py",
    "incident_reads": "test_incident.py",
    "incident_report": "test_incident.py",
    "k8s_secret": "test_k8s_ways.py",
    "notify_affected": "test_affected.py",
    "old_versions": "test_old_versions.py",
    "reencrypt": "test_reencrypt.py",
    "stream_probe": "test_stream_module.py",
    "ssm_secret": "test_ssm_playbook.py",
    "vault_kv": "test_vault_kv.py",
    "vault_posture": "test_vault_posture.py",
    "vault_posture_host": "test_vault_posture.py",
    "vault_posture_snapshot": "test_vault_posture.py",
    "vault_unseal": "test_vault_unseal.py",
}
"""Modules whose servers are not here, each with the file that runs it both ways."""
ON_THE_CONTROLLER = {
    "audit",
    "bootstrap_report",
    "catalog",
    "image_audit_report",
    "status_report",
    "vault_posture_report",
}
"""Modules that keep no keyring and are of the controller alone."""
ON_HOSTS = {"log_probe", "systemd_reload"}
"""Modules that work on a machine's units and logs alone; they are run over ssh beside their own tests."""
MODULES = Path(__file__).resolve().parents[2] / "plugins" / "modules"


def quartet_faults(lane: Lane, case: Case, records: list[Record]) -> list[str]:
    """What one way of execution does wrong: changes in check mode, or does not do what that predicted."""
    faults = []
    for number, (check_mode, changed, record) in enumerate(
        zip(case.modes, case.changed, records, strict=True)
    ):
        where = f"task {number}"
        if record.result.get("changed") is not changed:
            faults.append(f"{where}: changed is not {changed}: {record.result}")
        writes = record.before != record.after
        if writes and (check_mode or not changed):
            names = [key for key in record.after if record.after[key] != record.before.get(key)]
            faults.append(f"{where}: it wrote {names}")
        # Who lags is a change that another task makes.
        if changed and not check_mode and not writes and case.module != "receipts":
            faults.append(f"{where}: it wrote nothing")
    for check, apply in zip(records[::2], records[1::2], strict=True):
        predicted, done = (
            comparable(lane, case, item.result.get("diff")) for item in (check, apply)
        )
        if predicted != done:
            faults.append(f"the diff was {done}, predicted {predicted}")
    return faults


@dataclass
class Run:
    """One way of execution: its estate and what its tasks returned."""

    lanes: dict[str, Lane]
    records: dict[tuple[str, str], Record]
    printed: str

    def of(self, lane: str, case: Case) -> list[Record]:
        """What the tasks of a case returned."""
        return [self.records[lane, f"{case.name} {number}"] for number in range(len(case.modes))]

    def faults(self) -> list[str]:
        """Everything that is wrong in it."""
        return [
            f"{name}: {case.name}: {fault}"
            for name, lane in self.lanes.items()
            for case in lane.cases
            for fault in quartet_faults(lane, case, self.of(name, case))
        ]

    def told(self) -> dict[tuple[str, str, int, str], Any]:
        """Every field of every result, as it can be compared with another run's."""
        return {
            (name, case.name, number, field): value
            for name, lane in self.lanes.items()
            for case in lane.cases
            for number, record in enumerate(self.of(name, case))
            for field, value in comparable(lane, case, record.result).items()
        }


@pytest.fixture
def run(
    scratch: Path,
    ansible: Ansible,
    postgres_of: Callable[[str], PostgresServer],
    pgbouncer_factory: Callable[..., PgBouncer],
) -> Callable[[bool, Values], Run]:
    """Runs every case in a fresh estate, by one way of execution."""

    def start(direct: bool, values: Values) -> Run:
        place = scratch / ("direct" if direct else "module")
        place.mkdir(mode=0o711)
        with ExitStack() as stack:
            lanes = {
                "publishing": publishing_lane(place / "publishing", values),
                "keyring": keyring_lane(place / "keyring", values),
            }
            # What differs between servers is the same in both ways, and a module of its own takes a hundred times as long to start.
            for version in VERSIONS if direct else ("16",):
                name, whole = f"pg{version}", version == "16"
                database = stack.enter_context(fresh_database(postgres_of(version)))
                lanes[name] = postgres_lane(
                    place / name, values, database, pgbouncer_factory, whole
                )
            return Run(lanes, *play(place, ansible, lanes, direct))

    return start


def test_check_apply_check_again_apply_again(
    run: Callable[[bool, Values], Run], ansible: Ansible
) -> None:
    values = Values()
    direct, module = run(True, values), run(False, values)
    covered = {case.module for lane in direct.lanes.values() for case in lane.cases}
    known = {path.stem for path in MODULES.glob("*.py")} - ON_THE_CONTROLLER - ON_HOSTS
    assert covered | set(BESIDE_THEIR_SERVERS) == known
    assert direct.faults() == []
    assert module.faults() == []
    one, other = direct.told(), module.told()
    one = {key: value for key, value in one.items() if key[0] in module.lanes}
    differing = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    assert {key: (one.get(key), other.get(key)) for key in differing} == {}
    for text in (*values.passwords, values.verifier(0), values.verifier(1)):
        assert text not in direct.printed + module.printed
    assert ansible.leftovers() == []


@pytest.mark.parametrize(("module", "file"), BESIDE_THEIR_SERVERS.items())
def test_the_others_are_run_both_ways_beside_their_servers(module: str, file: str) -> None:
    text = (Path(__file__).parent / file).read_text()
    assert module in text
    assert "both_ways" in text or "keyturn_direct" in text
