# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with the estate itself, as opposed to the collection that is tried on it."""

from __future__ import annotations


class Missing(Exception):
    """A real part (a server program, an OS user) is not installed here; the message says which and how to get it."""


class EstateError(Exception):
    """A part did not start, did not stop or did not answer; the message has the end of its log."""
