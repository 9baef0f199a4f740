# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An env file rendered from parameters, and the deploy consumer with containers that read it."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import parse_consumer
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._deploy_known import (
    sealed_for,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._open import pick_up
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import (
    Completed,
    Machine,
    Task,
    run_command,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render_plan import Rules
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render_source import (
    Expected,
    Source,
    source_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._redact import unseal_values
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
    bring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import TextCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._ssm import (
    open_parameter_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_mark import stamp
from aws_world import AwsWorld, count, harmed, told
from estate.moto import MotoServer
from estate.playbook import Ansible, PlaybookResult
from estate.ports import reserve
from machines import PROGRAMS, Podman, digest, required

COMPOSE = str(Path(sys.executable).with_name("podman-compose"))
PAIR = ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"]


@pytest.fixture
def aws(moto: MotoServer) -> AwsWorld:
    return AwsWorld(moto)


# --- The renderer


class Files:
    """An env file of its own, and the module's core on parameters of its own."""

    def __init__(self, aws: AwsWorld, folder: Path) -> None:
        self.aws, self.file = aws, folder / ".env"

    def render(self, check: bool = False, **options: Any) -> dict[str, Any]:
        defaults = {name: spec.get("default") for name, spec in MODULE.argument_spec.items()}
        own = {"path": f"/{self.aws.prefix}/", "env_file": str(self.file), "wait": "0s", **options}
        context = self.aws.context(check_mode=check, diff=True)
        return execute(MODULE, {**defaults, **own}, context)

    def fails(self, kind: type[KeyturnError], **options: Any) -> str:
        before = self.file.read_bytes() if self.file.exists() else None
        with pytest.raises(kind) as caught:
            self.render(**options)
        assert caught.type is kind, caught.value.message
        assert (self.file.read_bytes() if self.file.exists() else None) == before
        return caught.value.message

    def sink(self, short: str, value: str, rotation: str = "") -> Outcome:
        """Write as a sink of a group does."""
        params = {"rotation": stamp(rotation, "app", "r2")} if rotation else {}
        reference = Reference("awsssm", f"{self.aws.prefix}/{short}", params)
        context = self.aws.context()
        place = open_parameter_place(reference, TextCodec(), context, "sink")
        return bring(place, Wanted("sink", {"": Secret(value)}), lambda: None, context)


@pytest.fixture
def files(aws: AwsWorld, scratch: Path) -> Files:
    return Files(aws, scratch)


def test_the_file_is_what_the_parameters_say(files: Files) -> None:
    values = {f"NAME_{number:02}": secrets.token_urlsafe(12) for number in range(23)}
    values["QUOTED"] = "it's $5"
    for name, value in values.items():
        files.aws.put(name, value)
    files.aws.put("deeper/NAME", "not of this level")
    files.file.write_text("# by hand\nNAME_00=old\nGONE=1\n")
    files.file.chmod(0o644)
    before = files.file.read_bytes()
    predicted = files.render(check=True)
    assert files.file.read_bytes() == before
    done = files.render()
    assert {name: done[name] for name in ("changed", "added", "updated", "removed")} == {
        "changed": True,
        "added": sorted(set(values) - {"NAME_00"}),
        "updated": ["NAME_00"],
        "removed": ["GONE"],
    }
    assert {**predicted, "diff": 0} == {**done, "diff": 0}
    assert predicted["diff"] == done["diff"]
    lines = files.file.read_text().splitlines()
    assert lines == [*[f"{name}={values[name]}" for name in sorted(values) if name != "QUOTED"], '''QUOTED="it's \\$5"''']  # fmt: skip
    assert files.file.stat().st_mode & 0o777 == 0o600
    assert not any(value in json.dumps(done) for value in values.values())
    assert not files.render()["changed"]
    with files.aws.proxy() as proxy:
        files.render()
        assert count(proxy, "GetParametersByPath") == 3, "pages of ten"
        asked = count(proxy, "DescribeParameters")
        assert asked in (1, 3), "AWS describes fifty at once, moto ten"
        files.render(watch_marks=False)
        assert count(proxy, "DescribeParameters") == asked, "nobody needs it then"


def test_other_lines_are_kept_where_that_is_asked_for(files: Files) -> None:
    files.aws.put("TOKEN", "new")
    files.file.write_text("# by hand\nTOKEN=old\nDEBUG=0\n")
    done = files.render(others="keep")
    assert (done["updated"], done["removed"]) == (["TOKEN"], [])
    assert files.file.read_text() == "# by hand\nTOKEN=new\nDEBUG=0\n"


def test_absent_and_denied_are_told_apart(files: Files) -> None:
    assert "there are none, and no empty file is written" in files.fails(Absent)
    files.aws.put("TOKEN", "value")
    with files.aws.proxy() as proxy:
        proxy.faults.append(harmed(told("AccessDeniedException"), ["GetParametersByPath"]))
        assert "denies this identity" in files.fails(Denied)
    assert not files.file.exists()
    for name in PAIR:
        files.sink(name, "v", "r1")
    with files.aws.proxy() as proxy:
        proxy.faults.append(harmed(told("AccessDeniedException"), ["DescribeParameters"]))
        assert "ssm:DescribeParameters, so it cannot be seen" in files.fails(Denied, pairs=[PAIR])
        proxy.faults.append(harmed(told("AccessDeniedException"), ["DescribeParameters"]))
        assert files.render()["added"] == [*PAIR, "TOKEN"]
        assert "ssm:DescribeParameters, so it cannot be seen" in files.aws.warnings[-1]


def test_what_cannot_be_a_variable_is_named(files: Files) -> None:
    files.aws.put("db-pass", "one")
    assert "the parameter 'db-pass' is no name of a variable" in files.fails(BadInput)
    files.aws.put("DB_PASS", "two")
    both = files.fails(BadInput, names={"db-pass": "DB_PASS"})
    assert "'DB_PASS' and 'db-pass' would both be the variable DB_PASS" in both
    files.aws.put("CERT", "-----BEGIN\nlines\n")
    assert "CERT: the value holds a line break" in files.fails(BadInput, skip=["db-pass"])
    done = files.render(skip=["CERT"], names={"db-pass": "PASS"})
    assert done["variables"] == ["DB_PASS", "PASS"]
    assert files.render(skip=["db-pass"], dialect="systemd")["added"] == ["CERT"]
    assert '"-----BEGIN\nlines\n"' in files.file.read_text()
    files.aws.put("deep/CERT", "keyturn1:0:x")
    skip = ["CERT", "db-pass"]
    assert "is a version of a keyring" in files.fails(BadInput, skip=skip, recursive=True)
    files.aws.put("deep/CERT", "x")
    assert files.render(skip=skip, recursive=True)["added"] == ["deep_CERT"]


def test_a_half_written_pair_is_never_rendered(files: Files) -> None:
    def pair(**options: Any) -> dict[str, Any]:
        return files.render(pairs=[PAIR], **options)

    first, second = PAIR
    for name in PAIR:
        files.aws.put(name, "by hand")
    assert "carries no rotation's id" in files.fails(Refused, pairs=[PAIR])
    assert pair(unmarked="take")["added"] == PAIR
    for name in PAIR:
        assert files.sink(name, "by hand", "r1").changed, "the id is missing"
        assert not files.sink(name, "by hand", "r1").changed
    assert not pair()["changed"]
    files.aws.put(first, "half", Description="of the app")
    files.sink(first, "half", "r2")
    assert files.aws.described(first)["Description"].startswith("of the app ")
    message = files.fails(Refused, pairs=[PAIR])
    assert f"{first} is of rotation r2, {second} is of rotation r1" in message
    assert "they belong together, of app/r2" in files.fails(Refused), "nobody has to name them"
    late = threading.Timer(0.7, files.sink, (second, "half", "r2"))
    late.start()
    done = pair(wait="20s")
    late.join()
    assert done["updated"] == PAIR
    # AWS keeps a description that a write by hand does not name.
    files.aws.put(first, "by hand again")
    assert f"{first} carries no rotation's id" in files.fails(Refused, pairs=[PAIR])
    files.aws.api.delete_parameter(Name=files.aws.name(first))
    assert f"{first} is not there" in files.fails(Refused, pairs=[PAIR])


def test_what_a_rotation_has_written_is_waited_for(aws: AwsWorld) -> None:
    """A list of AWS's may lag behind a write; a dry run, and a look before anything is begun, have nothing to wait for."""
    salt, rules = secrets.token_bytes(16), Rules(pairs=(tuple(PAIR),), wait=0.0)
    source = Source(source_of(f"/{aws.prefix}", "path"), aws.context(), "it", sleep=_never)
    new, old = (Secret(secrets.token_urlsafe(12)) for _number in range(2))
    digests = {PAIR[1]: Expected(salt).digest(new)}
    aws.put(PAIR[0], "half")
    aws.put(PAIR[1], old.reveal())
    with pytest.raises(Refused, match="does not hold what the keyring says") as caught:
        source.settled(rules, Expected(salt, digests))
    assert "not rendered" in caught.value.message
    looked = source.settled(rules, Expected(salt, digests, look=True))
    assert looked[PAIR[1]] == old
    foreseen = source.settled(rules, Expected(salt, digests, dry=True))
    assert not foreseen[PAIR[1]].known
    aws.put(PAIR[1], new.reveal())
    taken = source.settled(replace(rules, unmarked="take"), Expected(salt, digests))
    assert taken[PAIR[1]] == new


def _never(_seconds: float) -> None:
    raise AssertionError("there is nothing to wait for")


# --- The consumer


class Estate:
    """Parameters, an env file, and a compose project of two services that read it; one answers over HTTP."""

    def __init__(self, aws: AwsWorld, podman: Podman, folder: Path, ansible: Ansible) -> None:
        self.aws, self.podman, self.ansible = aws, podman, ansible
        # compose calls a project like its folder.
        self.project = f"keyturn-{secrets.token_hex(4)}"
        self.folder, self.data = folder / self.project, folder / "data"
        for place in (self.folder, *(self.data / name for name in ("hub", "runner"))):
            place.mkdir(parents=True)
        self.file = self.folder / ".env"
        self.ports = {"hub": reserve(), "runner": reserve()}
        self.first = {"TOKEN_ID": secrets.token_hex(8), "TOKEN": secrets.token_urlsafe(24)}
        self.keyring = folder / "keyring.json"
        services = {name: self._service(name) for name in self.ports}
        (self.folder / "compose.yaml").write_text(yaml.safe_dump({"services": services}))
        self._inventory(folder / "inventory")

    def _service(self, name: str) -> dict[str, Any]:
        port = str(self.ports[name].number)
        return {
            "image": self.podman.image,
            "command": ["python3", "-B", "/opt/programs/deployed.py", port, "/data"],
            "volumes": [f"{self.data / name}:/data", f"{PROGRAMS}:/opt/programs:ro"],
            "network_mode": "host",
            "env_file": [".env"],
            "stop_signal": "SIGTERM",
            "stop_grace_period": "2s",
        }

    def definition(self, **changes: Any) -> dict[str, Any]:
        own = {"path": f"/{self.aws.prefix}/", "env_file": str(self.file)}
        how = {"services": ["hub", "runner"], "project_dir": str(self.folder)}
        more = {"compose_command": [COMPOSE], "timeout": "20s", "settle": "0s", "wait": "1s"}
        url = {"url": f"{self.address}/health", "pairs": [["TOKEN_ID", "TOKEN"]]}
        return {"name": "app", "type": "deploy", **own, **how, **more, **url, **changes}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.ports['hub'].number}"

    def _inventory(self, place: Path) -> None:
        sinks = [
            {"ref": f"ref+awsssm://{self.aws.prefix}/{name}", "template": f"{{current.{field}}}"}
            for name, field in (("TOKEN_ID", "id"), ("TOKEN", "value"))
        ]
        shown = {"Authorization": "Bearer {pending.value}"}
        variables: dict[str, Any] = {
            "keyturn_keyring": f"ref+file://{self.keyring}",
            "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
            "keyturn_issuer": {"type": "generated", "fields": ["id", "value"], "overlap": False},
            "keyturn_sinks": [{"name": "pair", "group": sinks}],
            "keyturn_consumers": [self.definition(timeout="4s", services=["hub"], host="app1")],
            "keyturn_probes": [{"type": "http", "url": f"{self.address}/work", "headers": shown}],
            "keyturn_wait": "3s",
            "keyturn_interval": "1s",
        }
        (place / "host_vars").mkdir(parents=True)
        # By another name, so that its tasks do not run in Ansible's own process.
        python = str(Path(sys.executable).with_name("python3"))
        app1 = {"ansible_connection": "local", "ansible_python_interpreter": python}
        groups = {"credentials": {"hosts": {"token": None}}, "machines": {"hosts": {"app1": app1}}}
        hosts = {"all": {"children": groups}}
        (place / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (place / "host_vars" / "token.yml").write_text(yaml.safe_dump(variables))
        self.inventory = place

    @property
    def environ(self) -> dict[str, str]:
        return {**self.podman.own_environ, **self.aws.environ, "ANSIBLE_PIPELINING": "1"}

    def run(self, playbook: str, *arguments: str, **extra: Any) -> PlaybookResult:
        name = f"keyturn.runbooks.{playbook}"
        given = {"inventory": self.inventory, "extra_vars": extra, "env": self.environ}
        return self.ansible.run(name, *arguments, **given)

    def pick_up(
        self, check_mode: bool = False, machine: Machine | None = None, **changes: Any
    ) -> dict[str, Any]:
        """What the module does without a keyring, on this machine."""
        context = self.aws.context(check_mode=check_mode)
        context = replace(context, environ={**self.podman.environ, **self.aws.environ})
        definition = self.definition(**changes)
        sealed = sealed_for(parse_consumer(definition, "consumer"), None, (), context)
        hidden = unseal_values({"sealed": sealed})
        task = Task("app", definition, context, machine or Machine(), hidden=hidden)
        return {**pick_up(task), **task.told}

    def container(self, service: str) -> str:
        label = f"label=com.docker.compose.project={self.project}"
        words = ["--filter", label, "--filter", f"label=com.docker.compose.service={service}"]
        return self.podman.call("ps", "--all", "--quiet", *words).strip()

    def containers(self) -> list[str]:
        return [self.container(name) for name in self.ports]

    def dies_before_recreating(self) -> None:
        """A run that is killed once the file is there."""
        child = os.fork()
        if child == 0:
            try:
                self.pick_up(machine=dies_at("up"), **BY_HAND)
            finally:
                os._exit(1)
        ended = os.waitpid(child, 0)[1]
        assert os.waitstatus_to_exitcode(ended) == -signal.SIGKILL

    def notes(self, service: str) -> list[str]:
        return (self.data / service / "notes").read_text().splitlines()

    def held(self) -> dict[str, str]:
        return {name: self.aws.held(name)[0] for name in self.first}

    def is_everywhere(self, values: Mapping[str, str], *services: str) -> bool:
        """Parameters, env file and what both containers were started with last."""
        lines = {f"{name}={value}" for name, value in values.items()}
        seen = f"{digest(values['TOKEN_ID'])} {digest(values['TOKEN'])}"
        return (
            self.held() == values
            and lines <= set(self.file.read_text().splitlines())
            and self.file.stat().st_mode & 0o777 == 0o600
            and all(self.notes(name)[-1] == seen for name in services or self.ports)
        )

    def answers(self, token: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["hub"].number, timeout=5)
        try:
            connection.request("GET", "/work", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()


@pytest.fixture
def estate(aws: AwsWorld, podman: Podman, scratch: Path, ansible: Ansible) -> Iterator[Estate]:
    made = Estate(aws, podman, scratch, ansible)
    yield made
    podman.remove_project(made.project)
    for port in made.ports.values():
        port.release()


def dies_at(word: str) -> Machine:
    """A machine on which this process is killed when it would run a program with this word."""

    def run(argv: Sequence[str], *given: Any, **named: Any) -> Completed:
        if word in argv:
            os.kill(os.getpid(), signal.SIGKILL)
        return run_command(argv, *given, **named)

    return Machine(run=run)


BY_HAND = {"unmarked": "take"}
"""As long as no rotation has written the pair."""


def test_a_pair_is_deployed_rotated_and_returned_to(estate: Estate, scratch: Path) -> None:
    """One estate for all of it: to make containers anew takes longer than everything else here."""
    is_deployed(estate)
    goes_on_where_a_run_was_killed(estate)
    second = estate.held()
    given = {}
    for name, field in (("TOKEN_ID", "id"), ("TOKEN", "value")):
        (scratch / name).touch(mode=0o600)
        (scratch / name).write_text(second[name])
        given[field] = f"ref+file://{scratch}/{name}"
    estate.run("adopt", keyturn_adopt=given).check()
    before = estate.containers()
    predicted = estate.run("rotate", "--check", "--diff", keyturn_force=True).check()
    assert "TOKEN (another value)" in predicted.stdout
    assert (estate.held(), estate.containers()) == (second, before)
    rotated = estate.run("rotate", "--diff", keyturn_force=True).check()
    third = estate.held()
    assert third["TOKEN"] != second["TOKEN"]
    assert estate.is_everywhere(third, "hub")
    assert (estate.answers(second["TOKEN"]), estate.answers(third["TOKEN"])) == (401, 200)
    assert estate.containers()[1] == before[1], "the definition names one service"
    failed = is_returned_to(estate)
    for value in (*estate.first.values(), *second.values(), *third.values()):
        assert value not in predicted.output + rotated.output + failed.output + estate.ansible.log()
    assert not estate.ansible.leftovers()


def is_deployed(estate: Estate) -> None:
    for name, value in estate.first.items():
        estate.aws.put(name, value)
    done = estate.pick_up(check_mode=True, **BY_HAND)
    assert (done["action"], done["added"]) == ("predicted", ["TOKEN", "TOKEN_ID"])
    assert not estate.file.exists()
    with required():
        done = estate.pick_up(**BY_HAND)
    assert (done["action"], done["recreated"]) == ("recreate", ["hub", "runner"])
    assert estate.is_everywhere(estate.first)
    before = estate.containers()
    assert estate.pick_up(**BY_HAND)["action"] == "none"
    assert estate.containers() == before
    assert any("podman-compose puts each variable" in text for text in estate.aws.warnings)


def is_returned_to(estate: Estate) -> PlaybookResult:
    """A rotation whose application is never well with another value than the one in use."""
    before = estate.held()
    # Half a pair, as a killed run leaves one: its own rotation is what mends it.
    estate.aws.put("TOKEN_ID", before["TOKEN_ID"])
    (estate.data / "hub" / "healthy").write_text(digest(before["TOKEN"]))
    failed = estate.run("rotate", keyturn_force=True).check(2)
    assert "did not answer as expected" in failed.stdout
    assert len(set(estate.notes("hub"))) == 4, "the new value was deployed, too"
    assert estate.is_everywhere(before, "hub")
    assert estate.answers(before["TOKEN"]) == 200
    return failed


def goes_on_where_a_run_was_killed(estate: Estate) -> None:
    second = {name: secrets.token_urlsafe(16) for name in estate.first}
    before = estate.containers()
    for name, value in second.items():
        estate.aws.put(name, value)
    estate.dies_before_recreating()
    assert f"TOKEN={second['TOKEN']}" in estate.file.read_text()
    assert estate.containers() == before
    # This time the host reads the parameters itself.
    done = estate.pick_up(read_from="host", services=["hub"], **BY_HAND)
    assert (done["updated"], done["recreated"]) == ([], ["hub"])
    assert estate.is_everywhere(second, "hub")


def test_the_module_does_the_same_on_a_host(files: Files, ansible: Ansible, scratch: Path) -> None:
    value = secrets.token_urlsafe(24)
    files.aws.put("TOKEN", value)
    tasks: list[dict[str, Any]] = []
    for reader, way in (("controller", {}), ("host", {"keyturn_direct": False})):
        given = {"path": f"/{files.aws.prefix}/", "env_file": f"{scratch}/{reader}.env"}
        for check_mode, changed in ((True, True), (False, True), (False, False)):
            task = {"keyturn.runbooks.env_render": {**given, "read_from": reader}}
            wrong = f"done.changed != {changed} or done.variables != ['TOKEN']"
            told = {"register": "done", "failed_when": wrong}
            tasks.append({**task, "check_mode": check_mode, "vars": way, **told})
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    book = scratch / "play.yml"
    book.write_text(yaml.safe_dump([play]))
    env = {**files.aws.environ, "ANSIBLE_PIPELINING": "1"}
    done = ansible.run(str(book), "-vvv", "--diff", env=env).check()
    assert [path.read_text() for path in sorted(scratch.glob("*.env"))] == [f"TOKEN={value}\n"] * 2
    assert value not in done.output + ansible.log()
    assert not ansible.leftovers()
