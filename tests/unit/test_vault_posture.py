# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a Vault's posture, files of its machine, its audit log, and the report."""

from __future__ import annotations

import getpass
import json
import os
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _vault_posture_files as files,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils import _vault_posture_host
from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _vault_posture_rules as rules,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_audit import (
    networks,
    read_log,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_findings import (
    Findings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_report import (
    build_report,
    failing,
    lines,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
ME = [getpass.getuser()]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "vault-posture.md"


def levels(found: Findings) -> set[tuple[str, str]]:
    return {(item["check"], item["level"]) for item in found.result()["findings"]}


@pytest.mark.parametrize(
    ("kind", "settings", "level"),
    [
        ("tcp", {"address": "0.0.0.0:8200", "tls_disable": True}, "high"),
        ("tcp", {"address": "[::]:8200", "tls_disable": "1"}, "high"),
        ("tcp", {"address": "10.0.0.5:8200", "tls_disable": "true"}, "high"),
        ("tcp", {"address": "127.0.0.1:8200", "tls_disable": True}, "low"),
        ("tcp", {"address": "[::1]:8200", "tls_disable": True}, "low"),
        ("tcp", {"address": "0.0.0.0:8200", "tls_min_version": "tls10"}, "medium"),
        ("tcp", {"address": "0.0.0.0:8200", "tls_disable": False}, None),
        ("unix", {"address": "/run/vault.sock"}, None),
    ],
)
def test_listeners(kind: str, settings: dict[str, Any], level: str | None) -> None:
    found = Findings()
    rules.listeners({"listeners": [{"type": kind, "config": settings}]}, found)
    assert levels(found) == ({("listener_tls", level)} if level else set())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"storage": {"type": "raft"}, "disable_mlock": True}, set()),
        ({"storage": {"type": "file"}, "disable_mlock": True}, {("mlock", "medium")}),
        ({"default_lease_ttl": 90 * 86400}, {("lease", "low")}),
        ({"raw_storage_endpoint": True}, {("raw_storage", "high")}),
    ],
)
def test_settings(settings: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    found = Findings()
    rules.config(settings, found)
    assert levels(found) == expected


@pytest.mark.parametrize(
    ("running", "oldest", "old"),
    [
        ("1.18.9", "1.19.0", True),
        ("1.19.0", "1.19.0", False),
        ("1.9.2", "1.19", True),
        ("1.21.2+ent.hsm", "1.19.0", False),
        ("2.4.1", "1.19.0", False),
        ("1.0.0", "", False),
        ("", "1.19.0", True),
    ],
)
def test_versions(running: str, oldest: str, old: bool) -> None:
    found = Findings()
    rules.version(running, oldest, found)
    assert bool(found.result()["findings"]) is old


def test_an_audit_device_with_defects() -> None:
    found = Findings()
    options = {"log_raw": "true", "hmac_accessor": "false", "mode": "0644"}
    rules.audit({"file/": {"type": "file", "options": options}}, found)
    assert [item["level"] for item in found.result()["findings"]] == ["high", "medium", "medium"]
    good = Findings()
    rules.audit({"syslog/": {"type": "syslog", "options": {}}}, good)
    assert levels(good) == set()


def test_tokens_are_told_by_names_that_do_no_harm() -> None:
    found = Findings()
    root = {"policies": ["root"], "display_name": "root"}
    lasting = {"policies": ["app"], "creation_ttl": 9_000_000, "display_name": "a\x1b[2Jb\nc"}
    rules.tokens([root, root, lasting], 768 * 3600, found)
    assert levels(found) == {("root_tokens", "high"), ("token_ttl", "medium")}
    messages = " ".join(item["message"] for item in found.result()["findings"])
    assert "2 root tokens are alive: root (2)" in messages
    assert messages.isprintable()


def test_files_that_others_can_read_or_replace(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    token = folder / "token"
    token.write_text("x")
    token.chmod(0o640)
    found = Findings()
    files.secret_files([str(token), str(folder / "absent")], ["somebody"], "token_files", found)
    told = [item["message"] for item in found.result()["findings"]]
    assert len(told) == 3
    assert any("has mode 0640" in text for text in told)
    assert any("expected somebody" in text for text in told)
    assert any("in the place of" in text for text in told)
    token.chmod(0o600)
    folder.chmod(0o755)
    good = Findings()
    files.secret_files([str(token)], ME, "token_files", good)
    assert levels(good) == set()


def test_key_files(tmp_path: Path) -> None:
    data = tmp_path / "vault" / "data"
    data.mkdir(parents=True)
    data.chmod(0o700)
    beside, away = tmp_path / "vault" / ".vault-keys", tmp_path / "share"
    held = {"unseal_keys_b64": ["a", "b", "c"], "root_token": "t"}
    beside.write_text(json.dumps(held))
    away.write_text("one share alone")
    for path in (beside, away):
        path.chmod(0o600)
    found = Findings()
    files.data_directory(str(data), ME, found)
    files.key_files([str(beside), str(tmp_path / "absent")], str(data), ME, found)
    assert levels(found) == {
        ("keys_beside_data", "high"),
        ("keys_together", "high"),
        ("root_token_kept", "high"),
    }
    other = Findings()
    files.key_files([str(away)], str(data), ME, other)
    assert levels(other) == {("keys_beside_data", "medium")}


def test_a_data_directory_that_is_open_or_not_there(tmp_path: Path) -> None:
    found = Findings()
    files.data_directory(str(tmp_path / "absent"), ME, found)
    assert levels(found) == {("data_directory", "unknown")}
    tmp_path.chmod(0o750)
    found = Findings()
    files.data_directory(str(tmp_path), ME, found)
    assert levels(found) == {("data_directory", "high")}


@pytest.mark.parametrize(
    ("age", "mode", "size", "expected"),
    [
        (1, 0o600, 9, set()),
        (9, 0o600, 9, {("backup", "high")}),
        (1, 0o600, 0, {("backup", "high")}),
        (1, 0o644, 9, {("backup", "medium")}),
        (None, 0, 0, {("backup", "high")}),
    ],
)
def test_backups(
    tmp_path: Path, age: int | None, mode: int, size: int, expected: set[tuple[str, str]]
) -> None:
    for number, days in enumerate([] if age is None else [age + 30, age]):
        path = tmp_path / f"vault-{number}.snap"
        path.write_bytes(b"x" * size)
        path.chmod(mode)
        moment = (NOW - timedelta(days=days)).timestamp()
        os.utime(path, (moment, moment))
    found = Findings()
    files.backups([str(tmp_path / "vault-*.snap")], timedelta(days=7), NOW, found)
    assert levels(found) == expected


def test_swap() -> None:
    heading = "Filename\tType\tSize\tUsed\tPriority\n"
    found = Findings()
    files.swap(heading, found)
    assert levels(found) == set()
    files.swap(f"{heading}/dev/sda2 partition 1 0 -2\n", found)
    assert levels(found) == {("swap", "low")}


def entry(number: int, **request: Any) -> str:
    moment = (NOW + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.000000001Z")
    about = {"path": "secret/data/x", "operation": "read", "remote_address": "10.0.0.1", **request}
    auth = {"display_name": "app", "policies": ["app"]}
    return json.dumps({"type": "request", "time": moment, "auth": auth, "request": about})


def test_a_long_log_is_searched_from_its_time_on(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text("".join(f"{entry(number)}\n" for number in range(20_000)) + '{"type": "requ')
    assert log.stat().st_size > 3 << 20
    since = (NOW + timedelta(seconds=19_990)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    seen, ended = read_log(str(log), since, {}, networks(["10.0.0.0/8"], "x"))
    assert (seen.entries, seen.unreadable, seen.strangers) == (10, 0, {})
    # What was still being written is looked at next time.
    with log.open("a") as file:
        file.write(f'est"}}\n{entry(20_000, remote_address="::ffff:192.0.2.1")}\n')
    seen, _ended = read_log(str(log), since, ended, networks(["10.0.0.0/8"], "x"))
    assert (seen.entries, seen.unreadable) == (1, 1)
    assert list(seen.strangers) == ["::ffff:192.0.2.1"]


def test_a_request_and_its_response_count_once(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    request = {**json.loads(entry(1)), "error": "permission denied"}
    response = {**request, "type": "response"}
    log.write_text(f"{json.dumps(request)}\n{json.dumps(response)}\n")
    seen, _ended = read_log(str(log), "", {}, [])
    assert (seen.entries, seen.denied) == (1, {"read secret/data/x by app": 1})


def test_a_log_that_was_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(f"{entry(1)}\n")
    cursor = {"inode": log.stat().st_ino, "offset": 10_000}
    assert read_log(str(log), "", cursor, [])[0].entries == 1


def test_wrong_addresses() -> None:
    with pytest.raises(BadInput, match="audit_addresses"):
        networks(["10.0.0.0/99"], "audit_addresses")


def test_a_log_that_cannot_be_looked_at_and_one_that_is_quiet(tmp_path: Path) -> None:
    spec = _vault_posture_host.SPEC
    params = {name: option.get("default") for name, option in spec.items()}
    params.update(swap=False, audit_log=str(tmp_path / "absent"), audit_quiet="5m")
    context = Context(environ={}, now=lambda: NOW + timedelta(hours=1))
    found = _vault_posture_host.run(params, context)
    assert [item["level"] for item in found["findings"]] == ["unknown"]
    log = tmp_path / "audit.log"
    log.write_text(f"{entry(1)}\n")
    log.chmod(0o600)
    found = _vault_posture_host.run({**params, "audit_log": str(log)}, context)
    assert "59m 59s ago" in found["findings"][0]["message"]


def of(level: str) -> dict[str, Any]:
    return {"check": "c", "level": level, "message": "m", "remedy": "r"}


def test_the_report() -> None:
    results = {
        "v1": [{"findings": [of("low"), of("high")], "checked": ["a", "b"]}, {"skipped": True}],
        "v2": [{"failed": True, "msg": "no\nroute"}, {"findings": [], "checked": ["a"]}],
    }
    report = build_report(results, NOW)
    assert report["summary"] == {
        "vaults": 2,
        "findings": 3,
        "levels": {"high": 1, "unknown": 1, "low": 1},
    }
    told = lines(report)
    assert [line.split()[0] for line in told] == ["high", "unknown", "low", "3"]
    assert "task: no route. To do: see to that" in told[1]
    assert failing(report, "nothing") == {}
    assert failing(report, "high") == {
        "v1": "v1 has findings: 1 high",
        "v2": "v2 has findings: 1 unknown",
    }
    assert failing(report, "low")["v1"] == "v1 has findings: 1 high, 1 low"


def test_the_page_has_every_check() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in Path(rules.__file__).parent.glob("_vault_posture*.py")
    )
    named = set(re.findall(r'(?:begin|ask|_CHECK =|check =|add)\(?\s*"([a-z_]+)"', code))
    rows = set(re.findall(r"`([a-z_]+)`", PAGE.read_text(encoding="utf-8")))
    assert named - rows - {"reach", "task"} == set()
    assert len(named) > 12
