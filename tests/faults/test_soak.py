# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotation after rotation under load, while runs die at any moment, servers restart and connections run out."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest
from course import Course
from estate.playbook import RunningPlaybook
from rotation import CREDENTIAL, FORCE
from told import TOLD

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
Act = Callable[[], object]
SOAK = bool(os.environ.get("KEYTURN_SOAK"))
ROTATIONS = int(os.environ.get("KEYTURN_ROTATIONS") or (200 if SOAK else 3))
# The short one is the same each time: a run is killed, and the server restarts under another.
SHORT_SEED = "15"
TRIES = 4
# The first rotation tells more consumers than those after it.
SHARE = 0.7
RESTARTS = ("pooler", "server")
KINDS = ("nothing", "kill", "kill", "reload", "crowd", *RESTARTS)
# A client whose connection goes away has an error of its driver's own while it rolls back.
LOST = re.compile(
    r"failed_transactions: InterfaceError"
    r"|failed_(logins|transactions): OperationalError: (connection closed|connection ended|refused)"
)
# A client names no reason of its own for these: PgBouncer's log says why it closed each connection.
UNNAMED = re.compile(r"failed_(logins|transactions): OperationalError")
CLOSED = re.compile(r" C-\S+: \S+ closing because: (.*) \(age=")
# A rotation itself tries a wrong password, to see that it is refused; an application that is refused so says it in its own words.
CLOSED_BY_RESTART = re.compile(
    r"SASL authentication failed|client close request|client unexpected eof"
    r"|server login has been failing, try again later \(server_login_retry\)"
    r"|server conn crashed\?|server_login_retry"
    r"|(server login failed: )?FATAL:? the database system is (shutting down|starting up)"
    r"|terminating connection due to administrator command"
    # The server went away while its settings were made those of the client.
    r"|invalid server parameter"
)


def unexplained(kind: str, errors: Mapping[str, int], log: str = "") -> list[str]:
    """What failed while something restarted, and would not have failed by that alone.

    :param errors: the client's, each with its reason.
    :param log: what PgBouncer logged meanwhile.
    """
    if kind not in RESTARTS:
        return sorted(errors)
    others = sorted(name for name in errors if not LOST.fullmatch(name))
    if kind == "server":
        others = [name for name in others if not UNNAMED.fullmatch(name)]
    closed = CLOSED.findall(log) if errors else []
    return others + sorted({why for why in closed if not CLOSED_BY_RESTART.fullmatch(why)})


# Ansible packs modules there, which hold nothing of a run, and a killed one can't remove its own directory.
KEPT_MODULES = "ansiballz_cache"


class Chance:
    """The same draws for the same seed."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self._drawn = 0

    def below(self, end: float) -> float:
        """A number from 0 to below the end."""
        self._drawn += 1
        drawn = hashlib.sha256(f"{self.seed} {self._drawn}".encode()).digest()
        return end * int.from_bytes(drawn[:6], "big") / 2**48

    def choice(self, given: Sequence[str]) -> str:
        """One of them."""
        return given[int(self.below(len(given)))]


@contextmanager
def all_connections_taken(made: Course) -> Iterator[None]:
    """Every connection that an ordinary role can have is held."""
    server = made.estate.database.server
    name = f"{made.estate.prefix}_crowd"
    password = made.estate.database.create_login(name)
    held = []
    try:
        with suppress(psycopg2.OperationalError):
            while True:
                held.append(server.connect(made.estate.database.name, name, password))
        yield
    finally:
        for connection in held:
            connection.close()
        made.estate.database.execute(f'DROP ROLE "{name}"')


class Soak:
    """One credential that is rotated and retired again and again, and disturbed on the way.

    :ivar kinds: what happened, and how often.
    :ivar within: of these, those that happened to a run that was still at work.
    :ivar longest: seconds until something happens, at most: about what a rotation takes here.
    :ivar explained: what failed while something restarted.
    """

    def __init__(self, made: Course, seed: str) -> None:
        assert made.client and made.estate.pooler
        self.made, self.client, self.pooler = made, made.client, made.estate.pooler
        self.chance = Chance(seed)
        self.kinds: Counter[str] = Counter()
        self.within: Counter[str] = Counter()
        self.longest = 0.0
        self.explained: Counter[str] = Counter()

    def told(self) -> str:
        """One line about all of it."""
        words = {"kill": "kills", "reload": "reloads of the pooler", "crowd": "full servers"}
        words.update({kind: f"restarts of the {kind}" for kind in RESTARTS})
        counts = [
            f"{self.kinds[kind]} {name} ({self.within[kind]} while it ran)"
            for kind, name in words.items()
        ]
        return (
            f"soak: KEYTURN_SEED={self.chance.seed}, {self.kinds.total()} rotations, {', '.join(counts)}; "
            f"failed while something restarted: {dict(self.explained)}, else 0"
        )

    def measure(self) -> None:
        """One rotation that nothing happens to, so that what happens to others happens while they are at work."""
        first = self.made.estate.run("rotate_db", extra=FORCE).check()
        self.longest = SHARE * first.seconds
        self.made.estate.run("retire_due").check()
        self.kinds["nothing"] += 1

    def _begun(self, kind: str, moment: float) -> RunningPlaybook:
        """A rotation that was begun so long ago."""
        running = self.made.estate.start("rotate_db", FORCE)
        time.sleep(moment)
        self.within[kind] += running.running
        return running

    def disturb(self) -> str:
        """Begin a rotation and let something happen to it; returns what."""
        kind, moment = self.chance.choice(KINDS), self.chance.below(self.longest)
        print(f"{kind} after {moment:.2f} s")
        getattr(self, f"_{kind}")(moment)
        self.kinds[kind] += 1
        return kind

    def _nothing(self, _moment: float) -> None:
        self.made.estate.start("rotate_db", FORCE).wait()

    def _kill(self, moment: float) -> None:
        self._begun("kill", moment).kill()

    def _reload(self, moment: float) -> None:
        running = self._begun("reload", moment)
        self.pooler.reload()
        running.wait()

    def _pooler(self, moment: float) -> None:
        self._restart("pooler", self.pooler.restart, moment)

    def _server(self, moment: float) -> None:
        self._restart("server", self.made.estate.database.server.restart, moment)

    def _restart(self, kind: str, restart: Callable[[], object], moment: float) -> None:
        running = self._begun(kind, moment)
        before, logged = self._errors(), len(self.pooler.log())
        restart()
        # By then each of its connections had its turn.
        self.client.work(50)
        failed = self._errors() - before
        assert unexplained(kind, failed, self.pooler.log()[logged:]) == [], failed
        self.explained.update(failed)
        running.wait()

    def _crowd(self, _moment: float) -> None:
        with all_connections_taken(self.made):
            self._begun("crowd", 0).wait()

    def _errors(self) -> Counter[str]:
        """What failed so far, by its reason."""
        return Counter(self.client.status()["errors"])

    def settle(self, before: str) -> None:
        """What a person does: the same again until it is done, and the old value retired."""
        said = ""
        for _try in range(TRIES):
            document = self.made.estate.document()
            current = document.current
            begun = document.pending or current is None or current.rotation_id != before
            if document.previous and document.previous.failed:
                self.made.estate.run("retire_due")
            run = self.made.estate.run("rotate_db", extra=None if begun else FORCE)
            said = run.output
            current = self.made.estate.document().current
            done = current and current.status == "observed" and current.rotation_id != before
            if run.returncode == 0 and done:
                self.made.estate.run("retire_due").check()
                return
        raise AssertionError(f"not rotated after {TRIES} more runs:\n{said}")

    def once(self) -> None:
        """One rotation, whatever happens."""
        document = self.made.estate.document()
        assert document.current
        kind = self.disturb()
        self.settle(document.current.rotation_id)
        self.client.work(10)
        assert self._errors() == self.explained, f"{kind}: not by a restart"


class Places:
    """All that could be left behind: files with their modes and owners, roles, lines."""

    def __init__(self, made: Course) -> None:
        estate = made.estate
        assert estate.pooler
        # The application writes this one all the time.
        moving = f".{estate.client.status_path.name}.part"
        found = {
            path
            for folder in (estate.folder, estate.pooler.userlist_path.parent)
            for path in folder.rglob("*")
            if estate.ansible.work_dir not in path.parents and path.name != moving
        }
        found.update(path for path in estate.ansible.leftovers() if KEPT_MODULES not in path.parts)
        self.files = {str(path): (path.stat().st_mode, path.stat().st_uid) for path in found}
        roles = estate.database.execute("SELECT rolname, rolcanlogin, rolsuper FROM pg_roles")
        self.roles = {name: facts for name, *facts in roles}
        listed = estate.pooler.userlist_path.read_text().splitlines()
        self.userlist = {line.split('"')[1]: line for line in listed if line}
        assert len(self.userlist) == len(listed), "a user has two lines"
        lines = estate.env_file.read_text().splitlines()
        self.env = [line.partition("=")[0] if "URL=" in line else line for line in lines]


def assert_nothing_left(made: Course, before: Places) -> None:
    """But for the locks that stay beside files, and the second of the two roles, all is as it was."""
    estate, now, document = made.estate, Places(made), made.estate.document()
    assert estate.pooler and document.current
    assert not document.pending and not document.previous and not document.retained
    assert document.claim is None and document.credential == CREDENTIAL
    files = [estate.keyring_path, estate.ledger_path, estate.env_file, estate.pooler.userlist_path]
    locks = {str(path.with_name(f".{path.name}.keyturn.lock")) for path in files}
    assert now.files.keys() - locks == before.files.keys() - locks
    assert {path: now.files[path] for path in before.files} == before.files
    idle = {name: [False, False] for name in estate.roles}
    used = document.current.text("username")
    assert now.roles == {**before.roles, **idle, used: [True, False]}
    admin = estate.pooler.admin_user
    assert sorted(now.userlist) == sorted([admin, used])
    assert now.userlist[admin] == before.userlist[admin]
    assert now.env == before.env
    assert estate.ledger_faults() == []
    assert len(estate.ledger_path.read_text().splitlines()) == len(estate.phases())


def test_rotation_after_rotation(
    course: Maker, record_property: Callable[[str, object], None]
) -> None:
    made = course("alternate_roles")
    drawn = secrets.token_hex(4) if SOAK else SHORT_SEED
    soak = Soak(made, os.environ.get("KEYTURN_SEED") or drawn)
    print(f"KEYTURN_SEED={soak.chance.seed}")
    before = Places(made)
    try:
        soak.measure()
        for _number in range(ROTATIONS - 1):
            soak.once()
    finally:
        record_property(TOLD, soak.told())
    assert_nothing_left(made, before)


def new(path: Path) -> tuple[Act, Act]:
    return path.touch, path.unlink


def longer(path: Path, line: str) -> tuple[Act, Act]:
    kept = path.read_bytes()
    return lambda: path.write_bytes(kept + line.encode() + b"\n"), lambda: path.write_bytes(kept)


def what_may_be_left(made: Course) -> dict[str, tuple[Act, Act]]:
    """By its name, what puts it there and what takes it away."""
    estate, document = made.estate, made.estate.document()
    assert estate.pooler and document.current
    execute, used = estate.database.execute, document.current.text("username")
    (idle,) = {*estate.roles} - {used}
    role = f"{estate.prefix}_left"
    last = estate.ledger_path.read_text().splitlines()[-1]
    return {
        "a file": new(estate.folder / "app.env.new"),
        "beside the userlist": new(estate.pooler.userlist_path.with_name(".userlist.txt.part")),
        "where temporary files go": new(estate.ansible.temp_dir / "note"),
        "a mode": (lambda: estate.env_file.chmod(0o644), lambda: estate.env_file.chmod(0o600)),
        "a role": (lambda: execute(f"CREATE ROLE {role}"), lambda: execute(f"DROP ROLE {role}")),
        "a login": (
            lambda: execute(f'ALTER ROLE "{idle}" LOGIN'),
            lambda: execute(f'ALTER ROLE "{idle}" NOLOGIN'),
        ),
        "a user": longer(estate.pooler.userlist_path, '"left" "over"'),
        "a user's second line": longer(estate.pooler.userlist_path, f'"{used}" "over"'),
        "a variable": longer(estate.env_file, "LEFT=over"),
        "another's line in the ledger": longer(estate.ledger_path, "{}"),
        "a line twice in the ledger": longer(estate.ledger_path, last),
    }


def is_seen(made: Course, before: Places) -> bool:
    with suppress(AssertionError):
        assert_nothing_left(made, before)
        return False
    return True


def test_what_is_left_is_seen(course: Maker) -> None:
    made = course("alternate_roles")
    before = Places(made)
    for playbook, extra in (("rotate_db", FORCE), ("retire_due", None)):
        made.estate.run(playbook, extra=extra).check()
    for name, (leave, take) in what_may_be_left(made).items():
        assert_nothing_left(made, before)
        leave()
        assert is_seen(made, before), name
        take()


REFUSED = "failed_logins: OperationalError: authentication"
ENDED = "failed_transactions: OperationalError: connection ended"
BY_POOLER = "LOG C-0x55: app/app_a@127.0.0.1:5 closing because: {} (age=0s)\n"


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_a_restart_explains_a_lost_connection_and_no_refused_password(kind: str) -> None:
    assert unexplained(kind, {}) == []
    assert unexplained(kind, {REFUSED: 1}) == [REFUSED]
    assert unexplained(kind, {ENDED: 1}) == ([] if kind in RESTARTS else [ENDED])
    if kind in RESTARTS:
        logged = BY_POOLER.format("client close request") + BY_POOLER.format("no such user: x")
        assert unexplained(kind, {ENDED: 1}, logged) == ["no such user: x"]


def test_the_same_seed_draws_the_same() -> None:
    one, same, other = Chance("1"), Chance("1"), Chance("2")
    moments = [one.below(3) for _number in range(50)]
    assert moments == [same.below(3) for _number in range(50)]
    assert moments != [other.below(3) for _number in range(50)]
    assert len(set(moments)) == 50 and all(0 <= moment < 3 for moment in moments)
    assert {one.choice(KINDS) for _number in range(200)} == set(KINDS)
