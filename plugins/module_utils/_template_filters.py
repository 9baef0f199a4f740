# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the template language that change one text."""

from __future__ import annotations

import base64
import hashlib
import json
from types import MappingProxyType
from typing import Callable, Mapping
from urllib.parse import quote

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_time


def _b64(text: str, at: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _date(text: str, at: str) -> str:
    try:
        return parse_time(text, at).strftime("%Y-%m-%d")
    except BadInput:
        # The error itself quotes the value.
        raise BadInput(
            f"{at}: date takes a time in RFC 3339, such as {{current.promoted|date}}, and this is none"
        ) from None


def _json(text: str, at: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _sha256(text: str, at: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _urlencode(text: str, at: str) -> str:
    return quote(text, safe="")


EACH: Mapping[str, Callable[[str, str], str]] = MappingProxyType(
    {
        "b64": _b64,
        "date": _date,
        "json": _json,
        "sha256": _sha256,
        "urlencode": _urlencode,
    }
)
"""By name. Each takes a text, and how messages name the placeholder that it stands in."""
