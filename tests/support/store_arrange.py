# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How it is arranged that something goes wrong between here and a store, or at the store."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

import fault_proxy as harm
from backends import Backend, KubernetesBackend, VaultBackend
from fault_proxy import Asked, Exchange, Fault, FaultProxy
from k8s_tokens import Account

WRITING_TARGETS = (
    "Put",
    "Create",
    "Update",
    "Delete",
    "Label",
    "Unlabel",
    "AddTags",
    "Tag",
    "Cancel",
)
_QUESTIONS = (
    "/sys/capabilities-self",
    "/login",
    "/selfsubjectaccessreviews",
    "/sys/wrapping/unwrap",
)


def is_write(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Whether a request changes something, as each of the services writes requests."""
    target = headers.get("X-Amz-Target", "")
    if target:
        return target.rpartition(".")[2].startswith(WRITING_TARGETS)
    asks = path.partition("?")[0].endswith(_QUESTIONS)
    return method in ("POST", "PUT", "PATCH", "DELETE") and not asks


@dataclass
class Bench:
    """One backend behind a proxy.

    :ivar hidden: what else must never show.
    :ivar left: tokens that a login left behind: the task never heard of them.
    :ivar due: faults that must have been met at the end, or nothing was tried.
    """

    backend: Backend
    proxy: FaultProxy
    hidden: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    due: list[Fault] = field(default_factory=list)


Arrange = Callable[[Bench], None]


def _is_write(asked: Asked) -> bool:
    return asked.writes


def _is_read(asked: Asked) -> bool:
    return not asked.writes


def nothing(_bench: Bench) -> None:
    """All is well."""


def always(act: harm.Act) -> Arrange:
    return lambda bench: bench.proxy.faults.append(Fault(act))


def once(act: harm.Act) -> Arrange:
    """At the first request, and where that only asked something at the first one that writes."""

    def arrange(bench: Bench) -> None:
        bench.proxy.faults += [Fault(act, _is_read, 1), Fault(act, _is_write, 1)]

    return arrange


def writes(act: harm.Act, times: int | None = 1) -> Arrange:
    return lambda bench: bench.proxy.faults.append(Fault(act, _is_write, times))


def reads(act: harm.Act) -> Arrange:
    return lambda bench: bench.proxy.faults.append(Fault(act, _is_read))


def no_listener(bench: Bench) -> None:
    bench.proxy.stop()


def back_soon(bench: Bench) -> None:
    bench.proxy.stop()

    def later() -> None:
        time.sleep(0.7)
        bench.proxy.restart()

    threading.Thread(target=later, daemon=True).start()


def throttled(retry_after: bool) -> harm.Act:
    """As each service says it: Vault's rate quota, AWS's documented error, Kubernetes's priority and fairness."""

    def act(exchange: Exchange) -> None:
        headers = {"Retry-After": "1"} if retry_after else {}
        if "X-Amz-Target" in exchange.asked.headers:
            body = {"__type": "ThrottlingException", "message": "Rate exceeded"}
            harm.said(400, json.dumps(body).encode(), **headers)(exchange)
        elif exchange.asked.path.startswith("/v1/"):
            harm.said(429, b'{"errors": ["rate limit quota exceeded"]}', **headers)(exchange)
        else:
            status = {
                "kind": "Status",
                "status": "Failure",
                "code": 429,
                "reason": "TooManyRequests",
            }
            harm.said(429, json.dumps(status).encode(), **headers)(exchange)

    return act


def failing(status: int) -> harm.Act:
    """A server's own trouble, as it says it, or as the balancer before it does."""

    def act(exchange: Exchange) -> None:
        if "X-Amz-Target" in exchange.asked.headers and status == 500:
            body = {"__type": "InternalServerError", "message": "An error occurred."}
            harm.said(500, json.dumps(body).encode())(exchange)
        elif status == 500:
            harm.said(500, b'{"errors": ["internal error"], "kind": "Status", "code": 500}')(
                exchange
            )
        else:
            harm.said(status, b"<html>Bad gateway</html>", Content_Type="text/html")(exchange)

    return act


def done_and_failing(exchange: Exchange) -> None:
    exchange.forward()
    failing(500)(exchange)


def redirected(exchange: Exchange) -> None:
    upstream = exchange._handler.server.proxy.upstream
    scheme = "https" if upstream.tls else "http"
    where = f"{scheme}://{upstream.host}:{upstream.port}{exchange.asked.path}"
    harm.said(307, b"", Location=where)(exchange)


def skewed(exchange: Exchange) -> None:
    answer = exchange.forward()
    for name in answer.headers:
        if name.lower() == "date":
            told = parsedate_to_datetime(answer.headers[name])
            answer.headers[name] = format_datetime(told + timedelta(hours=1), usegmt=True)
    exchange.reply(answer)


def clock_refused(exchange: Exchange) -> None:
    """AWS refuses what was signed by a clock that is wrong by more than five minutes."""
    now = datetime.now(timezone.utc)
    text = f"Signature expired: {now:%Y%m%dT%H%M%SZ} is now earlier than {now:%Y%m%dT%H%M%SZ}"
    body = json.dumps({"__type": "InvalidSignatureException", "message": text})
    harm.said(400, body.encode())(exchange)


def aws_says(code: str) -> harm.Act:
    return harm.said(400, json.dumps({"__type": code, "message": "not you"}).encode())


def page(status: int) -> harm.Act:
    return harm.said(status, b"<html>Please log in first</html>", Content_Type="text/html")


def with_policy(data: str, metadata: str = "") -> Arrange:
    """Go on as somebody at Vault who has these capabilities only."""

    def arrange(bench: Bench) -> None:
        backend = bench.backend
        assert isinstance(backend, VaultBackend)
        rules = f'path "{backend.mount}/data/*" {{ capabilities = [{data}] }}'
        if metadata:
            rules += f' path "{backend.mount}/metadata/*" {{ capabilities = [{metadata}] }}'
        backend.restrict(rules)

    return arrange


def expired_token(bench: Bench) -> None:
    backend = bench.backend
    assert isinstance(backend, VaultBackend)
    made = backend.server.request("POST", "auth/token/create", {"ttl": "1s", "policies": ["root"]})
    backend.environ["VAULT_TOKEN"] = made["auth"]["client_token"]
    time.sleep(1.3)


def revoked_token(bench: Bench) -> None:
    backend = bench.backend
    assert isinstance(backend, VaultBackend)
    token = backend.server.request("POST", "auth/token/create", {})["auth"]["client_token"]
    backend.server.request("POST", "auth/token/revoke", {"token": token})
    backend.environ["VAULT_TOKEN"] = token


def as_user(user: str) -> Arrange:
    def arrange(bench: Bench) -> None:
        assert isinstance(bench.backend, KubernetesBackend)
        bench.backend.act_as(user)

    return arrange


def as_account(token_of: Callable[[Account], str]) -> Arrange:
    """Go on with a token of a service account of Kubernetes that may do all that is needed."""

    def arrange(bench: Bench) -> None:
        backend = bench.backend
        assert isinstance(backend, KubernetesBackend)
        verbs = ("get", "create", "update")
        _use_token(bench, token_of(Account(backend.server, backend.namespace, "writer", verbs)))

    return arrange


def _use_token(bench: Bench, token: str) -> None:
    usual = Path(bench.backend.environ["KUBECONFIG"])
    config = json.loads(usual.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token}
    path = usual.with_name("kubeconfig-of-an-account")
    path.touch(mode=0o600)
    path.write_text(json.dumps(config), encoding="utf-8")
    bench.backend.environ["KUBECONFIG"] = str(path)
    bench.hidden.append(token)


_ABOUT = (
    *("DescribeParameters", "GetParameterHistory", "ListTagsForResource"),
    *("DescribeSecret", "ListSecretVersionIds", "ListSecrets", "GetResourcePolicy"),
)
"""What tells of a parameter or a secret, and not its value."""


def no_metadata(bench: Bench) -> None:
    """Values may be read and written, and nothing may be asked about what holds them."""
    if isinstance(bench.backend, KubernetesBackend):
        as_account(Account.token)(bench)
        refused = {"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden"}
        act = harm.said(403, json.dumps(refused).encode())
        bench.proxy.faults.append(Fault(act, lambda asked: "/secrets" not in asked.path))
        return

    def asks(asked: Asked) -> bool:
        return asked.headers.get("X-Amz-Target", "").endswith(_ABOUT)

    bench.proxy.faults.append(Fault(aws_says("AccessDeniedException"), asks))


def silent_after_write(bench: Bench) -> None:
    """The write is done, and from then on nothing is answered: whether it was done cannot be known now."""
    written = threading.Event()

    def act(exchange: Exchange) -> None:
        harm.lost(exchange)
        written.set()

    bench.proxy.faults += [
        Fault(harm.reset, lambda _asked: written.is_set()),
        Fault(act, _is_write, 1),
    ]
