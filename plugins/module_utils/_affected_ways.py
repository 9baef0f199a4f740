# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How those affected are told (``keyturn_affected.by``): the channels of :mod:`_channels`, one message for each user, and a file."""

from __future__ import annotations

import os
import re
from types import MappingProxyType
from typing import Any, Mapping, Protocol

from ansible_collections.keyturn.runbooks.plugins.module_utils._channels import (
    CHANNELS,
    Channel,
    Failed,
    MailChannel,
    Payload,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers import FileLedger
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown
from ansible_collections.keyturn.runbooks.plugins.module_utils._throwaway import refuse_throwaway

# What looks like an encoded word (RFC 2047) would be decoded in the header, to another address or to none.
_ADDRESS = re.compile(r"(?!.*=\?)[^\s@<>()\[\],;:\\\"]+@[^\s@<>()\[\],;:\\\"]+\Z")
_NOBODY = "nobody@example.invalid"
_TIMEOUT = 30.0


class Way(Protocol):
    """One way of telling, ready to be used."""

    def problem(self, to: str) -> str:
        """Why nobody can be told at this address, in words without it; empty when nothing speaks against it."""

    def send(self, payload: Payload) -> None:
        """Tell one user.

        :raises Failed: when the user could not be told, or may not have been.
        """


class _ByMail:
    """A mail to each."""

    def __init__(self, channel: MailChannel) -> None:
        self._channel = channel

    def problem(self, to: str) -> str:
        return "" if _ADDRESS.match(to) else "its address is no mail address"

    def send(self, payload: Payload) -> None:
        self._channel.for_one(payload["to"]).send(payload, _TIMEOUT)


class _ByChannel:
    """The payload, with the address in it, to a program or an address of one's own."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def problem(self, to: str) -> str:
        del to
        return ""

    def send(self, payload: Payload) -> None:
        self._channel.send(payload, _TIMEOUT)


class FileChannel:
    """A line of JSON for each, in a file that only its owner reads: for who sends them by other means."""

    def __init__(self, path: str, option: str) -> None:
        self.to = path
        self._lines = FileLedger(path, option)

    def send(self, payload: Payload, seconds: float) -> None:
        """Append it."""
        del seconds
        try:
            self._lines.append(payload)
        except KeyturnError as error:
            raise Failed(error.message) from None


class FileType:
    """``type: file``: ``path``."""

    def check(self, contact: Mapping[str, Any], option: str) -> None:
        """Read the definition."""
        refuse_unknown(contact, ("type", "path"), option)
        path = contact.get("path")
        if not isinstance(path, str) or not os.path.isabs(path) or "\0" in path:
            raise BadInput(
                f"{option}.path: expected the absolute path of a file, where the rotation runs"
            )

    def open(self, contact: Mapping[str, Any], context: Context, option: str) -> FileChannel:
        """The file."""
        self.check(contact, option)
        refuse_throwaway(contact["path"], context, option)
        return FileChannel(contact["path"], f"{option}.path")


TYPES: Mapping[str, Any] = MappingProxyType({**CHANNELS, "file": FileType()})
"""Every way, by its ``type``."""


def _addressed(by: Mapping[str, Any], option: str) -> Mapping[str, Any]:
    """The definition as that of a contact, which has an address of its own."""
    kind = by.get("type")
    if kind not in TYPES:
        said = f"'{kind}' is unknown" if kind else "missing"
        raise BadInput(f"{option}.type: {said}; expected one of {', '.join(sorted(TYPES))}")
    for name in ("to", "events", "name"):
        if name in by:
            raise BadInput(
                f"{option}.{name}: it has no meaning here: each user has an address, from the column that 'to' names"
            )
    return {**by, "to": _NOBODY} if kind == "mail" else by


def check_way(by: Mapping[str, Any], option: str) -> None:
    """Read the definition; nothing is resolved.

    :raises BadInput: naming the key and what is expected.
    """
    contact = _addressed(by, option)
    TYPES[contact["type"]].check(contact, option)


def open_way(by: Mapping[str, Any], context: Context, option: str) -> Way:
    """The way, with its references resolved. Nobody is connected to.

    :raises KeyturnError: naming the key, or as its references give cause.
    """
    contact = _addressed(by, option)
    channel = TYPES[contact["type"]].open(contact, context, option)
    return _ByMail(channel) if isinstance(channel, MailChannel) else _ByChannel(channel)
