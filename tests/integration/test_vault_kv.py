# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``vault_kv`` on a real Vault: fields, rights, conflicts, lost answers, and both ways of execution."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    Document,
    Stage,
    dump_text,
    fingerprint,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import open_store
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_options import (
    with_vault_options,
)
from backends import Upstream
from estate.playbook import Ansible
from estate.vault import AppRole, VaultServer
from fault_proxy import Exchange, Fault, proxy_before
from fault_proxy import said as said_by_proxy
from kv_world import ASKING, NO_PATCH, READ, VALUES, KvWorld, refusal
from vault_fixtures import vault_approle
from vault_world import proxied

__all__ = ["vault_approle"]


@pytest.fixture
def world(vault: VaultServer, vault_mount: str) -> Iterator[KvWorld]:
    made = KvWorld(vault, vault_mount)
    yield made
    made.context.close()


def test_one_field_of_a_path(world: KvWorld) -> None:
    value = secrets.token_urlsafe(24)
    world.put("app", other="kept", number=7, nested={"a": [1]}, gone="x")
    done = world.quartet(fields={"KEY": value, "gone": None})
    assert world.data() == {"other": "kept", "number": 7, "nested": {"a": [1]}, "KEY": value}
    assert (done["version_before"], done["version"], done["kv_version"]) == ("1", "2", 2)
    assert done["diff"]["before_header"].endswith("(version 1)")
    assert done["diff"]["after_header"].endswith("(version 2)")
    assert done["fields"]["KEY"]["before"] == "(absent)"
    assert done["fields"]["gone"]["after"] == "(absent)"
    assert value not in json.dumps(done)


def test_a_path_that_is_made(world: KvWorld) -> None:
    assert "make it first" in refusal(Absent, world.run, fields={"KEY": "v"}, create=False)
    done = world.quartet(fields={"KEY": "v", "ZAHL": 5, "Ümläut/ .": "größe\n🔑"})
    assert (done["version_before"], done["version"]) == (None, "1")
    assert world.data() == {"KEY": "v", "ZAHL": "5", "Ümläut/ .": "größe\n🔑"}


def test_a_value_is_made_once(world: KvWorld) -> None:
    wish = {"KEY": {"type": "hex", "bytes": 16}}
    predicted = world.run(check=True, generate=wish)
    assert predicted["fields"]["KEY"]["after"] == "(new)"
    assert world.run(generate=wish)["changed"] is True
    made = world.data()["KEY"]
    assert len(made) == 32
    assert world.run(generate=wish)["changed"] is False
    assert world.data()["KEY"] == made


def test_values_by_reference(world: KvWorld, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    (tmp_path / "key").chmod(0o600)
    world.put("elsewhere", a="from-vault")
    refs = {"A": f"ref+vault://{world.mount}/elsewhere#/a", "B": f"ref+file://{tmp_path}/key"}
    world.quartet(fields=refs)
    assert world.data() == {"A": "from-vault", "B": "from-file"}


def test_the_options_count_before_the_environment(world: KvWorld, tmp_path: Path) -> None:
    token = world.environ["VAULT_TOKEN"]
    (tmp_path / "token").write_text(token)
    (tmp_path / "token").chmod(0o600)
    world.put("elsewhere", a="v")
    address, world.environ["VAULT_ADDR"] = world.environ["VAULT_ADDR"], "http://127.0.0.1:1"
    world.environ["VAULT_TOKEN"] = "hvs.wrong"
    fields = {"A": f"ref+vault://{world.mount}/elsewhere#/a"}
    assert world.run(url=address, token=token, fields=fields)["changed"] is True
    by_reference = {"url": address, "token": f"ref+file://{tmp_path}/token"}
    assert world.run(**by_reference, fields=fields)["changed"] is False
    by_file = {"url": address, "token_path": str(tmp_path), "token_file": "token"}
    assert world.run(**by_file, fields=fields)["changed"] is False
    world.environ["VAULT_CLIENT_TIMEOUT"] = "0.5"
    assert "no connection" in refusal(Unreachable, world.run, fields={"A": "v"})


def test_a_field_of_the_keyring_and_its_step(world: KvWorld) -> None:
    """The options are for everything that the task does, also for its keyring and for the step that it writes there."""
    address, token = world.environ.pop("VAULT_ADDR"), world.environ.pop("VAULT_TOKEN")
    login = {"url": address, "token": token}
    value, salt = secrets.token_urlsafe(24), secrets.token_bytes(SALT_BYTES)
    stage = Stage("r1", "issued", {"username": "app_a", "password": Secret(value)})
    document = Document("db_app", salt, 7)
    reference = parse_reference(f"ref+vault://{world.mount}/db_app", "keyring")
    context = with_vault_options(login, world.context)
    open_store(reference, context, "keyring").write(
        dump_text(replace(document, pending=document.with_fingerprints(stage))), None
    )
    keyring = {"keyring": reference.text, "credential": "db_app", "run": {"run_id": "one"}}
    done = world.run(
        **login, **keyring, fields={"PW": "keyring#/pending/password"}, transition="applied"
    )
    assert world.data() == {"PW": value}
    assert done["fields"]["PW"]["after"] == fingerprint(salt, "PW", Secret(value))
    assert done["keyring"]["stages"]["pending"]["status"] == "applied"
    again = {**keyring, "run": {"run_id": "two"}}
    said = refusal(Refused, world.run, **login, **again, fields={"PW": "x"})
    assert "one" in said
    assert world.data() == {"PW": value}


def test_a_deleted_secret_is_told(world: KvWorld) -> None:
    world.put("app", a="1", b="2")
    world.server.request("DELETE", f"{world.mount}/data/app")
    world.run(fields={"a": "3"})
    assert world.data() == {"a": "3"}
    assert "version 1 was deleted" in world.warnings[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "nothing is asked for"),
        ({"fields": {"a": "1"}, "state": "absent"}, "no meaning with state=absent"),
        ({"keep": 3, "state": "absent"}, "keep: it has no meaning with state=absent"),
        ({"keep": 0, "state": "absent"}, "keep: it has no meaning with state=absent"),
        ({"keep": 3, "state": "undeleted"}, "no meaning with state=undeleted"),
        ({"keep": 3, "state": "deleted", "versions": [1]}, "either these or 'keep'"),
        ({"versions": [1]}, "versions: it has no meaning"),
        ({"state": "destroyed"}, "name the versions to destroy"),
        ({"state": "deleted", "versions": [0]}, "expected numbers from 1 on"),
        ({"fields": {"a": "1"}, "path": "a/../b"}, "path: 'a/../b' is no path"),
        ({"fields": {"a": "1"}, "engine_mount_point": ""}, "engine_mount_point: '' is no path"),
        ({"fields": {"a": True}}, "put true and false in quotes"),
        ({"keep": 0}, "expected at least 1"),
        ({"max_age": "soon"}, "max_age"),
        ({"owner": "x", "metadata": {"owner": "y"}}, "metadata.owner: the module sets this key"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a: a value must have from 1 to 512 bytes"),
        ({"metadata": {"k" * 129: "x"}}, "a key must have from 1 to 128 bytes"),
        ({"metadata": {"a": ["x"]}}, "metadata.a: expected a text"),
        ({"metadata": {str(n): "x" for n in range(65)}}, "these would be 65"),
    ],
)
def test_what_cannot_be_meant(world: KvWorld, options: dict[str, Any], said: str) -> None:
    for check in (True, False):
        assert said in refusal(BadInput, world.run, check=check, **options)
    assert world.state() is None


# --- rights


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"fields": {"a": "2"}}, "'update' on 'MOUNT/data/app'"),
        ({"owner": "x"}, "'patch' on 'MOUNT/metadata/app'"),
        ({"state": "deleted"}, "'update' on 'MOUNT/delete/app'"),
        ({"state": "destroyed", "versions": [1]}, "'update' on 'MOUNT/destroy/app'"),
        ({"state": "absent"}, "'delete' on 'MOUNT/metadata/app'"),
    ],
)
def test_check_mode_asks_for_rights(world: KvWorld, options: dict[str, Any], path: str) -> None:
    world.put("app", a="1")
    world.limit(READ + ASKING)
    expected = f"add {path.replace('MOUNT', world.mount)} to its policy"
    assert expected in refusal(Denied, lambda: world.run(check=True, **options))
    assert "denies this token" in refusal(Denied, lambda: world.run(**options))
    world.limit(READ)
    assert world.run(check=True, **options)["changed"] is True


def test_the_least_rights_for_a_field(world: KvWorld) -> None:
    world.put("app", a="1")
    world.limit(VALUES)
    world.run(fields={"a": "2"})
    assert world.data() == {"a": "2"}
    assert "read its metadata" in refusal(Denied, world.run, fields={"a": "3"}, owner="x")
    assert world.data() == {"a": "2"}


# --- others who write, and lost answers


def test_a_racing_writer_loses_nothing(world: KvWorld) -> None:
    """Eight writers of a field each, at once, on one path: every field is there, and each write was one version."""
    world.put("app", start="x")
    errors: list[BaseException] = []

    def work(number: int) -> None:
        mine = KvWorld(world.server, world.mount)
        try:
            for turn in range(5):
                mine.run(fields={f"f{number}": str(turn)})
        except KeyturnError as error:
            errors.append(error)
        finally:
            mine.context.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert world.data() == {"start": "x", **{f"f{number}": "4" for number in range(8)}}
    assert world.state()["current_version"] == 41  # type: ignore[index]


def test_lost_answers_are_looked_up(world: KvWorld) -> None:
    world.put("app", a="1")
    with proxied(world) as proxy:
        for options in (
            {"fields": {"a": "2"}},
            {"owner": "platform"},
            {"state": "deleted"},
            {"state": "undeleted"},
            {"state": "destroyed", "versions": [1]},
            {"state": "absent"},
        ):
            proxy.lose_replies = 1
            assert world.run(**options)["changed"] is True
            assert proxy.lose_replies == 0
            assert world.run(**options)["changed"] is False
    assert world.state() is None


@pytest.mark.parametrize(("kv_version", "looks"), [("auto", 1), ("2", 0)])
def test_how_many_requests_a_task_sends(world: KvWorld, kv_version: str, looks: int) -> None:
    upstream = Upstream("127.0.0.1", int(world.server.address.rpartition(":")[2]))
    sent = []
    with proxy_before(upstream, lambda method, *_rest: method != "GET") as proxy:
        world.environ["VAULT_ADDR"] = f"http://127.0.0.1:{proxy.port}"
        for value in ("one", "two", "two"):
            # Each task has a session of its own.
            before = len(proxy.asked)
            world.run(fields={"a": value}, kv_version=kv_version)
            world.context.close()
            sent.append(len(proxy.asked) - before)
    # Where nothing is there, the engine is asked what it is in any case.
    assert sent == [4, 3 + looks, 1 + looks]


def reading_back(answer: Callable[[Exchange], None]) -> Fault:
    """What the server answers to whoever asks for one version, which is how a write is read back."""
    return Fault(answer, lambda asked: "version=" in asked.path)


def other_value(exchange: Exchange) -> None:
    """An answer that holds another value, a field that was removed, and one that is no text."""
    answer = exchange.forward()
    told = json.loads(answer.body)
    told["data"]["data"] = {"a": secrets.token_urlsafe(24), "gone": 5, "kept": "k"}
    answer.body = json.dumps(told).encode()
    exchange.reply(answer)


def test_a_value_that_is_read_back_as_another_is_an_error(world: KvWorld) -> None:
    world.put("app", a="1", gone="x", kept="k")
    value = secrets.token_urlsafe(24)
    wish = {"fields": {"a": value, "gone": None}, "owner": "platform"}
    port = int(world.server.address.rpartition(":")[2])
    with proxy_before(Upstream("127.0.0.1", port), lambda *_asked: False) as proxy:
        world.environ["VAULT_ADDR"] = f"http://127.0.0.1:{proxy.port}"
        proxy.faults = [reading_back(other_value)]
        with pytest.raises(Corrupt) as caught:
            world.run(**wish)
        said, details = caught.value.message, caught.value.details
        assert "version 2 was written, but another value is read back (a, gone)" in said
        assert "take that out of the way, and run again" in said
        assert value not in said
        assert details == {"changed": True}
        # The metadata does not tell of a rotation that nobody can rely on.
        assert world.custom() == {}
        proxy.faults = [reading_back(Exchange.pass_on)]
        assert world.run(**wish)["changed"] is True
    assert world.data() == {"a": value, "kept": "k"}


def test_what_cannot_be_read_back_is_told_as_written(world: KvWorld) -> None:
    port = int(world.server.address.rpartition(":")[2])
    with proxy_before(Upstream("127.0.0.1", port), lambda *_asked: False) as proxy:
        world.environ |= {"VAULT_ADDR": f"http://127.0.0.1:{proxy.port}", "VAULT_MAX_RETRIES": "0"}
        proxy.faults = [reading_back(said_by_proxy(502))]
        with pytest.raises(Unreachable) as caught:
            world.run(fields={"a": "1"})
    assert "Version 1 was written before that, but not read back" in caught.value.message
    assert caught.value.details["changed"] is True
    assert world.data() == {"a": "1"}


# --- as a task


def token_paths(server: VaultServer) -> list[str]:
    """How each token that is good now was made."""
    accessors = server.request("LIST", "auth/token/accessors")["data"]["keys"]
    bodies = [{"accessor": accessor} for accessor in accessors]
    found = [server.request("POST", "auth/token/lookup-accessor", body) for body in bodies]
    return [token["data"]["path"] for token in found]


def test_both_ways_of_execution(
    world: KvWorld, ansible: Ansible, scratch: Path, vault_approle: Callable[..., AppRole]
) -> None:
    """The same tasks inside of Ansible's process and as an ordinary module, each with one login that ends with it."""
    rules = VALUES + NO_PATCH + ' path "auth/token/revoke-self" { capabilities = ["update"] }'
    role = vault_approle(rules.replace("MOUNT", world.mount))
    value = secrets.token_urlsafe(24)
    for name, text in (("secret-id", role.secret_id), ("value", value)):
        (scratch / name).write_text(text)
        (scratch / name).chmod(0o600)
    login = {
        "url": world.server.address,
        "auth_method": "approle",
        "mount_point": role.mount,
        "role_id": role.role_id,
        "secret_id": f"ref+file://{scratch}/secret-id",
        "engine_mount_point": world.mount,
    }
    told = {}
    for direct in ("true", "false"):
        path = f"app-{direct}"
        wish = {"fields": {"KEY": f"ref+file://{scratch}/value"}, "owner": "platform"}
        task = {
            "keyturn.runbooks.vault_kv": {**login, "path": path, **wish},
            "register": "done",
            "diff": True,
            "vars": {"keyturn_direct": direct},
        }
        show = {
            "ansible.builtin.copy": {
                "content": "{{ done | to_json }}",
                "dest": f"{scratch}/{path}.json",
            }
        }
        # What fails leaves no token behind either.
        failing = {**task, "ignore_errors": True, "register": "failed"}
        failing["keyturn.runbooks.vault_kv"] = {
            **login,
            "engine_mount_point": "not-there",
            "path": "x",
            "fields": {"a": "1"},
        }
        tasks = [task, show, failing, {"ansible.builtin.assert": {"that": ["failed is failed"]}}]
        play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
        book = scratch / f"{path}.yml"
        book.write_text(yaml.safe_dump([play]))
        ended = ansible.run(str(book), "-vvv", env={"HOME": str(scratch)}).check()
        assert "Vault denies this token" in ended.stdout
        assert value not in ended.output + ansible.log()
        assert role.secret_id not in ended.output + ansible.log()
        told[direct] = json.loads((scratch / f"{path}.json").read_text())
        assert world.data(f"data/{path}") == {"KEY": value}
        assert f"auth/{role.mount}/login" not in token_paths(world.server)
    for field in ("changed", "version", "version_before", "metadata", "kv_version"):
        assert told["true"][field] == told["false"][field]
