# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential's own gates: what can be meant, and that what cannot be found out closes one."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions import (
    closed,
    read_conditions,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._rtmp_stat import READINGS

CONTEXT = Context()


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ("live", r"keyturn_gates\[0\]\.type: missing; expected one of not_publishing, reachable"),
        ({"type": "offline"}, r"keyturn_gates\[0\]\.type: 'offline' is unknown"),
        ({"type": "reachable", "port": 1935}, r"keyturn_gates\[0\]\.host: expected a host"),
        ({"type": "reachable", "host": "a", "port": 0}, r"keyturn_gates\[0\]\.port: expected a number"),
        ({"type": "reachable", "host": "a", "port": 1, "timeout": 0}, r"keyturn_gates\[0\]\.timeout"),
        ({"type": "reachable", "host": "a", "prot": 1}, r"keyturn_gates\[0\]: unknown key prot"),
        ({"type": "not_publishing"}, r"keyturn_gates\[0\]\.stat: this is no address"),
        ({"type": "not_publishing", "stat": "http://u:p@a/"}, r"keyturn_gates\[0\]\.stat: .*user name"),
        ({"type": "not_publishing", "stat": "http://a/", "streams": "mine"}, r"\[0\]\.streams: expected any,"),
        ({"type": "not_publishing", "stat": "http://a/", "headers": "x"}, r"\[0\]\.headers: expected a mapping"),
    ],
)  # fmt: skip
def test_a_wrong_gate(gate: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_conditions([gate])


def test_what_cannot_be_found_out_closes_a_gate_and_every_gate_is_asked() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        gates = [
            {"type": "not_publishing", "stat": f"http://127.0.0.1:{port}/stat"},
            {"type": "reachable", "host": "127.0.0.1", "port": port},
            {"type": "reachable", "host": "no-such-host.invalid", "port": port},
        ]
        first, second, third = closed(gates, CONTEXT)
        assert "whether somebody publishes is not known" in first
        assert f"no connection to 127.0.0.1:{port}: it was refused" in second
        assert "its name is not known" in third
        taken.listen()
        assert closed(gates[1:2], CONTEXT) == []


def test_a_page_of_several_workers_closes_a_gate_however_late_another_one_answers() -> None:
    answers = iter((*[7] * (READINGS - 1), 8))
    taken = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with taken:
                worker = next(answers)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"<rtmp><pid>{worker}</pid><server></server></rtmp>".encode())

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 32

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        gate = {"type": "not_publishing", "stat": f"http://127.0.0.1:{server.server_port}/stat"}
        (said,) = closed([gate], CONTEXT)
        server.shutdown()
    assert "the page comes from several worker processes" in said
