# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text that a place with one text gets: its fields as they are wished, all else as it was."""

from __future__ import annotations

from typing import Callable, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import reveal
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import Codec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Changes


def edited(
    codec: Codec, before: str, changes: Changes, where: str, check: Callable[[str], object]
) -> Optional[str]:
    """The text after the changes; none when it is to go.

    :param before: the text as it was read; empty for a place that is not there.
    :param where: how messages name the place.
    :param check: refuses a text that the place cannot hold.
    :raises BadInput: as ``check`` does.
    :raises Corrupt: when the text is not what the codec reads.
    """
    texts = {name: None if value is None else reveal(value) for name, value in changes.items()}
    text = codec.edit(before, texts, where)
    if text is not None:
        check(text)
    return text


def known(changes: Changes) -> Changes:
    """Those that check mode knows: a value that is made later has no size yet."""
    return {name: value for name, value in changes.items() if value is None or value.known}
