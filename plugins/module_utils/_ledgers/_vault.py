# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log in Vault's KV engine, version 2: ``ref+vault://mount/path``.

* Each line is a secret of its own, ``mount/path/CREDENTIAL/00000001`` and so on, whose keys are the line's. It is created with
  check-and-set 0 and never written again, so a policy without ``update`` and ``delete`` makes the log append-only by the
  server's own rule.
* Rights: ``create`` and ``read`` on ``mount/data/path/*``, ``list`` on ``mount/metadata/path/*``.
* The keyring knows the last number, so a step looks at that one line. A run's first step also lists the numbers, which shows
  lines that were removed; only verifying reads them all.
* To a token without ``update``, Vault denies to create what is there already. So a refused or unanswered write is looked up: the
  same line counts as written.
"""

from __future__ import annotations

import json
from typing import Any, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import quote

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Corrupt,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import LedgerHead
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    Line,
    line_hash,
    missing_line,
    tail_faults,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers._port import (
    Reading,
    Review,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._vault import (
    to_data,
    to_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import (
    VaultClient,
    open_vault,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv import (
    Found,
    KvSecret,
    kv_location,
)

_DIGITS = 8


def _segment(credential: str, option: str) -> str:
    """A credential's name as one name in a path."""
    if not credential:
        raise BadInput(f"{option}: 'credential' is missing; a ledger in Vault is kept by its name")
    name = quote(credential, safe=" @+,:=")
    return name.replace(".", "%2E") if not name.strip(".") else name


def _to_line(data: Mapping[str, Any]) -> Line:
    """The line that was kept as these keys; empty when it is none."""
    try:
        line = json.loads(to_text(data))
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in words: ``3, 5 to 9``."""
    parts: List[Tuple[int, int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1] = (parts[-1][0], number)
        else:
            parts.append((number, number))
    return ", ".join(f"{low}" if low == high else f"{low} to {high}" for low, high in parts)


class VaultLedger:
    """Lines as secrets, created once."""

    def __init__(self, client: VaultClient, mount: str, path: str, option: str) -> None:
        self._client = client
        self._mount = mount
        self._path = path
        self._option = option

    def __repr__(self) -> str:
        return f"VaultLedger({self._mount}/{self._path} at {self._client.named})"

    def _secret(self, credential: str, number: int) -> KvSecret:
        name = _segment(credential, self._option)
        return KvSecret(self._client, self._mount, f"{self._path}/{name}/{number:0{_DIGITS}d}")

    def append(self, line: Mapping[str, Any]) -> None:
        """Create a line's secret.

        :raises Corrupt: when that number is another line already, or was deleted. Nothing was written.
        :raises Denied, Sealed, Unreachable, BadInput: as the error says.
        """
        secret = self._secret(str(line["credential"]), int(line["number"]))
        text = json_lines(line)
        try:
            secret.write(to_data(text), 0)
        except (Conflict, Denied, Unreachable) as error:
            known = not isinstance(error, Unreachable) or error.details.get("uncertain")
            if not (known and self._is_written(secret, line)):
                raise

    def _is_written(self, secret: KvSecret, line: Mapping[str, Any]) -> bool:
        try:
            found = secret.read()
        except KeyturnError:
            return False
        if found.data is None and not found.gone:
            return False
        there = _to_line(found.data or {})
        if there.get("hash") == line["hash"] == line_hash(there):
            return True
        what = f"was {found.gone}" if found.gone else "is another line already"
        raise Corrupt(
            f"{self._option}: line {line['number']} of {line['credential']} {what} at {secret.place}; nothing was overwritten. The "
            "keyring was set back, or somebody else wrote there: find out who, keep what is there for the inquiry, and go on with a "
            "ledger at another path"
        )

    def review(
        self, credential: str, head: Optional[LedgerHead], first: bool, failed: bool
    ) -> Review:
        """Look at the line that the keyring remembers; with a run's first line also for numbers that are missing.

        :raises Corrupt: when there are lines after the last one that the keyring knows.
        :raises Denied, Sealed, Unreachable, BadInput: as the error says.
        """
        known = head.number if head else 0
        found = self._secret(credential, known or 1).read()
        faults = self._missing(credential, known) if first else []
        if head is None:
            return Review(None, tuple(faults))
        if found.data is None:
            lost = None if found.gone else missing_line(None, head)
            return Review(lost, (*faults, *_gone(known, found)))
        return Review(None, (*faults, *tail_faults([_to_line(found.data)], head)))

    def check_append(self, credential: str, head: Optional[LedgerHead]) -> None:
        """Ask Vault whether this token may make the next line.

        :raises Denied: when it may not.
        :raises Sealed, Unreachable: as the error says.
        """
        following = (head.number if head else 0) + 1
        # One rule for all lines: that of the next one alone would be wanted anew by each run.
        rule = f"{self._mount}/data/{self._path}/{_segment(credential, self._option)}/+"
        self._secret(credential, following).check_write(False, self._option, rule)

    def _missing(self, credential: str, known: int) -> List[str]:
        """Numbers before the keyring's last one that are not there."""
        numbers, _others = self._numbers(credential)
        beyond = [number for number in numbers if number > known]
        if beyond:
            raise Corrupt(
                f"{self._option}: the ledger at {self._mount}/{self._path} has lines of {credential} up to number {beyond[-1]}, and "
                f"the keyring only knows {known}; nothing was written. The keyring was set back, or lines were made up: find out which "
                "with the verify_ledger module. If you restored an older keyring yourself, set keyturn_ledger to another path in the "
                "credential's variables, and run again"
            )
        missing = sorted(set(range(1, known)) - set(numbers))
        return [f"lines are missing: {ranges(missing)}"] if missing else []

    def _numbers(self, credential: str) -> Tuple[List[int], List[str]]:
        """The numbers of a credential's lines, and what else is there."""
        path = f"{self._path}/{_segment(credential, self._option)}"

        def ask(client: Any) -> List[str]:
            answer = client.secrets.kv.v2.list_secrets(path, self._mount)
            return [str(name) for name in answer["data"]["keys"]]

        place = f"Vault path {self._mount}/{path} at {self._client.named}"
        names = self._client.call(place, "list it", ask, absent=lambda _rest: [])
        is_line = {name: len(name) >= _DIGITS and name.isdecimal() for name in names}
        numbers = sorted(int(name) for name in names if is_line[name])
        return numbers, [name for name in names if not is_line[name]]

    def read(self, credential: str) -> Reading:
        """All lines of a credential, and what was deleted, written over or put beside them.

        :raises Denied, Sealed, Unreachable, BadInput: as the error says.
        """
        numbers, others = self._numbers(credential)
        faults = [f"'{name}' beside the lines is none" for name in others]
        lines = []
        for number in numbers:
            found = self._secret(credential, number).read()
            faults += [*_gone(number, found), *_strange(number, credential, found)]
            if found.data is not None:
                lines.append(_to_line(found.data))
        return Reading(tuple(lines), tuple(faults))


def _gone(number: int, found: Found) -> List[str]:
    if not found.gone:
        return []
    remedy = "; 'vault kv undelete' brings it back" if found.gone == "deleted" else ""
    return [f"line {number} was {found.gone} in Vault{remedy}"]


def _strange(number: int, credential: str, found: Found) -> List[str]:
    if found.data is None:
        return []
    faults = []
    if found.version > 1:
        faults.append(f"line {number} was written over: it has {found.version} versions in Vault")
    line = _to_line(found.data)
    if line.get("number") != number or line.get("credential") != credential:
        faults.append(f"at the place of line {number} there is something else")
    return faults


def open_vault_ledger(reference: Reference, context: Context, option: str) -> VaultLedger:
    """The ledger of a ``ref+vault`` reference; nothing is read yet.

    :raises BadInput, Absent, MissingLibrary: when reference or environment lack something.
    """
    if "version" in reference.params:
        raise BadInput(
            f"{option}: {reference.text}: 'version' is for reading values; a ledger is all its lines"
        )
    mount, path = kv_location(reference, option)
    return VaultLedger(open_vault(reference, context, option), mount, path, option)


__all__: Tuple[str, ...] = ("VaultLedger", "open_vault_ledger", "ranges")
