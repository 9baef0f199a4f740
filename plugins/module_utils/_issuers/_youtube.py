# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer ``youtube``: a stream of YouTube's Live Streaming API, whose key cannot be changed and is replaced by another stream.

============  ==========================================================================================
login         ``credentials``: a reference to client_id, client_secret and refresh_token (or to an access_token);
              ``timeout``, ``validate_certs``, ``ca_path``; ``api`` and ``token_url`` where the API is elsewhere
title         what a stream is called; it names ``{rotation_id}``, and may name ``{credential}``
cdn           ``resolution``, ``frame_rate`` and ``ingestion_type``; by default variable, variable and rtmp
broadcast     the id of a broadcast that is bound to the stream in use, whichever that is; without it, a person binds
============  ==========================================================================================

A stage has the fields ``key`` (secret), ``stream_id`` and ``ingest``. Old and new are accepted together until the old one is deleted.
"""

from __future__ import annotations

from typing import Any, FrozenSet, List, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Outcome, Session
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._http_api import Api
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._oauth import (
    OAuthLogin,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._only_one import OnlyOne
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._passive import (
    MadeElsewhere,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._youtube_api import (
    ACTIVE,
    Broadcast,
    Stream,
    YouTube,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._youtube_definition import (
    Definition,
    parse_definition,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._youtube_errors import (
    NO_SCOPE,
    SCOPES,
    is_busy,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value


class YouTubeStream(MadeElsewhere):
    """See the table at the top of this file."""

    no_wish = "YouTube makes the key, so nothing can be said of it; remove keyturn_generate"
    overlap, cutover, returns, senders = True, False, True, True
    secret_fields: FrozenSet[str] = frozenset({"key"})

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._option = definition.option
        self.uses = bool(definition.broadcast)

    @classmethod
    def from_definition(
        cls, definition: Mapping[str, Any], context: Context, option: str
    ) -> YouTubeStream:
        """The issuer that a ``keyturn_issuer`` describes.

        :raises BadInput: naming the key and what is expected.
        """
        return cls(parse_definition(definition, option))

    def _oauth(self, context: Context) -> OAuthLogin:
        own = self._definition
        where = f"{self._option}.login.credentials"
        return OAuthLogin(own.credentials, own.token_url, own.connection, context, where)

    def _open(self, context: Context, login: Optional[OAuthLogin] = None) -> YouTube:
        own = self._definition
        where = f"{self._option} ({own.api})"
        authority = login or self._oauth(context)
        return YouTube(Api(own.api, own.connection, context, where, authority, is_busy))

    def issue(
        self, stage: Stage, document: Document, context: Context, guard: Guard
    ) -> Mapping[str, Value]:
        """The key of the one stream that names the rotation; made if there is none.

        :raises KeyturnError: as the API's answers give cause.
        """
        title = self._definition.named(document.credential, stage.rotation_id)
        if context.check_mode:
            return {name: Secret.new() for name in ("key", "stream_id", "ingest")}
        api = self._open(context)
        made = OnlyOne[Stream](
            look=lambda: api.titled(stage.rotation_id),
            make=lambda: api.insert(title, self._definition.cdn, guard),
            end=lambda stream: self._delete(api, stream, guard, check_mode=False),
            usable=lambda stream: stream.key is not None,
            same=lambda one, other: one.id == other.id,
            tries=api.tries,
        ).get()
        return made.fields

    def adopt(self, fields: Mapping[str, Value], context: Context) -> Mapping[str, Value]:
        """The fields of the own stream that has the given key.

        :raises Refused: there is none.
        """
        key = fields.get("key")
        if set(fields) != {"key"} or not isinstance(key, Secret):
            raise BadInput(f"{self._option}: to adopt a stream, give its key alone")
        for stream in self._open(context).own():
            if stream.key == key:
                return stream.fields
        raise Refused(
            f"{self._option}: none of this channel's streams has the given key; give the key in use, and log in as its channel. YouTube "
            "does not list a stream that is not reusable: such a key ends with its broadcast, and cannot be managed"
        )

    def check(self, document: Optional[Document], context: Context) -> List[str]:
        """The reasons why no stream could be made: the login, its scope, the channel, the quota."""
        try:
            login = self._oauth(context)
            login.headers()
            if login.scopes and not login.scopes & SCOPES:
                raise Denied(f"{self._option}.login.credentials: {NO_SCOPE}")
            api = self._open(context, login)
            api.look()
            self._definition.named(document.credential if document else "", "r" * 21)
            self._warn_of_broadcasts(api, document, context)
            return self._against_binding(api)
        except BadInput:
            raise
        except KeyturnError as error:
            return [error.message]

    def _warn_of_broadcasts(
        self, api: YouTube, document: Optional[Document], context: Context
    ) -> None:
        """What is planned on the stream in use stays there, but for the broadcast that the definition names."""
        current = document.current.text("stream_id") if document and document.current else ""
        bound = api.broadcasts_of(current) if current else []
        bound = [item for item in bound if item.id != self._definition.broadcast]
        if bound:
            context.warn(
                f"{_listed(bound)} bound to the stream in use, {current}: bind to the new stream what is to be sent with the new key, "
                "before the old one is retired"
            )

    def _against_binding(self, api: YouTube) -> List[str]:
        name = self._definition.broadcast
        found = api.broadcast(name) if name else None
        if name and found is None:
            return [f"{self._option}.broadcast: this channel has no broadcast {name}; correct it"]
        return [_on_the_air(found)] if found and found.is_on else []

    def use(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Bind the broadcast that the definition names to this stream.

        :raises Refused: it is on the air.
        """
        name = self._definition.broadcast
        if not name:
            return Outcome(False)
        api, wanted = self._open(context), stage.text("stream_id")
        found = api.broadcast(name)
        if found is None:
            raise Refused(
                f"{self._option}.broadcast: this channel has no broadcast {name}; correct it"
            )
        if found.stream == wanted:
            return Outcome(False)
        if found.is_over:
            context.warn(
                f"broadcast {name} is over, so it is bound to nothing any more; name the next one in {self._option}.broadcast"
            )
            return Outcome(False)
        if found.is_on:
            raise Refused(_on_the_air(found))
        if not context.check_mode:
            api.bind(name, wanted, guard)
        before, after = (f"broadcast {name}: stream {which}" for which in (found.stream, wanted))
        return Outcome(True, {"broadcast": name}, [before], [after if wanted else "(new)"])

    def revoke(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Delete the stream; for a stage without a key, every stream that names its rotation.

        :raises Refused: it is sent to, a broadcast is bound to it, or another stage has it.
        """
        api, known = self._open(context), stage.text("stream_id")
        if known:
            self._refuse_shared(stage, document)
            there = api.stream(known)
            found = [there] if there else []
        else:
            found = api.titled(stage.rotation_id)
        ask = no_guard if context.check_mode else guard
        for stream in found:
            self._delete(api, stream, ask, context.check_mode, careful=not stage.compromised)
        lines = [f"stream {stream.id}" for stream in found]
        return Outcome(bool(found), {"deleted": [stream.id for stream in found]}, before=lines)

    def _refuse_shared(self, stage: Stage, document: Document) -> None:
        for which in ("current", "previous", "pending"):
            other = document.stage(which)
            same = other and other.text("stream_id") == stage.text("stream_id")
            if other and same and other.rotation_id != stage.rotation_id:
                raise Refused(
                    f"stream {stage.text('stream_id')} is not deleted: the {which} stage of {document.credential} has it as well; finish "
                    "or undo that rotation first"
                )

    def _delete(
        self,
        api: YouTube,
        stream: Stream,
        guard: Guard,
        check_mode: bool,
        careful: bool = True,
    ) -> None:
        bound = api.broadcasts_of(stream.id)
        if careful and stream.state == ACTIVE:
            also = f"; {_listed(bound)} bound to it" if bound else ""
            raise Refused(
                f"{api.where}: stream {stream.id} is not deleted: somebody sends to it now{also}. Have the sender use the new key, then "
                "run again"
            )
        if bound:
            raise Refused(
                f"{api.where}: stream {stream.id} is not deleted: {_listed(bound)} bound to it. End it, or bind it to the stream in use, "
                "then run again"
            )
        if not check_mode:
            api.delete(stream.id, guard)

    def sessions(self, stage: Stage, context: Context) -> Optional[List[Session]]:
        """Who sends to the stream, and which broadcasts are bound to it and not over."""
        known = stage.text("stream_id")
        if not known:
            return []
        api = self._open(context)
        stream = api.stream(known)
        if stream is None:
            return []
        found: List[Session] = []
        if stream.state == ACTIVE:
            found.append(
                Session(
                    "", 0, text=f"a sender to stream {known} (its status is active)", sending=True
                )
            )
        found += [
            Session("", 0, text=f"broadcast {item.id} ({item.state}), bound to stream {known}")
            for item in api.broadcasts_of(known)
        ]
        return found


def _on_the_air(found: Broadcast) -> str:
    return f"broadcast {found.id} is on the air ({found.state}), and its stream cannot be changed: end it, then run again"


def _listed(bound: Sequence[Broadcast]) -> str:
    names = ", ".join(f"{item.id} ({item.state})" for item in bound)
    return f"broadcast {names} is" if len(bound) == 1 else f"broadcasts {names} are"
