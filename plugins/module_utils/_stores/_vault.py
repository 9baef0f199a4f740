# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A document in Vault's KV engine, version 2: ``ref+vault://mount/path``.

* The document's own keys are the secret's keys, so that Vault's page and ``vault kv get`` show them as they are, and a field
  can be referred to. A text that is no JSON object as keyrings are written (indented by one, sorted), or that Vault would not
  give back to the letter, is kept under the one key ``keyturn_text``.
* A version is Vault's; each write is check-and-set, so mounts and secrets with ``cas_required`` work.
* A version that was deleted counts as absent, with a warning that names how to bring it back; Vault goes on counting, so the
  write that follows expects the deleted version's number.
* A write whose answer was lost is looked up: if the expected next version holds what was to be written, it was written.
* Rights: ``create``, ``read`` and ``update`` on ``mount/data/path``; ``read`` on ``mount/metadata/path`` for the list of versions.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._store_port import StoredVersion
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv import (
    Found,
    KvSecret,
    open_kv,
)

TEXT_KEY = "keyturn_text"
_SURROGATE = re.compile("[\ud800-\udfff]")


def _survives(value: Any) -> bool:
    """Whether Vault gives this JSON value back as it is: its numbers are doubles, its texts UTF-8."""
    if isinstance(value, dict):
        return all(_survives(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return all(_survives(item) for item in value)
    if isinstance(value, str):
        return not _SURROGATE.search(value)
    return not isinstance(value, float) and (not isinstance(value, int) or abs(value) < 2**53)


def to_data(text: str) -> Dict[str, Any]:
    """The keys and values that Vault keeps for a text."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict) and body and to_text(body) == text and _survives(body):
        return body
    return {TEXT_KEY: text}


def to_text(data: Mapping[str, Any]) -> str:
    """The text that :func:`to_data` was given."""
    if set(data) == {TEXT_KEY} and isinstance(data[TEXT_KEY], str):
        return str(data[TEXT_KEY])
    return json_lines(data)


class VaultStore:
    """One document as one secret."""

    def __init__(self, secret: KvSecret, context: Context, option: str) -> None:
        self._secret = secret
        self._context = context
        self._option = option

    def __repr__(self) -> str:
        return f"VaultStore({self._secret.place})"

    def read(self) -> Optional[Tuple[str, str]]:
        """The document and its version; none when Vault says that there is none, or that it was deleted.

        :raises Absent: when nothing is mounted there at all.
        :raises Denied, Sealed, Unreachable, BadInput: as the error says.
        """
        found = self._secret.read()
        if found.data is None:
            self._warn_gone(found)
            return None
        return to_text(found.data), str(found.version)

    def _warn_gone(self, found: Found) -> None:
        if not found.gone:
            return
        remedy = (
            "bring it back with 'vault kv undelete'"
            if found.gone == "deleted"
            else "bring an older one back with 'vault kv rollback'"
        )
        self._context.warn(
            f"{self._option}: version {found.version} of {self._secret.place} was {found.gone}, so it counts as absent; if that was "
            f"a mistake, {remedy} before anything is written"
        )

    def write(self, text: str, expected: Optional[str]) -> str:
        """Write a version if the present one is the expected one.

        :raises Conflict: when it is not; nothing was written.
        :raises Denied, Sealed, Unreachable, BadInput: as the error says.
        """
        number = self._expected_number(expected)
        data = to_data(text)
        try:
            return str(self._secret.write(data, number))
        except (Conflict, Unreachable) as error:
            if error.details.get("uncertain") and self._is_written(data, number + 1):
                return str(number + 1)
            raise

    def check_write(self, expected: Optional[str]) -> None:
        """Ask Vault whether this token may write there.

        :raises Denied: when it may not.
        :raises Conflict: when there is a document, and none was expected.
        :raises Sealed, Unreachable, BadInput: as the error says.
        """
        self._secret.check_write(bool(self._expected_number(expected)), self._option)

    def _expected_number(self, expected: Optional[str]) -> int:
        if expected is not None:
            return int(expected)
        found = self._secret.read()
        if found.data is not None:
            raise Conflict(
                f"{self._option}: {self._secret.place} was made meanwhile; nothing was written"
            )
        return found.version

    def _is_written(self, data: Mapping[str, Any], number: int) -> bool:
        try:
            found = self._secret.read()
        except KeyturnError:
            return False
        return found.version == number and found.data == data

    def time(self) -> Optional[datetime]:
        """What Vault's clock says now, to the second; none before its first answer."""
        return self._secret.time()

    def versions(self) -> List[StoredVersion]:
        """Vault's versions, newest first.

        :raises Denied, Sealed, Unreachable: as the error says.
        """
        return self._secret.versions()


def open_vault_store(reference: Reference, context: Context, option: str) -> VaultStore:
    """The store of a ``ref+vault`` reference.

    :raises BadInput, Absent, MissingLibrary: when reference or environment lack something.
    """
    if "version" in reference.params:
        raise BadInput(
            f"{option}: {reference.text}: 'version' is for reading values; a keyring is always its newest version"
        )
    return VaultStore(open_kv(reference, context, option), context, option)
