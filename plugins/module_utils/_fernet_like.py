# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Owners and modes of key files and of their folder. Pure."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import List, Optional


def or_same(number: Optional[int]) -> int:
    """A user's or group's number as the operating system takes it, where none stands for the one that is there."""
    return -1 if number is None else number


@dataclass(frozen=True)
class Like:
    """Owners and mode that a file gets; none where they are left."""

    mode: Optional[int] = None
    uid: Optional[int] = None
    gid: Optional[int] = None

    def over(self, status: os.stat_result, mode: Optional[int] = None) -> Like:
        """Those of another file, with what is said here instead.

        :param mode: instead of the other file's.
        """
        kept = stat.S_IMODE(status.st_mode) if mode is None else mode
        return replace(
            self,
            mode=kept if self.mode is None else self.mode,
            uid=status.st_uid if self.uid is None else self.uid,
            gid=status.st_gid if self.gid is None else self.gid,
        )

    def drift(self, status: os.stat_result) -> List[str]:
        """What differs, in words."""
        mode = stat.S_IMODE(status.st_mode)
        told = []
        if self.mode not in (None, mode):
            told.append(f"mode {mode:04o} instead of {self.mode:04o}")
        if self.uid not in (None, status.st_uid):
            told.append(f"owner {status.st_uid} instead of {self.uid}")
        if self.gid not in (None, status.st_gid):
            told.append(f"group {status.st_gid} instead of {self.gid}")
        return told
