# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores: where keyrings are kept."""

from __future__ import annotations

from types import MappingProxyType
from typing import Callable, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._store_port import (
    Store,
    StoredVersion,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._file import open_file_store


def _open_vault_store(reference: Reference, context: Context, option: str) -> Store:
    # Imported where it is used: hvac and what it brings are a good part of what a module of its own takes to start.
    from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._vault import (
        open_vault_store,
    )

    return open_vault_store(reference, context, option)


def _open_parameter_store(reference: Reference, context: Context, option: str) -> Store:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._ssm import (
        open_parameter_store,
    )

    return open_parameter_store(reference, context, option)


def _open_secret_store(reference: Reference, context: Context, option: str) -> Store:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._secretsmanager import (
        open_secret_store,
    )

    return open_secret_store(reference, context, option)


def _open_kubernetes_store(reference: Reference, context: Context, option: str) -> Store:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._k8s import (
        open_kubernetes_store,
    )

    return open_kubernetes_store(reference, context, option)


STORES: Mapping[str, Callable[[Reference, Context, str], Store]] = MappingProxyType(
    {
        "awssecrets": _open_secret_store,
        "awsssm": _open_parameter_store,
        "file": open_file_store,
        "k8s": _open_kubernetes_store,
        "vault": _open_vault_store,
    }
)
"""Every place that can keep a keyring, by its reference's scheme."""


def open_store(reference: Reference, context: Context, option: str) -> Store:
    """The store that a reference names; nothing is read yet.

    :param option: how messages name the reference's origin.
    :raises BadInput: for a scheme that keeps no documents, a fragment, or a parameter that makes no sense here.
    :raises Refused: for a file that would be lost with the container it is in.
    """
    opener = STORES.get(reference.scheme)
    if opener is None:
        raise BadInput(
            f"{option}: {reference.text} cannot keep a keyring: '{reference.scheme}' is no store in this version; expected "
            f"ref+{' or ref+'.join(sorted(STORES))}"
        )
    if reference.fragment:
        raise BadInput(
            f"{option}: {reference.text}: a keyring fills its place alone; leave out '#' and what follows"
        )
    return opener(reference, context, option)


__all__ = ["STORES", "Store", "StoredVersion", "open_store"]
