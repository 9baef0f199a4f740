# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program that a definition names finds in its environment: not what opens the run's stores."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._alert import firing
from ansible_collections.keyturn.runbooks.plugins.module_utils._channels import open_channel
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import (
    TASK_VARIABLES,
    named,
    program_environ,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes import (
    ProbeContext,
    run_probe,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

WRITE = "import json,os,sys; open(sys.argv[1], 'w').write(json.dumps(dict(os.environ)))"
ORDINARY = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "XDG_RUNTIME_DIR": "/run/user/0",
    "DOCKER_HOST": "unix:///run/docker.sock",
}
INHERITED = (
    "VAULT_TOKEN",
    "VAULT_ADDR",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "ANSIBLE_VAULT_PASSWORD_FILE",
    "PGPASSWORD",
    "SSH_AUTH_SOCK",
    "MY_OWN",
)
Runner = Callable[[list[str], dict[str, Any], Context], None]


def probe(argv: list[str], environment: dict[str, Any], context: Context) -> None:
    stage = Stage("r1", "applied", {"username": "a", "password": Secret("x")}, "d")
    body = {"type": "command", "argv": argv, "environment": environment}
    run_probe(body, stage, ProbeContext(context, {}))


def notify(argv: list[str], environment: dict[str, Any], context: Context) -> None:
    contact = {"type": "command", "argv": argv, "environment": environment}
    open_channel(contact, context, "contacts[0]").send({"event": "success"}, 10)


def alert(argv: list[str], environment: dict[str, Any], context: Context) -> None:
    assert firing({"command": argv, "environment": environment}, context) is None


@pytest.mark.parametrize("run", [probe, notify, alert])
def test_a_program_gets_what_is_ordinary_what_the_task_says_and_what_its_definition_says(
    run: Runner, tmp_path: Path
) -> None:
    inherited = {name: secrets.token_urlsafe(12) for name in INHERITED}
    task = named({"HTTPS_PROXY": "http://proxy:3128", "GRAFANA_TOKEN": "for references alone"})
    context = Context(environ={**ORDINARY, **inherited, **task})
    found = tmp_path / "found.json"
    own = {"CHECK_URL": "http://app1/health", "OWN": "ref+envsubst://$VAULT_TOKEN"}
    run([sys.executable, "-S", "-c", WRITE, str(found)], own, context)
    seen = json.loads(found.read_text())
    # Python sets this one by itself.
    seen.pop("LC_CTYPE", None)
    assert seen == {
        **ORDINARY,
        "HTTPS_PROXY": "http://proxy:3128",
        "CHECK_URL": "http://app1/health",
        "OWN": inherited["VAULT_TOKEN"],
    }


def test_only_what_the_task_names_is_added() -> None:
    environ = {"PATH": "/bin", "A": "1", "VAULT_TOKEN": "t", "B": "2"}
    assert program_environ(environ) == {"PATH": "/bin"}
    meant = program_environ({**environ, **named({"A": "1", "VAULT_TOKEN": "t"})})
    assert meant == {"PATH": "/bin", "A": "1"}
    assert named({}) == {}
    assert named({"B": "2", "A": "1"})[TASK_VARIABLES] == "A B"


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (["A=1"], "expected a mapping"),
        ({"A=B": "1"}, "'A=B' is no name"),
        ({"": "1"}, "'' is no name"),
        ({"A": "ref+nothing://x"}, "environment.A"),
    ],
)
def test_an_environment_that_cannot_be_meant_is_refused(environment: Any, told: str) -> None:
    contact = {"type": "command", "argv": ["true"], "environment": environment}
    with pytest.raises(BadInput, match=told):
        open_channel(contact, Context(environ={}), "contacts[0]")
    with pytest.raises(BadInput, match=told):
        firing({"command": ["true"], "environment": environment}, Context(environ={}))
