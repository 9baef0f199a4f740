# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other ways to run a rotation: modules as programs, the command itself, ansible-runner, a store on the network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import product

import pytest
from estate.vault import VaultServer
from leaks.flows import Course, redefine
from leaks.watch import Watch, secrets_in
from rotation import FORCE

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
Report = Callable[[Watch], None]
PIPELINING, DEBUG = "ANSIBLE_PIPELINING", "ANSIBLE_DEBUG"
# A module as a program takes a hundred times as long to start: a whole rotation in one way, the shortest flow in another.
SOME = [("rotate_db", "0", "1"), ("adopt", "1", "")]
ALL = [(book, *how) for book in ("rotate_db", "adopt") for how in product("01", ("", "1"))]


@pytest.mark.parametrize(
    ("playbook", "pipelining", "debug"), ALL if os.environ.get("KEYTURN_SOAK") else SOME
)
def test_modules_as_programs(
    course: Maker, report: Report, playbook: str, pipelining: str, debug: str
) -> None:
    made = course(variables={"keyturn_direct": False})
    made.name = f"modules as programs{', ANSIBLE_DEBUG' if debug else ''}"
    made.env = {PIPELINING: pipelining, **({DEBUG: debug} if debug else {})}
    if playbook == "adopt":
        extra = made.estate.adoption
    else:
        made.estate.adopt()
        extra = FORCE
    how = "with" if pipelining == "1" else "without"
    done = made.run(f"{playbook} {how} pipelining", playbook, extra=extra)
    assert "<localhost> EXEC" in done.stdout, "the modules were not run as programs"
    report(made.watch)


def test_the_command(course: Maker, report: Report) -> None:
    made = course(how="traced_command")
    made.name = "ansible-playbook itself"
    made.estate.adopt()
    made.run("rotate", "rotate_db", extra=FORCE)
    report(made.watch)


def test_a_store_on_the_network(
    course: Maker, report: Report, vault: VaultServer, vault_mount: str
) -> None:
    made = course()
    estate, mount = made.estate, f"ref+vault://{vault_mount}"
    rules = f'path "{vault_mount}/*" {{ capabilities = ["create", "read", "update"] }}'
    token = vault.token(rules)
    admin = json.loads((estate.folder / "pg-admin.json").read_text())
    vault.request("POST", f"{vault_mount}/data/admin", {"data": admin})
    issuer = estate.definition()["keyturn_issuer"]
    sink = {
        "name": "vault",
        "ref": f"{mount}/app",
        "fields": {"url": "{current.username}:{current.password}"},
    }
    redefine(
        estate,
        keyturn_keyring=f"{mount}/db_app",
        keyturn_ledger=f"ref+file://{estate.ledger_path}",
        keyturn_issuer={**issuer, "login": {**issuer["login"], "admin": f"{mount}/admin"}},
        keyturn_sinks=[*estate.definition()["keyturn_sinks"], sink],
    )
    made.name = "Vault"
    made.known.update({"token of Vault": token, "another token of Vault": token[:-1]})
    made.env = {"VAULT_ADDR": vault.address, "VAULT_TOKEN": token, DEBUG: "1"}
    made.learn = lambda: _kept(vault, vault_mount)
    made.run("1 adopt", "adopt", extra=estate.adoption)
    made.run("2 rotate", "rotate_db", extra=FORCE)
    made.run("3 a denied token", "rotate_db", extra=FORCE, code=2, VAULT_TOKEN=token[:-1])
    made.run("4 retire", "retire_due")
    reader = vault.token(f'{rules} path "{vault_mount}/data/app" {{ capabilities = ["read"] }}')
    made.known["third token of Vault"] = reader
    refused = made.run(
        "5 a sink refuses the write", "rotate_db", extra=FORCE, code=2, VAULT_TOKEN=reader
    )
    assert f"{vault_mount}/app" in refused.output
    report(made.watch)


def _kept(vault: VaultServer, mount: str) -> dict[str, str]:
    """The secrets of every version that Vault keeps of the keyring."""
    versions = vault.request("GET", f"{mount}/metadata/db_app")["data"]["versions"]
    found: dict[str, str] = {}
    for number in versions:
        data = vault.request("GET", f"{mount}/data/db_app?version={number}")["data"]["data"]
        found.update(secrets_in(json.dumps(data).encode()))
    assert len(found) > 2, "the keyring is not kept as it was"
    return found
