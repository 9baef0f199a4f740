# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/security.md says: its policies and statements are read out of the page and tried, so that the two cannot part."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._postgres_role import (
    PostgresRole,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedures import (
    CHECK,
    NOTE,
    PROCEDURES,
    RELEASE,
    RETURN,
    TELL,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import Store, open_store
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible
from estate.vault import VaultSaysNo, VaultServer
from rotation import CREDENTIAL, FORCE, Estate

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
DOCS = sorted(PAGE.parent.glob("*.md"))
ROLE = PAGE.parents[1] / "roles" / "keyturn"
OPTION = "keyturn_keyring"


def block(kind: str, heading: str) -> str:
    """The first block of code of a kind below a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)
    assert found, (kind, heading)
    return found.group(1)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_test_that_the_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    folder = Path(__file__).parents[1]
    files = sorted(
        set(
            re.findall(
                r"(?:unit|integration|faults|stores|leaks|dryrun|badinput)/test_\w+\.py", text
            )
        )
    )
    assert [name for name in files if not (folder / name).is_file()] == []
    code = "".join((folder / name).read_text(encoding="utf-8") for name in files)
    names = set(re.findall(r"`(test_\w+|Test\w+)`", text))
    assert not [it for it in names if f"def {it}(" not in code and f"class {it}:" not in code]
    assert names or page.name not in ("database.md", "security.md")


def test_every_task_that_the_page_names_is_there() -> None:
    text = (PAGE.parent / "database.md").read_text(encoding="utf-8")
    quoted = set(re.findall(r"`([A-Z][a-z][^`\n]*)`", text))
    role = "".join(path.read_text(encoding="utf-8") for path in ROLE.rglob("*.yml"))
    tasks = re.findall(r"^ *- name: (.+)$", role, re.MULTILINE)
    tasks += [
        step.name
        for steps in (*PROCEDURES.values(), (CHECK, RELEASE, NOTE, TELL), RETURN)
        for step in steps
    ]
    patterns = {name: re.escape(name).replace("…", ".+") for name in quoted}
    assert len(quoted) > 5
    assert [
        name
        for name, pattern in patterns.items()
        if not any(re.fullmatch(pattern, task) for task in tasks)
    ] == []


def policy(mount: str) -> str:
    return block("hcl", "The least rights in Vault").replace('"secret/', f'"{mount}/')


def statements(database: Database) -> list[str]:
    """The page's statements for this server's version, with the names of this database."""
    modern = int(database.server.version) >= 16
    heading = "PostgreSQL 16 and later" if modern else "PostgreSQL 15 and earlier"
    text = _sql(heading)
    names = {
        "keyturn_admin": f"{database.name}_admin",
        "musehub_owner": database.owner,
        "musehub_a": f"{database.name}_a",
    }
    for old, new in names.items():
        text = text.replace(old, new)
    return [" ".join(line.split()) for line in text.split(";") if line.strip()]


def _sql(heading: str) -> str:
    found = re.search(
        rf"{heading}:\n\n```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert found, heading
    return re.sub(r"--.*", "", found.group(1))


def store(vault: VaultServer, mount: str, token: str) -> Store:
    context = Context(environ={"VAULT_ADDR": vault.address, "VAULT_TOKEN": token})
    reference = parse_reference(f"ref+vault://{mount}/keyrings/db_app", OPTION)
    return open_store(reference, context, OPTION)


ONE, TWO = '{\n "step": 1\n}\n', '{\n "step": 2\n}\n'


def test_the_vault_policy_is_enough_for_a_keyring_and_for_nothing_else(
    vault: VaultServer, vault_mount: str
) -> None:
    token = vault.token(policy(vault_mount))
    mine = store(vault, vault_mount, token)
    assert mine.read() is None
    version = mine.write(ONE, None)
    assert mine.read() == (ONE, version)
    assert mine.write(TWO, version) == "2"
    for method, path in (
        ("DELETE", "data/keyrings/db_app"),
        ("POST", "destroy/keyrings/db_app"),
        ("DELETE", "metadata/keyrings/db_app"),
        ("GET", "metadata/keyrings?list=true"),
        ("GET", "data/elsewhere"),
        ("POST", "data/postgres/admin"),
    ):
        body = {"versions": [1], "data": {}} if method == "POST" else None
        with pytest.raises(VaultSaysNo) as caught:
            vault.request(method, f"{vault_mount}/{path}", body, token=token)
        assert caught.value.status == 403, path


def use(keyring: Store) -> None:
    """Make, read and change a keyring."""
    version = keyring.write(ONE, None)
    assert keyring.read() == (ONE, version)
    keyring.write(TWO, version)


@pytest.mark.parametrize("right", ["create", "read", "update"])
def test_each_right_of_the_vault_policy_is_needed(
    vault: VaultServer, vault_mount: str, right: str
) -> None:
    rules = policy(vault_mount)
    less = re.sub(rf'("{right}", )|(, "{right}")', "", rules, count=1)
    assert less != rules
    mine = store(vault, vault_mount, vault.token(less))
    with pytest.raises(Denied):
        use(mine)


def test_a_keyring_that_vault_deletes_by_age_is_gone(vault: VaultServer, vault_mount: str) -> None:
    mine = store(vault, vault_mount, vault.root_token)
    vault.request("POST", f"{vault_mount}/metadata/keyrings/db_app", {"delete_version_after": "1s"})
    mine.write(ONE, None)
    until = time.monotonic() + 10
    while mine.read() is not None:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_max_versions_bounds_how_many_old_values_vault_keeps(
    vault: VaultServer, vault_mount: str
) -> None:
    path = f"{vault_mount}/data/keyrings/db_app"
    mine = store(vault, vault_mount, vault.token(policy(vault_mount)))
    vault.request("POST", f"{vault_mount}/metadata/keyrings/db_app", {"max_versions": 2})
    version = None
    for number in range(4):
        version = mine.write(f'{{\n "step": {number}\n}}\n', version)
    with pytest.raises(VaultSaysNo) as caught:
        vault.request("GET", f"{path}?version=2")
    assert caught.value.status == 404
    vault.request("GET", f"{path}?version=3")


def issuer(database: Database, admin: str, password: str) -> tuple[PostgresRole, list[str]]:
    server, warnings = database.server, list[str]()
    login = {"host": server.host, "port": server.port, "dbname": database.name}
    body = {
        "type": "postgres_role",
        "roles": [f"{database.name}_a", f"{database.name}_b"],
        "owner_role": database.owner,
        "login": {**login, "admin": {"username": admin, "password": password}},
    }
    context = Context(warn=warnings.append)
    return PostgresRole.from_definition(body, context, "keyturn_issuer"), warnings


def make_admin(database: Database, without: str = "") -> str:
    """The administrator that the page describes; its password."""
    made = [text for text in statements(database) if not without or without not in text]
    password = database.create_login(f"{database.name}_admin", member_of_owner=False)
    for statement in made:
        # The login itself is made with a password that no log shows.
        database.execute(statement.replace("CREATE ROLE", "ALTER ROLE"))
    return password


def test_the_administrator_of_the_page_may_do_what_a_rotation_takes(database: Database) -> None:
    old = database.create_login(f"{database.name}_a")
    password = make_admin(database)
    admin = f"{database.name}_admin"
    assert database.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (admin,)) == [
        (False,)
    ]
    role, warnings = issuer(database, admin, password)
    context = Context(warn=warnings.append)
    fields = role.adopt({"username": f"{database.name}_a", "password": Secret(old)}, context)
    document = Document("db_app", bytes(32), current=Stage("r0", "observed", fields))
    assert role.check(document, context) == []
    assert warnings == []


@pytest.mark.pg_versions("15", "16")
@pytest.mark.parametrize("number", range(8))
def test_each_statement_of_the_page_is_needed(database: Database, number: int) -> None:
    wanted = statements(database)
    if number >= len(wanted):
        return
    left_out = wanted[number]
    old = database.create_login(f"{database.name}_a")
    password = make_admin(database, without=left_out)
    role, warnings = issuer(database, f"{database.name}_admin", password)
    context = Context(warn=warnings.append)
    fields = role.adopt({"username": f"{database.name}_a", "password": Secret(old)}, context)
    document = Document("db_app", bytes(32), current=Stage("r0", "observed", fields))
    assert role.check(document, context) or warnings, left_out


@pytest.mark.pg_versions("16")
def test_a_rotation_with_the_least_rights(
    scratch: Path,
    database: Database,
    ansible: Ansible,
    pgbouncer_factory: Callable[..., PgBouncer],
    vault: VaultServer,
    vault_mount: str,
) -> None:
    first = f"{database.name}_a"
    old = database.create_login(first)
    password = make_admin(database)
    admin = {"username": f"{database.name}_admin", "password": password}
    vault.request("POST", f"{vault_mount}/data/postgres/admin", {"data": admin})
    users = {first: database.verifier(first) or ""}
    pooler = pgbouncer_factory(database.server, database=database.name, users=users)
    variables: dict[str, Any] = {
        "keyturn_keyring": f"ref+vault://{vault_mount}/keyrings/{CREDENTIAL}"
    }
    estate = Estate(scratch, database, ansible, pooler)
    definition = estate.definition()["keyturn_issuer"]
    definition["login"]["admin"] = f"ref+vault://{vault_mount}/postgres/admin"
    estate.variables.update(variables, keyturn_issuer=definition)
    estate._write_inventory()
    estate.hand_over(first, old)
    token = vault.token(policy(vault_mount))
    env = {"VAULT_ADDR": vault.address, "VAULT_TOKEN": token}
    with estate.client:
        runs = [
            estate.run("adopt", extra=estate.adoption, **env).check(),
            estate.run("rotate_db", "-vvvv", extra=FORCE, **env).check(),
            estate.run("retire_due", **env).check(),
        ]
    kept = vault.request("GET", f"{vault_mount}/data/keyrings/{CREDENTIAL}")["data"]["data"]
    current = parse_document(json.dumps(kept)).stage("current")
    assert current is not None
    new = reveal(current.fields["password"])
    text = json.dumps([run.output for run in runs]) + ansible.log()
    seen = {"old": old, "new": new, "token": token, "admin": password}
    assert not [name for name, value in seen.items() if value in text]
    log = database.server.log()
    assert not [name for name, value in seen.items() if value in log]
    # log_statement=all: the verifier stands there, from which nobody can log in.
    assert str(database.verifier(f"{database.name}_b")) in log
    for path in (estate.ledger_path, estate.env_file, pooler.userlist_path):
        assert path.stat().st_mode & 0o777 == 0o600, path


@pytest.mark.pg_versions("16")
@pytest.mark.parametrize("verbose", [0, 2])
def test_what_pgbouncer_writes_of_secrets(
    database: Database, pgbouncer_factory: Callable[..., PgBouncer], verbose: int
) -> None:
    password = database.create_login(f"{database.name}_a")
    pooler = pgbouncer_factory(
        database.server, auth="auth_query", database=database.name, verbose=verbose
    )
    connection = pooler.connect(f"{database.name}_a", password)
    connection.cursor().execute("SELECT 1")
    connection.close()
    log = pooler.log()
    assert password not in log
    assert (str(database.verifier(f"{database.name}_a")) in log) is bool(verbose)
