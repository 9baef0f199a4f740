# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``--tags`` and ``--skip-tags`` mean to a task that does several phases."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.keyturn.runbooks.plugins.module_utils._procedures import PHASES, PREFLIGHT

# Ansible's own words (playbook guide, "Special tags").
_EVERYTHING = frozenset({"all", "tagged"})


def phases_of(
    purpose: str, run: Iterable[str], skip: Iterable[str], own: Iterable[str]
) -> list[str]:
    """The phases that are asked for, in order; none when it is all of them, and the look before alone when no phase is.

    :param purpose: only a rotation has phases: whatever else is asked for is done as a whole, or only looked at.
    :param run: ``--tags``.
    :param skip: ``--skip-tags``.
    :param own: tags that the task has of its own or inherits: who asks for one of those asks for the whole task.
    """
    wanted, left_out = set(run) or {"all"}, set(skip) & set(PHASES)
    whole = bool(wanted & (_EVERYTHING | (set(own) - set(PHASES) - {"always"})))
    if whole and (not left_out or purpose != "rotate"):
        return []
    if purpose != "rotate":
        return [PREFLIGHT]
    found = [phase for phase in PHASES if (whole or phase in wanted) and phase not in left_out]
    return found or [PREFLIGHT]
