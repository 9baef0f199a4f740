# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Ansible finds this collection, wherever its files lie: a checkout of any name, or an installed tarball."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSIDE = Path("ansible_collections") / "keyturn" / "runbooks"


def given_collections_path() -> Path | None:
    """The first entry of ANSIBLE_COLLECTIONS_PATH that has the collection: perhaps an installed copy of another build."""
    entries = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(os.pathsep)
    return next(
        (Path(entry) for entry in entries if entry and (Path(entry) / INSIDE).is_dir()), None
    )


def collections_path(scratch: Path) -> Path:
    """A directory whose ``ansible_collections/keyturn/runbooks`` is the collection that this file belongs to.

    :param scratch: where a symbolic link to it goes when the collection does not lie in such a directory itself.
    """
    if ROOT.parts[-3:] == INSIDE.parts:
        return ROOT.parents[2]
    link = scratch / "collections" / INSIDE
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT)
    return scratch / "collections"
