# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Re-encryption of one place: page by page, compared before each write, done again where somebody else was faster."""

from __future__ import annotations

import time
from typing import Callable, Collection, Dict, List, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._port import (
    Cipher,
    Counts,
    Item,
    Key,
    Replacement,
    Store,
)

LOOKS = 6
"""How often what somebody else works on is looked at again before it is left."""
_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)


def count(store: Store, cipher: Cipher) -> Counts:
    """What is there; nothing is written.

    :raises KeyturnError: as the place gives cause.
    """
    counts = Counts(shown=store.shown)
    for page in store.pages():
        _older(page, cipher, counts)
    return counts


def _older(page: Sequence[Item], cipher: Cipher, counts: Counts) -> List[Item]:
    """Those under an older key; all are counted."""
    found = []
    for item in page:
        if cipher.is_newest(item.text):
            counts.done += 1
        elif cipher.is_older(item.text):
            found.append(item)
        else:
            counts.unreadable.append(item.key)
    counts.to_do += len(found)
    return found


def _replaced(items: Sequence[Item], store: Store, cipher: Cipher, guard: Guard) -> Collection[Key]:
    if not items:
        return ()
    replacements = [Replacement(item.key, item.text, cipher.renewed(item.text)) for item in items]
    guard()
    return store.replace(replacements)


def reencrypt(
    store: Store,
    cipher: Cipher,
    guard: Guard,
    counts: Counts,
    pause: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Bring everything under the newest key.

    It keeps no state: what is under the newest key is done, so that a run that was killed is gone on with by another one.

    :param guard: called before each write.
    :param counts: what is found and done is added here, so that it is known also after a failure.
    :param pause: seconds after each page that something was written in.
    :raises KeyturnError: as the place gives cause.
    """
    waiting: List[Key] = []
    counts.shown = store.shown
    for page in store.pages():
        older = _older(page, cipher, counts)
        done = _replaced(older, store, cipher, guard)
        counts.reencrypted += len(done)
        waiting += [item.key for item in older if item.key not in done]
        if older and pause:
            sleep(pause)
    for look in range(LOOKS):
        if not waiting:
            return
        sleep(_PAUSES[min(look, len(_PAUSES) - 1)])
        waiting = _once_more(waiting, store, cipher, guard, counts)
    counts.left += waiting


def _once_more(
    keys: Sequence[Key], store: Store, cipher: Cipher, guard: Guard, counts: Counts
) -> List[Key]:
    """Another try for those that somebody else worked on; returns the keys of those that are still to do."""
    # Whoever changed them may have done it under the newest key, or have removed them.
    again: Dict[Key, Item] = {item.key: item for item in store.again(keys)}
    seen = Counts()
    older = _older(list(again.values()), cipher, seen)
    counts.unreadable += seen.unreadable
    done = _replaced(older, store, cipher, guard)
    counts.reencrypted += len(done)
    return [item.key for item in older if item.key not in done]
