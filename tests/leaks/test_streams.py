# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole life of a stream key, as loudly as it can be run: it is nowhere but in the files that are there to hold it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from estate.playbook import Ansible
from estate.processes import wait_until
from ingest import Ingest, new_key
from leaks.streams import INGEST, StreamWatch
from leaks.trace import Tracer
from leaks.watch import Watch
from machines import required
from publisher import Publisher
from stream_estate import ROLL_BACK, ROTATE, StreamEstate
from stream_world import FORCE

Maker = Callable[..., StreamWatch]
Report = Callable[[Watch], None]
DEFECTS = Path(__file__).with_name("stream_defects.py")
SOON = {**FORCE, "keyturn_wait": "7s"}


@pytest.fixture
def watched(scratch: Path, traced: Ansible, tracer: Tracer) -> Iterator[Maker]:
    """Makes a platform that is not begun yet; its ingest keeps keys out of its logs, unless it is not ``careful``."""
    with ExitStack() as ending:

        def maker(name: str, overlap: bool, method: str, careful: bool = True) -> StreamWatch:
            folder = scratch / "estate"
            folder.mkdir(mode=0o711)
            with required():
                ingest = ending.enter_context(Ingest(careful=careful))
            estate = StreamEstate(folder, traced, ingest, overlap)
            (probe,) = estate.variables["keyturn_probes"]
            estate.write(
                keyturn_probes=[{**probe, "method": method}],
                keyturn_consumers=[{**estate.relay(), "argv": ["true"]}],
            )
            return StreamWatch(estate, tracer, name, {"ANSIBLE_DEBUG": "1"})

        yield maker


def test_the_life_of_a_key(watched: Maker, report: Report) -> None:
    made = watched("an own ingest, ANSIBLE_DEBUG", True, "ffmpeg")
    estate = made.estate
    made.run("1 first key", ROTATE)
    made.run("2 dry run", ROTATE, "--check", **FORCE)
    made.run("3 rotate", ROTATE, **FORCE)
    made.run("4 roll back", ROLL_BACK)
    made.run("5 retire", "retire_due")
    with Publisher(estate.ingest, estate.key("current")):
        live = made.run("6 somebody is live", ROTATE, code=2, **FORCE)
        assert "somebody is live" in live.stdout
        busy = made.run("7 the key is in use", "verify_stream_keys")
        assert "no test stream can be made with it" in busy.output
    estate.ingest.stop_callback()
    refused = made.run("8 refused by the ingest", ROTATE, code=2, **SOON)
    assert "the ingest refused the stream" in refused.stdout
    estate.ingest.stop()
    away = made.run("9 the ingest is away", "verify_stream_keys", code=2, keyturn_wait="7s")
    assert f"127.0.0.1:{estate.ingest.port}" in away.stdout
    report(made.watch)


def test_a_key_that_a_person_hands_over(watched: Maker, report: Report) -> None:
    """By PyAV, whose exceptions quote the address with the key when the stream is cut off."""
    made = watched("a person's key, PyAV", False, "pyav")
    estate = made.estate
    estate.click()
    made.run("1 first key", ROTATE)
    made.run("2 asks for another", ROTATE, code=2, **FORCE)
    estate.hand(new_key())
    refused = made.run("3 a wrong key", ROTATE, code=2, **SOON)
    assert "the ingest refused the stream" in refused.stdout
    made.run("4 abandon", "abandon", **FORCE)
    estate.click()
    made.run("5 handed over", ROTATE, **FORCE)
    made.run("6 retire", "retire_due")
    (probe,) = estate.variables["keyturn_probes"]
    estate.write(keyturn_probes=[{**probe, "duration": "5s", "retries": 0}])
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(made.run, "7 cut off", "verify_stream_keys", code=2)
        wait_until(estate.ingest.publishing, 60, "the test stream")
        estate.ingest.drop(estate.reset)
        assert "did not take it to its end" in running.result().stdout
    report(made.watch)


def test_an_ingest_that_writes_keys_down_is_found(
    watched: Maker, record_property: Callable[[str, object], None]
) -> None:
    made = watched("an ingest as it usually is", True, "ffmpeg", careful=False)
    made.run("first key", ROTATE)
    assert made.found() == {INGEST}, "\n".join(made.watch.hits())
    told = "; ".join(made.watch.hits())
    for log in ("error.log", "rtmp-access.log", "on_publish.log"):
        assert f"/{log}" in told
    planted = {"place": INGEST, "defect": "an ingest with its usual settings gets it"}
    record_property("planted", json.dumps({**planted, "forms": 1, "found": 1}))


def _defects() -> Any:
    spec = spec_from_file_location("stream_defects", DEFECTS)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_planted_leak_is_found(watched: Maker) -> None:
    made = watched("a planted leak", True, "ffmpeg")
    made.env["KEYTURN_DEFECT"] = f"{DEFECTS} everywhere"
    # Its own look at the output would end the test before the search.
    done = made.estate.ansible
    with made.over("first key"):
        done.run(
            f"keyturn.runbooks.{ROTATE}",
            "-vvvv",
            inventory=made.estate.folder / "inventory",
            env=made.env,
        ).check()
    assert made.found() >= _defects().FOUND
