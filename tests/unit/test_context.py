# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of what the steps of a task share."""

from __future__ import annotations

import secrets

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context


class Session:
    """A login that ends, or fails to."""

    def __init__(self, trouble: str = "") -> None:
        self.trouble = trouble
        self.closed = False

    def close(self) -> None:
        self.closed = True
        if self.trouble:
            raise OSError(self.trouble)


def test_one_that_cannot_be_ended_keeps_no_other_open_and_undoes_nothing() -> None:
    text = secrets.token_urlsafe(12)
    warnings: list[str] = []
    made = [Session(), Session(text), Session()]
    context = Context(warn=warnings.append, sessions=dict(enumerate(made)))
    context.close()
    assert all(session.closed for session in made)
    assert context.sessions == {}
    assert warnings == ["Session: it could not be ended (OSError)"]
    assert text not in warnings[0]
