# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key written beside the one in use, taken into use, and the versions that hold old ones removed, on a real Vault.

Each step is foreseen first: what check mode said of it, and of each field, is held against what was done then.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from estate.playbook import Ansible
from estate.vault import VaultServer
from predicted import compare, read_tasks
from rotation import PLUGINS

NAME = "encryption_key"
VERSION = re.compile(r"'[^']+': (sinks\[\d\]\.)?version: ")
USED, STAGED, OTHER = "ENCRYPTION_KEY", "ENCRYPTION_KEY_NEW", "PORT"
READER = """
import json, os, sys, urllib.request
address, token = sys.argv[1], open(sys.argv[2]).read()
request = urllib.request.Request(address, headers={"X-Vault-Token": token})
held = json.load(urllib.request.urlopen(request))["data"]["data"]
keys = [held[name] for name in ("ENCRYPTION_KEY", "ENCRYPTION_KEY_NEW") if name in held]
sys.exit(0 if os.environ["KEY"] in keys else 3)
"""
"""An application that decrypts with every key that the path holds: 0 when the one that it is shown is among them."""


class Staged:
    """One key in a path of Vault that holds other fields, too."""

    def __init__(self, server: VaultServer, mount: str, folder: Path, ansible: Ansible) -> None:
        self.server, self.mount, self.folder, self.ansible = server, mount, folder, ansible
        self.first = Fernet.generate_key().decode()
        self.write({USED: self.first, OTHER: "8080"})
        self.token = folder / "token"
        self.token.touch(0o600)
        self.token.write_text(server.root_token)
        variables = yaml.safe_dump(self._definition())
        place = folder / "inventory"
        (place / "host_vars").mkdir(parents=True)
        hosts = {"all": {"children": {"credentials": {"hosts": {NAME: None}}}}}
        (place / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (place / "host_vars" / f"{NAME}.yml").write_text(variables)
        self.books = {"remove_old": self._book()}

    def _definition(self) -> dict[str, Any]:
        path = f"ref+vault://{self.mount}/app/crypto"
        reader = [sys.executable, "-c", READER]
        reader += [f"{self.server.address}/v1/{self.mount}/data/app/crypto", str(self.token)]
        return {
            "keyturn_keyring": f"ref+vault://{self.mount}/keyrings/{NAME}",
            "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
            "keyturn_issuer": {"type": "generated", "overlap": True},
            "keyturn_generate": {"value": {"type": "fernet"}},
            "keyturn_sinks": [
                {"name": "key", "ref": f"{path}#/{USED}", "template": "{current.value}"},
                {
                    "name": "key_new",
                    "ref": f"{path}#/{STAGED}",
                    "template": "{pending.value}",
                    "absent": "remove",
                },
            ],
            "keyturn_probes": [
                {
                    "type": "command",
                    "argv": reader,
                    "environment": {"KEY": "{pending.value}"},
                    "refused_rc": [3],
                }
            ],
            "keyturn_wait": "3s",
            "keyturn_interval": "1s",
        }

    def _book(self) -> str:
        """Removes every version of the path but the newest."""
        options = {"engine_mount_point": self.mount, "path": "app/crypto", "state": "destroyed"}
        task = {"name": "Remove", "keyturn.runbooks.vault_kv": {**options, "keep": 1}}
        book = self.folder / "remove_old.yml"
        play = {"hosts": "credentials", "connection": "local", "gather_facts": False}
        book.write_text(yaml.safe_dump([{**play, "tasks": [task]}]))
        return str(book)

    def write(self, data: dict[str, str]) -> None:
        self.server.request("POST", f"{self.mount}/data/app/crypto", {"data": data})

    def held(self) -> dict[str, str]:
        found: dict[str, str] = self.server.request("GET", f"{self.mount}/data/app/crypto")["data"][
            "data"
        ]
        return found

    def versions(self) -> dict[int, bool]:
        """Which versions there are, and whether each is destroyed."""
        found = self.server.request("GET", f"{self.mount}/metadata/app/crypto")["data"]["versions"]
        return {int(number): entry["destroyed"] for number, entry in found.items()}

    def environ(self) -> dict[str, str]:
        return {"VAULT_ADDR": self.server.address, "VAULT_TOKEN": self.server.root_token}

    def keyring(self) -> str:
        found = self.server.request("GET", f"{self.mount}/data/keyrings/{NAME}")["data"]["data"]
        return json.dumps(found)

    def world(self) -> Any:
        """All that a run could write, as Vault has it."""
        paths = ("app/crypto", f"keyrings/{NAME}")
        metadata = [self.server.request("GET", f"{self.mount}/metadata/{path}") for path in paths]
        return [item["data"] for item in metadata], self.held()

    def record(self, name: str, book: str, *arguments: str, **extra: Any) -> Path:
        what, to = self.folder / f"{name}.json", self.folder / f"{name}.jsonl"
        what.write_text(json.dumps({"to": str(to), "hosts": {}}))
        env = {
            **self.environ(),
            "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "KEYTURN_RECORD": str(what),
        }
        inventory = self.folder / "inventory"
        self.ansible.run(book, *arguments, inventory=inventory, extra_vars=extra, env=env).check()
        return to

    def step(self, book: str, *arguments: str, **extra: Any) -> None:
        """One step: foreseen without a write, done as foreseen."""
        number = len(list(self.folder.glob("*.jsonl")))
        book = self.books.get(book, f"keyturn.runbooks.{book}")
        before, known = self.world(), self.keyring()
        dry = self.record(f"{number}-dry", book, "--check", "--diff", *arguments, **extra)
        assert self.world() == before
        real = self.record(f"{number}-real", book, "--diff", *arguments, **extra)
        assert self.world() != before
        faults = compare(read_tasks(dry), read_tasks(real), known, "no role")
        # In check mode this is the version that was read.
        assert [fault for fault in faults if not VERSION.match(fault)] == []


@pytest.fixture
def staged(vault: VaultServer, vault_mount: str, scratch: Path, ansible: Ansible) -> Staged:
    return Staged(vault, vault_mount, scratch, ansible)


def test_a_key_is_staged_used_and_the_old_ones_removed(staged: Staged) -> None:
    given = {"value": f"ref+vault://{staged.mount}/app/crypto#/{USED}"}
    staged.record("adopt", "keyturn.runbooks.adopt", keyturn_adopt=given)
    kept = {OTHER: "8080"}
    assert staged.held() == {USED: staged.first, **kept}

    staged.step("rotate", "--tags", "preflight,stage,apply", keyturn_force=True)
    second = staged.held()[STAGED]
    assert staged.held() == {USED: staged.first, STAGED: second, **kept}
    # A version of the keyring that bears the time of its rotation.
    assert re.search(r"\br\d{14}[0-9a-f]{6}\b", staged.keyring())
    assert Fernet(second).decrypt(Fernet(second).encrypt(b"row")) == b"row"

    staged.step("rotate")
    assert staged.held() == {USED: second, **kept}

    staged.step("retire_due")
    assert set(staged.versions().values()) == {False}

    staged.step("remove_old")
    *old, newest = sorted(staged.versions())
    assert len(old) >= 2
    assert staged.versions() == {**dict.fromkeys(old, True), newest: False}
    assert staged.held() == {USED: second, **kept}
    assert all(staged.first not in path.read_text() for path in staged.folder.glob("*.jsonl"))
    assert all(second not in path.read_text() for path in staged.folder.glob("*.jsonl"))
