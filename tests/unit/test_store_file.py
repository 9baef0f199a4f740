# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyrings in files: plain, encrypted as ``ansible-vault`` does it, and refused where they would be lost."""

from __future__ import annotations

import importlib
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Corrupt,
    Denied,
    MissingLibrary,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_lock import lock_path
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference, resolve
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import Store, open_store
from ansible_collections.keyturn.runbooks.plugins.module_utils._throwaway import (
    execution_environment,
    refuse_throwaway,
)

OPTION = "keyturn_keyring"
ANSIBLE_VAULT = Path(sys.executable).with_name("ansible-vault")


def vault_secrets(**passwords: str) -> list[tuple[str, Any]]:
    """What Ansible hands over for ``--vault-id``."""
    library = importlib.import_module("ansible.parsing.vault")
    return [(label, library.VaultSecret(text.encode())) for label, text in passwords.items()]


class World:
    """One file, and a context that keeps its warnings."""

    def __init__(self, root: Path) -> None:
        self.path = root / "db_app.json"
        self.root = root
        self.warnings: list[str] = []
        self.context = Context(environ={}, warn=self.warnings.append)

    def store(self, query: str = "") -> Store:
        reference = parse_reference(f"ref+file://{self.path}{query}", OPTION)
        return open_store(reference, self.context, OPTION)

    def password_file(self, name: str, text: str) -> Path:
        path = self.root / name
        path.write_text(text + "\n", encoding="utf-8")
        path.chmod(0o600)
        return path

    def view(self, vault_id: str) -> str:
        """What the real command shows."""
        command = [str(ANSIBLE_VAULT), "view", "--vault-id", vault_id, str(self.path)]
        return run(command, {"PAGER": "cat"})

    @property
    def header(self) -> str:
        return self.path.read_text(encoding="utf-8").splitlines()[0]


def run(command: list[str], more: Mapping[str, str]) -> str:
    environment = {**os.environ, **more}
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- plain


def test_a_plain_keyring(world: World) -> None:
    store = world.store()
    assert store.read() is None
    assert store.versions() == []
    first = store.write("one é\n", None)
    assert store.read() == ("one é\n", first)
    second = store.write("two\n", first)
    assert store.read() == ("two\n", second)
    assert [item.version for item in store.versions()] == [second]
    assert store.versions()[0].state == "current"
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600
    assert first != second


def test_a_plain_keyring_warns_once_and_names_the_encrypted_form(world: World) -> None:
    store = world.store()
    version = store.write("one", None)
    store.read()
    store.write("two", version)
    assert len(world.warnings) == 1
    assert f"ref+file://{world.path}?encrypt=vault" in world.warnings[0]


def test_a_keyring_that_others_may_read_warns(world: World) -> None:
    store = world.store()
    version = store.write("one", None)
    world.path.chmod(0o640)
    world.warnings.clear()
    store.read()
    assert any("mode 0640" in text and "chmod 600" in text for text in world.warnings)
    store.write("two", version)
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o640


def test_lost_compare_and_set(world: World) -> None:
    store = world.store()
    version = store.write("one", None)
    with pytest.raises(Conflict, match="was made meanwhile; nothing was written"):
        store.write("x", None)
    with pytest.raises(Conflict, match="was changed meanwhile"):
        store.write("x", "sha256:0")
    assert store.read() == ("one", version)
    world.path.unlink()
    with pytest.raises(Conflict, match="was removed meanwhile"):
        store.write("x", version)
    assert not world.path.exists()


def test_a_change_by_hand_is_a_conflict(world: World) -> None:
    store = world.store()
    version = store.write("one", None)
    world.path.write_text("edited", encoding="utf-8")
    with pytest.raises(Conflict):
        store.write("two", version)
    assert world.path.read_text(encoding="utf-8") == "edited"


def test_reading_leaves_no_trace(world: World) -> None:
    world.store().read()
    assert not Path(lock_path(str(world.path))).exists()
    assert list(world.root.iterdir()) == []


def test_no_directory_and_no_text(world: World) -> None:
    reference = parse_reference(f"ref+file://{world.root}/none/x.json", OPTION)
    store = open_store(reference, world.context, OPTION)
    assert store.read() is None
    with pytest.raises(Absent, match="create it with mode 0700"):
        store.write("x", None)
    world.path.write_bytes(b"\xff\xff")
    with pytest.raises(Corrupt, match="no UTF-8"):
        world.store().read()


def test_a_link_is_refused_already_when_reading(world: World) -> None:
    world.path.symlink_to(world.root / "elsewhere")
    with pytest.raises(BadInput, match="symbolic link"):
        world.store().read()


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("?format=json", "'format' is for reading values"),
        ("?encrypt=gpg", "'encrypt' must be 'vault'"),
        ("#/stages", "leave out '#'"),
        ("?vault_id=prod@prompt", "cannot ask for a password"),
    ],
)
def test_what_a_store_has_not(world: World, query: str, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        world.store(query)


def test_a_relative_path_is_refused(world: World) -> None:
    with pytest.raises(BadInput, match="must be absolute"):
        open_store(parse_reference("ref+file://keyrings/x.json", OPTION), world.context, OPTION)


@pytest.mark.parametrize("text", ["ref+envsubst://$X", "keyring#/current/password"])
def test_places_that_keep_no_keyring(world: World, text: str) -> None:
    with pytest.raises(BadInput, match=r"expected ref\+awssecrets or .* or ref\+vault"):
        open_store(parse_reference(text, OPTION), world.context, OPTION)


# --- encrypted


def test_the_real_command_shows_an_encrypted_keyring(world: World) -> None:
    password = secrets.token_urlsafe(16)
    file = world.password_file("pw", password)
    store = world.store(f"?encrypt=vault&vault_id=prod@{file}")
    text = '{"credential": "db_app"}\n'
    version = store.write(text, None)
    assert world.header == "$ANSIBLE_VAULT;1.2;AES256;prod"
    assert world.view(f"prod@{file}") == text
    assert store.read() == (text, version)
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600
    assert world.warnings == []


def test_what_the_real_command_encrypted_is_read_and_stays_encrypted(world: World) -> None:
    file = world.password_file("pw", secrets.token_urlsafe(16))
    world.path.write_text("one\n", encoding="utf-8")
    ids = ["--encrypt-vault-id", "team", "--vault-id", f"team@{file}"]
    run([str(ANSIBLE_VAULT), "encrypt", *ids, str(world.path)], {})
    world.path.chmod(0o644)
    store = world.store(f"?vault_password_file={file}")
    found = store.read()
    assert found is not None
    assert found[0] == "one\n"
    assert store.write("two\n", found[1])
    assert world.header.endswith(";team")
    assert world.view(f"team@{file}") == "two\n"
    assert world.warnings == []


def test_the_runs_own_vault_secrets(world: World) -> None:
    prod, other = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
    world.context.vault_secrets = vault_secrets(other=other, prod=prod)
    store = world.store("?encrypt=vault&vault_id=prod")
    version = store.write("one\n", None)
    assert world.header.endswith(";prod")
    assert world.view(f"x@{world.password_file('pw', prod)}") == "one\n"
    # Without the parameter, the label that the file bears counts before the first secret.
    again = world.store()
    assert again.read() == ("one\n", version)
    again.write("two\n", version)
    assert world.header.endswith(";prod")
    assert world.view(f"x@{world.password_file('pw', prod)}") == "two\n"


def test_the_first_secret_encrypts_when_nothing_is_said(world: World) -> None:
    world.context.vault_secrets = vault_secrets(default=secrets.token_urlsafe(16))
    store = world.store("?encrypt=vault")
    store.write("one", None)
    assert world.header == "$ANSIBLE_VAULT;1.1;AES256"
    assert store.read() is not None


def test_a_plain_keyring_is_encrypted_at_its_next_write(world: World) -> None:
    version = world.store().write("one", None)
    world.warnings.clear()
    world.context.vault_secrets = vault_secrets(default=secrets.token_urlsafe(16))
    store = world.store("?encrypt=vault")
    assert store.read() == ("one", version)
    store.write("two", version)
    assert world.header.startswith("$ANSIBLE_VAULT;")
    assert "two" not in world.path.read_text(encoding="utf-8")
    assert world.warnings == []


def test_a_password_program(world: World) -> None:
    password = secrets.token_urlsafe(16)
    program = world.root / "give-password"
    program.write_text(f"#!/bin/sh\necho {password}\n", encoding="utf-8")
    program.chmod(0o700)
    world.store(f"?encrypt=vault&vault_password_file={program}").write("one\n", None)
    assert world.view(f"x@{world.password_file('pw', password)}") == "one\n"


def test_wrong_and_missing_passwords(world: World) -> None:
    right, wrong = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
    world.context.vault_secrets = vault_secrets(prod=right)
    version = world.store("?encrypt=vault").write("one", None)
    before = world.path.read_bytes()

    def refused(query: str, given: list[tuple[str, Any]] | None) -> str:
        world.context.vault_secrets = given
        with pytest.raises(Denied) as caught:
            world.store(query).read()
        with pytest.raises(Denied):
            world.store(query or "?encrypt=vault").write("two", version)
        assert world.path.read_bytes() == before
        return caught.value.message

    assert "there is no vault password" in refused("", None)
    file = world.root / "gone"
    assert f"no vault password could be read from {file}" in refused(
        f"?vault_password_file={file}", None
    )
    world.context.vault_secrets = vault_secrets(prod=wrong)
    with pytest.raises(Denied) as caught:
        world.store().read()
    assert "its vault id is 'prod', tried: prod" in caught.value.message
    assert wrong not in caught.value.message
    world.context.vault_secrets = vault_secrets(prod=right)
    with pytest.raises(Denied, match=r"no password for vault id 'stage' \(known: prod\)"):
        world.store("?encrypt=vault&vault_id=stage").write("two", version)
    assert world.path.read_bytes() == before


def test_a_damaged_file_is_denied_and_not_absent(world: World) -> None:
    world.context.vault_secrets = vault_secrets(default=secrets.token_urlsafe(16))
    world.store("?encrypt=vault").write("one", None)
    lines = world.path.read_text(encoding="utf-8").splitlines()
    world.path.write_text("\n".join([*lines[:-1], ""]), encoding="utf-8")
    with pytest.raises(Denied):
        world.store().read()


def test_where_ansible_is_not_installed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.context.vault_secrets = vault_secrets(default=secrets.token_urlsafe(16))
    world.store("?encrypt=vault").write("one", None)

    def absent(name: str, *args: Any) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingLibrary, match="run it on the controller"):
        world.store().read()


def test_values_in_encrypted_files(world: World) -> None:
    world.context.vault_secrets = vault_secrets(default=secrets.token_urlsafe(16))
    world.store("?encrypt=vault").write('{"password": "p"}', None)
    world.path.chmod(0o644)
    assert resolve(f"ref+file://{world.path}#/password", world.context, OPTION).reveal() == "p"
    assert world.warnings == []
    world.path.write_text("{}", encoding="utf-8")
    with pytest.raises(BadInput, match="is not encrypted"):
        resolve(f"ref+file://{world.path}?encrypt=vault#/password", world.context, OPTION)


def test_nothing_shows_a_password(world: World) -> None:
    password = secrets.token_urlsafe(16)
    world.context.vault_secrets = vault_secrets(default=password)
    store = world.store("?encrypt=vault")
    assert password not in repr(store)
    assert password not in repr(vars(store))


# --- throw-away containers


@pytest.mark.parametrize(
    ("environ", "sign"),
    [
        ({}, ""),
        ({"AWX_ISOLATED_DATA_DIR": "/runner/artifacts/42"}, "AWX_ISOLATED_DATA_DIR"),
        ({"AWX_ISOLATED_DATA_DIR": "/home/me/run/artifacts/42"}, ""),
        ({"LAUNCHED_BY_RUNNER": "1"}, "LAUNCHED_BY_RUNNER"),
        ({"AWX_HOST": "https://awx.example", "JOB_ID": "42"}, "AWX_HOST and JOB_ID"),
        ({"JOB_ID": "42"}, ""),
        ({"container": "podman"}, ""),
    ],
)
def test_signs_of_an_execution_environment(environ: dict[str, str], sign: str) -> None:
    assert execution_environment(environ) == sign


def test_a_keyring_that_would_be_lost_is_refused(world: World) -> None:
    world.context.environ = {"AWX_ISOLATED_DATA_DIR": "/runner/artifacts/42"}
    with pytest.raises(Refused) as caught:
        world.store()
    assert caught.value.message.startswith(f"{OPTION}: {world.path} would be lost")
    assert "KEYTURN_MOUNTED_PATHS" in caught.value.message
    assert list(world.root.iterdir()) == []


@pytest.mark.parametrize(
    ("declared", "allowed"),
    [
        ("{root}", True),
        ("/elsewhere:{root}/", True),
        ("/", True),
        ("{root}/db", False),
        ("{root}/other", False),
        ("db_app.json", False),
        ("", False),
        (":", False),
    ],
)
def test_declared_mounts(world: World, declared: str, allowed: bool) -> None:
    world.context.environ = {
        "LAUNCHED_BY_RUNNER": "1",
        "KEYTURN_MOUNTED_PATHS": declared.format(root=world.root),
    }
    if allowed:
        refuse_throwaway(str(world.path), world.context, OPTION)
    else:
        with pytest.raises(Refused):
            refuse_throwaway(str(world.path), world.context, OPTION)


def test_a_link_out_of_a_declared_mount_does_not_count(world: World) -> None:
    inside = world.root / "mounted"
    inside.mkdir()
    outside = world.root / "container"
    outside.mkdir()
    (inside / "alias").symlink_to(outside)
    world.context.environ = {
        "LAUNCHED_BY_RUNNER": "1",
        "KEYTURN_MOUNTED_PATHS": str(inside),
    }
    with pytest.raises(Refused):
        refuse_throwaway(str(inside / "alias" / "x"), world.context, OPTION)
