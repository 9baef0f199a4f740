# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several stream platforms in one run, which is killed or fails for some of them: each ends as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from estate.playbook import Ansible
from estate.processes import wait_until
from machines import required
from stream_faults import keep_fault
from stream_hosts import PATIENCE, Platforms, failed_hosts, told_of

FORWARD = "ends the rotation"


@pytest.fixture
def platforms(scratch: Path, ansible: Ansible) -> Iterator[Platforms]:
    """None yet."""
    made = Platforms(scratch, ansible, None)
    with required():
        try:
            yield made
        finally:
            made.close()


def cut(platforms: Platforms, reached: Callable[[], bool]) -> None:
    """Run it until then, and kill all of it."""
    running = platforms.start()
    try:
        wait_until(lambda: reached() or not running.running, PATIENCE, "the run to be there", 0.005)
        assert running.running, running.wait().output
    finally:
        running.kill()
    platforms.survive("killed")
    # What was started for a test stream ends by itself.
    wait_until(lambda: not any(one.ingest.publishing() for one in platforms.all), 20, "silence")


def test_a_run_of_three_is_killed_again_and_again(platforms: Platforms) -> None:
    """Their test streams are not equally long, so that each is at another step when all are killed."""
    short = platforms.add("short")
    longer = platforms.add("longer", seconds=2)
    ended = platforms.add("ended", overlap=False)
    ended.click()
    platforms.write()
    for reached in (
        lambda: any(one.is_tested() for one in platforms.all),
        lambda: any(one.current.status == "promoted" for one in platforms.all),
        lambda: any(one.state == "observed grace" for one in platforms.all),
    ):
        cut(platforms, reached)
    assert not all(one.state == "observed grace" for one in platforms.all), "killed after its end"
    platforms.run().check()
    for one in (short, longer, ended):
        one.is_done()
    keep_fault(
        "a run of three platforms is killed three times, at another step of each",
        (True, "each is as if it were alone", FORWARD),
        (False, "each is as if it were alone", FORWARD),
    )


def test_what_fails_for_one_is_nothing_to_the_others(platforms: Platforms, scratch: Path) -> None:
    """One has a relay that takes no new key, and returns; one waits for a person; the other two are rotated."""
    good = platforms.add("good")
    returned = platforms.add("returned")
    reset = platforms.add("reset", overlap=False)
    asked = platforms.add("asked", overlap=False)
    reset.click()
    first, copy, key_file = returned.known()["current"], scratch / "copy", returned.file
    copy.write_text(first)
    # It works with the key in use, and with no other one.
    relay = returned.relay()
    script = f'set -e; [ "$(cat {copy})" = "$(cat {key_file})" ]; {relay["argv"][-1]}'
    returned.more["keyturn_consumers"] = [{**relay, "argv": ["sh", "-c", script]}]
    platforms.write()
    done = platforms.run().check(2)
    assert failed_hosts(done) == {"returned", "asked"}
    good.is_done()
    reset.is_done()
    assert "consumer relay-returned: 'sh' ended with exit code 1" in told_of(done, "returned")
    assert "The previous value was made current again and proved" in told_of(done, "returned")
    assert "asked.handed holds no value yet. Make a new value" in told_of(done, "asked")
    assert (returned.state, asked.state) == ("observed grace!", "intended observed")
    assert (returned.in_file(), returned.held()) == (first, first)
    platforms.survive("failed")
    asked.click()
    rest = platforms.run().check(2)
    assert failed_hosts(rest) == {"returned"}
    assert "run the retire_due playbook" in told_of(rest, "returned")
    asked.is_done()
    good.is_done()
    keep_fault(
        "in a run of four platforms one has a relay that takes no new key, and for one no key is made yet",
        (True, "it returned, and the end of the run names it; the other one is rotated", "asks for `retire_due` first"),
        (False, "it waits for the person, and the end of the run names it; the other one is rotated", FORWARD),
    )  # fmt: skip
