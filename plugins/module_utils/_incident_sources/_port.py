# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit source must offer."""

from __future__ import annotations

from typing import Any, Mapping, Protocol

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    Looked,
    Window,
)


class Source(Protocol):
    """A kind of audit source.

    :ivar about: whether it tells of reads or of logins.
    """

    about: str

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse options that cannot be meant, before anything is looked at.

        :raises BadInput: naming the option.
        """

    def look(self, params: Mapping[str, Any], window: Window, context: Context) -> Looked:
        """Everything about this credential in the window. Nothing is written.

        :raises Absent, Denied, Unreachable, Corrupt: none of these is ever read as "nobody read it".
        """
