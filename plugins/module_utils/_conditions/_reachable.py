# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate ``reachable``: a port takes a connection from where the rotation runs."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration
from ansible_collections.keyturn.runbooks.plugins.module_utils._unconnected import unconnected

KEYS = ("type", "name", "host", "port", "timeout")


@dataclass(frozen=True)
class Reachable:
    """One address.

    :param seconds: how long a connection may take to come about.
    """

    host: str
    port: int
    seconds: float
    on: str = ""

    ends = False

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any], option: str) -> Reachable:
        """The gate that a definition describes.

        :raises BadInput: naming the key and what is expected.
        """
        refuse_unknown(definition, KEYS, option)
        host, port = definition.get("host"), str(definition.get("port") or "")
        if not isinstance(host, str) or not host:
            raise BadInput(f"{option}.host: expected a host's name or address")
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise BadInput(f"{option}.port: expected a number from 1 to 65535")
        seconds = parse_duration(definition.get("timeout", "5s"), f"{option}.timeout")
        if not seconds:
            raise BadInput(f"{option}.timeout: expected more than 0, such as 5s")
        return cls(host, int(port), seconds.total_seconds())

    def closed(self, context: Context, document: Optional[Document]) -> List[str]:
        """Try one connection, and close it without a word."""
        try:
            socket.create_connection((self.host, self.port), self.seconds).close()
        except OSError as error:
            return [f"no connection to {self.host}:{self.port}{unconnected(error, 'the ingest')}"]
        return []
