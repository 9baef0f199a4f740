# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``demo/streams`` starts. It looks for the libraries first: a message about them is worth more than a traceback."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """The program."""
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from show.program import lacks

    if lacks({"ansible": "ansible-core"}, "demo-streams"):
        return 1
    from show_streams.main import main as play

    return play()


if __name__ == "__main__":
    sys.exit(main())
