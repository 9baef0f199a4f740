# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of a secret in Vault's KV engine, version 2, as a place for sinks.

Each write is check-and-set on the version that was read, with all other fields as they were read. Rights: ``create``, ``read``
and ``update`` on ``mount/data/path``; with ``update`` on ``sys/capabilities-self``, as Vault's default policy has it, check mode
can tell that one of these is missing.
"""

from __future__ import annotations

from typing import Any, ContextManager, Dict, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Changes,
    Observed,
    Stale,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import (
    VaultClient,
    open_vault,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_errors import LONGEST_TEXT
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv import (
    Found,
    KvSecret,
    kv_location,
)


class VaultPlace:
    """One secret.

    :param where: how messages name it.
    """

    def __init__(self, client: VaultClient, mount: str, path: str, where: str) -> None:
        self._secret = KvSecret(client, mount, path)
        self._where = where

    def exclusive(self) -> Optional[ContextManager[None]]:
        """Nothing: Vault compares and sets."""
        return None

    def tidy(self) -> None:
        """Nothing: a write is done or not."""

    def check(self, changes: Changes) -> None:
        """Refuse a text that is longer than Vault takes by default.

        :raises BadInput: naming the field.
        """
        for name, value in changes.items():
            size = len(reveal(value).encode("utf-8", "surrogatepass")) if value else 0
            if size > LONGEST_TEXT:
                raise BadInput(
                    f"{self._where}: the field '{name}' would have {size} bytes, and Vault takes {LONGEST_TEXT} in one text; make it "
                    "smaller, or keep it in several"
                )

    def read(self, names: Tuple[str, ...]) -> Observed:
        """The named fields. A secret whose newest version was deleted is not there, and a note tells so.

        :raises Absent: when nothing is mounted there.
        :raises Denied, Sealed, Unreachable, BadInput: as Vault says.
        """
        found = self._secret.read()
        if found.data is None:
            lost = f"version {found.version} was {found.gone}: what is written now has only the fields that are named here"
            version = str(found.version) if found.version else None
            return Observed(
                {}, version, exists=False, notes=(lost,) if found.gone else (), state=found
            )
        there = {name: found.data[name] for name in names if name in found.data}
        fields = {
            name: Secret(value) if isinstance(value, str) else None for name, value in there.items()
        }
        return Observed(fields, str(found.version), state=found)

    def check_write(self, observed: Observed, changes: Changes) -> None:
        """Ask Vault whether this token may write there.

        :raises Denied: when it may not.
        """
        self._secret.check_write(bool(observed.version), self._where)

    def write(self, observed: Observed, changes: Changes) -> Optional[str]:
        """Write the next version.

        :raises Stale: when the version that was read is no longer the newest.
        :raises Denied, Sealed, Unreachable, BadInput: as Vault says.
        """
        found = observed.state
        if not isinstance(found, Found):
            raise TypeError("observed by another place")
        data = dict(found.data or {})
        for name, value in changes.items():
            if value is None:
                data.pop(name, None)
            else:
                data[name] = reveal(value)
        try:
            return str(self._secret.write(data, found.version))
        except (Conflict, Unreachable) as error:
            if error.details.get("uncertain") and self._is_written(data, found.version + 1):
                return str(found.version + 1)
            if isinstance(error, Conflict):
                raise Stale(error.message) from None
            raise

    def _is_written(self, data: Dict[str, Any], version: int) -> bool:
        """Whether a write whose answer was lost was done."""
        try:
            found = self._secret.read()
        except KeyturnError:
            return False
        return found.version == version and found.data == data


def open_vault_place(reference: Reference, context: Context, where: str) -> VaultPlace:
    """The secret that a sink's reference names; nothing is read yet.

    :raises BadInput, Absent, MissingLibrary: when reference or environment lack something.
    """
    mount, path = kv_location(reference, where)
    return VaultPlace(open_vault(reference, context, where), mount, path, where)
