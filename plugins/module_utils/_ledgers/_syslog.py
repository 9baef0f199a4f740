# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log in the system log: ``ref+syslog://`` on this machine, ``ref+syslog://host:port`` on another.

* On this machine: the socket ``/dev/log``, or the one whose absolute path is given (``ref+syslog:///run/log.sock``), in the form
  that syslog(3) writes and every daemon and journald understand.
* To another machine: RFC 5424, over TCP in octet-counted frames (RFC 6587), or with ``?protocol=udp`` one datagram for each line
  (RFC 5426). Both travel in the clear, as syslog does: a line holds names and fingerprints and no value.
* ``?facility=``: ``authpriv`` if it is not given.
* What was sent cannot be read back. Whether the last line of an earlier run arrived is not known, so each run begins with sending
  it again, marked as recovered; so does the line that tells of a failure. Verifying counts the same line once.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Iterator, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import LedgerHead
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    encode_line,
    missing_line,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._port import (
    Reading,
    Review,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference

SOCKET = "/dev/log"
PROGRAM = "keyturn"
PROTOCOLS = ("tcp", "udp")
FACILITIES: Mapping[str, int] = MappingProxyType(
    {
        "user": 1,
        "daemon": 3,
        "auth": 4,
        "authpriv": 10,
        **{f"local{number}": 16 + number for number in range(8)},
    }
)
"""Facilities by their names, with their codes (RFC 5424, table 1; ``authpriv`` is "security/authorization", number 10)."""

_ERROR, _NOTICE = 3, 5
_TIMEOUT = 10.0
_GOODBYE = 2.0
# What rsyslog takes by default; what is longer arrives cut.
_USUAL_LIMIT = 8096
_NOT_PRINTABLE = re.compile(r"[^!-~]")


def _priority(facility: int, line: Mapping[str, Any]) -> int:
    return facility * 8 + (_NOTICE if line.get("outcome") == "done" else _ERROR)


def _word(text: object, longest: int) -> str:
    """A header field of RFC 5424: printable ASCII without blanks, ``-`` for none."""
    return _NOT_PRINTABLE.sub("", str(text or ""))[:longest] or "-"


def remote_message(line: Mapping[str, Any], facility: int, host: str, pid: int) -> bytes:
    """A line as RFC 5424 has it. The text is ASCII, so it needs no mark of its encoding."""
    header = [
        f"<{_priority(facility, line)}>1",
        _word(line.get("time"), 32),
        _word(host, 255),
        PROGRAM,
        str(pid),
        _word(line.get("phase"), 32),
        "-",
    ]
    return f"{' '.join(header)} {encode_line(line).rstrip()}".encode()


def local_message(line: Mapping[str, Any], facility: int, pid: int) -> bytes:
    """A line as syslog(3) has it; the daemon puts its own time on it."""
    return f"<{_priority(facility, line)}>{PROGRAM}[{pid}]: {encode_line(line).rstrip()}".encode()


def counted(message: bytes) -> bytes:
    """A frame that begins with the message's length (RFC 6587, octet counting)."""
    return b"%d %s" % (len(message), message)


class SyslogLedger:
    """Lines to a syslog daemon.

    :param target: a host and a port, or the path of a socket.
    """

    def __init__(
        self, target: Tuple[str, int], facility: int, protocol: str, context: Context, option: str
    ) -> None:
        self._target = target
        self._facility = facility
        self._protocol = protocol
        self._context = context
        self._option = option

    @property
    def _place(self) -> str:
        host, port = self._target
        return f"{host}:{port}/{self._protocol}" if port else host

    def __repr__(self) -> str:
        return f"SyslogLedger({self._place})"

    def append(self, line: Mapping[str, Any]) -> None:
        """Send a line. Over TCP and to a socket an error shows; a datagram to another machine may be lost in silence.

        :raises Denied, Unreachable: naming the socket or the receiver.
        """
        with self._told():
            self._send(line)

    def check_append(self, credential: str, head: Optional[LedgerHead]) -> None:
        """Reach the socket or the receiver, and send nothing; a receiver of datagrams cannot be seen, but its name is looked up.

        :raises Denied, Unreachable: naming the socket or the receiver.
        """
        host, port = self._target
        with self._told():
            if not port:
                _open_socket(host).close()
            elif self._protocol == "udp":
                _open_udp(host, port).close()
            else:
                socket.create_connection((host, port), timeout=_TIMEOUT).close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong inside, in words."""
        try:
            yield
        except socket.gaierror:
            raise Unreachable(
                f"{self._option}: the name of the syslog receiver {self._place} is not known; check it"
            ) from None
        except OSError as error:
            raise self._meaning(error) from None

    def _send(self, line: Mapping[str, Any]) -> None:
        host, port = self._target
        if port:
            message = remote_message(line, self._facility, socket.gethostname(), os.getpid())
        else:
            message = local_message(line, self._facility, os.getpid())
        if len(message) > _USUAL_LIMIT:
            self._context.warn(
                f"{self._option}: line {line['number']} has {len(message)} bytes, and syslog daemons cut what is longer than they are "
                "set to take (rsyslog: maxMessageSize, 8 kB); a cut line does not verify"
            )
        if not port:
            with _open_socket(host) as sender:
                sender.send(message)
        elif self._protocol == "udp":
            with _open_udp(host, port) as sender:
                sender.send(message)
        else:
            _over_tcp(host, port, message)

    def _meaning(self, error: OSError) -> KeyturnError:
        where = f"{self._option}: cannot send to syslog at {self._place}"
        if isinstance(error, PermissionError):
            return Denied(
                f"{where}: permission denied; give this user the right to write to the socket"
            )
        if error.errno == errno.ENOENT:
            return Unreachable(
                f"{where}: there is no such socket here (containers mostly have none); name a receiver: ref+syslog://HOST:PORT"
            )
        if error.errno == errno.EMSGSIZE:
            return Unreachable(f"{where}: the line is too long for one datagram; use protocol=tcp")
        reason = os.strerror(error.errno).lower() if error.errno else "no answer in time"
        return Unreachable(f"{where}: {reason}; check that a receiver listens there")

    def review(
        self, credential: str, head: Optional[LedgerHead], first: bool, failed: bool
    ) -> Review:
        """The last line again, where it is not known whether it was sent: nothing can be looked at here."""
        return Review(missing_line(None, head) if first or failed else None)

    def read(self, credential: str) -> Reading:
        """Impossible.

        :raises BadInput: saying what to do instead.
        """
        raise BadInput(
            f"{self._option}: what was sent to syslog ({self._place}) cannot be read back from it. Export the lines where they arrive "
            f"('journalctl -t {PROGRAM} -o cat', or the receiver's file) and verify that file: ref+file:///PATH"
        )


def _connected(sender: socket.socket, address: Any) -> socket.socket:
    try:
        sender.settimeout(_TIMEOUT)
        sender.connect(address)
    except OSError:
        sender.close()
        raise
    return sender


def _open_socket(path: str) -> socket.socket:
    return _connected(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), path)


def _open_udp(host: str, port: int) -> socket.socket:
    family, kind, _protocol, _name, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_DGRAM
    )[0]
    return _connected(socket.socket(family, kind), address)


def _over_tcp(host: str, port: int, message: bytes) -> None:
    """Send a frame, and wait a moment for the receiver to close too: it does so after it has read all.

    A receiver that stays silent may keep connections open; one that was lost in between answers with a reset.
    """
    with socket.create_connection((host, port), timeout=_TIMEOUT) as connection:
        connection.sendall(counted(message))
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(_GOODBYE)
        try:
            while connection.recv(4096):
                pass
        except socket.timeout:
            return


def _target(path: str) -> Tuple[str, int]:
    if not path or path.startswith("/"):
        return path or SOCKET, 0
    host, _colon, port = path.rpartition(":")
    return host.strip("[]"), int(port)


def _one_of(reference: Reference, name: str, allowed: List[str], option: str) -> str:
    given = reference.params.get(name, allowed[0])
    if given not in allowed:
        raise BadInput(
            f"{option}: {reference.text}: there is no {name} '{given}'; expected {', '.join(sorted(allowed))}"
        )
    return given


def open_syslog_ledger(reference: Reference, context: Context, option: str) -> SyslogLedger:
    """The ledger of a ``ref+syslog`` reference; nothing is sent yet.

    :raises BadInput: for a facility or protocol that there is not.
    """
    target = _target(reference.path)
    facility = _one_of(
        reference, "facility", ["authpriv", *(set(FACILITIES) - {"authpriv"})], option
    )
    protocol = _one_of(reference, "protocol", list(PROTOCOLS), option)
    if "protocol" in reference.params and not target[1]:
        raise BadInput(
            f"{option}: {reference.text}: 'protocol' is for another machine; leave it out, or name HOST:PORT"
        )
    return SyslogLedger(target, FACILITIES[facility], protocol, context, option)
