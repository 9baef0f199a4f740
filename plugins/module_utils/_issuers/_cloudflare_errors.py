# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Cloudflare's API says when it refuses something, in words that tell what to do. Its own texts are never quoted, its codes are."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import List, Mapping, Tuple, Type

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import Answer

WRITE_RIGHTS: Mapping[str, str] = MappingProxyType(
    {"account": "Account API Tokens Write", "user": "API Tokens Write"}
)
"""The permission group that lets tokens be made and deleted, by whose they are."""

_NO_ROUTE = frozenset({7000, 7003})
_NO_TOKEN = frozenset({6003, 6111})
_NOT_MEANT = (
    "the API refuses the request as one that cannot be meant: check account and what the new token may do. It also refuses one token "
    "more than there may be: 50 of a user, 500 of an account"
)
_BY_STATUS: Mapping[int, Tuple[Type[KeyturnError], str]] = MappingProxyType(
    {
        400: (
            BadInput,
            _NOT_MEANT,
        ),
        401: (
            Denied,
            "the login's token is not accepted: it is wrong, disabled, expired or deleted, or not to be used from here",
        ),
        403: (Denied, "the login's token may not do that: it needs {right}, in this account"),
        404: (Refused, "there is no such thing"),
        409: (Refused, "it clashes with what is there"),
    }
)
_WRONG_PLACE = "there is no such call at this address: check login.api and account"
_NO_FORM = "what the login gives has not the form of an API token: give the token itself, not a global API key"


def codes(answer: Answer) -> List[int]:
    """The numbers by which an answer names what is wrong."""
    try:
        listed = json.loads(answer.body.decode("utf-8"))["errors"]
        inner = [item for error in listed for item in [error, *(error.get("error_chain") or [])]]
        return [item["code"] for item in inner if isinstance(item["code"], int)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def is_absent(answer: Answer) -> bool:
    """Whether there is no such token; that there is no such call says nothing about it."""
    return answer.status == 404 and not _NO_ROUTE & set(codes(answer))


def explained(where: str, what: str, answer: Answer, owner: str) -> KeyturnError:
    """The error that an answer is.

    :param what: what was asked, for the message.
    :param owner: whose tokens these are: account or user.
    """
    told = codes(answer)
    kind, text = _BY_STATUS.get(
        answer.status, (Unreachable, f"status {answer.status}; run again later")
    )
    if _NO_ROUTE & set(told):
        kind, text = BadInput, _WRONG_PLACE
    elif answer.status == 400 and _NO_TOKEN & set(told):
        kind, text = Denied, _NO_FORM
    number = f" (Cloudflare's code {told[0]})" if told else ""
    return kind(f"{where}: cannot {what}: {text.format(right=WRITE_RIGHTS[owner])}{number}")
