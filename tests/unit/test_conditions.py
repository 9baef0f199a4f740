# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential's own gates: what can be meant, and that what cannot be found out closes one."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions import (
    closed,
    read_conditions,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions._not_connected import (
    NotConnected,
    forwarded,
    peer,
    sentences,
    sockets,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Corrupt,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._gate import MODULE as GATE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import prepared
from ansible_collections.keyturn.runbooks.plugins.module_utils._rtmp_stat import READINGS

CONTEXT = Context()


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ("live", r"keyturn_gates\[0\]\.type: missing; expected one of not_connected, not_publishing"),
        ({"type": "offline"}, r"keyturn_gates\[0\]\.type: 'offline' is unknown"),
        ({"type": "reachable", "port": 1935}, r"keyturn_gates\[0\]\.host: expected a host"),
        ({"type": "reachable", "host": "a", "port": 0}, r"keyturn_gates\[0\]\.port: expected a number"),
        ({"type": "reachable", "host": "a", "port": 1, "timeout": 0}, r"keyturn_gates\[0\]\.timeout"),
        ({"type": "reachable", "host": "a", "prot": 1}, r"keyturn_gates\[0\]: unknown key prot"),
        ({"type": "not_connected"}, r"keyturn_gates\[0\]\.ports: expected a list of numbers"),
        ({"type": "not_connected", "ports": [0]}, r"keyturn_gates\[0\]\.ports: expected a list of numbers"),
        ({"type": "not_connected", "ports": ["\u00b2"]}, r"keyturn_gates\[0\]\.ports: expected a list of numbers"),
        ({"type": "not_connected", "ports": [1], "except": ["192.0.2.7/8"]}, r"\[0\]\.except: .*192.0.2.0/24 and not 192.0.2.7/24"),
        ({"type": "not_connected", "ports": [1], "except": ["0.0.0.0/0"]}, r"keyturn_gates\[0\]\.except: .*all addresses"),
        ({"type": "not_connected", "ports": [1], "host": 1}, r"keyturn_gates\[0\]\.host: expected the inventory's name"),
        ({"type": "not_connected", "ports": [1], "except": ["relay1"]}, r"\[0\]\.except: .*Names are not looked up"),
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


# As a kernel of a machine with small ends writes them: a listener, two peers of it, one that has hung up, and the other end of one.
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TABLE = "".join(
    f"   {number}: {words} 00000000:00000000 00:00000000 00000000     0        0 12 1 0\n"
    for number, words in enumerate(
        (
            "00000000:078F 00000000:0000 0A",
            "070200C0:078F 010200C0:C001 01",
            "070200C0:078F 010200C0:C002 01",
            "070200C0:078F 020200C0:C001 08",
            "010200C0:C001 070200C0:078F 01",
        )
    )
)
MAPPED = "0000000000000000FFFF0000{}".format


def test_who_is_connected_by_the_tables_of_the_kernel() -> None:
    found = sockets(HEAD + TABLE, [1935])
    (said,) = sentences(found, [1935], [], "ingest1")
    assert "port 1935 of ingest1 has 2 connections, from 192.0.2.1 (2). " in said
    assert not sentences(found, [1935], [ip_network("192.0.2.0/30")], "ingest1")
    (said,) = sentences(found, [1936], [], "ingest1")
    assert "nothing listens at port 1936 of ingest1" in said
    with pytest.raises(Corrupt, match="not as the kernel writes it"):
        sockets(f"{HEAD}   0: nonsense", [1935])


@pytest.mark.parametrize(
    ("end", "order", "address"),
    [
        ("010200C0:C001", "little", "192.0.2.1"),
        ("C0000201:C001", "big", "192.0.2.1"),
        (f"{MAPPED('010200C0')}:C001", "little", "192.0.2.1"),
        ("B80D0120000000000000000001000000:C001", "little", "2001:db8::1"),
    ],
)
def test_an_address_as_the_kernel_writes_it(end: str, order: str, address: str) -> None:
    assert str(peer(end, order)) == address


def test_a_real_connection_closes_the_gate_and_those_of_other_hosts_are_not_asked_here() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        gate = {"type": "not_connected", "ports": [port]}
        assert closed([gate], CONTEXT) == []
        with socket.create_connection(("127.0.0.1", port)):
            (said,) = closed([gate], CONTEXT)
            assert "1 connection, from 127.0.0.1. " in said
            assert closed([{**gate, "except": ["127.0.0.0/8"]}], CONTEXT) == []
            there = [{**gate, "host": "ingest1"}]
            assert closed(there, CONTEXT) == []
            assert "of ingest1 has 1 connection" in closed(there, CONTEXT, host="ingest1")[0]
        assert closed([gate], CONTEXT) == []


def test_connections_of_ipv6_and_those_of_ipv4_to_its_sockets_count() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        gate = {"type": "not_connected", "ports": [port]}
        assert closed([gate], CONTEXT) == []
        for address in ("::1", "127.0.0.1"):
            with socket.create_connection((address, port)):
                assert f"1 connection, from {address}. " in closed([gate], CONTEXT)[0]


def test_a_port_that_docker_has_for_a_container_closes_the_gate(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        proxy = f"/usr/bin/docker-proxy -proto tcp -host-port {port} -container-port 1935"
        process = tmp_path / "71"
        process.mkdir()
        definition = {"type": "not_connected", "ports": [port], "host": "ingest1"}
        gate = replace(NotConnected.from_definition(definition, "gate"), processes=tmp_path)
        assert gate.closed(CONTEXT, None) == []
        (process / "cmdline").write_text(proxy.replace(" ", "\0") + "\0")
        (said,) = gate.closed(CONTEXT, None)
        assert f"port {port} of ingest1 is a container's" in said
    assert forwarded([b"cat", b"-host-port", b"1935"]) == 0
    assert forwarded([b"docker-proxy", b"-host-port"]) == forwarded([b""]) == 0


def test_a_machine_is_sent_its_own_gates_alone() -> None:
    page = {"type": "not_publishing", "stat": "http://a/", "headers": {"Authorization": "x"}}
    own = {"type": "not_connected", "host": "ingest1", "ports": [1]}
    gates = [page, {**own, "host": "ingest2"}, own]
    assert prepared(GATE, {"gates": gates, "host": "ingest1"}, CONTEXT)["gates"] == [own]
    assert prepared(GATE, {"gates": gates, "host": ""}, CONTEXT)["gates"] == [page]
    for none in ({"gates": gates, "host": "ingset1"}, {"gates": [own], "host": ""}):
        with pytest.raises(BadInput, match=r"there is none .* nothing would be asked"):
            prepared(GATE, none, CONTEXT)


def test_a_kernel_that_shows_no_table_closes_the_gate(tmp_path: Path) -> None:
    gate = NotConnected.from_definition({"type": "not_connected", "ports": [1]}, "gate")
    with pytest.raises(Unreachable, match="whether somebody is connected is not known"):
        replace(gate, tables=tmp_path).closed(CONTEXT, None)
