# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A defect of the product that lets a token out with each step of its keyring. Loaded by the plugin ``kill_at``."""

from __future__ import annotations

import os
import subprocess
import tempfile
from importlib import import_module
from typing import Any


def everywhere() -> None:
    """The token is an argument, a variable, and in a file for a moment."""
    utils = "ansible_collections.keyturn.runbooks.plugins.module_utils"
    access = import_module(f"{utils}._access").KeyringAccess
    step = access.step

    def loud(self: Any, *arguments: Any, **options: Any) -> Any:
        done = step(self, *arguments, **options)
        value = self.document.current.secret("value").reveal()
        subprocess.run(["true", value], env={**os.environ, "TOKEN": value}, check=True)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(value)
        return done

    access.step = loud
