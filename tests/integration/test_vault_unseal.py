# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Vault, its key in five shares of which three open it, is unsealed after each restart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Refused,
    Sealed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_unseal import MODULE
from estate.playbook import Ansible
from estate.vault import VaultServer
from vault_cluster import CommandLines, FirstNode, SecondNode, SharedVault, bent, forms, holders
from vault_world import closed_port


@pytest.fixture(scope="session")
def server(run_dir: Path) -> Iterator[SharedVault]:
    """One server for all tests of this module; each seals it first."""
    place = run_dir / "shared-vault"
    place.mkdir(mode=0o700)
    with SharedVault(place) as started:
        yield started


@pytest.fixture
def sealed(server: SharedVault) -> SharedVault:
    """Sealed, with no share given."""
    if not server.is_sealed():
        server.seal()
    server.request("PUT", "sys/unseal", {"reset": True})
    return server


class Task:
    """The module's core, and what it told while it was at work."""

    def __init__(self, server: SharedVault, scratch: Path) -> None:
        self.server = server
        self.references = holders(scratch, server.shares)
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def run(self, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        context = Context(
            check_mode=check_mode,
            diff=True,
            environ={},
            progress=self.lines.append,
            warn=self.warnings.append,
        )
        defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
        given = {
            "url": [self.server.address],
            "ca_cert": str(self.server.ca_file),
            "shares": self.references[:3],
            **options,
        }
        return execute(MODULE, {**defaults, **given}, context)


@pytest.fixture
def task(sealed: SharedVault, scratch: Path) -> Task:
    return Task(sealed, scratch)


def test_it_serves_when_the_task_ends_and_is_left_alone_afterwards(task: Task) -> None:
    predicted = task.run(check_mode=True)
    assert task.server.is_sealed()
    assert task.server.progress() == 0
    done = task.run()
    assert task.server.serves()
    assert (predicted["changed"], predicted["diff"]) == (done["changed"], done["diff"])
    assert done["changed"] is True
    assert task.lines == [f"{task.server.address}: {count} of 3 shares" for count in (1, 2)]
    # No share is read for a Vault that is open: there is none where these references point.
    again = task.run(shares=["ref+file:///nowhere/1", "ref+envsubst://$KEYTURN_NOWHERE"])
    assert again["changed"] is False
    assert again["nodes"][0]["sealed_before"] is False


def test_a_wrong_share_is_told_without_a_value_and_others_still_open_it(task: Task) -> None:
    Path(task.references[1].removeprefix("ref+file://")).write_text(bent(task.server.shares[1]))
    with pytest.raises(BadInput, match="at least one is wrong") as caught:
        task.run()
    assert "shares[0], shares[1], shares[2]" in caught.value.message
    assert caught.value.details["changed"] is False
    assert task.server.progress() == 0
    for share in task.server.shares:
        assert share not in caught.value.message
    assert task.run(shares=[task.references[number] for number in (0, 2, 3)])["changed"] is True


def test_interrupted_after_two_shares_the_next_run_gives_what_is_missing(task: Task) -> None:
    task.server.give(3, 4)
    # One alone is enough now.
    done = task.run(shares=task.references[:1])
    assert done["nodes"][0]["progress_before"] == "2 of 3"
    assert task.server.serves()


def test_a_share_that_was_given_before_is_not_counted_twice(task: Task) -> None:
    task.server.give(0)
    with pytest.raises(Refused, match="give one more"):
        task.run(shares=task.references[:2])
    assert task.server.progress() == 2
    assert task.run(shares=task.references[:3])["changed"] is True


def test_somebody_elses_wrong_share_is_got_over(task: Task) -> None:
    task.server.request("PUT", "sys/unseal", {"key": bent(task.server.shares[4])})
    assert task.run()["changed"] is True
    assert task.server.serves()


def test_with_reset_what_others_gave_is_forgotten(task: Task) -> None:
    task.server.request("PUT", "sys/unseal", {"key": bent(task.server.shares[4])})
    with pytest.raises(Refused, match="3 of 3 shares are still needed, and 2"):
        task.run(shares=task.references[:2], reset=True)
    assert task.server.progress() == 1
    assert task.run(check_mode=True, reset=True)["changed"] is True
    assert task.server.progress() == 1
    assert task.run(reset=True)["changed"] is True


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_share_that_is_missing_is_found_before_any_is_given(task: Task, check_mode: bool) -> None:
    Path(task.references[2].removeprefix("ref+file://")).unlink()
    with pytest.raises(Absent, match="2 can be read here; none was given to Vault") as caught:
        task.run(check_mode=check_mode)
    assert "there is no file" in caught.value.message
    assert task.server.progress() == 0
    # With a fourth holder it is only a warning.
    assert task.run(check_mode=check_mode, shares=task.references[:4])["changed"] is True
    assert any("The other shares are enough" in warning for warning in task.warnings)


def test_what_is_no_share_is_not_sent(task: Task) -> None:
    Path(task.references[1].removeprefix("ref+file://")).write_text("Unseal Key 2: something")
    with pytest.raises(BadInput, match=r"shares\[1\]: this is no share"):
        task.run()
    Path(task.references[1].removeprefix("ref+file://")).write_text(task.server.shares[0])
    with pytest.raises(BadInput, match=r"shares\[1\] is the same share as shares\[0\]"):
        task.run()
    assert task.server.progress() == 0


def test_two_runs_at_once(task: Task) -> None:
    other = Task(task.server, Path(task.references[0].removeprefix("ref+file://")).parents[1])
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(task.run)
        second = pool.submit(other.run, shares=other.references[2:])
        results = [first.result(60), second.result(60)]
    assert any(result["changed"] for result in results)
    assert task.server.serves()


def test_a_node_that_is_down_does_not_keep_another_sealed(task: Task) -> None:
    down = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(Unreachable, match="no connection") as caught:
        task.run(url=[down, task.server.address], timeout="1s")
    assert task.server.serves()
    assert caught.value.details["changed"] is True
    assert [node["changed"] for node in caught.value.details["nodes"]] == [False, True]


def test_a_cluster_serves_once_its_last_node_is_open(scratch: Path) -> None:
    folders = [scratch / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir(mode=0o700)
    with FirstNode(folders[0]) as first, SecondNode(folders[1], first) as second:
        first.restart()
        second.restart()
        task = Task(first, scratch)
        # One of two nodes is no majority.
        with pytest.raises(Unreachable, match="more than half of its nodes"):
            task.run(ca_cert=None, wait="0.3")
        done = task.run(url=[first.address, second.address], ca_cert=None)
        assert [node["changed"] for node in done["nodes"]] == [False, True]
        assert first.serves()


def test_one_that_is_not_initialised(task: Task, scratch: Path) -> None:
    place = scratch / "new"
    place.mkdir(mode=0o700)
    server = VaultServer(place)
    try:
        server._daemon.start(lambda: server._health() == 501)
        with pytest.raises(Sealed, match="not initialised: there is nothing to unseal"):
            task.run(url=[server.address])
    finally:
        server.close()


def play(place: Path, task: Task, direct: bool) -> Path:
    """An inventory with the one Vault."""
    inventory = place / f"hosts-{direct}.json"
    variables = {
        "ansible_connection": "local",
        "keyturn_direct": direct,
        "keyturn_vault": {"url": task.server.address, "ca_cert": str(task.server.ca_file)},
        "keyturn_vault_shares": task.references[:3],
    }
    inventory.write_text(
        json.dumps({"all": {"children": {"vault": {"hosts": {"vault1": None}}}, "vars": variables}})
    )
    return inventory


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "module"])
def test_the_playbook_after_a_restart_leaves_no_share_anywhere(
    task: Task, scratch: Path, ansible: Ansible, direct: bool
) -> None:
    task.server.restart()
    inventory = play(scratch, task, direct)
    name = "keyturn.runbooks.vault_unseal"
    check = ansible.run(name, "--check", "--diff", inventory=inventory).check()
    assert task.server.is_sealed()
    with CommandLines() as commands:
        done = ansible.run(name, "--diff", "-vvvv", inventory=inventory).check()
    assert task.server.serves()
    again = ansible.run(name, inventory=inventory).check()
    for result, changed in ((check, 1), (done, 1), (again, 0)):
        assert re.search(rf"changed={changed}\b", result.stdout), result.output
    if direct:
        assert f"{task.server.address}: 2 of 3 shares" in done.steps
    everything = "".join(
        [check.output, done.output, again.output, ansible.log(), task.server.log(), *commands.seen]
    )
    for share in task.server.shares:
        for text in forms(share):
            assert text not in everything
    assert ansible.leftovers() == []


def test_a_share_in_the_playbook_is_refused_and_not_shown(
    task: Task, scratch: Path, ansible: Ansible
) -> None:
    inventory = play(scratch, task, direct=False)
    content = json.loads(inventory.read_text())
    content["all"]["vars"]["keyturn_vault_shares"] = [task.server.shares[0]]
    inventory.write_text(json.dumps(content))
    done = ansible.run("keyturn.runbooks.vault_unseal", "-vvvv", inventory=inventory).check(2)
    assert "shares[0]: expected a reference" in done.output
    assert task.server.shares[0] not in done.output + ansible.log()
