# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``stream_key``: the file and its copies, the env file that names it, and Vault."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
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
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._stream_key import MODULE
from estate.playbook import Ansible
from estate.vault import VaultServer
from kv_world import ASKING
from vault_world import World

MORNING = datetime(2026, 11, 22, 8, 30, tzinfo=timezone.utc)


def new_key() -> str:
    return f"live_{secrets.token_urlsafe(18)}"


class Host:
    """A folder as a host's, and calls of the module in this process.

    :ivar keys: every key that was given.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "keys" / "restream.key"
        self.env = folder / "relay.env"
        self.path.parent.mkdir()
        self.environ: dict[str, str] = {"HOME": "/nonexistent"}
        self.keys: list[str] = []
        self.warnings: list[str] = []
        self.now = MORNING

    def key(self) -> str:
        self.keys.append(new_key())
        return self.keys[-1]

    def call(self, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        """One call under one salt, so that fingerprints of several can be compared; no key is in what is told."""
        defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
        context = Context(
            check_mode,
            diff=True,
            environ=self.environ,
            now=lambda: self.now,
            randbytes=b"s".__mul__,
            warn=self.warnings.append,
        )
        try:
            result: dict[str, Any] = execute(MODULE, {**defaults, **options}, context)
        except KeyturnError as error:
            told = error.message + json.dumps(error.details)
            assert not [key for key in self.keys if key in told]
            raise
        finally:
            context.close()
        told = json.dumps(result) + "".join(self.warnings)
        assert not [key for key in self.keys if key in told]
        return result

    def settled(self, **options: Any) -> dict[str, Any]:
        """Check, apply, check, apply: what was predicted is done, and then there is nothing to do."""
        predicted, done = self.call(True, **options), self.call(**options)
        assert predicted["changed"] and done["changed"]
        for told in (predicted, done):
            told.get("vault", {}).pop("version", None)
        assert predicted == done
        for check_mode in (True, False):
            again = self.call(check_mode, **options)
            assert not again["changed"] and not again["diff"]
        return done

    def refused(self, says: str, error: type[KeyturnError] = BadInput, **options: Any) -> None:
        """Both in a dry run and in a run, and neither leaves a trace."""
        before = self.state()
        for check_mode in (True, False):
            with pytest.raises(error, match=says):
                self.call(check_mode, **options)
        assert self.state() == before

    def state(self) -> dict[str, tuple[int, bytes]]:
        return {
            str(path.relative_to(self.folder)): (path.lstat().st_mode, path.read_bytes())
            for path in self.folder.rglob("*")
            if path.is_file() and not path.name.endswith(".lock")
        }


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def mode_of(path: Path) -> str:
    return oct(path.stat().st_mode & 0o7777)


def test_a_new_file_and_then_another_key(host: Host) -> None:
    old, new = host.key(), host.key()
    done = host.settled(path=str(host.path), value=old)
    assert host.path.read_text() == f"{old}\n" and mode_of(host.path) == "0o600"
    assert done["backup"]["missing"] and "no copy to go back to" in host.warnings[0]
    assert done["key_file"]["fields"]["content"]["before"] == "(absent)"
    done = host.settled(path=str(host.path), value=new)
    copy = host.path.with_name("restream.key.bak.20261122")
    assert done["backup"]["made"] == str(copy) and mode_of(copy) == "0o600"
    assert (copy.read_text(), host.path.read_text()) == (f"{old}\n", f"{new}\n")
    host.now += timedelta(days=8, hours=16)
    done = host.settled(path=str(host.path), value=new)
    assert done["backup"]["pruned"] == [str(copy)] and not done["key_file"]["changed"]
    assert not copy.exists()


def test_mode_owner_and_group_are_mended(host: Host) -> None:
    key = host.key()
    host.path.write_text(f"{key}\n")
    host.path.chmod(0o644)
    options: dict[str, Any] = {
        "mode": "0640",
        "owner": str(os.geteuid()),
        "group": str(os.getegid()),
    }
    if os.geteuid() == 0:
        options = {"mode": "0640", "owner": "nobody", "group": "1234"}
    done = host.settled(path=str(host.path), value=key, **options)
    found = host.path.stat()
    assert "mode 0644 instead of 0640" in done["key_file"]["drift"]
    assert mode_of(host.path) == "0o640" and not done["backup"]["made"]
    if os.geteuid() == 0:
        assert len(done["key_file"]["drift"]) == 3
        assert found.st_gid == 1234 and found.st_uid != 0


def test_only_the_line_that_names_the_file_is_mended(host: Host) -> None:
    text = "# relay\nRELAY=1  # kept\nexport STREAM_KEY_FILE=/etc/stream/old.key\n\nLAST='x y'\n"
    host.env.write_text(text)
    host.env.chmod(0o640)
    key = host.key()
    options = {"path": str(host.path), "value": key, "env_file": str(host.env)}
    done = host.settled(**options)
    assert host.env.read_text() == text.replace("/etc/stream/old.key", str(host.path))
    assert mode_of(host.env) == "0o640" and done["env_line"]["changed"]
    host.env.write_text("OTHER=1\n")
    done = host.settled(**options, env_name="KEY_FILE")
    assert host.env.read_text() == f"OTHER=1\nKEY_FILE={host.path}\n"
    assert not done["key_file"]["changed"] and list(done["diff"][0]) == [
        "before_header",
        "after_header",
        "before",
        "after",
    ]


def test_a_key_that_was_put_into_the_env_file_is_not_shown(host: Host) -> None:
    key = host.key()
    host.env.write_text(f"STREAM_KEY_FILE={key}\n")
    host.settled(path=str(host.path), value=key, env_file=str(host.env))
    assert key not in host.env.read_text()


@pytest.mark.parametrize(
    "value", ["", "\n", None, " x", "a b", "a\nb", "a\tb", "a\r\n", "a\x00", "é"]
)
def test_what_is_no_stream_key(host: Host, value: str | None) -> None:
    says = "missing or empty" if not (value or "").strip() else "no stream key has"
    host.refused(f"^value: .*{says}", path=str(host.path), value=value)


def test_options_that_make_no_sense(host: Host) -> None:
    path, key = str(host.path), host.key()
    cases: list[tuple[str, dict[str, Any]]] = [
        ("^path: give the key's file, or 'vault'", {}),
        ("^env_file: .* without 'path'", {"env_file": "/x", "vault": "ref+vault://a/b"}),
        ("^pending: .* without 'vault'", {"path": path, "pending": key}),
        ("^env_name: 'A-B' is no name", {"path": path, "env_name": "A-B"}),
        ("^env_file: it is the file of the key", {"path": path, "env_file": path}),
        ("^mode: .*quoted octal", {"path": path, "mode": 0o600}),
        ("^keep: 'a week' is no duration", {"path": path, "keep": "a week"}),
        ("^vault: expected a path", {"vault": "ref+vault://secret/a#/key"}),
        ("^vault: expected a path", {"vault": "ref+file:///etc/a"}),
        ("there is no user 'no-such-user'", {"path": path, "owner": "no-such-user"}),
        ("expected an absolute path", {"path": "restream.key"}),
    ]
    for says, options in cases:
        host.refused(says, value=key, **options)


def test_places_that_are_no_file(host: Host) -> None:
    key = host.key()
    (host.folder / "folder").mkdir()
    (host.folder / "link").symlink_to(host.folder / "elsewhere")
    host.refused("is a directory|no regular file", path=str(host.folder / "folder"), value=key)
    host.refused("symbolic link", path=str(host.folder / "link"), value=key)
    host.refused("director", Absent, path=str(host.folder / "none" / "k"), value=key)
    assert not (host.folder / "elsewhere").exists()


def test_one_part_that_cannot_be_done_leaves_the_others(host: Host) -> None:
    host.path.write_text(f"{host.key()}\n")
    options = {"path": str(host.path), "value": host.key(), "env_file": str(host.env)}
    host.refused("env_file: .* it is not there; make it", Absent, **options)
    host.env.write_text("STREAM_KEY_FILE: /x\n")
    host.refused("with a colon", KeyturnError, **options)


def test_a_key_from_a_file_with_a_line_break(host: Host) -> None:
    given = host.folder / "given"
    given.write_text(f"{host.key()}\n")
    given.chmod(0o600)
    host.settled(path=str(host.path), value=f"ref+file://{given}")
    assert host.path.read_text() == given.read_text()


@pytest.fixture
def world(vault: VaultServer, vault_mount: str) -> Iterator[World]:
    made = World(vault, vault_mount)
    yield made
    made.context.close()


def in_vault(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.server.request("GET", f"{world.mount}/data/restream")["data"]
    return found["data"]


def test_both_keys_side_by_side_in_vault(host: Host, world: World) -> None:
    host.environ = world.environ
    world.put("restream", other="kept")
    reference = f"ref+vault://{world.mount}/restream"
    current, pending = host.key(), host.key()
    done = host.settled(vault=reference, value=current, pending=pending)
    assert in_vault(world) == {"other": "kept", "key": current, "key_new": pending}
    assert done["vault"]["version_before"] == "1" and done["file"] is None
    done = host.settled(vault=reference, value=pending)
    assert in_vault(world) == {"other": "kept", "key": pending}
    assert done["vault"]["fields"]["key_new"]["after"] == "(absent)"


def test_as_the_keyring_has_them(host: Host, world: World) -> None:
    host.environ = world.environ
    document = Document("restream", secrets.token_bytes(32))
    stages = {
        name: document.with_fingerprints(Stage(f"r-{name}", status, {"key": Secret(host.key())}))
        for name, status in (("current", "observed"), ("pending", "proved"))
    }
    keyring = host.folder / "keyring"
    keyring.touch(0o600)
    common = {
        "keyring": f"ref+file://{keyring}",
        "credential": "restream",
        "run": {"run_id": "me"},
        "vault": f"ref+vault://{world.mount}/restream",
        "path": str(host.path),
        "value": "keyring#/current/key",
        "pending": "keyring#/pending/key",
    }
    for pending in (True, False):
        held = stages if pending else {"current": stages["current"]}
        keyring.write_text(dump_text(Document("restream", document.salt, **held)))
        done = host.settled(**common)
        assert list(in_vault(world)) == (["key", "key_new"] if pending else ["key"])
        fingerprint = stages["current"].fingerprints["key"]
        assert done["vault"]["fields"]["key"]["after"] == fingerprint
    # What is being abandoned is shown to nobody.
    leaving = document.with_fingerprints(Stage("r-2", "abandoning", stages["pending"].fields))
    held = {"current": stages["current"], "pending": leaving}
    keyring.write_text(dump_text(Document("restream", document.salt, **held)))
    assert not host.call(**common)["changed"]
    host.refused("has no field 'kye'", Absent, **{**common, "value": "keyring#/current/kye"})


def test_vault_that_may_not_be_written_stops_before_the_host(host: Host, world: World) -> None:
    world.put("restream", key=host.key())
    world.limit('path "MOUNT/data/*" { capabilities = ["read"] }' + ASKING)
    host.environ = world.environ
    reference = f"ref+vault://{world.mount}/restream"
    host.refused("update|write", Denied, vault=reference, value=host.key(), path=str(host.path))
    assert not host.path.exists()


def test_vault_that_refuses_afterwards_tells_that_the_host_was_changed(
    host: Host, world: World
) -> None:
    # Nobody may ask what this token may do, so only the write finds out.
    world.limit('path "MOUNT/data/*" { capabilities = ["read"] }')
    host.environ = dict(world.environ)
    options = {"vault": f"ref+vault://{world.mount}/restream", "path": str(host.path)}
    key = host.key()
    with pytest.raises(Denied) as caught:
        host.call(value=key, **options)
    assert caught.value.details["changed"] and host.path.read_text() == f"{key}\n"
    host.environ["VAULT_TOKEN"] = world.server.root_token
    done = host.settled(value=key, **options)
    assert not done["key_file"]["changed"] and in_vault(world) == {"key": key}


def test_on_a_host_with_vault_on_the_controller(host: Host, world: World, ansible: Ansible) -> None:
    key = host.key()
    given = host.folder / "given"
    given.write_text(key)
    given.chmod(0o600)
    host.env.write_text("STREAM_KEY_FILE=/old\n")
    task = {
        "keyturn.runbooks.stream_key": {
            "path": str(host.path),
            "value": f"ref+file://{given}",
            "env_file": str(host.env),
            "vault": f"ref+vault://{world.mount}/restream",
        },
        "register": "told",
        "vars": {"keyturn_direct": False},
    }
    tasks: list[dict[str, Any]] = []
    for mode in (True, False, True, False):
        tasks += [{**task, "check_mode": mode}]
        tasks += [{"ansible.builtin.debug": {"msg": "changed {{ told.changed }}"}}]
    inventory = host.folder / "hosts.yml"
    hosts = {"relay1": {"ansible_connection": "local"}}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    book = host.folder / "play.yml"
    book.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    environ = {name: world.environ[name] for name in ("VAULT_ADDR", "VAULT_TOKEN")}
    done = ansible.run(str(book), "--diff", "-vvv", inventory=inventory, env=environ).check()
    assert re.findall(r"changed (True|False)", done.stdout) == ["True", "True", "False", "False"]
    assert key not in done.output + ansible.log()
    assert in_vault(world) == {"key": key}
    assert host.path.read_text() == f"{key}\n"
    assert host.env.read_text() == f"STREAM_KEY_FILE={host.path}\n"
    shutil.rmtree(host.path.parent)
