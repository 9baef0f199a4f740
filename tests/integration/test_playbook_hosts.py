# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which credentials a playbook takes without being told: a group that is there is never left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.playbook import Ansible

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
OF_ANY_KIND = ("rotate", "retire_due", "rollback", "adopt", "abandon", "status")
TOKEN, DATABASE, MACHINE = "[credentials]\ntoken\n", "[postgres_roles]\ndb\n", "[machines]\nm1\n"
STREAM = "[stream_platforms]\nrestream\n"
_PLAY = re.compile(
    r"^  play #.*\n    pattern: .*\n    hosts \(\d+\):((?:\n      \S+)*)", re.MULTILINE
)


def taken(
    ansible: Ansible, folder: Path, hosts: str, extra_vars: Mapping[str, Any] | None = None
) -> tuple[list[list[str]], str]:
    """The hosts of every play, sorted, in the order of the playbooks, and all that Ansible said."""
    inventory = folder / "hosts"
    inventory.write_text(hosts)
    each = [{"import_playbook": str(PLAYBOOKS / f"{name}.yml")} for name in OF_ANY_KIND]
    together = folder / "all.yml"
    together.write_text(yaml.safe_dump(each))
    listed = ansible.run(
        str(together), "--list-hosts", inventory=inventory, extra_vars=extra_vars
    ).check()
    return [sorted(hosts.split()) for hosts in _PLAY.findall(listed.stdout)], listed.output


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (TOKEN + DATABASE + MACHINE, ["db", "token"]),
        (TOKEN + MACHINE, ["token"]),
        (DATABASE + MACHINE, ["db"]),
        (STREAM + TOKEN + MACHINE, ["restream", "token"]),
        (STREAM + MACHINE, ["restream"]),
        ("[credentials:children]\npostgres_roles\n" + DATABASE, ["db"]),
    ],
    ids=[
        "both groups",
        "credentials",
        "databases",
        "stream platforms too",
        "stream platforms",
        "one within the other",
    ],
)
def test_every_group_that_is_there_is_taken(
    ansible: Ansible, scratch: Path, hosts: str, expected: list[str]
) -> None:
    plays, said = taken(ansible, scratch, hosts)
    # The playbook status has two.
    assert plays == [expected] * (len(OF_ANY_KIND) + 1)
    assert "Could not match" not in said


def test_without_either_group_nobody_is_taken_and_ansible_says_so(
    ansible: Ansible, scratch: Path
) -> None:
    plays, said = taken(ansible, scratch, MACHINE)
    assert plays == [[]] * (len(OF_ANY_KIND) + 1)
    assert "Could not match supplied host pattern, ignoring: credentials" in said


def test_who_says_which_gets_those(ansible: Ansible, scratch: Path) -> None:
    plays, _said = taken(ansible, scratch, TOKEN + DATABASE, {"keyturn_hosts": "db"})
    assert plays == [["db"]] * (len(OF_ANY_KIND) + 1)


def test_a_name_that_nobody_has_is_no_success(ansible: Ansible, scratch: Path) -> None:
    inventory = scratch / "hosts"
    inventory.write_text(TOKEN + DATABASE)
    mistyped = {"keyturn_hosts": "db,tokenn"}
    for name in ("bootstrap", "reencrypt"):
        ran = ansible.run(f"keyturn.runbooks.{name}", inventory=inventory, extra_vars=mistyped)
        assert ran.returncode != 0
        told = " ".join(ran.output.split())
        assert (
            "keyturn_hosts: the inventory has no host or group tokenn, so nothing was done" in told
        )
        assert "PLAY [" not in told
    ran = ansible.run("keyturn.runbooks.status", "--limit", "db,tokenn", inventory=inventory)
    told = " ".join(ran.output.split())
    assert ran.returncode != 0 and "--limit: the inventory has no host or group tokenn" in told
    assert "PLAY [" not in told
