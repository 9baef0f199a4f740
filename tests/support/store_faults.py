# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong between here and a store, and at the store: one table for all backends."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import fault_proxy as harm
import store_logins as logins
from k8s_tokens import Account
from store_arrange import (
    Arrange,
    always,
    as_account,
    as_user,
    aws_says,
    back_soon,
    clock_refused,
    done_and_failing,
    expired_token,
    failing,
    is_write,
    no_listener,
    no_metadata,
    nothing,
    once,
    page,
    reads,
    redirected,
    revoked_token,
    silent_after_write,
    skewed,
    throttled,
    with_policy,
    writes,
)

DONE, ABSENT = "done", "absent"
TO_DO = re.compile(
    r"\b(check|run again|run later|set|log in|add|allow|unseal|raise|see|correct|mend|use|give|make|mount|compare)\b",
    re.IGNORECASE,
)
"""What a message has that says what to do."""

UNREACHABLE, DENIED = "Unreachable", "Denied"
PATIENT, HASTY = 20.0, 1.2
"""Seconds for a call that must come to its end, and for one that may not."""


@dataclass(frozen=True)
class Case:
    """One thing that goes wrong.

    :param name: as tables have it.
    :param arrange: makes it so.
    :param read: what a read may end as.
    :param write: what a write may end as.
    :param only: the kinds of backend that know it; none for all that have a server.
    :param tls: which certificate the proxy shows, as ``wrong CA``; empty for none where the backend speaks plain HTTP.
    :param seconds: that a call is given; 0: by what it may end as.
    :param login: what all may end as where the fault meets a login before; none where that makes no difference. A login by AppRole is
        not sent again where its answer was lost: a secret id may be good for one.
    """

    name: str
    arrange: Arrange
    read: tuple[str, ...]
    write: tuple[str, ...]
    only: tuple[str, ...] = ()
    tls: str = ""
    seconds: float = 0.0
    login: tuple[str, ...] = ()

    def ends(self, operation: str) -> tuple[str, ...]:
        """What an operation may end as."""
        return self.read if operation == "read a keyring" else self.write

    def deadline(self, operation: str) -> float:
        """The seconds that it is given: a busy machine must not make a call fail that is to succeed."""
        return self.seconds or (PATIENT if self.ends(operation) == (DONE,) else HASTY)


VAULT, SSM, SECRETS, KUBERNETES = "Vault", "SSM", "Secrets Manager", "Kubernetes"
PRODUCTION = "Vault, raft, TLS"
"""Where each call logs in as an AppRole first, so that what goes wrong with all requests goes wrong with the login."""
_MAYBE = (DONE, UNREACHABLE)
_NOT = (UNREACHABLE,)
_NO = (DENIED,)
_OK = (DONE,)

CASES: tuple[Case, ...] = (
    Case("nothing", nothing, _OK, _OK),
    Case("connection refused", no_listener, _NOT, _NOT),
    Case("gone for 0.7 s", back_soon, _OK, _OK),
    Case("reset, always", always(harm.reset), _NOT, _NOT),
    Case("reset, once", once(harm.reset), _OK, _MAYBE, login=_NOT),
    Case("reset in mid-reply, always", always(harm.reset_in_reply), _NOT, _NOT),
    Case("reset in mid-reply, once", once(harm.reset_in_reply), _OK, _OK, login=_NOT),
    Case("reply lost after the write", writes(harm.lost), _OK, _OK),
    Case("replies lost after all writes", writes(harm.lost, None), _OK, _MAYBE),
    Case("all lost after the write", silent_after_write, _OK, _NOT),
    Case("slow", always(harm.slow(0.15)), _OK, _OK),
    Case("no reply, always", always(harm.hang), _NOT, _NOT),
    Case("no reply, once", once(harm.hang), _MAYBE, _MAYBE),
    Case("done and no reply", writes(harm.done_and_hang), _OK, _MAYBE),
    Case("throttled once, Retry-After", once(throttled(True)), _OK, _OK),
    Case("throttled once", once(throttled(False)), _OK, _OK),
    Case("throttled always, Retry-After", always(throttled(True)), _NOT, _NOT),
    Case("throttled always", always(throttled(False)), _NOT, _NOT),
    Case("500 once", once(failing(500)), _OK, _MAYBE, login=_NOT),
    Case("500 always", always(failing(500)), _NOT, _NOT),
    Case("500 although done", writes(done_and_failing), _OK, _OK),
    Case("502 once", once(failing(502)), _OK, _MAYBE, login=_NOT),
    Case("502 always", always(failing(502)), _NOT, _NOT),
    Case("503 once", once(failing(503)), _OK, _MAYBE),
    Case("503 always", always(failing(503)), _NOT, _NOT),
    Case("redirect of a standby", always(redirected), _OK, _OK, only=(VAULT, PRODUCTION)),
    Case("redirect", always(redirected), _NOT, _NOT, only=(SSM, SECRETS, KUBERNETES)),
    Case("token expired", expired_token, _NO, _NO, only=(VAULT,)),
    Case("token revoked", revoked_token, _NO, _NO, only=(VAULT,)),
    Case("token expired", logins.expired, _OK, _OK, only=(PRODUCTION,)),
    Case("token revoked", logins.revoked, _OK, _OK, only=(PRODUCTION,)),
    Case("secret id used up", logins.used_up, _NO, _NO, only=(PRODUCTION,)),
    Case("reply to the login lost", logins.lost_login, _NOT, _NOT, only=(PRODUCTION,)),
    Case("renewal refused", logins.renewal(logins.FORBIDDEN), _OK, _OK, only=(PRODUCTION,)),
    Case("renewal answered 503", logins.renewal(failing(503)), _OK, _OK, only=(PRODUCTION,)),
    Case("renewal reset", logins.renewal(harm.reset), _OK, _OK, only=(PRODUCTION,)),
    Case(
        "revocation refused",
        logins.at("/revoke-self", logins.FORBIDDEN),
        _OK,
        _OK,
        only=(PRODUCTION,),
    ),
    Case("revocation reset", logins.at("/revoke-self", harm.reset), _OK, _OK, only=(PRODUCTION,)),
    Case(
        "no reply to the revocation",
        logins.at("/revoke-self", harm.hang),
        _OK,
        _OK,
        only=(PRODUCTION,),
    ),
    Case("token expired", always(aws_says("ExpiredTokenException")), _NO, _NO, only=(SSM, SECRETS)),
    Case(
        "token revoked",
        always(aws_says("UnrecognizedClientException")),
        _NO,
        _NO,
        only=(SSM, SECRETS),
    ),
    Case("token unknown", as_user("unknown"), _NO, _NO, only=(KUBERNETES,)),
    Case("token expired", as_account(Account.expired_token), _NO, _NO, only=(KUBERNETES,)),
    Case("token revoked", as_account(Account.revoked_token), _NO, _NO, only=(KUBERNETES,)),
    # A write of a keyring goes by the version that was read before.
    Case(
        "403 on reads",
        with_policy('"create", "update"'),
        _NO,
        (DONE, DENIED),
        only=(VAULT, PRODUCTION),
    ),
    Case("403 on writes", with_policy('"read"'), _OK, _NO, only=(VAULT, PRODUCTION)),
    Case(
        "403 on metadata",
        with_policy('"create", "read", "update"'),
        _OK,
        _OK,
        only=(VAULT, PRODUCTION),
    ),
    # The metadata of a Secret of Kubernetes is a part of it: what else is asked about is the namespace, and one's own rights.
    Case("403 on metadata", no_metadata, _OK, _OK, only=(SECRETS, KUBERNETES)),
    # A parameter is not written over by one who cannot see its key and its tier.
    Case("403 on metadata", no_metadata, _OK, (DONE, DENIED), only=(SSM,)),
    Case("403 on reads", reads(aws_says("AccessDeniedException")), _NO, _NO, only=(SSM,)),
    Case(
        "403 on reads",
        reads(aws_says("AccessDeniedException")),
        _NO,
        (DONE, DENIED),
        only=(SECRETS,),
    ),
    Case(
        "403 on writes",
        writes(aws_says("AccessDeniedException"), None),
        _OK,
        _NO,
        only=(SSM, SECRETS),
    ),
    Case("403 on reads", as_user("stranger"), _NO, _NO, only=(KUBERNETES,)),
    Case("403 on writes", as_user("reader"), _OK, _NO, only=(KUBERNETES,)),
    Case("malformed JSON once", once(harm.malformed), _MAYBE, _MAYBE),
    Case("malformed JSON always", always(harm.malformed), _NOT, _NOT),
    Case("truncated body once", once(harm.truncated), _OK, _OK, login=_NOT),
    Case("truncated body always", always(harm.truncated), _NOT, _NOT),
    Case("a proxy's page with 200", always(page(200)), _NOT, _NOT),
    Case("a proxy's page with 404", always(page(404)), _NOT, _NOT),
    Case("a proxy's page with 403", always(page(403)), _NOT, _NOT),
    Case("TLS, right", nothing, _OK, _OK, tls="right"),
    Case("TLS, wrong CA", nothing, _NOT, _NOT, tls="wrong CA"),
    Case("TLS, expired", nothing, _NOT, _NOT, tls="expired"),
    Case("TLS, wrong name", nothing, _NOT, _NOT, tls="wrong name"),
    Case("the server's clock an hour ahead", always(skewed), _OK, _OK),
    Case("clock skew refused", always(clock_refused), _NO, _NO, only=(SSM, SECRETS)),
)


def cases_of(kind: str) -> list[Case]:
    """Those that a kind of backend knows, as they end there."""
    known = [case for case in CASES if not case.only or kind in case.only]
    if kind != PRODUCTION:
        return known
    return [
        replace(case, read=case.login or case.read, write=case.login or case.write)
        for case in known
    ]


_SHUT = ("Sealed",)
SEALED = Case("sealed", nothing, _SHUT, _SHUT, only=(VAULT,))
RESTARTED = Case("sealed after a restart", nothing, _SHUT, _SHUT, only=(VAULT,))
FORWARDED = Case("a standby that forwards", nothing, _OK, _OK, only=(VAULT,))
REDIRECTED = Case("a standby that redirects", nothing, _OK, _OK, only=(VAULT,))
LIMITED = Case("a rate limit for a second", nothing, _OK, _OK, only=(VAULT,))
USED_UP = Case("a rate limit for an hour", nothing, _NOT, _NOT, only=(VAULT,))
RESTARTING = Case("the server restarts", nothing, _OK, _MAYBE, only=(KUBERNETES,), seconds=90)
"""What a real server is brought to, and the tests themselves bring it there."""

__all__ = [
    "CASES",
    "DONE",
    "FORWARDED",
    "LIMITED",
    "PRODUCTION",
    "REDIRECTED",
    "RESTARTED",
    "RESTARTING",
    "SEALED",
    "TO_DO",
    "USED_UP",
    "Case",
    "cases_of",
    "is_write",
]
