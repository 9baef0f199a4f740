# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxies on the way to a Vault, in the forms that ``community.hashi_vault`` takes: one URL, or one for each scheme of the address.

A mapping may also be a text: as JSON, in Python's notation, or as ``http=URL,https=URL``. What is named here counts before
``http_proxy`` and the like. A URL may hold a password.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any, Mapping, Optional, Tuple
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

PROXIES = "ANSIBLE_HASHI_VAULT_PROXIES"
_SCHEME = re.compile(r"(https?|all)(://[^/@\s]+)?\Z")
_PAIRS = re.compile(r"(?:https?|all)(?:://[^/@\s=]+)?=")

Proxies = Tuple[Tuple[str, Secret], ...]
"""By scheme, as the library requests has them; an empty URL is for no proxy."""


def proxies_of(text: str, option: str) -> Proxies:
    """What the variable says.

    :raises BadInput: when it is in none of these forms; nothing of it is in the message.
    """
    try:
        found = _parsed(text.strip())
        good = isinstance(found, Mapping) and all(map(_is_good, found.items()))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        good = False
    if not good:
        raise BadInput(
            f"{option}: the proxies of Vault (option 'proxies', {PROXIES}) must be a URL such as http://proxy.example:3128, or a mapping "
            "of http, https or all to such URLs"
        )
    return tuple(sorted((scheme, Secret(_with_scheme(url))) for scheme, url in found.items()))


def _with_scheme(url: Optional[str]) -> str:
    """As requests takes it: of a URL without a scheme it would take the host for one."""
    return (url or "") if not url or "://" in url else f"http://{url}"


def _parsed(text: str) -> Any:
    if text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            return ast.literal_eval(text)
    if _PAIRS.match(text):
        return dict(pair.split("=", 1) for pair in re.split(r"[,\s]+", text))
    return {"http": text, "https": text}


def _is_good(pair: Tuple[Any, Any]) -> bool:
    """Whether this is a scheme and a URL, or none.

    :raises ValueError: for what is no URL at all.
    """
    scheme, url = pair
    if not isinstance(scheme, str) or not _SCHEME.match(scheme):
        return False
    if url in (None, ""):
        return True
    if not isinstance(url, str) or re.search(r"\s", url):
        return False
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return bool(parts.hostname) and parts.port != 0


def over(environment: Mapping[str, str], proxies: Proxies) -> Mapping[str, str]:
    """The proxies that count, by scheme.

    :param environment: those that the environment names.
    """
    given = {scheme: url.reveal() for scheme, url in proxies}
    # One for all schemes would come after one of the environment that is for a certain scheme.
    return given if "all" in given else {**environment, **given}
