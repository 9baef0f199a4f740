# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo as a person starts it: to its end, and broken off with Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate.binaries import pgbouncer_binary, postgres_bindir
from estate.collection import ROOT
from estate.errors import Missing
from estate.processes import descendants, wait_until
from show.acts import SCENARIOS

ABSENT = "real part missing: "
ZEROS = ("failed logins", "failed transactions", "leaks found")


@pytest.fixture
def servers() -> None:
    """Skip where the demo's servers are not installed; fail where every real part is required."""
    try:
        postgres_bindir("16")
        pgbouncer_binary()
    except Missing as error:
        if os.environ.get("KEYTURN_REQUIRE_REAL") == "1":
            pytest.fail(f"{ABSENT}{error}", pytrace=False)
        pytest.skip(f"{ABSENT}{error}")


@pytest.fixture
def demo(servers: None, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo under way, with the Python of this test."""
    first = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": os.pathsep.join([first, os.environ["PATH"]])}
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [str(ROOT / "demo" / "run")],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
            start_new_session=True,
        )
        yield process
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def shown(tmp_path: Path) -> str:
    """What the demo has printed so far."""
    return (tmp_path / "out").read_text() + (tmp_path / "err").read_text()


def command_lines(pid: int) -> str:
    """The command lines of all processes below this one."""
    pids = ",".join(map(str, descendants(pid)))
    listing = ["ps", "-ww", "-o", "args=", "-p", pids]
    return subprocess.run(listing, capture_output=True, text=True, check=False).stdout


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.tarball
def test_the_demo_ends_with_zeros(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    status = demo.wait(400)
    output = shown(tmp_path)
    assert status == 0, output
    assert "FAILED" not in output and "fatal" not in output
    for name in ZEROS:
        assert re.search(rf"^{name} +0$", output, re.MULTILINE), output
    (transactions,) = re.findall(r"^transactions +(\d+)$", output, re.MULTILINE)
    assert int(transactions) > 500
    for number, scenario in enumerate(SCENARIOS, 1):
        assert f"\n{number}. {scenario.title}\n" in output
        assert re.search(rf"^{scenario.name} +[\d.]+ +\d+ +0 +0$", output, re.MULTILINE), output
    assert "SIGKILL" in output
    assert "Every number that has to be 0 is 0." in output


def test_ctrl_c_stops_everything(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    wait_until(lambda: "...      Check every gate" in shown(tmp_path), 120, "the first step")
    (place,) = set(re.findall(r"/[^ ]*/keyturn-demo-[^/ ]+", command_lines(demo.pid)))
    started = descendants(demo.pid)
    assert len(started) > 10
    os.kill(demo.pid, signal.SIGINT)
    assert demo.wait(60) == 128 + signal.SIGINT, shown(tmp_path)
    wait_until(lambda: not any(map(alive, started)), 10, "the end of every process")
    assert not Path(place).exists()
    assert "interrupted; everything was stopped" in shown(tmp_path)
    assert "Traceback" not in shown(tmp_path)
