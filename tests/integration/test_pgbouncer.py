# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``pgbouncer`` on a real PgBouncer in front of real servers: what is written, seen, refused and put back."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    ProbeFailed,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Claim,
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer import MODULE, SPEC
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible
from estate.users import server_user

Start = Callable[..., PgBouncer]
COMMENTS = ("; who may log in", '"monitoring"   "md5none"  extra "words" ; kept')


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


class Pool:
    """A PgBouncer, roles of its database, and calls of the module's core."""

    def __init__(self, database: Database, start: Start, **options: Any) -> None:
        self.database = database
        self.pooler = start(database.server, database=database.name, **options)
        self.passwords: dict[str, str] = {}
        self.verifiers: dict[str, str] = {}
        self.warnings: list[str] = []

    @property
    def path(self) -> Path:
        return self.pooler.userlist_path

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()

    def role(self, name: str = "") -> str:
        """A new role; its name."""
        name = name or f"app_{secrets.token_hex(4)}"
        self.passwords[name] = self.database.create_login(name)
        self.verifiers[name] = str(self.database.verifier(name))
        return name

    def listed(self, *names: str) -> None:
        """Have PgBouncer know these roles, and no others, among other lines."""
        self.write({name: self.verifiers[name] for name in names})
        self.pooler.reload()

    def write(self, users: dict[str, str], keep: Sequence[str] = COMMENTS) -> None:
        self.pooler.write_userlist(users, keep)

    def accepts(self, name: str) -> bool:
        try:
            connection = self.pooler.connect(name, self.passwords[name])
        except psycopg2.OperationalError:
            return False
        connection.cursor().execute("SELECT 1")
        connection.close()
        return True

    def entry(self, name: str, **changes: Any) -> dict[str, Any]:
        return {"name": name, "secret": self.verifiers[name], **changes}

    def login(self, name: str, **changes: Any) -> dict[str, Any]:
        password = self.passwords[name]
        own = {"username": name, "password": password, "dbname": self.database.name}
        return {**own, "expect": "accepted", **changes}

    def params(self, **params: Any) -> dict[str, Any]:
        own = {name: option.get("default") for name, option in SPEC.items()}
        admin = {
            "port": self.pooler.port,
            "username": self.pooler.admin_user,
            "password": self.pooler.admin_password,
        }
        run = {"run_id": "me", "host": "here"}
        given = {"userlist": str(self.path), "admin_login": admin, "timeout": "5s", "run": run}
        return {**own, **given, **params}

    def __call__(self, check_mode: bool = False, **params: Any) -> dict[str, Any]:
        context = Context(check_mode, diff=True, warn=self.warnings.append)
        try:
            result = execute(MODULE, self.params(**params), context)
        except KeyturnError as error:
            self.no_secret_in(error.message + json.dumps(error.details) + str(self.warnings))
            raise
        self.no_secret_in(json.dumps(result) + str(self.warnings))
        return result

    def no_secret_in(self, text: str) -> None:
        hidden = [*self.passwords.values(), *self.verifiers.values(), self.pooler.admin_password]
        assert not [value for value in hidden if value in text]

    def quartet(self, **params: Any) -> dict[str, Any]:
        """Check, apply, check again, apply again; gives what apply said."""
        before = self.content
        predicted = self(check_mode=True, **params)
        assert self.content == before
        assert predicted["changed"] and predicted["reloaded"]
        done = self(**params)
        assert {**predicted, "diff": 0, "verified": 0} == {**done, "diff": 0, "verified": 0}
        after = self.content
        inode = self.path.stat().st_ino
        for check_mode in (True, False):
            again = self(check_mode=check_mode, **params)
            assert not again["changed"] and not again["reloaded"] and "diff" not in again
            assert again["verified"] == done["verified"]
        assert (self.content, self.path.stat().st_ino) == (after, inode)
        return done


@pytest.fixture
def pool(database: Database, pgbouncer_factory: Start) -> Pool:
    return Pool(database, pgbouncer_factory)


class Keyring:
    """A keyring in a file over the roles of a pool."""

    def __init__(self, folder: Path, pool: Pool) -> None:
        self.path = folder / "keyring.json"
        self.pool = pool
        self.document = Document("db_app", secrets.token_bytes(32))

    def stage(self, name: str, status: str, **changes: Any) -> Stage:
        fields = {
            "username": name,
            "password": Secret(self.pool.passwords[name]),
            "verifier": Secret(self.pool.verifiers[name]),
        }
        return self.document.with_fingerprints(Stage("r1", status, fields, **changes))

    def save(self, **changes: Any) -> None:
        self.document = replace(self.document, **changes)
        self.path.touch(mode=0o600)
        self.path.write_text(dump_text(self.document))

    def params(self, *roles: str, **params: Any) -> dict[str, Any]:
        login = {"dbname": self.pool.database.name}
        issuer = {"type": "postgres_role", "roles": list(roles), "login": login}
        own = {"keyring": f"ref+file://{self.path}", "credential": "db_app", "issuer": issuer}
        return {**own, "login": {"port": self.pool.pooler.port}, **params}


def test_check_apply_check_apply_through_a_rotation(pool: Pool, tmp_path: Path) -> None:
    a, b = pool.role(), pool.role('odd "name; x')
    pool.listed(a)
    keyring = Keyring(tmp_path, pool)
    others, owner = pool.content, pool.path.stat()

    keyring.save(current=keyring.stage(a, "observed"), pending=keyring.stage(b, "applied"))
    done = pool.quartet(**keyring.params(a, b))
    assert done["changes"] == [{"name": b, "action": "added"}]
    assert pool.content == others + f"{quoted(b)} {quoted(pool.verifiers[b])}\n".encode()
    assert [item["expected"] for item in done["verified"]] == ["accepted", "accepted"]
    shown = keyring.stage(b, "applied").fingerprints["verifier"]
    assert f"{b} {shown}\n" in done["diff"]["after"]
    assert b not in done["diff"]["before"] and f"{a} hmac:" in done["diff"]["before"]

    previous = keyring.stage(a, "retiring")
    keyring.save(pending=None, current=keyring.stage(b, "observed"), previous=previous)
    done = pool.quartet(**keyring.params(a, b))
    assert done["changes"] == [{"name": a, "action": "removed"}]
    seen = {item["username"]: item["expected"] for item in done["verified"]}
    assert seen == {b: "accepted", a: "refused"}
    assert (pool.accepts(a), pool.accepts(b)) == (False, True)
    assert b"\n".join(line.encode() for line in COMMENTS) in pool.content
    now = pool.path.stat()
    assert (now.st_uid, now.st_gid, now.st_mode) == (owner.st_uid, owner.st_gid, owner.st_mode)
    assert "PAUSE" not in pool.pooler.log().upper()


@pytest.mark.pg_versions("16")
def test_a_value_that_is_not_made_yet_is_shown_as_new(pool: Pool, tmp_path: Path) -> None:
    a = pool.role()
    pool.listed(a)
    keyring = Keyring(tmp_path, pool)
    keyring.save(current=keyring.stage(a, "observed"))
    replay = [
        {"transition": "stage", "fields": {"username": "next"}, "secret_fields": ["password", "verifier"]},
        {"transition": "applied", "fields": {}, "secret_fields": []},
    ]  # fmt: skip
    rest = {"rotation_id": "r2", "definition": "d", "overlap": True, "receipts": {}, "notices": {}}
    rest.update(retain=False, take_over=False, holder_dead=False, evidence=[], grace=0, made=None)
    rest.update(ends=False, returns=True, handed=False)
    steps = [{**rest, **step} for step in replay]
    result = pool(check_mode=True, **keyring.params(a, "next"), replay=steps)
    assert result["changes"] == [{"name": "next", "action": "added"}]
    assert "next (new)\n" in result["diff"]["after"]


@pytest.mark.pg_versions("16")
@pytest.mark.parametrize("mine", [True, False], ids=["lost", "another run's"])
def test_without_the_claim_nothing_is_written(pool: Pool, tmp_path: Path, mine: bool) -> None:
    a = pool.role()
    pool.listed()
    keyring = Keyring(tmp_path, pool)
    now = Context().now()
    claim = Claim("me" if mine else "other", "there", 1, "boot", "", now, now.replace(year=2999))
    keyring.save(current=keyring.stage(a, "observed"), claim=claim)
    before = pool.content
    if mine:
        assert pool(**keyring.params(a))["changed"]
        return
    with pytest.raises((Conflict, Refused), match="another run"):
        pool(**keyring.params(a))
    assert pool.content == before


@pytest.mark.pg_versions("16")
def test_a_broken_line_is_refused_before_anything_is_written(pool: Pool) -> None:
    a, b = pool.role(), pool.role()
    pool.listed(a)
    lines = pool.content + f'"torn" "half\n{quoted("last")} "x"\n'.encode()
    pool.path.write_bytes(lines)
    with pytest.raises(BadInput, match=r"line 5: .* Nothing was written"):
        pool(entries=[pool.entry(b)], verify=[pool.login(b)])
    assert pool.content == lines
    assert pool.accepts(a), "PgBouncer was not made to read it"


@pytest.mark.pg_versions("16")
def test_a_login_that_fails_puts_the_previous_file_back(pool: Pool) -> None:
    a, b = pool.role(), pool.role()
    pool.listed(a)
    before, mode = pool.content, pool.path.stat().st_mode
    wrong = pool.entry(b, secret=pool.verifiers[a])
    with pytest.raises(ProbeFailed, match="put back and reloaded") as caught:
        pool(entries=[wrong], verify=[pool.login(a), pool.login(b)])
    assert f"login of {b}" in caught.value.message and "SASL" in caught.value.message
    assert (pool.content, pool.path.stat().st_mode) == (before, mode)
    assert pool.accepts(a) and not pool.accepts(b)


@pytest.mark.pg_versions("16")
def test_a_login_is_kept_working_and_one_that_is_broken_stops_nothing(pool: Pool) -> None:
    a, b, c = (pool.role() for _number in range(3))
    pool.listed(a)
    torn = {"entries": [pool.entry(b), pool.entry(a, secret="another")]}
    verify = [pool.login(b), pool.login(a, expect="kept")]
    with pytest.raises(ProbeFailed, match=f"login of {a} .* put back"):
        pool(**torn, verify=verify)
    assert pool.accepts(a)
    pool.quartet(entries=[pool.entry(b)], verify=[pool.login(b), pool.login(c, expect="kept")])
    assert any(f"the login of {c} " in told for told in pool.warnings)
    assert any("max_connections was not compared" in told for told in pool.warnings)


@pytest.mark.pg_versions("16")
def test_what_the_server_refuses_is_put_back_too(pool: Pool) -> None:
    a, b = pool.role(), pool.role()
    pool.listed(a)
    before = pool.content
    pool.database.execute(f'ALTER ROLE "{b}" NOLOGIN')
    with pytest.raises(KeyturnError, match="put back"):
        pool(entries=[pool.entry(b)], verify=[pool.login(b)], timeout="1s")
    assert pool.content == before


@pytest.mark.pg_versions("16")
def test_a_lost_reload_is_made_up_for(pool: Pool) -> None:
    a, b = pool.role(), pool.role()
    pool.listed(a)
    pool.write({a: pool.verifiers[a], b: pool.verifiers[b]})
    added = {"entries": [pool.entry(b)], "verify": [pool.login(b)]}
    assert not pool.accepts(b)
    assert pool(check_mode=True, **added)["reloaded"] and not pool.accepts(b)
    result = pool(**added)
    assert result["changed"] and result["reloaded"] and not result["changes"]
    assert pool.accepts(b)

    pool.write({a: pool.verifiers[a]})
    removed = {"absent": [b], "verify": [pool.login(a), pool.login(b, expect="refused")]}
    assert pool.accepts(b)
    assert pool(**removed)["reloaded"]
    assert not pool.accepts(b)
    assert not pool(**removed)["changed"]


@pytest.mark.pg_versions("16")
def test_a_name_without_a_password_is_looked_for_in_the_list(pool: Pool) -> None:
    b = pool.role()
    pool.listed()
    done = pool.quartet(entries=[pool.entry(b)])
    (seen,) = done["verified"]
    assert (seen["expected"], seen["by"]) == ("listed", "SHOW USERS")
    pool.write({b: pool.verifiers[b], "late": "x"})
    assert pool(entries=[pool.entry(b), {"name": "late", "secret": "x"}])["reloaded"]


@pytest.mark.pg_versions("16")
def test_who_may_not_reload_changes_nothing(pool: Pool) -> None:
    a = pool.role()
    pool.listed(a)
    before = pool.content
    asked = {"entries": [{"name": "x", "secret": "y"}]}
    login = {"port": pool.pooler.port, "username": a, "password": pool.passwords[a]}
    for check_mode in (True, False):
        with pytest.raises(Denied, match="not allowed; check option admin"):
            pool(check_mode, **asked, admin_login=login)
        admin = {**login, "username": pool.pooler.admin_user}
        with pytest.raises(Denied, match="SASL authentication failed; check option admin"):
            pool(check_mode, **asked, admin_login=admin)
        with pytest.raises(Unreachable, match="nothing listens there"):
            pool(check_mode, **asked, admin_login={**login, "port": 1})
        with pytest.raises(BadInput, match="admin: missing"):
            pool(check_mode, **asked, admin_login={})
        with pytest.raises(Refused, match="with whom this module itself reloads"):
            pool(check_mode, absent=[pool.pooler.admin_user])
    assert pool.content == before


@pytest.mark.pg_versions("16")
def test_a_file_that_is_not_there_or_a_link_is_refused(pool: Pool, tmp_path: Path) -> None:
    pool.listed()
    link = tmp_path / "link"
    link.symlink_to(pool.path)
    for check_mode in (True, False):
        with pytest.raises(Absent, match="does not exist; correct the path"):
            pool(check_mode, userlist=str(tmp_path / "none"))
        with pytest.raises(BadInput, match="is a symbolic link to"):
            pool(check_mode, userlist=str(link))
    assert os.listdir(tmp_path) == ["link"]


@pytest.mark.pg_versions("16")
def test_rights_of_others_are_taken_away_with_a_warning(pool: Pool) -> None:
    pool.listed()
    pool.path.chmod(0o644)
    pool(entries=[{"name": "x", "secret": "y"}])
    assert pool.path.stat().st_mode & 0o777 == 0o640
    assert any("every user of this host may read" in told for told in pool.warnings)


@pytest.mark.pg_versions("16")
def test_references_are_resolved(pool: Pool, tmp_path: Path) -> None:
    b = pool.role()
    pool.listed()
    admin = {"username": pool.pooler.admin_user, "password": pool.pooler.admin_password}
    given = {"admin": {**admin, "port": pool.pooler.port}, "app": {"password": pool.passwords[b]}}
    for name, body in given.items():
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(json.dumps(body))
    password = f"ref+file://{tmp_path}/app#/password"
    result = pool(
        entries=[pool.entry(b)],
        verify=[pool.login(b, password=password)],
        admin=f"ref+file://{tmp_path}/admin",
        admin_login={},
    )
    assert result["changed"] and pool.accepts(b)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"default_pool_size": 60}, r"two pools of 60 for database .* need 120: \d+ too many"),
        ({"max_db_connections": 15}, r"allows 15 connections .* two pools of 10 need 20"),
        ({"max_user_connections": 70, "default_pool_size": 90, "reserve_pool_size": 5}, "of 70 "),
    ],
)
@pytest.mark.pg_versions("16")
def test_limits_that_do_not_bear_a_second_pool_are_told_before(
    database: Database, pgbouncer_factory: Start, settings: dict[str, int], told: str
) -> None:
    pool = Pool(database, pgbouncer_factory, **settings)
    a, b = pool.role(), pool.role()
    pool.listed(a)
    before = pool.content
    asked = {"entries": [pool.entry(b)], "verify": [pool.login(a), pool.login(b)]}
    for check_mode in (True, False):
        with pytest.raises(Refused, match=told):
            pool(check_mode, **asked)
    assert pool.content == before
    assert pool(**asked, headroom="warn")["changed"]
    assert len([line for line in pool.warnings if "headroom" in line]) == 1
    assert not pool(**asked)["changed"], "what is in force already is not asked about again"


@pytest.mark.pg_versions("16")
def test_with_auth_query_nothing_is_written_and_the_logins_are_tried(
    database: Database, pgbouncer_factory: Start
) -> None:
    pool = Pool(database, pgbouncer_factory, auth="auth_query")
    a, b = pool.role(), pool.role()
    before = pool.content
    asked = {"auth": "auth_query", "userlist": None, "verify": [pool.login(a), pool.login(b)]}
    for check_mode in (True, False):
        result = pool(check_mode, **asked)
        assert not result["changed"]
        assert [item["by"] for item in result["verified"]] == ["login", "login"]
    assert not pool(**asked, admin_login={"port": pool.pooler.port})["changed"]
    pool.passwords[b] = f"wrong-{secrets.token_hex(8)}"
    with pytest.raises(ProbeFailed, match=f"auth_query is as asked, but login of {b}"):
        pool(**{**asked, "verify": [pool.login(b)]})
    with pytest.raises(BadInput, match="leave entries and absent out"):
        pool(**asked, absent=["x"])
    assert pool.content == before


@pytest.mark.pg_versions("16")
def test_writers_at_the_same_time_lose_nothing_and_clients_notice_nothing(pool: Pool) -> None:
    a = pool.role()
    pool.listed(a)
    stop, failed = threading.Event(), []

    def log_in() -> None:
        while not stop.is_set():
            failed.append(not pool.accepts(a))

    client = threading.Thread(target=log_in)
    client.start()
    names = [f"n{number}" for number in range(6)]
    with ThreadPoolExecutor(6) as workers:
        asked = [{"entries": [{"name": name, "secret": f"s-{name}-secret"}]} for name in names]
        done = list(workers.map(lambda it: pool(**it, headroom="skip"), asked))
    stop.set()
    client.join()
    assert all(it["changed"] for it in done)
    assert sorted(line.split()[0] for line in pool.content.decode().splitlines()[-6:]) == sorted(
        quoted(name) for name in names
    )
    assert failed and not any(failed)
    assert not list(pool.path.parent.glob(".userlist.txt.keyturn-*"))


def play(pool: Pool, keyring: Keyring, roles: list[str], admin: Path) -> list[dict[str, Any]]:
    """Check, apply, check again, apply again, as tasks that show their difference."""
    params = {"userlist": str(pool.path), "admin": f"ref+file://{admin}", "timeout": "5s"}
    tasks: list[dict[str, Any]] = []
    for number, check_mode in enumerate((True, False, True, False)):
        told = f"done is {'changed' if number < 2 else 'not changed'}"
        tasks += [
            {
                "keyturn.runbooks.pgbouncer": keyring.params(*roles, **params),
                "check_mode": check_mode,
                "diff": True,
                "register": "done",
            },
            {"ansible.builtin.assert": {"that": [told]}},
        ]
    return [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]


@pytest.mark.pg_versions("16")
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "module"])
def test_check_apply_check_apply_in_a_playbook(
    pool: Pool, ansible: Ansible, tmp_path: Path, direct: bool
) -> None:
    a, b = pool.role(), pool.role()
    pool.listed(a)
    keyring = Keyring(tmp_path, pool)
    keyring.save(current=keyring.stage(a, "observed"), pending=keyring.stage(b, "applied"))
    admin = tmp_path / "admin.json"
    admin.touch(0o600)
    login = {"username": pool.pooler.admin_user, "password": pool.pooler.admin_password}
    admin.write_text(json.dumps(login))
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump(play(pool, keyring, [a, b], admin)))
    result = ansible.run(str(playbook), "-vvv", extra_vars={"keyturn_direct": direct}).check()
    assert pool.accepts(a) and pool.accepts(b)
    assert pool.content.count(pool.verifiers[b].encode()) == 1
    assert f"+{b} {keyring.stage(b, 'applied').fingerprints['verifier']}" in result.stdout
    pool.no_secret_in(result.output + ansible.log())
    assert not ansible.leftovers()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can keep another user's file")
@pytest.mark.pg_versions("16")
def test_the_owner_stays(pool: Pool) -> None:
    pool.listed()
    user = server_user()
    pool(entries=[{"name": "x", "secret": "y"}])
    assert user is None or pool.path.stat().st_uid != 0
