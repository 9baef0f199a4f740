# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file sink is copied before another value takes its place: once a day, for as long as it is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from sink_calls import MORNING, Platform


def key_file(folder: Path, **more: Any) -> dict[str, Any]:
    ref = f"ref+file://{folder}/restream.key"
    own = {"name": "key_file", "ref": ref, "template": "{current.key}\n", "mode": "0640"}
    return {**own, "backup": {"keep": "7d"}, **more}


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    (tmp_path / "keys").mkdir()
    return Platform(tmp_path, [key_file(tmp_path / "keys")])


def beside(platform: Platform) -> dict[str, str]:
    folder = platform.path.parent / "keys"
    return {
        path.name.replace("restream.key", "*"): path.read_text()
        for path in folder.iterdir()
        if not path.name.endswith(".lock")
    }


def told(result: dict[str, Any]) -> dict[str, Any]:
    [sink] = result["sinks"]
    found: dict[str, Any] = sink["backup"]
    return {**found, "made": os.path.basename(found["made"] or "")}


def test_no_file_before_is_told_and_goes_on(platform: Platform) -> None:
    done = platform.as_predicted()
    assert told(done)["missing"] and "nothing to copy" in told(done)["note"]
    assert beside(platform) == {"*": f"{platform.key}\n"}
    [one, other] = [line for line in platform.warnings if "keyring" not in line.partition(":")[0]]
    assert one == other and "sink 'key_file'" in one and "no copy to go back to" in one
    [line] = map(json.loads, platform.ledger.read_text().splitlines())
    assert (line["phase"], line["outcome"]) == ("note", "done")
    assert (
        line["message"].startswith("sink 'key_file' (ref+file://") and "no copy" in line["message"]
    )


def test_the_first_copy_of_a_day_stays(platform: Platform) -> None:
    first = platform.key
    platform.publish()
    platform.later(hours=1)
    second = platform.rotate()
    done = platform.as_predicted()
    assert told(done) == {
        "made": "restream.key.bak.20261122",
        "pruned": [],
        "note": "",
        "missing": False,
    }
    copy = platform.path.parent / "keys" / "restream.key.bak.20261122"
    assert oct(copy.stat().st_mode & 0o777) == "0o600" and copy.stat().st_uid == os.geteuid()
    platform.later(hours=2)
    third = platform.rotate()
    done = platform.as_predicted()
    assert not told(done)["made"] and "stays as it is" in told(done)["note"]
    platform.later(hours=20)
    fourth = platform.rotate()
    platform.as_predicted()
    files = {"*": fourth, "*.bak.20261122": first, "*.bak.20261123": third}
    assert beside(platform) == {name: f"{key}\n" for name, key in files.items()}
    assert second not in "".join(beside(platform).values())


def test_an_old_copy_goes_with_a_run_that_writes_nothing(platform: Platform) -> None:
    platform.publish()
    platform.rotate()
    platform.publish()
    assert platform.now == MORNING
    # It may have been made in the last minute of its day.
    platform.later(days=7, hours=15)
    platform.settled()
    platform.later(hours=1)
    copy = f"{platform.path.parent}/keys/restream.key.bak.20261122"
    for check_mode in (True, False):
        found = platform.publish(check_mode)
        assert found["changed"] and not found["behind"] and not found["sinks"][0]["changed"]
        assert told(found)["pruned"] == [copy] and f"{copy}: (a copy)" in found["diff"][0]["before"]
        assert os.path.exists(copy) is check_mode
    assert not platform.publish()["changed"]


def test_no_more_copies_than_asked_for_and_nothing_else_goes(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    platform = Platform(tmp_path, [key_file(folder, backup={"keep": "30d", "count": 2})])
    platform.publish()
    others = (
        "restream.key.bak.2026112",
        "restream.key.bak.20269999",
        "restream.key.bak.20261101.gz",
    )
    others += ("other.key.bak.20200101", "restream.key.backup-20200101T000000.000000Z")
    for name in others:
        (folder / name).write_text("somebody's own")
    (folder / "restream.key.bak.20200101").mkdir()
    for _day in range(4):
        platform.later(days=1)
        platform.rotate()
        platform.as_predicted()
    copies = {name for name in os.listdir(folder) if name.startswith("restream.key.bak.202611")}
    assert copies - set(others) == {"restream.key.bak.20261125", "restream.key.bak.20261126"}
    assert {*others, "restream.key.bak.20200101"} < set(os.listdir(folder))


def test_a_copy_dated_in_the_future_is_told_and_stays(tmp_path: Path) -> None:
    """A clock was wrong then, or is now: it is not known how old such a copy is, and it is in no other one's place."""
    folder = tmp_path / "keys"
    folder.mkdir()
    platform = Platform(tmp_path, [key_file(folder, backup={"keep": "7d", "count": 1})])
    platform.publish()
    (folder / "restream.key.bak.20991231").write_text("from a wrong clock")
    platform.rotate()
    assert told(platform.as_predicted())["made"] == "restream.key.bak.20261122"
    lines = [line for line in platform.warnings if "20991231" in line]
    assert lines and "sink 'key_file'" in lines[0] and "clock" in lines[0] and "remove" in lines[0]
    assert "from a wrong clock" not in "".join(platform.warnings)
    platform.later(days=20)
    assert told(platform.publish())["pruned"] == [f"{folder}/restream.key.bak.20261122"]
    assert set(beside(platform)) == {"*", "*.bak.20991231"}


def test_the_day_that_comes_next_is_none_to_wonder_about(platform: Platform) -> None:
    """Midnight is not at the same moment everywhere."""
    platform.publish()
    (platform.path.parent / "keys" / "restream.key.bak.20261123").write_text("made elsewhere")
    platform.publish()
    assert "20261123" not in "".join(platform.warnings)
    assert set(beside(platform)) == {"*", "*.bak.20261123"}


def test_mending_a_mode_copies_nothing(platform: Platform) -> None:
    platform.publish()
    (platform.path.parent / "keys" / "restream.key").chmod(0o644)
    done = platform.as_predicted()
    assert done["changed"] and not told(done)["made"] and not told(done)["note"]
    assert list(beside(platform)) == ["*"]


def test_a_sink_that_ends_is_copied_too(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    sink = key_file(tmp_path / "keys", template="{pending,current.key}", absent="remove")
    platform = Platform(tmp_path, [sink])
    platform.publish()
    key = platform.key
    platform.document = type(platform.document)("restream", platform.document.salt)
    platform.save()
    platform.as_predicted()
    assert beside(platform) == {"*.bak.20261122": key}


def test_a_file_that_could_not_be_replaced_leaves_no_copy(platform: Platform) -> None:
    platform.publish()
    before = beside(platform)
    platform.rotate()
    platform.sinks = [{**platform.sinks[0], "owner": "nobody-of-this-name"}]
    for check_mode in (True, False):
        with pytest.raises(KeyturnError, match="there is no user 'nobody-of-this-name'"):
            platform.publish(check_mode)
    assert beside(platform) == before


def test_a_link_in_the_place_is_never_copied(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("not yours")
    (tmp_path / "keys" / "restream.key").symlink_to(tmp_path / "shadow")
    for check_mode in (True, False):
        with pytest.raises(KeyturnError, match="symbolic link"):
            platform.publish(check_mode)
    assert sorted(beside(platform)) == ["*"]


def test_sinks_of_one_file_agree_about_copies(tmp_path: Path) -> None:
    ref = f"ref+file://{tmp_path}/env?format=env"
    one = {"name": "one", "ref": f"{ref}#/A", "template": "{current.key}", "backup": {"keep": "7d"}}
    other = {"name": "other", "ref": f"{ref}#/B", "template": "{current.key}"}
    platform = Platform(tmp_path, [one, other])
    with pytest.raises(KeyturnError, match=r"disagree about its .* backup"):
        platform.publish()
