# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server and a runner that share a token of AWS's parameters, and the credential between them, in each of the three ways."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import reveal
from aws_world import AwsWorld
from estate.playbook import Ansible, PlaybookResult
from estate.ports import reserve
from estate.processes import Daemon, wait_until

PROGRAM = Path(__file__).parent / "programs" / "two_services.py"
PYTHON = [sys.executable, "-I", "-S", str(PROGRAM)]
HOST, MACHINE = "runner_token", "app1"
LIST, ONE = "{current,pending,previous.value|join:,}", "{current.value}"


def a_list(pair: TwoServices) -> dict[str, Any]:
    """The first way: the server takes a list, and has the new token before the runner shows it."""
    return {
        "keyturn_issuer": {"type": "generated", "overlap": True},
        "keyturn_sinks": [pair.sink("hub", "RUNNER_TOKENS", LIST), pair.sink("runner")],
        "keyturn_consumers": [pair.told("hub"), {**pair.told("runner"), "after": ["hub"]}],
    }


def a_barrier(pair: TwoServices) -> dict[str, Any]:
    """The second way: both know one token, have it fetched, and are reloaded together."""
    both = [{**pair.told(name), "barrier": "pair"} for name in ("hub", "runner")]
    return {
        "keyturn_issuer": {"type": "generated", "overlap": False},
        "keyturn_sinks": [pair.sink("hub")],
        "keyturn_consumers": [{**one, "reads": ["hub"]} for one in both],
    }


def a_restart(pair: TwoServices) -> dict[str, Any]:
    """The last way: a script that restarts both."""
    hub, runner = (shlex.join(pair.fetched(name)) for name in ("hub", "runner"))
    accepted = shlex.join(pair.seen("hub"))
    script = (
        f"{hub} && {runner} && kill -USR1 $(cat hub.pid) && until {accepted}; do sleep 0.02; done"
        " && kill -USR1 $(cat runner.pid)"
    )
    one = {"name": "deploy", "type": "command", "argv": ["sh", "-c", script]}
    return {
        "keyturn_issuer": {"type": "generated", "overlap": False},
        "keyturn_sinks": [pair.sink("hub")],
        "keyturn_consumers": [{**one, "chdir": str(pair.folder), "seen": pair.seen("runner")}],
    }


@dataclass(frozen=True)
class Counted:
    """What the runner saw so far.

    :ivar at: when each of its refused calls ended, in seconds since the epoch.
    """

    calls: int
    at: tuple[float, ...]

    @property
    def refused(self) -> int:
        """How many of its calls were refused."""
        return len(self.at)

    def window_since(self, before: Counted) -> float:
        """Seconds from the first call that was refused after that to the last one; 0 without any."""
        later = self.at[before.refused :]
        return later[-1] - later[0] if later else 0.0


class TwoServices:
    """Both services and their credential; see the program ``two_services.py``."""

    def __init__(self, folder: Path, ansible: Ansible, aws: AwsWorld) -> None:
        self.folder, self.ansible, self.aws = folder, ansible, aws
        self.keyring = folder / "keyring.json"
        self.ledger = folder / "ledger.jsonl"
        self.counts = folder / "counts.json"
        self.port = reserve()
        self.first = secrets.token_hex(32)
        for name in ("RUNNER_TOKEN", "RUNNER_TOKENS"):
            aws.put(name, self.first)
        self.hub = self._service("hub")
        self.runner = self._service("runner", str(self.counts))

    def _env(self, name: str) -> Path:
        return self.folder / f"{name}-env" / "env"

    def _service(self, name: str, *rest: str) -> Daemon:
        path = self._env(name)
        path.parent.mkdir()
        path.touch(0o600)
        path.write_text(f"TOKENS={self.first}\n")
        argv = [*PYTHON, name, str(path), str(self.port.number), *rest]
        # It starts itself anew with the same words, so these must be all that it needs.
        return Daemon(name, argv, self.folder / f"{name}.log")

    def start(self) -> None:
        """Start both, the server first."""
        self.hub.start(lambda: self.asks(self.first) == 200)
        self.runner.start(self.counts.exists)
        for name, service in (("hub", self.hub), ("runner", self.runner)):
            (self.folder / f"{name}.pid").write_text(str(service.pid))

    def stop(self) -> None:
        """End both."""
        self.runner.stop()
        self.hub.stop()
        self.port.release()

    def stick(self, name: str, stuck: bool) -> None:
        """Whether a service fails its reload with any other token than the one that it has."""
        path = self._env(name).with_name("stuck")
        path.write_text(self._env(name).read_text()) if stuck else path.unlink()

    # --- the credential

    def sink(
        self, name: str, parameter: str = "RUNNER_TOKEN", template: str = ONE
    ) -> dict[str, Any]:
        """A parameter."""
        return {
            "name": name,
            "ref": f"ref+awsssm:/{self.aws.name(parameter)}",
            "template": template,
        }

    def fetched(self, name: str) -> list[str]:
        """What brings its parameter to a service."""
        listed = self._list and name == "hub"
        parameter = self.aws.name("RUNNER_TOKENS" if listed else "RUNNER_TOKEN")
        return [*PYTHON, "fetch", self.aws.server.address, parameter, str(self._env(name))]

    def seen(self, name: str) -> list[str]:
        """What proves that a service works with its token."""
        if name == "hub":
            return [*PYTHON, "accepts", str(self._env(name)), str(self.port.number)]
        return [*PYTHON, "works", str(self.counts)]

    def told(self, name: str) -> dict[str, Any]:
        """A service that is reloaded by a command."""
        pid, env = (shlex.quote(str(it)) for it in (self.folder / f"{name}.pid", self._env(name)))
        stuck = shlex.quote(str(self._env(name).with_name("stuck")))
        told = f"kill -HUP $(cat {pid}) && {{ test ! -e {stuck} || cmp -s {stuck} {env}; }}"
        reload = ["sh", "-c", told]
        return {
            "name": name,
            "type": "command",
            "argv": reload,
            "reads": [name],
            "prepare": self.fetched(name),
            "seen": self.seen(name),
        }

    def defined(self, way: Any) -> None:
        """Write the inventory, and take over the token that is in use."""
        self._list = way is a_list
        place = self.folder / "inventory"
        (place / "host_vars").mkdir(parents=True)
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        groups = {
            "credentials": {"hosts": {HOST: None}},
            "machines": {"hosts": {MACHINE: local}},
        }
        (place / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
        self._adopt(self.define(way))

    def define(self, way: Any, on: str = "") -> dict[str, Any]:
        """Write the credential's definition.

        :param on: the host that the services are on; this one when none is given.
        """
        url = f"http://127.0.0.1:{self.port.number}/work"
        variables: dict[str, Any] = {
            "keyturn_keyring": f"ref+file://{self.keyring}",
            "keyturn_ledger": f"ref+file://{self.ledger}",
            "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
            "keyturn_generate": {"value": {"type": "hex", "bytes": 32}},
            "keyturn_probes": [
                {
                    "type": "http",
                    "url": url,
                    "headers": {"Authorization": "Bearer {stage.value}"},
                }
            ],
            "keyturn_wait": "5s",
            "keyturn_interval": "1s",
            **way(self),
        }
        for consumer in variables["keyturn_consumers"]:
            consumer.update({"host": on} if on else {})
        path = self.folder / "inventory" / "host_vars" / f"{HOST}.yml"
        path.write_text(yaml.safe_dump(variables))
        return variables

    def _adopt(self, variables: dict[str, Any]) -> None:
        """What the adopt playbook leaves, without running it."""
        given = {name: variables[f"keyturn_{name}"] for name in ("keyring", "ledger")}
        proof = {"type": "http", "against": "a test", "at": "now", "detail": "handed over"}
        adoption = {
            "transition": "adopt",
            "issuer": variables["keyturn_issuer"],
            "evidence": [proof],
            "generate": variables["keyturn_generate"],
            "value": {"value": f"ref+awsssm:/{self.aws.name('RUNNER_TOKEN')}"},
        }
        for step in (adoption, {"transition": "release"}):
            asked = ArgumentSpecValidator(dict(MODULE.argument_spec)).validate(
                {**given, "credential": HOST, **step}
            )
            assert not asked.error_messages
            context = Context(environ={**os.environ, **self.aws.environ})
            execute(MODULE, dict(asked.validated_parameters), context)

    def run(self, playbook: str, *arguments: str) -> PlaybookResult:
        """Run a playbook over the credential."""
        return self.ansible.run(
            f"keyturn.runbooks.{playbook}",
            *arguments,
            inventory=self.folder / "inventory",
            extra_vars={"keyturn_force": True},
            env=self.aws.environ,
        )

    # --- what is there

    def asks(self, token: str) -> int:
        """How the server answers somebody with this token; 0 when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port.number, timeout=5)
        try:
            connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def counted(self) -> Counted:
        """What the runner saw, once it has called some times more."""
        before = self._counts()["calls"]
        wait_until(lambda: self._counts()["calls"] > before + 5, 10, "the runner to call")
        now = self._counts()
        return Counted(now["calls"], tuple(now["refused"]))

    def _counts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.counts.read_text())
        return found

    def document(self) -> Document:
        return parse_document(self.keyring.read_text())

    def value(self, stage: str) -> str:
        found = self.document().stage(stage)
        assert found
        return reveal(found.fields["value"])
