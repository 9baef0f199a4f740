# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked right before each write to another system."""

from __future__ import annotations

from typing import Callable

Guard = Callable[[], None]
"""Raises when this run may not write any more."""


def no_guard() -> None:
    """Nothing to ask: no keyring is claimed, or nothing is written."""
