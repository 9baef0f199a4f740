# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyring or an audit log that may be read and not written is found before a rotation, in dry runs and in real ones alike."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import _preflight
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Denied,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from estate.kubernetes import KubernetesServer
from estate.vault import VaultServer
from k8s_rights import FewRights
from nobody import NOBODY, as_nobody
from vault_world import World, closed_port

RUN = {"run_id": "run1", "host": "elsewhere", "pid": 1, "who": "ann", "why": "test"}
TO_KEEP = """
path "MOUNT/data/db" { capabilities = ["create", "read", "update"] }
path "MOUNT/data/db.ledger/*" { capabilities = ["create", "read"] }
path "MOUNT/metadata/db.ledger/*" { capabilities = ["list"] }
path "sys/capabilities-self" { capabilities = ["update"] }
"""


@dataclass
class Kept:
    """A credential's keyring and audit log, and the identity that goes on with them.

    :ivar holding: what a case holds on to, such as the rights of somebody else.
    """

    keyring: str
    ledger: str
    environ: dict[str, str] = field(default_factory=dict, repr=False)
    warnings: list[str] = field(default_factory=list)
    holding: ExitStack = field(default_factory=ExitStack)

    def params(self) -> dict[str, Any]:
        return {
            "keyring": self.keyring,
            "ledger": self.ledger,
            "credential": "db",
            "run": RUN,
        }

    def step(self, name: str, check: bool = False, run: str = "run1") -> None:
        context = Context(check, environ=self.environ, warn=self.warnings.append)
        params = {**self.params(), "run": {**RUN, "run_id": run}, "take_over": True}
        assert open_keyring(params, context).step(Request(name, Run("")), name)

    def refusals(self, check: bool) -> list[str]:
        """What the gates say of keyring and ledger before a rotation."""
        run = {**RUN, "run_id": "run2"}
        options = {
            **self.params(),
            "run": run,
            "take_over": True,
            "issuer": {"type": "generated"},
            "baseline": False,
        }
        validated = ArgumentSpecValidator(dict(_preflight.MODULE.argument_spec)).validate(options)
        assert not validated.error_messages
        context = Context(check, environ=self.environ, warn=self.warnings.append)
        try:
            _preflight.MODULE.run(dict(validated.validated_parameters), context)
        except Refused as error:
            found = error.details["refusals"]
            return [text for text in found if text.startswith(("keyring: ", "ledger: "))]
        return []


@dataclass
class Places:
    """What the cases are arranged with."""

    folder: Path
    vault: VaultServer
    mount: str
    few: Callable[[], FewRights]

    def in_files(self, ledger: str = "", query: str = "") -> Kept:
        folder = self.folder / "kept"
        folder.mkdir(0o700)
        os.chown(folder, NOBODY, NOBODY)
        keyring = f"ref+file://{folder}/db.json{query}"
        return Kept(keyring, ledger or f"ref+file://{folder}/ledger.jsonl")

    def in_vault(self) -> tuple[Kept, World]:
        world = World(self.vault, self.mount)
        return Kept(f"ref+vault://{self.mount}/db", "beside", world.environ), world


def _keyring_file(places: Places) -> Kept:
    kept = places.in_files(f"ref+file://{places.folder}/ledger.jsonl")
    (places.folder / "ledger.jsonl").touch()
    os.chown(places.folder / "ledger.jsonl", NOBODY, NOBODY)
    kept.holding.enter_context(as_nobody())
    kept.step("claim")
    (places.folder / "kept").chmod(0o500)
    return kept


def _ledger_file(places: Places) -> Kept:
    kept = places.in_files()
    kept.holding.enter_context(as_nobody())
    kept.step("claim")
    (places.folder / "kept" / "ledger.jsonl").chmod(0o400)
    return kept


def _ledger_folder(places: Places) -> Kept:
    places.folder.joinpath("logs").mkdir(0o755)
    kept = places.in_files(f"ref+file://{places.folder}/logs/deep/ledger.jsonl")
    kept.holding.enter_context(as_nobody())
    return kept


def _no_password(places: Places) -> Kept:
    return places.in_files(query="?encrypt=vault")


def _next_version(places: Places) -> Kept:
    kept, world = places.in_vault()
    kept.step("claim")
    world.limit(TO_KEEP.replace(', "update"', ""))
    return kept


def _first_version(places: Places) -> Kept:
    kept, world = places.in_vault()
    world.limit(TO_KEEP.replace('"create", "read", "update"', '"read"'))
    return kept


def _next_line(places: Places) -> Kept:
    kept, world = places.in_vault()
    kept.step("claim")
    world.limit(TO_KEEP.replace('"create", "read"]', '"read"]'))
    return kept


def _lines_beyond(places: Places) -> Kept:
    """An older keyring is brought back, and the log goes on after it."""
    kept, world = places.in_vault()
    kept.step("claim")
    older = world.store("db").read()
    assert older
    for _turn in range(2):
        kept.step("note")
    store = world.store("db")
    newest = store.read()
    assert newest
    store.write(older[0], newest[1])
    world.limit(TO_KEEP)
    return kept


def _no_receiver(places: Places) -> Kept:
    return places.in_files(f"ref+syslog://127.0.0.1:{closed_port()}")


def _no_socket(places: Places) -> Kept:
    return places.in_files(f"ref+syslog://{places.folder}/log.sock")


def _no_name(places: Places) -> Kept:
    return places.in_files("ref+syslog://nowhere.invalid:514?protocol=udp")


def _kubernetes(places: Places, verbs: list[str], made: bool) -> Kept:
    few = places.few()
    ledger = f"ref+file://{places.folder}/ledger.jsonl"
    kept = Kept(few.reference("db"), ledger, dict(few.context.environ))
    if made:
        kept.step("claim")
    few.may([{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}])
    return Kept(few.reference("db"), ledger, dict(few.context.environ))


def _next_update(places: Places) -> Kept:
    return _kubernetes(places, ["get"], made=True)


def _first_secret(places: Places) -> Kept:
    return _kubernetes(places, ["get", "update"], made=False)


CASES: dict[str, tuple[Callable[[Places], Kept], str]] = {
    "the keyring's directory takes no file": (_keyring_file, "keyring: .*permission denied"),
    "no password to encrypt it with": (_no_password, "keyring: .*no vault password"),
    "no further version in Vault": (_next_version, "keyring: .*add 'update' on 'MOUNT/data/db'"),
    "no first version in Vault": (_first_version, "keyring: .*add 'create' on 'MOUNT/data/db'"),
    "no change of the Secret": (_next_update, "keyring: .*to update secrets"),
    "no Secret to be made": (_first_secret, "keyring: .*to create secrets"),
    "the ledger's file takes no line": (_ledger_file, "ledger: .*permission denied"),
    "no directory for the ledger": (_ledger_folder, "ledger: .*permission denied"),
    "no line in Vault": (
        _next_line,
        "ledger: .*add 'create' on 'MOUNT/data/db.ledger/db/+'",
    ),
    "lines after the keyring's last": (_lines_beyond, "ledger: .*the keyring only knows 1"),
    "nobody receives the lines": (_no_receiver, "ledger: .*check that a receiver listens there"),
    "no socket for the lines": (_no_socket, "ledger: .*there is no such socket"),
    "an unknown receiver": (_no_name, "ledger: .*is not known"),
}


@pytest.fixture
def places(
    scratch: Path, vault: VaultServer, vault_mount: str, request: pytest.FixtureRequest
) -> Places:
    scratch.chmod(0o755)

    def few() -> FewRights:
        server: KubernetesServer = request.getfixturevalue("kubernetes_server")
        return FewRights(server, scratch)

    return Places(scratch, vault, vault_mount, few)


@pytest.fixture
def kept(places: Places, request: pytest.FixtureRequest) -> Iterator[Kept]:
    found = CASES[request.param][0](places)
    with found.holding:
        yield found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("kept", "case"), [(name, name) for name in CASES], indirect=["kept"])
def test_it_is_told_before_anything_is_written(kept: Kept, places: Places, case: str) -> None:
    expected = CASES[case][1].replace("MOUNT", places.mount)
    for check in (True, False):
        [refusal] = kept.refusals(check)
        assert _matches(expected, refusal)
    # A module that is used alone foresees the same, where the next step would fail.
    if case != "lines after the keyring's last":
        with pytest.raises(KeyturnError) as caught:
            kept.step("claim", check=True, run="run2")
        assert _matches(expected.partition(": ")[2], caught.value.message)


def _matches(expected: str, text: str) -> bool:
    begin, _star, rest = expected.rpartition(".*")
    return text.startswith(begin) and rest in text


def test_rights_that_are_enough_are_not_refused(places: Places) -> None:
    kept, world = places.in_vault()
    world.limit(TO_KEEP)
    for name in ("claim", "note"):
        assert kept.refusals(check=True) == kept.refusals(check=False) == []
        kept.step(name, check=True)
        kept.step(name)
    assert not kept.warnings


def test_in_kubernetes_too(places: Places) -> None:
    for made, verbs in ((False, ["get", "create"]), (True, ["get", "update"])):
        kept = _kubernetes(places, verbs, made)
        assert kept.refusals(check=True) == kept.refusals(check=False) == []


def test_a_keyring_that_was_written_counts_as_a_change_although_its_line_was_refused(
    places: Places,
) -> None:
    kept, world = places.in_vault()
    kept.step("claim")
    # The right is withdrawn in the middle of the run.
    world.limit(TO_KEEP.replace('"create", "read"]', '"read"]'))
    access = open_keyring(kept.params(), Context(environ=world.environ))
    with pytest.raises(Denied) as caught:
        access.step(Request("note", Run("")), secrets.token_hex(4))
    assert caught.value.details["changed"] is True
    found = world.store("db").read()
    assert found and json.loads(found[0])["ledger"]["line"]["number"] == 2


def test_a_dry_run_tells_what_is_wrong_with_the_log(places: Places) -> None:
    kept = places.in_files()
    for name in ("claim", "note", "note"):
        kept.step(name)
    log = places.folder / "kept" / "ledger.jsonl"
    lines = log.read_text("utf-8").splitlines(keepends=True)
    log.write_text(lines[0] + lines[2], "utf-8")
    kept.warnings.clear()
    assert kept.refusals(check=True) == []
    assert any("the ledger is not whole" in text for text in kept.warnings)
