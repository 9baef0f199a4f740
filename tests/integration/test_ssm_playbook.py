# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ssm_secret in playbooks: inside Ansible's process and as an ordinary module, same results and nothing told."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aws_world import AwsWorld
from estate.moto import MotoServer
from estate.playbook import PlaybookResult

RunPlaybook = Callable[..., PlaybookResult]
WAYS = {"direct": True, "module": False}


@pytest.fixture
def aws(moto: MotoServer) -> AwsWorld:
    return AwsWorld(moto)


def tasks(world: AwsWorld, scratch: Path, prefix: str) -> list[dict[str, Any]]:
    """Each is run in check mode, for real, and for real again."""
    files = {name: scratch / name for name in ("one", "two")}
    many = [
        {"name": world.name(f"{prefix}/{name}"), "value": f"ref+file://{path}"}
        for name, path in files.items()
    ]
    common = {"threads": 4, "region": "eu-west-1"}
    made = {"name": world.name(f"{prefix}/made"), "generate": {"type": "hex"}}
    steps: list[dict[str, Any]] = [
        {"name": many[0]["name"], "value": many[0]["value"], "description": "of the app"},
        {"parameters": many, "labels": True, "tags": {"owner": "platform"}},
        {"parameters": [{**many[0], "string_type": "SecureString"}, many[1], made]},
        {"parameters": [{"name": item["name"]} for item in many], "state": "absent"},
    ]
    modes = ({"check_mode": True}, {}, {})
    return [
        {"keyturn.runbooks.ssm_secret": {**common, **step}, **mode, "diff": True}
        for step in steps
        for mode in modes
    ]


def play(world: AwsWorld, scratch: Path) -> list[dict[str, Any]]:
    plays = []
    for way, direct in WAYS.items():
        listed = [
            {**task, "register": f"result_{number}"}
            for number, task in enumerate(tasks(world, scratch, way))
        ]
        denied = {
            "name": world.name("with blank"),
            "value": "ref+envsubst://$THE_VALUE",
        }
        refused = {
            "keyturn.runbooks.ssm_secret": denied,
            "register": f"result_{len(listed)}",
            "ignore_errors": True,
        }
        names = [task["register"] for task in (*listed, refused)]
        content = "{{ [" + ", ".join(names) + "] | to_json }}"
        kept = {"ansible.builtin.copy": {"content": content, "dest": str(scratch / f"{way}.json")}}
        plays.append(
            {
                "hosts": "localhost",
                "connection": "local",
                "gather_facts": False,
                "vars": {"keyturn_direct": direct},
                "tasks": [*listed, refused, kept],
            }
        )
    return plays


def comparable(result: dict[str, Any], way: str) -> Any:
    """Without the fingerprints, whose salt is of one task alone."""
    own = {"invocation", "diff", "exception", "_ansible_no_log"}
    text = json.dumps({key: value for key, value in result.items() if key not in own})
    found = json.loads(text.replace(f"/{way}/", "/way/"))
    for item in found.get("parameters", []):
        for key in ("fingerprint", "fingerprint_before"):
            item[key] = "hmac" if item[key].startswith("hmac:") else item[key]
    return found


def test_both_ways_give_the_same_and_tell_nothing(
    aws: AwsWorld, scratch: Path, run_playbook: RunPlaybook
) -> None:
    values = [secrets.token_urlsafe(20) for _name in range(2)]
    for name, value in zip(("one", "two"), values, strict=True):
        (scratch / name).touch(mode=0o600)
        (scratch / name).write_text(value)
    book = scratch / "play.yml"
    book.write_text(yaml.safe_dump(play(aws, scratch)))
    env = {**aws.environ, "ANSIBLE_PIPELINING": "1", "THE_VALUE": values[0]}
    done = run_playbook(str(book), "-vvv", env=env).check()
    told = {way: json.loads((scratch / f"{way}.json").read_text()) for way in WAYS}
    direct, module = (
        [comparable(result, way) for result in told[way]] for way in ("direct", "module")
    )
    assert direct == module
    assert [item["changed"] for item in direct] == [True, True, False] * 4 + [False]
    refused = direct[-1]
    assert refused["kind"] == "BadInput" and "is no name for a parameter" in refused["msg"]
    made = [aws.held(f"{way}/made")[0] for way in WAYS]
    for value in (*values, *made, aws.environ["AWS_SECRET_ACCESS_KEY"]):
        assert value not in done.output
        assert value not in json.dumps(told)
