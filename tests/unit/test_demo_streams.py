# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo of stream keys from its first to its last line, with hosts that only say what they are told; molecule has real ones."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from estate.collection import ROOT
from show_streams import main

LIVE = "somebody is live"


class Hosts:
    """What is right, but for what a test changes."""

    def __init__(self) -> None:
        self.addresses = {"ingest1": "192.0.2.1"}
        self.live, self.bytes, self.closed = False, 0, False
        self.key, self.shown, self.list = secrets.token_urlsafe(), "", "one key\n"
        self.changes: list[str] = []
        self.played: list[tuple[str, ...]] = []
        self.refused = f'fatal: [restream]: FAILED! => {{"msg": "{LIVE}"}}\n'

    def image(self) -> None:
        """Nothing to build."""

    def start(self) -> None:
        """Nothing to start."""

    def close(self, keep: bool) -> None:
        """The end."""
        self.closed = True

    def shell(self, host: str, script: str) -> str:
        """The encoder is started and stopped; all else is asked."""
        if script.startswith("systemctl"):
            self.live, self.bytes = script.split()[1] == "start", 0
        return self.list if script.startswith("cat /etc") else self.shown

    def look(self) -> dict[str, str]:
        """What was changed."""
        return {name: str(self.changes) for name in ("relay1", "encoder1", "ingest1")}

    def received(self) -> int:
        """It grows while somebody is live."""
        self.bytes += 20_000 * self.live
        return self.bytes

    def known_keys(self) -> set[str]:
        """The one that there is."""
        return {self.key}

    def play(self, playbook: str, words: Sequence[str]) -> Iterator[str]:
        """Refused while somebody is live."""
        self.played.append((playbook.rpartition(".")[2], *words))
        if not playbook.startswith("keyturn."):
            yield from ("ok\n", "0")
        elif self.live and self.refused:
            yield from (self.refused, "2")
        else:
            yield from ("changed: [restream]\n", "0")


class Viewer:
    """Sees a frame at once."""

    frame = b"a picture"

    def __init__(self, address: str) -> None:
        assert address == "rtmp://192.0.2.1/watch/restream"

    def __enter__(self) -> None:
        main.PICTURE.write_bytes(self.frame)

    def __exit__(self, *cause: object) -> None:
        """Nothing runs."""


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    made = Hosts()
    monkeypatch.setattr(main, "Hosts", lambda: made)
    monkeypatch.setattr(main, "Viewer", Viewer)
    monkeypatch.setattr(main, "PICTURE", tmp_path / "frame.png")
    return made


def test_it_ends_well(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(keep=False) == 0
    assert hosts.closed and hosts.live
    names = [name for name, *_words in hosts.played[1:]]
    assert names == ["rotate_stream_keys", "rotate_stream_keys", "retire_due"]
    assert all((ROOT / "playbooks" / f"{name}.yml").exists() for name in names)
    output = capsys.readouterr().out
    assert f"one frame: {main.PICTURE}" in output
    assert "Every number that has to be 0 is 0." in output


def a_key_is_shown(hosts: Hosts) -> None:
    hosts.shown = f"ffmpeg {hosts.key}"


def nothing_is_refused(hosts: Hosts) -> None:
    hosts.refused = ""


def something_else_is_said(hosts: Hosts) -> None:
    hosts.refused = "fatal: [restream]: UNREACHABLE!\n"


def two_keys_stay(hosts: Hosts) -> None:
    hosts.list = "one key\nanother\n"


def the_viewer_sees_nothing(hosts: Hosts) -> None:
    hosts.received = lambda: 20_000 * hosts.live  # type: ignore[method-assign]  # a stand-in for one test


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (a_key_is_shown, "1 keys in arguments, environments, journals and in this output"),
        (nothing_is_refused, f"rotate_stream_keys ended with 0, expected: {LIVE}"),
        (something_else_is_said, f"rotate_stream_keys ended with 2, expected: {LIVE}"),
        (two_keys_stay, "1 keys too many on the platform's list"),
        (the_viewer_sees_nothing, "1 broadcasts that were interrupted"),
    ],
)
def test_what_is_wrong_is_told_last(
    hosts: Hosts, capsys: pytest.CaptureFixture[str], wrong: object, told: str
) -> None:
    assert callable(wrong)
    wrong(hosts)
    assert main.run(keep=False) == 1
    assert capsys.readouterr().err.splitlines()[-2:] == ["THE DEMO FAILED", f"  {told}"]
    assert hosts.closed


def test_without_a_picture_it_fails(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Viewer, "frame", b"")
    assert main.run(keep=False) == 1
    assert "there is no picture of the test stream" in capsys.readouterr().err
