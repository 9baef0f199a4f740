# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rotation leaves on a host beside its value: the day in a profile, the file as it was, a line in a log."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import secrets
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from estate.playbook import Ansible
from sink_calls import Platform

PROFILE = """\
# Ask Mira before you change it.
credential_refs:
  - {name: twitch, last_rotated: 2026-08-01}
  - name: restream   # ours
    last_rotated: 2026-08-22   # quarterly
"""
PAGE = "---\ntitle: 'Stream service'\nlast_rotated: '2026-08-22'\n---\n# Service\n"


def sinks(folder: Path, **more: Any) -> list[dict[str, Any]]:
    profile = f"ref+file://{folder}/encoder-config.yaml?format=yaml"
    day = "{current.promoted|date}"
    made: list[dict[str, Any]] = [
        {"name": "key", "ref": f"ref+file://{folder}/restream.key", "template": "{current.key}\n"},
        {"name": "profile", "ref": f"{profile}#/credential_refs/name=restream/last_rotated"},
        {"name": "page", "ref": f"ref+file://{folder}/service.md", "format": "frontmatter"},
        {"name": "log", "ref": f"ref+file://{folder}/rotation.log?format=log"},
    ]
    made[0]["backup"] = {"keep": "7d"}
    made[1]["template"] = day
    made[2]["fields"] = {"last_rotated": day}
    made[3]["template"] = "{current.promoted} KEY-ROTATED reason={current.reason}"
    return [{**item, **more} for item in made]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "stream"
    made.mkdir()
    for name, text in {"encoder-config.yaml": PROFILE, "service.md": PAGE}.items():
        (made / name).write_text(text)
        (made / name).chmod(0o640)
    return made


def test_the_day_in_a_profile_and_in_a_page(folder: Path, tmp_path: Path) -> None:
    platform = Platform(tmp_path, sinks(folder))
    platform.as_predicted()
    profile, page = folder / "encoder-config.yaml", folder / "service.md"
    assert profile.read_text() == PROFILE.replace("2026-08-22", "2026-11-22")
    assert page.read_text() == PAGE.replace("2026-08-22", "2026-11-22")
    assert oct(profile.stat().st_mode & 0o777) == "0o640"
    # Everybody may see a day.
    profile.chmod(0o644)
    platform.settled()
    assert not [line for line in platform.warnings if "can read it" in line]
    # Another rotation on the same day leaves the day as it is.
    platform.later(hours=1)
    platform.rotate()
    again = platform.as_predicted()
    changed = {item["name"]: item["changed"] for item in again["sinks"]}
    assert changed == {"key": True, "profile": False, "page": False, "log": True}


def test_a_profile_that_cannot_be_set_stops_before_it_is_written(
    folder: Path, tmp_path: Path
) -> None:
    profile = folder / "encoder-config.yaml"
    platform = Platform(tmp_path, [sinks(folder)[1]])
    cases = {
        "credential_refs: []\n": "no item of the list",
        "credential_refs: {name: restream\n": "no YAML",
        "a: 1\na: 2\n": "twice",
        "": "nothing in it",
    }
    for text, says in cases.items():
        profile.write_text(text)
        for check_mode in (True, False):
            with pytest.raises(KeyturnError, match=says):
                platform.publish(check_mode)
        assert profile.read_text() == text
    profile.unlink()
    for check_mode in (True, False):
        with pytest.raises(KeyturnError, match="not there, or empty"):
            platform.publish(check_mode)
    assert not profile.exists()


def test_a_key_in_a_profile_is_in_no_message(folder: Path, tmp_path: Path) -> None:
    profile = folder / "encoder-config.yaml"
    sink = {"name": "inline", "ref": f"ref+file://{profile}?format=yaml#/encoder/key"}
    platform = Platform(tmp_path, [{**sink, "template": "{current.key}"}])
    profile.write_text(f"encoder:\n  key: {platform.key}  # ours\n  size: 720p\n")
    profile.chmod(0o644)
    platform.settled()
    assert any("can read it" in line for line in platform.warnings)
    old = platform.key
    platform.rotate()
    platform.as_predicted()
    text = profile.read_text()
    assert text == f"encoder:\n  key: {platform.key}  # ours\n  size: 720p\n"
    # What cannot be read holds values, too.
    broken = (
        f"encoder: [{old}\n",
        f"{old}: 1\nb: *{old}\n{old}: 2\n",
        f"encoder:\n  key: &a {old}\n",
    )
    for wrong in broken:
        profile.write_text(wrong)
        with pytest.raises(KeyturnError) as caught:
            platform.publish()
        assert old not in caught.value.message + json.dumps(caught.value.details)


def _rotate(folder: Path, name: str, barrier: Any) -> None:
    ref = f"ref+file://{folder}/encoder-config.yaml?format=yaml#/credential_refs/name={name}/day"
    log = {"name": "log", "ref": f"ref+file://{folder}/log?format=log"}
    (folder / name).mkdir()
    day = {"name": "day", "ref": ref, "template": "{current.rotation_id}"}
    line = {**log, "template": f"{{current.promoted}} {name}"}
    platform = Platform(folder / name, [day, line])
    barrier.wait(20)
    for _number in range(5):
        platform.later(hours=1)
        platform.rotate()
        platform.publish()


def test_platforms_of_one_profile_and_one_log(folder: Path) -> None:
    names = [f"p{number}" for number in range(4)]
    items = "".join(f"  - name: {name}  # {name}\n    day: r0\n" for name in names)
    (folder / "encoder-config.yaml").write_text(f"credential_refs:\n{items}")
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(names))
    workers = [context.Process(target=_rotate, args=(folder, name, barrier)) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * len(names)
    text = (folder / "encoder-config.yaml").read_text()
    assert text == f"credential_refs:\n{items}".replace("r0", "r6")
    lines = (folder / "log").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 5 * len(names)


def _note(folder: Path, password: str) -> dict[str, Any]:
    """A sink that shows a fact, and beside it a password of somebody else's."""
    text = f"dsn=postgres://admin:{password}@db/app # since {{current.promoted|date}}"
    ref = f"ref+file://{folder}/app.env?format=env#/NOTE"
    return {"name": "note", "ref": ref, "host": "relay1", "template": text}


def test_on_a_host(folder: Path, tmp_path: Path, ansible: Ansible) -> None:
    password = secrets.token_urlsafe(18)
    made = [*sinks(folder, host="relay1"), _note(folder, password)]
    platform = Platform(tmp_path, made)
    old = platform.key
    (folder / "restream.key").write_text(f"{old}\n")
    (folder / "restream.key").chmod(0o600)
    platform.rotate(reason="a leak, 'perhaps'\nand more")
    common = {"keyring": f"ref+file://{platform.path}", "credential": "restream", "sinks": made}
    publish = {"keyturn.runbooks.publish": {**common, "host": "relay1"}, "delegate_to": "relay1"}
    shown: list[dict[str, Any]] = []
    for mode in (True, False, True, False):
        shown.append({**publish, "check_mode": mode, "register": "told"})
        shown.append({"ansible.builtin.debug": {"msg": "changed {{ told.changed }}"}})
    own = {"ansible_connection": "local"}
    hosts = {"all": {"hosts": {"restream": own, "relay1": own}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    play = {"hosts": "restream", "gather_facts": False, "tasks": shown}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = ansible.run(
        str(tmp_path / "play.yml"), "--diff", "-vvv", inventory=tmp_path / "hosts.yml"
    ).check()
    assert re.findall(r"changed (True|False)", done.stdout) == ["True", "True", "False", "False"]
    assert not [key for key in (*platform.keys, password) if key in done.output + ansible.log()]
    today = datetime.now(timezone.utc).strftime("%Y%m%d")
    assert password in (folder / "app.env").read_text() and "NOTE: … 2026-11-22" in done.stdout
    copy = folder / f"restream.key.bak.{today}"
    assert copy.read_text() == f"{old}\n" and copy.stat().st_uid == os.geteuid()
    assert (folder / "restream.key").read_text() == f"{platform.key}\n"
    assert "last_rotated: 2026-11-22   # quarterly" in (folder / "encoder-config.yaml").read_text()
    [line] = (folder / "rotation.log").read_text().splitlines()
    assert line == "2026-11-22T08:30:00.000000Z KEY-ROTATED reason=a leak, 'perhaps'\\x0aand more"
    assert json.dumps(str(copy)) in done.stdout
