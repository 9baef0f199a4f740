# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of this collection, told apart by what a caller may conclude from them."""

from __future__ import annotations

from typing import Any


class KeyturnError(Exception):
    """A failure with a message for the operator.

    The message and the details are printed: neither may hold a secret. Text of a driver or of a server is passed on only
    where its source cannot quote a value.

    :param message: what is wrong, what was expected and what to do.
    :param details: further facts for the task's result.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class BadInput(KeyturnError):
    """An option, a variable or a file says something that cannot be meant."""


class MissingLibrary(KeyturnError):
    """A Python library that this job needs is not installed."""


class Absent(KeyturnError):
    """The server answered: there is no such thing."""


class Denied(KeyturnError):
    """The server answered: this identity may not."""


class Sealed(KeyturnError):
    """The secret store is there but sealed or not initialised."""


class Unreachable(KeyturnError):
    """No answer, or none that can be trusted."""


class Corrupt(KeyturnError):
    """What was read is not what was written."""


class Conflict(KeyturnError):
    """Somebody else wrote first."""


class Refused(KeyturnError):
    """A gate is closed or a step is not allowed in this state."""


class Live(Refused):
    """Somebody may be on the air: nothing speaks against what was to be done, but not now."""


class Waiting(KeyturnError):
    """A person has to do something first; what was begun is kept, and the same command goes on."""


class ProbeFailed(KeyturnError):
    """A proof was tried and did not succeed."""
