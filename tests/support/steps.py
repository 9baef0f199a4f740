# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every step of a procedure, told as it begins and as it has ended, in the process that takes it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

PROCEDURE = "ansible_collections.keyturn.runbooks.plugins.module_utils._procedure"


def each_step(begin: Callable[[str], None], end: Callable[[bool | None], None]) -> None:
    """Tell of the steps of this process and of those that are forked from it.

    :param begin: gets the step's name.
    :param end: gets whether it changed something; none when it failed.
    """
    procedure = import_module(PROCEDURE).Procedure
    do = procedure.do

    def told(self: Any, step: Any, **more: Any) -> Any:
        begin(step.name)
        try:
            done = do(self, step, **more)
        except Exception:
            end(None)
            raise
        end(bool(done.get("changed")))
        return done

    procedure.do = told
