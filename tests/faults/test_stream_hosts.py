# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stream keys in files of a real host: it stops answering in the middle, a unit does not reload, no room is left."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from estate.playbook import Ansible, PlaybookResult
from machines import Application, Podman, SystemdMachine, required
from publisher import Publisher
from stream_faults import keep_fault
from stream_hosts import HOST, PATIENCE, RELOADS, Moment, Platform, Platforms, failed_hosts, told_of


@pytest.fixture
def platforms(scratch: Path, ansible: Ansible, machine: SystemdMachine) -> Iterator[Platforms]:
    """None yet; their units are on the host."""
    made = Platforms(scratch, ansible, machine)
    with required():
        try:
            yield made
        finally:
            made.close()


AWAY = "the host of this task cannot be reached: "
BACK = f"See to the connection to {HOST}, then run the same playbook again"
ACCEPTED = "Nothing speaks against the new value, and both values are accepted"
HELD = "Nothing was returned to; mend the cause and run the same playbook again"
ONLY = "it may be the only one that works: mend the cause and run the same playbook again"
ESCALATE = "escalate to the key desk"
GONE_BACK = (
    "The previous value was made current again and proved. Mend the cause, run the retire_due"
)
FORWARD, RETURNED = "ends the rotation", "ends the return"
SSHD = "/usr/sbin/sshd"


@contextmanager
def silent(machine: SystemdMachine, podman: Podman) -> Iterator[None]:
    """It stops in the middle of everything, as a machine does that hangs."""
    podman.call("pause", machine.id)
    try:
        yield
    finally:
        podman.call("unpause", machine.id)


@contextmanager
def unreachable(machine: SystemdMachine) -> Iterator[None]:
    """Nobody can log in there; its services go on."""
    machine.shell(f"chmod 0 {SSHD}; pkill -KILL -x sshd || true")
    try:
        yield
    finally:
        machine.shell(f"chmod 755 {SSHD}")


def lost_at(
    platforms: Platforms, moments: list[Moment], away: AbstractContextManager[None]
) -> PlaybookResult:
    """Run it, and take the host away when all have come to that moment; then see that who goes live can."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(platforms.run)
        for moment in moments:
            moment.wait()
        with away:
            for moment in moments:
                moment.go_on()
            failed = running.result().check(2)
            platforms.survive("away")
            for one in platforms.all:
                # Where a reset has ended the key in use, the keyring says what goes on.
                if one.overlap:
                    Publisher(one.ingest, one.held()).start().close()
    return failed


@contextmanager
def full(platform: Platform) -> Iterator[None]:
    """No room is left on the host where its key file is."""
    assert platform.unit
    machine, folder = platform.unit.machine, platform.unit.folder
    machine.shell(
        f"mv {folder} {folder}.d; mkdir {folder}; mount -t tmpfs -o size=64k none {folder}; mv {folder}.d/* {folder}; "
        f"dd if=/dev/zero of={folder}/filling bs=512 2>&1 || true"
    )
    try:
        yield
    finally:
        machine.shell(f"rm {folder}/filling")


def says(done: PlaybookResult, words: dict[str, list[str]]) -> None:
    """Each platform's failure is told with these words."""
    for name, texts in words.items():
        told = told_of(done, name)
        assert [text for text in texts if text not in told] == [], told


def mend(platforms: Platforms) -> None:
    """From now on the units can do what they are told, and every proof has time; those that run go on."""
    for one in platforms.all:
        one.more.pop("keyturn_wait", None)
        platforms.write_variables(one)
        assert one.unit
        one.unit.machine.write(f"{one.unit.folder}/works", "")
        one.unit.start()


def states(platforms: Platforms) -> dict[str, str]:
    """Of each."""
    return {one.name: one.state for one in platforms.all}


def test_a_host_that_stops_answering_in_the_middle(
    platforms: Platforms, machine: SystemdMachine, podman: Podman
) -> None:
    """After the proofs of three platforms: one is promoted, one is not yet, and one has had its key reset by a person."""
    platforms.add("promoted", RELOADS)
    waiting = platforms.add("waiting", RELOADS)
    platforms.add("ended", RELOADS, overlap=False).click()
    place = {"type": "systemd", "host": HOST, "unit": Application(machine).unit}
    guard = {"name": "encoder", **place, "inactive": "skip", "active": "refuse"}
    waiting.more["keyturn_consumers"] = [waiting.relay(), guard]
    # The first time is the look before anything is done.
    moments = [Moment(platforms.folder, one.name, skipped=True) for one in platforms.all]
    for one, moment in zip(platforms.all, moments, strict=True):
        proof = {"type": "command", "argv": moment.argv}
        one.more["keyturn_probes"] = [*one.variables()["keyturn_probes"], proof]
    platforms.write()
    failed = lost_at(platforms, moments, silent(machine, podman))
    assert states(platforms) == {
        "promoted": "promoted grace",
        "waiting": "proved observed",
        "ended": "promoted grace",
    }
    says(
        failed,
        {
            "promoted": [AWAY, BACK, ACCEPTED, ESCALATE],
            "waiting": [AWAY, BACK, "The new value is not in use, and applications", ESCALATE],
            "ended": [AWAY, BACK, HELD, ESCALATE],
        },
    )
    platforms.run().check()
    for one in platforms.all:
        one.is_done()
    keep_fault(
        "a host stops answering after the proofs",
        (True, "promoted; it holds: both keys are accepted", FORWARD),
        (True, "an encoder there cannot be asked: not promoted", FORWARD),
        (False, "promoted; it holds: nothing can be returned to", FORWARD),
    )


def test_a_host_that_is_gone_between_file_and_reload(
    platforms: Platforms, machine: SystemdMachine
) -> None:
    """The key file has the new key, and the unit uses the old one: the run cannot return there, and the next one ends that."""
    one, moment = platforms.add("listed", RELOADS), Moment(platforms.folder, "told")
    # It is told before the unit, and reads the same file.
    first = {"name": "first", "type": "command", "argv": moment.argv, "reads": ["live"]}
    one.more["keyturn_consumers"] = [{**first, "timeout": f"{PATIENCE}s"}, one.relay()]
    platforms.write()
    key = one.known()["current"]
    failed = lost_at(platforms, [moment], unreachable(machine))
    assert one.state == "promoted grace!"
    assert (one.in_file(), one.held()) == (one.known()["previous"], key)
    back = "The return to the previous value was begun and failed too: Write the sinks"
    says(failed, {"listed": [AWAY, BACK, back]})
    platforms.run().check()
    assert (one.state, one.in_file(), one.held()) == ("observed grace!", key, key)
    stays = "it cannot return there either; both keys are accepted"
    keep_fault("a host is gone between the key file and the reload", (True, stays, RETURNED))


def troubled(platforms: Platforms) -> list[Platform]:
    """One whose unit takes its first key alone, one whose unit does not reload, one whose unit ends by it, and a good one."""
    works = "test -e /srv/%N/works"
    refuses = f"ExecReload=/bin/sh -c '{works} || cmp /srv/%N/value /srv/%N/first'"
    leaves = f"ExecReload=/bin/sh -c '{works} || kill -TERM $MAINPID'"
    listed = platforms.add("listed", refuses, RELOADS)
    ended = platforms.add("ended", f"ExecReload=/usr/bin/{works}", RELOADS, overlap=False)
    ended.click()
    assert listed.unit
    listed.unit.machine.write(f"{listed.unit.folder}/first", listed.known()["current"])
    return [listed, ended, platforms.add("left", leaves, RELOADS), platforms.add("stuck", RELOADS)]


def reset(platforms: Platforms) -> list[Platform]:
    """Two whose unit is good, and whose key a person has reset."""
    made = [platforms.add(name, RELOADS, overlap=False) for name in ("packed", "refused")]
    for one in made:
        one.click()
    made[1].more["keyturn_wait"] = "3s"
    return made


@contextmanager
def refusing(platform: Platform) -> Iterator[None]:
    """Its ingest cannot ask who may publish, and refuses everybody."""
    platform.ingest.stop_callback()
    try:
        yield
    finally:
        platform.ingest.start_callback()


def words(platforms: Platforms) -> dict[str, list[str]]:
    """What is said of each of them."""
    units = {one.name: one.unit for one in platforms.all if one.unit}
    on = {name: f"relay-{name} on {HOST}: " for name in units}
    no_room = {name: [f"on {HOST}", units[name].file, "no space left"] for name in units}
    return {
        "listed": [f"{on['listed']}reload {units['listed'].unit}", "Reload failed", GONE_BACK],
        "ended": [f"{on['ended']}reload {units['ended'].unit}", "Reload failed", HELD],
        "left": [f"{on['left']}after reload, {units['left'].unit} is", "must not be started from"],
        "stuck": [*no_room["stuck"], ACCEPTED],
        "packed": [*no_room["packed"], HELD, ESCALATE],
        "refused": ["the ingest refused the stream", ONLY, ESCALATE],
    }


def keep_faults() -> None:
    """What the next test sees."""
    keep_fault(
        "a unit fails to reload, or is gone after its reload",
        (True, "returned to the old key, and proved it", "asks for `retire_due` first"),
        (True, "returned, but for the unit that is gone: it is not started", RETURNED),
        (False, "it holds: nothing can be returned to", FORWARD),
    )
    keep_fault(
        "the disk of a host is full",
        (True, "promoted; it holds: both keys are accepted", FORWARD),
        (False, "promoted; it holds: nothing can be returned to", FORWARD),
    )
    dead = "not promoted, and no key is taken for a bad one; the key in use is known as dead"
    everybody = "the ingest refuses everybody, since it cannot ask who may"
    keep_fault(everybody, (False, dead, FORWARD))


def test_units_that_do_not_reload_full_disks_and_an_ingest_that_refuses(
    platforms: Platforms,
) -> None:
    """With a list the run returns; after a reset it stays where it is, and so it does where a file takes no write."""
    listed, ended, left, stuck = troubled(platforms)
    packed, refused = reset(platforms)
    key, units = listed.known()["current"], [one.unit for one in platforms.all if one.unit]
    processes = {unit.unit: unit.pid for unit in units if unit is not left.unit}
    platforms.write()
    with full(stuck), full(packed):
        with refusing(refused):
            failed = platforms.run().check(2)
        platforms.survive("failed")
    assert states(platforms) == {
        "listed": "observed grace!",
        "ended": "promoted grace",
        "left": "promoted grace!",
        "stuck": "promoted grace",
        "packed": "promoted grace",
        "refused": "applied observed",
    }
    says(failed, words(platforms))
    assert refused.current.ended, "nothing says that the key in use is dead"
    assert refused.in_file() == refused.held() == refused.known()["current"]
    assert packed.in_file() == packed.held() == packed.known()["previous"]
    assert (listed.in_file(), listed.held()) == (key, key)
    assert {unit.unit: unit.pid for unit in units if unit is not left.unit} == processes
    mend(platforms)
    asked = platforms.run().check(2)
    assert failed_hosts(asked) == {"listed"}, asked.output
    says(asked, {"listed": ["run the retire_due playbook"]})
    for one in (ended, stuck, packed, refused):
        one.is_done()
    assert left.state == "observed grace!"
    assert left.in_file() == left.held() == left.known()["current"]
    keep_faults()
