# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares of an unseal key, each from its own place. They are read when they are needed, and no sooner."""

from __future__ import annotations

import base64
import binascii
import os
from typing import Dict, Iterator, List, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    KEYRING,
    Reference,
    looks_like_reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

_SHORTEST, _LONGEST = 16, 33
"""Bytes of a key, and one more of a share (``barrier.KeyLength`` and ``shamir.ShareOverhead`` of Vault)."""


def refuse_values(shares: Sequence[str]) -> None:
    """Refuse what is no reference, before it goes anywhere.

    :raises BadInput: naming its place in the list, and nothing of it.
    """
    for number, text in enumerate(shares):
        if not looks_like_reference(text) or text.startswith(f"{KEYRING}#"):
            raise BadInput(
                f"shares[{number}]: expected a reference to where this share is kept, such as ref+file:///media/holder1/share; a share "
                "itself must not stand in a playbook, an inventory or a command line"
            )


def _place(reference: Reference) -> Tuple[str, ...]:
    """What two shares must not have in common: the file, the secret, the object; its keys do not part them."""
    path = reference.path
    if reference.scheme == "file":
        path = os.path.realpath(os.path.expanduser(path))
    elif reference.scheme == "k8s":
        path = "/".join(path.split("/")[:4])
    elif reference.scheme == "envsubst":
        path = path.strip("${}")
    kept = (
        "address",
        "namespace",
        "region",
        "profile",
        "role_arn",
        "kubeContext",
        "kubeConfigPath",
    )
    return (reference.scheme, path, *(reference.params.get(name, "") for name in kept))


def _refuse_together(references: Sequence[Reference]) -> None:
    seen: Dict[Tuple[str, ...], int] = {}
    for number, reference in enumerate(references):
        other = seen.setdefault(_place(reference), number)
        if other != number:
            raise Refused(
                f"shares[{other}] and shares[{number}] are kept in one place: whoever reads that has both, which defeats the sharing. Keep "
                "each with another holder, or accept it with shares_together: true"
            )


def _checked(share: Secret, name: str) -> Secret:
    """The share without the line break that a file ends in.

    :raises BadInput: when it has not the form of one.
    """
    text = share.reveal().strip()
    try:
        size = len(bytes.fromhex(text))
    except ValueError:
        try:
            size = len(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            size = 0
    if not _SHORTEST <= size <= _LONGEST:
        raise BadInput(
            f"{name}: this is no share of an unseal key; expected the base64 or hexadecimal text that 'vault operator init' gave, "
            "and nothing else"
        )
    return Secret(text)


class Shares:
    """Shares in the order in which they are given.

    :raises BadInput: for what is no reference.
    :raises Refused: when two are kept in one place.
    """

    def __init__(self, shares: Sequence[str], together: bool, context: Context) -> None:
        refuse_values(shares)
        self._references = [
            parse_reference(text, f"shares[{number}]") for number, text in enumerate(shares)
        ]
        if not together:
            _refuse_together(self._references)
        self._context = context
        self._read: Dict[int, Secret] = {}
        self._troubles: Dict[int, KeyturnError] = {}

    def __repr__(self) -> str:
        return f"Shares({len(self._references)})"

    def _next(self) -> bool:
        """Read one more; false when there is none left."""
        number = len(self._read) + len(self._troubles)
        if number >= len(self._references):
            return False
        name = f"shares[{number}]"
        try:
            share = _checked(resolve(self._references[number], self._context, name), name)
        except BadInput:
            raise
        except KeyturnError as error:
            self._troubles[number] = error
            return True
        twin = next((other for other, known in self._read.items() if known == share), None)
        if twin is not None:
            raise BadInput(f"{name} is the same share as shares[{twin}]; each must be another one")
        self._read[number] = share
        return True

    def need(self, count: int, threshold: int) -> None:
        """Read as many as are needed; those that cannot be read are passed over where others are enough.

        :param count: how many are still needed of the threshold.
        :raises BadInput: for one that is no share, or is there twice.
        :raises KeyturnError: when there are too few, with what is the matter with each; nothing was given to any Vault.
        """
        before = len(self._troubles)
        while len(self._read) < count and self._next():
            pass
        troubles = list(self._troubles.values())
        if len(self._read) < count:
            kind = type(troubles[0]) if troubles else Refused
            told = "".join(f"; {error.message}" for error in troubles)
            raise kind(
                f"shares: {count} of {threshold} shares are still needed, and {len(self._read)} can be read here; none was given to "
                f"Vault{told}"
            )
        for error in troubles[before:]:
            self._context.warn(f"{error.message}. The other shares are enough")

    def each(self) -> Iterator[Tuple[str, Secret]]:
        """Name and value of one after the other; more are read when those that were needed are used up."""
        done = 0
        while True:
            known = sorted(self._read.items())
            if done < len(known):
                number, share = known[done]
                done += 1
                yield f"shares[{number}]", share
            elif not self._next():
                return

    def used(self, count: int) -> List[str]:
        """The names of the first of them that were read."""
        return [f"shares[{number}]" for number in sorted(self._read)[:count]]
