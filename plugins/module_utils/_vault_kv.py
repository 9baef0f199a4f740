# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One secret of a KV engine of version 2 in Vault: read, check-and-set, versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Mapping, Optional, Tuple
from urllib.parse import quote

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._store_port import StoredVersion
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_time
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import (
    VaultClient,
    open_vault,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_rights import need_rights

_CLOCK = timedelta(seconds=2)
"""A server tells its clock in whole seconds."""

_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


@dataclass(frozen=True)
class Found:
    """What Vault holds for a secret.

    :param data: its keys and values; none when there is no live version.
    :param version: the number that a write must expect; 0 when it was never written.
    :param gone: why there is no data although there is a version: ``deleted`` or ``destroyed``.
    :param made: when this version was written, as Vault tells it.
    """

    data: Optional[Dict[str, Any]]
    version: int = 0
    gone: str = ""
    made: str = ""


def kv_location(reference: Reference, option: str) -> Tuple[str, str]:
    """Mount and path of a ``ref+vault`` reference.

    The mount is the path's first name, or what ``?mount=`` says; that must be the path's beginning. ``secret/data/x``, as
    Vault's API and older users of vals have it, is refused: taken literally it would name another, empty place.

    :raises BadInput: when the path does not fit its mount, or has the API's ``data/``.
    """
    mount, path = reference.params.get("mount", "").strip("/"), reference.path
    if mount:
        if not path.startswith(mount + "/"):
            raise BadInput(
                f"{option}: {reference.text}: the path must begin with the mount '{mount}/'"
            )
        return mount, path[len(mount) + 1 :]
    mount, _slash, path = path.partition("/")
    if path.split("/")[0] in ("data", "metadata") and "/" in path:
        plain = path.partition("/")[2]
        raise BadInput(
            f"{option}: {reference.text}: leave out the API's '{path.split('/')[0]}/': ref+vault://{mount}/{plain}; if the secret "
            f"really has that name, add ?mount={mount}"
        )
    return mount, path


def api_url(path: str) -> str:
    """Where a path of Vault's API is; names may have blanks and signs in them that mean something in a URL."""
    return f"/v1/{quote(path)}"


def look_at_engine(client: VaultClient, mount: str) -> str:
    """What is mounted there, such as ``kv version 2``; empty when the token may not know. It is asked once for each mount.

    :raises Sealed, Unreachable: as the error says.
    """

    def ask(hvac_client: Any) -> str:
        answer = hvac_client.adapter.get(api_url(f"sys/internal/ui/mounts/{mount}"))
        engine = answer["data"]
        kind = "kv" if engine["type"] == "generic" else engine["type"]
        version = (engine.get("options") or {}).get("version", "1")
        return f"{kind} version {version}"

    if mount not in client.engines:
        place = f"the mount {mount} at {client.named}"
        try:
            client.engines[mount] = client.call(place, "look at it", ask)
        except (Absent, Denied):
            return ""
    return client.engines[mount]


class KvSecret:
    """One secret.

    :ivar place: how messages name it.
    """

    def __init__(self, client: VaultClient, mount: str, path: str) -> None:
        self._client = client
        self._mount = mount
        self._path = path
        self.place = f"Vault path {mount}/{path} at {client.named}"

    def __repr__(self) -> str:
        return f"KvSecret({self.place})"

    def read(self, version: Optional[int] = None) -> Found:
        """What is there.

        :param version: a number; none for the newest.
        :raises Absent: when nothing is mounted there.
        :raises BadInput: when the engine is not KV version 2.
        :raises Denied, Sealed, Unreachable: as the error says.
        """

        def ask(client: Any) -> Found:
            kv = client.secrets.kv.v2
            answer = kv.read_secret_version(
                self._path, version, self._mount, raise_on_deleted_version=True
            )
            metadata = answer["data"]["metadata"]
            made = str(metadata.get("created_time") or "")
            return Found(dict(answer["data"]["data"]), int(metadata["version"]), made=made)

        found: Found = self._client.call(self.place, "read it", ask, absent=_remains)
        if found.data is None and not found.version:
            self._check_engine()
        return found

    def _check_engine(self) -> None:
        """Make sure that "absent" came from an engine that has check-and-set: version 1 would take a write and ignore it."""

        engine = look_at_engine(self._client, self._mount)
        if engine not in ("", "kv version 2"):
            raise BadInput(
                f"{self._client.option}: {self.place}: the engine at '{self._mount}' is {engine}; expected a KV engine of version 2, "
                "the only one with check-and-set"
            )

    def check_write(self, known: bool, where: str, rule: str = "") -> None:
        """Ask Vault whether this token may write a version, without one.

        :param known: Vault counts versions of it already, so that it takes another right than the first one.
        :param where: how a message begins.
        :param rule: the path that a rule of a policy should have, where that is wider than this one.
        :raises Denied: when it may not.
        :raises Sealed, Unreachable: as the error says.
        """
        needed = {f"{self._mount}/data/{self._path}": ("update" if known else "create",)}
        need_rights(self._client, self.place, needed, where, rule)

    def write(self, data: Mapping[str, Any], expected: int) -> int:
        """Write a version.

        :param expected: the present version's number; 0: there must be none.
        :return: the new version's number.
        :raises Conflict: when another version is there now.
        :raises Denied, Sealed, Unreachable, BadInput: as the error says; ``details["uncertain"]`` as in the client's ``call``.
        """

        def ask(client: Any) -> int:
            kv = client.secrets.kv.v2
            answer = kv.create_or_update_secret(self._path, dict(data), expected, self._mount)
            return int(answer["data"]["version"])

        number: int = self._client.call(self.place, "write to it", ask, writes=True, repeats=True)
        return number

    def time(self) -> Optional[datetime]:
        """What Vault's clock says now, to the second; none before its first answer."""
        return self._client.time()

    def versions(self) -> List[StoredVersion]:
        """All versions that Vault knows of, newest first.

        :raises Denied, Sealed, Unreachable: as the error says.
        """

        def ask(client: Any) -> List[StoredVersion]:
            answer = client.secrets.kv.v2.read_secret_metadata(self._path, self._mount)
            metadata = answer["data"]
            newest = int(metadata["current_version"])
            numbered = sorted(
                ((int(number), entry) for number, entry in metadata["versions"].items()),
                key=lambda item: item[0],
                reverse=True,
            )
            now = self._client.time() or datetime.now(timezone.utc)
            return [_stored(number, entry, newest, now) for number, entry in numbered]

        found: List[StoredVersion] = self._client.call(
            self.place, "read its metadata", ask, absent=lambda _rest: []
        )
        return found


def _remains(answer: Any) -> Found:
    """What Vault still says of a secret that it does not give: the number of a version that was deleted or destroyed."""
    data = answer.get("data") if isinstance(answer, dict) else None
    metadata = data.get("metadata") if isinstance(data, dict) else None
    if not isinstance(metadata, dict) or "version" not in metadata:
        return Found(None)
    return Found(
        None, int(metadata["version"]), "destroyed" if metadata.get("destroyed") else "deleted"
    )


def vault_time(text: str) -> datetime:
    """A time as Vault writes it, which has nine decimals."""
    return parse_time(_NANOSECONDS.sub(r"\1", text), "Vault")


def why_gone(entry: Mapping[str, Any], now: datetime) -> str:
    """Why a version cannot be read: ``destroyed``, ``deleted``, or empty when it can. A deletion may lie ahead."""
    if entry.get("destroyed"):
        return "destroyed"
    deletion = str(entry.get("deletion_time") or "")
    return "deleted" if deletion and vault_time(deletion) <= now + _CLOCK else ""


def _stored(number: int, entry: Mapping[str, Any], newest: int, now: datetime) -> StoredVersion:
    state = why_gone(entry, now) or ("current" if number == newest else "old")
    return StoredVersion(str(number), state, vault_time(str(entry["created_time"])))


def open_kv(reference: Reference, context: Context, option: str) -> KvSecret:
    """The secret of a ``ref+vault`` reference; nothing is read yet.

    :raises BadInput, Denied, MissingLibrary: when reference or environment lack something.
    """
    mount, path = kv_location(reference, option)
    return KvSecret(open_vault(reference, context, option), mount, path)
