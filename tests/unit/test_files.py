# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replacing files whole: what stays, what a kill leaves, who waits for whom."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import (
    file_error,
    refuse_link,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_lock import lock_path
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import (
    check_replaceable,
    hold,
    read_file,
    read_with_mode,
)
from nobody import NOBODY, as_nobody

OPTION = "keyturn_keyring"
PROLOGUE = f"""
import os, sys, time
sys.path[:0] = {[path for path in sys.path if path]!r}
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import hold
path = sys.argv[1]
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


def replace(path: Path, data: bytes, mode: int | None = None) -> None:
    with hold(str(path), OPTION) as held:
        held.replace(data, mode)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def others(path: Path) -> list[str]:
    """What stands beside a file, without its lock."""
    lock = Path(lock_path(str(path))).name
    return sorted(item.name for item in path.parent.iterdir() if item.name not in (path.name, lock))


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    old_mask = os.umask(0)
    try:
        replace(path, b"one")
    finally:
        os.umask(old_mask)
    assert path.read_bytes() == b"one"
    assert mode_of(path) == 0o600
    assert others(path) == []


def test_the_lock_file_stays_empty_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    replace(path, b"one")
    replace(path, b"two")
    lock = tmp_path / ".keyring.json.keyturn.lock"
    assert lock.read_bytes() == b""
    assert mode_of(lock) == 0o600


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
def test_mode_stays_unless_one_is_given(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    replace(path, b"new")
    assert mode_of(path) == mode
    replace(path, b"newer", 0o640)
    assert mode_of(path) == 0o640


@needs_root
def test_owner_and_group_stay_and_share_the_lock(scratch: Path) -> None:
    scratch.chmod(0o755)
    home = scratch / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    path = home / "userlist.txt"
    path.write_bytes(b"old")
    os.chown(path, NOBODY, 12345)
    path.chmod(0o640)
    replace(path, b"by root")
    status = path.stat()
    assert (status.st_uid, status.st_gid, mode_of(path)) == (NOBODY, 12345, 0o640)
    os.chown(path, NOBODY, NOBODY)
    with as_nobody():
        replace(path, b"by its owner")
    assert path.read_bytes() == b"by its owner"


@needs_root
def test_an_owner_that_cannot_be_kept_is_refused_and_nothing_changes(scratch: Path) -> None:
    scratch.chmod(0o777)
    path = scratch / "file"
    path.write_bytes(b"roots")
    path.chmod(0o644)
    with as_nobody(), pytest.raises(Denied, match=r"belongs to root .* Run as root$"):
        replace(path, b"stolen")
    assert path.read_bytes() == b"roots"
    assert others(path) == []


def test_extended_attributes_stay(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.label", b"kept")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    replace(path, b"new")
    assert os.getxattr(path, "user.label") == b"kept"


def test_a_link_is_read_through_and_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    assert read_file(str(link), OPTION) == b"old"
    with pytest.raises(BadInput, match=f"symbolic link to {target}"):
        replace(link, b"new")
    with pytest.raises(BadInput, match="symbolic link"):
        refuse_link(str(link), OPTION)
    assert target.read_bytes() == b"old"
    assert link.is_symlink()


def test_a_link_put_there_while_waiting_for_the_lock_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"of somebody else")
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with hold(str(path), OPTION) as held:
        path.unlink()
        path.symlink_to(precious)
        for use in (held.read, held.status, lambda: held.replace(b"new")):
            with pytest.raises(BadInput, match=f"symbolic link to {precious}"):
                use()
    assert path.is_symlink()
    assert precious.read_bytes() == b"of somebody else"
    assert others(path) == ["precious"]


def test_a_directory_put_in_place_of_the_held_one_is_left_alone(tmp_path: Path) -> None:
    place, aside, other = tmp_path / "place", tmp_path / "aside", tmp_path / "other"
    for folder, text in ((place, b"old"), (other, b"of somebody else")):
        folder.mkdir()
        (folder / "file").write_bytes(text)
    with hold(str(place / "file"), OPTION) as held:
        place.rename(aside)
        place.symlink_to(other)
        assert held.read() == b"old"
        held.replace(b"new")
    assert (aside / "file").read_bytes() == b"new"
    assert [item.name for item in other.iterdir()] == ["file"]
    assert (other / "file").read_bytes() == b"of somebody else"


def test_a_directory_reached_through_a_link_is_fine(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "alias").symlink_to(real)
    replace(tmp_path / "alias" / "file", b"x")
    assert (real / "file").read_bytes() == b"x"


@needs_root
@pytest.mark.parametrize("below", ["", "sub"])
def test_root_follows_no_link_of_a_user_to_a_folder_that_is_not_theirs(
    scratch: Path, below: str
) -> None:
    scratch.chmod(0o755)
    home, victim, own = (scratch / name for name in ("home", "victim", "home/own"))
    for folder in (home, victim, own, victim / "sub", own / "sub"):
        folder.mkdir()
    for folder in (home, own, own / "sub"):
        os.chown(folder, NOBODY, NOBODY)
    with as_nobody():
        (home / "app").symlink_to(victim)
        (home / "current").symlink_to("own")
    (home / "roots").symlink_to(victim)
    for name in ("app", "own/../app"):
        path = home / name / below / "file"
        with pytest.raises(BadInput, match=f"link .*app of {pwd.getpwuid(NOBODY).pw_name} leads"):
            replace(path, b"x")
        with pytest.raises(BadInput, match="leads"):
            check_replaceable(str(path), OPTION)
    assert not list(victim.glob("**/.*")) and not (victim / below / "file").exists()
    replace(home / "current" / below / "file", b"x")
    assert (own / below / "file").read_bytes() == b"x"
    replace(home / "roots" / below / "file", b"x")
    assert (victim / below / "file").read_bytes() == b"x"


@needs_root
def test_a_loop_of_links_and_a_file_in_the_way_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "plain").write_text("")
    with pytest.raises(Unreachable, match="too many levels"):
        replace(tmp_path / "a" / "file", b"x")
    with pytest.raises(Absent, match="there is no directory"):
        replace(tmp_path / "plain" / "file", b"x")


@needs_root
@pytest.mark.parametrize("there", [True, False])
def test_owners_are_set_before_the_file_is_in_its_place(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    path = scratch / "file"
    if there:
        path.write_bytes(b"old")
        os.chown(path, NOBODY, 12345)
    seen: list[tuple[int, int, int]] = []
    rename = os.rename

    def look(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        status = os.stat(source, dir_fd=src_dir_fd)
        seen.append((status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)))
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", look)
    with hold(str(path), OPTION) as held:
        held.replace(b"new", 0o640, uid=23456)
        held.replace(b"newer", gid=34567)
    assert seen == [(23456, 12345 if there else 0, 0o640), (23456, 34567, 0o640)]


@needs_root
def test_an_owner_that_cannot_be_given_is_refused_and_nothing_changes(scratch: Path) -> None:
    scratch.chmod(0o777)
    path = scratch / "file"
    says = r"cannot give .* to root .* Run as root$"
    with as_nobody(), hold(str(path), OPTION) as held, pytest.raises(Denied, match=says):
        held.replace(b"x", uid=0)
    assert not path.exists() and others(path) == []


@needs_root
def test_a_planted_lock_is_not_given_away(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"")
    path = tmp_path / "file"
    path.write_bytes(b"x")
    os.chown(path, NOBODY, NOBODY)
    os.link(precious, lock_path(str(path)))
    replace(path, b"y")
    assert precious.stat().st_uid == 0


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    Path(lock_path(str(path))).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unreachable, match=r"\.file\.keyturn\.lock"):
        replace(path, b"y")
    assert not (tmp_path / "elsewhere").exists()


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    assert read_file(str(tmp_path / "none"), OPTION) is None
    assert read_with_mode(str(tmp_path / "no" / "such"), OPTION) is None
    with pytest.raises(BadInput, match="no regular file"):
        read_file(str(tmp_path), OPTION)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(Absent, match=f"no directory {tmp_path}/none; create it with mode 0700"):
        replace(tmp_path / "none" / "file", b"x")


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (errno.ENOSPC, Unreachable, "no space left on device; this file is as it was"),
        (errno.EDQUOT, Unreachable, "Make room"),
        (errno.EROFS, Denied, "read-only file system; this file is as it was"),
        (errno.EACCES, Denied, "permission denied for user"),
        (errno.EPERM, Denied, "for user"),
        (errno.ENOENT, Absent, "there is no directory /etc/app"),
        (errno.EISDIR, BadInput, "it is a directory"),
        (errno.EBUSY, Refused, "mount its directory"),
        (errno.EIO, Unreachable, "input/output error"),
    ],
)
def test_what_errors_of_the_system_mean(number: int, kind: type[KeyturnError], text: str) -> None:
    found = file_error(OSError(number, "ignored"), OPTION, "/etc/app/file", "write")
    assert found.__class__ is kind
    assert found.message.startswith(f"{OPTION}: cannot write /etc/app/file: ")
    assert text in found.message


def test_a_second_holder_waits_and_then_says_who(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with hold(str(path), OPTION):
        started = time.monotonic()
        with pytest.raises(Conflict, match=r"held the lock .*fuser"), hold(str(path), OPTION, 0.2):
            pass
        assert time.monotonic() - started >= 0.2
    with hold(str(path), OPTION, 0.0):
        pass


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "file"
    script = PROLOGUE + "with hold(path, 'x'):\n print('held', flush=True)\n time.sleep(60)\n"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Conflict), hold(str(path), OPTION, 0.1):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with hold(str(path), OPTION, 5):
            pass


def test_counting_processes_lose_no_step(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_bytes(b"0")
    script = PROLOGUE + (
        "for _ in range(25):\n"
        " with hold(path, 'x') as held:\n"
        "  held.replace(b'%d' % (int(held.read()) + 1))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(path)]) for _number in range(4)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    assert path.read_bytes() == b"100"
    assert others(path) == []


def test_a_reader_never_sees_half_a_file_and_a_kill_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 300_000)
    script = PROLOGUE + (
        "letter = 97\n"
        "while True:\n"
        " with hold(path, 'x') as held:\n"
        "  held.replace(bytes([letter]) * 300000)\n"
        "  letter = 97 + (letter - 96) % 26\n"
    )
    for _round in range(4):
        with subprocess.Popen([sys.executable, "-c", script, str(path)]) as process:
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                data = path.read_bytes()
                assert len(data) == 300_000
                assert len(set(data)) == 1
            process.send_signal(signal.SIGKILL)
        with hold(str(path), OPTION, 5):
            assert others(path) == []


def test_what_a_killed_writer_left_is_removed_by_the_next_holder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    (tmp_path / ".file.keyturn-1-abc").write_bytes(b"half a secret")
    (tmp_path / ".file2.keyturn-1-abc").write_bytes(b"of another file")
    with hold(str(path), OPTION):
        assert others(path) == [".file2.keyturn-1-abc"]
    assert path.read_bytes() == b"old"


def test_an_error_in_the_middle_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for name in ("write", "fsync", "rename", "fchmod"):

        def fail(*_args: object, **_named: object) -> None:
            raise OSError(errno.ENOSPC, "no space")

        with monkeypatch.context() as patched, hold(str(path), OPTION) as held:
            patched.setattr(os, name, fail)
            with pytest.raises(Unreachable, match="as it was"):
                held.replace(b"new")
        assert path.read_bytes() == b"old"
        assert others(path) == []


# --- Real file systems that are full, read-only or mounted on the file itself


def in_own_mounts(setup: str, script: str, path: Path) -> list[str]:
    """Run a script with mounts that vanish with it; gives what it printed."""
    command = f'{setup} && exec "$PYTHON" -c "$SCRIPT" "$FILE"'
    environment = {**os.environ, "PYTHON": sys.executable, "SCRIPT": PROLOGUE + script}
    environment |= {"FILE": str(path), "DIR": str(path.parent)}
    ended = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare:" in ended.stderr or "mount:" in ended.stderr:
        pytest.skip(f"cannot mount here: {ended.stderr.strip()}")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


TRY = """
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_lock import lock_path
def attempt(data):
    try:
        with hold(path, 'opt') as held:
            held.replace(data)
    except KeyturnError as error:
        print(type(error).__name__, error.message)
    strange = set(os.listdir(os.path.dirname(path))) - {os.path.basename(path), os.path.basename(lock_path(path)), 'source'}
    print(open(path, 'rb').read()[:9].decode(), sorted(strange))
"""


@needs_root
def test_a_full_disk(tmp_path: Path) -> None:
    script = TRY + "attempt(b'old'); attempt(b'x' * 200000); attempt(b'fits')"
    first, refused, still, then = in_own_mounts(
        'mount -t tmpfs -o size=64k none "$DIR"', script, tmp_path / "file"
    )
    assert first == "old []"
    assert refused.startswith("Unreachable opt: cannot write")
    assert "no space left on device; this file is as it was" in refused
    assert (still, then) == ("old []", "fits []")


@needs_root
def test_a_read_only_disk(tmp_path: Path) -> None:
    remount = "import subprocess\nsubprocess.run(['mount', '-o', 'remount,ro', os.path.dirname(path)], check=True)\n"
    script = TRY + "attempt(b'old')\n" + remount + "attempt(b'new')"
    first, refused, still = in_own_mounts(
        'mount -t tmpfs -o size=64k none "$DIR"', script, tmp_path / "file"
    )
    assert (first, still) == ("old []", "old []")
    assert refused.startswith("Denied opt: cannot write")
    assert "read-only file system" in refused


@needs_root
def test_a_file_that_is_a_mount_point(tmp_path: Path) -> None:
    source, path = tmp_path / "source", tmp_path / "file"
    source.write_bytes(b"old")
    path.write_bytes(b"")
    refused, still = in_own_mounts(
        'mount --bind "$DIR/source" "$FILE"', TRY + "attempt(b'new')", path
    )
    assert refused.startswith("Refused opt")
    assert "mount its directory instead of the file" in refused
    assert still == "old []"
    assert source.read_bytes() == b"old"


def test_locks_are_those_of_flock(tmp_path: Path) -> None:
    """So that ``flock`` of util-linux can join in from a shell."""
    path = tmp_path / "file"
    with hold(str(path), OPTION):
        descriptor = os.open(lock_path(str(path)), os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
