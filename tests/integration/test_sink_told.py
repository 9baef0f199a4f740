# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task tells of a sink with facts of a rotation: these, and nothing else that stands there."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from sink_calls import Platform

FACTS = ("made", "operator", "promoted", "reason", "rotation_id")


def env(path: Path, **fields: str) -> list[dict[str, Any]]:
    return [{"name": "env", "ref": f"ref+file://{path}?format=env", "fields": fields}]


def after(told: dict[str, Any]) -> dict[str, str]:
    return {name: both["after"] for name, both in told["sinks"][0]["fields"].items()}


def with_field(platform: Platform, name: str, value: Value) -> None:
    """The value in use gets another field."""
    current = platform.document.current
    assert current is not None
    stage = replace(current, fields={**current.fields, name: value}, fingerprints={})
    platform.document = replace(
        platform.document, current=platform.document.with_fingerprints(stage)
    )
    platform.save()


def test_what_a_template_says_itself_is_not_told(tmp_path: Path) -> None:
    password = secrets.token_urlsafe(18)
    note = f"dsn=postgres://admin:{password}@db/app # since {{current.promoted|date}}"
    joined = f"{{current.reason}}{{current.operator|join:{password}}}"
    fields = {"NOTE": note, "DAY": "{current.promoted|date}", "JOINED": joined}
    path = tmp_path / "app.env"
    platform = Platform(tmp_path, env(path, **fields))
    path.touch(mode=0o644)
    done = platform.as_predicted()
    assert password in path.read_text()
    assert password not in json.dumps(done) + "".join(platform.warnings)
    assert after(done)["NOTE"] == "… 2026-11-22" and after(done)["DAY"] == "2026-11-22"
    assert after(done)["JOINED"].startswith("hmac:")
    # Facts are for everybody; a password that stands beside them is not.
    assert any("can read it" in warning for warning in platform.warnings)


@pytest.mark.parametrize("name", FACTS)
def test_a_secret_that_is_called_like_a_fact_is_none(tmp_path: Path, name: str) -> None:
    secret = secrets.token_urlsafe(18)
    path = tmp_path / "app.env"
    encoded = base64.b64encode(secret.encode()).decode()
    fields = {"PLAIN": f"{{current.{name}}}", "ENCODED": f"{{current.{name}|b64}}"}
    platform = Platform(tmp_path, env(path, **fields))
    with_field(platform, name, Secret(secret))
    path.touch(mode=0o644)
    done = platform.as_predicted()
    assert secret in path.read_text() and encoded in path.read_text()
    told = json.dumps(done) + "".join(platform.warnings)
    assert secret not in told and encoded not in told
    assert all(text.startswith("hmac:") for text in after(done).values())
    assert any("can read it" in warning for warning in platform.warnings)


def test_one_stage_with_such_a_field_is_enough(tmp_path: Path) -> None:
    secret = secrets.token_urlsafe(18)
    path = tmp_path / "app.env"
    platform = Platform(tmp_path, env(path, WHO="{previous,current.operator|join}"))
    with_field(platform, "operator", Secret(secret))
    current = platform.document.current
    assert current is not None
    older = replace(current, rotation_id="r0", status="grace", fields={"key": Secret(platform.key)})
    older = platform.document.with_fingerprints(replace(older, operator="ann", fingerprints={}))
    platform.document = replace(platform.document, previous=older)
    platform.save()
    done = platform.as_predicted()
    assert f"ann,{secret}" in path.read_text()
    assert secret not in json.dumps(done) and after(done)["WHO"].startswith("hmac:")
