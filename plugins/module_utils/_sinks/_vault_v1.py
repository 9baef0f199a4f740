# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of a secret in Vault's KV engine, version 1.

That engine has no check-and-set and no versions: a write replaces the whole secret, whoever wrote in between. So the secret is
read again right before it is written, and read back afterwards. What somebody wrote in the moment between those two readings is
lost, and seen only if it was written after ours. Where two may write to one secret, use version 2.

Rights: ``create``, ``read`` and ``update`` on ``mount/path``.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ContextManager, Dict, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Conflict, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Changes,
    Observed,
    Stale,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import VaultClient
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv import api_url
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_rights import need_rights


@dataclass(frozen=True)
class _Found:
    """The whole secret as it was read; none where there is none."""

    data: Optional[Dict[str, Any]]


class UnversionedPlace:
    """One secret.

    :param where: how messages name it.
    """

    def __init__(self, client: VaultClient, mount: str, path: str, where: str) -> None:
        self._client = client
        self._api_path = f"{mount}/{path}"
        self._place = f"Vault path {mount}/{path} at {client.address}"
        self._where = where

    def exclusive(self) -> ContextManager[None]:
        """Nothing: a lock on this machine would not keep others out."""
        return nullcontext()

    def tidy(self) -> None:
        """Nothing: a write is done or not."""

    def check(self, changes: Changes) -> None:
        """Vault keeps any text."""

    def _data(self) -> Optional[Dict[str, Any]]:
        def ask(client: Any) -> Dict[str, Any]:
            return dict(client.adapter.get(api_url(self._api_path))["data"])

        found: Optional[Dict[str, Any]] = self._client.call(
            self._place, "read it", ask, absent=lambda _rest: None
        )
        return found

    def read(self, names: Tuple[str, ...]) -> Observed:
        """The named fields.

        :raises Absent: when nothing is mounted there.
        :raises Denied, Sealed, Unreachable: as Vault says.
        """
        data = self._data()
        there = {name: data[name] for name in names if name in data} if data else {}
        fields = {
            name: Secret(value) if isinstance(value, str) else None for name, value in there.items()
        }
        return Observed(fields, exists=data is not None, state=_Found(data))

    def check_write(self, observed: Observed, changes: Changes) -> None:
        """Ask Vault whether this token may write there.

        :raises Denied: when it may not.
        """
        needed = "update" if observed.exists else "create"
        need_rights(self._client, self._place, {self._api_path: (needed,)}, self._where)

    def check_remove(self) -> None:
        """Ask Vault whether this token may remove it.

        :raises Denied: when it may not.
        """
        need_rights(self._client, self._place, {self._api_path: ("delete",)}, self._where)

    def write(self, observed: Observed, changes: Changes) -> None:
        """Write the whole secret.

        :raises Stale: when it is not as it was read; nothing was written then.
        :raises Conflict: when something else is there afterwards.
        :raises Denied, Sealed, Unreachable: as Vault says.
        """
        found = observed.state
        if not isinstance(found, _Found):
            raise TypeError("observed by another place")
        if self._data() != found.data:
            raise Stale(f"{self._where}: somebody else wrote there; nothing was written")
        data = dict(found.data or {})
        for name, value in changes.items():
            if value is None:
                data.pop(name, None)
            else:
                data[name] = reveal(value)
        self._send(data)
        if self._data() != data:
            raise Conflict(
                f"{self._where}: somebody else wrote there at the same time, and one of the two writes is lost: this engine (KV version 1) "
                "cannot prevent it. Look at what is there, then run again"
            )

    def _send(self, data: Mapping[str, Any]) -> None:
        def ask(client: Any) -> None:
            client.adapter.post(api_url(self._api_path), json=dict(data))

        try:
            self._client.call(self._place, "write to it", ask, writes=True)
        except Unreachable as error:
            if not error.details.get("uncertain") or self._data() != data:
                raise

    def remove(self) -> None:
        """Remove the secret.

        :raises Denied, Sealed, Unreachable: as Vault says.
        """

        def ask(client: Any) -> None:
            client.adapter.delete(api_url(self._api_path))

        self._client.call(self._place, "remove it", ask, writes=True)
