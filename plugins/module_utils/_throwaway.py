# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that must outlive this process, and containers that do not."""

from __future__ import annotations

import os
from typing import Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Refused

MOUNTED_PATHS = "KEYTURN_MOUNTED_PATHS"


def execution_environment(environ: Mapping[str, str]) -> str:
    """What tells that this process runs in an execution environment of AWX, ansible-runner or ansible-navigator; else empty.

    ansible-runner sets ``AWX_ISOLATED_DATA_DIR``, below ``/runner`` whenever it runs in a container (also in AWX's pods); its
    versions before 2.1 set ``LAUNCHED_BY_RUNNER`` there. AWX gives each job ``JOB_ID`` and ``AWX_HOST``. Being in some
    container is no sign: a development container keeps its files. ``/runner`` itself is made for one job and removed.
    """
    if environ.get("AWX_ISOLATED_DATA_DIR", "").startswith("/runner/"):
        return "AWX_ISOLATED_DATA_DIR"
    if environ.get("LAUNCHED_BY_RUNNER"):
        return "LAUNCHED_BY_RUNNER"
    return "AWX_HOST and JOB_ID" if environ.get("AWX_HOST") and environ.get("JOB_ID") else ""


def _is_below(path: str, directory: str) -> bool:
    real = os.path.realpath(directory)
    return os.path.realpath(path).startswith(real if real.endswith("/") else real + "/")


def refuse_throwaway(path: str, context: Context, option: str) -> None:
    """Refuse a file that would vanish with the execution environment it is in.

    The environment variable ``KEYTURN_MOUNTED_PATHS`` (absolute directories, separated by colons) declares what is mounted
    from outside and stays.

    :raises Refused: naming what tells so, and both ways out.
    """
    sign = execution_environment(context.environ)
    declared = [
        item for item in context.environ.get(MOUNTED_PATHS, "").split(":") if os.path.isabs(item)
    ]
    if not sign or any(_is_below(path, directory) for directory in declared):
        return
    raise Refused(
        f"{option}: {path} would be lost: this runs in an execution environment ({sign} is set), which is thrown away after the "
        f"job. Keep it in Vault, or mount a directory from outside and declare it in the environment variable {MOUNTED_PATHS}"
    )
