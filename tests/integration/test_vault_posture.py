# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Vault as it should be, which nothing is found at, and one with each defect planted."""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _vault_posture,
    _vault_posture_host,
    _vault_posture_snapshot,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import ModuleCore, execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_jail import WORK, Jail
from estate.playbook import Ansible
from estate.vault import VaultShape, vault_binary
from vault_cluster import CarefulVault, SharedVault, bent, forms, holders

PAGE = Path(__file__).resolve().parents[2] / "docs" / "vault-posture.md"
CANARY = "ref+vault://secret/canary#/value"


@pytest.fixture(scope="session")
def careful(run_dir: Path) -> Iterator[CarefulVault]:
    """A server without a defect: also its root token is gone."""
    place = run_dir / "careful-vault"
    place.mkdir(mode=0o700)
    with CarefulVault(place) as server:
        server.furnish(documented_policy())
        yield server


def documented_policy() -> str:
    """The least that the playbook needs, as its page has it."""
    blocks = re.findall(r"```hcl\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


def look(core: ModuleCore, server: SharedVault, token: str, **options: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in core.argument_spec.items()}
    given = {
        "url": server.address,
        "ca_cert": str(server.ca_file) if server.ca_file else None,
        "token": token,
        **options,
    }
    return execute(core, {**defaults, **given}, Context(environ={}))


def told(result: dict[str, Any]) -> set[tuple[str, str]]:
    """Which check found something, and how bad it is."""
    return {(found["check"], found["level"]) for found in result["findings"]}


def test_nothing_is_found_at_a_careful_one(careful: CarefulVault) -> None:
    # The certificate of the estate lasts a day.
    found = look(_vault_posture.MODULE, careful, careful.reader, certificate_left="1h")
    assert found["findings"] == []
    assert {"seal", "listener_tls", "audit", "root_tokens", "token_ttl"} <= set(found["checked"])
    assert found["active"] is True


def test_what_a_token_may_not_look_at_is_not_taken_for_missing(careful: CarefulVault) -> None:
    found = look(_vault_posture.MODULE, careful, careful.stranger, certificate_left="1h")
    assert told(found) == {
        ("listener_tls", "unknown"),
        ("audit", "unknown"),
        ("root_tokens", "unknown"),
    }
    remedies = {item["check"]: item["remedy"] for item in found["findings"]}
    assert 'path "sys/audit" { capabilities = ["read", "sudo"] }' in remedies["audit"]


def test_a_certificate_that_ends_and_one_that_is_not_trusted(careful: CarefulVault) -> None:
    found = look(_vault_posture.MODULE, careful, careful.reader, certificate_left="30d")
    assert told(found) == {("certificate", "medium")}
    found = look(_vault_posture.MODULE, careful, careful.reader, ca_cert=None)
    assert told(found) == {("certificate", "high"), ("reach", "unknown")}


def test_each_defect_is_found(run_dir: Path) -> None:
    place = run_dir / "careless-vault"
    place.mkdir(mode=0o700)
    with SharedVault(place, VaultShape()) as server:
        token = server.root_token
        ask = _vault_posture.MODULE
        found = look(ask, server, token)
        assert told(found) == {
            ("seal", "medium"),
            ("listener_tls", "low"),
            ("mlock", "medium"),
            ("audit", "high"),
            ("root_tokens", "high"),
        }
        options = {"file_path": str(place / "raw.log"), "log_raw": "true", "mode": "0644"}
        server.request("PUT", "sys/audit/raw", {"type": "file", "options": options})
        server.request("POST", "sys/auth/token/tune", {"max_lease_ttl": "9000h"})
        server.token(
            'path "x" { capabilities = ["read"] }',
            ttl="1000h",
            no_parent=True,
            display_name="long\x1b[31mlived",
        )
        found = look(ask, server, token, oldest_version="99.0")
        assert {("audit", "high"), ("audit", "medium")} <= told(found)
        assert {("token_ttl", "medium"), ("version", "medium")} <= told(found)
        assert all(text.isprintable() for item in found["findings"] for text in item.values())
        server.seal()
        assert ("seal", "high") in told(look(ask, server, token))
        server.stop()
        assert ("reach", "unknown") in told(look(ask, server, token))


def restore(server: SharedVault, token: str, **options: Any) -> dict[str, Any]:
    program = str(vault_binary())
    given = {"program": program, "canary": CANARY, **options}
    return look(_vault_posture_snapshot.MODULE, server, token, **given)


def test_a_snapshot_that_was_not_restored_says_why(careful: CarefulVault, scratch: Path) -> None:
    shares = holders(scratch, careful.shares)[:3]
    for options, level, reason in (
        ({"shares": []}, "medium", "no shares are named"),
        ({"shares": shares, "program": "/nowhere/vault"}, "medium", "no vault program is there"),
        ({"shares": shares[:2]}, "unknown", "3 of 3 shares are still needed, and 2"),
    ):
        found = restore(careful, careful.reader, **options)
        assert told(found) == {("restore", level)}
        assert reason in found["findings"][0]["message"]
    found = restore(careful, careful.stranger, shares=shares)
    assert told(found) == {("restore", "unknown")}
    assert "the token may not" in found["findings"][0]["message"]


def test_a_broken_backup_is_found(careful: CarefulVault, scratch: Path) -> None:
    shares = holders(scratch, careful.shares)[:3]
    broken = scratch / "broken.snap"
    broken.write_bytes(secrets.token_bytes(4000))
    given = {"shares": shares, "snapshot": str(broken), "directory": str(scratch)}
    found = restore(careful, careful.reader, **given)
    assert told(found) == {("restore", "high")}
    assert "take the snapshot" in found["findings"][0]["message"]
    assert not list(scratch.glob("keyturn-restore-*"))


def host(**options: Any) -> dict[str, Any]:
    module = _vault_posture_host.MODULE
    defaults = {name: option.get("default") for name, option in module.argument_spec.items()}
    check_mode = options.pop("check_mode", False)
    given = {**defaults, "swap": False, **options}
    return module.run(given, Context(environ={}, check_mode=check_mode))


def test_the_audit_log_tells_who_did_what_and_nothing_else(
    careful: CarefulVault, scratch: Path
) -> None:
    log = scratch / "audit.log"
    log.write_bytes(careful.audit_path.read_bytes())
    log.chmod(0o600)
    look(_vault_posture.MODULE, careful, careful.stranger)
    cursor = scratch / "cursor.json"
    options: dict[str, Any] = {"audit_log": str(log), "audit_denied": 0, "audit_since": ""}
    first = host(**options, audit_cursor=str(cursor), check_mode=True)
    assert not cursor.exists()
    assert host(**options, audit_cursor=str(cursor))["changed"] is True
    assert "update sys/mounts/secret" in first["audit"]["root"]
    assert ("audit_watch", "high") in told(first)
    # Looked at again, nothing is told twice; moved aside and begun anew, nothing is left out.
    again = host(**options, audit_cursor=str(cursor))
    assert (again["changed"], again["audit"]["entries"], again["findings"]) == (False, 0, [])
    whole = careful.audit_path.read_bytes()
    with log.open("ab") as file:
        file.write(whole[log.stat().st_size :])
    log.rename(scratch / "audit.log.1")
    log.write_text("what is this\n")
    log.chmod(0o600)
    third = host(**options, audit_cursor=str(cursor), audit_addresses=["10.0.0.0/8"])
    assert third["audit"]["denied"]["read sys/audit by token"] >= 1
    assert set(third["audit"]["strangers"]) == {"127.0.0.1"}
    assert third["audit"]["unreadable"] == 1
    everything = json.dumps([first, again, third])
    for value in (careful.canary, careful.reader, careful.stranger, careful.root_token):
        assert value not in everything
    assert "hmac" not in everything


def test_a_program_that_is_shut_in_reaches_one_directory_alone(scratch: Path) -> None:
    jail = Jail(str(scratch), "/bin/sh")
    log = os.open(scratch / "said", os.O_WRONLY | os.O_CREAT, 0o600)
    script = f"echo > {WORK}/here; test -e /proc || echo no-proc; test -e /etc || echo no-etc; test -e /run || echo no-run"
    try:
        assert jail.start(["-c", script], log).wait(10) == 0
    finally:
        os.close(log)
    assert (scratch / "work" / "here").exists()
    assert (scratch / "said").read_text().split() == ["no-proc", "no-etc", "no-run"]


def inventory(place: Path, server: CarefulVault, direct: bool, **looks: Any) -> Path:
    """An inventory with the one Vault."""
    path = place / f"hosts-{direct}.json"
    token = place / "token"
    token.touch(mode=0o600)
    token.write_text(server.reader)
    variables = {
        "ansible_connection": "local",
        "keyturn_direct": direct,
        "keyturn_vault": {
            "url": server.address,
            "ca_cert": str(server.ca_file),
            "token": f"ref+file://{token}",
        },
        "keyturn_vault_shares": holders(place, server.shares)[:3],
        "keyturn_vault_posture": {
            "certificate_left": "1h",
            "owners": [getpass.getuser(), *(path.owner() for path in server.run_dir.glob("*.key"))],
            "key_files": [],
            "data_directory": str(server.run_dir / "vault-data"),
            "tls_keys": [str(path) for path in server.run_dir.glob("*.key")],
            "token_files": [str(token)],
            "swap": False,
            "audit_log": str(server.audit_path),
            "audit_since": "1s",
            "program": str(vault_binary()),
            "directory": str(place),
            "canary": CANARY,
            **looks,
        },
    }
    hosts = {"all": {"children": {"vault": {"hosts": {"vault1": None}}}, "vars": variables}}
    path.write_text(json.dumps(hosts))
    return path


def test_the_playbook_finds_nothing_at_a_careful_one(
    careful: CarefulVault, scratch: Path, ansible: Ansible
) -> None:
    done, report = play(careful, scratch, ansible, inventory(scratch, careful, direct=True), 0)
    assert report["findings"] == []
    assert "0 findings (none)" in done
    assert {"restore", "root_tokens", "data_directory", "audit_watch"} <= set(report["checked"])


def test_the_playbook_as_ordinary_modules_finds_what_is_planted(
    careful: CarefulVault, scratch: Path, ansible: Ansible
) -> None:
    keys = scratch / "keys"
    text = "".join(f"Unseal Key {n}: {share}\n" for n, share in enumerate(careful.shares))
    keys.write_text(f"{text}\nInitial Root Token: {careful.root_token}\n")
    keys.chmod(0o644)
    hosts = inventory(scratch, careful, direct=False, key_files=[str(keys)])
    share = scratch / "holder1" / "share"
    share.write_text(bent(careful.shares[1]))
    done, report = play(careful, scratch, ansible, hosts, 2)
    assert told(report) == {
        ("key_files", "high"),
        ("keys_beside_data", "medium"),
        ("keys_together", "high"),
        ("root_token_kept", "high"),
        ("restore", "high"),
    }
    messages = {item["check"]: item["message"] for item in report["findings"]}
    assert "the shares do not open the snapshot" in messages["restore"]
    assert "vault1 has findings: 4 high, 1 medium" in done


def play(
    careful: CarefulVault, scratch: Path, ansible: Ansible, hosts: Path, status: int
) -> tuple[str, dict[str, Any]]:
    """Run the playbook, and look for values in all that it leaves."""
    path = scratch / "posture.json"
    done = ansible.run(
        "keyturn.runbooks.vault_posture",
        "-vvvv",
        inventory=hosts,
        extra_vars={"keyturn_fail_on": "low", "output_file": str(path)},
    ).check(status)
    everything = done.output + ansible.log() + path.read_text() + careful.log()
    for value in (careful.canary, careful.reader, careful.root_token):
        assert value not in everything
    for share in careful.shares:
        for text in forms(share):
            assert text not in everything
    assert ansible.leftovers() == []
    assert not list(scratch.glob("keyturn-restore-*"))
    return done.stdout, json.loads(path.read_text())["vaults"]["vault1"]
