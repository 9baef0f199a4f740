# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that makes a process of its own of each task of a race: see :mod:`racing`.

It imports what a kind of store needs once, and forks. Each line that it reads is a list of tasks. It answers with the processes when
all of them have opened what they write to, lets them go when told, and answers with how each ended.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from random import SystemRandom
from typing import IO, Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Conflict
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Wanted, bring
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._open import (
    Address,
    open_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import open_store
from racing import Task, filler

PATIENCE = 600
"""Seconds after which a process that does not end is ended."""
_LONGEST_PAUSE = 1.0
_CHANCE = SystemRandom()
_LIBRARIES = {
    "awsssm": ("boto3", "botocore.config"),
    "awssecrets": ("boto3", "botocore.config"),
    "k8s": ("kubernetes",),
    "vault": ("hvac",),
}


class Death:
    """Kills this process at a certain step of what it does: before or after each of its requests, or at each call for its file."""

    _CALLS = ("os.rename", "os.remove", "os.chmod", "os.chown", "fcntl.flock")

    def __init__(self, at: int) -> None:
        self.steps = 0
        self._at = at
        self._armed = False
        self._answer, self._write = http.client.HTTPConnection.getresponse, os.write
        self._sync = os.fsync

    def __enter__(self) -> Death:
        sys.addaudithook(self._hear)
        vars(os).update(write=self._part, fsync=self._synced)
        answer = self._answer

        def answered(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
            """The request is sent, and its answer not yet read."""
            self._step()
            return answer(connection)

        setattr(http.client.HTTPConnection, "getresponse", answered)  # noqa: B010
        self._armed = True
        return self

    def __exit__(self, *_error: object) -> None:
        self._armed = False

    def _is_now(self) -> bool:
        if self._armed:
            self.steps += 1
        return self._armed and self.steps == self._at

    def _step(self) -> None:
        if self._is_now():
            os.kill(os.getpid(), signal.SIGKILL)

    def _hear(self, event: str, _arguments: object) -> None:
        if event == "http.client.send" or event in self._CALLS:
            self._step()

    def _part(self, descriptor: int, data: bytes | memoryview) -> int:
        """Half of a text is written, and no more."""
        if self._is_now():
            self._write(descriptor, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return self._write(descriptor, data)

    def _synced(self, descriptor: int) -> None:
        self._step()
        self._sync(descriptor)


class Tally:
    """What one process did."""

    def __init__(self) -> None:
        self.done = self.lost = 0
        self._in_a_row = 0

    def count(self, write: Callable[[], object]) -> bool:
        """Do one try, reading and all; whether it was done.

        After one that was lost there is a pause: as if up to eight others took as long in turn.
        """
        begun = time.monotonic()
        try:
            write()
        except Conflict:
            self.lost += 1
            self._in_a_row = min(self._in_a_row + 1, 3)
            turns = 2**self._in_a_row * _CHANCE.random()
            time.sleep(min(_LONGEST_PAUSE, turns * (time.monotonic() - begun)))
            return False
        self.done += 1
        self._in_a_row = 0
        return True


Work = Callable[[], None]


def _appending(task: Task, tally: Tally, context: Context) -> Work:
    """Read a keyring, add one's own mark to its list, and write it; again where somebody else's write came first."""
    store = open_store(parse_reference(task.ref, "option"), context, "option")

    def append(mark: str) -> None:
        found = store.read()
        assert found is not None
        body = json.loads(found[0])
        body["writes"].append(mark)
        store.write(json.dumps(body), found[1])

    def work() -> None:
        for number in range(task.writes):
            while not tally.count(partial(append, f"{task.who}-{number}")):
                pass

    return work


def _creating(task: Task, tally: Tally, context: Context) -> Work:
    """Write a first keyring, once."""
    store = open_store(parse_reference(task.ref, "option"), context, "option")
    text = json.dumps({"writes": [f"{task.who}-0"]})

    def work() -> None:
        tally.count(lambda: store.write(text, None))

    return work


def _replacing(task: Task, tally: Tally, context: Context) -> Work:
    """Write whole keyrings, one after the other, each on what was read before."""
    store = open_store(parse_reference(task.ref, "option"), context, "option")
    found = store.read()
    assert found is not None
    state = {"version": found[1]}

    def work() -> None:
        for number in range(task.writes):
            text = f"{task.who}-{number}-" + filler(task.size)
            state["version"] = store.write(text, state["version"])
            tally.done += 1

    return work


def _publishing(task: Task, tally: Tally, context: Context) -> Work:
    """Bring values to a field of a sink, as ``publish`` does; with a keyring always the one in it."""
    [sink] = parse_sinks([{"ref": task.ref, "template": "x"}])
    ref = sink.ref
    address = Address(ref.scheme, ref.path, ref.params, ref.place, "place")
    place = open_place(address, sink.options, context)

    def value(number: int) -> Secret:
        if not task.keyring:
            return Secret(f"{task.who}-{number}-" + "x" * task.size)
        found = open_store(parse_reference(task.keyring, "option"), context, "option").read()
        assert found is not None
        return Secret(json.loads(found[0])["password"])

    def work() -> None:
        for number in range(task.writes):
            wanted = Wanted("place", {task.key: value(number)})
            try:
                outcome = bring(place, wanted, no_guard, context)
            except Conflict:
                # Written all the same, on top of somebody else's: not to be done again.
                tally.lost += 1
                tally.done += 1
            else:
                tally.done += bool(outcome.changed)

    return work


WORKS: Mapping[str, Callable[[Task, Tally, Context], Work]] = {
    "append": _appending,
    "create": _creating,
    "publish": _publishing,
    "replace": _replacing,
}


def _say(descriptor: int, told: Any) -> None:
    os.write(descriptor, json.dumps(told).encode() + b"\n")


def _run(task: Task, gate: int, said: int) -> int:
    """Do a task in this process; its exit status."""
    signal.alarm(PATIENCE)
    tally, death = Tally(), Death(task.die_at)
    try:
        # What is said to the program, and by it, is none of this process's.
        with open(os.devnull, encoding="utf-8") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        context = Context(environ=dict(task.environ))
        work = WORKS[task.work](task, tally, context)
        _say(said, "ready")
        os.read(gate, 1)
        if task.die_at:
            with death:
                work()
        else:
            work()
        context.close()
        _say(said, {"done": tally.done, "lost": tally.lost, "steps": death.steps})
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


class _Child:
    """A process of a task, as the program sees it."""

    def __init__(self, task: Task, gate: tuple[int, int]) -> None:
        here, there = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(gate[1])
            os.close(here)
            os._exit(_run(task, gate[0], there))
        os.close(there)
        self._said: IO[bytes] = os.fdopen(here, "rb")

    def is_ready(self) -> bool:
        return self._said.readline() == b'"ready"\n'

    def end(self) -> dict[str, int]:
        """How it ended; waits for that."""
        with self._said:
            line = self._said.readline()
        _pid, status = os.waitpid(self.pid, 0)
        told: dict[str, int] = json.loads(line) if line else {}
        return {**told, "status": os.waitstatus_to_exitcode(status)}


def _serve(tasks: Sequence[Task]) -> None:
    """One race."""
    for task in tasks:
        for name in _LIBRARIES.get(task.ref.removeprefix("ref+").partition(":")[0], ()):
            import_module(name)
    gate = os.pipe()
    children = [_Child(task, gate) for task in tasks]
    os.close(gate[0])
    for child in children:
        child.is_ready()
    _say(1, [child.pid for child in children])
    told = json.loads(sys.stdin.readline())
    os.close(gate[1])
    if "kill_after" in told:
        time.sleep(told["kill_after"])
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
    _say(1, [child.end() for child in children])


def main() -> None:
    """Serve until there is nothing more to read."""
    for line in sys.stdin:
        _serve([Task(**task) for task in json.loads(line)])


if __name__ == "__main__":
    main()
