# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules probe and notify on a keyring, and with preflight in playbooks, both ways of execution."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils import _notify, _preflight
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import request_to_replay
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    ProbeFailed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from estate.databases import Database
from estate.playbook import Ansible
from one_credential import POLICY, Estate, make_estate

pytestmark = pytest.mark.pg_versions("16")


@pytest.fixture
def estate(database: Database, tmp_path: Path) -> Estate:
    return make_estate(database, tmp_path)


def test_a_probe_of_a_stage_and_of_a_value_that_no_keyring_knows(estate: Estate) -> None:
    a = estate.role("app_a")
    estate.save(current=a)
    result = estate.probe(stage="current", probes=[{"type": "postgres"}, {"type": "drained"}])
    assert result["evidence"][0]["detail"].startswith("logged in as app_a")
    assert result["skipped_probes"] == [
        {"probe": 1, "type": "drained", "reason": "it is only for the previous value"}
    ]
    value = estate.place / "value"
    value.write_text(estate.passwords["app_a"])
    given = {"value": {"username": "app_a", "password": f"ref+file://{value}"}}
    assert estate.probe(**given)["evidence"][0]["type"] == "postgres"
    value.write_text("wrong")
    with pytest.raises(ProbeFailed):
        estate.probe(**given)


def test_a_probe_that_shows_no_value_proves_nothing_about_a_new_one(estate: Estate) -> None:
    a, b = estate.role("app_a"), estate.role("app_b")
    estate.save(current=a, pending=replace(b, status="applied"))
    health = {"type": "command", "argv": ["true"]}
    for more in ({"stage": "pending"}, {"stage": "current", "expect": "refused"}):
        with pytest.raises(BadInput, match="none of them presents"):
            estate.probe(probes=[health], **more)
    assert estate.probe(probes=[health], stage="current")["evidence"][0]["type"] == "command"
    assert len(estate.probe(probes=[health, {"type": "postgres"}])["evidence"]) == 2
    with pytest.raises(Absent, match="no previous value"):
        estate.probe(stage="previous")
    gone = estate.probe(stage="previous", probes=[{"type": "drained"}])
    assert (gone["evidence"], gone["skipped_probes"][0]["reason"]) == (
        [],
        "there is no previous value",
    )


def test_a_dry_run_predicts_what_it_cannot_have_done_yet(estate: Estate) -> None:
    a, b = estate.role("app_a"), estate.role("app_b")
    estate.save(current=b, previous=replace(a, status="retiring"))
    refused = estate.probe(stage="previous", expect="refused", check_mode=True)
    assert refused["predicted"] is True
    assert "not so yet, as expected: it is still accepted" in refused["evidence"][0]["detail"]
    estate.database.execute("ALTER ROLE app_b NOLOGIN")
    estate.save(current=a, pending=replace(b, status="issued"))
    assert estate.probe(check_mode=True)["predicted"] is True
    with pytest.raises(ProbeFailed):
        estate.probe()
    estate.save(current=b)
    with pytest.raises(ProbeFailed):
        estate.probe(stage="current", check_mode=True, retries=0)


def test_that_the_run_before_is_dead_is_no_excuse_for_a_wrong_value(estate: Estate) -> None:
    a = estate.role("app_a")
    estate.save(current=a)
    value = estate.place / "value"
    value.write_text("wrong")
    given = {"value": {"username": "app_a", "password": f"ref+file://{value}"}, "retries": 0}
    taken_over = [request_to_replay(Request("claim", Run("a-run"), holder_dead=True))]
    with pytest.raises(ProbeFailed):
        estate.probe(check_mode=True, replay=taken_over, **given)
    alone = {**given, "keyring": None, "credential": None}
    assert estate.probe(check_mode=True, **alone)["predicted"] is True


def test_what_was_seen_before_a_failure_is_kept(estate: Estate) -> None:
    estate.save(current=estate.role("app_a"))
    with pytest.raises(KeyturnError) as caught:
        estate.probe(
            stage="current",
            probes=[{"type": "postgres"}, {"type": "command", "argv": ["false"]}],
            retries=0,
        )
    assert caught.value.details["probe"] == 1
    assert caught.value.details["evidence"][0]["type"] == "postgres"


def test_a_notification_knows_the_rotation_from_the_keyring(estate: Estate) -> None:
    estate.save(
        current=estate.role("app_a"), pending=replace(estate.role("app_b"), status="applied")
    )
    options = {
        "keyring": f"ref+file://{estate.keyring}",
        "credential": "db",
        "event": "failure",
        "policy": {"owner": "platform", "contacts": [{"type": "command", "argv": ["true"]}]},
    }
    payload = estate.run(_notify.MODULE, options)["payload"]
    assert (payload["rotation_id"], payload["phase"], payload["owner"]) == (
        "r_app_b",
        "applied",
        "platform",
    )
    nowhere = {**options, "keyring": f"ref+file://{estate.place}/nothing/there"}
    assert estate.run(_notify.MODULE, nowhere)["notifications"][0]["sent"] is True


# --- from playbooks, both ways


def tasks_of(estate: Estate) -> list[dict[str, Any]]:
    """Check, apply, check again, apply again; then what must fail."""
    common = {
        "keyring": f"ref+file://{estate.keyring}",
        "credential": "db",
        "issuer": estate.issuer,
    }
    probe = {
        **common,
        "stage": "pending",
        "probes": [{"type": "postgres", "write": True}],
        "transition": "proved",
    }
    preflight = {**common, "policy": POLICY, "probes": [{"type": "postgres"}]}
    out = estate.place / "told"
    contact = {"type": "command", "argv": ["/bin/sh", "-c", f"cat >> {out}"]}
    notify = {
        "keyring": common["keyring"],
        "credential": "db",
        "event": "success",
        "contacts": [contact],
    }
    tasks: list[dict[str, Any]] = [{"keyturn.runbooks.preflight": {**preflight, "force": True}}]
    for number, check_mode in enumerate((True, False, True, False)):
        said = [
            f"done is {'changed' if number < 2 else 'not changed'}",
            "done.evidence | length == 1",
        ]
        tasks.append(
            {
                "keyturn.runbooks.probe": probe,
                "check_mode": check_mode,
                "diff": True,
                "register": "done",
            }
        )
        tasks.append({"ansible.builtin.assert": {"that": said}})
    tasks.append({"keyturn.runbooks.notify": notify, "check_mode": True})
    tasks.append({"keyturn.runbooks.notify": notify})
    wrong = {**probe, "stage": "current", "expect": "refused", "timeout": "1s"}
    wrong.pop("transition")
    tasks.append(
        {"keyturn.runbooks.probe": wrong, "register": "done", "failed_when": "done is not failed"}
    )
    tasks.append(
        {
            "ansible.builtin.assert": {
                "that": ["'still accepted' in done.msg", "done.kind == 'ProbeFailed'"]
            }
        }
    )
    return tasks


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "module"])
def test_in_a_playbook(estate: Estate, ansible: Ansible, direct: bool) -> None:
    estate.save(
        current=estate.role("app_a"),
        pending=replace(estate.role("app_b"), status="applied", definition=definition(estate)),
    )
    playbook = estate.place / "play.yml"
    playbook.write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks_of(estate)}])
    )
    result = ansible.run(str(playbook), "-vvv", extra_vars={"keyturn_direct": direct}).check()
    assert json.loads(estate.keyring.read_text())["stages"]["pending"]["status"] == "proved"
    told = (estate.place / "told").read_text().splitlines()
    assert len(told) == 1
    assert json.loads(told[0])["text"] == "db: done in phase proved"
    estate.no_secret_in(result.output + ansible.log())
    assert not ansible.leftovers()


def definition(estate: Estate) -> str:
    return str(_preflight.definition_hash(estate.issuer, {}))
