# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyring in Vault and sinks of every kind: what goes well, and each sink that refuses or says too much."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from estate.vault import AppRole
from everywhere import Everywhere, publish_everywhere
from fault_proxy import Answer, Exchange, Fault
from leaks.flows import Course
from leaks.plants import Plants
from leaks.watch import Watch, secrets_in
from refusals import REFUSALS, refusing
from rotation import FORCE
from vault_fixtures import vault_approle

__all__ = ["vault_approle"]

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
Report = Callable[[Watch], None]
Record = Callable[[str, object], None]
DEFECTS = Path(__file__).with_name("defects.py")
# What is in use is brought to its sinks, and no new value is made.
BRING = ("--tags", "promote")
STORES = "logs of the stores"
ANY = 'path "any" { capabilities = ["read"] }'


@pytest.fixture
def made(course: Maker, kept: Everywhere) -> Course:
    """A credential that is published everywhere."""
    found = course(keeping=kept)
    publish_everywhere(found.estate, kept)
    found.name = "all sinks"
    found.known.update(kept.identities())
    found.learn = lambda: _kept(kept)
    found.estate.adopt()
    return found


def _kept(kept: Everywhere) -> dict[str, str]:
    """The secrets of every version of the keyring."""
    found: dict[str, str] = {}
    for version in kept.held("db_app"):
        found.update(secrets_in(json.dumps(version).encode()))
    return found


def echo(status: int, head: dict[str, Any]) -> Callable[[Exchange], None]:
    """A server that says in its error what it was sent."""

    def act(exchange: Exchange) -> None:
        body = {**head, "message": exchange.asked.body.decode()}
        headers = {"Content-Type": "application/json"}
        exchange.reply(Answer(status, headers, json.dumps(body).encode()))

    return act


ECHOES = (
    (0, "AWS", echo(400, {"__type": "ValidationException"})),
    (1, "Kubernetes", echo(422, {"kind": "Status", "reason": "Invalid", "code": 422})),
)


def test_every_flow(made: Course, kept: Everywhere, report: Report) -> None:
    made.env = {"ANSIBLE_DEBUG": "1"}
    made.run("1 rotate", "rotate_db", extra=FORCE)
    made.run("2 roll back", "rollback")
    made.run("3 retire", "retire_due")
    assert set(kept.identities().values()) <= set(made.watch.search.secrets.values())
    report(made.watch)


def test_every_refusal(
    made: Course, kept: Everywhere, report: Report, vault_approle: Callable[..., AppRole]
) -> None:
    role = vault_approle(ANY, token_policies=[kept.policy], token_ttl="10m")
    made.env = {
        "ANSIBLE_DEBUG": "1",
        "VAULT_AUTH_METHOD": "approle",
        "VAULT_LOGIN_MOUNT_POINT": role.mount,
        "VAULT_ROLE_ID": role.role_id,
        "VAULT_SECRET_ID": role.secret_id,
        "VAULT_TOKEN": "",
    }
    made.known["secret id of Vault"] = role.secret_id
    made.name = "failure, all sinks"
    with refusing(kept, REFUSALS[1], midway=True):
        made.run("Vault refuses, and the run stops there", "rotate_db", extra=FORCE, code=2)
    for refusal in (REFUSALS[0], *REFUSALS[2:]):
        kept.fill("another value")
        with refusing(kept, refusal, midway=True):
            failed = made.run(f"{refusal.sink} refuses", "rotate_db", *BRING, code=2)
        assert f"sink '{refusal.sink}'" in failed.stdout
    for server, name, act in ECHOES:
        kept.fill("another value")
        kept.proxies[server].faults.append(Fault(act, lambda asked: asked.writes))
        made.run(f"{name} says what it was sent", "rotate_db", *BRING, code=2)
        kept.proxies[server].faults.clear()
    report(made.watch)


def test_what_each_sink_lets_out_is_found(made: Course, record_property: Record) -> None:
    spec = spec_from_file_location("defects_of_sinks", DEFECTS)
    assert spec and spec.loader
    defects = module_from_spec(spec)
    spec.loader.exec_module(defects)
    made.run("sinks", "rotate_db", extra=FORCE, KEYTURN_DEFECT=f"{DEFECTS} in_each_sink")
    for place, form, said in defects.FOUND_OF_SINKS.values():
        hits = [hit for row in made.watch.rows if row.place == place for hit in row.hits]
        found = [hit for hit in hits if hit.startswith("password of ") and f"({form}) in " in hit]
        told = {"place": place, "defect": f"a sink: {said}", "forms": 1, "found": int(bool(found))}
        record_property("planted", json.dumps(told))
        assert found, f"{place}: {hits}"


def test_what_a_server_writes_down_is_found(
    made: Course, kept: Everywhere, record_property: Record
) -> None:
    plants = Plants()
    made.known.update(plants.values)
    with made.watch.over(STORES):
        for text in plants.texts:
            with kept.logs()[0].open("a") as log:
                log.write(f"{text}\n")
    lost = made.watch.missed(STORES, plants.values)
    told = {"place": STORES, "defect": "a server writes it down", "forms": len(plants.values)}
    record_property("planted", json.dumps({**told, "found": len(plants.values) - len(lost)}))
    assert lost == []
