# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that collects what check mode predicted so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

DOCUMENTATION = r"""
name: replay
short_description: Collect the keyring steps that earlier tasks predicted in check mode
version_added: 0.1.0
description:
  - Takes registered results of this collection's modules and returns the predicted steps that they hold, in order and each once.
  - The result is the value of the option O(keyturn.runbooks.keyring#module:replay) of the tasks that follow.
options:
  _input:
    description: Registered results; those of loops and of skipped tasks, and undefined ones given as V({}), are understood.
    type: list
    elements: dict
    required: true
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Go on from what the stage task predicted
  keyturn.runbooks.issuer:
    keyring: "{{ keyturn_keyring }}"
    issuer: "{{ keyturn_issuer }}"
    operation: apply
    stage: pending
    replay: "{{ [staged | default({})] | keyturn.runbooks.replay }}"
"""

RETURN = r"""
_value:
  description: The predicted steps.
  type: list
  elements: dict
"""


def collect(results: list[Any]) -> list[Any]:
    """The longest list of predicted steps, with what parallel loop items predicted beside it.

    Every task returns what it was given plus its own, so the longest list holds all but the steps of its siblings in a loop.
    """
    single = [
        item
        for result in results
        if isinstance(result, dict)
        for item in (result.get("results") or [result])
    ]
    lists = sorted(
        (item.get("replay") or [] for item in single if isinstance(item, dict)),
        key=len,
        reverse=True,
    )
    merged = list(lists[0]) if lists else []
    for steps in lists[1:]:
        merged.extend(step for step in steps if step not in merged)
    return merged


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"replay": collect}
