# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Consumers are looked at before anything is begun: a rotation that could not tell one of them is not started."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate.databases import Database
from estate.pgbouncer import PgBouncer
from estate.playbook import Ansible, PlaybookResult
from rotation import CREDENTIAL, FORCE, Estate

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Estate]
CHECK = "Check every gate, reach everything, write nothing"


@pytest.fixture
def make(
    scratch: Path,
    database: Database,
    ansible: Ansible,
    pgbouncer_factory: Callable[..., PgBouncer],
) -> Maker:
    """Makes the estate of an adopted credential behind PgBouncer, whose application nobody runs."""

    def maker(auth: str = "userlist", strategy: str = "alternate_roles", **ini: Any) -> Estate:
        name = f"{database.name}_a"
        password = database.create_login(name)
        users = {name: database.verifier(name) or ""}
        pooler = pgbouncer_factory(
            database.server, auth=auth, database=database.name, users=users, **ini
        )
        made = Estate(scratch, database, ansible, pooler, strategy=strategy)
        *others, app = made.definition()["keyturn_consumers"]
        made.variables["keyturn_consumers"] = [*others, {**app, "argv": ["true"]}]
        made.hand_over(name, password)
        # Writes the inventory anew, too.
        made.add_probe({"type": "command", "argv": ["true"]})
        made.adopt()
        return made

    return maker


def machine(estate: Estate, **variables: Any) -> None:
    """Say how the machine app1 is reached."""
    hosts = {"all": {"hosts": {"app1": variables}}}
    (estate.folder / "inventory" / "machines.yml").write_text(yaml.safe_dump(hosts))


def refused(estate: Estate) -> str:
    """What a rotation is refused with, in a dry run and for real, without anything being begun."""
    before = estate.snapshot()
    said = []
    for arguments in (["--check"], []):
        run = estate.run("rotate_db", *arguments, extra=FORCE).check(2)
        said.append(re.findall(r"\d gates? (?:is|are) closed\. (.*)", run.stdout)[-1])
        after = estate.snapshot()
        untouched = [
            key for key in before if key not in (str(estate.keyring_path), str(estate.ledger_path))
        ]
        assert [after[key] for key in untouched] == [before[key] for key in untouched]
        document = estate.document()
        assert document.pending is None and document.claim is None
    # How many others are connected may differ by one that is just leaving, and ssh's own words by when it was refused.
    varies = r"others use \d+ now|\d+ too many|Data could not be sent.*?See to"
    assert len({re.sub(varies, "", text) for text in said}) == 1, "\n".join(said)
    assert "stage" not in estate.phases()
    return said[1]


def statuses(run: PlaybookResult) -> list[str]:
    """Each task with how it ended, in order."""
    found, name = [], ""
    for line in run.stdout.splitlines():
        heading = re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line)
        ended = re.match(r"(ok|changed|skipping|failed|fatal): \[", line)
        if heading:
            name = heading.group(1).rpartition(" : ")[2]
        elif ended:
            found.append(f"{ended.group(1)}: {name}")
    return found


def test_a_machine_that_cannot_be_reached(make: Maker) -> None:
    estate = make()
    machine(estate, ansible_host="127.0.0.1", ansible_port=9, ansible_connection="ssh")
    estate.add_consumer({"name": "far", "type": "command", "host": "app1", "argv": ["true"]})
    told = refused(estate)
    assert told.startswith("(1) consumers: the host of this task cannot be reached: ")
    assert "See to the connection to app1, then run the same playbook again" in told
    machine(estate, ansible_connection="local")
    dry = estate.run("rotate_db", "--check", "--diff", extra=FORCE).check()
    real = estate.run("rotate_db", "--diff", extra=FORCE).check()
    assert statuses(dry) == statuses(real)
    assert real.steps.count(CHECK) == 1
    assert statuses(real).count("ok: Look at the consumers on their hosts") == 1
    assert estate.accepts("current")


@pytest.mark.parametrize("auth", ["userlist", "auth_query"])
def test_a_pooler_without_room_for_two_pools(make: Maker, auth: str) -> None:
    estate = make(auth, default_pool_size=60)
    told = refused(estate)
    assert told.startswith("(1) consumers: consumer pooler: headroom: ")
    assert "two pools of 60" in told and "raise max_connections" in told
    # With one role there is one pool, and what is in use needs none beside its own.
    estate.run("rotate_db", "--tags", "promote").check()


def test_one_role_needs_one_pool(make: Maker) -> None:
    estate = make(strategy="same_role", default_pool_size=60)
    estate.run("rotate_db", extra=FORCE).check()
    assert estate.accepts("current")


def test_everybody_who_could_not_be_told_is_named_at_once(make: Maker) -> None:
    estate = make()
    assert estate.pooler
    path = estate.folder / "pooler-admin.json"
    right = path.read_text()
    path.write_text(json.dumps({**json.loads(right), "password": secrets.token_urlsafe(9)}))
    gone = str(estate.folder / "gone")
    estate.add_consumer({"name": "tool", "type": "command", "argv": [gone]})
    estate.add_consumer({"name": "place", "type": "command", "argv": ["true"], "chdir": gone})
    estate.add_consumer({"name": "unit", "type": "systemd", "unit": "keyturn-no-such.service"})
    told = refused(estate)
    assert told.startswith("(1) consumers: consumer pooler: PgBouncer's admin console: ")
    assert "SASL authentication failed; check option admin" in told
    assert f"consumer tool: program {gone} was not found on this host" in told
    assert f"consumer place: directory {gone} was not found on this host" in told
    assert "consumer unit: " in told and "consumer app" not in told
    path.write_text(right)
    listed = estate.pooler.userlist_path
    listed.rename(gone)
    with_file = estate.run("rotate_db", extra=FORCE).check(2)
    assert f"consumer pooler: userlist: {listed} does not exist" in with_file.stdout
    Path(gone).rename(listed)


def test_a_rollback_is_only_warned(make: Maker) -> None:
    """What is rolled back may be what repairs it: here, a consumer that is told earlier."""
    estate = make()
    tool, true = estate.folder / "tool", shutil.which("true")
    maker = {"name": "maker", "type": "command", "argv": ["ln", "-sf", true, str(tool)]}
    estate.add_consumer(maker)
    estate.add_consumer(
        {"name": "tool", "type": "command", "argv": [str(tool)], "after": ["maker"]}
    )
    tool.symlink_to(str(true))
    estate.run("rotate_db", extra=FORCE).check()
    tool.unlink()
    back = estate.run("rollback").check()
    assert f"{CREDENTIAL}: consumer tool: program" in " ".join(back.output.split())
    assert estate.accepts("current") and tool.exists()
