# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The older versions of a secret in Vault's KV engine, version 2: destroyed, and not deleted, which anybody may undo.

Rights: ``read`` on ``mount/metadata/path`` and ``mount/data/path``, ``update`` on ``mount/destroy/path``.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, List

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._port import (
    Carries,
    Seen,
    numbered,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._vault import to_text
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import (
    VaultClient,
    open_vault,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv import (
    KvSecret,
    kv_location,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_metadata import (
    LIVE,
    KvMetadata,
    Metadata,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_rights import need_rights


@contextmanager
def _needing(right: str, path: str) -> Iterator[None]:
    """What Vault denies inside is told with the right that it takes."""
    try:
        yield
    except Denied as error:
        raise Denied(f"{error.message}. It takes '{right}' on '{path}'", **error.details) from None


class VaultVersions:
    """Those of one secret."""

    def __init__(self, client: VaultClient, mount: str, path: str, where: str) -> None:
        self.where = where
        self._client = client
        self._secret = KvSecret(client, mount, path)
        self._metadata = KvMetadata(client, mount, path)
        self._data = f"{mount}/data/{path}"

    def look(self, carries: Carries, replaced: bool) -> Seen:
        """Read each version that can be read.

        :raises Denied, Sealed, Unreachable: as Vault says; ``Denied`` also where those found may not be destroyed.
        """
        with _needing("read", self._metadata.path):
            found = self._metadata.read() or Metadata()
        older = [
            number
            for number, state in sorted(found.states.items())
            if state == LIVE and number != found.newest
        ]
        carrying = [number for number in older if self._carries(number, carries)]
        in_use = found.states.get(found.newest) == LIVE and self._carries(found.newest, carries)
        if in_use and replaced:
            carrying.append(found.newest)
        if carrying:
            path = self._metadata.action_path("destroy")
            need_rights(self._client, self._secret.place, {path: ("update",)}, self.where)
        names = tuple(map(str, carrying))
        return Seen(names, len(older), tuple(self._left(found, in_use and not replaced)))

    def _carries(self, number: int, carries: Carries) -> bool:
        with _needing("read", self._data):
            data = self._secret.read(number).data
        return data is not None and carries(to_text(data))

    @staticmethod
    def _left(found: Metadata, in_use: bool) -> List[str]:
        left = []
        deleted = tuple(str(number) for number, state in found.states.items() if state == "deleted")
        if deleted:
            left.append(
                f"version {numbered(deleted)} was deleted, so it cannot be looked into, and 'vault kv undelete' brings it back: where "
                "nobody needs it, destroy it with vault_kv and state: destroyed"
            )
        if in_use:
            left.append(
                f"version {found.newest}, which is in use there, carries it and is not destroyed: see which field has it, and who wrote it"
            )
        return left

    def end(self, seen: Seen, guard: Guard) -> None:
        """Destroy them, in one call.

        :raises Denied, Sealed, Unreachable, Conflict: as Vault says.
        """
        guard()
        with _needing("update", self._metadata.action_path("destroy")):
            self._metadata.change_versions(
                "destroy", [int(it) for it in seen.carrying], "destroyed"
            )


def open_vault_versions(reference: Reference, context: Context, where: str) -> VaultVersions:
    """The older versions of what a reference names; nothing is read yet.

    :raises BadInput, Absent, MissingLibrary: when reference or environment lack something.
    """
    mount, path = kv_location(reference, where)
    return VaultVersions(open_vault(reference, context, where), mount, path, where)
