# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong between here and a store, and at the store: one table for all backends."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime

import fault_proxy as harm
from backends import Backend, KubernetesBackend, VaultBackend
from fault_proxy import Asked, Exchange, Fault, FaultProxy

DONE, ABSENT = "done", "absent"
UNREACHABLE, DENIED, SEALED = "Unreachable", "Denied", "Sealed"
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
    """One backend behind a proxy."""

    backend: Backend
    proxy: FaultProxy


Arrange = Callable[[Bench], None]


@dataclass(frozen=True)
class Case:
    """One thing that goes wrong.

    :param name: as tables have it.
    :param arrange: makes it so.
    :param read: what a read may end as.
    :param write: what a write may end as.
    :param only: the kinds of backend that know it; none for all that have a server.
    :param tls: which certificate the proxy shows, as ``wrong CA``; empty for none where the backend speaks plain HTTP.
    """

    name: str
    arrange: Arrange
    read: tuple[str, ...]
    write: tuple[str, ...]
    only: tuple[str, ...] = ()
    tls: str = ""


def _is_write(asked: Asked) -> bool:
    return asked.writes


def _is_read(asked: Asked) -> bool:
    return not asked.writes


def _always(act: harm.Act) -> Arrange:
    return lambda bench: bench.proxy.faults.append(Fault(act))


def _once(act: harm.Act) -> Arrange:
    """At the first request, and where that only asked something at the first one that writes."""

    def arrange(bench: Bench) -> None:
        bench.proxy.faults += [Fault(act, _is_read, 1), Fault(act, _is_write, 1)]

    return arrange


def _writes(act: harm.Act, times: int | None = 1) -> Arrange:
    return lambda bench: bench.proxy.faults.append(Fault(act, _is_write, times))


def _reads(act: harm.Act) -> Arrange:
    return lambda bench: bench.proxy.faults.append(Fault(act, _is_read))


def _no_listener(bench: Bench) -> None:
    bench.proxy.stop()


def _back_soon(bench: Bench) -> None:
    bench.proxy.stop()

    def later() -> None:
        time.sleep(0.7)
        bench.proxy.restart()

    threading.Thread(target=later, daemon=True).start()


def _throttled(retry_after: bool) -> harm.Act:
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


def _failing(status: int) -> harm.Act:
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


def _done_and_failing(exchange: Exchange) -> None:
    exchange.forward()
    _failing(500)(exchange)


def _redirected(exchange: Exchange) -> None:
    upstream = exchange._handler.server.proxy.upstream
    scheme = "https" if upstream.tls else "http"
    where = f"{scheme}://{upstream.host}:{upstream.port}{exchange.asked.path}"
    harm.said(307, b"", Location=where)(exchange)


def _skewed(exchange: Exchange) -> None:
    answer = exchange.forward()
    for name in answer.headers:
        if name.lower() == "date":
            told = parsedate_to_datetime(answer.headers[name])
            answer.headers[name] = format_datetime(told + timedelta(hours=1), usegmt=True)
    exchange.reply(answer)


def _clock_refused(exchange: Exchange) -> None:
    """AWS refuses what was signed by a clock that is wrong by more than five minutes."""
    now = datetime.now(timezone.utc)
    text = f"Signature expired: {now:%Y%m%dT%H%M%SZ} is now earlier than {now:%Y%m%dT%H%M%SZ}"
    body = json.dumps({"__type": "InvalidSignatureException", "message": text})
    harm.said(400, body.encode())(exchange)


def _aws_says(code: str) -> harm.Act:
    return harm.said(400, json.dumps({"__type": code, "message": "not you"}).encode())


def _page(status: int) -> harm.Act:
    return harm.said(status, b"<html>Please log in first</html>", Content_Type="text/html")


def _with_policy(data: str, metadata: str = "") -> Arrange:
    """Go on with a token of Vault that has these capabilities only."""

    def arrange(bench: Bench) -> None:
        backend = bench.backend
        assert isinstance(backend, VaultBackend)
        rules = f'path "{backend.mount}/data/*" {{ capabilities = [{data}] }}'
        if metadata:
            rules += f' path "{backend.mount}/metadata/*" {{ capabilities = [{metadata}] }}'
        backend.environ["VAULT_TOKEN"] = backend.server.token(rules)

    return arrange


def _expired_token(bench: Bench) -> None:
    backend = bench.backend
    assert isinstance(backend, VaultBackend)
    made = backend.server.request("POST", "auth/token/create", {"ttl": "1s", "policies": ["root"]})
    backend.environ["VAULT_TOKEN"] = made["auth"]["client_token"]
    time.sleep(1.3)


def _revoked_token(bench: Bench) -> None:
    backend = bench.backend
    assert isinstance(backend, VaultBackend)
    token = backend.server.request("POST", "auth/token/create", {})["auth"]["client_token"]
    backend.server.request("POST", "auth/token/revoke", {"token": token})
    backend.environ["VAULT_TOKEN"] = token


def _sealed(bench: Bench) -> None:
    assert isinstance(bench.backend, VaultBackend)
    bench.backend.server.seal()


def _as_user(user: str) -> Arrange:
    def arrange(bench: Bench) -> None:
        assert isinstance(bench.backend, KubernetesBackend)
        bench.backend.act_as(user)

    return arrange


def _silent_after_write(bench: Bench) -> None:
    """The write is done, and from then on nothing is answered: whether it was done cannot be known now."""
    written = threading.Event()

    def act(exchange: Exchange) -> None:
        harm.lost(exchange)
        written.set()

    bench.proxy.faults += [
        Fault(harm.reset, lambda _asked: written.is_set()),
        Fault(act, _is_write, 1),
    ]


VAULT, SSM, SECRETS, KUBERNETES = "Vault", "SSM", "Secrets Manager", "Kubernetes"
_MAYBE = (DONE, UNREACHABLE)
_NOT = (UNREACHABLE,)
_NO = (DENIED,)
_OK = (DONE,)

CASES: tuple[Case, ...] = (
    Case("nothing", lambda _bench: None, _OK, _OK),
    Case("connection refused", _no_listener, _NOT, _NOT),
    Case("gone for 0.7 s", _back_soon, _MAYBE, _MAYBE),
    Case("reset, always", _always(harm.reset), _NOT, _NOT),
    Case("reset, once", _once(harm.reset), _MAYBE, _MAYBE),
    Case("reset in mid-reply, always", _always(harm.reset_in_reply), _NOT, _NOT),
    Case("reset in mid-reply, once", _once(harm.reset_in_reply), _MAYBE, _MAYBE),
    Case("reply lost after the write", _writes(harm.lost), _OK, _OK),
    Case("replies lost after all writes", _writes(harm.lost, None), _OK, _MAYBE),
    Case("all lost after the write", _silent_after_write, _OK, _NOT),
    Case("slow", _always(harm.slow(0.15)), _OK, _OK),
    Case("no reply, always", _always(harm.hang), _NOT, _NOT),
    Case("no reply, once", _once(harm.hang), _MAYBE, _MAYBE),
    Case("done and no reply", _writes(harm.done_and_hang), _OK, _MAYBE),
    Case("throttled once, Retry-After", _once(_throttled(True)), _OK, _OK),
    Case("throttled once", _once(_throttled(False)), _OK, _OK),
    Case("throttled always, Retry-After", _always(_throttled(True)), _NOT, _NOT),
    Case("throttled always", _always(_throttled(False)), _NOT, _NOT),
    Case("500 once", _once(_failing(500)), _OK, _MAYBE),
    Case("500 always", _always(_failing(500)), _NOT, _NOT),
    Case("500 although done", _writes(_done_and_failing), _OK, _MAYBE),
    Case("502 once", _once(_failing(502)), _OK, _MAYBE),
    Case("502 always", _always(_failing(502)), _NOT, _NOT),
    Case("503 once", _once(_failing(503)), _OK, _MAYBE),
    Case("503 always", _always(_failing(503)), _NOT, _NOT),
    Case("sealed", _sealed, (SEALED,), (SEALED,), only=(VAULT,)),
    Case("redirect of a standby", _always(_redirected), _OK, _OK, only=(VAULT,)),
    Case("redirect", _always(_redirected), _NOT, _NOT, only=(SSM, SECRETS, KUBERNETES)),
    Case("token expired", _expired_token, _NO, _NO, only=(VAULT,)),
    Case("token revoked", _revoked_token, _NO, _NO, only=(VAULT,)),
    Case(
        "token expired", _always(_aws_says("ExpiredTokenException")), _NO, _NO, only=(SSM, SECRETS)
    ),
    Case(
        "token revoked",
        _always(_aws_says("UnrecognizedClientException")),
        _NO,
        _NO,
        only=(SSM, SECRETS),
    ),
    Case("token unknown", _as_user("unknown"), _NO, _NO, only=(KUBERNETES,)),
    # A write of a keyring goes by the version that was read before.
    Case("403 on reads", _with_policy('"create", "update"'), _NO, (DONE, DENIED), only=(VAULT,)),
    Case("403 on writes", _with_policy('"read"'), _OK, _NO, only=(VAULT,)),
    Case("403 on metadata", _with_policy('"create", "read", "update"'), _OK, _OK, only=(VAULT,)),
    Case("403 on reads", _reads(_aws_says("AccessDeniedException")), _NO, _NO, only=(SSM,)),
    Case(
        "403 on reads",
        _reads(_aws_says("AccessDeniedException")),
        _NO,
        (DONE, DENIED),
        only=(SECRETS,),
    ),
    Case(
        "403 on writes",
        _writes(_aws_says("AccessDeniedException"), None),
        _OK,
        _NO,
        only=(SSM, SECRETS),
    ),
    Case("403 on reads", _as_user("stranger"), _NO, _NO, only=(KUBERNETES,)),
    Case("403 on writes", _as_user("reader"), _OK, _NO, only=(KUBERNETES,)),
    Case("malformed JSON once", _once(harm.malformed), _MAYBE, _MAYBE),
    Case("malformed JSON always", _always(harm.malformed), _NOT, _NOT),
    Case("truncated body once", _once(harm.truncated), _MAYBE, _MAYBE),
    Case("truncated body always", _always(harm.truncated), _NOT, _NOT),
    Case("a proxy's page with 200", _always(_page(200)), _NOT, _NOT),
    Case("a proxy's page with 404", _always(_page(404)), _NOT, _NOT),
    Case(
        "a proxy's page with 403", _always(_page(403)), (UNREACHABLE, DENIED), (UNREACHABLE, DENIED)
    ),
    Case("TLS, right", lambda _bench: None, _OK, _OK, tls="right"),
    Case("TLS, wrong CA", lambda _bench: None, _NOT, _NOT, tls="wrong CA"),
    Case("TLS, expired", lambda _bench: None, _NOT, _NOT, tls="expired"),
    Case("TLS, wrong name", lambda _bench: None, _NOT, _NOT, tls="wrong name"),
    Case("the server's clock an hour ahead", _always(_skewed), _OK, _OK),
    Case("clock skew refused", _always(_clock_refused), _NO, _NO, only=(SSM, SECRETS)),
)


def cases_of(kind: str) -> list[Case]:
    """Those that a kind of backend knows."""
    return [case for case in CASES if not case.only or kind in case.only]
