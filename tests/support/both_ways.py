# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module as tasks: check, apply, check again, apply again; the same tasks run by each way of execution.

A lane is one inventory host with a database of its own, or with files alone. Lanes run side by side.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils import _scram
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Claim,
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import definition_hash
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible
from psycopg2 import sql

CREDENTIAL = "db"
RUN = "this-run"
PLUGINS = Path(__file__).parent / "plugins"
QUARTET = (True, False, True, False)
ONCE = (True, True, False, False)
NEVER = (False, False, False, False)
# A contact is told each time, and says so in its documentation.
ALWAYS = (True, True, True, True)
_AGE = timedelta(days=200)
_ROLES = ("keyturn_a", "keyturn_b")
_ALONE, _OTHERS = "keyturn_alone", ("keyturn_e", "keyturn_f")
_POLICY = {"rotate": "age", "max_age": "180d", "grace": "48h"}
_MADE = """
CREATE ROLE {a} LOGIN PASSWORD {verifier};
CREATE ROLE {alone} LOGIN PASSWORD {verifier};
CREATE ROLE {e} LOGIN PASSWORD {verifier};
GRANT {owner} TO {a}, {e};
ALTER ROLE {a} SET role = {owner};
ALTER ROLE {e} SET role = {owner};
CREATE TABLE public.songs (id int);
ALTER TABLE public.songs OWNER TO {owner}
"""


@dataclass(frozen=True)
class Case:
    """The tasks of one module.

    :param modes: check mode or not, task by task.
    :param changed: what they report.
    :param fresh: the value is made by the task, so that check mode can only say that it is new.
    """

    name: str
    module: str
    options: Mapping[str, Any]
    keyring: str
    changed: tuple[bool, ...] = ONCE
    modes: tuple[bool, ...] = QUARTET
    fresh: bool = False

    def once(self) -> Case:
        """The same, checked and applied once."""
        return replace(self, modes=self.modes[:2], changed=self.changed[:2])

    def tasks(self) -> list[dict[str, Any]]:
        """As Ansible has them."""
        return [
            {
                "name": f"{self.name} {number}",
                f"keyturn.runbooks.{self.module}": dict(self.options),
                "check_mode": check_mode,
                "diff": True,
                "vars": {"keyring": self.keyring},
            }
            for number, check_mode in enumerate(self.modes)
        ]


@dataclass(frozen=True)
class Values:
    """What is the same in both runs, so that fingerprints are."""

    salt: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    passwords: tuple[str, str] = field(
        default_factory=lambda: (secrets.token_urlsafe(24), secrets.token_urlsafe(24))
    )
    salts: tuple[bytes, bytes] = field(
        default_factory=lambda: (secrets.token_bytes(16), secrets.token_bytes(16))
    )
    moment: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def claim(self) -> Claim:
        """The run of all tasks is the one that may work on the credential."""
        until = self.moment + _AGE
        return Claim(RUN, "", 0, "", "", self.moment, until)

    def verifier(self, number: int) -> str:
        """What the server keeps of a password."""
        return _scram.verifier(self.passwords[number], self.salts[number])

    def stage(self, number: int, status: str, issuer: Mapping[str, Any]) -> Stage:
        """A stage with one of the two passwords, old enough to be rotated."""
        fields = {
            "username": issuer.get("role") or issuer["roles"][number],
            "password": Secret(self.passwords[number]),
            "verifier": Secret(self.verifier(number)),
        }
        made, definition = self.moment - _AGE, definition_hash(issuer, {})
        return Stage(f"r{number}", status, fields, definition, made=made, promoted=made)


class Lane:
    """One host of the inventory: a folder of its own, and the cases that run there one after the other."""

    def __init__(self, place: Path, values: Values) -> None:
        place.mkdir(mode=0o711)
        self.place = place
        self.values = values
        self.cases: list[Case] = []
        self.places = [place / "work"]
        self.work.mkdir(mode=0o711)
        self.login: dict[str, Any] = {}
        self.names: dict[str, str] = {}
        self.issuer: dict[str, Any] = {
            "type": "postgres_role",
            "strategy": "alternate_roles",
            "roles": list(_ROLES),
            "login": {"host": "127.0.0.1", "port": 1, "admin": f"ref+file://{self.work}/admin"},
        }

    @property
    def work(self) -> Path:
        """What the modules may change."""
        return self.places[0]

    def write(self, name: str, text: str) -> str:
        """A private file; its reference."""
        path = self.work / name
        path.touch(mode=0o600)
        path.write_text(text)
        return f"ref+file://{path}"

    def keyring(
        self,
        name: str,
        *stages: tuple[str, int, str],
        issuer: Mapping[str, Any] | None = None,
    ) -> str:
        """A keyring with these stages: name, which password, status."""
        issuer = issuer or self.issuer
        document = Document(CREDENTIAL, self.values.salt, claim=self.values.claim)
        made = {
            stage: document.with_fingerprints(self.values.stage(number, status, issuer))
            for stage, number, status in stages
        }
        self.write(f"{name}.json", dump_text(replace(document, **made)))
        return name

    def add(self, name: str, keyring: str, options: dict[str, Any], **about: Any) -> None:
        """One more case: its module's name, and what to call it where there are several of one."""
        case = Case(name, name.split(maxsplit=1)[0], options, keyring, **about)
        # Where a second time cannot differ from the first, it is left out.
        self.cases.append(case.once() if case.changed in (NEVER, ALWAYS) else case)

    def told(self, text: str) -> str:
        """What a task returned, without what the two runs cannot have in common."""
        for value, name in self.names.items():
            text = text.replace(value, name)
        return text


def postgres_lane(
    place: Path,
    values: Values,
    database: Database,
    start: Callable[..., PgBouncer],
    whole: bool,
) -> Lane:
    """What works on a database, behind PgBouncer with a list and with a query.

    :param whole: also what does not depend on the server's version.
    """
    lane = Lane(place, values)
    _make_roles(database, values)
    listed = {_ROLES[0]: values.verifier(0)}
    pools = {
        auth: start(database.server, auth=auth, database=database.name, users=listed)
        for auth in ("userlist", "auth_query")
    }
    lane.places.append(pools["userlist"].userlist_path)
    lane.login = _login(database)
    lane.names = {database.name: "DATABASE", **{str(p.port): a for a, p in pools.items()}}
    lane.names[str(pools["userlist"].run_dir)] = "POOLER"
    admin = {"username": "postgres", "password": database.server.password}
    server = {
        "host": "127.0.0.1",
        "port": database.server.port,
        "dbname": database.name,
        "admin": lane.write("admin", json.dumps(admin)),
    }
    lane.issuer["login"] = server
    _server_cases(lane, server, pools["auth_query"].port)
    for auth, pooler in pools.items():
        _pooler_case(lane, auth, pooler)
    if whole:
        _one_password_case(lane)
    _procedure_case(lane, pools["auth_query"].port)
    return lane


def _login(database: Database) -> dict[str, Any]:
    server = database.server
    place = {"host": "127.0.0.1", "port": server.port, "dbname": database.name}
    return {**place, "user": "postgres", "password": server.password}


def _make_roles(database: Database, values: Values) -> None:
    named = {"a": _ROLES[0], "alone": _ALONE, "e": _OTHERS[0], "owner": database.owner}
    names = {key: sql.Identifier(name) for key, name in named.items()}
    connection = database.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(_MADE).format(verifier=sql.Literal(values.verifier(0)), **names))
    finally:
        connection.close()


def _server_cases(lane: Lane, server: dict[str, Any], port: int) -> None:
    in_use = ("current", 0, "observed")
    probes = [{"type": "postgres", "port": port, "check": ["SELECT 1 FROM songs LIMIT 0"]}]
    password = lane.write("password", lane.values.passwords[1])
    common = {"issuer": lane.issuer, "probes": probes}
    lane.add(
        "preflight",
        lane.keyring("preflight", in_use),
        {**common, "policy": _POLICY},
        changed=NEVER,
    )
    lane.add(
        "pg_role",
        lane.keyring("pg_role", in_use),
        {"login": server, "name": "keyturn_c", "like": _ROLES[0], "password": password},
    )
    lane.add(
        "issuer",
        lane.keyring("issuer", in_use, ("pending", 1, "issued")),
        {
            "issuer": lane.issuer,
            "operation": "apply",
            "stage": "pending",
            "transition": "applied",
        },
    )
    lane.add(
        "probe",
        lane.keyring("probe", in_use, ("pending", 1, "applied")),
        {**common, "stage": "pending", "timeout": "5s", "transition": "proved"},
    )


def _procedure_case(lane: Lane, port: int) -> None:
    """With roles of its own: pools keep sessions of the other ones, and a role in use gets no new password."""
    issuer = {**lane.issuer, "roles": list(_OTHERS)}
    # Made by the step that shows the pending value, and written again by the one that brings it into use.
    written = f"ref+file://{lane.work}/rotated"
    sink = {"name": "rotated", "ref": written, "template": "{current.username}"}
    options = {
        "purpose": "rotate",
        "issuer": issuer,
        "policy": _POLICY,
        "probes": [{"type": "postgres", "port": port}],
        "sinks": [sink],
        "timeout": "5s",
    }
    keyring = lane.keyring("procedure", ("current", 0, "observed"), issuer=issuer)
    lane.add("procedure", keyring, options, fresh=True)


def _one_password_case(lane: Lane) -> None:
    issuer = {
        "type": "postgres_role",
        "strategy": "same_role",
        "role": _ALONE,
        "login": lane.issuer["login"],
    }
    stages = ("current", 0, "observed"), ("pending", 1, "issued")
    ref = f"ref+file://{lane.work}/url"
    url = {"name": "url", "ref": ref, "template": "{current.password}"}
    keyring = lane.keyring("one_password", *stages, issuer=issuer)
    lane.add(
        "deliver cutover", keyring, {"issuer": issuer, "sinks": [url], "transition": "cutover"}
    )


def _pooler_case(lane: Lane, auth: str, pooler: PgBouncer) -> None:
    admin = {"username": pooler.admin_user, "password": pooler.admin_password}
    options = {
        "issuer": lane.issuer,
        "auth": auth,
        "admin": lane.write(f"{auth}.admin", json.dumps(admin)),
        "login": {"host": "127.0.0.1", "port": pooler.port},
        "timeout": "5s",
    }
    if auth == "userlist":
        options["userlist"] = str(pooler.userlist_path)
    lane.add(
        f"pgbouncer {auth}",
        lane.keyring(auth, ("current", 0, "observed"), ("pending", 1, "applied")),
        options,
        changed=ONCE if auth == "userlist" else NEVER,
    )


def publishing_lane(place: Path, values: Values) -> Lane:
    """What is written to files, and who reads them."""
    lane = Lane(place, values)
    keyring = lane.keyring("published", ("current", 0, "observed"))
    url = "postgresql://{current.username}:{current.password|urlencode}@db/app"
    sinks = [
        {"name": "url", "ref": f"ref+file://{lane.work}/url", "template": url},
        {
            "name": "env",
            "ref": f"ref+file://{lane.work}/app.env?format=env",
            "fields": {"PGUSER": "{current.username}", "PGPASSWORD": "{current.password}"},
        },
    ]
    program = "import sys; open(sys.argv[1], 'a').write('told ')"
    argv = [sys.executable, "-c", program, str(lane.work / "reloads")]
    consumer = {"name": "app", "type": "command", "argv": argv, "reads": ["url"]}
    both = {"sinks": sinks, "consumers": [consumer]}
    lane.add("publish", keyring, {"sinks": sinks})
    lane.add("receipts before", keyring, both, modes=QUARTET[:2], changed=(True, True))
    look = {"definition": consumer, **both, "look": "rotate"}
    lane.add("consumer look", keyring, look, changed=NEVER)
    lane.add("consumer", keyring, {"definition": consumer, **both})
    lane.add("receipts after", keyring, both, modes=QUARTET[:2], changed=(False, False))
    other = [{**sink, "ref": sink["ref"].replace("/url", "/delivered.")} for sink in sinks]
    lane.add(
        "deliver",
        lane.keyring("delivered", ("current", 0, "observed")),
        {"issuer": lane.issuer, "sinks": other, "consumers": [consumer]},
    )
    fields = {"PGUSER": "keyring#/current/username", "PGPASSWORD": "keyring#/current/password"}
    lane.add("env_file", keyring, {"path": f"{lane.work}/lines.env", "fields": fields})
    # That there is nothing to copy yet is told in another order by a module of its own.
    key = {"path": f"{lane.work}/stream.key", "value": "keyring#/current/password", "backup": False}
    lane.add("stream_key", keyring, key)
    lane.add("vault_export", keyring, {"dest": f"{lane.work}/export.env", "variables": fields})
    keys = {"path": f"{lane.work}/fernet"}
    first = {"modes": QUARTET[:2], "changed": (True, True), "fresh": True}
    lane.add("fernet_key first", keyring, keys, **first)
    lane.add("fernet_key", keyring, {**keys, "state": "rotated", "from_primary": 1}, fresh=True)
    told = [sys.executable, "-c", program, str(lane.work / "notices")]
    contacts = [{"type": "command", "argv": told}]
    lane.add("notify", keyring, {"event": "success", "contacts": contacts}, changed=ALWAYS)
    return lane


def keyring_lane(place: Path, values: Values) -> Lane:
    """The keyring's own steps and what looks at it."""
    lane = Lane(place, values)
    keyring = lane.keyring("own", ("current", 0, "observed"))
    made = {"issuer": lane.issuer, "transition": "stage"}
    lane.add("keyring stage", keyring, made, fresh=True)
    proved = lane.keyring("proved", ("current", 0, "observed"), ("pending", 1, "proved"))
    lane.add("keyring promote", proved, {"transition": "promote"})
    lane.add("keyring_info", proved, {}, changed=NEVER)
    lane.add("verify_ledger", keyring, {}, changed=NEVER)
    return lane


@dataclass(frozen=True)
class Record:
    """What one task returned, and the state before and after it."""

    result: dict[str, Any]
    before: dict[str, str]
    after: dict[str, str]


def play(
    place: Path, ansible: Ansible, lanes: Mapping[str, Lane], direct: bool
) -> tuple[dict[tuple[str, str], Record], str]:
    """Run every lane's cases.

    :return: what each task returned, by lane and task; and all that was printed.
    """
    for name, lane in lanes.items():
        tasks = [task for case in lane.cases for task in case.tasks()]
        (place / f"{name}.yml").write_text(yaml.safe_dump(tasks))
    book = place / "play.yml"
    book.write_text(yaml.safe_dump([_play(direct)]))
    hosts = {name: {"work": str(lane.work)} for name, lane in lanes.items()}
    inventory = place / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    record, to = place / "record.json", place / "record.jsonl"
    watched = {
        name: {"places": [str(place) for place in lane.places], "login": lane.login}
        for name, lane in lanes.items()
    }
    record.touch(mode=0o600)
    record.write_text(json.dumps({"to": str(to), "hosts": watched}))
    env = {
        "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS),
        "ANSIBLE_CALLBACKS_ENABLED": "record",
        "ANSIBLE_PIPELINING": "1",
        "KEYTURN_RECORD": str(record),
    }
    ended = ansible.run(str(book), "-v", "--forks=5", inventory=inventory, env=env).check()
    return _records(to), ended.output + ansible.log()


def _play(direct: bool) -> dict[str, Any]:
    """Tasks get what they have in common from the defaults of the collection's action group."""
    access = {
        "keyring": "ref+file://{{ work }}/{{ keyring }}.json",
        "ledger": "ref+file://{{ work }}/{{ keyring }}.jsonl",
        "credential": CREDENTIAL,
        "run": {"run_id": RUN},
    }
    return {
        "hosts": "all",
        "connection": "local",
        "gather_facts": False,
        "strategy": "free",
        "vars": {"keyturn_direct": direct},
        "module_defaults": {"group/keyturn.runbooks.keyturn": access},
        "tasks": [{"ansible.builtin.include_tasks": "{{ inventory_hostname }}.yml"}],
    }


def _records(path: Path) -> dict[tuple[str, str], Record]:
    found: dict[tuple[str, str], Record] = {}
    state: dict[str, dict[str, str]] = {}
    for line in path.read_text().splitlines():
        item = json.loads(line)
        host = item["host"]
        before = state.get(host, item["state"])
        found[host, item["task"]] = Record(item["result"], before, item["state"])
        state[host] = item["state"]
    return found


_AGED = re.compile(r"\b200d( \d+[hms])*|\b\d+s(?= old\b)")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_ROTATION = re.compile(r"\br\d{14}[0-9a-f]{6}\b")
_OWN = ("rotation_id", "run_id", "age", "age_seconds", "_ansible_no_log", "invocation")


def comparable(lane: Lane, case: Case, result: Any) -> Any:
    """A result without ids, times and values that each run makes for itself."""
    if isinstance(result, dict):
        return {
            key: comparable(lane, case, value) for key, value in result.items() if key not in _OWN
        }
    if isinstance(result, list):
        return [comparable(lane, case, item) for item in result]
    if not isinstance(result, str):
        return result
    text = _TIME.sub("TIME", lane.told(result).replace(str(lane.place), "PLACE"))
    text = _ROTATION.sub("ROTATION", _AGED.sub("AGE", text))
    return re.sub(r"hmac:[0-9a-f]+|\(new\)|\(some value\)", "VALUE", text) if case.fresh else text
