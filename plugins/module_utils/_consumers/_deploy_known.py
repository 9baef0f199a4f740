# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a consumer of type ``deploy`` is told by the controller: the values, or digests by which its host knows them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._define import Consumer
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render import (
    file_options,
    sealed,
    unsealed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render_plan import (
    CONTROLLER,
    HOST,
    KEEP,
    REMOVE,
    read_rules,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render_source import (
    SCHEME,
    Expected,
    Source,
    source_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import checked_url
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import SALT_BYTES, Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._redact import seal_values
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import Sink, render_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env import DIALECT_NAMES

_ONE = "mode"


def check_deploy(given: Mapping[str, Any], where: str) -> None:
    """Refuse a definition that cannot be meant.

    :raises BadInput: naming the key.
    """
    source_of(given["path"], f"{where}: path")
    read_rules(given, where)
    if not isinstance(given["env_file"], str) or not given["env_file"].startswith("/"):
        raise BadInput(f"{where}: env_file: expected an absolute path, such as /opt/musehub/.env")
    for key, allowed in (
        ("read_from", (CONTROLLER, HOST)),
        ("others", (REMOVE, KEEP)),
        ("dialect", DIALECT_NAMES),
    ):
        if key in given and given[key] not in allowed:
            raise BadInput(f"{where}: '{key}' must be one of {', '.join(allowed)}")
    try:
        file_options(given)
    except BadInput as error:
        raise BadInput(f"{where}: {error.message}") from None
    if "url" in given:
        checked_url(given["url"], f"{where}: url")
    status = given.get("status", 200)
    if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:
        raise BadInput(f"{where}: status: expected an HTTP status such as 200")


def _own(sink: Sink, given: Mapping[str, Any], where: str) -> str:
    """The parameter below the path that a sink writes; empty for another place."""
    source = source_of(given["path"], f"{where}: path")
    ref = sink.ref
    if ref.scheme != SCHEME or _ONE in ref.params:
        return ""
    alike = all(
        ref.params.get(key, value) == value
        for key, value in source.params.items()
        if key == "region"
    )
    begin = f"{source.path}/"
    path = ref.path.strip("/")
    if not alike or not path.startswith(begin):
        return ""
    name = path[len(begin) :]
    return name if given.get("recursive") or "/" not in name else ""


def sealed_for(
    consumer: Consumer,
    document: Optional[Document],
    sinks: Sequence[Sink],
    context: Context,
    look: bool = False,
) -> Secret:
    """What the consumer's machine must know, as the opaque content of a ``no_log`` option; see :func:`known`."""
    found = known(consumer.definition, consumer.name, document, sinks, context, look)
    return seal_values([found.seal()])


@dataclass(frozen=True)
class Known:
    """What is sent to the consumer's host.

    :param values: by variable; none where the host reads them itself.
    """

    expected: Expected
    values: Optional[Mapping[str, Secret]] = None

    def seal(self) -> Secret:
        """As one text."""
        told = None if self.values is None else sealed(self.values)
        return Secret(json.dumps({"expected": self.expected.to_plain(), "values": told}))

    @classmethod
    def parse(cls, text: Secret) -> Known:
        """What :meth:`seal` made."""
        body = json.loads(text.reveal())
        told = body["values"]
        values = None if told is None else unsealed(told)
        return cls(Expected.parse(body["expected"]), values)

    def values_for(
        self, given: Mapping[str, Any], where: str, context: Context
    ) -> Dict[str, Secret]:
        """The variables: those that were sent, or those that this host reads.

        :raises KeyturnError: as AWS gives cause.
        """
        if self.values is not None:
            return dict(self.values)
        source = Source(source_of(given["path"], f"{where}: path"), context, where)
        return source.settled(read_rules(given, where), self.expected)


def known(
    given: Mapping[str, Any],
    name: str,
    document: Optional[Document],
    sinks: Sequence[Sink],
    context: Context,
    look: bool = False,
) -> Known:
    """What the consumer is to be told.

    :param document: the keyring; none before the first rotation, or for a task without one.
    :param look: before anything is begun.
    :raises KeyturnError: as AWS gives cause.
    """
    where = f"consumer {name}"
    rendered = render_sinks(document, sinks) if document else ()
    salt = context.randbytes(SALT_BYTES)
    digest = Expected(salt).digest
    own = {sink.name: _own(sink, given, where) for sink in sinks}
    digests = {own[sink.name]: "" for sink in sinks if look and own[sink.name]}
    for item in rendered:
        if own[item.sink.name] and not look:
            for value in item.fields.values():
                digests[own[item.sink.name]] = digest(value) if value else ""
    expected = Expected(salt, digests, context.check_mode and not look, look)
    told = Known(expected)
    if given.get("read_from") == HOST:
        return told
    return Known(expected, told.values_for(given, where, context))
