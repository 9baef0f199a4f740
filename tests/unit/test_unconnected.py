# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why there was no connection, read from what each library raises for a real one that did not come about."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pytest
import requests
import urllib3
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws_errors import explain
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_errors import unanswered
from ansible_collections.keyturn.runbooks.plugins.module_utils._unconnected import unconnected
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_errors import unreachable
from vault_world import closed_port

Ask = Callable[[str], object]


def with_requests(url: str) -> object:
    """As hvac does."""
    session = requests.Session()
    session.trust_env = False
    return session.get(url, timeout=0.2)


def with_urllib3(url: str) -> object:
    """As the Kubernetes client does."""
    pool = urllib3.PoolManager()
    return pool.request("GET", url, timeout=0.2, retries=False)


def with_botocore(url: str) -> object:
    """As boto3 does."""
    tries = botocore.config.Config(
        connect_timeout=0.2, retries={"total_max_attempts": 1}, proxies={}
    )
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    client = boto3.client("ssm", region_name="eu-west-1", endpoint_url=url, config=tries, **keys)
    return client.describe_parameters()


@contextlib.contextmanager
def full() -> Iterator[str]:
    """A port that takes no further connection, and does not say so."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _number in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """A port at which nobody listens."""
    yield f"http://127.0.0.1:{closed_port()}"


@contextlib.contextmanager
def unknown() -> Iterator[str]:
    """A name that nobody can have (RFC 6761)."""
    yield "http://vault.invalid:8200"


@contextlib.contextmanager
def closing() -> Iterator[str]:
    """A server that takes a request and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _address = listener.accept()
        with connection:
            connection.recv(1 << 16)

    served = threading.Thread(target=serve)
    served.start()
    with listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    served.join()


def caught(ask: Ask, url: str) -> Exception:
    """What it raises."""
    known = (
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        botocore.exceptions.BotoCoreError,
    )
    with pytest.raises(known) as error:
        ask(url)
    return error.value


@pytest.mark.parametrize("ask", [with_requests, with_urllib3, with_botocore])
@pytest.mark.parametrize(
    ("place", "why"),
    [
        (refusing, "it was refused; see whether Vault runs there"),
        (unknown, "its name is not known on this machine"),
        (full, "it did not come about in time"),
    ],
    ids=["refused", "no such name", "not in time"],
)
def test_each_library(ask: Ask, place: Any, why: str) -> None:
    with place() as url:
        told = unconnected(caught(ask, url), "Vault")
    assert told.startswith(f": {why}")
    assert url not in told


def test_a_proxy_is_named() -> None:
    proxy = f"http://127.0.0.1:{closed_port()}"

    def ask(url: str) -> object:
        return requests.get(url, timeout=1, proxies={"http": proxy})

    error = caught(ask, "http://127.0.0.1:1")
    told = unconnected(error, "Vault")
    assert told.startswith(
        " through the proxy (an option, HTTPS_PROXY, NO_PROXY): it was refused; see whether the proxy"
    )
    message = unreachable(error, "here", "http://vault").message
    assert message == f"here: no connection to http://vault{told}"


def test_a_machine_without_a_way_and_what_nobody_knows() -> None:
    gone = OSError(errno.ENETUNREACH, "quoted text")
    assert unconnected(gone, "Vault").startswith(": there is no way to it from this machine")
    told = unconnected(Exception("quoted text"), "Vault")
    assert told.startswith(": see whether Vault runs there") and "quoted" not in told


def test_aws_says_it() -> None:
    with refusing() as url:
        told = explain(caught(with_botocore, url), "keyring", "ssm:GetParameter").message
    assert told.startswith("keyring: no connection: it was refused; see whether the endpoint of")


def test_a_connection_that_ended_was_one() -> None:
    with closing() as url:
        vault = unreachable(caught(with_requests, url), "keyring", url).message
    with closing() as url:
        kubernetes = unanswered(caught(with_urllib3, url), "keyring").message
    assert "the connection to" in vault and "ended without an answer" in vault
    assert kubernetes.startswith("keyring: the connection ended without an answer; see Kubernetes")


def test_vault_and_kubernetes_say_it() -> None:
    with refusing() as url:
        vault = unreachable(caught(with_requests, url), "keyring", url).message
        kubernetes = unanswered(caught(with_urllib3, url), "keyring").message
    refused = "it was refused; see whether {} runs there and listens at that port"
    assert vault == f"keyring: no connection to {url}: {refused.format('Vault')}"
    assert kubernetes == f"keyring: no connection: {refused.format('Kubernetes')}"
    with full() as url:
        vault = unreachable(caught(with_requests, url), "keyring", url).message
        kubernetes = unanswered(caught(with_urllib3, url), "keyring").message
    assert vault.startswith(f"keyring: no connection to {url}: it did not come about in time")
    assert kubernetes.startswith("keyring: no connection: it did not come about in time")
