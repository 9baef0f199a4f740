# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook ``report_incident`` with its modules ``incident_reads`` and ``incident_report``, run both ways."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    encode_line,
    next_head,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from cloudtrail_api import CloudTrailApi, event, serving
from estate.databases import Database, fresh_database
from estate.playbook import Ansible, PlaybookResult
from estate.postgres import PostgresServer
from estate.vault import VaultSaysNo, VaultServer
from web_server import WebServer

NOW = datetime.now(timezone.utc).replace(microsecond=0)
AT = NOW - timedelta(hours=1)
SINCE = NOW - timedelta(hours=2)
NAME = "/musehub/production/DB_PASSWORD"
APP = "arn:aws:sts::111122223333:assumed-role/musehub/i-1"
EVE = "arn:aws:iam::111122223333:user/eve"


def told(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Incident:
    """A credential with a keyring and a ledger in files, its sources, and the playbook on it."""

    def __init__(self, folder: Path, address: str, ansible: Ansible) -> None:
        self.folder, self.address, self.ansible = folder, address, ansible
        self.value = secrets.token_urlsafe(24)
        self.sources: list[dict[str, Any]] = [
            {"type": "cloudtrail", "parameters": [NAME], "regions": ["eu-west-1"]}
        ]
        self.until = NOW
        self._keep()

    def _keep(self) -> None:
        stage = Stage("r_7", "observed", {"password": Secret(self.value)}, made=AT)
        document = Document("db", secrets.token_bytes(32), current=stage)
        document = replace(document, current=document.with_fingerprints(stage))
        request = Request("promote", Run("run1", "alice", f"it was {self.value}", "host"))
        head = next_head(document, request, AT)
        path = self.folder / "db.json"
        path.touch(0o600)
        path.write_text(dump_text(replace(document, ledger=head)))
        Path(f"{path}.ledger.jsonl").write_text(encode_line(head.line))

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "record.json").read_text())
        return found

    def run(self, *arguments: str, **extra: Any) -> PlaybookResult:
        expected = [{"principal": APP, "addresses": ["10.20.0.0/16"], "reason": "the application"}]
        hosts = {
            "db": {
                "keyturn_keyring": f"ref+file://{self.folder}/db.json",
                "keyturn_incident": {
                    "since": told(SINCE),
                    "sources": self.sources,
                    "expected": expected,
                    "output_markdown": str(self.folder / "record.md"),
                    "output_json": str(self.folder / "record.json"),
                },
            }
        }
        groups = {"all": {"children": {"credentials": {"hosts": hosts}}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(groups))
        return self.ansible.run(
            "keyturn.runbooks.report_incident",
            *arguments,
            inventory=self.folder / "hosts.yml",
            extra_vars={
                "keyturn_reason": "the password was in a log",
                "keyturn_until": told(self.until),
                **extra,
            },
            env={
                "AWS_ENDPOINT_URL": self.address,
                "AWS_REGION": "eu-west-1",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_CONFIG_FILE": "/nonexistent",
                "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            },
        )


@pytest.fixture
def api() -> CloudTrailApi:
    return CloudTrailApi()


@pytest.fixture
def incident(scratch: Path, api: CloudTrailApi, ansible: Ansible) -> Iterator[Incident]:
    with serving(api) as address:
        yield Incident(scratch, address, ansible)


@pytest.fixture
def audit_log(vault: VaultServer, scratch: Path) -> Iterator[Path]:
    """A log of an audit device that Vault has for this test."""
    name, path = f"incident-{secrets.token_hex(4)}", scratch / "audit.log"
    # Vault need not run as the user of the tests.
    scratch.chmod(0o711)
    options = {"file_path": str(path)}
    vault.request("PUT", f"sys/audit/{name}", {"type": "file", "options": options})
    yield path
    vault.request("DELETE", f"sys/audit/{name}")


def read_in_vault(incident: Incident, vault: VaultServer, mount: str, log: Path) -> None:
    """Kept, read once, and refused once."""
    path = f"{mount}/data/db"
    vault.request("PUT", path, {"data": {"password": incident.value}})
    vault.request("GET", path)
    made = vault.request("POST", "auth/token/create", {"policies": ["none"], "display_name": "eve"})
    with pytest.raises(VaultSaysNo):
        vault.request("GET", path, token=made["auth"]["client_token"])
    source = {"type": "vault_audit", "path": f"{log}*", "paths": [path], "host": "localhost"}
    incident.sources.append({**source, "name": "vault"})


def log_in(incident: Incident, database: Database) -> str:
    """Once with the password, and once with another; returns the role."""
    role = f"inc_{secrets.token_hex(4)}"
    password = database.create_login(role)
    assert database.accepts(role, password)
    assert not database.accepts(role, incident.value)
    source = {"type": "postgres_log", "path": str(database.server.log_path), "roles": [role]}
    incident.sources.append({**source, "name": "pg", "log_line_prefix": "%m [%p] %q%u@%d "})
    return role


FORGED = 'eve [x] "GET / HTTP/1.1" 200 0'


def ask_the_site(incident: Incident, folder: Path) -> None:
    """Once with the password, and twice with another: by somebody, and by somebody whose name looks like the rest of a line."""
    folder.mkdir()
    password = secrets.token_urlsafe(24)
    with WebServer(folder, runner=password) as site:
        assert site.asks(f"/jobs?token={incident.value}", "runner", password) == 204
        assert site.asks(f"/jobs/{incident.value}", "eve", incident.value) == 401
        assert site.asks("/jobs", FORGED, incident.value) == 401
    source = {"type": "app_log", "path": f"{site.log}*", "format": "combined", "host": "localhost"}
    incident.sources.append({**source, "name": "site"})


def tells_logins(logins: dict[str, Any], role: str) -> None:
    """Those in the database and those at the site."""
    assert {item["principal"] for item in logins["unexpected"]} == {role, "runner"}
    denied = {item["principal"]: item["target"] for item in logins["denied"]}
    assert denied.pop(role)
    assert denied == {"eve": "/jobs/(hidden)", FORGED.replace('"', r"\x22"): "/jobs"}


def test_who_read_it_is_written_down(
    incident: Incident, api: CloudTrailApi, vault: VaultServer, vault_mount: str, audit_log: Path,
    postgres_of: Callable[[str], PostgresServer], scratch: Path,
) -> None:  # fmt: skip
    read_in_vault(incident, vault, vault_mount, audit_log)
    with fresh_database(postgres_of("16")) as database:
        role = log_in(incident, database)
    ask_the_site(incident, scratch / "site")
    incident.sources.append(
        {"type": "vault_audit", "path": "/nonexistent/audit.log", "paths": ["x"]}
    )
    incident.until = datetime.now(timezone.utc)
    asked = {"name": NAME, "withDecryption": True}
    api.events = [
        event("GetParameter", AT, requestParameters=asked, userIdentity={"arn": APP}),
        event(
            "GetParameter",
            AT,
            requestParameters=asked,
            userIdentity={"arn": EVE},
            userAgent=f"x/{incident.value}",
            sourceIPAddress="198.51.100.7",
        ),
    ]
    foreseen = incident.run("--check", "--diff", keyturn_fail_on="nothing")
    foreseen.check()
    assert not (incident.folder / "record.json").exists()
    written = incident.run().check(2)
    assert "reads that were not expected: 2" in written.output
    record, text = incident.record(), (incident.folder / "record.md").read_text()
    reads = record["reads"]
    assert [item["principal"] for item in reads["unexpected"]] == [EVE, "root"]
    assert [item["principal"] for item in reads["denied"]] == ["token-eve"]
    assert reads["denied"][0]["address"] == "127.0.0.1"
    tells_logins(record["logins"], role)
    assert [item["kind"] for item in record["not_looked_at"]] == ["Absent"]
    assert record["reads"]["expected"][0]["count"] == 1
    assert record["timeline"][0]["phase"] == "promote"
    assert record["timeline"][0]["stages"][0]["fingerprints"]
    assert record["reason"] == "the password was in a log"
    again = incident.run(keyturn_direct=False, keyturn_fail_on="nothing")
    assert "changed=0" in again.check().stdout
    assert incident.record() == record
    for output in (foreseen.output, written.output, again.output, text, json.dumps(record)):
        assert incident.value not in output
    assert api.faults == []
