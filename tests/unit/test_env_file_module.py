# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module env_file on real files: what it keeps, what it copies, and many writers at once."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import secrets
import stat
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _files
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_file import (
    FILE_OPTIONS,
    MODULE,
    Sealed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    Denied,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Claim,
    Document,
    Stage,
    dump_text,
    fingerprint,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute, prepared
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, to_plain
from hypothesis import given as drawn
from hypothesis import strategies as st

LABEL = b"system_u:object_r:etc_t:s0\0"


def params(path: Path, **options: Any) -> dict[str, Any]:
    defaults = {name: spec.get("default") for name, spec in MODULE.argument_spec.items()}
    return {**defaults, "path": str(path), **options}


def call(path: Path, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    moment = options.pop("now", None)
    more = {"now": lambda: moment} if moment else {}
    context = Context(check_mode=check_mode, diff=True, environ={}, **more)
    return execute(MODULE, params(path, **options), context)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.env"


def test_a_line_is_set_and_the_second_time_nothing_is_written(path: Path) -> None:
    value = secrets.token_urlsafe(12)
    path.write_text("# top\nA=1\n\nexport KEY='old' # why\nB=2\n")
    path.chmod(0o640)
    fields = {"KEY": value, "NEW": "a b"}
    foreseen = call(path, check_mode=True, fields=fields)
    assert foreseen["changed"] and "old" in path.read_text()
    done = call(path, fields=fields)
    assert path.read_text() == f"# top\nA=1\n\n# why\nexport KEY={value}\nB=2\nNEW='a b'\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert set(done["fields"]) == {"KEY", "NEW"}
    assert done["fields"]["NEW"]["before"] == "(absent)"
    assert value not in json.dumps([foreseen, done])
    before = path.stat()
    again = call(path, fields=fields)
    assert not again["changed"]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_new_file_is_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    done = call(path, fields={"A": "1"})
    os.umask(before)
    assert done["changed"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_null_removes_and_generate_fills_only_what_is_missing(path: Path) -> None:
    path.write_text("OLD=x\nHAS=kept\n")
    made = {"HAS": {"type": "hex"}, "KEY": {"type": "hex", "bytes": 32}}
    foreseen = call(path, check_mode=True, fields={"OLD": None}, generate=made)
    assert foreseen["fields"]["KEY"]["after"] == "(new)"
    call(path, fields={"OLD": None}, generate=made)
    lines = path.read_text().split()
    assert lines[0] == "HAS=kept" and len(lines) == 2
    assert lines[1].startswith("KEY=") and len(lines[1]) == 4 + 64
    assert not call(path, fields={"OLD": None}, generate=made)["changed"]
    assert path.read_text().split() == lines


def test_mode_and_owners_are_set_right_even_if_no_value_differs(path: Path) -> None:
    path.write_text("A=1\n")
    path.chmod(0o644)
    options = {"fields": {"A": "1"}, "mode": "0640", "owner": "12345", "group": "12346"}
    assert "mode 0644 instead of 0640" in call(path, check_mode=True, **options)["diff"]["before"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert call(path, **options)["changed"]
    status = path.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o640, 12345, 12346)
    assert not call(path, **options)["changed"]
    # Without these options they stay.
    call(path, fields={"A": "2"})
    status = path.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o640, 12345, 12346)


def test_label_and_attributes_are_kept(path: Path) -> None:
    path.write_text("A=1\n")
    try:
        os.setxattr(path, "security.selinux", LABEL)
        os.setxattr(path, "user.note", b"kept")
    except OSError as error:
        pytest.skip(f"real part missing: a file system with attributes ({error.strerror})")
    assert call(path, fields={"A": "2"})["changed"]
    assert os.getxattr(path, "security.selinux") == LABEL
    assert os.getxattr(path, "user.note") == b"kept"


def test_a_label_that_cannot_be_kept_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("A=1\n")
    os.setxattr(path, "security.selinux", LABEL)

    def refuse(*args: Any, **options: Any) -> None:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(_files.os, "setxattr", refuse)
    with pytest.raises(Denied, match=r"SELinux label of .* cannot be kept by user"):
        call(path, fields={"A": "2"})
    assert path.read_text() == "A=1\n"
    assert not [name for name in os.listdir(path.parent) if ".keyturn-" in name]


# --- copies


NOW = datetime(2026, 1, 31, 22, 0, 0, tzinfo=timezone.utc)


def copies(path: Path) -> list[str]:
    return sorted(name for name in os.listdir(path.parent) if ".backup-" in name)


def test_the_old_file_is_copied_privately_and_only_when_it_is_replaced(path: Path) -> None:
    path.write_text("A=1\n")
    path.chmod(0o644)
    assert call(path, check_mode=True, fields={"A": "2"}, backup=True)["backup_file"] is None
    assert not copies(path)
    done = call(path, fields={"A": "2"}, backup=True, now=NOW)
    assert done["backup_file"] == f"{path}.backup-20260131T220000.000000Z"
    copy = Path(done["backup_file"])
    assert copy.read_text() == "A=1\n"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert call(path, fields={"A": "2"}, backup=True, now=NOW)["backup_file"] is None
    # A new mode is no other content.
    assert call(path, fields={"A": "2"}, mode="0640", backup=True, now=NOW)["changed"]
    assert copies(path) == [copy.name]


def test_a_file_that_was_not_there_has_no_copy(path: Path) -> None:
    done = call(path, fields={"A": "2"}, backup=True)
    assert (done["changed"], done["backup_file"], copies(path)) == (True, None, [])


def test_old_copies_go_even_when_nothing_else_changes(path: Path) -> None:
    path.write_text("A=1\n")
    for days in (9, 8, 1):
        value = secrets.token_hex(4)
        call(
            path,
            fields={"A": value},
            backup=True,
            backup_keep="99d",
            now=NOW - timedelta(days=days),
        )
    others = [
        path.parent / f"{path.name}.backup-none",
        path.parent / "x.backup-20200101T000000.000000Z",
    ]
    for other in others:
        other.write_text("somebody else's")
    options: dict[str, Any] = {"fields": {"A": value}, "backup": True, "now": NOW}
    old = [
        str(path.parent / name)
        for name in copies(path)
        if name.startswith(path.name + ".backup-202601")
    ]
    foreseen = call(path, check_mode=True, **options)
    assert foreseen["changed"] and foreseen["pruned"] == old[:2]
    done = call(path, **options)
    assert done["changed"] and done["pruned"] == old[:2]
    assert all(f"{name}: (a copy)" in done["diff"]["before"] for name in old[:2])
    assert not any(Path(name).exists() for name in old[:2]) and Path(old[2]).exists()
    assert all(other.exists() for other in others)
    assert not call(path, **options)["changed"]
    # Without 'backup' nobody asks for copies to be looked at.
    assert not call(path, fields={"A": value}, now=NOW + timedelta(days=99))["changed"]


@pytest.mark.parametrize("failing", [False, True])
def test_copies_in_a_folder_that_was_put_in_its_place_are_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    folder, victim, aside = (path.parent / name for name in ("app", "victim", "aside"))
    old = f".env.backup-{NOW - timedelta(days=9):%Y%m%dT%H%M%S.%fZ}"
    new = f".env.backup-{NOW:%Y%m%dT%H%M%S.%fZ}"
    for place in (folder, victim):
        place.mkdir()
        (place / ".env").write_text("A=1\n")
        (place / old).write_text("A=0\n")
    (victim / new).write_text("A=0\n")
    before = sorted(os.listdir(victim))
    take, rename = _files.take_lock, os.rename

    def swapped(*args: Any) -> None:
        take(*args)
        if not aside.exists():
            rename(folder, aside)
            folder.symlink_to(victim)

    def full(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(_files, "take_lock", swapped)
    options = {"backup": True, "now": NOW}
    if failing:
        monkeypatch.setattr(_files.os, "rename", full)
        with pytest.raises(Exception, match="Make room there"):
            call(folder / ".env", fields={"A": "2"}, **options)
        assert new not in os.listdir(aside)
    else:
        assert call(folder / ".env", fields={"A": "1"}, **options)["pruned"] == [f"{folder}/{old}"]
        assert old not in os.listdir(aside)
    assert sorted(os.listdir(victim)) == before


def test_only_so_many_copies_stay(path: Path) -> None:
    path.write_text("A=0\n")
    for number in range(1, 6):
        options = {"fields": {"A": str(number)}, "backup": True, "backup_count": 2}
        moment = NOW + timedelta(seconds=number)
        foreseen = call(path, check_mode=True, now=moment, **options)
        done = call(path, now=moment, **options)
        assert done["pruned"] == foreseen["pruned"]
    assert [path.parent.joinpath(name).read_text() for name in copies(path)] == ["A=3\n", "A=4\n"]


def test_a_copy_of_a_file_that_was_not_replaced_does_not_stay(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("A=1\n")

    def full(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(_files.os, "rename", full)
    with pytest.raises(Exception, match="Make room there"):
        call(path, fields={"A": "2"}, backup=True)
    assert path.read_text() == "A=1\n" and not copies(path)


def test_a_copy_is_no_leftover_of_a_writer(tmp_path: Path) -> None:
    """The copies of one file are not taken for what a killed writer of another one left."""
    hidden, plain = tmp_path / ".app", tmp_path / "app"
    hidden.write_text("A=1\n")
    plain.write_text("A=1\n")
    done = call(hidden, fields={"A": "2"}, backup=True)
    call(plain, fields={"A": "2"})
    assert Path(done["backup_file"]).exists()


# --- refusals


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({}, BadInput, "fields: nothing is asked for; give fields or generate"),
        ({"backup": True, "mode": "0600"}, BadInput, "fields: nothing is asked for"),
        ({"fields": {"A": "x\ny"}}, BadInput, "A: the value holds a line break"),
        ({"fields": {"1A": "x"}}, BadInput, "'1A' is no name of a variable"),
        ({"fields": {"A B": None}}, BadInput, "'A B' is no name of a variable"),
        ({"fields": {"A": True}}, BadInput, "fields.A: put true and false in quotes"),
        (
            {"fields": {"A": ["x"]}},
            BadInput,
            "fields.A: expected a text or a reference, not a list",
        ),
        ({"fields": {"A": "\ud800"}}, BadInput, "no UTF-8 text"),
        ({"fields": {"A": "1"}, "generate": {"A": {"type": "hex"}}}, BadInput, "name a field once"),
        ({"fields": {"A": "1"}, "mode": 0o644}, BadInput, "mode: expected a quoted octal number"),
        ({"fields": {"A": "1"}, "mode": "u=rw"}, BadInput, "mode: expected a quoted octal number"),
        ({"fields": {"A": "1"}, "owner": "nobody-of-that-name"}, BadInput, "there is no user"),
        ({"fields": {"A": "1"}, "backup": True, "backup_keep": "soon"}, BadInput, "backup_keep"),
        ({"fields": {"A": "1"}, "backup": True, "backup_count": 0}, BadInput, "backup_count"),
        ({"fields": {"A": "ref+file:///no/such/file"}}, Absent, "fields.A"),
        ({"fields": {"A": "keyring#/current/value"}}, Absent, "fields.A"),
        ({"fields": {"A": "1"}, "create": False}, Absent, "create"),
    ],
)
def test_what_is_refused_says_what_was_expected(
    path: Path, options: dict[str, Any], kind: type[Exception], told: str
) -> None:
    for check_mode in (True, False):
        with pytest.raises(kind) as caught:
            call(path, check_mode=check_mode, **options)
        assert told in str(caught.value)
    assert not path.exists()


def test_a_link_a_missing_folder_and_an_open_quote_are_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("A=1\n")
    path.symlink_to(tmp_path / "real")
    for check_mode in (True, False):
        with pytest.raises(BadInput, match="is a symbolic link"):
            call(path, check_mode=check_mode, fields={"A": "2"})
        with pytest.raises(Absent, match="there is no directory"):
            call(tmp_path / "no" / "file", check_mode=check_mode, fields={"A": "2"})
    (tmp_path / "real").write_text("A='1\n")
    for check_mode in (True, False):
        with pytest.raises(Corrupt, match="line 1 is never closed"):
            call(tmp_path / "real", check_mode=check_mode, fields={"B": "2"})
    with pytest.raises(BadInput, match="absolute path"):
        call(Path("relative"), fields={"A": "2"})


def test_past_its_action_plugin_it_says_so(path: Path) -> None:
    with pytest.raises(BadInput, match=r"call it as keyturn\.runbooks\.env_file"):
        MODULE.run(params(path, fields={"A": "1"}), Context(environ={}))


def test_on_their_way_the_values_are_one_opaque_text(path: Path) -> None:
    value = secrets.token_urlsafe(12)
    given = params(path, fields={"A": value, "B": None})
    sent = to_plain(prepared(MODULE, given, Context(environ={})))
    assert isinstance(sent["contents"], dict)
    assert value not in json.dumps(sent)
    plain = {**sent, "contents": dict(sent["contents"])}
    assert not isinstance(plain["contents"], Sealed)
    path.write_text("B=1\n")
    MODULE.run(plain, Context(environ={}))
    assert path.read_text() == f"A={value}\n"


@drawn(st.sampled_from(FILE_OPTIONS["dialect"]["choices"]), st.text(max_size=20))
def test_a_value_is_written_and_found_again_or_refused(dialect: str, value: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "env"
        options: dict[str, Any] = {"fields": {"K": value}, "dialect": dialect}
        try:
            done = call(file, **options)
        except BadInput:
            assert not file.exists()
            return
        assert done["changed"] and not call(file, **options)["changed"]


# --- a credential's keyring


def keyring(folder: Path, password: str, claimed: bool = False) -> str:
    """A keyring in a file; its reference."""
    soon = datetime.now(timezone.utc) + timedelta(hours=1)
    claim = Claim("other-run", "elsewhere", 1, "", "", soon, soon) if claimed else None
    empty = Document("db", secrets.token_bytes(32), claim=claim)
    stage = Stage("r1", "observed", {"username": "app", "password": Secret(password)}, "d")
    path = folder / "keyring.json"
    path.touch(mode=0o600)
    path.write_text(dump_text(replace(empty, current=empty.with_fingerprints(stage))))
    return f"ref+file://{path}"


def test_a_field_of_the_keyring_has_the_keyring_s_fingerprint(path: Path) -> None:
    password = secrets.token_urlsafe(16)
    where = keyring(path.parent, password)
    options: dict[str, Any] = {
        "keyring": where,
        "fields": {"PW": "keyring#/current/password", "WHO": "keyring#/current/username"},
    }
    foreseen, done = call(path, check_mode=True, **options), call(path, **options)
    assert path.read_text() == f"PW={password}\nWHO=app\n"
    assert foreseen["diff"] == done["diff"]
    document = parse_document((path.parent / "keyring.json").read_text(), "keyring")
    shown = fingerprint(document.salt, "PW", Secret(password))
    assert done["fields"]["PW"]["after"] == shown
    assert not call(path, **options)["changed"]


def test_nothing_is_written_beside_the_rotation_of_another_run(path: Path) -> None:
    where = keyring(path.parent, secrets.token_urlsafe(16), claimed=True)
    with pytest.raises(Refused, match="other-run"):
        call(path, keyring=where, fields={"PW": "keyring#/current/password"})
    assert not path.exists()


# --- many at once


def _write(path: str, name: str, value: str, rounds: int) -> None:
    for number in range(rounds):
        call(Path(path), fields={name: f"{value}-{number}"}, backup=number == 0)


def test_twenty_writers_at_once_lose_no_line(path: Path) -> None:
    path.write_text("# shared\nOTHER=stays\n")
    values = {f"KEY_{index}": secrets.token_urlsafe(8) for index in range(20)}
    spawn = multiprocessing.get_context("fork")
    writers = [
        spawn.Process(target=_write, args=(str(path), name, value, 3))
        for name, value in values.items()
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 20
    lines = path.read_text().splitlines()
    assert lines[:2] == ["# shared", "OTHER=stays"]
    assert sorted(lines[2:]) == sorted(f"{name}={value}-2" for name, value in values.items())
    assert not [name for name in os.listdir(path.parent) if ".keyturn-" in name]
    assert 0 < len(copies(path)) <= 10
