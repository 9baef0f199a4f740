# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why no connection came about: no such name, refused, no way there, or not in time. Each has somebody else to mend it.

The libraries (requests, urllib3, botocore) wrap the error of the operating system in their own, whose texts quote URLs. So only the
kinds of the errors are looked at.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, List, Optional

_NO_WAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)
_PROXY = ("ProxyError", "ProxyConnectionError")


def _chain(error: BaseException) -> List[BaseException]:
    """An error and those that it wraps or that it came from, the nearest first."""
    found: List[BaseException] = []
    left: List[Any] = [error]
    while left:
        one = left.pop(0)
        if isinstance(one, BaseException) and not any(one is known for known in found):
            found.append(one)
            left += [getattr(one, "reason", None), *one.args, one.__cause__, one.__context__]
    return found


def _why(error: BaseException, server: str) -> Optional[str]:
    if isinstance(error, socket.gaierror):
        return "its name is not known on this machine; correct the name, or see to the name service (DNS)"
    if isinstance(error, ConnectionRefusedError):
        return f"it was refused; see whether {server} runs there and listens at that port"
    # Before Python 3.10 the one is not the other; urllib3 raises its own without a cause.
    late = isinstance(error, (socket.timeout, TimeoutError))
    if late or type(error).__name__ == "ConnectTimeoutError":
        return "it did not come about in time; see to the address, and to the network and the firewalls on the way"
    if isinstance(error, OSError) and error.errno in _NO_WAY:
        return "there is no way to it from this machine; see to the address and to the network"
    return None


def unconnected(error: BaseException, server: str) -> str:
    """Why there was no connection and what to do, to be put right after words such as "no connection to http://127.0.0.1:8200".

    :param error: as requests, urllib3 or botocore raise it before anything was sent.
    :param server: what should run there, for people.
    """
    chain = _chain(error)
    proxied = any(type(one).__name__ in _PROXY for one in chain)
    through = " through the proxy (an option, HTTPS_PROXY, NO_PROXY)" if proxied else ""
    there = "the proxy" if proxied else server
    known = (_why(one, there) for one in chain)
    why = next((text for text in known if text), None)
    if why is None:
        why = f"see whether {there} runs there, and to the name, the network and the firewalls on the way"
    return f"{through}: {why}"
