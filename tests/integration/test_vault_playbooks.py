# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A life of a credential at a Vault as in production: each playbook by an AppRole of its own, with its policy of the documentation."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._vault import to_text
from estate.databases import Database
from estate.playbook import Ansible, PlaybookResult
from estate.vault import AppRole, VaultServer
from keeping import CREDENTIAL, InVault
from rotation import FORCE, Estate
from vault_cluster import CommandLines
from vault_rights import allows, policies, rules, without

pytestmark = pytest.mark.pg_versions("16")
SINKS = "secret/data/musehub/*"
ENGINE = "sys/internal/ui/mounts/secret"
RENEW = ("auth/token/renew-self", "update")
PAGE = policies()
POLICIES = {
    "adopt": PAGE["adopt"],
    "status": PAGE["status"],
    "rotate_db": PAGE["rotate"],
    "rollback": PAGE["end"],
    "retire_due": PAGE["end"],
    # No sink shows the value that it undoes.
    "abandon": without(PAGE["end"], SINKS, "update"),
    "verify": PAGE["read"],
}
"""What whoever runs a playbook may do, and nothing else."""
NOT_IN_THIS_LIFE = {
    # The logins are short, and the keyring is made by adopt.
    **{name: {RENEW} for name in ("adopt", "rollback", "retire_due", "abandon")},
    "rotate_db": {RENEW, ("secret/data/keyrings/+", "create")},
}
WRITES = ("create", "update", "patch", "delete")
# As Vault's service tokens begin.
TOKEN = re.compile(r"hvs\.\w")


@dataclass
class Kept(InVault):
    """The keyring where the policies of the page have it. What looks here is the administrator, and runs get nothing of that."""

    @property
    def environ(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def options(self) -> dict[str, str]:
        """The keyring's reference."""
        return {"keyring": f"ref+vault://{self.mount}/keyrings/{CREDENTIAL}", "ledger": "beside"}

    def text(self) -> str:
        """The newest version."""
        found = self.server.request("GET", f"{self.mount}/data/keyrings/{CREDENTIAL}")
        return to_text(found["data"]["data"])


@dataclass(frozen=True)
class Told:
    """One request.

    :param playbook: whose role asked.
    :param allowed: by a policy; a login is by none.
    """

    playbook: str
    path: str
    operation: str
    allowed: bool
    failed: bool


@dataclass
class Life:
    """A credential, and those who run playbooks on it.

    :ivar values: every value that it ever had, and every secret id.
    :ivar seen: all that runs showed, and their command lines.
    """

    server: VaultServer
    estate: Estate
    roles: Mapping[str, AppRole]
    since: int
    values: set[str] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)

    def run(self, playbook: str, *arguments: str, extra: Any = None) -> PlaybookResult:
        """As its own role: a dry run that writes nothing, then for real."""
        began = self.server.audit_path.stat().st_size
        dry = self._one(playbook, "--check", "--diff", *arguments, extra=extra)
        assert self.written(began) == set()
        done = self._one(playbook, *arguments, extra=extra)
        assert changes(dry) == changes(done)
        self.values.update(self.estate.secrets())
        return done

    def _one(self, playbook: str, *arguments: str, extra: Any) -> PlaybookResult:
        done = self.estate.run(playbook, *arguments, extra=extra, **self.environ(playbook)).check()
        self.seen += [done.output, *done.argv]
        return done

    def environ(self, playbook: str) -> dict[str, str]:
        """What a login as the role of this playbook needs."""
        # One procedure under two names.
        role = self.roles["rotate_db" if playbook == "rotate" else playbook]
        return {
            "VAULT_ADDR": self.server.address,
            "VAULT_CACERT": str(self.server.ca_file),
            "VAULT_ROLE_ID": role.role_id,
            "VAULT_SECRET_ID": role.secret_id,
            "VAULT_LOGIN_MOUNT_POINT": role.mount,
        }

    def verify(self) -> None:
        """The audit log of the credential and its keyring, by the modules that read them."""
        given = {**self.estate.kept.options(), "credential": CREDENTIAL}
        tasks = [
            {f"keyturn.runbooks.{module}": given} for module in ("verify_ledger", "keyring_info")
        ]
        play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
        path = self.estate.folder / "verify.yml"
        path.write_text(yaml.safe_dump([play]))
        for arguments in (["--check"], []):
            done = self.estate.ansible.run(str(path), *arguments, env=self.environ("verify"))
            self.seen += [done.check().output, *done.argv]

    def told(self, since: int) -> list[Told]:
        """What Vault says it answered to others than its administrator.

        :param since: how long its audit log was.
        """
        names = {role.name: playbook for playbook, role in self.roles.items()}
        with self.server.audit_path.open(encoding="utf-8") as log:
            log.seek(since)
            lines = [json.loads(line) for line in log]
        return [
            Told(names[line["auth"]["metadata"]["role_name"]], **about(line))
            for line in lines
            if line["type"] == "response" and line["auth"].get("display_name") != "root"
        ]

    def written(self, since: int, playbook: str = "") -> set[str]:
        """The secrets that were written since then, by one of them or by all."""
        return {
            told.path
            for told in self.told(since)
            if told.operation in WRITES
            and told.path.startswith("secret/")
            and playbook in (told.playbook, "")
        }


def about(line: Mapping[str, Any]) -> dict[str, Any]:
    """What a line of Vault's audit log says was asked, and whether it was done."""
    allowed = line["auth"].get("policy_results", {}).get("allowed", False)
    request = {name: line["request"][name] for name in ("path", "operation")}
    return {**request, "allowed": allowed, "failed": "error" in line}


def changes(run: PlaybookResult) -> list[str]:
    """How many tasks of each host changed something."""
    return re.findall(r"changed=\d+", run.stdout)


@pytest.fixture
def life(
    production_vault: VaultServer, scratch: Path, database: Database, ansible: Ansible
) -> Iterator[Life]:
    server = production_vault
    server.mount_kv("secret")
    admin = {"username": "postgres", "password": database.server.password}
    server.request("POST", "secret/data/postgres/admin", {"data": admin})
    estate = Estate(scratch, database, ansible, keeping=Kept(server, "secret"))
    issuer = estate.definition()["keyturn_issuer"]
    issuer["login"]["admin"] = "ref+vault://secret/postgres/admin"
    estate.variables |= {"keyturn_issuer": issuer, "keyturn_consumers": []}
    current = "postgresql://{current.username}:{current.password|urlencode}@db/app"
    place = "ref+vault://secret/musehub"
    # Whoever checks credentials knows the old one as long as it is accepted.
    previous = {"ref": f"{place}/checker#/OLD", "template": "{previous.password}"}
    estate.add_sink({"name": "vault", "ref": f"{place}/production#/URL", "template": current})
    estate.add_sink({"name": "checker", **previous, "absent": "remove"})
    first = f"{database.name}_a"
    estate.hand_over(first, database.create_login(first))
    mount = server.enable_auth("approle")
    roles = {
        name: server.approle(mount, policy, token_no_default_policy=True)
        for name, policy in POLICIES.items()
    }
    made = Life(server, estate, roles, server.audit_path.stat().st_size)
    made.values = {admin["password"], estate.first[1], *(role.secret_id for role in roles.values())}
    yield made
    server.request("DELETE", f"sys/auth/{mount}")
    server.unmount("secret")


def test_each_playbook_with_its_own_policy(life: Life) -> None:
    estate = life.estate
    life.run("adopt", extra=estate.adoption)
    assert "observed" in life.run("status").stdout
    with CommandLines() as lines:
        life.run("rotate_db", extra=FORCE)
    life.run("rollback")
    life.run("retire_due")
    life.run("rotate_db", "--tags", "preflight,stage,apply", extra=FORCE)
    life.run("abandon")
    life.run("rotate", extra={**FORCE, "keyturn_hosts": "postgres_roles"})
    life.run("retire_due")
    assert "observed" in life.run("status").stdout
    life.verify()
    document = estate.document()
    assert document.current is not None
    assert document.pending is document.previous is document.claim is None
    assert not estate.database.accepts(*estate.first)
    told = [*life.seen, estate.ansible.log(), life.server.audit_path.read_text("utf-8")]
    assert not any(TOKEN.search(text) for text in told)
    assert not any(value in text for text in (*told, *lines.seen) for value in life.values)
    assert_only_what_is_allowed(life)


def assert_only_what_is_allowed(life: Life) -> None:
    """By Vault's own account: nothing denied, each right in use, every login ended."""
    used: dict[str, set[tuple[str, str]]] = {playbook: set() for playbook in POLICIES}
    logins: Counter[str] = Counter()
    for told in life.told(life.since):
        assert not told.failed, told
        if told.path == f"auth/{life.roles[told.playbook].mount}/login":
            logins[told.playbook] += 1
            continue
        rule = allows(POLICIES[told.playbook], told.path, told.operation)
        assert told.allowed and (rule or told.path == ENGINE), told
        used[told.playbook] |= {(rule, told.operation)} if rule else set()
        logins[told.playbook] -= told.path == "auth/token/revoke-self"
    for playbook, policy in POLICIES.items():
        given = {(path, right) for path, rights in rules(policy) for right in rights}
        assert given - used[playbook] == NOT_IN_THIS_LIFE.get(playbook, set()), playbook
    assert not any(logins.values()), logins
    shown = {path for path in life.written(life.since, "retire_due") if "/musehub/" in path}
    assert shown == {"secret/data/musehub/checker"}
