# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every write of a process to the world outside, told as it is about to be done.

No part of the product is named here: Python tells of files, programs and requests by its audit events, and psycopg2's
connections get cursors that tell of statements. A file's successor counts when it takes the file's place.

Of a statement, a request and a program the answer can be taken away after it came, so that the work is done and nobody heard of it.
"""

from __future__ import annotations

import http.client
import os
import re
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import psycopg2
import psycopg2.extensions

Tell = Callable[[str], None]
Loses = Callable[[str], str]
Lost = Callable[[str, str], None]
LOST, SILENT = "lost", "silent"

_READS = re.compile(
    r"(SELECT|SHOW|SET|RESET|DISCARD|BEGIN|COMMIT|ROLLBACK|WITH|VALUES|TABLE|EXPLAIN)\b",
    re.IGNORECASE,
)
_ACTS = re.compile(r"pg_terminate_backend|pg_cancel_backend|pg_reload_conf", re.IGNORECASE)
# A WITH can end in a statement that writes; FOR UPDATE and FOR NO KEY UPDATE only lock.
_WITH = re.compile(
    r"WITH\b.*?(?<!FOR )(?<!KEY )\b(UPDATE|INSERT|DELETE)\b", re.IGNORECASE | re.DOTALL
)
_REQUEST = re.compile(rb"(PUT|POST|PATCH|DELETE) ([^ ?]*)")
# AWS's services take every call as a POST, and Kubernetes a question about rights.
_TARGET = re.compile(rb"\r\nX-Amz-Target: *\w+\.(\w+)\r\n", re.IGNORECASE)
_ASKS = re.compile(r"(Get|List|Describe|BatchGet|Lookup|Assume)[A-Z]")
_QUESTIONS = ("selfsubjectaccessreviews", "capabilities-self")
_COUNTED = re.compile(r"/\d+$")
# Files, and no devices.
_IN_MEMORY = "/dev/shm/"  # noqa: S108 (only compared)
_TEMPORARY = re.compile(r"\.keyturn-\d+-[0-9a-f]+$")


def write_of(statements: str) -> str:
    """The first words of the first statement that changes something; empty for a text that only reads."""
    for statement in statements.split(";"):
        text = statement.strip()
        if found := _WITH.match(text):
            return f"WITH {found.group(1).upper()}"
        if text and (_ACTS.search(text) or not _READS.match(text)):
            return " ".join(text.split()[:2]) if not _ACTS.search(text) else "terminate"
    return ""


def name_of(path: str) -> str:
    """The last name of a path; a number, as of the lines of a list, is told as N after the name before it."""
    names = _COUNTED.sub("/N", path).split("/")
    return "/".join(names[-2:] if names[-1] == "N" else names[-1:])


def request_of(sent: bytes) -> str:
    """A request that changes something, by its method and the name that it is about; empty for any other text."""
    found = _REQUEST.match(sent)
    if not found:
        return ""
    target = _TARGET.search(sent)
    name = target.group(1).decode() if target else name_of(found.group(2).decode())
    if name in _QUESTIONS or (target and _ASKS.match(name)):
        return ""
    return f"http {found.group(1).decode()} {name}"


def _is_there(path: str) -> bool:
    """Whether a file is there; of a path that is not whole, in any directory that this process holds open."""
    if os.path.isabs(path):
        return os.path.exists(path)
    held = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return any(os.path.exists(os.path.join(place, path)) for place in held if os.path.isdir(place))


class _Watch:
    """What one process does, by kind and name, each counted from the start of its task or step."""

    def __init__(self, tell: Tell, loses: Loses, lost: Lost) -> None:
        self._tell, self.loses, self._lost = tell, loses, lost
        self._parent = os.getpid()
        self.seen: Counter[str] = Counter()
        self._inside = False
        self._silent = False
        self._program = ""
        self.asked: WeakKeyDictionary[http.client.HTTPConnection, str] = WeakKeyDictionary()
        own = (
            "KEYTURN_TRACE",
            "KEYTURN_LOST",
            "TMPDIR",
            "HOME",
            "ANSIBLE_LOCAL_TEMP",
            "ANSIBLE_REMOTE_TEMP",
            "ANSIBLE_LOG_PATH",
        )
        self._own = ("/proc/", *(os.environ[name] for name in own if os.environ.get(name)))

    def point(self, what: str) -> str:
        """Tell of one write; returns its moment."""
        self.seen[what] += 1
        moment = f"{what} {self.seen[what]}"
        inside, self._inside = self._inside, True
        try:
            self._tell(moment)
        finally:
            self._inside = inside
        return moment

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """One audit event; the events that this causes itself are none."""
        if self._inside or os.getpid() == self._parent:
            return
        if self._silent and event == "http.client.send":
            raise ConnectionResetError("Connection reset by peer")
        self._inside = True
        try:
            what = self._write(event, arguments)
            moment = self.point(what) if what else ""
        finally:
            self._inside = False
        if moment and event == "http.client.send":
            self.asked[arguments[0]] = moment
        if moment and event == "subprocess.Popen":
            self._program = moment

    def begun(self) -> str:
        """The moment of the program that was begun last, told once."""
        moment, self._program = self._program, ""
        return moment

    def lose(self, moment: str, answer: str) -> None:
        """What came as the answer is lost.

        :param answer: the proof that it was done: a status, an exit code.
        """
        self._silent = self._silent or self.loses(moment) == SILENT
        self._lost(moment, answer)

    def _write(self, event: str, arguments: tuple[Any, ...]) -> str:
        if event == "subprocess.Popen":
            return f"run {os.path.basename(str(arguments[0]))}"
        if event == "http.client.send" and isinstance(arguments[1], bytes):
            return request_of(arguments[1])
        if event in ("os.rename", "os.link"):
            kind = "replace" if event == "os.rename" else "link"
            return self._file(kind, arguments[1], arguments[3])
        if event == "os.remove":
            return self._file("remove", arguments[0], arguments[1])
        if event == "open" and isinstance(arguments[0], str):
            return self._opened(arguments[0], arguments[2])
        return ""

    def _opened(self, path: str, flags: int) -> str:
        """A file that is written in its place; what is made beside it counts when it takes that place."""
        if not flags & (os.O_WRONLY | os.O_RDWR) or _TEMPORARY.search(path):
            return ""
        if flags & os.O_APPEND:
            return self._file("append", path, -1)
        new = flags & os.O_TRUNC or not _is_there(path)
        return self._file("write", path, -1) if new else ""

    def _file(self, kind: str, path: Any, directory: int) -> str:
        name = os.fsdecode(path)
        if directory >= 0:
            name = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), name)
        device = name.startswith("/dev/") and not name.startswith(_IN_MEMORY)
        if device or name.startswith(self._own) or _TEMPORARY.search(name):
            return ""
        return f"{kind} {os.path.basename(name)}"

    def cursor(self) -> type[psycopg2.extensions.cursor]:
        """A cursor that tells of statements."""
        watch = self

        class Cursor(psycopg2.extensions.cursor):
            def execute(self, query: Any, variables: Any = None) -> None:
                text = query.decode() if isinstance(query, bytes) else str(query)
                what = write_of(text)
                moment = watch.point(f"sql {what}") if what else ""
                super().execute(query, variables)
                if moment and watch.loses(moment):
                    _finish(self.connection)
                    watch.lose(moment, self.statusmessage or "")
                    self.connection.close()
                    raise psycopg2.OperationalError("server closed the connection unexpectedly")

        return Cursor


def _finish(connection: Any) -> None:
    """Wait until the server has done what an asynchronous connection asked for."""
    while connection.async_ and (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        reading = state == psycopg2.extensions.POLL_READ
        select.select([connection] if reading else [], [] if reading else [connection], [], 10)


def _lose_answers(watched: _Watch) -> None:
    """Have answers of requests taken away when they came: the connection breaks."""
    get = http.client.HTTPConnection.getresponse

    def answered(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        answer = get(connection)
        moment = watched.asked.pop(connection, "")
        if moment and watched.loses(moment):
            watched.lose(moment, str(answer.status))
            connection.close()
            raise http.client.RemoteDisconnected("Remote end closed connection without response")
        return answer

    http.client.HTTPConnection.getresponse = answered


def _lose_ends(watched: _Watch) -> None:
    """Have programs that came to their end look as if they had been killed right before."""
    begin, end = subprocess.Popen.__init__, subprocess.Popen._handle_exitstatus
    running: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    def begun(process: Any, *arguments: Any, **options: Any) -> None:
        begin(process, *arguments, **options)
        if moment := watched.begun():
            running[process] = moment

    def ended(process: Any, *arguments: Any, **options: Any) -> None:
        end(process, *arguments, **options)
        moment = running.pop(process, "")
        if moment and watched.loses(moment):
            watched.lose(moment, str(process.returncode))
            process.returncode = -9

    subprocess.Popen.__init__, subprocess.Popen._handle_exitstatus = begun, ended


def watch(tell: Tell, loses: Loses, lost: Lost) -> Callable[[], None]:
    """Tell of every write of the processes that are forked from this one.

    :param tell: gets a moment, such as ``replace keyring.json 2``, right before the write.
    :param loses: says of a moment whether its answer is lost (``lost``), and no request answered any more (``silent``).
    :param lost: gets the moment and the answer, which proves that it was done, when one is lost.
    :return: begins to count anew.
    """
    watched = _Watch(tell, loses, lost)
    cursor, connect = watched.cursor(), psycopg2.connect

    def connected(*arguments: Any, **options: Any) -> Any:
        return connect(*arguments, **{"cursor_factory": cursor, **options})

    psycopg2.connect = connected
    _lose_answers(watched)
    _lose_ends(watched)
    sys.addaudithook(watched.hear)
    return watched.seen.clear
