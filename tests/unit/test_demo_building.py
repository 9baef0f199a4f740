# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers' programs are found, or built while a person is told since when; stand-ins for the programs that build."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from estate.building import KUBERNETES, VAULT, build, find
from estate.errors import EstateError, Missing
from estate.processes import wait_until
from show.screen import Screen
from show_stores import main
from show_stores.acts import SCENARIOS
from show_stores.places import NAMES, Held, fingerprint, rows

Script = Callable[[str], Path]


def program(path: Path, text: str) -> Path:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Writes what stands for the script that builds Vault, in a copy of the project where only Go is on PATH."""
    for one in (VAULT, KUBERNETES):
        monkeypatch.delenv(one.variable, raising=False)
    program(tmp_path / "bin" / "go", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    sources = tmp_path / "tests" / "servers"
    sources.mkdir(parents=True)
    (sources / "go.mod").touch()

    def write(text: str) -> Path:
        program(tmp_path / "scripts" / "vault-binary", f"PATH=/usr/bin:/bin\n{text}")
        return tmp_path

    return write


class TestFind:
    def test_what_the_variable_names_counts_first(
        self, script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        root = script("exit 1")
        named = program(tmp_path / "named" / "vault", "")
        program(tmp_path / "bin" / "vault", "")
        monkeypatch.setenv(VAULT.variable, str(named))
        assert find(VAULT, root) == named
        named.chmod(0o600)
        with pytest.raises(Missing, match=r"KEYTURN_VAULT_BINARY: .* is no executable file"):
            find(VAULT, root)

    def test_then_what_is_on_path(self, script: Script, tmp_path: Path) -> None:
        bao = program(tmp_path / "bin" / "bao", "")
        assert find(VAULT, script("exit 1")) == bao

    def test_then_an_earlier_build(self, script: Script) -> None:
        assert find(VAULT, script('[ "$1" = --cached ] && echo /cache/vault')) == Path(
            "/cache/vault"
        )
        assert find(VAULT, script("exit 1")) is None

    def test_without_go_it_says_what_to_install(self, script: Script, tmp_path: Path) -> None:
        root = script("exit 1")
        (tmp_path / "bin" / "go").unlink()
        with pytest.raises(Missing) as caught:
            find(VAULT, root)
        for way in ("Go 1.21 or newer", "https://go.dev/dl", "vault or bao", VAULT.variable):
            assert way in str(caught.value)

    def test_a_copy_without_the_modules_says_so(self, script: Script) -> None:
        root = script("exit 1")
        (root / VAULT.sources / "go.mod").unlink()
        with pytest.raises(Missing, match="this copy has no tests/servers to build it from"):
            find(VAULT, root)


class TestBuild:
    def test_it_tells_what_is_waited_for_and_since_when(self, script: Script) -> None:
        lines: list[str] = []
        root = script("sleep 0.5; echo /cache/vault")
        assert build(VAULT, lines.append, root, tick=0.1) == Path("/cache/vault")
        assert len(lines) >= 3
        assert all(re.fullmatch(r"still building Vault: \d+ s so far", line) for line in lines[:-1])
        assert re.fullmatch(r"Vault was built in \d+ s", lines[-1])

    def test_a_failure_shows_the_end_of_what_it_said(self, script: Script) -> None:
        root = script("seq 1000 >&2; echo 'go: no space left' >&2; exit 1")
        with pytest.raises(EstateError, match=r"could not be built") as caught:
            build(VAULT, print, root)
        assert str(caught.value).endswith("1000\ngo: no space left")
        assert "\n900\n" not in str(caught.value)

    def test_broken_off_it_leaves_nothing(self, script: Script, tmp_path: Path) -> None:
        part, pid = tmp_path / "part", tmp_path / "pid"

        def interrupt(_line: str) -> NoReturn:
            assert part.exists()
            raise SystemExit(130)

        root = script(f"trap 'rm {part}' EXIT; touch {part}; sleep 60 & echo $! >{pid}; wait")
        with pytest.raises(SystemExit):
            build(VAULT, interrupt, root, tick=1)
        assert not part.exists()
        # It was told to end, and is an orphan: whoever inherits it takes a moment to bury it.
        wait_until(lambda: not alive(int(pid.read_text())), 10, "the orphan to be gone")


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_build_is_announced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How long it takes, and that it is once; what was there already is not spoken of."""
    for one in (VAULT, KUBERNETES):
        monkeypatch.setenv(one.variable, "")
    monkeypatch.setattr(main, "etcd_binary", lambda: "etcd")
    monkeypatch.setattr(main, "find", {VAULT: None, KUBERNETES: Path("/there")}.get)
    monkeypatch.setattr(main, "build", lambda _program, say: say("15 s so far") or Path("/built"))
    main.prepare(Screen())
    told = capsys.readouterr().out
    assert "Waiting for the build of Vault" in told
    assert "once, 3 to 10 minutes" in told.replace("\n", " ")
    assert "    15 s so far" in told
    assert "build of Kubernetes" not in told
    assert os.environ[VAULT.variable] == "/built"
    assert os.environ[KUBERNETES.variable] == "/there"


class TestPlaces:
    def test_what_is_the_same_is_shown_once(self) -> None:
        before = {"one": Held("1", "a", "x"), "two": Held("", "a", "x")}
        after = {"one": Held("2", "b", "y"), "two": Held("", "a", "x")}
        assert rows(before, after, str.upper) == [
            ("one", "1 -> 2", "a -> b", "X -> Y"),
            ("two", "-", "a", "X"),
        ]

    def test_a_fingerprint_is_the_keyrings_own(self) -> None:
        """As ``--diff`` shows it, which is why the one is looked up in the other."""
        from ansible_collections.keyturn.runbooks.plugins.module_utils import _keyring, _secret

        salt, password = os.urandom(32), os.urandom(12).hex()
        document = {"salt": base64.b64encode(salt).decode()}
        own = _keyring.fingerprint(salt, "password", _secret.Secret(password))
        assert own.startswith(f"hmac:{fingerprint(document, password)}")
        assert fingerprint(None, password) == ""

    def test_every_act_names_places_that_there_are(self) -> None:
        assert len({act.name for act in SCENARIOS}) == len(SCENARIOS)
        assert all(set(act.changes) <= set(NAMES) for act in SCENARIOS)
        assert all(len(act.title) <= 50 for act in SCENARIOS)
