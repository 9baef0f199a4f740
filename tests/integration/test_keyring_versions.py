# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions of a keyring real stores tell of, and what ``keyring_info`` needs for it."""

from __future__ import annotations

import re
import secrets
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _keyring_info
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, dump_text
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import open_store
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_time
from aws_world import AwsWorld
from estate.moto import MotoServer
from estate.vault import VaultServer, vault_binary
from vault_world import World

STORES = Path(__file__).parents[2] / "docs" / "stores.md"


def keep(reference: str, context: Context, times: int, version: Any = None) -> Any:
    """Write a keyring so many times, over this version; returns the last one."""
    store = open_store(parse_reference(reference, "k"), context, "k")
    document = Document("db", secrets.token_bytes(32))
    for step in range(times):
        version = store.write(dump_text(replace(document, step=step + 1)), version)
    return version


def look(reference: str, context: Context, **options: Any) -> dict[str, Any]:
    """What the module tells."""
    spec = {name: option.get("default") for name, option in _keyring_info.SPEC.items()}
    given = {"keyring": reference, "credential": "db", **options}
    result: dict[str, Any] = _keyring_info.run({**spec, **given}, context)
    assert not result["changed"]
    return result


def versions(reference: str, context: Context) -> list[dict[str, Any]]:
    """What it tells of the versions; the same in check mode."""
    found: list[dict[str, Any]] = look(reference, context, versions=True)["versions"]
    foreseen = look(reference, replace(context, check_mode=True), versions=True)["versions"]
    # moto makes up the time of a version anew for each answer.
    assert [{**item, "made": ""} for item in foreseen] == [{**item, "made": ""} for item in found]
    for item in found:
        made = parse_time(item["made"], "made")
        assert abs(datetime.now(timezone.utc) - made) < timedelta(minutes=5)
    return found


def test_vault(vault: VaultServer, vault_mount: str) -> None:
    world = World(vault, vault_mount)
    reference = f"ref+vault://{vault_mount}/db"
    assert look(reference, world.context, versions=True)["versions"] == []
    keep(reference, world.context, 3)
    vault.request("PUT", f"{vault_mount}/destroy/db", {"versions": [1]})
    vault.request("PUT", f"{vault_mount}/delete/db", {"versions": [2]})
    found = versions(reference, world.context)
    assert [(item["version"], item["state"]) for item in found] == [
        ("3", "current"),
        ("2", "deleted"),
        ("1", "destroyed"),
    ]
    world.limit('path "MOUNT/data/*" { capabilities = ["read"] }')
    narrow = Context(environ=world.environ)
    assert "versions" not in look(reference, narrow)
    with pytest.raises(Denied, match="denies this token to read its metadata"):
        look(reference, narrow, versions=True)
    world.environ["VAULT_TOKEN"] = vault.root_token
    world.limit('path "MOUNT/+/*" { capabilities = ["read"] }')
    narrow = Context(environ=world.environ)
    assert look(reference, narrow, versions=True)["versions"] == found


def asked_to_keep(vault: VaultServer, mount: str) -> None:
    """The command of docs/stores.md, for this mount."""
    [command] = re.findall(r"^vault (kv metadata put .*)$", STORES.read_text(), re.MULTILINE)
    arguments = command.replace("=secret ", f"={mount} ").split()
    environ = {"VAULT_ADDR": vault.address, "VAULT_TOKEN": vault.root_token, "HOME": "/nonexistent"}
    subprocess.run(
        [str(vault_binary()), *arguments], env=environ, check=True, capture_output=True, timeout=60
    )


@pytest.mark.parametrize("first", [True, False], ids=["before the keyring", "beside it"])
def test_vault_keeps_as_many_as_it_is_asked_to(
    vault: VaultServer, vault_mount: str, first: bool
) -> None:
    world = World(vault, vault_mount)
    reference = f"ref+vault://{vault_mount}/keyrings/db"
    if first:
        asked_to_keep(vault, vault_mount)
    version = keep(reference, world.context, 10)
    if not first:
        asked_to_keep(vault, vault_mount)
    keep(reference, world.context, 10, version)
    told = [item["version"] for item in look(reference, world.context, versions=True)["versions"]]
    assert told == [str(number) for number in range(20, 0, -1)]
    found = vault.request("GET", f"{vault_mount}/data/keyrings/db?version=1")
    assert found["data"]["data"]["step"] == 1


@pytest.mark.parametrize("scheme", ["awsssm", "awssecrets"])
def test_aws(moto: MotoServer, scheme: str) -> None:
    context = AwsWorld(moto).context()
    reference = f"ref+{scheme}://keyrings/{secrets.token_hex(4)}"
    assert look(reference, context, versions=True)["versions"] == []
    keep(reference, context, 2)
    found = versions(reference, context)
    assert [item["state"] for item in found] == ["current", "old"]
    assert len({item["version"] for item in found}) == 2


def test_a_file_keeps_the_present_one_alone(tmp_path: Path) -> None:
    reference = f"ref+file://{tmp_path}/k.json"
    keep(reference, Context(environ={}), 2)
    (found,) = look(reference, Context(environ={}), versions=True)["versions"]
    assert (found["state"], found["made"]) == ("current", None)


@pytest.mark.parametrize("ahead", [-75, 0, 75])
def test_how_far_the_clocks_are_apart(vault: VaultServer, vault_mount: str, ahead: int) -> None:
    world = World(vault, vault_mount)
    reference = f"ref+vault://{vault_mount}/db"
    keep(reference, world.context, 1)
    apart = timedelta(seconds=ahead)
    context = replace(world.context, now=lambda: datetime.now(timezone.utc) - apart)
    result = look(reference, context)
    # Vault tells whole seconds.
    assert abs(result["clock_skew_seconds"] - ahead) <= 2
    for told in result["gates"].values():
        (clock,) = [gate for gate in told if gate["name"] == "clock"]
        assert clock["passed"] is not bool(ahead)
        assert not ahead or "at most 60 s are tolerated): set them right (NTP)" in clock["message"]
