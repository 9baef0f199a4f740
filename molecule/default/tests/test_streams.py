# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rotations left on the hosts, and what a viewer saw of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import testinfra

sys.path.append(str(Path(__file__).parents[3] / "demo"))
from show.screen import Screen
from show_streams import main as demo
from show_streams.hosts import Hosts

FOLDER = Path(os.environ["KEYTURN_STREAMS"])
PLATFORMS = ("restream", "archive", "contribution")
KEY_FILES = [
    ("relay1", "/etc/stream/keys/restream.key", "restream"),
    ("relay1", "/etc/stream/keys/archive.key", "archive"),
    ("encoder1", "/etc/stream/keys/contribution.key", "contribution"),
]
LISTS = [
    ("ingest1", "/etc/ingest/keys/restream", "restream"),
    ("ingest1", "/etc/ingest/keys/archive", "archive"),
    ("relay1", "/etc/ingest/keys/live", "contribution"),
]


def digest(text: str) -> str:
    """As watch.py notes a key."""
    return hashlib.sha256(text.encode()).hexdigest()


class Estate:
    """What a test asks.

    :ivar keys: by platform and stage, the keys of the keyrings; and the first ones, as ``first``.
    :ivar seen: the streams of each look at the ingest, in order, until the tests began.
    """

    def __init__(self) -> None:
        self.addresses: dict[str, str] = json.loads((FOLDER / "addresses.json").read_text())
        self.hosts = {
            name: testinfra.get_host(f"podman://keyturn-{FOLDER.name}-{name}")
            for name in self.addresses
        }
        self.keys = {name: self._keys(name) for name in PLATFORMS}
        self.seen = self._seen_until_now()

    @staticmethod
    def _keys(name: str) -> dict[str, str]:
        stages = json.loads((FOLDER / "keyrings" / f"{name}.json").read_text())["stages"]
        held = {
            stage: stages[stage]["secrets"]["key"]
            for stage in ("pending", "current", "previous")
            if stages.get(stage)
        }
        return {**held, "first": (FOLDER / f"{name}.first").read_text()}

    @property
    def secrets(self) -> set[str]:
        """All keys that there are or were."""
        return {key for keys in self.keys.values() for key in keys.values()}

    def file(self, host: str, path: str) -> tuple[str, str]:
        """Its owner, group and mode, and its text."""
        told = self.hosts[host].check_output(f"stat -c %U:%G:%a {path}; cat {path}; echo end")
        facts, text = told.split("\n", 1)
        return facts, text.removesuffix("end")

    def is_taken(self, host: str, application: str, key: str) -> bool:
        """Whether an ingest takes a short stream with this key; the key is in no argument of ffmpeg."""
        picture = "-re -f lavfi -i testsrc=size=160x90:rate=10 -t 0.5 -c:v flv1"
        words = f"ffmpeg -nostdin -loglevel quiet {picture} -fpre /dev/stdin -f flv"
        ended = subprocess.run(
            [*words.split(), f"rtmp://{self.addresses[host]}/{application}"],
            input=f"rtmp_playpath={key}\nrw_timeout=5000000\n".encode(),
            check=False,
            timeout=30,
        )
        return ended.returncode == 0

    def _seen_until_now(self) -> list[list[dict[str, Any]]]:
        """Wait until the next broadcast arrives, and have nobody watch what the tests do themselves."""
        waited_until = time.monotonic() + 30
        while True:
            looks = [json.loads(line) for line in (FOLDER / "seen").read_text().splitlines()]
            if [stream["application"] for stream in looks[-1].get("streams", [])].count(
                "watch"
            ) == 2:
                break
            assert time.monotonic() < waited_until, "the next broadcast did not arrive"
            time.sleep(0.2)
        (FOLDER / "seen.end").touch()
        assert all("streams" in look for look in looks), "the ingest was away"
        return [look["streams"] for look in looks]


@pytest.fixture(scope="session")
def estate() -> Estate:
    return Estate()


@pytest.mark.parametrize(("host", "path", "platform"), KEY_FILES)
def test_key_file(estate: Estate, host: str, path: str, platform: str) -> None:
    expected = ("stream:stream:600", estate.keys[platform]["current"] + "\n")
    assert estate.file(host, path) == expected


@pytest.mark.parametrize(("host", "path", "platform"), LISTS)
def test_list_of_the_ingest(estate: Estate, host: str, path: str, platform: str) -> None:
    """It names what is in use and, within its grace, what was."""
    keys = estate.keys[platform]
    expected = ("stream:stream:600", f"{keys['current']}\n{keys['previous']}\n")
    assert estate.file(host, path) == expected


@pytest.mark.parametrize(
    ("host", "path", "platform"),
    [
        ("relay1", "/etc/stream/relay/restream.env", "restream"),
        ("relay1", "/etc/stream/relay/archive.env", "archive"),
        ("encoder1", "/etc/stream/encoder/env", "contribution"),
    ],
)
def test_env_file(estate: Estate, host: str, path: str, platform: str) -> None:
    lines = estate.file(host, path)[1].splitlines()
    assert f"STREAM_KEY_FILE=/etc/stream/keys/{platform}.key" in lines
    assert "# Written when the host was made." in lines


@pytest.mark.parametrize(("host", "path", "platform"), KEY_FILES)
def test_profile_tells_when(estate: Estate, host: str, path: str, platform: str) -> None:
    """One date was changed in place, and its comment kept."""
    profile = "/etc/stream/encoder-config.yaml"
    before = estate.file(host, "/usr/local/lib/stream/encoder-config.yaml")[1].splitlines()
    lines = estate.file(host, profile)[1].splitlines()
    changed = [new for old, new in zip(before, lines, strict=True) if old != new]
    assert all(re.fullmatch(r"    last_rotated: \"?20[0-9-]{8}\"?", line) for line in changed)
    assert len(changed) == sum(host == entry[0] for entry in KEY_FILES)


@pytest.mark.parametrize(("host", "path", "platform"), KEY_FILES)
def test_log_of_rotations(estate: Estate, host: str, path: str, platform: str) -> None:
    log = estate.file(host, "/var/log/stream-key-rotation.log")[1]
    lines = [line for line in log.splitlines() if f" KEY-ROTATED platform={platform} " in line]
    # One was rotated twice, and one returned to its key.
    assert len(lines) == (1 if platform == "contribution" else 2)
    assert all(
        re.match(r"20\S+ KEY-ROTATED platform=\S+ reason=.+ operator=root$", line) for line in lines
    )


@pytest.mark.parametrize(("host", "path", "platform"), KEY_FILES)
def test_copy_of_the_key_before(estate: Estate, host: str, path: str, platform: str) -> None:
    """One a day, so that of the first key; for the administrator alone."""
    (copy,) = estate.hosts[host].check_output(f"ls {path}.bak.*").split()
    assert estate.file(host, copy) == ("root:root:600", estate.keys[platform]["first"] + "\n")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_key_is_a_new_one_unless_it_was_returned_to(estate: Estate, platform: str) -> None:
    keys = estate.keys[platform]
    assert (keys["current"] == keys["first"]) == (platform == "archive")
    assert keys["previous"] != keys["current"]


@pytest.mark.parametrize("unit", ["relay", "allow"])
def test_relay_runs_since_it_was_made(estate: Estate, unit: str) -> None:
    """It was reloaded, never restarted: what nginx started with is still its first process."""
    relay = estate.hosts["relay1"]
    assert relay.service(unit).is_running
    assert relay.check_output(f"systemctl show --value -p NRestarts {unit}") == "0"
    assert relay.check_output("systemctl show --value -p ReloadResult relay") == "success"


def test_broadcast_runs_with_the_keys_in_use(estate: Estate) -> None:
    assert estate.hosts["encoder1"].service("encoder").is_running
    now = {stream["application"]: stream["key"] for stream in estate.seen[-1]}
    assert now["restream"] == digest(estate.keys["restream"]["current"])
    assert now["archive"] == digest(estate.keys["archive"]["current"])


def test_key_before_is_taken_until_it_is_ended(estate: Estate) -> None:
    """One in its grace, and one that was returned from: somebody may have been told of it."""
    assert estate.is_taken("ingest1", "restream", estate.keys["restream"]["previous"])
    assert estate.is_taken("ingest1", "archive", estate.keys["archive"]["previous"])


def test_ended_key_is_refused(estate: Estate) -> None:
    assert estate.keys["restream"]["previous"] != estate.keys["restream"]["first"]
    assert not estate.is_taken("ingest1", "restream", estate.keys["restream"]["first"])


def test_unknown_key_is_refused(estate: Estate) -> None:
    assert not estate.is_taken("ingest1", "archive", "nobody-knows-this-one")


def test_viewer_saw_planned_states_only(estate: Estate) -> None:
    """The broadcast with the old key to its end, then test streams, then the next broadcast with the new key."""
    keys = [
        stream["key"]
        for look in estate.seen
        for stream in look
        if stream["application"] == "restream"
    ]
    stages = estate.keys["restream"]
    order = [key for key, _again in groupby(keys)]
    assert order == [digest(stages["previous"]), digest(stages["current"])]


def test_broadcast_went_on_while_a_rotation_was_refused(estate: Estate) -> None:
    """What was received of it grew from each look to the next one but one, and it never began anew."""
    received: list[int] = []
    for look in estate.seen:
        found = [stream["received"] for stream in look if stream["application"] == "archive"]
        if received and not found:
            break
        received += found
    assert len(received) > 20
    assert received == sorted(received)


@pytest.mark.parametrize("name", ["relay1", "encoder1", "ingest1"])
def test_no_key_where_others_look(estate: Estate, name: str) -> None:
    """No key is in an argument or the environment of a process, in the journal or in a log, or in a file for all."""
    host = estate.hosts[name]
    script = (
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; journalctl -o export;"
        " find / -xdev -type f -perm /o+r -newer /etc/machine-id -not -path '/proc/*' -not -path '/sys/*' -exec cat {} +"
    )
    told = host.run(f'sh -c "{script}" 2>/dev/null').stdout_bytes
    assert b"relay" in told or b"encoder" in told or b"ingest" in told
    assert [key for key in estate.secrets if key.encode() in told] == []


def test_demo_shows_it(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hosts, playbooks and variables are these: here is what it does in a broadcast, its picture and its search."""
    picture = FOLDER / "frame.png"
    monkeypatch.setattr(demo, "PICTURE", picture)
    # What is in use was made a moment ago, and only who forces a rotation of it meets the broadcast.
    played = demo.Demo(Hosts(FOLDER), Screen(), "-e", "keyturn_force=true")
    with demo.Viewer(f"rtmp://{estate.addresses['ingest1']}/watch/restream"):
        played.live()
        waited_until = time.monotonic() + 30
        while not picture.exists() and time.monotonic() < waited_until:
            time.sleep(0.1)
    played.search()
    assert len(played.numbers) == 3
    assert demo.conclude(played) == []
    assert picture.stat().st_size > 1000
    assert played.hosts.known_keys() >= {
        estate.keys["restream"]["current"],
        estate.keys["restream"]["first"],
    }
