# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demos as a person starts them: to their end, and broken off with Ctrl-C."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from estate.binaries import pgbouncer_binary, postgres_bindir
from estate.collection import ROOT
from estate.errors import Missing
from estate.kubernetes import api_server_binary, etcd_binary
from estate.processes import descendants, wait_until
from estate.vault import vault_binary
from show.acts import SCENARIOS
from show.leaks import files, forms
from show.screen import Screen
from show_stores.acts import SCENARIOS as STORES
from show_stores.main import play
from show_stores.places import NAMES, PRODUCTION, REPORTS, SECRET, SECRETS, STAGING
from show_stores.scene import Scene

ABSENT = "real part missing: "
ZEROS = ("failed logins", "failed transactions", "leaks found")
Start = Callable[[str], "subprocess.Popen[str]"]


def without(error: Missing) -> None:
    """Skip where the demo's servers are not installed; fail where every real part is required."""
    if os.environ.get("KEYTURN_REQUIRE_REAL") == "1":
        pytest.fail(f"{ABSENT}{error}", pytrace=False)
    pytest.skip(f"{ABSENT}{error}")


@pytest.fixture
def servers() -> None:
    """What the first demo needs is there."""
    try:
        postgres_bindir("16")
        pgbouncer_binary()
    except Missing as error:
        without(error)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program of the folder ``demo``, with the Python of this test."""
    first = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": os.pathsep.join([first, os.environ["PATH"]])}
    started: list[subprocess.Popen[str]] = []

    def go(name: str) -> subprocess.Popen[str]:
        with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
            process = subprocess.Popen(
                [str(ROOT / "demo" / name)],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield go
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


@pytest.fixture
def stores() -> Iterator[tuple[Scene, Screen]]:
    """The servers of the demo of the stores, and what it shows."""
    screen = Screen()
    try:
        scene = Scene(screen.say)
    except Missing as error:
        without(error)
        raise
    with scene:
        yield scene, screen


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
def test_the_demo_ends_with_zeros(servers: None, start: Start, tmp_path: Path) -> None:
    status = start("run").wait(400)
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
    assert "make demo-stores" in output.splitlines()[-1]


def test_ctrl_c_stops_everything(servers: None, start: Start, tmp_path: Path) -> None:
    demo = start("run")
    wait_until(lambda: "...      Check every gate" in shown(tmp_path), 120, "the first step")
    end_with_ctrl_c(demo, tmp_path)


def end_with_ctrl_c(demo: subprocess.Popen[str], tmp_path: Path, least: int = 10) -> None:
    """Nothing that it started lives on, and its folder is gone."""
    (place,) = set(re.findall(r"/[^ ]*/keyturn-demo-[^/ ]+", command_lines(demo.pid)))
    started = descendants(demo.pid)
    assert len(started) > least
    os.kill(demo.pid, signal.SIGINT)
    assert demo.wait(60) == 128 + signal.SIGINT, shown(tmp_path)
    wait_until(lambda: not any(map(alive, started)), 10, "the end of every process")
    assert not Path(place).exists()
    assert "interrupted; everything was stopped" in shown(tmp_path)
    assert "Traceback" not in shown(tmp_path)


def test_ctrl_c_stops_the_servers_of_the_stores(
    stores_there: None, start: Start, tmp_path: Path
) -> None:
    """Also those that are only just starting."""
    demo = start("stores")
    wait_until(lambda: "    Kubernetes ... " in shown(tmp_path), 120, "the last server")
    wait_until(lambda: "kube-apiserver" in command_lines(demo.pid), 60, "the API server")
    end_with_ctrl_c(demo, tmp_path, least=4)


@pytest.fixture
def stores_there() -> None:
    """What the demo of the stores needs is there."""
    try:
        postgres_bindir("16")
        vault_binary()
        api_server_binary()
        etcd_binary()
    except Missing as error:
        without(error)


def every_value(scene: Scene) -> dict[str, str]:
    """All values in all places, every version of each, and what opens the places; asked from the servers."""
    found = {**scene.known}
    client = scene.account.client("ssm")
    for name in (STAGING, PRODUCTION):
        history = client.get_parameter_history(Name=name, WithDecryption=True)["Parameters"]
        assert len(history) == 3
        found |= {f"{name} {item['Version']}": password_of(item["Value"]) for item in history}
    for version in (1, 2, 3):
        data = scene.vault.request("GET", f"{REPORTS}?version={version}")["data"]["data"]
        found[f"reports {version}"] = data["password"]
    secret = scene.kubernetes.request("GET", f"{SECRETS}/{SECRET}")["data"]["DB_PASSWORD"]
    found["Secret"] = base64.b64decode(secret).decode()
    found["env file"] = password_of(scene.env_file.read_text())
    for path in (scene.root / "holders").glob("*/share"):
        found[str(path)] = path.read_text().strip()
    document = scene.keyring()
    assert document
    for stage in document["stages"].values():
        if isinstance(stage, dict):
            found |= {
                f"{stage['rotation_id']} {kind}": text for kind, text in stage["secrets"].items()
            }
    return found


def password_of(text: str) -> str:
    """The password in a URL."""
    (found,) = re.findall(r"postgresql://\w+:([^@]+)@", text)
    return str(found)


@pytest.mark.tarball
def test_the_demo_of_the_stores(stores: tuple[Scene, Screen]) -> None:
    scene, screen = stores
    story, faults = play(scene, screen, time.monotonic())
    output = screen.text()
    assert faults == [], output
    for number, scenario in enumerate(STORES, 1):
        assert f"\n{number}. {scenario.title}\n" in output
        assert re.search(rf"^{re.escape(scenario.name)} +[\d.]+ +\d+ +0 +0$", output, re.MULTILINE)
    for name in ZEROS:
        assert re.search(rf"^{name} +0$", output, re.MULTILINE), output
    assert "= 0 changed, 0 failed" in output
    assert "1 of 3 shares" in output
    tables = [re.findall(rf"^    {name} +(\S.*\S) +works$", output, re.MULTILINE) for name in NAMES]
    # Rotated, looked at, gone back, resumed: each place was written twice.
    assert [len(rows) for rows in tables] == [4] * len(NAMES)
    assert all(sum("->" in row for row in rows) == 2 for rows in tables)
    values = every_value(scene)
    assert len({values[name] for name in values if name.startswith(PRODUCTION)}) == 2
    logs = "".join(
        path.read_text(errors="replace") for path in files(scene.root) if path.suffix == ".log"
    )
    for name, value in values.items():
        for form, texts in forms(value).items():
            for where, text in (("output", output), ("logs", logs)):
                if not (name.endswith("verifier") and where == "logs"):
                    assert not any(one.decode() in text for one in texts), (name, form, where)
    assert len(story.acts) == len(STORES)


def test_what_cannot_be_built_says_what_to_install(stores_there: None, tmp_path: Path) -> None:
    """Without Go, Vault and Kubernetes it ends before it starts anything, and names each way out."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "env", "etcd"):
        (programs / name).symlink_to(str(shutil.which(name)))
    python = programs / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    kept = {name: text for name, text in os.environ.items() if not name.startswith("KEYTURN_")}
    env = {**kept, "PATH": str(programs), "COLUMNS": "80"}
    done = subprocess.run(
        [str(ROOT / "demo" / "stores")], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Vault is built from its Go module, and there is no go on PATH" in done.stderr
    assert "KEYTURN_VAULT_BINARY" in done.stderr
    assert "Traceback" not in done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
