# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate ``not_connected``: nobody has a connection to a port of a machine, by the tables of its kernel.

An RTMP server that was told to read its configuration again keeps each broadcast in the process that has it, and asks nobody any more:
its statistics come from the new process. The kernel knows all connections, whichever process has them, and shows them to every user.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import Any, List, Mapping, Optional, Sequence, Set, Tuple, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Corrupt,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown

KEYS = ("type", "name", "host", "ports", "except")
TABLES = Path("/proc/net")
PROCESSES = Path("/proc")
READINGS = 2
"""A table that changes while it is read may lack a line."""
_ESTABLISHED, _LISTENS = "01", "0A"
_PORT = re.compile(r"^[1-9][0-9]{0,4}$")
_SHOWN = 8

Address = Union[IPv4Address, IPv6Address]
Network = Union[IPv4Network, IPv6Network]
Socket = Tuple[int, str, str]
"""A local port, the other end as the kernel writes it, and a state."""


def sockets(table: str, ports: Sequence[int]) -> Set[Socket]:
    """The sockets of some ports in one of the kernel's tables, ``tcp`` or ``tcp6``. Pure.

    :raises Corrupt: it is no such table.
    """
    found = set()
    for line in table.splitlines()[1:]:
        words = line.split()
        try:
            port = int(words[1].rpartition(":")[2], 16)
            if port in ports:
                found.add((port, words[2], words[3]))
        except (IndexError, ValueError):
            raise Corrupt(
                f"{TABLES}/tcp: a line is not as the kernel writes it; report it with the version of the kernel"
            ) from None
    return found


def peer(end: str, order: Any = sys.byteorder) -> Address:
    """The address of an end as the kernel writes it: words of 32 bits in its own order of bytes. Pure."""
    digits = end.rpartition(":")[0]
    words = [digits[at : at + 8] for at in range(0, len(digits), 8)]
    found = ip_address(b"".join(int(word, 16).to_bytes(4, order) for word in words))
    inside = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return inside or found


def forwarded(arguments: Sequence[bytes]) -> int:
    """The port that a process of Docker listens at for a container, by its arguments; 0 for every other process. Pure.

    It gets none of the connections: they are passed on to the container before any process of the machine could have them.
    """
    if b"docker-proxy" not in arguments[0].split(b"/") or b"-host-port" not in arguments[:-1]:
        return 0
    port = arguments[list(arguments).index(b"-host-port") + 1]
    return int(port) if port.isdigit() else 0


def _arguments(path: Path) -> List[bytes]:
    """Those of a process; empty ones when it has ended, or is hidden from this user."""
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        return [b""]


def _told(peers: Sequence[Address]) -> str:
    counted = Counter(map(str, peers)).most_common()
    shown = [f"{address}{f' ({count})' if count > 1 else ''}" for address, count in counted]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


def sentences(
    found: Set[Socket], ports: Sequence[int], spared: Sequence[Network], where: str
) -> List[str]:
    """Why the gate is closed, one sentence for each port. Pure.

    :param spared: those that may be connected.
    :param where: which machine it is.
    """
    said = []
    for port in ports:
        ends = [end for number, end, state in found if (number, state) == (port, _ESTABLISHED)]
        peers = [
            address for address in map(peer, ends) if not any(address in net for net in spared)
        ]
        count = f"{len(peers)} connection{'s' if len(peers) > 1 else ''}"
        if peers:
            said.append(
                f"somebody may be live: port {port} of {where} has {count}, from {_told(peers)}. Nothing is changed while that is so; run "
                "again after the broadcast. In 'except' may stand who only watches or fetches, and never who publishes"
            )
        elif not any((number, state) == (port, _LISTENS) for number, _end, state in found):
            said.append(
                f"nothing listens at port {port} of {where}, so whether somebody is live cannot be seen there: see that the server runs, "
                "and that it has no network of its own, as in a container"
            )
    return said


def _ports(given: Any, option: str) -> Tuple[int, ...]:
    numbers = [str(port) for port in given] if isinstance(given, list) else []
    if not numbers or not all(_PORT.match(port) and int(port) < 65536 for port in numbers):
        raise BadInput(f"{option}: expected a list of numbers from 1 to 65535, such as [1935]")
    return tuple(map(int, numbers))


def _networks(given: Any, option: str) -> Tuple[Network, ...]:
    try:
        found = tuple(
            ip_network(str(text)) for text in (given if isinstance(given, list) else [given])
        )
    except ValueError:
        raise BadInput(
            f"{option}: expected a list of addresses and networks, such as [192.0.2.7, '2001:db8::/64']. Names are not looked up, and a "
            "network has no address of a machine in it: 192.0.2.0/24 and not 192.0.2.7/24"
        ) from None
    if any(network.prefixlen == 0 for network in found):
        raise BadInput(f"{option}: a network of all addresses would leave nobody to look for")
    return found


@dataclass(frozen=True)
class NotConnected:
    """Some ports of one machine.

    :param on: the inventory host that it is; empty: where the rotation runs.
    """

    on: str
    ports: Tuple[int, ...]
    spared: Tuple[Network, ...]
    option: str
    tables: Path = TABLES
    processes: Path = PROCESSES

    ends = False

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any], option: str) -> NotConnected:
        """The gate that a definition describes.

        :raises BadInput: naming the key and what is expected.
        """
        refuse_unknown(definition, KEYS, option)
        host = definition.get("host") or ""
        if not isinstance(host, str):
            raise BadInput(
                f"{option}.host: expected the inventory's name of the machine whose ports these are"
            )
        return cls(
            on=host,
            ports=_ports(definition.get("ports"), f"{option}.ports"),
            spared=_networks(definition.get("except") or [], f"{option}.except"),
            option=option,
        )

    def closed(self, context: Context, document: Optional[Document]) -> List[str]:
        """Who is connected.

        :raises Unreachable: the kernel's tables cannot be read.
        """
        found: Set[Socket] = set()
        for _reading in range(READINGS):
            # Without IPv6 there is no table of it.
            found |= sockets(self._read("tcp"), self.ports)
            found |= sockets(self._read("tcp6", may_lack=True), self.ports)
        where = self.on or "this machine"
        hidden = sorted(self._forwarded() & {*self.ports})
        return sentences(found, self.ports, self.spared, where) + [
            f"port {port} of {where} is a container's, whose connections the machine does not see: ask this gate in the container"
            for port in hidden
        ]

    def _forwarded(self) -> Set[int]:
        found = map(_arguments, self.processes.glob("[0-9]*/cmdline"))
        return {forwarded(arguments) for arguments in found}

    def _read(self, name: str, may_lack: bool = False) -> str:
        try:
            return (self.tables / name).read_text()
        except OSError as error:
            if may_lack and isinstance(error, FileNotFoundError):
                return ""
            raise Unreachable(
                f"{self.tables / name} of {self.on or 'this machine'} cannot be read ({error.strerror}), so whether somebody is "
                "connected is not known"
            ) from None
