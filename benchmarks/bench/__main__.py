# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``benchmarks/run`` starts."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def main() -> int:
    """The program."""
    sys.path[:1] = [str(HERE), str(HERE.parent / "demo")]
    from bench.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
