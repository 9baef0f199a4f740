# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module's core may know of the world around it: modes, clock, random source, environment."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Mapping, Tuple


def _ignore(message: str) -> None:
    """Drop a message that nobody can see."""


def _nobody_left() -> None:
    """Whoever asked ends this process in another way, or is in it."""


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class Context:
    """The surroundings of one call; tests pass their own.

    :param check_mode: read for real, write nothing.
    :param diff: add a diff to the result.
    :param environ: the task's environment.
    :param now: the clock, in UTC with a zone.
    :param randbytes: the random source.
    :param warn: a warning in the task's result.
    :param progress: a line that a waiting person sees at once, where there is a screen.
    :param still_wanted: called before each step and each write; ends this process when nobody waits for its result any more.
    :param foreseen: in check mode, the fields that earlier steps of this call would have written, by place.
    :param parsed: of each keyring the last text and its document: most steps of a call read what the one before left.
    :param vault_secrets: the ansible-vault secrets that the run was given, on the controller only.
    :param sessions: logins and connections that all steps of this call share, each by what it is a login to.
    """

    check_mode: bool = False
    diff: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    now: Callable[[], datetime] = _utc_now
    randbytes: Callable[[int], bytes] = secrets.token_bytes
    warn: Callable[[str], None] = _ignore
    progress: Callable[[str], None] = _ignore
    still_wanted: Callable[[], None] = _nobody_left
    vault_secrets: Any = field(default=None, repr=False)
    foreseen: Dict[str, Dict[str, Any]] = field(default_factory=dict, repr=False)
    parsed: Dict[str, Tuple[str, Any]] = field(default_factory=dict, repr=False)
    sessions: Dict[Any, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def system(cls, **changes: Any) -> Context:
        """The real surroundings of this process."""
        return cls(**changes)

    def close(self) -> None:
        """End the sessions that were made for this call; what was done stays done, whether or not that works."""
        while self.sessions:
            session = self.sessions.popitem()[1]
            try:
                session.close()
            except Exception as error:
                # Its text may quote what was sent.
                self.warn(
                    f"{type(session).__name__}: it could not be ended ({type(error).__name__})"
                )
