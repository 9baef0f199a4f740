# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small platform for streams with an API of its own, as ``generic_http`` meets them.

With overlap, keys are listed in pages of two, and shown or not; without it there is one key, and a reset makes another.
"""

from __future__ import annotations

import secrets
from typing import Any

from api_server import ApiServer, Asked, Reply, new_token

PAGE = 2
MAKE, LIST, RESET, SET = "POST /v1/keys", "GET /v1/keys", "POST /v1/reset", "PUT /v1/key"


class StreamApi(ApiServer):
    """See the top of this file.

    :ivar keys: id → name and key.
    :ivar shows: whether a list shows keys.
    :ivar links: whether the next page is named in a header, else in the body.
    :ivar single: the only key, where there is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.token = new_token()
        self.keys: dict[str, tuple[str, str]] = {}
        self.gone: list[str] = []
        self.shows = True
        self.links = False
        self.single = new_token()

    @property
    def keys_known(self) -> list[str]:
        """Every key that there is or was."""
        return [self.single, *self.gone, *(key for _name, key in self.keys.values())]

    @property
    def secrets(self) -> list[str]:
        """Every value that nobody may read anywhere."""
        return [self.token, *self.keys_known]

    def add(self, name: str) -> str:
        """A key that was made in another way; gives its id."""
        made = f"k/{secrets.token_hex(4)}"
        self.keys[made] = (name, new_token())
        return made

    def accepts(self, key: str) -> bool:
        """Whether somebody may send with this key."""
        return key == self.single or any(key == known for _name, known in self.keys.values())

    def name(self, asked: Asked) -> str:
        if asked.method == "DELETE":
            return "DELETE"
        return super().name(asked)

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/ingest":
            return Reply(200 if self.accepts(asked.bearer) else 401)
        if asked.bearer != self.token:
            return Reply(401, {"error": "told by it"})
        return self._authorised(super().name(asked), asked)

    def _authorised(self, called: str, asked: Asked) -> Reply:
        if called == "GET /v1/me":
            return Reply(200, {"me": "x"})
        if called in (MAKE, RESET, SET):
            return self._write(called, asked)
        if called == LIST:
            return self._list(dict(asked.query))
        if asked.method == "DELETE" and asked.raw_path.startswith("/v1/keys/"):
            return self._delete(asked)
        self.wrong.append(called)
        return Reply(404, {"error": "told by it"})

    def _write(self, called: str, asked: Asked) -> Reply:
        if asked.headers.get("content-type") != "application/json":
            return Reply(415)
        self.writes += 1
        body = asked.json()
        if called == MAKE:
            made = self.add(body["name"])
            return Reply(201, {"data": {"id": made, "a/b": {"stream~key": self.keys[made][1]}}})
        self.gone.append(self.single)
        self.single = new_token() if called == RESET else body["key"]
        return Reply(200, {"key": self.single})

    def _delete(self, asked: Asked) -> Reply:
        # What is quoted in an address is one name, whatever it holds.
        known = asked.path.removeprefix("/v1/keys/")
        if known not in self.keys or "/" in asked.raw_path.removeprefix("/v1/keys/"):
            return Reply(404)
        self.writes += 1
        self.gone.append(self.keys.pop(known)[1])
        return Reply(204)

    def _list(self, query: dict[str, str]) -> Reply:
        start = int(query.get("after", "0"))
        shown: list[Any] = [
            {"id": made, "label": name, **({"key": key} if self.shows else {})}
            for made, (name, key) in self.keys.items()
        ]
        following = str(start + PAGE) if len(shown) > start + PAGE else ""
        body = {"data": shown[start : start + PAGE], "next": None if self.links else following}
        link = f'<{self.url}/v1/keys?after={following}>; rel="next"'
        headers = {"Link": link} if self.links and following else {}
        return Reply(200, body, headers)
