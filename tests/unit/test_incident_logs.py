# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who used a credential by the logs of Vault and of PostgreSQL: files as these write them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import _incident_reads
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources import _log_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._log_lines import (
    Lines,
    to_moment,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._postgres_lines import (
    moment_of,
    prefix_pattern,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute

SECRET_PATH = "secret/data/musehub/db"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def look(**options: Any) -> dict[str, Any]:
    given = {"since": "2026-03-01T11:00:00Z", "until": "2026-03-01T13:00:00Z", **options}
    spec = ArgumentSpecValidator(dict(_incident_reads.MODULE.argument_spec)).validate(given)
    assert not spec.error_messages, spec.error_messages
    return execute(
        _incident_reads.MODULE,
        spec.validated_parameters,
        Context(now=lambda: NOON + timedelta(days=2)),
    )


def entry(time: str = "12:00:00.123456789", **told: Any) -> dict[str, Any]:
    request = {
        "id": secrets.token_hex(8),
        "operation": "read",
        "path": SECRET_PATH,
        "remote_address": "10.20.0.5",
        "namespace": {"id": "root"},
        **told.pop("request", {}),
    }
    auth = {
        "display_name": "approle",
        "entity_id": "e-1",
        "policies": ["default", "musehub"],
        "accessor": "hmac-sha256:0b0b",
        **told.pop("auth", {}),
    }
    return {
        "time": f"2026-03-01T{time}Z",
        "type": "request",
        "auth": auth,
        "request": request,
        **told,
    }


EDGES = [entry("10:00:00"), entry("14:00:00")]


class VaultLog:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "audit.log"

    def write(self, *entries: dict[str, Any], ends: bytes = b"") -> None:
        lines = [json.dumps(item).encode() + b"\n" for item in entries]
        self.path.write_bytes(b"".join(lines) + ends)

    def look(self, **options: Any) -> dict[str, Any]:
        return look(
            **{"type": "vault_audit", "path": str(self.path), "paths": [SECRET_PATH], **options}
        )


@pytest.fixture
def vault(tmp_path: Path) -> VaultLog:
    return VaultLog(tmp_path)


def test_reads_of_a_path_in_the_window(vault: VaultLog) -> None:
    hidden = secrets.token_urlsafe(20)
    vault.write(
        EDGES[0],
        entry(),
        entry(type="response"),
        entry(request={"operation": "update"}),
        entry(request={"path": f"{SECRET_PATH}/more"}),
        entry("12:30:00", error="1 error occurred:\n\t* permission denied\n\n", auth={"display_name": "eve"}),
        entry("12:40:00", request={"data": {"x": hidden}}, auth={"accessor": hidden, "metadata": {"x": hidden}}),
        EDGES[1],
    )  # fmt: skip
    told = vault.look()
    assert [item["outcome"] for item in told["events"]] == ["done", "denied", "done"]
    first = told["events"][0]
    assert first["at"] == "2026-03-01T12:00:00.000000Z"
    assert (first["principal"], first["via"], first["address"]) == ("approle", "e-1", "10.20.0.5")
    assert first["detail"] == "policies default, musehub, accessor hmac-sha256:0b0b"
    assert told["gaps"] == []
    assert told["seen"] == 8
    assert hidden not in json.dumps(told)


def test_a_read_does_not_hide_behind_a_text_that_is_called_time(vault: VaultLog) -> None:
    """Newer versions of Vault write ``time`` behind the request, whose data has the names that the caller chose."""
    late = entry(request={"data": {"time": "1999-01-01T00:00:00Z"}})
    ordered = {key: late[key] for key in ("auth", "request", "time", "type")}
    vault.write(EDGES[0], ordered, EDGES[1])
    assert len(vault.look()["events"]) == 1


def test_namespaces_and_patterns(vault: VaultLog) -> None:
    vault.write(entry(request={"namespace": {"path": "team/"}}), entry())
    assert len(vault.look()["events"]) == 1
    assert vault.look(paths=[f"team/{SECRET_PATH}"])["events"][0]["target"] == f"team/{SECRET_PATH}"
    assert len(vault.look(paths=["secret/data/*"])["events"]) == 1


def test_what_a_log_does_not_cover_is_told(vault: VaultLog) -> None:
    vault.write(entry(), ends=b'not json\n{"half')
    gaps = "; ".join(vault.look()["gaps"])
    assert "begins at 2026-03-01T12:00:00.000000Z, after the window" in gaps
    assert "ends at 2026-03-01T12:00:00.000000Z, before the window" in gaps
    assert "2 lines are no entries of Vault" in gaps
    vault.write()
    assert "nothing can be concluded" in vault.look()["gaps"][0]
    vault.write(EDGES[0], *(entry() for _n in range(4)), EDGES[1])
    assert vault.look(most=3)["gaps"] == ["there are 1 more than the 3 reads that were kept; raise most"]  # fmt: skip


def test_older_files_are_read_too(vault: VaultLog) -> None:
    vault.write(entry(), EDGES[1])
    older = vault.path.with_name("audit.log.1.gz")
    older.write_bytes(gzip.compress(json.dumps(EDGES[0]).encode() + b"\n"))
    os.utime(older, (1, 1))
    vault.path.with_name("audit.log.2.xz").touch()
    told = vault.look(path=f"{vault.path}*")
    assert [gap for gap in told["gaps"] if "begins" in gap] == []
    assert "audit.log.2.xz is compressed in a way that is not read here" in told["gaps"][0]
    older.write_bytes(older.read_bytes()[:-9])
    assert any("cut off" in gap for gap in vault.look(path=f"{vault.path}*")["gaps"])
    older.write_bytes(b"no gzip")
    assert any("no file of gzip" in gap for gap in vault.look(path=f"{vault.path}*")["gaps"])


def test_a_long_line_takes_no_memory(vault: VaultLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log_lines, "LONGEST", 64)
    vault.path.write_bytes(b"a" * 1000 + b"\nb\n" + b"c" * 63 + b"\n")
    lines = Lines(str(vault.path), "path")
    assert list(lines) == [b"b", b"c" * 63]
    assert len(lines.gaps) == 1


def test_an_absent_log_is_not_an_empty_one(vault: VaultLog) -> None:
    for path in (str(vault.path), f"{vault.path}*"):
        with pytest.raises(Absent):
            vault.look(path=path)
    with pytest.raises(KeyturnError, match="no plain file"):
        vault.look(path="/dev/null")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "audit.log"}, "path: 'audit.log' is no absolute path"),
        ({"path": ""}, "path: '' is no absolute path"),
        ({"path": "/var/*/audit.log"}, "not in that of a folder"),
        ({"paths": []}, "paths: missing"),
        ({"paths": ["/v1/secret/data/x"]}, "paths[0]: '/v1/secret/data/x' is no path"),
        ({"paths": ["v1/secret/data/x"]}, "paths[0]"),
        ({"paths": ["secret/*/x"]}, "paths[0]"),
        ({"paths": ["*"]}, "paths[0]"),
    ],
)
def test_a_lookup_in_vault_that_cannot_be_meant(
    vault: VaultLog, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput) as error:
        vault.look(**options)
    assert said in error.value.message


ROLE = "musehub_a"
AUTHORIZED = f"connection authorized: user={ROLE} database=shop application_name=psql"
REFUSED = f'password authentication failed for user "{ROLE}"'


def rows() -> Iterator[tuple[str, str, str, str, str, str]]:
    """Time, role, address, severity, state, message."""
    yield "10:00:00", "", "", "LOG", "00000", "starting"
    yield "12:00:00", ROLE, "10.20.0.5", "LOG", "00000", AUTHORIZED
    yield "12:10:00", ROLE, "2001:db8::7", "FATAL", "28P01", REFUSED
    yield "12:20:00", ROLE, "[local]", "LOG", "00000", f"replication {AUTHORIZED}"
    yield "12:30:00", "other", "10.20.0.5", "LOG", "00000", AUTHORIZED.replace(ROLE, "other")
    yield "12:40:00", ROLE, "10.20.0.5", "ERROR", "42601", f'syntax error at user "{ROLE}"'
    yield "12:50:00", f"{ROLE}2", "10.20.0.9", "FATAL", "28P01", REFUSED.replace(ROLE, f"{ROLE}2")
    yield "14:00:00", ROLE, "10.20.0.5", "LOG", "00000", AUTHORIZED


def as_json(zone: str) -> str:
    lines = [
        {"timestamp": f"2026-03-01 {at}.123 {zone}", "user": user, "dbname": "shop", "remote_host": host,
         "error_severity": severity, "state_code": state, "message": message, "application_name": "psql"}
        for at, user, host, severity, state, message in rows()
    ]  # fmt: skip
    return "".join(json.dumps(line) + "\n" for line in lines)


def as_csv(zone: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for at, user, host, severity, state, message in rows():
        peer = host if host in ("", "[local]") else f"{host}:5432"
        cells = [f"2026-03-01 {at}.123 {zone}", user, "shop", "7", peer, *[""] * 6, severity, state]
        writer.writerow([*cells, message, "a detail\nof two lines", *[""] * 7, "psql"])
    return text.getvalue()


PREFIX = "%m [%p] %q%u@%d %h(%a) %e: "


def as_stderr(zone: str) -> str:
    lines = []
    for at, user, host, severity, state, message in rows():
        session = f"{user}@shop {host}(psql) {state}: " if user else ""
        lines.append(
            f"2026-03-01 {at}.123 {zone} [77] {session}{severity}:  {message}\n\tmore of it\n"
        )
    return "".join(lines)


@pytest.mark.parametrize(
    ("name", "text"), [("pg.json", as_json), ("pg.csv", as_csv), ("pg.log", as_stderr)]
)
@pytest.mark.parametrize(("zone", "offset"), [("UTC", ""), ("CET", "+00:00")])
def test_logins_of_a_role_in_each_format(
    tmp_path: Path, name: str, text: Any, zone: str, offset: str
) -> None:
    path = tmp_path / name
    path.write_text(text(zone))
    given = {"type": "postgres_log", "path": str(path), "roles": [ROLE], "log_line_prefix": PREFIX}
    told = look(**given, utc_offset=offset)
    assert told["about"] == "logins"
    found = [(item["at"][11:16], item["outcome"], item["address"]) for item in told["events"]]
    assert found == [
        ("12:00", "done", "10.20.0.5"),
        ("12:10", "denied", "2001:db8::7"),
        ("12:20", "done", "local"),
    ]
    assert {item["target"] for item in told["events"]} == {"shop"}
    assert {item["agent"] for item in told["events"]} == {"psql"}
    assert told["gaps"] == []


def test_a_prefix_without_a_role_and_an_address(tmp_path: Path) -> None:
    path = tmp_path / "postgresql.log"
    hba = f'no pg_hba.conf entry for host "10.0.0.9", user "{ROLE}", database "shop", no encryption'
    lines = [f"{'9' * 30} LOG:  x", "1772352000.5 LOG:  starting"]
    lines += [f"1772366400.5 LOG:  {AUTHORIZED}", f"1772366460.1 FATAL:  {hba}"]
    path.write_text("\n".join([*lines, "1772377200.0 LOG:  ending"]) + "\n")
    given = {"type": "postgres_log", "path": str(path), "log_line_prefix": "%n "}
    told = look(**given, roles=[ROLE])
    assert [item["outcome"] for item in told["events"]] == ["done", "denied"]
    assert told["gaps"] == [
        "1 lines are no entries of PostgreSQL",
        "no address is written down: log_line_prefix has neither %h nor %r",
    ]
    assert look(**given, roles=[ROLE[:-1]])["events"] == []


def test_a_log_without_connections_says_nothing_of_them(tmp_path: Path) -> None:
    path = tmp_path / "pg.json"
    path.write_text(as_json("UTC").replace("connection authorized", "etwas anderes"))
    told = look(type="postgres_log", path=str(path), roles=[ROLE])
    assert "log_connections may be off" in told["gaps"][0]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {"roles": []}, "roles: missing"),
        ("", {"utc_offset": "CET"}, "utc_offset: 'CET' is no offset"),
        ("", {"format": "stderr", "log_line_prefix": "[%p] "}, "log_line_prefix: it has no time"),
        ("", {"format": "stderr", "log_line_prefix": "%m %z"}, "PostgreSQL has no %z"),
        ("nonsense\n", {}, "format: no line of the log is an entry of PostgreSQL as jsonlog"),
        (as_json("CEST"), {}, "utc_offset: the log's times are in zone CEST"),
        ('"unclosed' + "x" * 200_000, {"format": "csvlog"}, "format: no line of the log"),
    ],
)
def test_a_log_that_cannot_be_understood_was_not_looked_at(
    tmp_path: Path, text: str, options: dict[str, Any], said: str
) -> None:
    path = tmp_path / "pg.json"
    path.write_text(text)
    with pytest.raises(BadInput) as error:
        look(**{"type": "postgres_log", "path": str(path), "roles": [ROLE], **options})
    assert said in error.value.message


def test_times() -> None:
    same = ("12:00:00.123456789Z", "12:00:00 UTC", "14:00:00.1+02", "10:30:00-01:30")
    for text in (f"2026-03-01 {time}" for time in same):
        assert to_moment(text) == NOON, text
    for text in ("", "2026-03-01", "2026-13-01T12:00:00Z", "2026-03-01 12:00:00 CET"):
        assert to_moment(text) is None
    for text in ("2026-03-01 12:00:00+99", "0001-01-01 00:00:00+02"):
        assert to_moment(text) is None
    assert moment_of("2026-03-01 12:00:00.5 CET", None) == (None, "CET")


def test_a_prefix_takes_no_longer_for_a_line_made_for_that() -> None:
    pattern = prefix_pattern("%m %u@%d %a %h ", "x")
    assert pattern.match("2026-03-01 12:00:00 UTC " + "@ " * 4000) is None
