# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files encrypted in ansible-vault's own format, by Ansible's own code.

That code is on the controller (or wherever ansible-core is installed); elsewhere such a file is refused. Passwords are the
vault secrets that the run was given (``--vault-id``, ``--vault-password-file``, ``ANSIBLE_VAULT_PASSWORD_FILE``), and what a
reference adds: ``?vault_id=LABEL`` picks one of those, ``?vault_id=LABEL@FILE`` or ``?vault_password_file=FILE`` names a
file. As everywhere in Ansible, an executable file is run and prints the password.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, List, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    MissingLibrary,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference

HEADER = b"$ANSIBLE_VAULT;"
_DEFAULT_LABEL = "default"
Secrets = List[Tuple[str, Any]]


def is_encrypted(data: bytes) -> bool:
    """Whether these bytes are in ansible-vault's format."""
    return data.startswith(HEADER)


def label_of(data: bytes) -> str:
    """The vault id that an encrypted file names in its first line; ``default`` when it names none."""
    fields = data.split(b"\n", 1)[0].decode("ascii", "replace").strip().split(";")
    return fields[3] if len(fields) > 3 else _DEFAULT_LABEL


class AnsibleVault:
    """Encrypts and decrypts for one reference.

    :param reference: with the parameters ``vault_id`` and ``vault_password_file``.
    """

    def __init__(self, reference: Reference, context: Context, option: str) -> None:
        self._option = option
        self._path = reference.path
        label, _at, file = reference.params.get("vault_id", "").partition("@")
        self._label = label
        self._file = file or reference.params.get("vault_password_file", "")
        if self._file == "prompt":
            raise BadInput(
                f"{option}: vault_id: a reference cannot ask for a password; give the run --vault-id {label}@prompt"
            )
        self._given: Secrets = list(context.vault_secrets or [])

    def _library(self, name: str) -> Any:
        try:
            # In a module's own process, ansible is the archive that the module came in: mixed with an installed one it breaks.
            if not os.path.isfile(str(importlib.import_module("ansible").__file__)):
                raise ImportError(name)
            return importlib.import_module(name)
        except ImportError:
            raise MissingLibrary(
                f"{self._option}: {self._path} is to be encrypted by ansible-vault, and ansible-core is not installed where this "
                "task runs; run it on the controller"
            ) from None

    def _secrets(self) -> Secrets:
        """What to try, the reference's own first."""
        own = [(self._label or _DEFAULT_LABEL, self._load(self._file))] if self._file else []
        secrets = own + self._given
        if not secrets:
            raise Denied(
                f"{self._option}: there is no vault password for {self._path}; give the run --vault-id or --vault-password-file "
                "(in AWX a Vault credential), or add ?vault_password_file= to the reference"
            )
        return secrets

    def _load(self, file: str) -> Any:
        vault, loader = (
            self._library("ansible.parsing.vault"),
            self._library("ansible.parsing.dataloader"),
        )
        path = os.path.expanduser(file)
        try:
            secret = vault.get_file_vault_secret(
                filename=path, vault_id=self._label or None, loader=loader.DataLoader()
            )
            secret.load()
        except (self._library("ansible.errors").AnsibleError, OSError):
            raise Denied(
                f"{self._option}: no vault password could be read from {path}; check that it is there and not empty"
            ) from None
        return secret

    def decrypt(self, data: bytes) -> bytes:
        """The content.

        :raises Denied: when no password fits, or none was given.
        :raises MissingLibrary: where ansible-core is not installed.
        """
        library, errors = self._library("ansible.parsing.vault"), self._library("ansible.errors")
        secrets = self._secrets()
        try:
            content: bytes = library.VaultLib(secrets).decrypt(data)
        except errors.AnsibleError:
            tried = ", ".join(sorted({name for name, _secret in secrets}))
            raise Denied(
                f"{self._option}: no vault password fits {self._path} (its vault id is '{label_of(data)}', tried: {tried}); give "
                "the run the right one"
            ) from None
        return bytes(content)

    def encrypt(self, content: bytes, old: Optional[bytes]) -> bytes:
        """The content in ansible-vault's format.

        The vault id is the reference's; else the one that the old file names, if its password is known; else the first known.

        :raises Denied, MissingLibrary: as :meth:`decrypt`.
        """
        library = self._library("ansible.parsing.vault")
        secrets = self._secrets()
        label, secret = self._picked(secrets, old)
        encrypted: bytes = library.VaultLib(secrets).encrypt(content, secret=secret, vault_id=label)
        return bytes(encrypted)

    def check_encrypt(self, old: Optional[bytes]) -> None:
        """See whether :meth:`encrypt` could be done.

        :raises Denied, MissingLibrary: as :meth:`decrypt`.
        """
        self._library("ansible.parsing.vault")
        self._picked(self._secrets(), old)

    def _picked(self, secrets: Secrets, old: Optional[bytes]) -> Tuple[str, Any]:
        return self._pick(secrets, label_of(old) if old is not None and is_encrypted(old) else "")

    def _pick(self, secrets: Secrets, old_label: str) -> Tuple[str, Any]:
        named = self._label or old_label
        if self._file:
            return named or _DEFAULT_LABEL, secrets[0][1]
        found = next((item for item in secrets if item[0] == named), None)
        if found is None and self._label:
            known = ", ".join(sorted({name for name, _secret in secrets}))
            raise Denied(
                f"{self._option}: the run was given no password for vault id '{self._label}' (known: {known})"
            )
        return found or secrets[0]
