# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``keyturn_issuer`` says of a stream of YouTube."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._http_api import (
    CONNECTION_KEYS,
    Connection,
    secure_url,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._label import Label
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._oauth import (
    check_credentials,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._youtube_api import is_id
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown

_API = "https://youtube.googleapis.com"
_TOKENS = "https://oauth2.googleapis.com/token"
_KEYS = ("type", "login", "title", "cdn", "broadcast")
_LOGIN_KEYS = ("credentials", "api", "token_url", *CONNECTION_KEYS)
_LABEL = Label(
    key="title",
    thing="stream",
    provider="YouTube",
    most=128,
    fits=lambda text: not re.search(r"[<>\x00-\x1f]", text),
    shunned="braces, <, > or line breaks",
)
_CDN: Mapping[str, Tuple[str, List[str]]] = MappingProxyType(
    {
        "resolution": (
            "resolution",
            ["variable", "240p", "360p", "480p", "720p", "1080p", "1440p", "2160p"],
        ),
        "frame_rate": ("frameRate", ["variable", "30fps", "60fps"]),
        "ingestion_type": ("ingestionType", ["rtmp", "hls", "dash", "webrtc"]),
    }
)
"""Name here → name at YouTube, and what it may be; the first is the default."""


@dataclass(frozen=True)
class Definition:
    """A checked definition.

    :param cdn: by the names that YouTube has.
    :param broadcast: the one that is bound to the stream in use; empty where a person sees to that.
    """

    option: str
    credentials: Any = field(repr=False)
    api: str
    token_url: str
    connection: Connection
    title: str
    cdn: Mapping[str, str]
    broadcast: str = ""

    def named(self, credential: str, rotation_id: str) -> str:
        """The title of a stream.

        :raises BadInput: it is too long.
        """
        return _LABEL.fill(self.title, credential, rotation_id, self.option)


def _cdn(value: Any, option: str) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise BadInput(f"{option}: expected a mapping with {', '.join(_CDN)}")
    refuse_unknown(value, tuple(_CDN), option)
    found: Dict[str, str] = {}
    for name, (theirs, choices) in _CDN.items():
        chosen = str(value.get(name, choices[0]))
        if chosen not in choices:
            raise BadInput(
                f"{option}.{name}: '{chosen}' is unknown; expected one of {', '.join(choices)}"
            )
        found[theirs] = chosen
    return found


def _broadcast(value: Any, option: str) -> str:
    text = str(value)
    if text and not is_id(text):
        raise BadInput(
            f"{option}: expected the id of a broadcast, which is in its address after v= or /video/"
        )
    return text


def parse_definition(definition: Mapping[str, Any], option: str) -> Definition:
    """Check a definition.

    :raises BadInput: naming the key and what is expected.
    """
    refuse_unknown(definition, _KEYS, option)
    login = definition.get("login")
    if not isinstance(login, Mapping):
        raise BadInput(f"{option}.login: expected a mapping with credentials")
    refuse_unknown(login, _LOGIN_KEYS, f"{option}.login")
    check_credentials(login.get("credentials"), f"{option}.login.credentials")
    return Definition(
        option=option,
        credentials=login["credentials"],
        api=secure_url(login.get("api", _API), f"{option}.login.api"),
        token_url=secure_url(login.get("token_url", _TOKENS), f"{option}.login.token_url"),
        connection=Connection.from_login(login, f"{option}.login"),
        title=_LABEL.read(definition, option),
        cdn=_cdn(definition.get("cdn", {}), f"{option}.cdn"),
        broadcast=_broadcast(definition.get("broadcast") or "", f"{option}.broadcast"),
    )
