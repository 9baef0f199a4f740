# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a credential is of no use until it is rotated, so that no gate should keep anybody from that. Pure."""

from __future__ import annotations

from ansible_collections.keyturn.runbooks.plugins.module_utils._due import ended_at_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._gate_port import Case


def locked_out(case: Case) -> str:
    """Why nobody can log in or go live before the rotation is done, as part of a sentence; empty where somebody can, as far as is known."""
    document = case.document
    current, pending = (document.current, document.pending) if document else (None, None)
    if current and current.ended:
        return ended_at_issuer(current.ended)
    made = pending and (case.facts.given or pending.status in ("issued", "applied", "proved"))
    if made and _resets(case):
        return "the new value was made, and that ended the one in use: nobody can log in or go live with it"
    return ""


def may_be_locked_out(case: Case) -> bool:
    """Whether a rotation was begun that may have ended the value in use, and only a person can know."""
    pending = case.document.pending if case.document else None
    return bool(pending and pending.status == "intended" and _resets(case))


def _resets(case: Case) -> bool:
    """Whether the making of a value ends the one before it for good."""
    return not (case.facts.overlap or case.facts.returns)
