# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who publishes on a real ingest, by its statistics page; and what is said when the page is not to be had."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._rtmp_stat import (
    Publisher,
    read_publishers,
)
from estate.processes import wait_until
from ingest import Ingest, new_key
from machines import required
from publisher import Publisher as Live
from publisher import silent_server


def read(url: str, *applications: str) -> tuple[Publisher, ...]:
    return read_publishers(url, 2.0, "received.stat", applications)


def test_a_real_publisher_is_seen_and_nobody_where_there_is_none(scratch: Path) -> None:
    key = new_key()
    with required(), Ingest(scratch, ("live", "test")) as ingest:
        ingest.allow(key)
        assert read(ingest.stat_url) == ()
        with Live(ingest, key):
            wait_until(lambda: bool(read(ingest.stat_url)[0].width), 10, "the picture's size")
            (found,) = read(ingest.stat_url, "live")
            assert found.name.reveal() == key and found.publishing
            assert (found.address, found.width, found.height) == ("127.0.0.1", 160, 90)
            assert found.bytes_in > 0 and 0 < found.seconds < 20
            assert read(ingest.stat_url, "test") == ()
            wait_until(
                lambda: read(ingest.stat_url)[0].bytes_in > found.bytes_in, 10, "further bytes"
            )
        assert read(ingest.stat_url) == ()
        with pytest.raises(Absent, match="no application 'nothing'; it has live, test"):
            read(ingest.stat_url, "nothing")
        with pytest.raises(Absent, match="no statistics page at this path"):
            read(ingest.stat_url.replace("/stat", "/none"))
        ingest.stop()
        with pytest.raises(Unreachable, match="nothing listens there; whether somebody publishes"):
            read(ingest.stat_url)


@contextmanager
def pages(status: int, body: str = "") -> Iterator[str]:
    """A server with such a page; ``{number}`` in it is another one each time."""
    numbers = count()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.replace("{number}", str(next(numbers))).encode())

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/stat?token=hidden"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (200, "<html/>", Unreachable, "no page of nginx-rtmp's statistics"),
        (200, " " * (1 << 20), Unreachable, "longer than"),
        (200, "<rtmp><pid>{number}</pid><server/></rtmp>", Unreachable, "several worker processes"),
        (401, "", Denied, "may not be read from here"),
        (403, "", Denied, "may not be read from here"),
        (404, "", Absent, "no statistics page"),
        (502, "", Unreachable, "status 502"),
    ],
)
def test_what_is_no_answer_is_not_read_as_nobody(
    status: int, body: str, kind: type[Exception], told: str
) -> None:
    with pages(status, body) as url, pytest.raises(kind, match=told) as caught:
        read(url)
    assert str(caught.value).startswith("received.stat (http://127.0.0.1:")
    assert "hidden" not in str(caught.value)


def test_a_server_that_says_nothing_is_waited_for_a_while() -> None:
    with silent_server() as port, pytest.raises(Unreachable, match="no answer in time"):
        read_publishers(f"http://127.0.0.1:{port}/stat", 0.5)


def test_an_address_with_a_password_is_refused() -> None:
    with pytest.raises(BadInput, match=r"received\.stat: the address holds a user name"):
        read("http://reader:word@127.0.0.1/stat")
