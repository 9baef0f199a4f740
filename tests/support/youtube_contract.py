# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the YouTube API wants and gives, as far as stream keys need it: in our words, and no more than is used.

The fake in ``youtube_api`` refuses what is not as described here, and answers nothing else. Whether this is what the vendor
describes is held against the vendor's own document by ``test_youtube_contract``, where that document is at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WRITING = frozenset(
    {
        "https://www.googleapis.com/auth/youtube",
        "https://www.googleapis.com/auth/youtube.force-ssl",
    }
)
READING = WRITING | {"https://www.googleapis.com/auth/youtube.readonly"}

TEXT, FLAG = "string", "boolean"
STREAM: Mapping[str, Any] = {
    "kind": TEXT,
    "id": TEXT,
    "snippet": {"title": TEXT, "publishedAt": TEXT, "channelId": TEXT, "isDefaultStream": FLAG},
    "cdn": {
        "ingestionType": ("rtmp", "dash", "webrtc", "hls"),
        "resolution": ("240p", "360p", "480p", "720p", "1080p", "1440p", "2160p", "variable"),
        "frameRate": ("30fps", "60fps", "variable"),
        "ingestionInfo": {
            "streamName": TEXT,
            "ingestionAddress": TEXT,
            "rtmpsIngestionAddress": TEXT,
        },
    },
    "contentDetails": {"isReusable": FLAG},
    "status": {"streamStatus": ("created", "ready", "active", "inactive", "error")},
}
BROADCAST: Mapping[str, Any] = {
    "kind": TEXT,
    "id": TEXT,
    "contentDetails": {"boundStreamId": TEXT},
    "status": {
        "lifeCycleStatus": (
            "created",
            "ready",
            "testing",
            "live",
            "complete",
            "revoked",
            "testStarting",
            "liveStarting",
        )
    },
}


def page_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """A reply with one page of a list."""
    return {"kind": TEXT, "nextPageToken": TEXT, "items": [item]}


@dataclass(frozen=True)
class Operation:
    """One call.

    :param vendor: the name that the vendor has for it.
    :param required: what the query must have.
    :param query: what it may have, and where there are only so many, which.
    :param parts: what may be named in ``part``.
    :param scopes: each of them is enough.
    :param body: what may be sent; ``must`` of it has to be.
    :param reply: what comes back; nothing with 204.
    """

    vendor: str
    method: str
    path: str
    scopes: frozenset[str]
    required: tuple[str, ...] = ()
    query: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    body: Mapping[str, Any] | None = None
    must: tuple[str, ...] = ()
    reply: Mapping[str, Any] | None = None


_PARTS = ("id", "snippet", "cdn", "contentDetails", "status")
_SENT = {
    "snippet": {"title": TEXT},
    "cdn": {name: STREAM["cdn"][name] for name in ("ingestionType", "resolution", "frameRate")},
    "contentDetails": {"isReusable": FLAG},
}
OPERATIONS = (
    Operation(
        "youtube.liveStreams.list",
        "GET",
        "/youtube/v3/liveStreams",
        READING,
        ("part",),
        {"part": (), "id": (), "mine": ("true", "false"), "maxResults": (), "pageToken": ()},
        _PARTS,
        reply=page_of(STREAM),
    ),
    Operation(
        "youtube.liveStreams.insert",
        "POST",
        "/youtube/v3/liveStreams",
        WRITING,
        ("part",),
        {"part": ()},
        _PARTS,
        body=_SENT,
        must=("snippet.title", "cdn.ingestionType", "cdn.resolution", "cdn.frameRate"),
        reply=STREAM,
    ),
    Operation(
        "youtube.liveStreams.delete",
        "DELETE",
        "/youtube/v3/liveStreams",
        WRITING,
        ("id",),
        {"id": ()},
    ),
    Operation(
        "youtube.liveBroadcasts.list",
        "GET",
        "/youtube/v3/liveBroadcasts",
        READING,
        ("part",),
        {
            "part": (),
            "id": (),
            "broadcastStatus": ("active", "all", "completed", "upcoming"),
            "broadcastType": ("all", "event", "persistent"),
            "maxResults": (),
            "pageToken": (),
        },
        ("id", "snippet", "contentDetails", "status"),
        reply=page_of(BROADCAST),
    ),
    Operation(
        "youtube.liveBroadcasts.bind",
        "POST",
        "/youtube/v3/liveBroadcasts/bind",
        WRITING,
        ("id", "part"),
        {"id": (), "part": (), "streamId": ()},
        ("id", "snippet", "contentDetails", "status"),
        reply=BROADCAST,
    ),
)


def misfits(value: Any, shape: Any, at: str = "") -> list[str]:
    """Where a value is not of a shape: ``place: what is wrong``, without the value."""
    if isinstance(shape, tuple):
        return [] if value in shape else [f"{at}: none of the known values"]
    if isinstance(shape, str):
        kind = {TEXT: str, FLAG: bool}[shape]
        return [] if isinstance(value, kind) else [f"{at}: no {shape}"]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{at}: no list"]
        return [wrong for item in value for wrong in misfits(item, shape[0], f"{at}[]")]
    if not isinstance(value, dict):
        return [f"{at}: no mapping"]
    strange = [f"{at}.{name}: not described" for name in value if name not in shape]
    inner = [
        wrong
        for name in value
        if name in shape
        for wrong in misfits(value[name], shape[name], f"{at}.{name}")
    ]
    return strange + inner
