# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A token that is made here and that two services share, rotated while one of them shows it to the other all the time."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Secret,
    parse_document,
)
from estate.playbook import Ansible, PlaybookResult
from estate.ports import reserve
from estate.processes import Daemon, wait_until

PROGRAM = Path(__file__).parents[1] / "support" / "programs" / "token_pair.py"
LIST = "{current,pending,previous.value|join:,}"


class Pair:
    """Both services, and the credential between them."""

    def __init__(self, folder: Path, ansible: Ansible, overlap: bool) -> None:
        self.folder, self.ansible = folder, ansible
        self.keyring = folder / "keyring.json"
        self.port = reserve()
        self.first = secrets.token_urlsafe(24)
        self.counts = folder / "counts.json"
        self._write("hub.tokens", self.first)
        self._write("runner.token", self.first)
        self._write("in-use", self.first)
        port = str(self.port.number)
        self.hub = self._daemon("hub", "hub.tokens", port)
        self.runner = self._daemon("runner", "runner.token", port, str(self.counts))
        self._inventory(overlap)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)

    def _daemon(self, role: str, file: str, *rest: str) -> Daemon:
        argv = [sys.executable, str(PROGRAM), role, str(self.folder / file), *rest]
        return Daemon(role, argv, self.folder / f"{role}.log")

    def _inventory(self, overlap: bool) -> None:
        url = f"http://127.0.0.1:{self.port.number}/work"
        shown = {"Authorization": "Bearer {pending.value}"}
        server = LIST if overlap else "{current.value}"
        variables: dict[str, Any] = {
            "keyturn_keyring": f"ref+file://{self.keyring}",
            "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
            "keyturn_issuer": {"type": "generated", "overlap": overlap},
            "keyturn_sinks": [
                {"name": "hub", "ref": f"ref+file://{self.folder}/hub.tokens", "template": server},
                {
                    "name": "runner",
                    "ref": f"ref+file://{self.folder}/runner.token",
                    "template": "{current.value}",
                },
            ],
            "keyturn_consumers": [
                self._consumer("hub", []),
                self._consumer("runner", ["hub"]),
            ],
            "keyturn_probes": [{"type": "http", "url": url, "headers": shown}],
            "keyturn_wait": "5s",
            "keyturn_interval": "1s",
        }
        place = self.folder / "inventory"
        (place / "host_vars").mkdir(parents=True)
        hosts = {"all": {"children": {"credentials": {"hosts": {"runner_token": None}}}}}
        (place / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (place / "host_vars" / "runner_token.yml").write_text(yaml.safe_dump(variables))

    def _consumer(self, name: str, after: list[str]) -> dict[str, Any]:
        told = f"kill -HUP $(cat {self.folder}/{name}.pid)"
        order = {"after": after} if after else {}
        return {
            "name": name,
            "type": "command",
            "argv": ["sh", "-c", told],
            "reads": [name],
            **order,
        }

    def start(self) -> None:
        self.hub.start(lambda: self.asks(self.first) == 200)
        self._write("hub.pid", str(self.hub.pid))
        self.runner.start(self.counts.exists)
        self._write("runner.pid", str(self.runner.pid))

    def stop(self) -> None:
        self.runner.stop()
        self.hub.stop()
        self.port.release()

    def asks(self, token: str) -> int:
        """What the hub answers to somebody with this token; 0 when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port.number, timeout=5)
        try:
            connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def knows(self, tokens: str) -> None:
        """Tell the hub what to accept, past any playbook."""
        (self.folder / "hub.tokens").write_text(tokens)
        os.kill(self.hub.pid, signal.SIGHUP)
        second = self.value("pending")
        status = 200 if second in tokens else 401
        wait_until(lambda: self.asks(second) == status, 10, "the hub to hear of it")

    def answers(self) -> dict[str, int]:
        """What the runner was answered so far, by status, once it has asked some times more."""
        before = sum(self._counted().values())
        wait_until(lambda: sum(self._counted().values()) > before + 5, 10, "the runner to ask")
        return self._counted()

    def _counted(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self.counts.read_text())
        return found

    def run(self, playbook: str, *arguments: str, **extra: Any) -> PlaybookResult:
        return self.ansible.run(
            f"keyturn.runbooks.{playbook}",
            *arguments,
            inventory=self.folder / "inventory",
            extra_vars=extra,
        )

    def document(self) -> Document:
        return parse_document(self.keyring.read_text())

    def value(self, stage: str) -> str:
        found = self.document().stage(stage)
        assert found
        value = found.fields["value"]
        assert isinstance(value, Secret)
        return value.reveal()

    def adopt(self) -> None:
        given = {"value": f"ref+file://{self.folder}/in-use"}
        self.run("adopt", keyturn_adopt=given).check()
        assert self.value("current") == self.first


@pytest.fixture
def pair(request: pytest.FixtureRequest, scratch: Path, ansible: Ansible) -> Iterator[Pair]:
    made = Pair(scratch, ansible, overlap=request.param)
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("pair", [True], indirect=True)
def test_a_list_of_tokens_is_rotated_without_a_refused_call(pair: Pair) -> None:
    pair.adopt()
    predicted = pair.run("rotate", "--check", "--diff", keyturn_force=True).check()
    assert "(new)" in predicted.stdout
    assert (pair.folder / "hub.tokens").read_text() == pair.first
    done = pair.run("rotate", "--diff", keyturn_force=True).check()
    second = pair.value("current")
    assert second != pair.first
    assert second not in done.output + predicted.output
    assert (pair.folder / "runner.token").read_text() == second
    assert set((pair.folder / "hub.tokens").read_text().split(",")) == {pair.first, second}
    assert (pair.asks(pair.first), pair.asks(second)) == (200, 200)
    pair.run("retire_due").check()
    assert (pair.asks(pair.first), pair.asks(second)) == (401, 200)
    assert (pair.folder / "hub.tokens").read_text() == second
    assert set(pair.answers()) == {"200"}
    assert "changed=0" in pair.run("rotate").check().stdout


@pytest.mark.parametrize("pair", [True], indirect=True)
def test_it_is_rolled_back(pair: Pair) -> None:
    pair.adopt()
    pair.run("rotate", keyturn_force=True).check()
    pair.run("rollback").check()
    assert pair.value("current") == pair.first
    assert (pair.folder / "runner.token").read_text() == pair.first
    assert set(pair.answers()) == {"200"}


@pytest.mark.parametrize("pair", [True], indirect=True)
def test_a_server_that_was_not_told_the_new_one_stops_the_rotation(pair: Pair) -> None:
    pair.adopt()
    (pair.folder / "hub.pid").write_text("none")
    failed = pair.run("rotate", keyturn_force=True, keyturn_wait="1s").check(2)
    assert "hub" in failed.stdout
    assert pair.value("current") == pair.first
    assert (pair.folder / "runner.token").read_text() == pair.first
    assert set(pair.answers()) == {"200"}
    (pair.folder / "hub.pid").write_text(str(pair.hub.pid))
    pair.run("rotate").check()
    assert pair.value("current") != pair.first
    assert set(pair.answers()) == {"200"}


@pytest.mark.parametrize("pair", [False], indirect=True)
def test_one_token_at_a_time_is_cut_over(pair: Pair) -> None:
    """Both are told at once; what is refused in between is the length of that gap."""
    pair.adopt()
    told = pair.run("rotate", "--check", keyturn_force=True).check()
    assert "one value at a time" in told.output
    pair.run("rotate", keyturn_force=True).check()
    second = pair.value("current")
    assert (pair.asks(pair.first), pair.asks(second)) == (401, 200)
    answers = pair.answers()
    assert pair.answers().get("401", 0) == answers.get("401", 0), "calls are still refused"


@pytest.mark.parametrize("pair", [True], indirect=True)
def test_a_dry_run_goes_on_where_a_run_ended_before_it_showed_the_value(pair: Pair) -> None:
    """Who checks the value does not know it yet, so the dry run can only foresee its proof."""
    pair.adopt()
    pair.run("rotate", "--tags", "preflight,stage,apply", keyturn_force=True).check()
    pending = pair.document().pending
    assert pending
    assert pending.status == "applied"
    # As a run leaves it that is killed right before.
    shown = pair.folder / "hub.tokens"
    tokens = shown.read_text()
    pair.knows(pair.first)
    predicted = pair.run("rotate", "--check").check()
    assert pair.document().pending == pending
    assert shown.read_text() == pair.first
    assert "changed=1" in predicted.stdout
    pair.knows(tokens)
    pair.run("rotate").check()
    current = pair.document().current
    assert current
    assert current.rotation_id == pending.rotation_id
