# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module fernet_key on real files: with the library's own tokens, killed at each write, and what it refuses."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_key import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_open import opened
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute, prepared
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, to_plain
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

T0 = datetime(2026, 1, 31, 22, 0, tzinfo=timezone.utc)
DAY = timedelta(days=1)
WRITES = ("mkdir", "link", "rename", "unlink", "rmdir", "write", "fsync", "utime", "fchmod")
WEEKLY = {"state": "rotated", "max_age": "7d", "keep_for": "0s"}


def call(folder: Path | str | None, now: datetime = T0, **options: Any) -> dict[str, Any]:
    warnings: list[str] = []
    check_mode = options.pop("check_mode", False)
    context = Context(
        check_mode=check_mode, diff=True, environ={}, now=lambda: now, warn=warnings.append
    )
    defaults = {name: spec.get("default") for name, spec in MODULE.argument_spec.items()}
    path = {} if folder is None else {"path": str(folder)}
    result = execute(MODULE, {**defaults, **path, **options}, context)
    return {**result, "warnings": warnings}


def refusal(kind: type[KeyturnError], folder: Path | str | None, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        call(folder, **options)
    return caught.value.message


def values(folder: Path) -> dict[int, str]:
    """The keys as Keystone reads them: every regular file whose name is a number, and that is not empty."""
    found = {}
    for name in os.listdir(folder):
        path = folder / name
        if path.is_file():
            text = path.read_text()
            if name.isdigit() and text:
                found[int(name)] = text
    return found


def reader(folder: Path) -> MultiFernet:
    """What Keystone encrypts and decrypts with: the highest number first."""
    return MultiFernet(
        [Fernet(key) for _number, key in sorted(values(folder).items(), reverse=True)]
    )


def images(folder: Path) -> dict[str, Any]:
    """All that a write would change."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            path.lstat().st_mode,
            path.lstat().st_ino,
        )
        for path in [folder, *folder.rglob("*")]
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "fernet-keys"


@pytest.fixture
def made(folder: Path) -> Path:
    call(folder)
    return folder


def test_first_keys_are_made_once_and_predicted(folder: Path) -> None:
    before = os.umask(0)
    try:
        foreseen = call(folder, check_mode=True)
        assert foreseen["changed"] and not folder.exists()
        done = call(folder)
    finally:
        os.umask(before)
    assert done["made"] == foreseen["made"] == [0, 1] and done["primary"] == 1
    assert foreseen["diff"]["after"] == "0: staged, (new)\n1: primary, (new)\n"
    assert [item["role"] for item in done["key_files"]] == ["staged", "primary"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert sorted(os.listdir(folder)) == ["0", "1"]
    was = images(folder)
    again = call(folder)
    assert not again["changed"] and images(folder) == was
    assert not any(key in json.dumps([foreseen, done, again]) for key in values(folder).values())


def test_tokens_of_before_are_read_until_their_key_is_removed(made: Path) -> None:
    tokens: dict[int, bytes] = {1: reader(made).encrypt(b"1")}
    for week in range(1, 6):
        now = T0 + week * 7 * DAY
        staged, was = values(made)[0], images(made)
        foreseen = call(made, now, check_mode=True, max_active_keys=4, **WEEKLY)
        assert images(made) == was
        done = call(made, now, max_active_keys=4, **WEEKLY)
        assert done["rotated"] and done["primary"] == week + 1 and values(made)[week + 1] == staged
        for name in ("changed", "primary", "made", "pruned", "kept", "rotated", "finished"):
            assert foreseen[name] == done[name]
        assert [item["role"] for item in foreseen["key_files"]] == [
            item["role"] for item in done["key_files"]
        ]
        assert foreseen["key_files"][1:][-1]["made"] == done["key_files"][1:][-1]["made"]
        assert not call(made, now + DAY, max_active_keys=4, **WEEKLY)["changed"]
        tokens[week + 1] = reader(made).encrypt(b"%d" % (week + 1))
        assert Fernet(values(made)[week + 1]).decrypt(tokens[week + 1])
        kept = values(made)
        assert len(kept) == min(4, week + 2) and 0 in kept
        for number, token in tokens.items():
            if number in kept:
                assert reader(made).decrypt(token) == b"%d" % number
            else:
                with pytest.raises(InvalidToken):
                    reader(made).decrypt(token)
    assert done["pruned"] == [3] and sorted(kept) == [0, 4, 5, 6]


def test_a_key_that_may_be_needed_is_kept_and_goes_when_its_time_is_over(made: Path) -> None:
    wish = {"state": "rotated", "max_age": "1d", "keep_for": "49h"}
    token = reader(made).encrypt(b"kept")
    for day in (1, 2):
        done = call(made, T0 + day * DAY, **wish)
    assert done["kept"] == [{"number": 1, "until": "2026-02-03T23:00:00.000000Z"}]
    assert "more than 3 keys are kept: 1 until" in done["warnings"][0]
    assert reader(made).decrypt(token) == b"kept"
    later = {**wish, "max_age": "30d"}
    assert not call(made, T0 + 3 * DAY, **later)["changed"]
    over = T0 + 3 * DAY + timedelta(hours=1)
    assert call(made, over, check_mode=True, **later)["pruned"] == [1]
    done = call(made, over, **later)
    assert done["pruned"] == [1] and not done["rotated"] and sorted(values(made)) == [0, 2, 3]


def test_a_number_is_rotated_once(made: Path) -> None:
    once = {"state": "rotated", "from_primary": 1}
    assert call(made, **once)["rotated"]
    was = images(made)
    done = call(made, **once)
    assert not done["changed"] and done["primary"] == 2 and images(made) == was
    call(made, state="rotated", from_primary=2)
    assert "from_primary is 1 and the primary is 3" in refusal(Refused, made, **once)


def test_a_list_says_ages_and_whether_a_rotation_is_due(made: Path) -> None:
    call(made, T0 + 7 * DAY, **WEEKLY)
    was = images(made)
    told = call(made, T0 + 8 * DAY, state="checked", max_age="7d")
    assert not told["changed"] and told["due"] is False and images(made) == was
    staged, old, primary = told["key_files"]
    assert (staged["role"], staged["age"]) == ("staged", "1d")
    assert (old["age_seconds"], old["primary_until"]) == (8 * 86400, "2026-02-07T22:00:00.000000Z")
    assert (primary["age"], primary["primary_from"]) == ("8d", "2026-02-07T22:00:00.000000Z")
    assert call(made, T0 + 14 * DAY, state="checked", max_age="7d")["due"] is True
    assert call(made, state="checked")["due"] is None
    assert "no such folder" in refusal(Absent, made / "none", state="checked")


# A run that is killed


def doomed(point: int, work: Callable[[], object]) -> bool:
    """Whether the process was killed: before its write of that number, counted from 1."""
    pid = os.fork()
    if pid == 0:
        left = [point]

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def write(*given: Any, **named: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*given, **named)

            return write

        try:
            for name in WRITES:
                setattr(os, name, counted(getattr(os, name)))
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def copied(source: Path, place: Path) -> Path:
    """The same folder somewhere else, with its times."""
    subprocess.run(["cp", "-a", str(source), str(place)], check=True)
    return place


def converged(folder: Path, now: datetime, wanted: list[int], **options: Any) -> None:
    """The next run does what check mode says, leaves nothing lying about, and the one after it changes nothing."""
    foreseen = call(folder, now, check_mode=True, **options)
    done = call(folder, now, **options)
    for name in ("changed", "finished", "rotated", "made", "pruned"):
        assert foreseen[name] == done[name]
    assert sorted(os.listdir(folder)) == [str(number) for number in wanted]
    assert len(set(values(folder).values())) == len(wanted)
    assert not call(folder, now, **options)["changed"]


def test_a_rotation_that_is_killed_at_each_write_converges(tmp_path: Path) -> None:
    """No key in use is lost, none is read half, and the run after it rotates once in all."""
    start, now = tmp_path / "start", T0 + 28 * DAY
    call(start)
    for week in (1, 2):
        call(start, T0 + week * 7 * DAY, max_active_keys=4, **WEEKLY)
    token, was = reader(start).encrypt(b"row"), values(start)
    point, died, seen = 0, True, set()
    while died:
        point += 1
        folder = copied(start, tmp_path / f"killed-{point}")
        died = doomed(point, lambda folder=folder: call(folder, now, **WEEKLY))  # type: ignore[misc]  # a default argument of a lambda
        there = values(folder)
        # Keystone opens every file of the folder before it looks whether its name is a number.
        assert {path.name for path in folder.iterdir() if path.is_file()} == {str(n) for n in there}
        assert reader(folder).decrypt(token) == b"row" and 0 in there
        assert there[max(there)] == (was[3] if max(there) == 3 else was[0])
        seen.add(tuple(sorted(there)))
        converged(folder, now, [0, 3, 4], **WEEKLY)
        assert reader(folder).decrypt(token) == b"row" and values(folder)[4] == was[0]
    assert point > 10, "it was not killed at its writes: this proved nothing"
    # Before the promotion, after it, with one key removed, and with both.
    assert seen == {(0, 1, 2, 3), (0, 1, 2, 3, 4), (0, 2, 3, 4), (0, 3, 4)}


def test_first_keys_whose_making_is_killed_at_each_write_are_made(tmp_path: Path) -> None:
    point, died = 0, True
    while died:
        point += 1
        folder = tmp_path / f"killed-{point}"
        died = doomed(point, lambda folder=folder: call(folder))  # type: ignore[misc]  # a default argument of a lambda
        converged(folder, T0, [0, 1])
    assert point > 10, "it was not killed at its writes: this proved nothing"


def test_a_rotation_that_keystone_left_half_is_ended(made: Path) -> None:
    (made / "0").rename(made / "2")
    (made / "0.tmp").write_text(Fernet.generate_key().decode())
    key = values(made)[2]
    told = call(made, state="checked")
    assert told["unfinished"] and "begun and not ended" in told["warnings"][0]
    done = call(made, T0 + DAY, state="rotated", max_age="0s")
    assert done["finished"] and not done["rotated"] and done["primary"] == 2
    assert "this ended what an earlier run had begun" in done["warnings"][0]
    assert values(made)[2] == key and sorted(values(made)) == [0, 1, 2]


def test_a_setup_that_was_left_half_and_an_empty_staged_key_are_mended(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    key = Fernet.generate_key().decode()
    (folder / "0").write_text(key + "\n")
    done = call(folder)
    assert done["finished"] and Fernet(values(folder)[1]) and values(folder)[1].strip() == key
    (folder / "0").write_text("")
    assert call(folder)["made"] == [0] and sorted(values(folder)) == [0, 1]


def test_runs_at_once_rotate_once_and_readers_see_whole_keys(made: Path) -> None:
    token = reader(made).encrypt(b"row")
    spawn = multiprocessing.get_context("fork")
    once = {"state": "rotated", "from_primary": 1}
    runs = [spawn.Process(target=call, args=(made,), kwargs=once) for _number in range(4)]
    for run in runs:
        run.start()
    while any(run.is_alive() for run in runs):
        assert reader(made).decrypt(token) == b"row"
    for run in runs:
        run.join(60)
        assert run.exitcode == 0
    assert sorted(values(made)) == [0, 1, 2]


def test_another_one_s_lock_is_waited_for_and_told(made: Path) -> None:
    told = r"held the lock of .* find it with 'fuser"
    with opened(str(made), "x", alone=True):
        for alone in (True, False):
            with pytest.raises(Conflict, match=told), opened(str(made), "y", alone, timeout=0.1):
                pass
    with opened(str(made), "x", alone=False), opened(str(made), "y", alone=False, timeout=0):
        pass


def test_where_a_file_has_no_second_name_the_key_is_copied(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = values(made)[0]
    os.utime(made / "0", (1, 1))

    def refuse(*_given: object, **_named: object) -> None:
        raise PermissionError(1, "")

    monkeypatch.setattr(os, "link", refuse)
    assert call(made, **WEEKLY | {"max_age": "0s"})["rotated"]
    assert values(made)[2] == staged and (made / "2").stat().st_mtime == 1


def test_a_number_that_something_else_takes_meanwhile_is_left(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, other = os.link, Fernet.generate_key().decode()

    def race(*given: Any, **named: Any) -> None:
        (made / "2").write_text(other)
        real(*given, **named)

    monkeypatch.setattr(os, "link", race)
    assert "keystone-manage" in refusal(Conflict, made, **WEEKLY | {"max_age": "0s"})
    assert values(made)[2] == other and sorted(os.listdir(made)) == ["0", "1", "2"]


def test_a_full_disk_leaves_the_folder_as_it_is(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: object) -> int:
        raise OSError(errno.ENOSPC, "")

    was = images(made)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        assert "no space left" in refusal(Unreachable, made, **WEEKLY | {"max_age": "0s"})
    now = images(made)
    assert {name for name in was if was[name] != now[name]} <= {"."} and set(now) == set(was)


# Owners and modes


def test_owners_and_modes_are_kept_or_set(made: Path) -> None:
    for path in (made, *made.iterdir()):
        os.chown(path, 12345, 12346)
    made.chmod(0o750)
    (made / "0").chmod(0o640)
    done = call(made, T0 + 7 * DAY, **WEEKLY)
    assert done["set_right"] == []
    seen = {
        path.name: (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o777)
        for path in made.iterdir()
    }
    assert seen == {
        "0": (12345, 12346, 0o640),
        "1": (12345, 12346, 0o600),
        "2": (12345, 12346, 0o640),
    }
    wish = {"owner": "12347", "group": "12348", "mode": "0600", "directory_mode": "0700"}
    foreseen = call(made, check_mode=True, **wish)
    done = call(made, **wish)
    assert foreseen["set_right"] == done["set_right"] and len(done["set_right"]) == 4
    assert (
        "0: mode 0640 instead of 0600, owner 12345 instead of 12347" in foreseen["diff"]["before"]
    )
    for path in (made, *made.iterdir()):
        assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o077) == (
            12347,
            12348,
            0,
        )
    assert not call(made, **wish)["changed"]


def test_a_folder_and_files_that_all_can_read_are_told(made: Path) -> None:
    made.chmod(0o755)
    (made / "1").chmod(0o644)
    told = call(made, state="checked")["warnings"]
    assert "every user of the machine can reach file 1" in told[0] and "enter the folder" in told[1]


def test_a_file_with_another_name_elsewhere_is_not_given_away(made: Path, tmp_path: Path) -> None:
    os.link(made / "1", tmp_path / "elsewhere")
    assert "another name elsewhere" in refusal(Refused, made, mode="0640")
    assert call(made, T0 + 7 * DAY, **WEEKLY)["rotated"]


def as_nobody(folder: Path, work: Callable[[], str]) -> str:
    """What is said to a user who is not root."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writing, work().encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as file:
        return file.read()


def test_check_mode_foresees_what_a_user_may_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    folder = tmp_path / "keys"
    for check_mode in (True, False):
        said = as_nobody(tmp_path, lambda mode=check_mode: refusal(Denied, folder, check_mode=mode))  # type: ignore[misc]  # a default argument of a lambda
        assert "permission denied for user nobody" in said
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    for check_mode in (True, False):
        said = as_nobody(
            tmp_path,
            lambda mode=check_mode: refusal(Denied, folder, check_mode=mode, owner="12345"),  # type: ignore[misc]  # a default argument of a lambda
        )
        assert "12345" in said or "user nobody can neither give files" in said
    assert os.listdir(folder) == []


# What is refused


def spoiled(folder: Path, kind: str) -> None:
    key = Fernet.generate_key().decode()
    if kind == "link":
        (folder.parent / "elsewhere").write_text(key)
        (folder / "2").symlink_to(folder.parent / "elsewhere")
    elif kind == "folder":
        (folder / "2").mkdir()
    else:
        names = {"spelling": "02", "sign": "+2", "digits": "٢", "negative": "-1"}
        texts = {"cut": key[:20], "other": f"{key[:-2]} =", "empty": "", "two": f"{key}\n{key}\n"}
        (folder / names.get(kind, "2")).write_text(texts.get(kind, key))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("spelling", "/02': Keystone takes this name for a number, but it is not written as one"),
        ("sign", "/+2': Keystone takes this name for a number"),
        ("negative", "/-1': Keystone takes this name for a number"),
        ("digits", "Keystone takes this name for a number"),
        ("link", "/2 is a symbolic link to "),
        ("folder", "/2 is no regular file"),
        ("empty", "/2: no Fernet key: it is empty"),
        ("cut", "/2: no Fernet key: it is too short"),
        ("other", "/2: no Fernet key: it has characters"),
        ("two", "/2: no Fernet key: it has characters"),
    ],
)
def test_a_folder_with_what_is_no_key_is_left_as_it_is(made: Path, kind: str, said: str) -> None:
    spoiled(made, kind)
    was = images(made)
    for options in ({"state": "checked"}, {"state": "present"}, WEEKLY):
        assert said in refusal(BadInput, made, **options)
    assert images(made) == was


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "path: nothing is asked for"),
        ({"path": "keys"}, "path: expected the absolute path of a folder"),
        ({"path": "/k", "state": "rotated"}, "max_age: state 'rotated' needs max_age (how old"),
        (
            {"value": "x", "state": "rotated", "max_age": "1d"},
            "path: state 'rotated' needs a folder",
        ),
        ({"path": "/k", "max_active_keys": 1}, "max_active_keys: expected 2 or more"),
        ({"path": "/k", "state": "rotated", "max_age": "soon"}, "max_age: 'soon' is no duration"),
        ({"path": "/k", "keep_for": "-1d"}, "keep_for: '-1d' is no duration"),
        ({"path": "/k", "from_primary": 0}, "from_primary: expected the number of a primary key"),
        ({"path": "/k", "mode": "0644"}, "mode: 0644 lets every user of the machine at the keys"),
        ({"path": "/k", "directory_mode": "0755"}, "directory_mode: 0755 lets every user"),
        ({"path": "/k", "mode": 384}, "mode: expected a quoted octal number"),
        ({"value": "x", "separator": "A"}, "separator: expected characters that no key has"),
        ({"value": "tr0ub4dor"}, "value: no Fernet keys: position 1 of 1: it is too short"),
        (
            {"path": "/k", "owner": "no-such-user"},
            "there is no user 'no-such-user' on this machine",
        ),
        (
            {"path": "/k", "group": "no-such-group"},
            "there is no group 'no-such-group' on this machine",
        ),
    ],
)
def test_options_that_cannot_be_meant(options: Mapping[str, Any], said: str) -> None:
    told = refusal(BadInput, None, **options)
    assert said in told and "tr0ub4dor" not in told


def test_places_that_are_not_there(tmp_path: Path) -> None:
    for check_mode in (True, False):
        assert "no directory" in refusal(Absent, tmp_path / "a" / "b", check_mode=check_mode)
        assert "state 'present' makes it" in refusal(
            Absent, tmp_path / "a", check_mode=check_mode, **WEEKLY
        )
    (tmp_path / "empty").mkdir()
    assert "no key to rotate" in refusal(Absent, tmp_path / "empty", **WEEKLY)
    assert "no key in it" in refusal(Absent, tmp_path / "empty", state="checked")
    (tmp_path / "file").touch()
    with pytest.raises(KeyturnError):
        call(tmp_path / "file")


# A list by reference


def test_a_list_in_a_file_is_looked_at_and_stays_on_the_controller(tmp_path: Path) -> None:
    new, old = (Fernet.generate_key().decode() for _number in range(2))
    place = tmp_path / "list"
    place.touch(mode=0o600)
    place.write_text(f"{new},{old},{new}")
    told = call(None, value=f"ref+file://{place}", state="checked")
    assert not told["changed"] and told["key_list"]["count"] == 3
    assert told["key_list"]["duplicates"] == [[1, 3]] and "positions 1 and 3" in told["warnings"][0]
    place.write_text(f"{new},{old[:-4]}")
    said = refusal(BadInput, None, value=f"ref+file://{place}", state="checked")
    assert f"value (ref+file://{place}): no Fernet keys: position 2 of 2: it is too short" in said
    assert old[:8] not in said
    place.write_text(new)
    defaults = {name: spec.get("default") for name, spec in MODULE.argument_spec.items()}
    sent = to_plain(
        prepared(MODULE, {**defaults, "value": f"ref+file://{place}"}, Context(environ={}))
    )
    assert sent["value"] is None and new not in json.dumps(sent)


def test_fingerprints_are_those_of_the_keyring(made: Path) -> None:
    key = values(made)[1]
    empty = Document("webhook_key", secrets.token_bytes(32))
    stage = empty.with_fingerprints(Stage("r1", "observed", {"value": Secret(key)}, "d"))
    place = made.parent / "keyring.json"
    place.touch(mode=0o600)
    place.write_text(dump_text(replace(empty, current=stage)))
    keyring = {"keyring": f"ref+file://{place}", "credential": "webhook_key"}
    told = call(made, value="keyring#/current/value", **keyring)
    assert told["key_files"][1]["fingerprint"] == stage.fingerprints["value"]
    assert told["key_list"]["members"][0]["fingerprint"] == stage.fingerprints["value"]
    assert call(made)["key_files"][1]["fingerprint"] != stage.fingerprints["value"]


def test_a_host_needs_no_library(folder: Path) -> None:
    script = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_key import MODULE\n"
        "from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute\n"
        "from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context\n"
        "given = {name: spec.get('default') for name, spec in MODULE.argument_spec.items()}\n"
        "given['path'] = sys.argv[1]\n"
        "assert execute(MODULE, given, Context(environ={}))['changed']\n"
        "given.update(state='rotated', max_age='0s')\n"
        "assert execute(MODULE, given, Context(environ={}))['rotated']\n"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)
    assert reader(folder).decrypt(Fernet(values(folder)[1]).encrypt(b"row")) == b"row"
