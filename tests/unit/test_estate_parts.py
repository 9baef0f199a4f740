# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the estate that need no server."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from estate import binaries, collection
from estate.client import BadEnvFile, read_credential, reason
from estate.errors import EstateError, Missing
from estate.load import database_url, write_env_file
from estate.playbook import Ansible, PlaybookResult
from estate.ports import is_free, reserve
from estate.processes import Daemon, descendants, kill_tree, tail, wait_until
from estate.users import make_run_dir


def choose(*numbers: int) -> Callable[[int, int], int]:
    """Picks these numbers one after the other."""
    left = list(numbers)
    return lambda _first, _last: left.pop(0)


class TestPorts:
    def test_a_reserved_port_is_not_given_twice(self) -> None:
        first = reserve()
        other = reserve(choose(first.number, 20123, 20124, 20125, 20126))
        assert other.number != first.number
        first.release()
        other.release()

    def test_a_released_port_can_be_had_again(self) -> None:
        first = reserve()
        first.release()
        again = reserve(choose(first.number))
        assert again.number == first.number
        again.release()

    def test_a_port_that_somebody_listens_on_is_passed_over(self) -> None:
        port = reserve()
        program = "import socket,sys; s=socket.create_server(('127.0.0.1', int(sys.argv[1]))); print(1, flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", program, str(port.number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            assert not is_free(port.number)
            other.terminate()
        port.release()


class TestCredential:
    def test_everything_in_the_url_is_unquoted(self, tmp_path: Path) -> None:
        password = secrets.token_urlsafe(8) + "/@:%#?"
        write_env_file(
            tmp_path / "e", database_url("a b", password, "127.0.0.1", 6432, "d/b"), "OTHER=1"
        )
        found = read_credential(tmp_path / "e", 3)
        assert (
            found.username,
            found.password,
            found.host,
            found.port,
            found.dbname,
            found.generation,
        ) == (
            "a b",
            password,
            "127.0.0.1",
            6432,
            "d/b",
            3,
        )
        assert password not in repr(found)
        assert (tmp_path / "e").stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (None, "No such file"),
            ("OTHER=1\n", "no DATABASE_URL"),
            ("DATABASE_URL=http://h:port/\n", "no URL"),
        ],
    )
    def test_a_bad_file_is_told_without_a_value(
        self, content: str | None, match: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "e"
        if content is not None:
            path.write_text(content)
        with pytest.raises(BadEnvFile, match=match):
            read_credential(path, 1)

    def test_a_reason_holds_no_text_of_the_error(self) -> None:
        value = secrets.token_hex(8)
        told = reason(
            psycopg2.OperationalError(f'FATAL: password authentication failed for "{value}"')
        )
        assert told == "OperationalError: authentication"
        assert reason(ValueError(value)) == "ValueError"


class TestProcesses:
    def test_waiting_in_vain_names_what_was_waited_for(self) -> None:
        with pytest.raises(EstateError, match="for the moon"):
            wait_until(lambda: False, 0.05, "the moon")

    def test_a_program_that_ends_early_is_told_with_its_log(self, tmp_path: Path) -> None:
        daemon = Daemon(
            "it", [sys.executable, "-c", "print('no way'); raise SystemExit(3)"], tmp_path / "log"
        )
        with pytest.raises(EstateError, match=r"it ended with status 3(.|\n)*no way"):
            daemon.start(lambda: False)
        assert not daemon.running

    def test_a_program_that_does_not_heed_is_killed(self, tmp_path: Path) -> None:
        program = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
        daemon = Daemon("it", [sys.executable, "-c", program], tmp_path / "log")
        daemon.start(lambda: "up" in tail(tmp_path / "log"))
        assert daemon.stop(seconds=0.2) == -signal.SIGKILL
        with pytest.raises(EstateError, match="does not run"):
            daemon.signal(signal.SIGHUP)

    def test_little_of_this_environment_reaches_a_program(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGPASSWORD", secrets.token_hex(4))
        program = "import os,time; print(sorted(os.environ), flush=True); time.sleep(60)"
        daemon = Daemon("it", [sys.executable, "-c", program], tmp_path / "log", env={"MINE": "1"})
        daemon.start(lambda: "MINE" in tail(tmp_path / "log"))
        daemon.kill()
        assert "PGPASSWORD" not in tail(tmp_path / "log")

    def test_a_tree_is_killed_across_sessions(self) -> None:
        program = (
            "import subprocess,sys; p=subprocess.Popen(['sleep','60'], start_new_session=True);"
            "print(p.pid, flush=True); p.wait()"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            assert descendants(process.pid) == [child]
            assert sorted(kill_tree(process.pid)) == sorted([process.pid, child])
        deadline = time.monotonic() + 5
        while _alive(child) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


class TestPlaces:
    def test_a_run_dir_cannot_be_listed_by_others(self) -> None:
        path = make_run_dir()
        assert path.stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)
        path.rmdir()

    def test_a_cache_that_somebody_else_made_is_left_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(binaries, "CACHE_PARENT", tmp_path)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        name = tmp_path / f"keyturn-estate-{os.geteuid()}"
        name.symlink_to(elsewhere)
        assert binaries._cache_dir() not in (name, elsewhere)
        name.unlink()
        name.mkdir()
        name.chmod(0o777)
        assert binaries._cache_dir() != name
        name.chmod(0o755)
        assert binaries._cache_dir() == name

    def test_a_version_that_nobody_has_is_missing(self) -> None:
        with pytest.raises(Missing, match="postgresql-9"):
            binaries.postgres_bindir("9")

    def test_the_collection_is_found_under_its_name(self, tmp_path: Path) -> None:
        path = collection.collections_path(tmp_path)
        assert (path / collection.INSIDE / "demo" / "estate" / "collection.py").samefile(
            collection.__file__
        )

    def test_a_given_path_counts_when_it_has_the_collection(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", f"{tmp_path}/none:{tmp_path}")
        assert collection.given_collections_path() is None
        (tmp_path / collection.INSIDE).mkdir(parents=True)
        assert collection.given_collections_path() == tmp_path


class TestPlaybookResult:
    def test_another_end_than_expected_shows_the_output(self) -> None:
        result = PlaybookResult(["ansible-playbook", "a b"], 2, "out\n", "err\n", 1.0)
        assert result.check(2) is result
        with pytest.raises(AssertionError, match=r"'a b'\nended with 2, expected 0:\nout\nerr"):
            result.check()

    def test_what_is_left_in_the_temporary_folder_is_listed(self, tmp_path: Path) -> None:
        ansible = Ansible(tmp_path, tmp_path)
        assert ansible.leftovers() == []
        ansible.temp_dir.mkdir()
        (ansible.temp_dir / "left").touch()
        assert [path.name for path in ansible.leftovers()] == ["left"]
