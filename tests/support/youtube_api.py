# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YouTube's Live Streaming API and Google's token endpoint with their state in memory, and an ingest that takes the keys.

Each request is held against ``youtube_contract``; what is not as described there is refused and kept in ``wrong``. Lists come in
pages of two.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from api_server import ApiServer, Asked, Fault, Reply, new_token
from youtube_contract import OPERATIONS, READING, WRITING, Operation, misfits

PAGE = 2
TOKEN, INGEST = "/token", "/ingest"
STREAMS, BROADCASTS = "/youtube/v3/liveStreams", "/youtube/v3/liveBroadcasts"
LIST, INSERT, DELETE = f"GET {STREAMS}", f"POST {STREAMS}", f"DELETE {STREAMS}"
BIND = f"POST {BROADCASTS}/bind"
_WRITE_SCOPE = min(WRITING, key=len)


def refusal(status: int, reason: str, **headers: str) -> Reply:
    """An error as Google's APIs write it, with a text that must not be passed on."""
    told = f"told by the API {reason} <script>"
    listed = [{"message": told, "domain": "youtube.test", "reason": reason}]
    return Reply(status, {"error": {"code": status, "message": told, "errors": listed}}, headers)


@dataclass
class FakeStream:
    """One stream."""

    id: str
    title: str
    cdn: Mapping[str, Any]
    key: str
    published: str
    reusable: bool = True
    state: str = "ready"

    def body(self, parts: set[str]) -> dict[str, Any]:
        info = {"streamName": self.key, "ingestionAddress": "rtmp://ingest.youtube.test/live2"}
        whole: dict[str, Any] = {
            "id": self.id,
            "snippet": {"title": self.title, "publishedAt": self.published},
            "cdn": {**self.cdn, "ingestionInfo": info},
            "contentDetails": {"isReusable": self.reusable},
            "status": {"streamStatus": self.state},
        }
        shown = {name: item for name, item in whole.items() if name in parts}
        return {"kind": "youtube#liveStream", **shown}


@dataclass
class FakeBroadcast:
    """One broadcast."""

    id: str
    stream: str
    state: str = "ready"

    def body(self, parts: set[str]) -> dict[str, Any]:
        whole: dict[str, Any] = {
            "id": self.id,
            "contentDetails": {"boundStreamId": self.stream},
            "status": {"lifeCycleStatus": self.state},
        }
        shown = {name: item for name, item in whole.items() if name in parts}
        return {"kind": "youtube#liveBroadcast", **shown}


@dataclass
class _Login:
    client_id: str = field(default_factory=lambda: f"{secrets.token_hex(6)}.apps.test")
    client_secret: str = field(default_factory=new_token, repr=False)
    refresh_token: str = field(default_factory=new_token, repr=False)


class YouTubeApi(ApiServer):
    """See the top of this file.

    :ivar scopes: what the next token may do.
    :ivar replies: what was answered, for each operation by the vendor's name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.login = _Login()
        self.streams: dict[str, FakeStream] = {}
        self.broadcasts: dict[str, FakeBroadcast] = {}
        self.scopes = _WRITE_SCOPE
        self.tokens: dict[str, str] = {}
        self.gone: list[str] = []
        self.replies: list[tuple[str, Any]] = []

    @property
    def keys_known(self) -> list[str]:
        """Every key that there is or was."""
        return [*(stream.key for stream in self.streams.values()), *self.gone]

    @property
    def secrets(self) -> list[str]:
        """Every value that nobody may read anywhere."""
        login = [self.login.client_secret, self.login.refresh_token]
        return [*login, *self.tokens, *self.keys_known]

    def add(self, title: str, state: str = "ready", reusable: bool = True) -> FakeStream:
        """A stream that was made in another way."""
        cdn = {"ingestionType": "rtmp", "resolution": "variable", "frameRate": "variable"}
        number = len(self.streams) + len(self.gone)
        made = FakeStream(
            f"UC{secrets.token_hex(8)}",
            title,
            cdn,
            f"{secrets.token_hex(2)}-{secrets.token_urlsafe(12)}",
            time.strftime(f"%Y-%m-%dT%H:%M:{number % 60:02d}Z"),
            reusable,
            state,
        )
        self.streams[made.id] = made
        return made

    def bind(self, stream: FakeStream, state: str = "ready") -> FakeBroadcast:
        """A broadcast that is to be sent with this stream."""
        made = FakeBroadcast(secrets.token_urlsafe(8), stream.id, state)
        self.broadcasts[made.id] = made
        return made

    def expire(self) -> None:
        """Let every token be too old."""
        self.tokens.update(dict.fromkeys(self.tokens, ""))

    def answer(self, asked: Asked) -> Reply:
        if asked.path == TOKEN:
            return self._token(asked)
        if asked.path == INGEST:
            known = any(stream.key == asked.bearer for stream in self.streams.values())
            return Reply(200 if known else 403)
        for operation in OPERATIONS:
            if (asked.method, asked.path) == (operation.method, operation.path):
                return self._operation(operation, asked)
        self.wrong.append(f"{asked.method} {asked.path}: there is no such call")
        return refusal(404, "notFound")

    def _token(self, asked: Asked) -> Reply:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        kind = asked.headers.get("content-type")
        if asked.method != "POST" or kind != "application/x-www-form-urlencoded":
            self.wrong.append(f"{asked.method} token as {kind}")
            return Reply(400, {"error": "invalid_request"})
        if form.get("grant_type") != "refresh_token":
            return Reply(400, {"error": "unsupported_grant_type"})
        if (form.get("client_id"), form.get("client_secret")) != (
            self.login.client_id,
            self.login.client_secret,
        ):
            return Reply(401, {"error": "invalid_client", "error_description": "told by it"})
        if form.get("refresh_token") != self.login.refresh_token:
            return Reply(400, {"error": "invalid_grant", "error_description": "told by it"})
        token = new_token()
        self.tokens[token] = self.scopes
        body = {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}
        return Reply(200, {**body, "scope": self.scopes})

    def _operation(self, operation: Operation, asked: Asked) -> Reply:
        scopes = set(self.tokens.get(asked.bearer, "").split())
        if not scopes:
            return refusal(401, "authError")
        if not scopes & operation.scopes:
            return refusal(403, "insufficientPermissions")
        wrong = _against(operation, asked)
        if wrong:
            self.wrong += [f"{operation.vendor}: {text}" for text in wrong]
            return refusal(400, "badRequest")
        query = dict(asked.query)
        reply = {
            "youtube.liveStreams.list": self._list,
            "youtube.liveStreams.insert": self._insert,
            "youtube.liveStreams.delete": self._delete,
            "youtube.liveBroadcasts.list": self._broadcasts,
            "youtube.liveBroadcasts.bind": self._bind,
        }[operation.vendor](query, asked)
        if reply.status == 200:
            self.replies.append((operation.vendor, reply.body))
            assert not misfits(reply.body, operation.reply), "the fake answers what it may not"
        return reply

    def _list(self, query: dict[str, str], _asked: Asked) -> Reply:
        ids = query["id"].split(",") if "id" in query else None
        found = [
            stream
            for stream in self.streams.values()
            if (stream.id in ids if ids else stream.reusable)
        ]
        return _page(found, query, "youtube#liveStreamListResponse")

    def _insert(self, query: dict[str, str], asked: Asked) -> Reply:
        body = asked.json()
        if not 1 <= len(body["snippet"]["title"]) <= 128:
            return refusal(400, "invalidTitle")
        self.writes += 1
        made = self.add(
            body["snippet"]["title"],
            reusable=body.get("contentDetails", {}).get("isReusable", False),
        )
        made.cdn = body["cdn"]
        return Reply(200, made.body(set(query["part"].split(","))))

    def _delete(self, query: dict[str, str], _asked: Asked) -> Reply:
        stream = self.streams.get(query["id"])
        if stream is None:
            return refusal(404, "liveStreamNotFound")
        if any(
            item.stream == stream.id and item.state != "complete"
            for item in self.broadcasts.values()
        ):
            return refusal(403, "liveStreamDeletionNotAllowed")
        self.writes += 1
        self.gone.append(stream.key)
        del self.streams[stream.id]
        return Reply(204)

    def _broadcasts(self, query: dict[str, str], _asked: Asked) -> Reply:
        states = {"active": ("testing", "live"), "upcoming": ("created", "ready")}
        wanted = states.get(query.get("broadcastStatus", ""), ())
        found = [
            item
            for item in self.broadcasts.values()
            if item.state in wanted or item.id == query.get("id")
        ]
        return _page(found, query, "youtube#liveBroadcastListResponse")

    def _bind(self, query: dict[str, str], _asked: Asked) -> Reply:
        broadcast = self.broadcasts.get(query["id"])
        if broadcast is None:
            return refusal(404, "liveBroadcastNotFound")
        if query.get("streamId") not in self.streams:
            return refusal(404, "liveStreamNotFound")
        if broadcast.state not in ("created", "ready"):
            return refusal(403, "liveBroadcastBindingNotAllowed")
        self.writes += 1
        broadcast.stream = query["streamId"]
        return Reply(200, broadcast.body(set(query["part"].split(","))))


def _page(found: list[Any], query: dict[str, str], kind: str) -> Reply:
    parts = set(query["part"].split(","))
    start = int(query.get("pageToken", "page0")[4:])
    body: dict[str, Any] = {
        "kind": kind,
        "items": [item.body(parts) for item in found[start : start + PAGE]],
    }
    if len(found) > start + PAGE:
        body["nextPageToken"] = f"page{start + PAGE}"
    return Reply(200, body)


def _against(operation: Operation, asked: Asked) -> list[str]:
    """What of a request is not as it is described."""
    query = dict(asked.query)
    wrong = [f"{name} is missing" for name in operation.required if not query.get(name)]
    wrong += [f"{name} is unknown" for name in query if name not in operation.query]
    wrong += [
        f"{name}: none of the known values"
        for name, choices in operation.query.items()
        if choices and query.get(name, choices[0]) not in choices
    ]
    parts = query.get("part", "").split(",") if operation.parts else []
    wrong += [f"part {part} is unknown" for part in parts if part not in operation.parts]
    if operation.vendor.endswith("list"):
        filters = [name for name in ("mine", "id", "broadcastStatus") if name in query]
        wrong += [] if len(filters) == 1 else ["exactly one filter is wanted"]
    if operation.body is None:
        return wrong + (["a body"] if asked.body else [])
    if asked.headers.get("content-type") != "application/json":
        wrong.append("the body is no JSON")
    body = asked.json()
    wrong += misfits(body, operation.body)
    for name in operation.must:
        section, _dot, key = name.partition(".")
        if key not in (body.get(section) or {}):
            wrong.append(f"{name} is missing")
    return wrong


__all__ = ["READING", "Fault", "YouTubeApi", "refusal"]
