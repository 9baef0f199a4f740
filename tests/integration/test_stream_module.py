# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``stream_probe`` in playbooks, both ways of execution; and no key anywhere that a run or its processes show."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.playbook import Ansible, PlaybookResult
from ingest import Ingest, new_key
from machines import required
from publisher import Publisher, shown_by_processes

SMALL = {"duration": "1s", "size": "160x90", "rate": 10, "timeout": "15s"}


@pytest.fixture(scope="session")
def ingest(run_dir: Path) -> Iterator[Ingest]:
    place = run_dir / "module-ingest"
    place.mkdir(mode=0o711)
    with required(), Ingest(place, careful=True) as started:
        yield started


class Plays:
    """Plays of this module, and the search for keys in all that they leave."""

    def __init__(self, place: Path, ansible: Ansible, ingest: Ingest) -> None:
        self.place, self.ansible, self.ingest = place, ansible, ingest
        self.keys: list[str] = []
        self.told = place / "told.json"

    def key(self) -> str:
        """A reference to a new key, which is a part of the search from now on."""
        path = self.place / f"key-{len(self.keys)}"
        path.touch(mode=0o600)
        self.keys.append(new_key())
        path.write_text(f"{self.keys[-1]}\n")
        return f"ref+file://{path}"

    def task(self, name: str, **options: Any) -> dict[str, Any]:
        """A task, of which nothing is taken for a failure of the play."""
        given = {"url": self.ingest.url(), **SMALL, **options}
        return {"keyturn.runbooks.stream_probe": given, "register": name, "ignore_errors": True}

    def run(self, tasks: list[dict[str, Any]], **variables: Any) -> PlaybookResult:
        """Run them with all that Ansible can say, and look for the keys while they run and behind them."""
        names = ", ".join(f"'{task['register']}': {task['register']}" for task in tasks)
        keep = {"content": f"{{{{ {{{names}}} | to_json }}}}", "dest": str(self.told)}
        play = {
            "hosts": "all",
            "gather_facts": False,
            "vars": variables,
            "tasks": [*tasks, {"ansible.builtin.copy": keep}],
        }
        book, inventory = self.place / "play.yml", self.place / "hosts.yml"
        book.write_text(yaml.safe_dump([play]))
        here = {"ansible_connection": "local"}
        inventory.write_text(yaml.safe_dump({"all": {"hosts": {"here": here}}}))
        with shown_while(self.keys) as shown:
            ended = self.ansible.run(str(book), "-vvvv", "--diff", inventory=inventory)
        assert shown == set()
        self.search(ended.output + self.ansible.log())
        return ended

    def search(self, text: str) -> None:
        """No key in a text, nor in what the runs left."""
        left = b"".join(path.read_bytes() for path in self.ansible.leftovers())
        for key in self.keys:
            assert key not in text and key.encode() not in left
            assert self.ingest.logs_with(key) == []

    def results(self) -> dict[str, Any]:
        """What the tasks returned."""
        found: dict[str, Any] = json.loads(self.told.read_text())
        return found


@pytest.fixture
def plays(scratch: Path, ansible: Ansible, ingest: Ingest) -> Plays:
    return Plays(scratch, ansible, ingest)


@contextmanager
def shown_while(keys: list[str]) -> Iterator[set[str]]:
    """The kinds of places of processes in which a key stood at some moment."""
    found: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.25):
            found.update(Path(place).name for place in shown_by_processes(*keys))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()


def failures(told: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Outcome and kind of the tasks that failed."""
    return {
        name: (found["outcome"], found["kind"]) for name, found in told.items() if found["failed"]
    }


@pytest.mark.parametrize(("direct", "method"), [(True, "ffmpeg"), (False, "pyav")])
def test_both_ways_say_the_same_and_no_key_is_shown(
    plays: Plays, direct: bool, method: str
) -> None:
    good, bad, live = plays.key(), plays.key(), plays.key()
    options = {"method": method, "received": {"stat": plays.ingest.stat_url}}
    plays.ingest.allow(plays.keys[0], plays.keys[2])
    tasks = [
        plays.task("done", key=good, **options),
        plays.task("refused", key=bad, **options),
        plays.task("live", key=live, method=method),
    ]
    with Publisher(plays.ingest, plays.keys[2]) as other:
        plays.run(tasks, keyturn_direct=direct).check()
        assert other.running
    told = plays.results()
    done = told["done"]
    assert (done["outcome"], done["method"]) == ("accepted", method)
    assert done["frames"] == 10 and done["received"].startswith("its statistics showed")
    assert (done["changed"], done["predicted"]) == (False, False)
    assert done["evidence"][0]["against"] == plays.ingest.url()
    assert failures(told) == {
        "refused": ("refused", "ProbeFailed"),
        "live": ("already_publishing", "Refused"),
    }


def test_check_mode_tells_what_would_be_and_what_hinders_it(plays: Plays) -> None:
    good, live = plays.key(), plays.key()
    stat = {"stat": plays.ingest.stat_url}
    plays.ingest.allow(*plays.keys)
    tasks = [
        plays.task("foreseen", key=good, received=stat),
        plays.task("live", key=live, received=stat),
        plays.task("elsewhere", key=good, url=plays.ingest.url("nothing")),
        plays.task("nowhere", key=good, url="rtmp://127.0.0.1:1/live"),
        plays.task("wrong", key=good, url=f"{plays.ingest.url()}/{plays.keys[0][:8]}"),
    ]
    with Publisher(plays.ingest, plays.keys[1]):
        calls = plays.ingest.callback_log.read_text()
        plays.run([{**task, "check_mode": True} for task in tasks]).check()
        assert plays.ingest.callback_log.read_text() == calls
    told = plays.results()
    assert told["foreseen"]["detail"] == (
        "would publish 160x90 at 10, 1 s by ffmpeg; check mode streams nothing"
    )
    assert (told["foreseen"]["predicted"], told["foreseen"]["outcome"]) == (True, "")
    wrong = told.pop("wrong")
    assert wrong["kind"] == "BadInput" and plays.keys[0][:8] not in wrong["msg"]
    assert failures(told) == {
        "live": ("already_publishing", "Refused"),
        "elsewhere": ("wrong_application", "Absent"),
        "nowhere": ("unreachable", "Unreachable"),
    }
    assert told["nowhere"]["msg"].endswith("127.0.0.1:1; this proves nothing either way")


def keyring(place: Path, key: str) -> str:
    """A keyring with a pending key, and the same one in use."""
    empty = Document("restream", secrets.token_bytes(32))
    pending = empty.with_fingerprints(Stage("r1-2026", "applied", {"key": Secret(key)}, "d"))
    used = replace(pending, rotation_id="r0-2025", status="observed")
    path = place / "keyring.json"
    path.touch(mode=0o600)
    path.write_text(dump_text(replace(empty, pending=pending, current=used)))
    return f"ref+file://{path}"


@contextmanager
def guarded(ingest: Ingest, token: str) -> Iterator[str]:
    """The statistics behind a login, as a page has it that names keys."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == f"Bearer {token}"
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(ingest.statistics().encode() if known else b"")

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/stat"
    server.shutdown()
    server.server_close()


def test_a_key_of_a_keyring_and_a_persons_word_for_its_rotation(plays: Plays) -> None:
    plays.key()
    plays.key()
    plays.ingest.allow(plays.keys[0])
    header = plays.place / "header"
    header.touch(mode=0o600)
    header.write_text(f"Bearer {plays.keys[1]}")
    word = plays.place / "word"
    options = {
        "keyring": keyring(plays.place, plays.keys[0]),
        "credential": "restream",
        "key": "keyring#/pending/key",
        "received": {"confirmed": f"ref+file://{word}"},
    }
    plays.run([plays.task("asked", **options)]).check()
    asked = plays.results()["asked"]
    assert asked["kind"] == "Refused"
    assert "write 'yes r1-2026' to where received.confirmed refers to" in asked["msg"]
    # A rotation that is over: its yes was for another stream.
    word.write_text("yes r0-2025\n")
    plays.run([plays.task("over", **{**options, "key": "keyring#/current/key"})]).check()
    over = plays.results()["over"]
    assert over["kind"] == "BadInput" and over["msg"].startswith("received.id: expected 4 to 100")
    word.write_text("yes r1-2026\n")
    with guarded(plays.ingest, plays.keys[1]) as stat:
        asked = {**options["received"], "stat": stat}
        login = {"headers": {"Authorization": f"ref+file://{header}"}}
        tasks = [
            plays.task("denied", **{**options, "received": asked}),
            plays.task("done", **{**options, "received": {**asked, **login}}),
        ]
        plays.run(tasks, keyturn_direct=False).check()
    told = plays.results()
    assert told["denied"]["kind"] == "Denied"
    done = told["done"]
    assert done["confirmed"] is True and done["received"].startswith("its statistics showed")
    assert done["evidence"][0]["detail"].endswith(
        "a person confirmed that it arrived (yes r1-2026)"
    )


@pytest.mark.parametrize("how", ["cmdline", "environ"])
def test_a_key_that_a_program_shows_is_found(ingest: Ingest, how: str) -> None:
    key = new_key()
    ingest.allow(key)
    with shown_while([key]) as shown:
        if how == "cmdline":
            url = f"{ingest.url()}/{key}"
            words = ["-re", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=10", "-t", "1"]
            subprocess.run(
                ["ffmpeg", "-loglevel", "quiet", *words, "-f", "flv", url], check=True, timeout=20
            )
        else:
            subprocess.run(["sleep", "1"], env={**os.environ, "KEY": key}, check=True)
    assert shown == {how}
