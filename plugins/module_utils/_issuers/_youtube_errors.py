# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What YouTube's API says when it refuses something, in words that tell what to do. Its own texts are never quoted."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Mapping, Set, Tuple, Type

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import Answer

SCOPES = frozenset(
    {
        "https://www.googleapis.com/auth/youtube",
        "https://www.googleapis.com/auth/youtube.force-ssl",
    }
)
"""Either lets streams be made and deleted."""

_RATES = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "userRequestsExceedRateLimit"})
NO_SCOPE = (
    "this login may not make and delete streams: log in as the channel's owner once more with the scope "
    "https://www.googleapis.com/auth/youtube, and store the new refresh token"
)
_REASONS: Mapping[str, Tuple[Type[KeyturnError], str]] = MappingProxyType(
    {
        "quotaExceeded": (
            Refused,
            "the project's quota of this API is used up: it is filled again at midnight, Pacific Time. Run again then, or ask for more",
        ),
        "dailyLimitExceeded": (
            Refused,
            "the project's daily limit of this API is used up: it is filled again at midnight, Pacific Time. Run again then",
        ),
        "liveStreamingNotEnabled": (
            Denied,
            "live streaming is not enabled for this channel: enable it at https://www.youtube.com/features, or log in as the right channel",
        ),
        "livePermissionBlocked": (
            Denied,
            "this channel is blocked from live streaming: see https://www.youtube.com/features",
        ),
        "insufficientPermissions": (Denied, NO_SCOPE),
        "insufficientLivePermissions": (Denied, NO_SCOPE),
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT": (Denied, NO_SCOPE),
        "accessNotConfigured": (
            Denied,
            "the YouTube Data API v3 is not enabled in the project of this OAuth client: enable it in the Google Cloud console",
        ),
        "SERVICE_DISABLED": (
            Denied,
            "the YouTube Data API v3 is not enabled in the project of this OAuth client: enable it in the Google Cloud console",
        ),
        "liveBroadcastBindingNotAllowed": (
            Refused,
            "the broadcast's state does not let it be bound to another stream: wait until it is over, then run again",
        ),
        "liveStreamDeletionNotAllowed": (
            Refused,
            "a broadcast that is not over is bound to it: end that broadcast or bind it to the stream in use, then run again",
        ),
    }
)
_BY_STATUS: Mapping[int, Tuple[Type[KeyturnError], str]] = MappingProxyType(
    {
        400: (
            BadInput,
            "the API refuses the request as one that cannot be meant: check cdn and title",
        ),
        401: (Denied, "the access token is not accepted: log in as the channel's owner once more"),
        403: (
            Denied,
            "this login may not do that: log in as the owner of the channel whose streams these are",
        ),
        404: (Refused, "there is no such thing at this address: check login.api"),
    }
)


def reasons(answer: Answer) -> Set[str]:
    """The words by which an error says its cause."""
    try:
        error = json.loads(answer.body.decode("utf-8"))["error"]
        listed = [*(error.get("errors") or []), *(error.get("details") or [])]
        return {str(item["reason"]) for item in listed if "reason" in item}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()


def is_busy(answer: Answer) -> bool:
    """Whether it was only too much at once, which YouTube also says with 403, or the service is in trouble."""
    if answer.status == 403:
        return bool(reasons(answer) & _RATES)
    return answer.status in (429, 500, 502, 503, 504)


def explained(where: str, what: str, answer: Answer) -> KeyturnError:
    """The error that an answer is.

    :param what: what was asked, for the message.
    """
    told = [_REASONS[reason] for reason in sorted(reasons(answer)) if reason in _REASONS]
    by_status = _BY_STATUS.get(
        answer.status, (Unreachable, f"status {answer.status}; run again later")
    )
    kind, text = (told or [by_status])[0]
    return kind(f"{where}: cannot {what}: {text}")
