# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which module of this package writes which kind of place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._define import Options
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env import EnvCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Attributes,
    Codec,
    FilePlace,
    TextCodec,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._json import JsonCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Place


@dataclass(frozen=True)
class Address:
    """Where a place is: a reference without the field, in parts that can be sent to another machine.

    :param text: the reference as it was written, without the field.
    :param where: how messages name it.
    """

    scheme: str
    path: str
    params: Mapping[str, str]
    text: str
    where: str


def _codec(form: str) -> Codec:
    if form == "env":
        return EnvCodec()
    return JsonCodec() if form == "json" else TextCodec()


def open_place(address: Address, options: Options, context: Context) -> Place:
    """The place at an address, on the machine where this runs.

    :raises BadInput: when there is no such kind of place.
    """
    if address.scheme == "file":
        attributes = Attributes(options.mode, options.owner, options.file_group)
        return FilePlace(address.path, _codec(options.format), attributes, address.where)
    if address.scheme == "vault":
        from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._vault import (
            open_vault_place,
        )

        reference = Reference(address.scheme, address.path, address.params, (), address.text)
        return open_vault_place(reference, context, address.where)
    raise BadInput(f"{address.where}: '{address.scheme}' is no place that a sink can be written to")
