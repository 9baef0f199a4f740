# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate ``not_publishing``: nobody is live on an RTMP ingest, by its own statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._alert import resolved_headers
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import checked_url
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
    "headers",
    "validate_certs",
    "ca_path",
    "timeout",
)


@dataclass(frozen=True)
class NotPublishing:
    """One ingest.

    :param applications: those that count; none: all.
    :param seconds: how long one reading may take.
    """

    stat: str
    applications: Tuple[str, ...]
    headers: Mapping[str, Any]
    validate_certs: bool
    ca_path: str
    seconds: float
    option: str

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any], option: str) -> NotPublishing:
        """The gate that a definition describes.

        :raises BadInput: naming the key and what is expected.
        """
        refuse_unknown(definition, KEYS, option)
        names = definition.get("applications") or []
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise BadInput(f"{option}.applications: expected a list of names, such as [live]")
        headers = definition.get("headers") or {}
        if not isinstance(headers, Mapping):
            raise BadInput(f"{option}.headers: expected a mapping of names and values")
        seconds = parse_duration(definition.get("timeout", "10s"), f"{option}.timeout")
        if not seconds:
            raise BadInput(f"{option}.timeout: expected more than 0, such as 10s")
        return cls(
            stat=checked_url(definition.get("stat", ""), f"{option}.stat"),
            applications=tuple(names),
            headers=headers,
            validate_certs=as_flag(
                definition.get("validate_certs", True), f"{option}.validate_certs"
            ),
            ca_path=str(definition.get("ca_path") or ""),
            seconds=seconds.total_seconds(),
            option=option,
        )

    def closed(self, context: Context) -> List[str]:
        """Who is live.

        :raises KeyturnError: as the statistics' page gives cause.
        """
        return [
            f"somebody is live ({text}): nothing is changed while that is so; run again after the broadcast"
            for text in self.publishing(context)
        ]

    def publishing(self, context: Context, key: Optional[Secret] = None) -> List[str]:
        """Who publishes, by application, address and time.

        :param key: only with this key.
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
            if publisher.publishing and key in (None, publisher.name)
        ]
