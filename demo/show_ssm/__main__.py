# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``demo/ssm`` starts. It looks for the libraries first: a message about them is worth more than a traceback."""

from __future__ import annotations

import sys
from pathlib import Path

NEEDED = {
    "ansible": "ansible-core",
    "psycopg2": "psycopg2-binary",
    "boto3": "boto3",
    "cryptography": "cryptography",
    "detect_secrets": "bc-detect-secrets",
}


def main() -> int:
    """The program."""
    demo = Path(__file__).resolve().parents[1]
    sys.path[0] = str(demo)
    # Stand-ins and small services that the tests have, too.
    sys.path.append(str(demo.parent / "tests" / "support"))
    from show.program import lacks

    if lacks(NEEDED, "demo-ssm"):
        return 1
    from show_ssm.main import main as play

    return play()


if __name__ == "__main__":
    sys.exit(main())
