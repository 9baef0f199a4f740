# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``publish`` to several places of one store: a pair in two parameters of AWS, and one value in two paths of Vault."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._publish import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from aws_world import AwsWorld, naming, told
from estate.moto import MotoServer
from estate.vault import VaultServer
from fault_proxy import Fault

ID, KEY = "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"


class Pair:
    """A credential of two parts, in a keyring in a file, and the two sinks that it has."""

    def __init__(self, folder: Path, sinks: list[dict[str, Any]], environ: dict[str, str]) -> None:
        self.path = folder / "keyring.json"
        self.sinks = sinks
        self.environ = environ
        self.parts = {"key_id": secrets.token_hex(16), "secret": secrets.token_hex(32)}
        self.put(current=tuple(self.parts))

    def put(self, **stages: tuple[str, ...]) -> None:
        """Have these stages in the keyring, each with these parts."""
        document = Document("r2", secrets.token_bytes(32))
        made = {}
        for name, parts in stages.items():
            fields = {part: Secret(self.parts[part]) for part in parts}
            status = "observed" if name == "current" else "issued"
            made[name] = document.with_fingerprints(Stage("r1", status, fields))
        self.path.touch(mode=0o600)
        self.path.write_text(dump_text(Document(**{**vars(document), **made})))

    def publish(self, check: bool = False) -> dict[str, Any]:
        """What the module tells."""
        defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
        own = {"keyring": f"ref+file://{self.path}", "credential": "r2", "sinks": self.sinks}
        environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **self.environ}
        context = Context(check, diff=True, environ=environ)
        try:
            result = execute(MODULE, {**defaults, **own, "run": {"run_id": "me"}}, context)
        finally:
            context.close()
        assert not [part for part in self.parts.values() if part in json.dumps(result)]
        return result

    def fails(self, kind: type[KeyturnError]) -> KeyturnError:
        """The error that it ends with."""
        with pytest.raises(kind) as caught:
            self.publish()
        seen = json.dumps([caught.value.message, caught.value.details])
        assert not [part for part in self.parts.values() if part in seen]
        return caught.value


def changed(result: dict[str, Any]) -> list[str]:
    """The sinks that were written."""
    return [item["name"] for item in result["sinks"] if item["changed"]]


# --- a key's id and its secret, in two parameters of AWS


@pytest.fixture
def aws(moto: MotoServer) -> AwsWorld:
    world = AwsWorld(moto)
    for name in (ID, KEY):
        world.put(name, "old")
    return world


def to_parameters(aws: AwsWorld, folder: Path, stage: str = "current") -> Pair:
    """The pair as one group; the second part is of this stage."""
    shown = {ID: "{current.key_id}", KEY: f"{{{stage}.secret}}"}
    group = [
        {"name": name, "ref": f"ref+awsssm:/{aws.name(name)}", "template": template}
        for name, template in shown.items()
    ]
    return Pair(folder, [{"name": "r2", "group": group}], aws.environ)


def test_a_pair_is_written_with_one_call_for_each_part(aws: AwsWorld, tmp_path: Path) -> None:
    pair = to_parameters(aws, tmp_path)
    results = [pair.publish(check) for check in (True, False, True, False)]
    assert [changed(result) for result in results] == [[ID, KEY], [ID, KEY], [], []]
    assert results[0]["diff"] == results[1]["diff"]
    assert {item["group"] for item in results[0]["sinks"]} == {"r2"}
    assert aws.held(ID) == (pair.parts["key_id"], 2)
    assert aws.held(KEY) == (pair.parts["secret"], 2)


def test_a_pair_of_which_a_part_is_absent_is_refused_as_a_whole(
    aws: AwsWorld, tmp_path: Path
) -> None:
    pair = to_parameters(aws, tmp_path)
    pair.put(current=("key_id",))
    assert "secret" in pair.fails(BadInput).message
    # A part of a stage that is not there yet: the whole group waits, and so do those who read it.
    waiting = to_parameters(aws, tmp_path, "pending")
    for check in (True, False):
        result = waiting.publish(check)
        assert not result["changed"]
        assert "the group 'r2' is written whole" in result["sinks"][0]["held"][""]
        assert [item["rendered"] for item in result["sinks"]] == [False, False]
    assert aws.held(ID) == aws.held(KEY) == ("old", 1)
    waiting.put(current=("key_id", "secret"), pending=("key_id", "secret"))
    assert changed(waiting.publish()) == [ID, KEY]


def test_where_aws_takes_one_part_the_same_call_writes_the_other(
    aws: AwsWorld, tmp_path: Path
) -> None:
    pair = to_parameters(aws, tmp_path)
    with aws.proxy() as proxy:
        refused = told("AccessDeniedException")
        proxy.faults.append(Fault(refused, naming(aws.name(KEY), "PutParameter")))
        pair.environ = dict(aws.environ)
        error = pair.fails(Denied)
        proxy.faults.clear()
        assert f"sink '{KEY}'" in error.message
        assert changed(error.details) == [ID] and error.details["unwritten"] == [KEY]
        assert aws.held(ID) == (pair.parts["key_id"], 2) and aws.held(KEY) == ("old", 1)
        assert changed(pair.publish()) == [KEY]
    assert aws.held(ID)[1] == 2 and aws.held(KEY) == (pair.parts["secret"], 2)


# --- one value in two paths of Vault

BOTH = ("database", "user/neon")


def held(vault: VaultServer, mount: str) -> list[tuple[dict[str, Any], int]]:
    """What is in the paths, and their versions."""
    found = [vault.request("GET", f"{mount}/data/{path}")["data"] for path in BOTH]
    return [(one["data"], one["metadata"]["version"]) for one in found]


def test_one_value_in_two_paths_and_one_of_them_refuses(
    vault: VaultServer, vault_mount: str, tmp_path: Path
) -> None:
    for path in BOTH:
        data = {"OTHER": path, "DATABASE_URL": "old"}
        vault.request("POST", f"{vault_mount}/data/{path}", {"data": data})
    template = "postgresql://app:{current.secret}@db.example/app?sslmode=require"
    sinks = [
        {"name": path, "ref": f"ref+vault://{vault_mount}/{path}#/DATABASE_URL"} for path in BOTH
    ]
    rights = {BOTH[0]: ["read", "update"], BOTH[1]: ["read"]}
    few = "".join(
        f'path "{vault_mount}/data/{path}" {{ capabilities = {json.dumps(given)} }}\n'
        for path, given in rights.items()
    )
    environ = {"VAULT_ADDR": vault.address, "VAULT_TOKEN": vault.token(few)}
    both = Pair(tmp_path, [{**sink, "template": template} for sink in sinks], environ)
    url = template.replace("{current.secret}", both.parts["secret"])
    error = both.fails(Denied)
    assert "sink 'user/neon'" in error.message
    assert changed(error.details) == ["database"] and error.details["unwritten"] == ["user/neon"]
    first = ({"OTHER": "database", "DATABASE_URL": url}, 2)
    assert held(vault, vault_mount) == [first, ({"OTHER": "user/neon", "DATABASE_URL": "old"}, 1)]
    environ["VAULT_TOKEN"] = vault.root_token
    assert [changed(both.publish(check)) for check in (True, False, False)] == [
        ["user/neon"],
        ["user/neon"],
        [],
    ]
    second = ({"OTHER": "user/neon", "DATABASE_URL": url}, 2)
    assert held(vault, vault_mount) == [first, second]
