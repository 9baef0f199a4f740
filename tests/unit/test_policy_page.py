# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/policy.md names everything that the code reads of a policy, and its examples are what they say."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._channels import CHANNELS
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._notify import (
    EVENTS,
    contact_problems,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import (
    DEFAULT_GRACE,
    ROTATE,
    parse_policy,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._http import read_wanted
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

TEXT = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
STRANGE = "no_such_key"
READERS = {
    "policy": lambda: parse_policy({STRANGE: 1}),
    "window": lambda: parse_policy({"rotate": "never", "window": [{STRANGE: 1}]}),
    "alert": lambda: parse_policy({"rotate": "never", "alert": {STRANGE: 1}}),
    **{
        kind: lambda kind=kind: CHANNELS[kind].check({"type": kind, STRANGE: 1}, "contacts")
        for kind in CHANNELS
    },
}


def block(kind: str) -> str:
    """The page's first block of code of a kind."""
    found = re.search(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)
    assert found, kind
    return found.group(1)


def not_named(words: Any) -> list[str]:
    """Those of the words that no code on the page says."""
    code = " ".join(re.findall(r"`([^`\n]+)`", TEXT))
    return [word for word in words if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", code)]


@pytest.mark.parametrize("what", READERS)
def test_every_key_is_named(what: str) -> None:
    with pytest.raises(BadInput) as refused:
        READERS[what]()
    known = refused.value.message.split("; expected ")[1].removeprefix("some of ").split(", ")
    assert len(known) > 3
    assert not_named(known) == []


def test_every_word_and_event_is_named() -> None:
    assert not_named([*ROTATE, *EVENTS, *CHANNELS]) == []
    (default,) = re.findall(r"^\| `grace` \|.*\| `(\w+)` \|$", TEXT, re.MULTILINE)
    assert parse_duration(default, "grace") == DEFAULT_GRACE


def test_the_example_has_every_key_and_is_read() -> None:
    example = yaml.safe_load(block("yaml"))["keyturn_policy"]
    policy = parse_policy(example)
    with pytest.raises(BadInput) as refused:
        READERS["policy"]()
    assert [
        key for key in refused.value.message.split("some of ")[1].split(", ") if key not in example
    ] == []
    assert {contact["type"] for contact in policy.contacts} == set(CHANNELS)
    assert contact_problems(policy.contacts) == []
    read_wanted(policy.alert, "keyturn_policy.alert")


@pytest.mark.parametrize("failing", ["", "retire_due", "rotate_db"])
def test_the_daily_script_runs_both_and_fails_with_either(tmp_path: Path, failing: str) -> None:
    place, seen = tmp_path / "srv", tmp_path / "seen"
    place.mkdir()
    stand_in = tmp_path / "ansible-playbook"
    stand_in.write_text(
        f'#!/bin/sh\necho "$3" >> {seen}\ntest "$3" != "keyturn.runbooks.{failing}"\n'
    )
    stand_in.chmod(0o755)
    script = tmp_path / "keyturn-daily"
    script.write_text(block("sh").replace("/srv/keyturn", str(place)))
    ran = subprocess.run(
        ["sh", str(script)],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=False,
    )
    assert ran.returncode == (1 if failing else 0)
    assert seen.read_text().split() == ["keyturn.runbooks.retire_due", "keyturn.runbooks.rotate_db"]
