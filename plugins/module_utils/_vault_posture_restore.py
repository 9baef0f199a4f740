# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away Vault server that a snapshot is restored into, shut in so that it reaches nothing (``_vault_posture_jail``).

A server of its own is initialised, the snapshot is put in by force, and then it is sealed with the key of the snapshot: only
the shares of the Vault that the snapshot is of open it (``sys/storage/raft/snapshot-force``). It forgets none of its own
numbers then, so it is initialised with as many shares as that Vault has. Vault takes some 6 s for a restore of any size.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from contextlib import suppress
from typing import Any, BinaryIO, Callable, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_jail import WORK, Jail

_SOCKET, _CONFIG = "api.sock", "server.json"
_POLL = 0.05
# Also inside of its own network a cluster address is asked for; nobody else is there.
_SETTINGS: Mapping[str, Any] = {
    "storage": {
        "raft": {"path": f"{WORK}/data", "node_id": "restored", "performance_multiplier": "1"}
    },
    "listener": [
        {"unix": {"address": f"{WORK}/{_SOCKET}", "socket_mode": "0600"}},
        {
            "tcp": {
                "address": "127.0.0.1:8200",
                "cluster_address": "127.0.0.1:8201",
                "tls_disable": True,
            }
        },
    ],
    "api_addr": "http://127.0.0.1:8200",
    "cluster_addr": "https://127.0.0.1:8201",
    "disable_mlock": True,
}

Answer = Tuple[int, Mapping[str, Any]]


class _Connection(http.client.HTTPConnection):
    """HTTP through a socket in a directory that is open already: its path may be longer than a socket's may."""

    def __init__(self, directory: int, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._directory = directory

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(f"/proc/self/fd/{self._directory}/{_SOCKET}")


class RestoredVault:
    """The server, from its start to its end.

    :param place: a private directory.
    :param program: a ``vault`` or ``bao`` program.
    :param seconds: how long all of it may take.
    """

    def __init__(self, place: str, program: str, seconds: float) -> None:
        self._jail = Jail(place, program)
        self._end = time.monotonic() + seconds
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._directory = -1

    def start(self) -> RestoredVault:
        """Start it; returns itself.

        :raises Unreachable: where it cannot be shut in; it was not started then.
        """
        os.makedirs(os.path.join(self._jail.work, "data"), mode=0o700)
        self._directory = os.open(self._jail.work, os.O_RDONLY | os.O_DIRECTORY)
        with open(os.path.join(self._jail.work, _CONFIG), "w", encoding="utf-8") as file:
            json.dump(_SETTINGS, file)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        log = os.open(os.path.join(self._jail.work, "log"), flags, 0o600)
        try:
            self._process = self._jail.start(["server", f"-config={WORK}/{_CONFIG}"], log)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(log)
        return self

    def close(self) -> None:
        """End it. Its directory is its caller's to remove."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def ask(
        self, method: str, path: str, body: Any = None, token: Optional[Secret] = None
    ) -> Answer:
        """Call its API.

        :param body: for JSON, or an open file.
        :raises OSError, http.client.HTTPException: when there is no answer.
        """
        left = max(0.1, self._end - time.monotonic())
        connection = _Connection(self._directory, left)
        try:
            data = body if body is None or hasattr(body, "read") else json.dumps(body).encode()
            headers = {"X-Vault-Token": token.reveal()} if token else {}
            connection.request(method, f"/v1/{path}", data, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else {}
        except ValueError:
            return 0, {}
        finally:
            connection.close()

    def _until(self, what: str, true: Callable[[], bool]) -> None:
        while not true():
            if self._process is not None and self._process.poll() is not None:
                raise Unreachable(
                    f"the throw-away server ended while it was to {what}; try the program by hand: "
                    f"{os.path.basename(self._jail.program)} server -dev"
                )
            if time.monotonic() >= self._end:
                raise Unreachable(
                    f"the throw-away server did not {what} in time; raise restore_timeout"
                )
            time.sleep(_POLL)

    def _seal(self) -> Mapping[str, Any]:
        with suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "sys/seal-status")[1]
        return {}

    def _serves(self) -> bool:
        """Whether it answers by itself: at first it would pass requests on to the leader that the snapshot names."""
        with suppress(OSError, http.client.HTTPException):
            asked = self.ask("GET", "sys/health")[0], self.ask("GET", "auth/token/lookup-self")[0]
            return asked in ((200, 200), (200, 403))
        return False

    def restore(self, snapshot: BinaryIO, threshold: int, total: int) -> None:
        """Make it a server with the content of the snapshot, sealed.

        :param threshold: how many shares open the Vault that the snapshot is of.
        :raises Unreachable, BadInput: naming the step that failed.
        """
        self._until("start", lambda: bool(self._seal()))
        wish = {"secret_shares": total, "secret_threshold": threshold}
        made = self._made("be initialised", self.ask("PUT", "sys/init", wish))
        for key in made["keys"][:threshold]:
            self.ask("PUT", "sys/unseal", {"key": key})
        self._until("serve", self._serves)
        own = Secret(str(made["root_token"]))
        self._made(
            "take the snapshot", self.ask("PUT", "sys/storage/raft/snapshot-force", snapshot, own)
        )
        self._until(
            "be sealed with the key of the snapshot", lambda: self._seal().get("sealed") is True
        )

    def _made(self, what: str, answer: Answer) -> Mapping[str, Any]:
        if answer[0] not in (200, 204):
            raise BadInput(f"the throw-away server did not {what} (status {answer[0]})")
        return answer[1]

    def unseal(self, shares: Sequence[Secret]) -> None:
        """Open it with the shares.

        :raises BadInput: when they do not open it.
        """
        for share in shares:
            status, _answer = self.ask("PUT", "sys/unseal", {"key": share.reveal()})
            if status != 200:
                raise BadInput(
                    "the shares do not open the snapshot: they are of another key, or one is wrong"
                )
        self._until("serve what was restored", self._serves)


def failed(error: Exception) -> str:
    """What to tell of an error; the text of one that is not this collection's is left out."""
    return error.message if isinstance(error, KeyturnError) else type(error).__name__
