# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``publish`` on a real Vault and real files, inside Ansible's process and as a module, and what it must never do."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import re
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import request_to_replay
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Claim,
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._publish import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.playbook import Ansible
from estate.vault import VaultServer

URL = "postgresql://{current.username}:{current.password|urlencode}@db1:6432/app"


class Keyring:
    """A keyring in a file, with values made for this test."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keyring.json"
        self.password = f"p'%:{secrets.token_urlsafe(24)}"
        self.document = Document("db_app", secrets.token_bytes(32))
        self.put("current", "observed", "app_a", self.password)

    @property
    def ref(self) -> str:
        return f"ref+file://{self.path}"

    def put(self, name: str, status: str, user: str, password: str, **changes: Any) -> None:
        fields = {"username": user, "password": Secret(password)}
        stage = self.document.with_fingerprints(Stage("r1", status, fields))
        self.save(**{name: stage}, **changes)

    def save(self, **changes: Any) -> None:
        self.document = Document(**{**vars(self.document), **changes})
        self.path.touch(mode=0o600)
        self.path.write_text(dump_text(self.document))


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path)


class Publish:
    """Calls of the module's core."""

    def __init__(self, keyring: Keyring, sinks: list[dict[str, Any]], **environ: str) -> None:
        self.keyring = keyring
        self.sinks = sinks
        self.environ = environ
        self.warnings: list[str] = []

    def context(self, check_mode: bool = False) -> Context:
        environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **self.environ}
        return Context(check_mode, diff=True, environ=environ, warn=self.warnings.append)

    def params(self, **params: Any) -> dict[str, Any]:
        own = {"keyring": self.keyring.ref, "credential": "db_app", "sinks": self.sinks}
        return {**own, "run": {"run_id": "me"}, "host": None, **params}

    def __call__(self, check_mode: bool = False, **params: Any) -> dict[str, Any]:
        result = execute(MODULE, self.params(**params), self.context(check_mode))
        assert self.keyring.password not in json.dumps(result)
        return result

    def quartet(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Check, apply, check again, apply again."""
        predicted, done = self(check_mode=True), self()
        assert predicted["changed"] and done["changed"]
        assert predicted["diff"] == done["diff"]
        assert [item["fields"] for item in predicted["sinks"]] == [
            item["fields"] for item in done["sinks"]
        ]
        assert predicted["behind"] and not done["behind"]
        for check_mode in (True, False):
            again = self(check_mode=check_mode)
            assert not again["changed"] and not again["behind"] and not again["diff"]
        return predicted, done


def to_vault(server: VaultServer, token: str = "") -> dict[str, str]:
    return {"VAULT_ADDR": server.address, "VAULT_TOKEN": token or server.root_token}


def read(server: VaultServer, mount: str, path: str = "app/db") -> dict[str, Any]:
    found: dict[str, Any] = server.request("GET", f"{mount}/data/{path}")["data"]
    return found


def write(server: VaultServer, mount: str, data: dict[str, Any]) -> None:
    server.request("POST", f"{mount}/data/app/db", {"data": data})


def vault_sinks(mount: str) -> list[dict[str, Any]]:
    return [
        {"name": "url", "ref": f"ref+vault://{mount}/app/db#/DATABASE_URL", "template": URL},
        {
            "name": "parts",
            "ref": f"ref+vault://{mount}/app/db",
            "fields": {"USER": "{current.username}", "PASSWORD": "{current.password}"},
        },
    ]


def test_fields_of_one_vault_path_are_one_write(
    vault: VaultServer, vault_mount: str, keyring: Keyring
) -> None:
    other = {"OTHER": "x", "NUMBER": 5, "NESTED": {"a": [1]}, "USER": 7}
    write(vault, vault_mount, other)
    publish = Publish(keyring, vault_sinks(vault_mount), **to_vault(vault))
    _predicted, done = publish.quartet()
    found = read(vault, vault_mount)
    assert found["metadata"]["version"] == 2, "one write for all fields, none for equal ones"
    assert found["data"].pop("PASSWORD") == keyring.password
    assert found["data"].pop("DATABASE_URL").startswith("postgresql://app_a:p%27%25%3A")
    assert found["data"] == {**other, "USER": "app_a"}
    assert [item["version"] for item in done["sinks"]] == ["2", "2"]
    user = done["sinks"][1]["fields"]["USER"]
    assert user["before"] == "(another form)" and user["after"].startswith("hmac:")


def test_a_value_beside_the_one_in_use(
    keyring: Keyring, vault: VaultServer, vault_mount: str
) -> None:
    path, fresh = f"ref+vault://{vault_mount}/app/db", secrets.token_urlsafe(24)
    beside = {"ref": f"{path}#/key_new", "template": "{pending.password}", "absent": "remove"}
    sinks = [{"ref": f"{path}#/key", "template": "{current.password}"}, beside]
    publish = Publish(keyring, sinks, **to_vault(vault))
    publish.quartet()
    assert read(vault, vault_mount)["data"] == {"key": keyring.password}
    keyring.put("pending", "issued", "app_b", fresh)
    publish.quartet()
    assert read(vault, vault_mount)["data"] == {"key": keyring.password, "key_new": fresh}
    keyring.put("current", "promoted", "app_b", fresh, pending=None)
    publish.quartet()
    found = read(vault, vault_mount)
    assert (found["data"], found["metadata"]["version"]) == ({"key": fresh}, 3)


def test_one_changed_field_changes_its_sink_alone(
    vault: VaultServer, vault_mount: str, keyring: Keyring
) -> None:
    publish = Publish(keyring, vault_sinks(vault_mount), **to_vault(vault))
    assert publish()["changed"]
    data = read(vault, vault_mount)["data"]
    write(vault, vault_mount, {**data, "PASSWORD": "drifted"})
    assert publish(check_mode=True)["behind"] == ["parts"]
    result = publish()
    assert [item["changed"] for item in result["sinks"]] == [False, True]
    assert read(vault, vault_mount)["data"] == data


def test_a_deleted_secret_is_written_anew_with_a_warning(
    vault: VaultServer, vault_mount: str, keyring: Keyring
) -> None:
    write(vault, vault_mount, {"OTHER": "x"})
    vault.request("DELETE", f"{vault_mount}/data/app/db")
    publish = Publish(keyring, vault_sinks(vault_mount), **to_vault(vault))
    publish.quartet()
    assert any("version 1 was deleted" in warning for warning in publish.warnings)
    assert read(vault, vault_mount)["metadata"]["version"] == 2


def test_a_removed_field_leaves_the_others(
    vault: VaultServer, vault_mount: str, keyring: Keyring
) -> None:
    write(vault, vault_mount, {"OLD": "stale", "OTHER": "x"})
    ref = f"ref+vault://{vault_mount}/app/db#/OLD"
    sink = {"name": "old", "ref": ref, "template": "{previous.password}", "absent": "remove"}
    done = Publish(keyring, [sink], **to_vault(vault)).quartet()[1]
    assert done["sinks"][0]["fields"]["OLD"]["after"] == "(absent)"
    assert read(vault, vault_mount)["data"] == {"OTHER": "x"}
    kept = Publish(keyring, [{**sink, "absent": "keep"}], **to_vault(vault))(check_mode=True)
    assert not kept["changed"] and "previous" in kept["sinks"][0]["held"]["OLD"]


def test_writers_of_one_path_lose_nothing(
    vault: VaultServer, vault_mount: str, keyring: Keyring
) -> None:
    def one(index: int) -> bool:
        ref = f"ref+vault://{vault_mount}/app/db#/KEY{index}"
        sink = {"ref": ref, "template": f"{index} {{current.password}}"}
        return bool(Publish(keyring, [sink], **to_vault(vault))()["changed"])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(8)))
    expected = {f"KEY{index}": f"{index} {keyring.password}" for index in range(8)}
    found = read(vault, vault_mount)
    assert found["data"] == expected and found["metadata"]["version"] == 8


def test_absent_denied_and_unreachable_are_told_apart(
    vault: VaultServer, vault_mount: str, keyring: Keyring
) -> None:
    sinks = vault_sinks(vault_mount)
    sinks[1]["create"] = sinks[0]["create"] = False
    with pytest.raises(Absent, match="'create' is false"):
        Publish(keyring, sinks, **to_vault(vault))(check_mode=True)
    nothing = vault.token('path "sys/*" { capabilities = ["deny"] }')
    with pytest.raises(Denied):
        Publish(keyring, vault_sinks(vault_mount), **to_vault(vault, nothing))()
    nowhere = {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_TOKEN": nothing}
    nowhere["VAULT_CLIENT_TIMEOUT"] = "0.5"
    with pytest.raises(Unreachable):
        Publish(keyring, vault_sinks(vault_mount), **nowhere)()


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_token_that_may_only_read_is_refused_in_check_mode_too(
    vault: VaultServer, vault_mount: str, keyring: Keyring, check_mode: bool
) -> None:
    write(vault, vault_mount, {"OTHER": "x"})
    # As in Vault's own default policy: a token may ask what it may do.
    ask = 'path "sys/capabilities-self" { capabilities = ["update"] }'
    token = vault.token(ask + f'path "{vault_mount}/data/*" {{ capabilities = ["read"] }}')
    with pytest.raises(Denied) as caught:
        Publish(keyring, vault_sinks(vault_mount), **to_vault(vault, token))(check_mode=check_mode)
    assert keyring.password not in caught.value.message
    assert read(vault, vault_mount)["metadata"]["version"] == 1
    rights = '["create", "read", "update"]'
    token = vault.token(f'path "{vault_mount}/data/*" {{ capabilities = {rights} }}')
    Publish(keyring, vault_sinks(vault_mount), **to_vault(vault, token)).quartet()


@contextmanager
def losing_replies(server: VaultServer) -> Iterator[str]:
    """A way to Vault on which the reply to the first write is lost after the write was done."""
    host, _colon, port = server.address.rpartition("//")[2].partition(":")
    lost: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            away = http.client.HTTPConnection(host, int(port), timeout=10)
            away.request(self.command, self.path, body, dict(self.headers))
            answer = away.getresponse()
            text = answer.read()
            away.close()
            if self.command != "GET" and not lost:
                lost.append(self.path)
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = _pass_on  # noqa: N815

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}"
        proxy.shutdown()
    assert lost, "no write came through"


def test_a_lost_reply_is_looked_up_and_not_written_again(
    vault: VaultServer, vault_mount: str, keyring: Keyring
) -> None:
    with losing_replies(vault) as address:
        environ = {**to_vault(vault), "VAULT_ADDR": address}
        result = Publish(keyring, vault_sinks(vault_mount), **environ)()
    assert result["changed"] and result["sinks"][0]["version"] == "1"
    assert read(vault, vault_mount)["metadata"]["version"] == 1


def file_sinks(folder: Path) -> list[dict[str, Any]]:
    return [
        {
            "name": "env",
            "ref": f"ref+file://{folder}/app.env?format=env",
            "fields": {"DATABASE_URL": URL, "PGPASSWORD": "{current.password}"},
        },
        {
            "name": "list",
            "ref": f"ref+file://{folder}/app.env?format=env#/ACCEPTED",
            "template": "{current,pending,previous.password|b64|join:,}",
        },
        {"name": "key", "ref": f"ref+file://{folder}/key", "template": "{current.password}\n"},
        {
            "name": "json",
            "ref": f"ref+file://{folder}/app.json?format=json#/password",
            "template": "{current.password}",
        },
    ]


def test_files_are_written_together_and_only_where_they_differ(
    tmp_path: Path, keyring: Keyring
) -> None:
    env, key = tmp_path / "app.env", tmp_path / "key"
    env.write_text("# kept\nLOG=info\nexport PGPASSWORD=old\n")
    env.chmod(0o640)
    (tmp_path / "app.json").write_text('{\n    "user": "x"\n}\n')
    publish = Publish(keyring, file_sinks(tmp_path))
    publish.quartet()
    accepted = base64.b64encode(keyring.password.encode()).decode()
    lines = env.read_text().splitlines()
    assert lines[:2] == ["# kept", "LOG=info"]
    assert lines[2] == f'export PGPASSWORD="{keyring.password}"'
    assert lines[3].startswith("DATABASE_URL=postgresql://app_a:p%27%25%3A")
    assert lines[4] == f"ACCEPTED={accepted}"
    assert key.read_text() == keyring.password + "\n" and key.stat().st_mode & 0o777 == 0o600
    seen = {path: path.stat().st_ino for path in (env, key)}
    keyring.put("pending", "issued", "app_b", secrets.token_urlsafe(24))
    result = publish()
    assert [item["name"] for item in result["sinks"] if item["changed"]] == ["list"]
    assert env.stat().st_ino != seen[env] and key.stat().st_ino == seen[key]
    assert env.stat().st_mode & 0o777 == 0o640


def test_the_predicted_steps_of_a_dry_run_change_what_they_touch(
    tmp_path: Path, keyring: Keyring
) -> None:
    publish = Publish(keyring, file_sinks(tmp_path))
    assert publish()["changed"]
    run = Run("me")
    fields = {"username": "app_b", "password": Secret.new()}
    request = Request("stage", run, "db_app", rotation_id="r2", fields=fields, definition="d")
    result = publish(check_mode=True, replay=[request_to_replay(request)])
    assert result["behind"] == ["list"]
    assert result["sinks"][1]["fields"]["ACCEPTED"]["after"] == "(new)"
    assert result["sinks"][1]["digest"].startswith("(new):")


def test_what_is_there_is_not_fingerprinted_under_a_salt_that_everybody_knows(
    tmp_path: Path, keyring: Keyring
) -> None:
    (tmp_path / "key").write_text("weak")
    keyring.document = Document("db_app", bytes(32))
    keyring.put("current", "observed", "app_a", keyring.password)
    result = Publish(keyring, file_sinks(tmp_path))(check_mode=True)
    assert result["sinks"][2]["fields"]["content"]["before"] == "(some value)"
    assert "hmac" not in json.dumps([result["diff"], [item["fields"] for item in result["sinks"]]])


def test_only_the_sinks_of_the_named_host_are_written(tmp_path: Path, keyring: Keyring) -> None:
    sinks = file_sinks(tmp_path)
    sinks[0]["host"] = "app1"
    publish = Publish(keyring, sinks)
    with pytest.raises(BadInput, match="several hosts: '' \\(the controller\\), app1"):
        publish()
    here = publish(host="")
    assert [item["name"] for item in here["sinks"]] == ["list", "key", "json"]
    assert "DATABASE_URL" not in (tmp_path / "app.env").read_text()
    assert [item["name"] for item in publish(host="app1")["sinks"]] == ["env"]
    assert publish(host="other")["sinks"] == []


def claim(run_id: str) -> Claim:
    now = datetime.now(timezone.utc)
    return Claim(run_id, "elsewhere", 1, "boot", "1", now, now + timedelta(hours=1))


def test_beside_another_run_it_only_looks(tmp_path: Path, keyring: Keyring) -> None:
    keyring.save(claim=claim("other"))
    publish = Publish(keyring, file_sinks(tmp_path))
    with pytest.raises(Refused, match="other"):
        publish()
    assert not (tmp_path / "key").exists()
    assert publish(check_mode=True)["changed"]


def test_a_claim_that_is_lost_in_between_stops_the_write(tmp_path: Path, keyring: Keyring) -> None:
    keyring.save(claim=claim("me"))
    publish = Publish(keyring, file_sinks(tmp_path))
    context = publish.context()
    ready = MODULE.prepare(publish.params(), context) if MODULE.prepare else {}
    keyring.save(claim=claim("other"))
    with pytest.raises(Conflict, match="lost its claim"):
        MODULE.run(ready, context)
    assert not (tmp_path / "app.env").exists()
    keyring.save(claim=claim("me"))
    publish.quartet()


def test_a_failure_tells_what_was_written_before_it(tmp_path: Path, keyring: Keyring) -> None:
    sinks = file_sinks(tmp_path)
    sinks[2]["ref"] = f"ref+file://{tmp_path}/none/key"
    publish = Publish(keyring, sinks)
    with pytest.raises(KeyturnError, match="sink 'key'") as caught:
        publish()
    assert caught.value.details["changed"] is True
    assert [item["name"] for item in caught.value.details["sinks"]] == ["env", "list"]
    assert keyring.password not in json.dumps(caught.value.details)
    (tmp_path / "none").mkdir()
    assert [item["name"] for item in publish()["sinks"] if item["changed"]] == ["key", "json"]


def play(keyring: Keyring, sinks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Check, apply, check again, apply again, as tasks that show their difference."""
    tasks: list[dict[str, Any]] = []
    for number, check_mode in enumerate((True, False, True, False)):
        publish = {"keyring": keyring.ref, "credential": "db_app", "sinks": sinks}
        tasks += [
            {
                "keyturn.runbooks.publish": publish,
                "check_mode": check_mode,
                "diff": True,
                "register": "done",
            },
            {
                "ansible.builtin.assert": {
                    "that": [
                        f"done is {'changed' if number < 2 else 'not changed'}",
                        f"done.behind | length == {len(sinks) if number == 0 else 0}",
                        "done.sinks | map(attribute='name') | list == ['url', 'parts', 'env', 'list', 'key', 'json']",
                    ]
                }
            },
        ]
    return [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]


def decoded(text: str) -> Iterator[bytes]:
    """Whatever base64 may be hidden in a text."""
    for found in re.findall(r"[A-Za-z0-9+/]{24,}", text):
        for start in range(4):
            part = found[start:]
            yield base64.b64decode(part[: len(part) // 4 * 4])


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "module"])
def test_check_apply_check_apply_in_a_playbook(
    vault: VaultServer,
    vault_mount: str,
    keyring: Keyring,
    ansible: Ansible,
    tmp_path: Path,
    direct: bool,
) -> None:
    sinks = [*vault_sinks(vault_mount), *file_sinks(tmp_path)]
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump(play(keyring, sinks)))
    result = ansible.run(
        str(playbook), "-vvv", extra_vars={"keyturn_direct": direct}, env=to_vault(vault)
    ).check()
    assert read(vault, vault_mount)["metadata"]["version"] == 1
    assert (tmp_path / "key").read_text() == keyring.password + "\n"
    assert "+DATABASE_URL: hmac:" in result.stdout
    said = result.output + ansible.log()
    assert keyring.password not in said
    assert keyring.password.encode() not in b"".join(decoded(said))
    assert not ansible.leftovers()
