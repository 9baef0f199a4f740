# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup: values for other people's modules, as they are kept, and errors that say which kind they are."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.keyturn.runbooks.plugins.lookup.ref import LookupModule
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.playbook import Ansible, PlaybookResult
from estate.vault import VaultServer

NAME = "keyturn.runbooks.ref"


class Play:
    """Tasks that copy what the lookup gives into files, which keep exactly what they were given."""

    def __init__(self, place: Path, ansible: Ansible) -> None:
        self.place = place
        self.ansible = ansible
        self.tasks: list[dict[str, Any]] = []

    def private(self, text: str, name: str = "given") -> str:
        path = self.place / name
        path.write_text(text)
        path.chmod(0o600)
        return f"ref+file://{path}"

    def copy(self, name: str, expression: str, **task: Any) -> None:
        options = {
            "content": "{{ " + expression + " }}",
            "dest": str(self.place / name),
            "mode": "0600",
        }
        self.tasks.append({"name": name, "ansible.builtin.copy": options, "no_log": True, **task})

    def run(self, env: dict[str, str] | None = None) -> PlaybookResult:
        play = {"hosts": "localhost", "gather_facts": False, "tasks": self.tasks}
        book = self.place / "play.yml"
        book.write_text(yaml.safe_dump([play]))
        return self.ansible.run(str(book), "-vvv", env=env)

    def read(self, name: str) -> str:
        return (self.place / name).read_text()


@pytest.fixture
def play(scratch: Path, ansible: Ansible) -> Play:
    return Play(scratch, ansible)


def test_values_are_given_as_they_are_and_never_taken_for_templates(
    play: Play, vault: VaultServer, vault_mount: str
) -> None:
    values = [
        f"{secrets.token_urlsafe(12)} {{{{ 1 + 1 }}}} {{% if %}} é",
        secrets.token_urlsafe(12),
    ]
    vault.request("POST", f"{vault_mount}/data/app", {"data": {"a": values[0], "b": values[1]}})
    base = f"ref+vault://{vault_mount}/app#/"
    play.copy("one", f"lookup('{NAME}', '{base}a')")
    play.copy("unsafe", f"query('{NAME}', '{base}a', allow_unsafe=true) | first")
    play.copy("two", f"query('{NAME}', '{base}a', '{base}b') | to_json")
    play.copy(
        "variable",
        "held",
        vars={"held": "{{ lookup('" + NAME + "', wanted) }}", "wanted": f"{base}a"},
    )
    ended = play.run({"VAULT_ADDR": vault.address, "VAULT_TOKEN": vault.root_token}).check()
    assert play.read("one") == play.read("unsafe") == play.read("variable") == values[0]
    assert json.loads(play.read("two")) == values
    assert not any(value in ended.output + play.ansible.log() for value in values)


def test_a_default_is_for_what_is_absent_and_for_nothing_else(
    play: Play, vault: VaultServer, vault_mount: str
) -> None:
    path = f"{vault_mount}/data/app"
    vault.request("POST", path, {"data": {"a": "1"}})
    token = vault.token(f'path "{vault_mount}/data/other" {{ capabilities = ["read"] }}')
    base = f"ref+vault://{vault_mount}"
    play.copy("absent", f"lookup('{NAME}', '{base}/other#/b', default='none')")
    play.copy("file", f"lookup('{NAME}', 'ref+file:///no/such/file', default='')")
    play.copy("denied", f"lookup('{NAME}', '{base}/app#/a', default='none')", ignore_errors=True)
    play.copy(
        "nobody", f"lookup('{NAME}', 'ref+vault://x/y?address=http://127.0.0.1:9', default='none')"
    )
    for task in play.tasks[2:]:
        task["no_log"] = False
    ended = play.run(
        {"VAULT_ADDR": vault.address, "VAULT_TOKEN": token, "VAULT_CLIENT_TIMEOUT": "2"}
    )
    ended.check(2)
    assert (play.read("absent"), play.read("file")) == ("none", "")
    assert not (play.place / "denied").exists() and not (play.place / "nobody").exists()
    flat = " ".join(ended.output.split())
    assert "Vault denies this token to read it" in flat
    assert "127.0.0.1:9" in flat


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("ref+file:///no/such/file", "there is no file /no/such/file"),
        ("ref+valt://a/b", "there is no scheme"),
        ("a value in the wrong place", "a reference starts with 'ref+'"),
        ("keyring#/current/password", "keyturn_keyring: missing"),
    ],
)
def test_an_error_is_the_collection_s_own(play: Play, reference: str, told: str) -> None:
    play.copy("never", f"lookup('{NAME}', wanted)", vars={"wanted": reference}, no_log=False)
    ended = play.run().check(2)
    flat = " ".join(ended.output.split())
    assert told in flat and "Traceback" not in flat
    assert "a value in the wrong place'" not in flat.replace("'wanted': 'a value", "")


def test_the_keyring_of_a_credential(play: Play) -> None:
    password = secrets.token_urlsafe(16)
    stage = Stage("r1", "observed", {"username": "app", "password": Secret(password)}, "d")
    empty = Document("db", secrets.token_bytes(32))
    document = replace(empty, current=empty.with_fingerprints(stage))
    reference = play.private(dump_text(document), "keyring.json")
    wanted = f"lookup('{NAME}', 'keyring#/current/password')"
    play.copy("named", wanted, vars={"keyturn_keyring": "{{ where }}", "where": reference})
    play.copy("given", f"lookup('{NAME}', 'keyring#/current/password', keyring='{reference}')")
    play.copy(
        "gone", f"lookup('{NAME}', 'keyring#/pending/password', keyring='{reference}', default='-')"
    )
    ended = play.run().check()
    assert play.read("named") == play.read("given") == password
    assert play.read("gone") == "-"
    assert password not in ended.output + play.ansible.log()


def test_a_file_of_ansible_vault_is_decrypted_with_the_run_s_own_password(play: Play) -> None:
    value = secrets.token_urlsafe(16)
    (play.place / "password").write_text(secrets.token_urlsafe(16))
    (play.place / "password").chmod(0o600)
    secret = VaultSecret((play.place / "password").read_bytes())
    text = VaultLib([("default", secret)]).encrypt(value, secret=secret).decode()
    play.copy("plain", f"lookup('{NAME}', '{play.private(text)}')")
    env = {"ANSIBLE_VAULT_PASSWORD_FILE": str(play.place / "password")}
    play.run(env).check()
    assert play.read("plain") == value


def test_a_file_that_others_may_read_is_warned_about(play: Play) -> None:
    reference = play.private(secrets.token_urlsafe(16))
    (play.place / "given").chmod(0o644)
    play.copy("plain", f"lookup('{NAME}', '{reference}')")
    assert "has mode 0644" in " ".join(play.run().check().output.split())


def test_an_error_at_the_end_quotes_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = secrets.token_urlsafe(16)
    place = tmp_path / "value"
    place.touch(mode=0o600)
    place.write_text(value)

    def close(_context: Context) -> None:
        raise ValueError(f"this was sent: {value}")

    monkeypatch.setattr(Context, "close", close)
    monkeypatch.setattr(LookupModule, "set_options", lambda *_args, **_options: None)
    lookup = LookupModule(loader=DataLoader())
    with pytest.raises(AnsibleLookupError) as caught:
        lookup.run([f"ref+file://{place}"], {})
    assert value not in str(caught.value)
    assert "ValueError" in str(caught.value)
