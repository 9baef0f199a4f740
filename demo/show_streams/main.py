# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo-streams``: from nothing to a picture of the test stream, and numbers that have to be 0."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

from estate.collection import ROOT
from estate.errors import EstateError
from show.program import ended, parse_arguments, perform
from show.screen import INDENT, Compact, Screen, described, heading, paragraph, table

from show_streams.hosts import NAMES, SHARED, Hosts

OPENING = """
The key of a stream is rotated on real hosts: an encoder that streams to a relay, which publishes on a platform with the platform's key.
In the middle of a broadcast that is refused, and nothing changes; after it the new key is proved by a test stream before anything uses
it. Everything runs in containers on this machine, and is gone afterwards but for a picture.
"""
PARTS = [
    (
        "encoder1",
        "encoder.service: ffmpeg streams a test picture to the relay, with a key from its key file",
    ),
    (
        "relay1",
        "relay.service: nginx with the RTMP module publishes what it gets, with the platforms' keys; a reload reads them anew",
    ),
    (
        "ingest1",
        "two platforms: ingest.service takes those who have a key of a list, and shows their streams to viewers",
    ),
]
PICTURE = ROOT / "build" / "demo-streams" / "test-stream.png"
LEAKS = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\\\0' ' '; journalctl -o cat"


class Viewer:
    """A viewer of the platform, who has no key: waits until there is a stream, and keeps one frame of it."""

    def __init__(self, address: str) -> None:
        reading = ["ffmpeg", "-nostdin", "-loglevel", "quiet", "-y", "-rw_timeout", "20000000"]
        self._argv = [*reading, "-i", address, "-frames:v", "1", str(PICTURE)]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Viewer:
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.unlink(missing_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *cause: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        """Again when a stream ended too early, or nobody published."""
        while not (self._ended.is_set() or (PICTURE.exists() and PICTURE.stat().st_size)):
            subprocess.run(self._argv, check=False)
            self._ended.wait(0.1)


class Demo:
    """Plays the acts.

    :param words: what each playbook is told beside what the act needs.
    :ivar numbers: what has to be 0, by what it counts.
    :ivar faults: what is not as it has to be.
    """

    def __init__(self, hosts: Hosts, screen: Screen, *words: str) -> None:
        self.hosts, self.screen, self._words = hosts, screen, words
        self.numbers: dict[str, int] = {}
        self.faults: list[str] = []

    def act(self, title: str, why: str) -> None:
        """The heading of an act."""
        self.screen.say(heading(title) + "\n" + paragraph(why) + "\n")

    def play(self, name: str, *words: str, fails: str = "") -> None:
        """A playbook of the collection for the platform ``restream``.

        :param fails: what it has to say, when it has to fail.
        """
        words = ("--limit", "restream", *words, *self._words)
        self.screen.say(f"$ ansible-playbook keyturn.runbooks.{name} {' '.join(words)}")
        *lines, status = self.hosts.play(f"keyturn.runbooks.{name}", words)
        compact = Compact()
        for line in lines:
            for shown in compact.feed(line):
                self.screen.say(shown)
        if (status != "0") != bool(fails) or fails not in "".join(lines):
            self.faults.append(
                f"{name} ended with {status}, {f'expected: {fails}' if fails else 'expected: 0'}"
            )

    def broadcast(self, verb: str) -> None:
        """Start or stop the encoder, and wait until viewers receive it, or nothing any more."""
        self.hosts.shell("encoder1", f"systemctl {verb} encoder.service")
        until = time.monotonic() + 30
        while (self.hosts.received() > 10_000) != (verb == "start"):
            if time.monotonic() > until:
                raise EstateError(f"after {verb} of the broadcast its viewers did not see that")
            time.sleep(0.2)

    def live(self) -> None:
        """Somebody is live."""
        self.act(
            "Rotate in the middle of a broadcast",
            """The encoder is started, and viewers receive its picture. A new key now would end the broadcast, so the rotation is refused
            before anything is written; it says who is live, and where.""",
        )
        self.broadcast("start")
        before, received = self.hosts.look(), self.hosts.received()
        self.play("rotate_stream_keys", fails="somebody is live")
        after, now = self.hosts.look(), self.hosts.received()
        self.screen.say(f"\n{INDENT}received by viewers: {received} bytes before, {now} after")
        self.numbers["files and services that changed while somebody was live"] = sum(
            before[name] != after[name] for name in NAMES
        )
        self.numbers["broadcasts that were interrupted"] = int(now <= received)

    def rotate(self) -> None:
        """The broadcast is over; a viewer waits for the test stream, and keeps one of its frames."""
        self.act(
            "Rotate after it",
            """The encoder is stopped. The new key is put on the platform's list beside the old one, and a test stream of five seconds
            proves it. Then it becomes the current one, the relay's key file is replaced, and the relay reloaded.""",
        )
        self.broadcast("stop")
        with Viewer(f"rtmp://{self.hosts.addresses['ingest1']}/watch/restream"):
            self.play("rotate_stream_keys", "-e", "stream_test=5s", "-e", "keyturn_reason=demo")

    def retire(self) -> None:
        """The old key is ended, and the next broadcast has the new one."""
        self.act(
            "End the old key, and begin the next broadcast",
            """Until now the platform took both keys. The grace period of this demo is a second, so the old key is taken off the list, and a
            try with it is refused. The next broadcast has the new key.""",
        )
        self.play("retire_due")
        self.broadcast("start")
        lines = self.hosts.shell("ingest1", "cat /etc/ingest/keys/restream").splitlines()
        self.numbers["keys too many on the platform's list"] = len(lines) - 1
        self.screen.say(f"\n{INDENT}received by viewers: {self.hosts.received()} bytes")

    def search(self) -> None:
        """Look for keys where others could read them."""
        told = "".join(self.hosts.shell(name, LEAKS) for name in NAMES) + self.screen.text()
        self.numbers["keys in arguments, environments, journals and in this output"] = sum(
            key in told for key in self.hosts.known_keys()
        )


def conclude(demo: Demo) -> list[str]:
    """The table and the picture; returns the faults."""
    rows = [(name, str(number)) for name, number in demo.numbers.items()]
    demo.screen.say("\n" + table(("what has to be 0", "counted"), rows))
    if PICTURE.exists() and PICTURE.stat().st_size:
        demo.screen.say(f"\nThe test stream as the ingest received it, one frame: {shown(PICTURE)}")
    else:
        demo.faults.append(f"there is no picture of the test stream at {shown(PICTURE)}")
    counted = [f"{number} {name}" for name, number in demo.numbers.items() if number]
    return [*demo.faults, *counted]


def shown(path: Path) -> str:
    """A path as a person types it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def run(keep: bool) -> int:
    """The whole demo; returns the exit status.

    :raises EstateError: when a part cannot be started.
    """
    screen = Screen()
    screen.say(paragraph(OPENING))
    screen.say(
        "\nWaiting for: the image of the hosts (built once, two minutes), the hosts, and what is installed on them"
    )
    started = time.monotonic()
    hosts = Hosts()
    try:
        hosts.image()
        hosts.start()
        *lines, status = hosts.play(str(SHARED / "prepare.yml"), ())
        if status != "0":
            raise EstateError("the hosts could not be prepared:\n" + "".join(lines[-30:]))
        screen.say(f"\nStarted in {time.monotonic() - started:.0f} s:\n")
        screen.say(described(PARTS))
        demo = Demo(hosts, screen)
        demo.live()
        demo.rotate()
        demo.retire()
        demo.search()
        return ended(conclude(demo), screen)
    finally:
        hosts.close(keep)


def main() -> int:
    """The program."""
    options = parse_arguments("demo/streams", OPENING)
    return perform(lambda: run(options.keep))
