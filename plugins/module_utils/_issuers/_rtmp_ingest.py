# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer ``rtmp_ingest``: stream keys of an own ingest, which takes those that a list names.

============  ==========================================================================================
overlap       whether the list holds several keys (``true`` without it), as ``{current,pending,previous.key|join:\\n}`` makes it
stat          address of the statistics of nginx with the RTMP module: who publishes with an old key is seen there
applications  those that count; all without it
headers,      as in :mod:`_conditions._not_publishing`
validate_certs, ca_path, timeout
============  ==========================================================================================

A key is made here, as a value of the issuer ``generated`` is, and valid because a sink writes the list that the ingest reads.
"""

from __future__ import annotations

from typing import Any, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Session
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._generated import Generated
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import (
    as_flag,
    refuse_unknown,
)

FIELD = "key"
_ASKED = ("stat", "applications", "headers", "validate_certs", "ca_path", "timeout")


class RtmpIngest(Generated):
    """See the table at the top of this file."""

    def __init__(self, overlap: bool, ingest: Mapping[str, Any], option: str) -> None:
        super().__init__([FIELD], overlap, option)
        self._ingest = ingest
        self.senders = bool(ingest)

    @classmethod
    def from_definition(
        cls, definition: Mapping[str, Any], context: Context, option: str
    ) -> RtmpIngest:
        """The issuer that a ``keyturn_issuer`` describes.

        :raises BadInput: naming the key and what is expected.
        """
        refuse_unknown(definition, ("type", "overlap", *_ASKED), option)
        ingest = {name: definition[name] for name in _ASKED if name in definition}
        issuer = cls(as_flag(definition.get("overlap", True), f"{option}.overlap"), ingest, option)
        if ingest:
            issuer._statistics()
        return issuer

    def _statistics(self) -> Any:
        """Who publishes there, as the gate asks it; imported where it is used, as gates are."""
        from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions._not_publishing import (
            NotPublishing,
        )

        return NotPublishing.from_definition(
            {"type": "not_publishing", **self._ingest}, self._option
        )

    def sessions(self, stage: Stage, context: Context) -> Optional[List[Session]]:
        """Who publishes with this key now; none without ``stat``.

        :raises KeyturnError: as the statistics' page gives cause.
        """
        key = stage.secret(FIELD)
        if not self._ingest or key is None:
            return None
        return [
            Session("", 0, text=text, sending=True)
            for text in self._statistics().publishing(context, [key])
        ]
