# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cipher ``fernet``: tokens that a list of keys opens, of which the newest makes new ones."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Corrupt,
    MissingLibrary,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

try:
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet
except ImportError as _error:
    _MISSING: Optional[ImportError] = _error
else:
    _MISSING = None

WHAT_A_KEY_IS = "32 bytes in URL-safe base64, as keyturn_generate makes them with {type: fernet}"


def keys_of(
    document: Document, field: str, option: str
) -> Tuple[Optional[Secret], Tuple[Secret, ...]]:
    """The newest key of a keyring, which encrypts, and all the others, which still open something.

    :param field: the stages' field that holds the key.
    :param option: how messages name that field's option.
    :return: none for the newest one where check mode only predicts it.
    :raises BadInput: no value is in use, or it has no such secret field.
    """
    current = document.current
    if current is None:
        raise BadInput(
            f"{option}: the keyring has no value in use; rotate the credential for the first time, or adopt the value in use"
        )
    newest = current.secret(field)
    if newest is None:
        names = sorted(name for name in current.fields if current.secret(name))
        raise BadInput(
            f"{option}: the value in use has no secret field '{field}'; it has {', '.join(names) or 'none'}"
        )
    stages = [document.pending, document.previous, *reversed(document.retained)]
    found = [stage.secret(field) for stage in stages if stage]
    others = tuple(key for key in found if key and key.known and key != newest)
    return (newest if newest.known else None), others


def _fernet(key: Secret) -> Optional[Fernet]:
    """None for what is no such key: it cannot have made any token."""
    try:
        return Fernet(key.reveal().encode())
    except ValueError:
        return None


def _made(by: Fernet, text: bytes) -> bool:
    """Whether that key signed the token. Of one that it signed it also made the rest."""
    try:
        by.extract_timestamp(text.strip())
    except InvalidToken:
        return False
    return True


class FernetCipher:
    """Tokens as Fernet's specification has them.

    Blanks and line ends around a token, as in a file, stay where they are.

    :param newest: what encrypts; none where it is not made yet, so that nothing can be under it.
    :param others: what still opens something; what is no key is left out.
    :param option: how messages name where the keys come from.
    :raises BadInput: the newest one is no Fernet key.
    :raises MissingLibrary: without ``cryptography``.
    """

    def __init__(self, newest: Optional[Secret], others: Sequence[Secret], option: str) -> None:
        if _MISSING is not None:
            raise MissingLibrary(
                "cryptography is not installed where this runs; install it into the Python that Ansible uses there, or the package "
                "python3-cryptography"
            ) from _MISSING
        self._newest = _fernet(newest) if newest else None
        if newest and self._newest is None:
            raise BadInput(f"{option}: the value in use is no Fernet key; expected {WHAT_A_KEY_IS}")
        self._others = [made for made in map(_fernet, others) if made]

    def is_newest(self, text: bytes) -> bool:
        """Whether the newest key made it."""
        return self._newest is not None and _made(self._newest, text)

    def is_older(self, text: bytes) -> bool:
        """Whether one of the other keys made it."""
        return any(_made(key, text) for key in self._others)

    def renewed(self, text: bytes) -> bytes:
        """The same under the newest key, with the time at which it was first made.

        :raises Corrupt: no key opens it.
        """
        newest = [self._newest] if self._newest else []
        token = text.strip()
        before, _token, behind = text.partition(token)
        try:
            return before + MultiFernet([*newest, *self._others]).rotate(token) + behind
        except InvalidToken:
            raise Corrupt("a token is signed by a key that does not open it") from None
