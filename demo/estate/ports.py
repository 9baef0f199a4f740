# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Free TCP ports on 127.0.0.1, reserved so that two estates on one machine do not take the same one."""

from __future__ import annotations

import errno
import random
import socket
import sys
from collections.abc import Callable

from estate.errors import EstateError

# Below the range that the kernel takes outgoing connections' ports from (32768 and up on Linux).
FIRST, LAST = 20000, 32000


class Port:
    """A reserved port.

    The reservation is a name in the kernel's abstract socket namespace: it ends with the process, leaves no file, and is
    seen by every other process that uses this class. Programs that do not use it are met by trying to bind the port first.

    :param number: the TCP port.
    """

    def __init__(self, number: int, token: socket.socket | None) -> None:
        self.number = number
        self._token = token

    def release(self) -> None:
        """Give the port back."""
        if self._token:
            self._token.close()
            self._token = None


def _token(number: int) -> socket.socket | None:
    """The reservation's socket; none where the system has no abstract namespace.

    :raises OSError: EADDRINUSE when another process holds it.
    """
    if not sys.platform.startswith("linux"):
        return None
    token = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        token.bind(f"\0keyturn-port-{number}")
    except OSError:
        token.close()
        raise
    return token


def is_free(number: int) -> bool:
    """Whether nothing listens on this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True


def reserve(choose: Callable[[int, int], int] | None = None) -> Port:
    """Reserve a free port.

    :param choose: picks a number between two others; at random when it is not given.
    :raises EstateError: when none of a thousand tries is free.
    """
    pick = choose or random.SystemRandom().randint
    for _attempt in range(1000):
        number = pick(FIRST, LAST)
        try:
            token = _token(number)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise
        port = Port(number, token)
        if is_free(number):
            return port
        port.release()
    raise EstateError(f"no free port between {FIRST} and {LAST} on 127.0.0.1")
