# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Vault keeps of a secret beside its values: versions, how many are kept, and custom metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import VaultClient
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv import (
    api_url,
    why_gone,
)

LIVE = "live"
_MERGE = "application/merge-patch+json"
# Vault refuses more than that: 64 keys, of 128 bytes, with 512 bytes each (its KV engine, path_metadata.go).
_MOST_KEYS, _LONGEST_KEY, _LONGEST_VALUE = 64, 128, 512


@dataclass(frozen=True)
class Metadata:
    """What Vault says of a secret.

    :param newest: the number of its newest version; 0 where none was ever written.
    :param states: of each version that is kept: ``live``, ``deleted`` or ``destroyed``.
    :param made: when each of them was written, as Vault tells it.
    :param keep: how many versions are kept; 0: what the mount says.
    """

    newest: int = 0
    states: Mapping[int, str] = field(default_factory=dict)
    made: Mapping[int, str] = field(default_factory=dict)
    custom: Mapping[str, str] = field(default_factory=dict)
    keep: int = 0


def check_custom(custom: Mapping[str, Optional[str]], present: Mapping[str, str]) -> None:
    """Refuse custom metadata that Vault would.

    :param custom: what is to be set; none removes a key.
    :param present: what is there.
    :raises BadInput: naming the key, and what is too long.
    """
    for name, value in custom.items():
        if not name or len(name.encode()) > _LONGEST_KEY:
            raise BadInput(
                f"metadata: a key must have from 1 to {_LONGEST_KEY} bytes; '{name[:20]}…' has {len(name.encode())}"
            )
        if value is not None and not 0 < len(value.encode()) <= _LONGEST_VALUE:
            raise BadInput(
                f"metadata.{name}: a value must have from 1 to {_LONGEST_VALUE} bytes; this one has {len(value.encode())}"
            )
    merged = {**present, **custom}
    count = sum(value is not None for value in merged.values())
    if count > _MOST_KEYS:
        raise BadInput(
            f"metadata: Vault keeps {_MOST_KEYS} keys of a secret, and these would be {count}"
        )


class KvMetadata:
    """The metadata of one secret of a KV engine of version 2.

    :ivar path: of the metadata, in Vault's API.
    """

    def __init__(self, client: VaultClient, mount: str, path: str) -> None:
        self._client = client
        self._mount, self._path = mount, path
        self.path = f"{mount}/metadata/{path}"
        self.place = f"Vault path {mount}/{path} at {client.named}"

    def action_path(self, action: str) -> str:
        """The path of ``delete``, ``undelete`` or ``destroy`` in Vault's API."""
        return f"{self._mount}/{action}/{self._path}"

    def read(self) -> Optional[Metadata]:
        """What is there; none where there is no such secret.

        :raises Absent: when nothing is mounted there.
        :raises Denied, Sealed, Unreachable: as the error says.
        """

        def ask(client: Any) -> Metadata:
            answer = client.secrets.kv.v2.read_secret_metadata(self._path, self._mount)
            found = answer["data"]
            now = self._client.time() or datetime.now(timezone.utc)
            versions = {int(number): entry for number, entry in found["versions"].items()}
            return Metadata(
                newest=int(found["current_version"]),
                states={number: why_gone(entry, now) or LIVE for number, entry in versions.items()},
                made={number: str(entry["created_time"]) for number, entry in versions.items()},
                custom=dict(found.get("custom_metadata") or {}),
                keep=int(found.get("max_versions") or 0),
            )

        metadata: Optional[Metadata] = self._client.call(
            self.place, "read its metadata", ask, absent=lambda _rest: None
        )
        return metadata

    def set(
        self, custom: Mapping[str, Optional[str]], keep: Optional[int], found: Optional[Metadata]
    ) -> None:
        """Set some keys and leave all others as they are, whoever set them.

        Vault merges (PATCH) where the policy has ``patch``. Where it has not, or there is nothing to merge with, the whole is
        written: what others set between reading and writing would be lost then, so it is read right before.

        :param custom: the keys; none removes one.
        :param keep: how many versions; none leaves that as it is.
        :raises Conflict: when it is not there afterwards.
        :raises Denied, Sealed, Unreachable, BadInput: as the error says.
        """
        more = {} if keep is None else {"max_versions": keep}
        body: Dict[str, Any] = {**more, **({"custom_metadata": dict(custom)} if custom else {})}
        try:
            if found is None or not self._patched(body):
                self._replace(custom, more)
        except Unreachable as error:
            if not error.details.get("uncertain"):
                raise
        self._check(custom, keep)

    def _patched(self, body: Mapping[str, Any]) -> bool:
        """Merge; false where the policy does not allow it. Merging the same again changes nothing, so it may be sent again."""

        def ask(client: Any) -> None:
            url = api_url(self.path)
            client.adapter.request("patch", url, json=body, headers={"Content-Type": _MERGE})

        try:
            self._client.call(self.place, "change its metadata", ask, writes=True, repeats=True)
        except Denied:
            return False
        return True

    def _replace(self, custom: Mapping[str, Optional[str]], more: Mapping[str, Any]) -> None:
        """Write the whole. Sent again, it could undo what somebody else wrote in between, so it is not."""
        found = self.read()
        merged = {**(found.custom if found else {}), **custom}
        kept = {name: value for name, value in merged.items() if value is not None}
        body = {**more, **({"custom_metadata": kept} if custom else {})}

        def ask(client: Any) -> None:
            client.adapter.post(api_url(self.path), json=body)

        self._client.call(self.place, "write its metadata", ask, writes=True)

    def _check(self, custom: Mapping[str, Optional[str]], keep: Optional[int]) -> None:
        found = self.read() or Metadata()
        wrong = [name for name, value in custom.items() if found.custom.get(name) != value]
        if wrong or (keep is not None and found.keep != keep):
            raise Conflict(
                f"{self._client.option}: {self.place}: its metadata is not as it was written ({', '.join(wrong) or 'versions kept'}); "
                "somebody else writes it too. Find out who, then run again"
            )

    def change_versions(self, action: str, numbers: Sequence[int], state: str) -> None:
        """Delete, undelete or destroy versions, and make sure that they are.

        They are named, so it may be sent again: what is deleted or destroyed already stays as it is.

        :param action: ``delete``, ``undelete`` or ``destroy``.
        :param state: what they are to be afterwards.
        :raises Conflict: when they are not.
        :raises Denied, Sealed, Unreachable, BadInput: as the error says.
        """

        def ask(client: Any) -> None:
            url = api_url(self.action_path(action))
            client.adapter.post(url, json={"versions": list(numbers)})

        try:
            self._client.call(
                self.place, f"{action} versions of it", ask, writes=True, repeats=True
            )
        except Unreachable as error:
            if not error.details.get("uncertain"):
                raise
        states = (self.read() or Metadata()).states
        wrong: List[str] = [str(number) for number in numbers if states.get(number, state) != state]
        if wrong:
            raise Conflict(
                f"{self._client.option}: {self.place}: version {', '.join(wrong)} is not {state} after it was asked for; somebody else "
                "changes it too, or the answer was lost. Run again"
            )

    def remove(self) -> None:
        """Remove the secret with all its versions and its metadata.

        It may be sent again: what is gone stays gone. What somebody else makes in between goes with it, as it does without that.

        :raises Denied, Sealed, Unreachable: as the error says.
        """

        def ask(client: Any) -> None:
            client.adapter.delete(api_url(self.path))

        try:
            self._client.call(self.place, "remove it", ask, writes=True, repeats=True)
        except Unreachable as error:
            if not error.details.get("uncertain") or self._is_there():
                raise

    def _is_there(self) -> bool:
        try:
            return self.read() is not None
        except KeyturnError:
            return True
