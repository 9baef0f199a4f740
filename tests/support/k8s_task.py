# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``k8s_secret`` run in a namespace of its own: checked, applied, and both again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_secret import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from k8s_world import KubernetesWorld


class TaskWorld(KubernetesWorld):
    """Runs the module."""

    def run(self, check: bool = False, **options: Any) -> dict[str, Any]:
        """The module's result."""
        defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
        self.context.check_mode, self.context.diff = check, True
        self.context.foreseen.clear()
        named = {"name": "app", "namespace": self.namespace, **options}
        return execute(MODULE, {**defaults, **named}, self.context)

    def quartet(self, **options: Any) -> dict[str, Any]:
        """Check, apply, check again, apply again: what the second one told."""
        before = self.get("app") if self.exists("app") else None
        predicted = self.run(check=True, **options)
        assert (self.get("app") if self.exists("app") else None) == before
        done = self.run(**options)
        assert predicted["changed"] is done["changed"] is True
        assert named(predicted["diff"]) == named(done["diff"])
        after = self.get("app") if self.exists("app") else None
        for check in (True, False):
            assert self.run(check=check, **options)["changed"] is False
        assert (self.get("app") if self.exists("app") else None) == after
        return done


def named(diff: dict[str, str]) -> list[list[str]]:
    """The names in a diff; without a keyring each task has fingerprints of its own."""
    return [
        [re.sub(r"hmac:\w+|\(new\)", "…", line) for line in diff[side].splitlines()]
        for side in ("before", "after")
    ]


def refused(kind: type[KeyturnError], world: TaskWorld, **options: Any) -> str:
    """The message, the same in check mode as otherwise."""
    messages = set()
    for check in (True, False):
        with pytest.raises(kind) as caught:
            world.run(check=check, **options)
        assert caught.type is kind
        messages.add(caught.value.message)
    [message] = messages
    return message


def refusal(kind: type[KeyturnError], world: TaskWorld, **options: Any) -> str:
    """The message, and nothing written."""
    before = world.get("app") if world.exists("app") else None
    message = refused(kind, world, **options)
    assert (world.get("app") if world.exists("app") else None) == before
    return message
