# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``consumer`` with real programs and a real PgBouncer: told once, seen, and the receipt kept."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import request_to_replay
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumer import MODULE, SPEC
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    ProbeFailed,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible

APP = """\
import os, sys, time
told, sink = sys.argv[1:3]
with open(told, "a") as file:
    file.write(open(sink).read() + os.environ.get("MODE", "") + "\\n")
print(open(sink).read())
sys.exit(int(os.environ.get("CODE", "0")))
"""


class Estate:
    """A keyring in a file, one sink, and a program that is told to read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keyring = folder / "keyring.json"
        self.sink = folder / "sink"
        self.told = folder / "told"
        self.program = folder / "app.py"
        self.program.write_text(APP)
        self.password = secrets.token_urlsafe(24)
        self.document = Document("db_app", secrets.token_bytes(32))
        self.warnings: list[str] = []
        self.put(self.password, "observed")

    def put(self, password: str, status: str = "promoted", rotation: str = "r1") -> None:
        """A new current stage, published to the sink."""
        fields = {"username": "app", "password": Secret(password)}
        stage = self.document.with_fingerprints(Stage(rotation, status, fields))
        self.save(current=stage)
        self.password = password
        self.sink.write_text(password)

    def save(self, **changes: Any) -> None:
        if self.keyring.exists():
            self.document = parse_document(self.keyring.read_text())
        self.document = replace(self.document, **changes)
        self.keyring.touch(mode=0o600)
        self.keyring.write_text(dump_text(self.document))

    @property
    def receipts(self) -> dict[str, str]:
        document = parse_document(self.keyring.read_text())
        return {name: receipt.seen for name, receipt in document.receipts.items()}

    @property
    def times(self) -> list[str]:
        """What the program read, each time that it was told."""
        return self.told.read_text().splitlines() if self.told.exists() else []

    @property
    def sinks(self) -> list[dict[str, Any]]:
        ref = f"ref+file://{self.sink}"
        return [{"name": "file", "ref": ref, "template": "{current.password}"}]

    def command(self, **definition: Any) -> dict[str, Any]:
        argv = [sys.executable, str(self.program), str(self.told), str(self.sink)]
        return {"type": "command", "name": "app", "argv": argv, **definition}

    def params(self, definition: dict[str, Any], **params: Any) -> dict[str, Any]:
        own = {name: option.get("default") for name, option in SPEC.items()}
        ref = {"keyring": f"ref+file://{self.keyring}", "credential": "db_app"}
        given = {**ref, "sinks": self.sinks, "run": {"run_id": "me", "host": "here"}}
        return {**own, **given, "definition": definition, **params}

    def __call__(
        self, definition: dict[str, Any], check_mode: bool = False, **params: Any
    ) -> dict[str, Any]:
        context = Context(check_mode, diff=True, warn=self.warnings.append)
        try:
            result = execute(MODULE, self.params(definition, **params), context)
        except KeyturnError as error:
            self.no_secret_in(error.message + json.dumps(error.details))
            raise
        self.no_secret_in(json.dumps(result))
        return result

    def no_secret_in(self, text: str) -> None:
        assert self.password not in text

    def quartet(self, definition: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Check, apply, check again, apply again; gives what apply said."""
        before = self.keyring.read_text()
        predicted = self(definition, check_mode=True, **params)
        assert predicted["changed"] and predicted["due"]
        assert self.keyring.read_text() == before
        done = self(definition, **params)
        assert done["changed"] and done["seen"]
        assert predicted["diff"] == done["diff"] and predicted["receipt"] == done["receipt"]
        assert self.receipts[str(done["consumer"])] == done["receipt"]
        after = self.keyring.read_text()
        for check_mode in (True, False):
            again = self(definition, check_mode=check_mode, **params)
            assert not again["changed"] and not again["due"] and "diff" not in again
        assert self.keyring.read_text() == after
        return done


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    return Estate(tmp_path)


def test_a_command_is_told_once_for_each_value(estate: Estate) -> None:
    first = estate.quartet(estate.command(environment={"MODE": " fast"}))
    assert (first["action"], first["coalesced"]) == ("command", False)
    assert estate.times == [f"{estate.password} fast"]
    estate.put(secrets.token_urlsafe(24), rotation="r2")
    second = estate.quartet(estate.command())
    assert second["receipt"] != first["receipt"]
    assert estate.times[1:] == [estate.password]
    shown = second["diff"][0]
    assert (shown["before"], shown["after"]) == (f"{first['receipt']}\n", f"{second['receipt']}\n")


def test_one_that_reads_on_each_use_only_gets_its_receipt(estate: Estate) -> None:
    done = estate.quartet({"type": "none", "host": "app1"})
    assert (done["consumer"], done["action"]) == ("app1/none/none", "none")


def test_check_mode_gives_later_tasks_the_predicted_receipt(estate: Estate) -> None:
    definition = estate.command()
    fields = {"username": "b", "password": Secret("(new)", known=False)}
    steps = [
        Request("stage", Run("me"), "db_app", rotation_id="r2", fields=fields, definition="d"),
        Request("applied", Run("me"), "db_app"),
        Request("proved", Run("me"), "db_app", evidence=({"type": "x"},)),
        Request("promote", Run("me"), "db_app"),
    ]
    estate.save(current=replace(estate.document.current or Stage("", "", {}), status="observed"))
    replay = [request_to_replay(step) for step in steps]
    predicted = estate(definition, check_mode=True, replay=replay)
    assert predicted["changed"] and str(predicted["receipt"]).startswith("(new)")
    assert [step["transition"] for step in predicted["replay"]][-1] == "receive"
    again = estate(definition, check_mode=True, replay=predicted["replay"])
    assert not again["changed"]
    assert not estate.times


def test_a_step_that_the_task_is_asked_for_builds_on_the_receipt(estate: Estate) -> None:
    definition = estate.command()
    estate.put(estate.password, "promoted")
    predicted = estate(definition, check_mode=True, transition="observed", grace="1h")
    assert [it["transition"] for it in predicted["replay"]] == ["receive", "observed"]
    done = estate(definition, transition="observed", grace="1h")
    assert done["keyring"]["stages"]["current"]["status"] == "observed"
    assert [it["before_header"].split()[0] for it in done["diff"]] == ["receipt", "keyring"]


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"environment": {"CODE": 3}}, ProbeFailed, "ended with exit code 3"),
        ({"argv": ["/no/such"]}, BadInput, "not found"),
        ({"chdir": "/no/such"}, BadInput, "not found"),
        ({"argv": ["sleep", "9"], "timeout": "1s"}, Unreachable, "did not end within 1 s"),
        ({"seen": ["false"], "timeout": "1s"}, ProbeFailed, "its proof 'false' did not succeed"),
    ],
)
def test_who_was_not_seen_using_the_value_gets_no_receipt(
    estate: Estate, changes: dict[str, Any], kind: type[KeyturnError], told: str
) -> None:
    with pytest.raises(kind, match=told):
        estate(estate.command(**changes))
    assert estate.receipts == {}
    assert estate(estate.command())["changed"], "the next run makes up for it"


def test_other_exit_codes_can_mean_success(estate: Estate) -> None:
    definition = estate.command(environment={"CODE": 3}, success=[0, 3])
    assert estate(definition)["seen"]


def test_a_proof_is_waited_for(estate: Estate) -> None:
    mark = estate.folder / "ready"
    late = f"(sleep 0.5; touch {mark}) &"
    definition = estate.command(argv=["sh", "-c", late], seen=["test", "-e", str(mark)])
    begun = time.monotonic()
    assert estate(definition)["seen"]
    assert time.monotonic() - begun >= 0.5


def test_who_comes_after_another_waits_for_its_receipt(estate: Estate) -> None:
    first = estate.command(name="first", environment={"MODE": " first"})
    second = estate.command(name="second", after=["first"])
    both = {"consumers": [second, first]}
    assert estate(second, check_mode=True, **both)["changed"], "the real run tells the first one"
    with pytest.raises(Refused, match="second: it comes after first") as caught:
        estate(second, **both)
    assert caught.value.details == {"waits_for": ["first"]}
    assert not estate.times
    estate(first, **both)
    estate(second, **both)
    assert estate.times == [f"{estate.password} first", estate.password]


def test_the_definition_and_the_list_must_agree(estate: Estate) -> None:
    one, other = estate.command(name="one"), estate.command(name="other", after=["none"])
    with pytest.raises(BadInput, match="'one' is none of keyturn_consumers: other"):
        estate(one, consumers=[{**other, "after": []}])
    with pytest.raises(BadInput, match="'other' comes after 'none', which there is not"):
        estate(one, consumers=[one, other])
    with pytest.raises(BadInput, match="reads 'x', but the sinks are: file"):
        estate({**one, "reads": ["x"]})
    with pytest.raises(Absent, match="there is no keyring"):
        estate(one, keyring=f"ref+file://{estate.folder}/none.json")


def test_without_a_keyring_it_is_told_each_time(estate: Estate) -> None:
    for number in (1, 2):
        result = estate(estate.command(), keyring=None)
        assert result["changed"] and "receipt" not in result
        assert len(estate.times) == number
    assert not estate(estate.command(), keyring=None, due=False)["changed"]
    assert estate(estate.command(), check_mode=True, keyring=None)["changed"]
    assert len(estate.times) == 2


def test_one_service_is_told_by_one_process_at_a_time(estate: Estate) -> None:
    busy = estate.folder / "busy"
    alone = f"mkdir {busy} && sleep 0.1 && rmdir {busy}"
    definition = estate.command(argv=["sh", "-c", alone])
    with ThreadPoolExecutor(4) as workers:
        done = list(workers.map(lambda _it: estate(definition, keyring=None), range(4)))
    assert all(it["seen"] for it in done)


@pytest.mark.pg_versions("16")
def test_pgbouncer_is_brought_up_to_date_from_the_keyring(
    database: Database, pgbouncer_factory: Callable[..., PgBouncer], estate: Estate
) -> None:
    roles = [f"app_{secrets.token_hex(4)}" for _number in range(2)]
    stages = {}
    for role, name, status in zip(
        roles, ("current", "pending"), ("observed", "applied"), strict=True
    ):
        password = database.create_login(role)
        verifier = Secret(str(database.verifier(role)))
        fields = {"username": role, "password": Secret(password), "verifier": verifier}
        stages[name] = estate.document.with_fingerprints(Stage("r1", status, fields))
    estate.save(**stages)
    pooler = pgbouncer_factory(database.server, database=database.name)
    admin = estate.folder / "admin.json"
    admin.touch(0o600)
    admin.write_text(json.dumps({"username": pooler.admin_user, "password": pooler.admin_password}))
    definition = {
        "type": "pgbouncer",
        "host": "db1",
        "userlist": str(pooler.userlist_path),
        "admin": f"ref+file://{admin}",
        "port": pooler.port,
        "timeout": "5s",
    }
    issuer = {"type": "postgres_role", "roles": roles, "login": {"dbname": database.name}}
    before = {"headroom": "warn", **definition}
    predicted = estate(before, check_mode=True, issuer=issuer)
    assert predicted["changed"] and roles[1] not in pooler.userlist_path.read_text()
    done = estate(before, issuer=issuer)
    assert done["consumer"] == f"db1/pgbouncer/{pooler.userlist_path}"
    assert (done["action"], done["reloaded"]) == ("reload", True)
    assert {item["name"] for item in done["changes"]} == set(roles)
    assert len(done["diff"]) == 2
    assert not estate(before, issuer=issuer)["due"]
    for stage in stages.values():
        secret = stage.fields["password"]
        assert isinstance(secret, Secret)
        pooler.connect(stage.text("username"), secret.reveal()).close()
        assert secret.reveal() not in json.dumps(done)
    with pytest.raises(BadInput, match="type pgbouncer follows from a keyring"):
        estate(definition, keyring=None)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "module"])
def test_check_apply_check_apply_in_a_playbook(
    estate: Estate, ansible: Ansible, direct: bool
) -> None:
    tasks: list[dict[str, Any]] = []
    params = {"keyring": f"ref+file://{estate.keyring}", "credential": "db_app"}
    for number, check_mode in enumerate((True, False, True, False)):
        told = f"done is {'changed' if number < 2 else 'not changed'}"
        consumer = {**params, "sinks": estate.sinks, "definition": estate.command()}
        tasks += [
            {
                "keyturn.runbooks.consumer": consumer,
                "check_mode": check_mode,
                "diff": True,
                "register": "done",
            },
            {"ansible.builtin.assert": {"that": [told, f"done.due == {number < 2}"]}},
        ]
    playbook = estate.folder / "play.yml"
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    playbook.write_text(yaml.safe_dump(play))
    result = ansible.run(str(playbook), "-vvv", extra_vars={"keyturn_direct": direct}).check()
    assert estate.times == [estate.password]
    assert f"+{estate.receipts['app']}" in result.stdout
    assert estate.password not in result.output + ansible.log()
    assert not ansible.leftovers()
