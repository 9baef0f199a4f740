# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate ``not_publishing``: nobody is live on an RTMP ingest, by its own statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._alert import resolved_headers
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import checked_url
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import (
    as_flag,
    refuse_unknown,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._rtmp_stat import (
    described,
    read_publishers,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

KEYS = (
    "type",
    "name",
    "stat",
    "applications",
    "streams",
    "headers",
    "validate_certs",
    "ca_path",
    "timeout",
)


ANY, OWN = "any", "own"
_NO_KEY = "the keyring knows no key in use, so it may be with this credential's"


def _keys(document: Optional[Document]) -> Optional[List[Secret]]:
    """The credential's own keys, under whatever name its issuer has them; none where the keyring does not say which one is in use."""
    if document is None or document.current is None:
        return None
    stages = [document.pending, document.current, document.previous]
    return [
        value
        for stage in stages
        if stage
        for value in stage.fields.values()
        if isinstance(value, Secret) and value.known
    ]


@dataclass(frozen=True)
class NotPublishing:
    """One ingest.

    :param applications: those that count; none: all.
    :param streams: ``any`` stream counts, or those alone that are published with the credential's ``own`` keys; while none is known to
        be in use, every stream may be.
    :param seconds: how long one reading may take.
    """

    stat: str
    applications: Tuple[str, ...]
    streams: str
    headers: Mapping[str, Any]
    validate_certs: bool
    ca_path: str
    seconds: float
    option: str
    on: str = ""

    ends = False

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any], option: str) -> NotPublishing:
        """The gate that a definition describes.

        :raises BadInput: naming the key and what is expected.
        """
        refuse_unknown(definition, KEYS, option)
        names = definition.get("applications") or []
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise BadInput(f"{option}.applications: expected a list of names, such as [live]")
        streams = definition.get("streams", ANY)
        if streams not in (ANY, OWN):
            raise BadInput(
                f"{option}.streams: expected any, where every broadcast counts, or own, where those with this credential's keys do"
            )
        headers = definition.get("headers") or {}
        if not isinstance(headers, Mapping):
            raise BadInput(f"{option}.headers: expected a mapping of names and values")
        seconds = parse_duration(definition.get("timeout", "10s"), f"{option}.timeout")
        if not seconds:
            raise BadInput(f"{option}.timeout: expected more than 0, such as 10s")
        return cls(
            stat=checked_url(definition.get("stat", ""), f"{option}.stat"),
            applications=tuple(names),
            streams=streams,
            headers=headers,
            validate_certs=as_flag(
                definition.get("validate_certs", True), f"{option}.validate_certs"
            ),
            ca_path=str(definition.get("ca_path") or ""),
            seconds=seconds.total_seconds(),
            option=option,
        )

    def closed(self, context: Context, document: Optional[Document]) -> List[str]:
        """Who is live.

        :raises KeyturnError: as the statistics' page gives cause.
        """
        whose = None if self.streams == ANY else _keys(document)
        anybody = self.streams == OWN and whose is None
        why = f", and {_NO_KEY}" if anybody else ""
        return [
            f"somebody is live ({text}){why}: nothing is changed while that is so; run again after the broadcast"
            for text in self.publishing(context, whose)
        ]

    def publishing(self, context: Context, keys: Optional[Sequence[Secret]] = None) -> List[str]:
        """Who publishes, by application, address and time.

        :param keys: only with one of these; none: with any.
        :raises KeyturnError: as the statistics' page gives cause.
        """
        found = read_publishers(
            self.stat,
            self.seconds,
            f"{self.option}.stat",
            self.applications,
            resolved_headers(self.headers, context, f"{self.option}.headers"),
            self.validate_certs,
            self.ca_path or None,
        )
        return [
            described(publisher, context.now())
            for publisher in found
            if publisher.publishing and (keys is None or publisher.has(keys))
        ]
