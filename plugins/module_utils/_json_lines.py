# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one text of a JSON object that is kept in a store or a ledger."""

from __future__ import annotations

import json
from typing import Any, Mapping


def json_lines(body: Mapping[str, Any]) -> str:
    """A JSON object with a line for each member, sorted, so that a person can read it by eye.

    Python indents in Python, which takes twenty times as long as its encoder in C, and a rotation writes ten keyrings.
    """
    members = (
        f"{json.dumps(name)}: {json.dumps(body[name], sort_keys=True)}" for name in sorted(body)
    )
    return "{" + ",\n ".join(members) + "}\n"
