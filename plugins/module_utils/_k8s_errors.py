# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer of Kubernetes, or none, means.

Of what Kubernetes says, nothing is passed on but its status: a proxy's page, or the message of a webhook, may hold anything.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Mapping, Optional, Tuple, Type

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_shape import is_status
from ansible_collections.keyturn.runbooks.plugins.module_utils._unconnected import unconnected

_INVALID = (
    BadInput,
    "Kubernetes refuses it as invalid; check the names, and that a Secret of a certain type has the keys of that type",
)
_STATUSES: Mapping[int, Tuple[Type[KeyturnError], str]] = MappingProxyType(
    {
        400: _INVALID,
        422: _INVALID,
        401: (
            Denied,
            "Kubernetes does not accept the credentials: token or certificate is wrong, expired or not there; log in again",
        ),
        403: (
            Denied,
            "Kubernetes denies this identity to {what}; allow the verb {verb} in a Role, and bind it",
        ),
        429: (
            Unreachable,
            "Kubernetes limits the rate of requests and still did at the deadline; run again later or with less forks",
        ),
    }
)
# What a 403 says besides that a right is missing, by Kubernetes's own words.
_OTHER_REFUSALS: Mapping[str, Tuple[Type[KeyturnError], str]] = MappingProxyType(
    {
        "is being terminated": (Refused, "its namespace is being deleted; name one that stays"),
        "exceeded quota": (
            Refused,
            "a quota of the namespace is used up; raise it, or remove a Secret that nobody reads",
        ),
        "denied the request": (
            Refused,
            "an admission webhook or policy of the cluster refuses it; ask who runs the cluster, and see the server's log",
        ),
    }
)
_NOT_SENT = ("NewConnectionError", "ConnectTimeoutError", "ProxyError", "SSLError")


def said_absent(status: int, body: Any) -> bool:
    """Whether it was Kubernetes that said "not found" of an object."""
    return status == 404 and is_status(body) and body.get("reason") == "NotFound"


def answered(status: int, body: Any, where: str, what: str, verb: str) -> KeyturnError:
    """The error for an answer that is one.

    :param body: what came as JSON: none for a page. Only a Status is taken for Kubernetes's own word of what was asked.
    :param what: what was asked, for messages: ``get secrets in namespace app``.
    :param verb: the right that it takes.
    """
    if said_absent(status, body):
        kind = (body.get("details") or {}).get("kind")
        thing = "namespace" if kind == "namespaces" else "thing"
        return Absent(f"{where}: Kubernetes has no such {thing}")
    if status == 409 and is_status(body):
        return _conflict(body, where)
    if status >= 500:
        return Unreachable(
            f"{where}: Kubernetes has a trouble of its own (HTTP {status}); see its log, then run again"
        )
    if status == 429 and not is_status(body):
        # Its own limiter says this in plain text, and so do others.
        return Unreachable(
            f"{where}: Kubernetes, or what stands before it, limits the rate of requests and still did at the deadline; run again later "
            "or with less forks"
        )
    if status not in _STATUSES or not is_status(body):
        return foreign(where, f"HTTP {status}")
    kind, text = _refusal(status, body)
    return kind(f"{where}: {text.format(what=what, verb=verb)}")


def _conflict(body: Mapping[str, Any], where: str) -> Conflict:
    if body.get("reason") == "AlreadyExists":
        return Conflict(f"{where}: it was made meanwhile; nothing was written. Run again")
    return Conflict(f"{where}: somebody else wrote there first; nothing was written. Run again")


def _refusal(status: int, body: Mapping[str, Any]) -> Tuple[Type[KeyturnError], str]:
    said = str(body.get("message")) if status in (400, 403) else ""
    others = [meant for words, meant in _OTHER_REFUSALS.items() if words in said]
    return others[0] if others else _STATUSES[status]


def foreign(where: str, what: str) -> Unreachable:
    """The error for an answer of something else."""
    return Unreachable(
        f"{where}: an answer that is not Kubernetes's ({what}); check the kubeconfig's server and what stands between"
    )


def _kinds(error: Exception) -> Tuple[str, ...]:
    cause: Optional[BaseException] = getattr(error, "reason", None)
    return tuple(kind.__name__ for one in (error, cause) for kind in type(one).__mro__)


def was_sent(error: Exception) -> bool:
    """Whether the request may have reached Kubernetes although its answer did not come."""
    return not set(_NOT_SENT) & set(_kinds(error))


def no_connection(error: Exception) -> bool:
    """Whether no connection came about, so that Kubernetes cannot have heard of the call."""
    return not {"NewConnectionError", "ConnectTimeoutError"}.isdisjoint(_kinds(error))


def unanswered(error: Exception, where: str) -> Unreachable:
    """The error for an answer that did not come."""
    kinds = _kinds(error)
    if "SSLError" in kinds:
        return Unreachable(
            f"{where}: the TLS certificate was not accepted; check the CA in the kubeconfig, the name and this machine's clock"
        )
    if no_connection(error) or "ProxyError" in kinds:
        return Unreachable(f"{where}: no connection{unconnected(error, 'Kubernetes')}")
    if "TimeoutError" in kinds:
        return Unreachable(
            f"{where}: no answer in time; run again, check the network, or raise KEYTURN_K8S_TIMEOUT"
        )
    if "ProtocolError" in kinds:
        return Unreachable(
            f"{where}: the connection ended without an answer; see Kubernetes's log and what stands between, then run again"
        )
    return foreign(where, type(error).__name__)
