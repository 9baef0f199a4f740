# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Older versions that places keep of themselves: which of them carry a compromised value, and their end."""

from __future__ import annotations

from typing import Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._port import (
    LEAVE,
    PUSH_OUT,
    UNDECIDED,
    OldVersions,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference

# What brings a service's library with it is imported where it is used.


def open_old_versions(
    reference: Reference, context: Context, where: str, history: str = UNDECIDED
) -> Optional[OldVersions]:
    """The older versions of a sink's place; none for a place that keeps none: Kubernetes, and a file, whose copies are its own.

    :param where: how messages name the place.
    :raises BadInput, Absent, MissingLibrary: when reference or environment lack something.
    """
    if reference.scheme == "vault":
        from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._vault import (
            open_vault_versions,
        )

        return open_vault_versions(reference, context, where)
    if reference.scheme == "awssecrets":
        from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._secretsmanager import (
            open_secret_versions,
        )

        return open_secret_versions(reference, context, where, keyring=False)
    if reference.scheme == "awsssm":
        from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._ssm import (
            open_history,
        )

        return open_history(reference, context, where, history)
    return None


def open_old_keyrings(reference: Reference, context: Context, where: str) -> Optional[OldVersions]:
    """The older versions of a keyring; none where its store keeps none.

    :raises BadInput, Absent, MissingLibrary: when reference or environment lack something.
    """
    if reference.scheme == "awsssm":
        from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._ssm import (
            open_keyring_parameters,
        )

        return open_keyring_parameters(reference, context, where)
    if reference.scheme == "awssecrets":
        from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._secretsmanager import (
            open_secret_versions,
        )

        return open_secret_versions(reference, context, where, keyring=True)
    return open_old_versions(reference, context, where)


__all__ = ["LEAVE", "PUSH_OUT", "UNDECIDED", "open_old_keyrings", "open_old_versions"]
