# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``vault_posture_snapshot``: a snapshot is taken, restored somewhere safe, and compared.

A backup that nobody restored is a hope. Nothing of it is kept: snapshot and server are gone when the task ends.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import tempfile
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import file_error
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import VaultClient
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_options import VAULT_OPTIONS
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture import open_client
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_findings import (
    HIGH,
    MEDIUM,
    UNKNOWN,
    Findings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_restore import (
    RestoredVault,
    failed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_unseal_shares import Shares

with suppress(ImportError):
    import hvac.adapters

_CHECK = "restore"
_PREFIX = "keyturn-restore-"
_PIECE = 1 << 20
_RIGHT = 'path "sys/storage/raft/snapshot" { capabilities = ["read"] }'


class _Untested(Exception):
    """The backup was not tried, for a reason that is no fault of it.

    :param remedy: what to do.
    """

    def __init__(self, level: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.level = level
        self.message = message
        self.remedy = remedy


@contextmanager
def _private_directory(parent: str) -> Iterator[str]:
    """A directory of mode 0700 that is gone afterwards; what killed runs left there goes, too."""
    _tidy(parent)
    try:
        place = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    except OSError as error:
        raise file_error(error, "directory", os.path.join(parent, _PREFIX), "write") from None
    held = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(held)


def _tidy(parent: str) -> None:
    with suppress(OSError):
        for name in os.listdir(parent):
            path = os.path.join(parent, name)
            if name.startswith(_PREFIX) and os.stat(path).st_uid == os.geteuid():
                _remove_unheld(path)


def _remove_unheld(path: str) -> None:
    with suppress(OSError):
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(held)


def _take(client: VaultClient, path: str) -> int:
    """Write a snapshot to a new private file, piece by piece; returns its size."""

    def stream(hvac_client: Any) -> int:
        raw = hvac.adapters.RawAdapter.from_adapter(hvac_client.adapter)
        answer = raw.get("/v1/sys/storage/raft/snapshot", stream=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in answer.iter_content(_PIECE):
                file.write(piece)
            return file.tell()

    try:
        return int(client.call("a snapshot", "take it", stream))
    except Denied:
        raise _Untested(
            UNKNOWN,
            "no snapshot was taken: the token may not, or is not valid",
            f"add to its policy: {_RIGHT}",
        ) from None


def _canary(params: Params) -> Optional[Tuple[str, str, str]]:
    """Mount, path and field of the secret that is compared.

    :raises BadInput: for a reference to something else.
    """
    if not params["canary"]:
        return None
    reference = parse_reference(params["canary"], "canary")
    if reference.scheme != "vault" or len(reference.fragment) != 1:
        raise BadInput(
            "canary: expected a field of a secret in this Vault, such as ref+vault://secret/canary#/value"
        )
    mount, _slash, path = reference.path.partition("/")
    return mount, path, reference.fragment[0]


class _Proof:
    """What the Vault and the restored one are compared by."""

    def __init__(self, params: Params, client: VaultClient) -> None:
        self._client = client
        self._canary = _canary(params)
        self._older = bool(params["snapshot"])

    def _mounts(self, answer: Any) -> List[str]:
        parts = ((answer or {}).get("data") or {}).items()
        return sorted(
            f"{kind} {path}: {mount.get('type')} {mount.get('uuid')}"
            for kind, mounts in parts
            for path, mount in (mounts or {}).items()
        )

    def _field(self, answer: Any) -> Optional[Secret]:
        found = (answer or {}).get("data") or {}
        data = found.get("data") if isinstance(found.get("data"), dict) else found
        value = (data or {}).get(self._canary[2]) if self._canary else None
        return None if value is None else Secret(str(value))

    def _paths(self) -> List[str]:
        """Where the canary may be: an engine of version 2 has its secrets one step lower."""
        if self._canary is None:
            return []
        mount, path, _field = self._canary
        return [f"{mount}/data/{path}", f"{mount}/{path}"]

    def here(self) -> Tuple[List[str], Optional[Secret]]:
        """Of the Vault itself."""
        mounts = self._read("sys/internal/ui/mounts")
        fields = (self._field(self._read(path)) for path in self._paths())
        return self._mounts(mounts), next((field for field in fields if field), None)

    def _read(self, path: str) -> Any:
        with suppress(BadInput, Denied):
            return self._client.call(
                path,
                "read it",
                lambda client: client.adapter.get(f"/v1/{path}"),
                absent=lambda _said: None,
            )
        return None

    def there(self, server: RestoredVault, token: Secret) -> Tuple[List[str], Optional[Secret]]:
        """Of the restored one, with the same token."""
        mounts = server.ask("GET", "sys/internal/ui/mounts", token=token)[1]
        answers = (server.ask("GET", path, token=token)[1] for path in self._paths())
        fields = (self._field(answer) for answer in answers)
        return self._mounts(mounts), next((field for field in fields if field), None)

    def compare(self, server: RestoredVault, before: Any, found: Findings) -> None:
        """Findings of what differs."""
        token = Secret(str(self._client.call("the token", "use it", lambda client: client.token)))
        (mounts, value), (restored, copy) = before, self.there(server, token)
        if not self._older and (not mounts or mounts != restored):
            found.add(
                _CHECK,
                HIGH,
                f"the restored Vault has {len(restored)} mounts for this token, the real one {len(mounts)}, and they are not the same",
                "see whether the snapshot is of this Vault; take another one",
            )
        if self._canary and (value is None or (self._older and copy is None)):
            which = "real" if value is None else "restored"
            found.add(
                _CHECK,
                UNKNOWN,
                f"the canary cannot be read in the {which} Vault",
                "write it, and read it with a token that was there when the snapshot was taken",
            )
        elif self._canary and value != copy:
            found.add(
                _CHECK,
                HIGH,
                "the canary of the restored Vault is not that of the real one",
                "see whether the snapshot is of this Vault; take another one",
            )


@contextmanager
def _beforehand() -> Iterator[None]:
    """What is in the way before there is a snapshot is no fault of a snapshot."""
    try:
        yield
    except KeyturnError as error:
        raise _Untested(
            UNKNOWN, f"no snapshot was restored: {error.message}", "see to that, then look again"
        ) from None


def _ready(params: Params, state: Mapping[str, Any]) -> str:
    """The program to restore with.

    :raises _Untested: when something is missing.
    """
    if state.get("storage_type") != "raft":
        raise _Untested(
            UNKNOWN,
            f"no snapshot was taken: the storage is '{state.get('storage_type')}', and only raft has them",
            "restore its backup with the means of that storage",
        )
    if state.get("type") != "shamir":
        raise _Untested(
            UNKNOWN,
            f"no snapshot was restored: only the service {state.get('type')} opens it, and a throw-away server must not reach that",
            "restore one by hand, in a network of its own",
        )
    program = shutil.which(params["program"] or "vault")
    if not program or not params["shares"]:
        missing = "no vault program is there" if params["shares"] else "no shares are named"
        raise _Untested(
            MEDIUM,
            f"no snapshot was ever restored here: {missing}",
            "name 'program' and 'shares', so that this tries it",
        )
    return os.path.realpath(program)


def _shut_in(place: str, program: str, params: Params) -> RestoredVault:
    seconds = parse_duration(params["restore_timeout"], "restore_timeout").total_seconds()
    try:
        return RestoredVault(place, program, seconds).start()
    except KeyturnError as error:
        raise _Untested(
            MEDIUM,
            f"no snapshot was restored: {error.message}",
            "run this on another machine (keyturn_control_host), as root or where user namespaces are allowed",
        ) from None


def _try(params: Params, context: Context, found: Findings) -> Dict[str, Any]:
    with ExitStack() as stack:
        with _beforehand():
            client = open_client(params, context)
            state = client.call("its seal", "read it", lambda vault: vault.sys.read_seal_status())
            program, threshold = _ready(params, state), int(state["t"])
            shares = Shares(params["shares"], bool(params["shares_together"]), context)
            shares.need(threshold, threshold)
            proof = _Proof(params, client)
            before = proof.here()
            parent = params["directory"] or tempfile.gettempdir()
            place = stack.enter_context(_private_directory(parent))
            snapshot = params["snapshot"] or os.path.join(place, "snapshot")
            size = os.stat(snapshot).st_size if params["snapshot"] else _take(client, snapshot)
        server = stack.enter_context(closing(_shut_in(place, program, params)))
        with open(snapshot, "rb") as file:
            server.restore(file, threshold, int(state["n"]))
        server.unseal([share for _name, share in shares.each()][:threshold])
        proof.compare(server, before, found)
    return {"snapshot_bytes": size, "mounts": len(before[0])}


def run(params: Params, context: Context) -> Result:
    """Take a snapshot, or the one that is named, and restore it somewhere safe.

    :raises BadInput: for options that cannot be meant.
    """
    found = Findings()
    found.begin(_CHECK)
    _canary(params)
    told: Dict[str, Any] = {}
    try:
        told = _try(params, context, found)
    except _Untested as error:
        found.add(_CHECK, error.level, error.message, error.remedy)
    except (KeyturnError, OSError, http.client.HTTPException) as error:
        found.add(
            _CHECK,
            HIGH,
            f"the snapshot could not be restored: {failed(error)}",
            "mend that, then look again: until then nobody knows whether there is a backup",
        )
    done = not found.result()["findings"]
    return {
        "changed": False,
        "restored": done,
        "snapshot_bytes": 0,
        "mounts": 0,
        **told,
        **found.result(),
    }


SPEC: Mapping[str, Any] = {
    **VAULT_OPTIONS,
    # Only references are taken. One that holds a value all the same is refused, and is not to be shown either.
    "shares": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "shares_together": {"type": "bool", "default": False, "no_log": False},
    "program": {"type": "path"},
    "snapshot": {"type": "path"},
    "directory": {"type": "path"},
    "canary": {"type": "str"},
    "restore_timeout": {"type": "str", "default": "120s"},
}
MODULE = ModuleCore("vault_posture_snapshot", SPEC, run)
