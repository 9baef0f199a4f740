# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YouTube's Live Streaming API, as far as stream keys need it. What it answers is read by known words alone and never quoted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Iterator, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._http_api import (
    Answer,
    Api,
    Ask,
    read_json,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._only_one import carries
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._youtube_errors import (
    explained,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value

STREAMS, BROADCASTS = "/youtube/v3/liveStreams", "/youtube/v3/liveBroadcasts"
ACTIVE = "active"
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_ADDRESS = re.compile(r"[a-z]+://[^\s\x00-\x1f\x7f@?#]{1,500}")
_STATE = re.compile(r"[A-Za-z]{1,40}")
_MOST_PAGES = 200
_BROADCAST_PARTS = ("part", "id,status,contentDetails")
_PER_PAGE = ("maxResults", "50")


@dataclass(frozen=True)
class Stream:
    """One stream: an ingest address and a key.

    :param key: none where the answer did not hold one.
    """

    id: str
    title: str
    published: str
    state: str
    key: Optional[Secret]
    ingest: str

    @property
    def fields(self) -> Mapping[str, Value]:
        """What a stage keeps of it.

        :raises Unreachable: it has no key.
        """
        if self.key is None:
            raise Unreachable(f"YouTube tells no key for stream {self.id}; run again later")
        return {"key": self.key, "stream_id": self.id, "ingest": self.ingest}


@dataclass(frozen=True)
class Broadcast:
    """One broadcast.

    :param state: its life cycle, as YouTube names it.
    :param stream: the id of the stream that it is bound to; empty without one.
    """

    id: str
    state: str
    stream: str

    @property
    def is_over(self) -> bool:
        """Whether it will never be sent again."""
        return self.state in ("complete", "revoked")

    @property
    def is_on(self) -> bool:
        """Whether its stream cannot be changed now."""
        return self.state in ("testing", "testStarting", "liveStarting", "live")


def is_id(text: str) -> bool:
    """Whether a text can be the id of something at YouTube."""
    return bool(_ID.fullmatch(text))


def _part(body: Any, *path: str) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _text(body: Any, pattern: re.Pattern[str], *path: str) -> str:
    found = _part(body, *path)
    return found if isinstance(found, str) and pattern.fullmatch(found) else ""


class YouTube:
    """The calls."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.where = api.where
        self.tries = api.tries

    def titled(self, rotation_id: str) -> List[Stream]:
        """Own streams whose title names a rotation, the oldest first."""
        found = [stream for stream in self.own() if carries(stream.title, rotation_id)]
        return sorted(found, key=lambda stream: (stream.published, stream.id))

    def own(self) -> Iterator[Stream]:
        """All reusable streams of the channel; YouTube does not list others."""
        query = (("part", "id,snippet,cdn,status"), ("mine", "true"), _PER_PAGE)
        for item in self._items(STREAMS, query, "list the streams"):
            yield self._stream(item)

    def stream(self, stream_id: str) -> Optional[Stream]:
        """One stream; none when there is none."""
        query = (("part", "id,snippet,cdn,status"), ("id", stream_id))
        found = [
            self._stream(item) for item in self._items(STREAMS, query, "look at the old stream")
        ]
        return next((stream for stream in found if stream.id == stream_id), None)

    def look(self) -> None:
        """The cheapest call that needs the rights to see streams."""
        self._ask(
            Ask(
                "list the streams",
                path=STREAMS,
                query=(("part", "id"), ("mine", "true"), ("maxResults", "1")),
            )
        )

    def insert(self, title: str, cdn: Mapping[str, str], guard: Guard) -> Stream:
        """Make a stream. It is a reusable one: others are not listed, and end with their broadcast.

        :raises Uncertain: it may have been made.
        """
        body = {"snippet": {"title": title}, "cdn": cdn, "contentDetails": {"isReusable": True}}
        ask = Ask(
            "make a stream",
            "POST",
            STREAMS,
            (("part", "id,snippet,cdn,contentDetails,status"),),
            Secret(json.dumps(body)),
            repeats=False,
        )
        return self._stream(self._json(self._ask(ask, guard)))

    def delete(self, stream_id: str, guard: Guard) -> bool:
        """Delete a stream; false when it was gone.

        :raises Refused: a broadcast that is not over is bound to it.
        """
        ask = Ask("delete the old stream", "DELETE", STREAMS, (("id", stream_id),))
        answer = self._api.ask(ask, guard)
        if answer.status not in (200, 204, 404):
            raise explained(self.where, ask.what, answer)
        return answer.status != 404

    def broadcasts_of(self, stream_id: str) -> List[Broadcast]:
        """The broadcasts that are not over and bound to a stream."""
        found: List[Broadcast] = []
        for status in ("active", "upcoming"):
            query = (
                _BROADCAST_PARTS,
                ("broadcastStatus", status),
                ("broadcastType", "all"),
                _PER_PAGE,
            )
            listed = self._items(BROADCASTS, query, "list the broadcasts")
            found += [item for item in map(self._broadcast, listed) if item.stream == stream_id]
        return found

    def broadcast(self, broadcast_id: str) -> Optional[Broadcast]:
        """One broadcast; none when there is none."""
        query = (_BROADCAST_PARTS, ("id", broadcast_id))
        listed = self._items(BROADCASTS, query, "look at the broadcast")
        found = map(self._broadcast, listed)
        return next((item for item in found if item.id == broadcast_id), None)

    def bind(self, broadcast_id: str, stream_id: str, guard: Guard) -> None:
        """Have a broadcast sent with a stream; it does no harm to do so twice."""
        query = (("id", broadcast_id), ("streamId", stream_id), _BROADCAST_PARTS)
        self._ask(Ask("bind the broadcast", "POST", f"{BROADCASTS}/bind", query), guard)

    def _broadcast(self, item: Any) -> Broadcast:
        found = _text(item, _ID, "id")
        if not found:
            raise self._strange()
        state = _text(item, _STATE, "status", "lifeCycleStatus") or "unknown"
        return Broadcast(found, state, _text(item, _ID, "contentDetails", "boundStreamId"))

    def _items(self, path: str, query: Tuple[Tuple[str, str], ...], what: str) -> Iterator[Any]:
        token = ""
        for _page in range(_MOST_PAGES):
            more = (("pageToken", token),) if token else ()
            body = self._json(self._ask(Ask(what, path=path, query=(*query, *more))))
            items = _part(body, "items")
            if items is not None and not isinstance(items, list):
                raise self._strange()
            yield from items or []
            following = _part(body, "nextPageToken")
            if not following:
                return
            if not isinstance(following, str) or following == token:
                raise self._strange()
            token = following
        raise Unreachable(f"{self.where}: cannot {what}: there are more than {_MOST_PAGES} pages")

    def _stream(self, item: Any) -> Stream:
        found = _text(item, _ID, "id")
        if not found:
            raise self._strange()
        key = _part(item, "cdn", "ingestionInfo", "streamName")
        title, published = _part(item, "snippet", "title"), _part(item, "snippet", "publishedAt")
        return Stream(
            id=found,
            title=title if isinstance(title, str) else "",
            published=published if isinstance(published, str) else "",
            state=_text(item, _STATE, "status", "streamStatus"),
            key=Secret(key) if isinstance(key, str) and key else None,
            ingest=_text(item, _ADDRESS, "cdn", "ingestionInfo", "ingestionAddress"),
        )

    def _ask(self, ask: Ask, guard: Optional[Guard] = None) -> Answer:
        answer = self._api.ask(ask, guard) if guard else self._api.ask(ask)
        if answer.status != 200:
            raise explained(self.where, ask.what, answer)
        return answer

    def _json(self, answer: Answer) -> Any:
        return read_json(answer, self.where)

    def _strange(self) -> Unreachable:
        return Unreachable(
            f"{self.where}: the answer is not what YouTube's API describes; is login.api its address?"
        )
