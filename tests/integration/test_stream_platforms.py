# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stream keys of an own ingest: rotated between broadcasts, and never during one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from estate.errors import EstateError
from estate.playbook import Ansible
from ingest import Ingest, new_key
from machines import required
from publisher import Publisher
from stream_world import FORCE, Meanwhile, StreamWorld


@pytest.fixture
def world(scratch: Path, ansible: Ansible) -> Iterator[StreamWorld]:
    with required(), Ingest() as ingest:
        ingest.allow()
        issuer = {"type": "rtmp_ingest", "stat": ingest.stat_url}
        made = StreamWorld(scratch, ansible, ingest, issuer, lists=True)
        made.run("rotate_stream_keys").check()
        yield made


def test_a_key_is_rotated_and_the_old_one_ended(world: StreamWorld) -> None:
    first, before = world.key("current"), world.state()
    predicted = world.run("rotate_stream_keys", "--check", "--diff", **FORCE).check()
    assert "(new)" in predicted.stdout
    assert world.state() == before
    world.run("rotate_stream_keys", "--diff", **FORCE).check()
    second = world.key("current")
    assert second != first
    assert world.live_file.read_text() == second
    for key in (first, second):
        with Publisher(world.ingest, key) as live:
            assert live.running
    proved = [item for stage in [world.document().current] if stage for item in stage.evidence]
    assert {item["type"] for item in proved} == {"stream"}
    world.run("retire_due").check()
    assert world.ingest.allow_list.read_text() == f"{second}\n"
    with pytest.raises(EstateError):
        Publisher(world.ingest, first).start()
    verified = world.state()
    world.run("verify_stream_keys").check()
    with Publisher(world.ingest, second) as live:
        seen = world.run("verify_stream_keys").check()
        assert "somebody is live with this key, so no test stream can be made" in seen.output
        assert live.running
    assert world.state() == verified


def told_from_now_on(world: StreamWorld, name: str, sink: str) -> Meanwhile:
    """A consumer that has seen what is there now, and that what comes next waits at."""
    meanwhile = Meanwhile(world.folder, "told")
    consumer = {"type": "command", "name": name, "argv": meanwhile.argv, "reads": [sink]}
    world.write(keyturn_consumers=[{**consumer, "argv": ["true"]}])
    world.run("rotate_stream_keys", "--tags", "reload").check()
    world.write(keyturn_consumers=[consumer])
    return meanwhile


def test_who_goes_live_with_the_new_key_stops_no_rotation_that_is_nearly_over(
    world: StreamWorld,
) -> None:
    meanwhile = told_from_now_on(world, "relay", "live")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.run, "rotate_stream_keys", **FORCE)
        meanwhile.wait()
        with Publisher(world.ingest, world.key("current")) as live:
            meanwhile.go_on()
            seen = running.result().check()
            assert live.running
    assert "The key was accepted when that broadcast began" in seen.output
    current = world.document().current
    assert current and current.status == "observed"


def test_the_issuer_tells_that_the_test_stream_arrived(world: StreamWorld) -> None:
    [stream] = world.variables["keyturn_probes"]
    # Long enough to be told of by a machine that has much else to do.
    world.write(keyturn_probes=[{**stream, "duration": "4s", "received": {"issuer": True}}])
    world.run("rotate_stream_keys", **FORCE).check()
    current = world.document().current
    assert current
    assert "its issuer told of application live, from 127.0.0.1" in current.evidence[0]["detail"]
    world.write(keyturn_issuer={"type": "rtmp_ingest"})
    before = world.state()
    cannot = world.run("rotate_stream_keys", **FORCE).check(2)
    assert "this issuer cannot tell who sends" in cannot.stdout
    assert world.state() == before


def test_a_key_in_use_is_taken_over(scratch: Path, ansible: Ansible) -> None:
    with required(), Ingest() as ingest:
        key, given = new_key(), scratch / "in-use"
        ingest.allow(key)
        world = StreamWorld(scratch, ansible, ingest, {"type": "rtmp_ingest"}, lists=True)
        adoption = {"keyturn_adopt": {"key": f"ref+file://{given}"}}
        for arguments in (["--check"], []):
            forgotten = world.run("rotate_stream_keys", *arguments).check(2)
            assert f"sink 'allowed' (ref+file://{ingest.allow_list})" in forgotten.stdout
            assert "adopt it first" in forgotten.stdout and key not in forgotten.output
            assert (ingest.allow_list.read_text(), world.known()) == (f"{key}\n", {})
        given.touch(0o600)
        given.write_text(new_key())
        assert "refused" in world.run("adopt", **adoption).check(2).stdout
        given.write_text(key)
        world.run("adopt", **adoption).check()
        assert world.key("current") == key
        rotated = world.run("rotate_stream_keys").check()
        # The test stream with the key in use, before anything is done, has all the time that it needs.
        assert "before anything is done" not in rotated.output
        assert world.key("previous") == key


def test_it_is_rolled_back(world: StreamWorld) -> None:
    first = world.key("current")
    world.run("rotate_stream_keys", **FORCE).check()
    world.run("rollback_stream_keys").check()
    assert world.key("current") == first
    assert world.live_file.read_text() == first


@pytest.mark.parametrize("playbook", ["rotate_stream_keys", "rollback_stream_keys", "retire_due"])
def test_nothing_is_changed_while_somebody_is_live(world: StreamWorld, playbook: str) -> None:
    if playbook != "rotate_stream_keys":
        world.run("rotate_stream_keys", **FORCE).check()
    before = world.state()
    with Publisher(world.ingest, world.key("current")) as live:
        refused = world.run(playbook, **FORCE).check(2)
        assert "somebody is live (application live, from 127.0.0.1" in refused.stdout
        assert live.running
    assert world.state() == before
    world.run(playbook, **FORCE).check()
    assert world.state() != before


def test_who_goes_live_in_the_middle_of_a_rotation_keeps_the_key(world: StreamWorld) -> None:
    first = world.key("current")
    meanwhile = Meanwhile(world.folder, "proof")
    probes = [*world.variables["keyturn_probes"], {"type": "command", "argv": meanwhile.argv}]
    world.write(keyturn_probes=probes)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.run, "rotate_stream_keys", **FORCE)
        meanwhile.wait()
        with Publisher(world.ingest, first) as live:
            meanwhile.go_on()
            refused = running.result().check(2)
            assert live.running
    assert "somebody is live" in refused.stdout
    pending = world.document().pending
    assert pending
    assert (pending.status, world.key("current")) == ("proved", first)
    assert world.live_file.read_text() == first
    world.run("rotate_stream_keys").check()
    current = world.document().current
    assert current
    assert current.rotation_id == pending.rotation_id


def test_who_goes_live_while_the_old_key_is_taken_away_stops_its_end(world: StreamWorld) -> None:
    first = world.key("current")
    world.run("rotate_stream_keys", **FORCE).check()
    meanwhile = told_from_now_on(world, "ingest", "allowed")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.run, "retire_due")
        meanwhile.wait()
        with Publisher(world.ingest, world.key("current")):
            meanwhile.go_on()
            refused = running.result().check(2)
    assert "somebody is live" in refused.stdout
    previous = world.document().previous
    assert previous
    assert previous.status == "retiring"
    world.run("retire_due").check()
    assert "previous" not in world.known()
    assert first not in world.ingest.allow_list.read_text()


def test_a_key_that_somebody_publishes_with_is_not_ended(world: StreamWorld) -> None:
    """Without the gate it is the count of who uses it that stops it, and names the client."""
    first = world.key("current")
    world.run("rotate_stream_keys", **FORCE).check()
    world.write(keyturn_gates=[])
    with Publisher(world.ingest, world.key("current")):
        with Publisher(world.ingest, first) as live:
            refused = world.run("retire_due").check(2)
            assert live.running
        assert "still used by: application live, from 127.0.0.1" in refused.stdout
        world.run("retire_due").check()


def test_somebody_else_on_the_same_ingest_stops_nobody_who_asks_for_its_own_streams(
    world: StreamWorld,
) -> None:
    [live, reachable] = world.variables["keyturn_gates"]
    world.write(keyturn_gates=[{**live, "streams": "own"}, reachable])
    other, before = new_key(), world.state()
    world.ingest.allow(other, world.key("current"))
    with Publisher(world.ingest, other) as elsewhere:
        with Publisher(world.ingest, world.key("current")):
            refused = world.run("rotate_stream_keys", **FORCE).check(2)
            assert "somebody is live" in refused.stdout
        assert world.state()[2:] == before[2:]
        world.run("rotate_stream_keys", **FORCE).check()
        assert elsewhere.running


def test_an_ingest_that_does_not_answer_is_not_taken_for_an_idle_one(world: StreamWorld) -> None:
    before = world.state()
    world.ingest.stop()
    refused = world.run("rotate_stream_keys", **FORCE).check(2)
    assert "whether somebody publishes is not known" in refused.stdout
    assert f"no connection to 127.0.0.1:{world.ingest.port}" in refused.stdout
    assert world.state() == before
    # Without the gates it is met by the proof, and told by what was seen and not by the end of the time.
    world.write(keyturn_gates=[], keyturn_issuer={"type": "rtmp_ingest"})
    world.write(keyturn_probes=[{**world.variables["keyturn_probes"][0], "received": {}}])
    failed = world.run("rotate_stream_keys", keyturn_wait="8s", **FORCE).check(2)
    assert "nothing listens" in failed.stdout
    assert "no time" not in failed.stdout


def test_old_copies_of_the_key_file_go_also_when_nothing_is_retired(world: StreamWorld) -> None:
    [allowed, live] = world.variables["keyturn_sinks"]
    world.write(keyturn_sinks=[allowed, {**live, "backup": {"keep": "7d"}}])
    first = world.key("current")
    world.run("rotate_stream_keys", **FORCE).check()
    [copy] = world.folder.glob("restream.key.bak.*")
    assert (copy.read_text(), copy.stat().st_mode & 0o777) == (first, 0o600)
    world.run("retire_due").check()
    old = world.folder / "restream.key.bak.20200131"
    old.write_text(first)
    before = world.state()
    predicted = world.run("retire_due", "--check", "--diff").check()
    assert f"{old}: (a copy)" in predicted.stdout
    assert "changed=1" in predicted.stdout
    assert old.exists()
    assert "changed=1" in world.run("retire_due").check().stdout
    assert (old.exists(), copy.exists()) == (False, True)
    assert world.state() == before
    assert "changed=0" in world.run("retire_due").check().stdout


def test_a_file_that_somebody_changed_is_found_by_verify(world: StreamWorld) -> None:
    world.live_file.write_text("something else")
    found = world.run("verify_stream_keys").check(2)
    assert "these sinks are behind: live" in found.stdout
    assert "escalate to the desk of keys" in found.stdout
    assert world.live_file.read_text() == "something else"
    world.live_file.write_text(world.key("current"))
    world.ingest.stop_callback()
    refused = world.run("verify_stream_keys", keyturn_wait="7s").check(2)
    assert "make another with the rotation playbook and -e keyturn_force=true. If" in refused.stdout
    assert "escalate to the desk of keys" in refused.stdout
