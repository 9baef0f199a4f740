# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A document in a local file: ``ref+file:///path``, encrypted by ansible-vault with ``?encrypt=vault``.

* How it is replaced, and what killing that leaves behind: ``_files``.
* A version is the digest of the file's bytes, compared under the lock. Earlier versions are not kept here: back the file up.
* An encrypted file is known by its first line, and stays encrypted; ``?encrypt=vault`` encrypts a new or a plain one at the
  next write. Without either the file is plain, and that warns.
* Only processes that take the same lock are kept apart: two machines on one network file system need one whose ``flock``
  reaches the server (NFS 4 does).
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from typing import List, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._ansible_vault import (
    AnsibleVault,
    is_encrypted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Corrupt,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import refuse_link
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import (
    check_replaceable,
    hold,
    read_with_mode,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._store_port import StoredVersion
from ansible_collections.keyturn.runbooks.plugins.module_utils._throwaway import refuse_throwaway

_PARAMS = ("encrypt", "vault_id", "vault_password_file")


def _version(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class FileStore:
    """One document in one file."""

    def __init__(self, reference: Reference, context: Context, option: str) -> None:
        self._path = os.path.expanduser(reference.path)
        self._demanded = "encrypt" in reference.params
        self._vault = AnsibleVault(reference, context, option)
        self._context = context
        self._option = option
        self._warned = False

    def __repr__(self) -> str:
        return f"FileStore({self._path})"

    def read(self) -> Optional[Tuple[str, str]]:
        """The document and its version; none when the file is not there.

        :raises Denied, BadInput, Unreachable, Corrupt, MissingLibrary: naming the file.
        """
        refuse_link(self._path, self._option)
        found = read_with_mode(self._path, self._option)
        if found is None:
            return None
        data, mode = found
        if mode & 0o077 and not is_encrypted(data):
            self._context.warn(
                f"{self._option}: the keyring {self._path} has mode {mode:04o}; only its owner should read it: chmod 600 {self._path}"
            )
        return self._text(data), _version(data)

    def _text(self, data: bytes) -> str:
        if is_encrypted(data):
            data = self._vault.decrypt(data)
        elif not self._demanded:
            self._warn_plain()
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise Corrupt(
                f"{self._option}: {self._path} is no UTF-8 text; restore the last good copy"
            ) from None

    def _warn_plain(self) -> None:
        if not self._warned:
            self._warned = True
            self._context.warn(
                f"{self._option}: the keyring {self._path} is not encrypted; ref+file://{self._path}?encrypt=vault encrypts it with "
                "the run's ansible-vault password at the next write, and Vault keeps its versions too"
            )

    def write(self, text: str, expected: Optional[str]) -> str:
        """Replace the file if it is still at the expected version.

        :raises Conflict: when it is not, or another process held the lock too long. Nothing was changed.
        :raises Denied, Absent, BadInput, Unreachable, Refused, MissingLibrary: naming the file. Nothing was changed.
        """
        with hold(self._path, self._option) as held:
            old = held.read()
            present = None if old is None else _version(old)
            if present != expected:
                raise Conflict(
                    f"{self._option}: {self._path} was {_changed(present, expected)} meanwhile; nothing was written. Run again"
                )
            data = text.encode("utf-8")
            if self._demanded or (old is not None and is_encrypted(old)):
                data = self._vault.encrypt(data, old)
            else:
                self._warn_plain()
            held.replace(data)
        return _version(data)

    def check_write(self, expected: Optional[str]) -> None:
        """See whether the file may be replaced, and whether there is a password where it is to be encrypted.

        :raises Denied, Absent, BadInput, MissingLibrary: naming the file.
        """
        check_replaceable(self._path, self._option)
        found = read_with_mode(self._path, self._option)
        old = found[0] if found else None
        if self._demanded or (old is not None and is_encrypted(old)):
            self._vault.check_encrypt(old)

    def time(self) -> Optional[datetime]:
        """None: a file has no clock but this machine's."""
        return None

    def versions(self) -> List[StoredVersion]:
        """The present version alone: a file keeps no others."""
        found = read_with_mode(self._path, self._option)
        return [] if found is None else [StoredVersion(_version(found[0]), "current")]


def _changed(present: Optional[str], expected: Optional[str]) -> str:
    if expected is None:
        return "made"
    return "removed" if present is None else "changed"


def open_file_store(reference: Reference, context: Context, option: str) -> FileStore:
    """The store of a ``ref+file`` reference.

    :raises BadInput: for parameters that a store does not have.
    :raises Refused: for a path inside of a throw-away execution environment.
    """
    wrong = sorted(set(reference.params) - set(_PARAMS))
    if wrong:
        raise BadInput(
            f"{option}: {reference.text}: '{wrong[0]}' is for reading values; a keyring's are {', '.join(_PARAMS)}"
        )
    if reference.params.get("encrypt", "vault") != "vault":
        raise BadInput(
            f"{option}: {reference.text}: 'encrypt' must be 'vault' (ansible-vault's format), or left out"
        )
    path = os.path.expanduser(reference.path)
    if not os.path.isabs(path):
        raise BadInput(
            f"{option}: {reference.text}: a keyring's path must be absolute (three slashes: ref+file:///PATH), so that it does "
            "not depend on where the run was started"
        )
    refuse_throwaway(path, context, option)
    return FileStore(reference, context, option)


__all__ = ["FileStore", "open_file_store", "refuse_throwaway"]
