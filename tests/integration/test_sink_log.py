# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation's line in a log: added once, whoever else writes there and whatever becomes of the file."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from sink_calls import Platform

LINE = (
    "{current.promoted} KEY-ROTATED platform=restream reason={current.reason} "
    "operator={current.operator}"
)


def sink(log: Path, **more: Any) -> dict[str, Any]:
    return {"name": "log", "ref": f"ref+file://{log}?format=log", "template": LINE, **more}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "rotation.log"


@pytest.fixture
def platform(tmp_path: Path, log: Path) -> Platform:
    return Platform(tmp_path, [sink(log)])


def line(hour: str, reason: str = "scheduled", operator: str = "mira") -> str:
    at = f"2026-11-22T{hour}:00.000000Z"
    return f"{at} KEY-ROTATED platform=restream reason={reason} operator={operator}\n"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_each_rotation_adds_its_line(platform: Platform, log: Path) -> None:
    platform.as_predicted()
    assert log.read_text() == line("08:30") and mode_of(log) == 0o640
    platform.later(hours=1)
    platform.rotate("leak", "ann")
    log.chmod(0o604)
    with log.open("a") as file:
        file.write("somebody else's, not finished")
    done = platform.as_predicted()
    added = line("09:30", "leak", "ann")
    assert log.read_text() == f"{line('08:30')}somebody else's, not finished\n{added}"
    assert mode_of(log) == 0o604
    [told] = done["sinks"]
    shown = told["fields"]["content"]
    # What the line says beside facts may be anything.
    assert (shown["before"], shown["after"]) == (
        "(absent)",
        "2026-11-22T09:30:00.000000Z … leak … ann",
    )


def test_a_log_that_was_rotated_does_not_get_it_again(platform: Platform, log: Path) -> None:
    platform.publish()
    log.rename(f"{log}.1")
    platform.settled()
    assert not log.exists()
    log.write_text("a new one\n")
    platform.settled()
    # Once more behind that, it is not looked for any more. A line that ended with its log keeps nothing from going on.
    os.rename(f"{log}.1", f"{log}.2")
    looked = platform.publish(check_mode=True)
    assert looked["changed"] and looked["behind"] == []
    platform.as_predicted()
    assert log.read_text() == "a new one\n" + line("08:30")


def test_what_a_person_says_stays_one_line(platform: Platform, log: Path) -> None:
    forged = line("01:00", operator="root")
    platform.rotate(f"late\n{forged}", "\x1b[2Jann")
    platform.as_predicted()
    [only] = log.read_text().splitlines()
    assert f"reason=late\\x0a{forged.strip()}\\x0a operator=\\x1b[2Jann" in only


def test_a_secret_is_refused(platform: Platform, log: Path) -> None:
    for shown in ("{current.key}", "{current,previous.key|sha256|join}"):
        platform.sinks = [sink(log, template=f"{LINE} {shown}")]
        for check_mode in (True, False):
            with pytest.raises(KeyturnError, match="'key' is secret, and a log is kept"):
                platform.publish(check_mode)
    assert not log.exists()


def test_mode_and_owner_are_mended(platform: Platform, log: Path) -> None:
    platform.publish()
    platform.sinks = [sink(log, mode="0600", file_group=str(os.getegid()))]
    before = log.read_text()
    assert platform.as_predicted()["changed"]
    assert mode_of(log) == 0o600 and log.read_text() == before


def test_before_a_promotion_nothing_is_added(platform: Platform, log: Path) -> None:
    platform.document = type(platform.document)("restream", platform.document.salt)
    platform.save()
    assert not platform.publish()["changed"] and not log.exists()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda log: log.mkdir(), "is a directory|no regular file"),
        (os.mkfifo, "no regular file"),
        (lambda log: log.symlink_to("/dev/null"), "no regular file|symbolic link"),
        (lambda log: (log.parent / "other").touch() or log.symlink_to("other"), "symbolic link"),
    ],
)
def test_what_is_no_file_is_refused(platform: Platform, log: Path, make: Any, says: str) -> None:
    make(log)
    for check_mode in (True, False):
        with pytest.raises(KeyturnError, match=says):
            platform.publish(check_mode)


def test_other_places_are_refused(platform: Platform, log: Path) -> None:
    cases = {
        "rel": (sink(log.parent / "none" / "log"), "directory"),
        "owner": (sink(log, owner="nobody-of-this-name"), "no user 'nobody-of-this-name'"),
        "absent": (sink(log, create=False), "'create' is false"),
        "long": (sink(log, template=LINE + "x" * 5000), "bytes; expected 1 to 4096"),
    }
    for definition, says in cases.values():
        platform.sinks = [definition]
        for check_mode in (True, False):
            with pytest.raises(KeyturnError, match=re.escape(says)):
                platform.publish(check_mode)
    assert not log.exists()


def test_a_full_disk_leaves_no_part_of_a_line(platform: Platform, log: Path) -> None:
    log.write_text("before\n")
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=_without_room, args=(platform, 40))
    worker.start()
    worker.join(30)
    assert worker.exitcode == 0 and log.read_text() == "before\n"
    platform.publish()
    assert log.read_text() == "before\n" + line("08:30")


def _without_room(platform: Platform, size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    with pytest.raises(KeyturnError):
        platform.publish()


def _repeat(platform: Platform, barrier: Any) -> None:
    barrier.wait(20)
    platform.publish()


def _append(path: Path, barrier: Any) -> None:
    barrier.wait(20)
    for number in range(200):
        with path.open("a") as file:
            file.write(f"other {number}\n")


def test_many_at_once_add_it_once_and_lose_nothing(platform: Platform, log: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(5)
    workers = [context.Process(target=_repeat, args=(platform, barrier)) for _number in range(4)]
    workers.append(context.Process(target=_append, args=(log, barrier)))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 5
    lines = log.read_text().splitlines(keepends=True)
    assert lines.count(line("08:30")) == 1 and len(lines) == 201
