# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers that are containers of a real podman, by name and as services of a compose project."""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._open import pick_up
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import Task
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    ProbeFailed,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_reads import (
    MODULE as INCIDENT_READS,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time
from estate.playbook import Ansible
from machines import APP, PROGRAMS, Podman, digest, required

COMPOSE = str(Path(sys.executable).with_name("podman-compose"))
STOP_SIGNAL = "SIGTERM"  # the image names systemd's, which an application does not know


class Box:
    """A folder that containers see at /data: the value that they read, what they noted, and their consumers."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.podman = podman
        self.folder = folder
        self.warnings: list[str] = []
        self.containers: list[str] = []
        self.value = ""
        self.put()

    @property
    def file(self) -> Path:
        return self.folder / "value"

    @property
    def mounts(self) -> list[str]:
        return [f"{self.folder}:/data", f"{PROGRAMS}:/opt/programs:ro"]

    def put(self) -> str:
        """A new value, as a file and in an env file."""
        self.value = secrets.token_urlsafe(24)
        for name, text in (("value", self.value), ("app.env", f"VALUE={self.value}\n")):
            (self.folder / f"{name}.new").write_text(text)
            (self.folder / f"{name}.new").rename(self.folder / name)
        return self.value

    def run(self, source: str = "/data/value", seconds: str = "", *options: str) -> str:
        """Start an application in a container; returns the container's name and sees that it has read."""
        name = f"keyturn-{secrets.token_hex(4)}"
        volumes = [f"--volume={mount}" for mount in self.mounts]
        command = ["python3", "-B", APP, source, f"/data/notes-{name}", *([seconds] if seconds else [])]  # fmt: skip
        given = [f"--name={name}", f"--stop-signal={STOP_SIGNAL}", *volumes, *options]
        started = self.podman.run(*command, options=given)
        self.containers.append(started)
        self.until_read(name, 1)
        return name

    def notes(self, name: str) -> list[str]:
        path = self.folder / f"notes-{name}"
        return path.read_text().split() if path.exists() else []

    def until_read(self, name: str, times: int) -> list[str]:
        """What it noted, once that is so many."""
        pause = threading.Event()
        for _number in range(600):
            if len(self.notes(name)) >= times:
                break
            pause.wait(0.05)
        return self.notes(name)

    def reads_current(self, name: str, times: int) -> bool:
        noted = self.until_read(name, times)
        return len(noted) == times and noted[-1] == digest(self.value)

    def pick_up(
        self, check_mode: bool = False, read: tuple[Path, ...] = (), **definition: Any
    ) -> dict[str, Any]:
        given = {"type": "container", "timeout": "30s", "settle": "0s", **definition}
        context = Context(check_mode, environ=self.podman.environ, warn=self.warnings.append)
        task = Task("app", given, context, files=tuple(map(str, read)))
        locks = self.folder.parent / "locks"
        locks.mkdir(exist_ok=True)
        try:
            return pick_up(task, str(locks))
        except KeyturnError as error:
            if self.value in error.message:
                raise AssertionError("a value is told") from None
            raise

    def state(self, name: str, field: str = "StartedAt") -> str:
        return self.podman.call("inspect", f"--format={{{{.State.{field}}}}}", name).strip()


@pytest.fixture
def box(podman: Podman, scratch: Path) -> Iterator[Box]:
    folder = scratch / "data"
    folder.mkdir()
    made = Box(podman, folder)
    yield made
    for container in made.containers:
        podman.remove(container)


# By name


def test_who_used_an_application_by_what_its_container_printed(box: Box) -> None:
    name, value = f"keyturn-{secrets.token_hex(4)}", box.value
    lines = [f'{{"user": "{who}", "status": {status}}}' for who, status in (("app", 200), (f"eve {value}", 401))]  # fmt: skip
    script = 'echo "$1"; echo "$2" >&2; echo started'
    since = datetime.now(timezone.utc) - timedelta(minutes=1)
    started = box.podman.run("sh", "-c", script, "sh", *lines, options=[f"--name={name}"])
    box.containers.append(started)
    box.podman.call("wait", name)
    asked: dict[str, Any] = {
        "type": "app_log",
        "container": name,
        "format": "json",
        "fields": {"principal": "user", "outcome": "status"},
        "refused": [401],
        "redact": [value],
    }

    def look(**options: Any) -> dict[str, Any]:
        until = since + timedelta(minutes=2)
        given = {"since": format_time(since), "until": format_time(until), **asked, **options}
        spec = ArgumentSpecValidator(dict(INCIDENT_READS.argument_spec)).validate(given)
        context = Context(environ=box.podman.environ, now=lambda: until)
        return execute(INCIDENT_READS, spec.validated_parameters, context)

    told = look()
    assert {(it["principal"], it["outcome"]) for it in told["events"]} == {
        ("app", "done"),
        ("eve (hidden)", "denied"),
    }
    assert f"container {name} was made at 2" in told["gaps"][0], told["gaps"]
    assert "1 lines are no entries of this application" in told["gaps"]
    with pytest.raises(Absent, match="has no container no-such"):
        look(container="no-such")


def test_containers_are_restarted_and_read_the_file(box: Box) -> None:
    names = [box.run(), box.run()]
    box.put()
    done = box.pick_up(containers=names)
    assert done == {"action": "restart", "coalesced": False, "seen": True}
    assert all(box.reads_current(name, 2) for name in names)


def test_a_restart_keeps_the_environment_that_a_container_was_made_with(box: Box) -> None:
    before = box.value
    name = box.run("$VALUE", "", f"--env-file={box.folder}/app.env")
    box.put()
    assert box.pick_up(containers=[name])["seen"], "the reason why a compose service is recreated"
    assert box.until_read(name, 2) == [digest(before)] * 2


def test_credentials_that_share_a_container_cost_one_restart(box: Box) -> None:
    name = box.run()
    box.put()
    for coalesced in (False, True):
        done = box.pick_up(containers=[name], read=(box.file,))
        assert (done["coalesced"], done["seen"]) == (coalesced, True)
    assert box.reads_current(name, 2)
    box.put()
    assert not box.pick_up(containers=[name], read=(box.file,))["coalesced"]
    assert box.reads_current(name, 3)


def test_check_mode_restarts_nothing(box: Box) -> None:
    name = box.run()
    before = box.state(name)
    assert box.pick_up(check_mode=True, containers=[name])["action"] == "predicted"
    assert (box.state(name), len(box.notes(name))) == (before, 1)


def test_a_container_that_does_not_run_is_not_started(box: Box) -> None:
    name = box.run()
    box.podman.call("stop", name)
    with pytest.raises(Refused, match=f"container {name} is exited and must not be started"):
        box.pick_up(containers=[name])
    done = box.pick_up(containers=[name], inactive="warn")
    assert (done["action"], done["seen"]) == ("none", True)
    assert "it reads the new value when it is started" in box.warnings[0]
    assert box.state(name, "Status") == "exited"


def test_what_is_not_there_is_named(box: Box) -> None:
    with pytest.raises(BadInput, match="podman has no container 'no-such'"):
        box.pick_up(containers=["no-such"])
    environ = {**box.podman.environ, "PATH": str(box.folder)}
    task = Task("app", {"type": "container", "containers": ["a"]}, Context(environ=environ))
    with pytest.raises(BadInput, match="there is no podman on this host"):
        pick_up(task, str(box.folder.parent))


def test_one_that_gives_up_soon_after_is_a_failure(box: Box) -> None:
    name = box.run()
    (box.folder / "value").rename(box.folder / "away")
    with pytest.raises(
        ProbeFailed, match=f"container {name} (is (exited|stopped)|did not stay up)"
    ):
        box.pick_up(containers=[name], settle="2s")


def test_one_that_is_restarted_again_and_again_is_a_failure(box: Box) -> None:
    name = box.run("/data/value", "0.5", "--restart=always")
    box.put()
    for told in ("just told", "started by podman since"):
        # Between two starts it is found stopped.
        with pytest.raises((ProbeFailed, Refused), match=r"did not stay up|is \w+"):
            raise AssertionError(told, box.pick_up(containers=[name], read=(box.file,), settle="2s"))  # fmt: skip


@contextmanager
def asked_for_health(box: Box, name: str) -> Iterator[None]:
    """Somebody asks the container for its health, as the engine's timer does where systemd runs."""
    end = threading.Event()

    def ask() -> None:
        while not end.wait(0.3):
            # It ends with 1 for one that is not well.
            box.podman.call("healthcheck", "run", name, accept=(0, 1, 125, 126))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        end.set()
        asking.join()


def test_health_is_waited_for(box: Box) -> None:
    check = "test $(tail -n 1 /data/notes-*) = $(sha256sum </data/value | cut -c1-64)"
    options = [f"--health-cmd={check}", "--health-interval=1h", "--health-retries=1"]
    name = box.run("/data/value", "", *options)
    box.put()
    with asked_for_health(box, name):
        assert box.pick_up(containers=[name])["seen"]
    assert box.state(name, "Health.Status") == "healthy"
    (box.folder / "notes-other").write_text("x\n")
    with asked_for_health(box, name), pytest.raises(ProbeFailed, match=r"(starting|unhealthy)"):
        box.pick_up(containers=[name], timeout="2s")


# As a service of a compose project


class Project:
    """A compose project: ``app`` reads its environment, ``other`` a file."""

    def __init__(self, box: Box, name: str = "") -> None:
        self.box = box
        self.name = name or f"keyturn-{secrets.token_hex(4)}"
        self.folder = box.folder.parent / self.name / "deploy"
        self.folder.mkdir(parents=True)
        self.file = self.folder / "compose.yaml"
        self.write()

    def write(self, **changes: Any) -> None:
        services = {
            "app": {**self._service("$$VALUE", "app"), "env_file": [f"{self.box.folder}/app.env"]},
            "other": self._service("/data/value", "other"),
        }
        self.file.write_text(yaml.safe_dump({"services": services, **changes}))

    def _service(self, source: str, name: str) -> dict[str, Any]:
        return {
            "image": self.box.podman.image,
            "command": ["python3", "-B", APP, source, f"/data/notes-{name}"],
            "volumes": self.box.mounts,
            "network_mode": "none",
            "stop_grace_period": "2s",
            "stop_signal": STOP_SIGNAL,
        }

    def up(self) -> Project:
        """Bring it up, as a person would from the folder above; returns itself."""
        words = ["-p", self.name, "-f", "deploy/compose.yaml", "up", "-d"]
        self.box.podman.compose(COMPOSE, *words, folder=self.folder.parent)
        for name in ("app", "other"):
            self.box.until_read(name, 1)
        return self

    def container(self, service: str) -> str:
        label = f"label=com.docker.compose.project={self.name}"
        words = ["--filter", label, "--filter", f"label=com.docker.compose.service={service}"]
        return self.box.podman.call("ps", "--all", "--quiet", *words).strip()

    def definition(self, **definition: Any) -> dict[str, Any]:
        own = {"type": "compose", "service": "app", "project": self.name}
        return {**own, "compose_command": [COMPOSE], **definition}

    def pick_up(self, check_mode: bool = False, **definition: Any) -> dict[str, Any]:
        env_file = (self.box.folder / "app.env",)
        return self.box.pick_up(check_mode, env_file, **self.definition(**definition))


@pytest.fixture
def make_project(box: Box) -> Iterator[Callable[[], Project]]:
    made: list[Project] = []

    def make() -> Project:
        made.append(Project(box))
        with required():
            made[-1].up()
        return made[-1]

    yield make
    for project in made:
        box.podman.remove_project(project.name)


@pytest.fixture
def project(make_project: Callable[[], Project]) -> Project:
    return make_project()


def test_a_service_is_recreated_and_reads_its_env_file(box: Box, project: Project) -> None:
    before = [project.container(name) for name in ("app", "other")]
    box.put()
    assert project.pick_up(check_mode=True)["action"] == "predicted"
    assert [project.container(name) for name in ("app", "other")] == before
    done = project.pick_up()
    assert done == {"action": "recreate", "coalesced": False, "seen": True}
    assert project.container("app") not in ("", before[0])
    assert project.container("other") == before[1], "the rest of the project is left alone"
    assert box.reads_current("app", 2)
    assert project.pick_up()["coalesced"]
    assert len(box.notes("app")) == 2


def test_a_service_that_reads_files_may_be_restarted(box: Box, project: Project) -> None:
    before = project.container("other")
    box.put()
    done = project.pick_up(service="other", action="restart")
    assert (done["action"], project.container("other")) == ("restart", before)
    assert box.reads_current("other", 2)


def test_the_default_command_is_found_on_the_path(
    box: Box, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{Path(COMPOSE).parent}:{box.podman.environ['PATH']}"
    monkeypatch.setitem(box.podman.environ, "PATH", path)
    definition = project.definition()
    del definition["compose_command"]
    assert box.pick_up(**definition)["action"] == "recreate"


def test_a_service_that_does_not_run_is_not_started(box: Box, project: Project) -> None:
    box.podman.call("stop", project.container("app"))
    with pytest.raises(Refused, match="is exited and must not be started"):
        project.pick_up()
    assert project.pick_up(inactive="warn")["action"] == "none"
    assert box.state(project.container("app"), "Status") == "exited"


def test_a_service_that_cannot_be_meant_is_named(
    box: Box, make_project: Callable[[], Project]
) -> None:
    one, other = make_project(), make_project()
    with pytest.raises(BadInput, match="no container of compose service 'no-such'"):
        one.pick_up(service="no-such")
    with pytest.raises(BadInput, match="there is no no-such-compose on this host"):
        one.pick_up(check_mode=True, compose_command=["no-such-compose"])
    with pytest.raises(BadInput, match=r"is in several projects: .*; give 'project'"):
        box.pick_up(type="compose", service="app")
    box.put()
    one.file.rename(one.folder / "away.yaml")
    with pytest.raises(BadInput, match=r"made from \S+/deploy/compose.yaml, which is not there"):
        one.pick_up()
    assert one.pick_up(files=["away.yaml"])["action"] == "recreate"
    kept = other.container("app")
    one.folder.joinpath("away.yaml").write_text("services: [\n")
    box.put()
    with pytest.raises(ProbeFailed, match=r"up ended with exit code \d+; run it by hand in "):
        one.pick_up(files=["away.yaml"])
    assert other.container("app") == kept


# As a task


def test_check_apply_check_apply_in_a_playbook(
    box: Box, project: Project, ansible: Ansible
) -> None:
    name = box.run()
    consumers = {
        "container": ({"type": "container", "containers": [name]}, box.file, "restart"),
        "compose": (project.definition(), box.folder / "app.env", "recreate"),
    }
    box.put()
    tasks: list[dict[str, Any]] = []
    for definition, file, action in consumers.values():
        given = {"definition": {**definition, "settle": "0s"}, "files": [str(file)]}
        for check_mode, done in ((True, "predicted"), (False, action), (False, "none")):
            wrong = f"done.action != '{done}' or done.changed != {done != 'none'}"
            task = {"keyturn.runbooks.consumer": given, "check_mode": check_mode}
            tasks.append({**task, "register": "done", "failed_when": wrong})
    playbook = box.folder.parent / "play.yml"
    playbook.write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
    )
    run = ansible.run(str(playbook), "-vvv", env=box.podman.own_environ).check()
    assert box.reads_current(name, 2) and box.reads_current("app", 2)
    assert box.value not in run.output + ansible.log()
    assert not ansible.leftovers()
