# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback that puts a defect into the collection for one run: a check mode that is not honest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import psycopg2
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: plant
type: aggregate
short_description: Put a defect into the collection for one run
description:
  - For tests only.
  - E(KEYTURN_PLANT) is JSON with the C(module) whose C(defect) it is, and what that needs.
requirements:
  - to be enabled
"""

MODULE_UTILS = "ansible_collections.keyturn.runbooks.plugins.module_utils"
Result = dict[str, Any]


def _touch_file(result: Result, plant: dict[str, Any]) -> None:
    with open(plant["file"], "a", encoding="utf-8") as file:
        file.write("\n")


def _touch_time(result: Result, plant: dict[str, Any]) -> None:
    os.utime(plant["file"])


def _open_mode(result: Result, plant: dict[str, Any]) -> None:
    os.chmod(plant["file"], 0o640)


def _leave_file(result: Result, plant: dict[str, Any]) -> None:
    with open(f"{plant['file']}.left", "w", encoding="utf-8"):
        pass


def _alter_role(result: Result, plant: dict[str, Any]) -> None:
    connection = psycopg2.connect(**plant["login"])
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(plant["statement"])
    finally:
        connection.close()


def _unchanged(result: Result, plant: dict[str, Any]) -> None:
    result["changed"] = False


def _changed(result: Result, plant: dict[str, Any]) -> None:
    result["changed"] = True


def _no_diff(result: Result, plant: dict[str, Any]) -> None:
    result.pop("diff", None)


def _other_diff(result: Result, plant: dict[str, Any]) -> None:
    found = result["diff"]
    for diff in found if isinstance(found, list) else [found]:
        diff["after"] = str(diff.get("after")).replace("\n", "\nand more\n", 1)


def _other_fact(result: Result, plant: dict[str, Any]) -> None:
    result[plant["fact"]] = "something else"


DEFECTS: dict[str, Callable[[Result, dict[str, Any]], None]] = {
    "writes a file": _touch_file,
    "touches a file": _touch_time,
    "opens a file's mode": _open_mode,
    "leaves a file": _leave_file,
    "alters a role": _alter_role,
    "predicts no change": _unchanged,
    "predicts a change": _changed,
    "predicts no diff": _no_diff,
    "predicts another diff": _other_diff,
    "predicts another fact": _other_fact,
}


class CallbackModule(CallbackBase):
    """Wraps the core of a module before any worker is forked: in check mode it is done, and then wrong."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "plant"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        plant = json.loads(os.environ["KEYTURN_PLANT"])
        core = import_module(f"{MODULE_UTILS}.{plant['module']}").MODULE
        right, defect = core.run, DEFECTS[plant["defect"]]

        def wrong(params: Any, context: Any) -> Result:
            result: Result = right(params, context)
            if context.check_mode:
                defect(result, plant)
            return result

        object.__setattr__(core, "run", wrong)
