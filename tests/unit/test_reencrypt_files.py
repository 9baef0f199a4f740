# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are re-encrypted, by the module as a task runs it, and when the gate of a place is asked."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions import (
    closed,
    gates_of_stores,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_lock import lock_path
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import hold
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    execute,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt import (
    read_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._port import (
    Replacement,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt_task import (
    MODULE,
    prepare,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from cryptography.fernet import Fernet

LONG_AGO = 1_500_000_000
OLD, NEW, OTHER = (Fernet.generate_key().decode() for _key in range(3))
FILES = {"type": "files"}


def token(key: str = OLD, text: str = "text") -> bytes:
    return Fernet(key.encode()).encrypt_at_time(text.encode(), LONG_AGO)


def stage(value: str | None, status: str = "observed", **fields: str) -> Stage:
    found = {"value": Secret(value)} if value is not None else {}
    return Stage("r1", status, {**found, **{name: Secret(text) for name, text in fields.items()}})


def document(**stages: Any) -> Document:
    plain = Document("webhook_key", os.urandom(32))
    return replace(plain, **{name: plain.with_fingerprints(each) for name, each in stages.items()})


ROTATED = document(current=stage(NEW), previous=stage(OLD, "grace"))


def files(path: Path | str, **more: Any) -> dict[str, Any]:
    return {**FILES, "path": str(path), **more}


def call(
    tmp_path: Path, *places: Any, check_mode: bool = False, kept: Document = ROTATED
) -> dict[str, Any]:
    keyring = tmp_path / "keyring.json"
    keyring.write_text(dump_text(kept))
    options = {name: option.get("default") for name, option in KEYRING_OPTIONS.items()}
    own = {"keyring": f"ref+file://{keyring}", "credential": "webhook_key", "run": {"run_id": "r"}}
    params = {**options, **own, "places": list(places), "host": "", "contents": None}
    context = Context(check_mode=check_mode, diff=True, warn=WARNED.append)
    WARNED.clear()
    return execute(MODULE, params, context)


WARNED: list[str] = []
# The package has a function of that name.
_files: Any = importlib.import_module(
    "ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._files"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "hub"
    for name in ("a", "b"):
        (made / name).mkdir(parents=True)
        (made / name / "1.enc").write_bytes(token(text=name) + b"\n")
    (made / "a" / "done.enc").write_bytes(token(NEW))
    (made / "a" / "empty.enc").touch()
    (made / "a" / ".hidden.enc").write_bytes(b"not meant")
    (made / "a" / "notes.txt").write_text("not meant")
    (made / "a" / "folder.enc").mkdir()
    return made


def test_files_are_counted_then_replaced_then_done(tmp_path: Path, folder: Path) -> None:
    first = folder / "a" / "1.enc"
    first.chmod(0o604)
    before = sorted(path.name for path in folder.rglob("*"))
    said = call(tmp_path, files(folder / "*" / "*.enc"), check_mode=True)
    assert sorted(path.name for path in folder.rglob("*")) == before
    (told,) = said["places"]
    assert (said["changed"], told["done"], told["to_do"], told["reencrypted"]) == (True, 1, 2, 0)
    assert (
        "2 are under an older key, and would be lost with it: run the playbook reencrypt"
        in said["closed"][0]
    )
    (folder / "a" / ".1.enc.keyturn-7-0123456789ab").write_bytes(b"left by a killed run")
    done = call(tmp_path, files(folder / "*" / "*.enc"))
    assert done["diff"] == said["diff"]
    assert (done["places"][0]["reencrypted"], done["closed"]) == (2, [])
    assert first.stat().st_mode & 0o777 == 0o604
    assert first.read_bytes().endswith(b"\n")
    assert Fernet(NEW.encode()).decrypt(first.read_bytes().strip()) == b"a"
    assert Fernet(NEW.encode()).extract_timestamp(first.read_bytes().strip()) == LONG_AGO
    own = {Path(lock_path(str(each / "reencrypt"))).name for each in (folder / "a", folder / "b")}
    assert {path.name for path in folder.rglob("*")} == {*before, *own}
    again = call(tmp_path, files(folder / "*" / "*.enc"))
    assert (again["changed"], again["places"][0]["done"], again["places"][0]["to_do"]) == (
        False,
        3,
        0,
    )


def test_a_file_that_no_key_opens(tmp_path: Path, folder: Path) -> None:
    strange = folder / "a" / "strange.enc"
    strange.write_bytes(token(OTHER))
    with pytest.raises(
        Refused, match=r"1 that no key of the keyring opens \(.*strange\.enc\)"
    ) as told:
        call(tmp_path, files(folder / "*" / "*.enc"))
    assert told.value.details["changed"]
    assert told.value.details["places"][0]["reencrypted"] == 2
    done = call(tmp_path, files(folder / "*" / "*.enc", on_unreadable="report"))
    assert done["places"][0]["unreadable_keys"] == [str(strange)]
    assert any("1 that no key of the keyring opens" in line for line in WARNED)
    assert strange.read_bytes()[:6] == b"gAAAAA"


@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        ("nowhere/*.enc", Absent, "there is no directory .*nowhere"),
        ("a/gone.enc", Absent, "there is no file .*gone.enc"),
        ("a/1.enc/*.enc", Absent, "there is no directory|cannot read"),
        ("a/*.link", BadInput, "is a symbolic link to .*1.enc"),
        ("a/folder.enc", BadInput, "is a directory|is no regular file"),
    ],
)  # fmt: skip
def test_files_that_are_not_what_they_should_be(
    tmp_path: Path, folder: Path, path: str, kind: type[KeyturnError], says: str
) -> None:
    (folder / "a" / "x.link").symlink_to(folder / "a" / "1.enc")
    for check_mode in (True, False):
        with pytest.raises(kind, match=says):
            call(tmp_path, files(folder / path), check_mode=check_mode)


def test_a_file_that_would_fill_the_memory_is_refused_before_it_is_read(
    tmp_path: Path, folder: Path
) -> None:
    large = folder / "a" / "9.enc"
    large.touch()
    os.truncate(large, _files.MOST_BYTES + 1)
    with pytest.raises(
        BadInput, match=r"9\.enc has \d+ bytes, which is no token .* does not match it"
    ):
        call(tmp_path, files(folder / "a" / "*.enc"), check_mode=True)


def test_a_page_ends_with_the_file_that_fills_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = _files.Files("", str(folder / "a" / "*.enc"), 0, "place")
    store = _files.FileStore(place, Context())
    whole = [[item.key for item in page] for page in store.pages()]
    assert len(whole) == 1 and len(whole[0]) > 1
    monkeypatch.setattr(_files, "PAGE_BYTES", 1)
    assert [[item.key for item in page] for page in store.pages()] == [[key] for key in whole[0]]


def test_no_link_is_followed_that_takes_the_place_of_a_file(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it comes in the moment before the file is read."""
    path, secret = folder / "a" / "1.enc", tmp_path / "shadow"
    secret.write_text("x")

    held: Any = _files.Held

    class Swapped(held):
        def read(self) -> Any:
            path.unlink()
            path.symlink_to(secret)
            return super().read()

    place = _files.FileStore(_files.Files("", str(path), 0, "place"), Context())
    monkeypatch.setattr(_files, "Held", Swapped)
    with pytest.raises(BadInput, match="symbolic link"):
        place.again([(str(path),)])


def test_a_pattern_that_nothing_matches_is_told(tmp_path: Path, folder: Path) -> None:
    assert not call(tmp_path, files(folder / "a" / "*.nec"))["changed"]
    assert any("no file matches" in line for line in WARNED)


def test_a_file_that_somebody_changed_is_not_overwritten(tmp_path: Path, folder: Path) -> None:
    path = folder / "a" / "1.enc"
    place = read_place(files(folder / "*" / "*.enc"), "p")
    with place.opened({}, Context()) as store:
        (item,) = (item for page in store.pages() for item in page if item.key == (str(path),))
        path.write_bytes(token(NEW, "newer"))
        assert store.replace([Replacement(item.key, item.text, b"lost")]) == set()
    assert Fernet(NEW.encode()).decrypt(path.read_bytes()) == b"newer"


def test_another_run_in_the_same_folder_is_waited_for(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._files"
    monkeypatch.setattr(f"{module}.LOCK_TIMEOUT", 0.05)
    with (
        hold(str(folder / "a" / "reencrypt"), "test"),
        pytest.raises(Conflict, match="another process has held"),
    ):
        call(tmp_path, files(folder / "*" / "*.enc"))


def test_one_place_that_fails_keeps_nothing_from_the_others(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(Absent) as told:
        call(tmp_path, files(folder / "nowhere" / "*"), files(folder / "*" / "*.enc"))
    assert [place["reencrypted"] for place in told.value.details["places"]] == [0, 2]
    assert told.value.details["changed"]


# The module


@pytest.mark.parametrize("status", ["promoted", "cutover"])
def test_nothing_is_encrypted_with_a_key_that_was_not_observed(
    tmp_path: Path, folder: Path, status: str
) -> None:
    kept = replace(ROTATED, current=replace(ROTATED.current, status=status))  # type: ignore[type-var]  # it has a current stage
    with pytest.raises(
        Refused, match=r"not observed yet, .* run the rotation playbook to its end first"
    ):
        call(tmp_path, files(folder / "*" / "*.enc"), kept=kept)
    assert (folder / "a" / "1.enc").read_bytes().strip()[:6] == b"gAAAAA"


def test_a_host_without_a_place(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"places: there is none without host"):
        call(tmp_path, files("/srv/x/*", host="app1"))


def test_it_stops_for_another_key_in_use_and_for_no_other_change(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring.json"
    keyring.write_text(dump_text(ROTATED))
    options = {name: option.get("default") for name, option in KEYRING_OPTIONS.items()}
    own = {"keyring": f"ref+file://{keyring}", "credential": "webhook_key", "run": {"run_id": "r"}}
    params = {**options, **own, "places": [files("/srv/*")], "host": "", "contents": None}
    guard = prepare(params, Context())["contents"].guard
    guard()
    keyring.write_text(dump_text(replace(ROTATED, step=7, noticed={"soon": "x"})))
    guard()
    current = ROTATED.current
    assert current
    keyring.write_text(dump_text(replace(ROTATED, current=replace(current, rotation_id="r2"))))
    with pytest.raises(Conflict, match="another key came into use while this task was at work"):
        guard()


# The gate


def test_the_gate_is_asked_where_a_value_ends_and_nowhere_else(folder: Path) -> None:
    gates = gates_of_stores([files(folder / "*" / "*.enc")])
    retiring = replace(ROTATED, previous=stage(OLD, "retiring"))
    for purpose in ("rotate", "promote", "refresh", "rollback", "look"):
        assert closed(gates, Context(), ROTATED, purpose=purpose) == []
    for purpose, kept in (("retire", ROTATED), ("look", retiring), ("retire", retiring)):
        (said,) = closed(gates, Context(), kept, purpose=purpose)
        assert f"{folder}/*/*.enc: 2 are under an older key" in said
    (said,) = closed(
        gates_of_stores([files(folder / "no" / "*")]), Context(), ROTATED, purpose="retire"
    )
    assert "there is no directory" in said
    there = gates_of_stores([files(folder / "*" / "*.enc", host="app1")])
    assert closed(there, Context(), ROTATED, purpose="retire") == []
