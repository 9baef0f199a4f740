# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which module of this package writes which kind of place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Callable, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._backup import (
    EACH_DAY,
    BackedUpPlace,
    Keep,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env import EnvCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Attributes,
    Codec,
    FilePlace,
    TextCodec,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._json import JsonCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._log import LogPlace
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._options import (
    PATHS,
    Options,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Place
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._yaml import YamlCodec


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


def codec(options: Options) -> Codec:
    """How a text holds fields: ``env``, ``json``, ``yaml``, or as a whole."""
    if options.format == "env":
        return EnvCodec(options.dialect)
    if options.format in PATHS:
        return YamlCodec(front_matter=options.format == "frontmatter")
    return JsonCodec() if options.format == "json" else TextCodec()


def _file(reference: Reference, options: Options, context: Context, where: str) -> Place:
    attributes = Attributes(options.mode, options.owner, options.file_group)
    if options.format == "log":
        return LogPlace(reference.path, attributes, where)
    if options.backup_keep is None:
        return FilePlace(reference.path, codec(options), attributes, where)
    keep = Keep(timedelta(seconds=options.backup_keep), options.backup_count, EACH_DAY)
    return BackedUpPlace(reference.path, codec(options), attributes, where, keep, context)


# What brings a service's library with it is imported where it is used.


def _vault(reference: Reference, options: Options, context: Context, where: str) -> Place:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._vault import (
        open_vault_place,
    )

    return open_vault_place(reference, context, where)


def _parameter(reference: Reference, options: Options, context: Context, where: str) -> Place:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._ssm import (
        open_parameter_place,
    )

    return open_parameter_place(reference, codec(options), context, where)


def _secret(reference: Reference, options: Options, context: Context, where: str) -> Place:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._secretsmanager import (
        open_secret_place,
    )

    return open_secret_place(reference, codec(options), context, where)


def _kubernetes(reference: Reference, options: Options, context: Context, where: str) -> Place:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._k8s import (
        open_kubernetes_place,
    )

    return open_kubernetes_place(reference, context, where)


OPENERS: Mapping[str, Callable[[Reference, Options, Context, str], Place]] = MappingProxyType(
    {
        "awssecrets": _secret,
        "awsssm": _parameter,
        "file": _file,
        "k8s": _kubernetes,
        "vault": _vault,
    }
)
"""Every kind of place, by its reference's scheme."""


def open_place(address: Address, options: Options, context: Context) -> Place:
    """The place at an address, on the machine where this runs; nothing is read yet.

    :raises BadInput: when there is no such kind of place, or its reference or environment lack something.
    :raises Absent, Denied, MissingLibrary: as the place does.
    """
    opener = OPENERS.get(address.scheme)
    if opener is None:
        raise BadInput(
            f"{address.where}: '{address.scheme}' is no place that a sink can be written to"
        )
    reference = Reference(address.scheme, address.path, address.params, (), address.text)
    return opener(reference, options, context, address.where)
