# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a play takes, and that a name which nobody has is no success."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible import context
from ansible.errors import AnsibleFilterError
from ansible_collections.keyturn.runbooks.plugins.filter.known_hosts import FilterModule

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
GROUPS = {
    "all": ["db", "app-1", "token"],
    "ungrouped": [],
    "postgres_roles": ["db"],
    "credentials": ["token"],
    "empty": [],
}
known_hosts = FilterModule().filters()["known_hosts"]


@pytest.mark.parametrize(
    "given",
    ["db", "db,app-1", "postgres_roles:!db:token", "all", ["db", "token"], "localhost", "d*", "~d.*"],
)  # fmt: skip
def test_what_the_inventory_has_is_taken_as_it_was_given(given: Any) -> None:
    assert known_hosts(given, GROUPS) == given


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("dbb", "no host or group dbb,"),
        ("db,dbb:toke", "no host or group dbb and no toke,"),
        (["db", "dbb"], "no host or group dbb,"),
        ("all:!dbb", "no host or group dbb,"),
        ("x*", "no host for x*,"),
        ("empty", "no host for empty,"),
        ("db:!db", "no host for db:!db,"),
    ],
)
def test_what_it_does_not_have_ends_the_run(given: Any, told: str) -> None:
    with pytest.raises(AnsibleFilterError, match=r"^keyturn_hosts: the inventory has ") as caught:
        known_hosts(given, GROUPS)
    assert told in str(caught.value)


@pytest.mark.parametrize("given", ["", "db", "all"])
def test_a_limit_names_what_is_known(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    for limit in (
        "db",
        "d*,token",
        "@/srv/failed.retry",
        "all:!app-1",
        "localhost",
        "~d.*",
        "db[0:1]",
    ):
        monkeypatch.setattr(context, "CLIARGS", {"subset": limit})
        assert known_hosts(given, GROUPS)
    monkeypatch.setattr(context, "CLIARGS", {"subset": "token,dbb"})
    with pytest.raises(
        AnsibleFilterError, match=r"^--limit: the inventory has no host or group dbb,"
    ):
        known_hosts(given, GROUPS)


def test_a_playbook_is_checked_without_its_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"syntax": True})
    assert known_hosts("dbb", {"all": []}) == "dbb"


def test_without_a_word_every_group_of_credentials_that_is_there_is_taken() -> None:
    assert known_hosts("", GROUPS) == "credentials:postgres_roles"
    assert known_hosts("", {"all": []}) == "credentials"
    assert known_hosts("", GROUPS, ["stream_platforms"]) == "stream_platforms"


def test_every_playbook_asks_for_names_that_are_known() -> None:
    plays = [
        (path.name, line)
        for path in sorted(PLAYBOOKS.glob("*.yml"))
        for line in re.findall(r"^ +hosts: (.*)$", path.read_text(), re.MULTILINE)
        if line != "localhost"
    ]
    assert len(plays) > 15
    assert [play for play in plays if "| keyturn.runbooks.known_hosts(" not in play[1]] == []
