# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands with a Vault path in their environment, and private files of one: who gets the values, and who never does."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    ProbeFailed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._export_run import redacted
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import MASK, Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_export import MODULE
from estate.vault import VaultServer

KEYS = ["AOS_API_KEY", "WEBHOOK_KEY"]
NO_MEANING = "it has no meaning with"
DUMP = "import json, os, sys; json.dump([dict(os.environ), sys.argv[2:]], open(sys.argv[1], 'w'))"


class World:
    """A mount with two paths, and a folder."""

    def __init__(self, server: VaultServer, mount: str, place: Path) -> None:
        self.server, self.mount, self.place = server, mount, place
        self.token = server.root_token
        self.app = {"AOS_API_KEY": secrets.token_urlsafe(16), "WEBHOOK_KEY": secrets.token_hex(16)}
        self.database = {"POSTGRES_USER": "nova", "POSTGRES_PASSWORD": secrets.token_urlsafe(16)}
        self.put("app-prod", self.app)
        self.put("database", self.database)

    def put(self, path: str, data: dict[str, str]) -> None:
        self.server.request("POST", f"{self.mount}/data/{path}", {"data": data})

    def ref(self, path: str) -> str:
        return f"ref+vault://{self.mount}/{path}"

    def call(self, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        defaults = {name: spec.get("default") for name, spec in MODULE.argument_spec.items()}
        environ = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "VAULT_ADDR": self.server.address,
            "VAULT_TOKEN": self.token,
        }
        context = Context(check_mode=check_mode, diff=True, environ=environ)
        return execute(MODULE, {**defaults, **options}, context)

    def dumped(self, **options: Any) -> dict[str, str]:
        """The environment that a command got."""
        to = self.place / "dump.json"
        told = self.call(argv=[sys.executable, "-c", DUMP, str(to)], **options)
        found: dict[str, str] = json.loads(to.read_text())[0]
        assert not any(value in json.dumps(told) for value in self.app.values())
        return found


@pytest.fixture
def world(vault: VaultServer, vault_mount: str, tmp_path: Path) -> World:
    return World(vault, vault_mount, tmp_path)


def test_a_command_gets_the_path_and_no_way_into_the_store(world: World) -> None:
    only = [*KEYS, "POSTGRES_USER"]
    found = world.dumped(sources=[world.ref("app-prod"), world.ref("database")], only=only)
    assert {name: found[name] for name in world.app} == world.app
    assert found["POSTGRES_USER"] == "nova"
    assert "PATH" in found and not any(name.startswith("VAULT_") for name in found)
    assert world.token not in found.values()


def test_keys_are_chosen_and_renamed(world: World) -> None:
    found = world.dumped(
        sources=[world.ref("app-prod"), world.ref("database")],
        only=["AOS_API_KEY", "POSTGRES_USER"],
        names={"POSTGRES_USER": "PGUSER"},
        prefix="APP_",
        variables={"PGPASSWORD": f"{world.ref('database')}#/POSTGRES_PASSWORD", "PGPORT": 5432},
    )
    assert found["APP_AOS_API_KEY"] == world.app["AOS_API_KEY"]
    assert (found["PGUSER"], found["PGPORT"]) == ("nova", "5432")
    assert found["PGPASSWORD"] == world.database["POSTGRES_PASSWORD"]
    assert not {"AOS_API_KEY", "APP_WEBHOOK_KEY", "WEBHOOK_KEY", "POSTGRES_USER"} & set(found)


def test_the_store_cannot_add_a_variable_to_a_command(world: World) -> None:
    options: dict[str, Any] = {"sources": [world.ref("app-prod")]}
    named = [{"only": KEYS}, {"prefix": "APP_"}]
    before = [set(world.dumped(**options, **more)) for more in named]
    world.put("app-prod", {**world.app, "TAR_OPTIONS": "--to-command=id", "MAKEFLAGS": "x"})
    after = [set(world.dumped(**options, **more)) for more in named]
    assert after[0] == before[0]
    assert after[1] - before[1] == {"APP_TAR_OPTIONS", "APP_MAKEFLAGS"}


def test_check_mode_reads_and_runs_nothing(world: World) -> None:
    argv = [sys.executable, "-c", DUMP, str(world.place / "dump.json")]
    told = world.call(check_mode=True, sources=[world.ref("app-prod")], only=KEYS, argv=argv)
    assert told["changed"] and "rc" not in told and told["names"] == list(world.app)
    assert not (world.place / "dump.json").exists()
    with pytest.raises(Absent):
        world.call(check_mode=True, sources=[world.ref("nothing")], argv=argv)
    with pytest.raises(BadInput, match="program /no/such/program was not found"):
        world.call(
            check_mode=True, sources=[world.ref("app-prod")], only=KEYS, argv=["/no/such/program"]
        )


@pytest.mark.parametrize(("option", "there"), [("creates", True), ("removes", False)])
def test_a_command_that_is_not_needed_is_not_run(world: World, option: str, there: bool) -> None:
    mark = world.place / "mark"
    if there:
        mark.touch()
    for check_mode in (True, False):
        told = world.call(
            check_mode,
            sources=[world.ref("app-prod")],
            only=KEYS,
            argv=["false"],
            **{option: str(mark)},
        )
        assert not told["changed"] and "rc" not in told and str(mark) in told["msg"]
    (mark.unlink if there else mark.touch)()
    told = world.call(
        sources=[world.ref("app-prod")], only=KEYS, argv=["true"], **{option: str(mark)}
    )
    assert (told["changed"], told["rc"]) == (True, 0)


def test_what_it_prints_is_told_only_when_asked_for_and_without_the_values(world: World) -> None:
    value = world.app["AOS_API_KEY"]
    program = (
        "import base64, os, sys; v = os.environ['AOS_API_KEY']; "
        "print('key', v, base64.b64encode(v.encode()).decode()); print('bad', v, file=sys.stderr); sys.exit(3)"
    )
    options: dict[str, Any] = {
        "sources": [world.ref("app-prod")],
        "only": KEYS,
        "argv": [sys.executable, "-c", program],
    }
    assert "stdout" not in world.call(**options, rc=[0, 3])
    told = world.call(**options, rc=[3], return_output=True)
    assert told["stdout"].split()[:2] == ["key", MASK] and told["stderr"] == f"bad {MASK}\n"
    for more in ({}, {"return_output": True}):
        with pytest.raises(ProbeFailed) as caught:
            world.call(**options, **more)
        assert "ended with exit code 3" in caught.value.message
        assert caught.value.details["rc"] == 3
        shown = json.dumps([caught.value.message, caught.value.details])
        assert value not in shown and ("stderr" in shown) is bool(more)


@pytest.mark.parametrize(
    "value", ["p'q\"r\\s t", "line one\nline two\n", "é漢\U0001f600 +/=", "$x `y` %41", "short"]
)
def test_no_usual_form_of_a_value_stays(value: str) -> None:
    data = value.encode()
    forms = [
        value,
        json.dumps(value),
        json.dumps(value, ensure_ascii=False),
        repr(value),
        quote_plus(data),
        base64.b64encode(data).decode(),
        data.hex(),
        "\n".join(f"> {line}" for line in value.splitlines()),
    ]
    shown = redacted("before " + " | ".join(forms) + " after", [Secret(value), Secret("")])
    assert shown.startswith("before ") and shown.endswith(" after")
    for part in (value, *value.splitlines(), data.hex(), quote_plus(data), json.dumps(value)[1:-1]):
        assert part not in shown


def test_of_two_values_of_which_one_begins_the_other_nothing_stays() -> None:
    assert redacted("abcdef abc", [Secret("abc"), Secret("abcdef")]) == f"{MASK} {MASK}"


def test_a_command_that_takes_too_long_is_killed_with_its_children(world: World) -> None:
    program = (
        "import os, subprocess, sys, time; c = subprocess.Popen(['sleep', '60']); "
        f"open({str(world.place / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{c.pid}}'); time.sleep(60)"
    )
    with pytest.raises(Unreachable, match="did not end within 1 s and was killed"):
        world.call(
            sources=[world.ref("app-prod")],
            only=KEYS,
            argv=[sys.executable, "-c", program],
            timeout="1s",
            return_output=True,
        )
    pids = (world.place / "pids").read_text().split()
    end = time.monotonic() + 5
    while any(_lives(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(_lives(pid) for pid in pids)


def test_a_child_that_left_the_group_and_holds_the_output_keeps_nobody_waiting(
    world: World,
) -> None:
    program = (
        "import subprocess, time; c = subprocess.Popen(['sleep', '20'], start_new_session=True); "
        f"open({str(world.place / 'pid')!r}, 'w').write(str(c.pid)); time.sleep(60)"
    )
    started = time.monotonic()
    with pytest.raises(Unreachable, match="did not end within 1 s and was killed"):
        world.call(
            variables={"A": "x"},
            argv=[sys.executable, "-c", program],
            timeout="1s",
            return_output=True,
        )
    took = time.monotonic() - started
    os.kill(int((world.place / "pid").read_text()), signal.SIGKILL)
    assert took < 8


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_file_holds_exactly_the_variables_and_is_private(world: World) -> None:
    path = world.place / "app.env"
    path.write_text("OTHER=1\n")
    path.chmod(0o644)
    options: dict[str, Any] = {"sources": [world.ref("app-prod")], "dest": str(path)}
    foreseen = world.call(check_mode=True, **options)
    assert foreseen["changed"] and path.read_text() == "OTHER=1\n"
    told = world.call(**options, backup=True)
    assert path.read_text() == "".join(f"{key}={value}\n" for key, value in world.app.items())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Path(told["backup_file"]).read_text() == "OTHER=1\n"
    before = path.stat().st_ino
    assert not world.call(**options)["changed"]
    assert path.stat().st_ino == before
    path.chmod(0o640)
    assert world.call(**options)["changed"]
    assert not world.call(**options, mode="0600")["changed"]
    assert not any(value in json.dumps([foreseen, told]) for value in world.app.values())


def test_a_value_without_a_common_form_needs_a_dialect(world: World) -> None:
    world.put("tls", {"CERT": "one\ntwo"})
    path = world.place / "tls.env"
    options: dict[str, Any] = {"sources": [world.ref("tls")], "dest": str(path)}
    for check_mode in (True, False):
        with pytest.raises(BadInput, match="CERT: the value holds a line break"):
            world.call(check_mode, **options)
    assert world.call(**options, dialect="posix")["changed"]
    assert path.read_text() == "CERT='one\ntwo'\n"
    assert not world.call(**options, dialect="posix")["changed"]


REFUSED: list[tuple[dict[str, Any], type[KeyturnError], str]] = [
    ({"sources": ["app-prod", "app-prod"], "only": KEYS}, BadInput, "AOS_API_KEY comes from"),
    (
        {"sources": ["app-prod"], "only": KEYS, "variables": {"AOS_API_KEY": "x"}},
        BadInput,
        "comes from",
    ),
    ({"sources": ["app-prod"], "names": {"AOS_API_KEY": "a-b"}}, BadInput, "no name of a variable"),
    ({"sources": ["app-prod"], "only": ["NOPE"]}, Absent, "no source has the key 'NOPE'"),
    ({"sources": ["preload"], "only": ["LD_PRELOAD"]}, BadInput, "would set LD_PRELOAD"),
    ({"sources": ["app-prod"]}, BadInput, "the key 'AOS_API_KEY' is not named in this task"),
    (
        {"sources": ["app-prod"], "names": {"AOS_API_KEY": "KEY"}},
        BadInput,
        "the key 'WEBHOOK_KEY' is not named in this task",
    ),
    ({"sources": ["nothing"]}, Absent, "nothing"),
    ({"sources": ["app-prod#/AOS_API_KEY"]}, BadInput, "a single value"),
    ({"variables": {"A": None}}, BadInput, "variables.A: expected"),
    ({"variables": {"A B": "x"}}, BadInput, "variables.A B: expected"),
    ({"variables": {"A": "x\0y"}}, BadInput, "NUL"),
    ({}, BadInput, "nothing to export"),
    (
        {"sources": ["app-prod"], "only": KEYS, "argv": ["echo", "ref+vault://a/b#/c"]},
        BadInput,
        "references are",
    ),
    (
        {"sources": ["app-prod"], "only": KEYS, "argv": ["true"], "timeout": "soon"},
        BadInput,
        "timeout",
    ),
    ({"sources": ["app-prod"], "only": KEYS, "argv": ["true"], "rc": [256]}, BadInput, "rc"),
    (
        {"sources": ["app-prod"], "only": KEYS, "argv": ["true"], "chdir": "/no/such"},
        BadInput,
        "chdir",
    ),
    ({"sources": ["app-prod"], "only": KEYS, "argv": ["/etc/passwd"]}, BadInput, "was not found"),
    ({"variables": {"A": True}}, BadInput, "variables.A: "),
    ({"variables": {"A": "ref+nowhere://x"}}, BadInput, "variables.A: "),
    *(
        ({"variables": {"A": "x"}, "argv": None, "dest": "/no/such", **idle}, BadInput, NO_MEANING)
        for idle in (
            {"chdir": "/"},
            {"creates": "/x"},
            {"removes": "/x"},
            {"timeout": "1s"},
            {"return_output": True},
            {"rc": [1]},
        )
    ),
    *(
        ({"variables": {"A": "x"}, **idle}, BadInput, NO_MEANING)
        for idle in (
            {"mode": "0600"},
            {"owner": "root"},
            {"group": "root"},
            {"dialect": "compose"},
            {"backup": True},
            {"backup_keep": "1d"},
            {"backup_count": 1},
        )
    ),
]


@pytest.mark.parametrize(("options", "kind", "told"), REFUSED)
def test_what_is_refused_says_why(
    world: World, options: dict[str, Any], kind: type[KeyturnError], told: str
) -> None:
    world.put("preload", {"LD_PRELOAD": "/srv/evil.so"})
    sources = [world.ref(path) for path in options.get("sources", [])]
    for check_mode in (True, False):
        with pytest.raises(kind) as caught:
            world.call(check_mode, **{"argv": ["true"], **options, "sources": sources})
        assert told in caught.value.message
        assert not any(value in caught.value.message for value in world.app.values())


def test_what_is_meant_may_decide_what_a_program_runs(world: World) -> None:
    assert world.dumped(variables={"PYTHONPATH": "/srv/lib"})["PYTHONPATH"] == "/srv/lib"


def test_a_token_without_the_right_is_denied(world: World) -> None:
    world.token = world.server.token('path "other/*" { capabilities = ["read"] }')
    with pytest.raises(Denied):
        world.call(sources=[world.ref("app-prod")], only=KEYS, argv=["true"])
