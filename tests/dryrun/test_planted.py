# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A check mode that is not honest is found, whichever way it lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from dry_estate import DryEstate
from dry_run import Walk

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Walk]
DELIVER = "'Bring it to its sinks and consumers'"
WHOLE = "'Take the steps: rotate'"


def plants(walk: Walk) -> list[tuple[dict[str, Any], str]]:
    """Each defect with what has to be said about it."""
    estate = walk.estate
    assert isinstance(estate, DryEstate) and estate.pooler
    first = estate.roles[0]
    env, ini = str(estate.env_file), str(estate.pooler.ini_path)
    login = {"login": estate.login}
    return [
        (
            {"module": "_publish", "defect": "writes a file", "file": env},
            f"wrote files: {env} (mtime, content)",
        ),
        (
            {"module": "_issue", "defect": "touches a file", "file": ini},
            f"wrote files: {ini} (mtime)",
        ),
        (
            {"module": "_probe", "defect": "opens a file's mode", "file": env},
            f"wrote files: {env} (owner)",
        ),
        (
            {"module": "_preflight", "defect": "leaves a file", "file": env},
            f"wrote files: {env}.left (made)",
        ),
        (
            {
                "module": "_issue",
                "defect": "alters a role",
                **login,
                "statement": f'ALTER ROLE "{first}" CONNECTION LIMIT 7',
            },
            f"wrote roles: {first}",
        ),
        (
            {
                "module": "_issue",
                "defect": "alters a role",
                **login,
                "statement": f"ALTER ROLE \"{first}\" SET work_mem = '1MB'",
            },
            f"wrote settings: {first}",
        ),
        (
            {
                "module": "_issue",
                "defect": "alters a role",
                **login,
                "statement": f'GRANT pg_monitor TO "{first}"',
            },
            "wrote members: pg_monitor",
        ),
        ({"module": "_deliver", "defect": "predicts no change"}, f"{DELIVER}: changed: predicted"),
        (
            {"module": "_preflight", "defect": "predicts a change"},
            "changed: predicted True, was False",
        ),
        ({"module": "_issue", "defect": "predicts no diff"}, f"{WHOLE}: diff"),
        ({"module": "_deliver", "defect": "predicts another diff"}, f"{WHOLE}: diff"),
        (
            {"module": "_deliver", "defect": "predicts another fact", "fact": "sinks"},
            f"{DELIVER}: sinks",
        ),
        # The last one: rights are looked at, and not put back.
        (
            {
                "module": "_issue",
                "defect": "alters a role",
                **login,
                "statement": f'GRANT SELECT ON songs TO "{first}"',
            },
            "wrote rights: class",
        ),
    ]


def test_every_planted_defect_is_found(walk: Maker) -> None:
    made = walk("alternate_roles", None)
    state = next(iter(made.states.values()))
    assert made.try_out(state, "rotate_db").faults == []
    made.restore(state)
    _code, real = made.run(
        "rotate_db", "real", "--diff", extra=made.estate.variables_of("rotate_db")
    )
    for plant, expected in plants(made):
        made.env["KEYTURN_PLANT"] = json.dumps(plant)
        faults = made.dry_faults(state, "rotate_db", real)
        assert any(expected in fault for fault in faults), f"{plant['defect']}: {faults}"
