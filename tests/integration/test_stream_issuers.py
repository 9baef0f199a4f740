# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stream keys that a platform's API makes, rotated by playbooks: YouTube's, and platforms that are described in data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Secret,
    parse_document,
)
from api_server import CUT, Fault, Reply
from estate.playbook import Ansible, PlaybookResult
from stream_api import SET, StreamApi
from youtube_api import BROADCASTS, INSERT, LIST, TOKEN, FakeStream, YouTubeApi, refusal

QUOTA = Fault(refusal(403, "quotaExceeded"))


class Credential:
    """One platform's key: an inventory, a keyring and a key file."""

    def __init__(self, folder: Path, ansible: Ansible, api: YouTubeApi | StreamApi) -> None:
        self.folder, self.ansible, self.api = folder, ansible, api
        self.key_file, self.keyring = folder / "platform.key", folder / "keyring.json"

    def secret_file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        return f"ref+file://{path}"

    def define(self, issuer: dict[str, Any]) -> None:
        shown = {"Authorization": "Bearer {pending.key}"}
        probe = {"type": "http", "url": f"{self.api.url}/ingest", "headers": shown}
        variables: dict[str, Any] = {
            "keyturn_keyring": f"ref+file://{self.keyring}",
            "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
            "keyturn_issuer": issuer,
            "keyturn_sinks": [
                {
                    "name": "key_file",
                    "ref": f"ref+file://{self.key_file}",
                    "template": "{current.key}\n",
                }
            ],
            "keyturn_probes": [probe],
            "keyturn_wait": "3s",
            "keyturn_interval": "1s",
        }
        place = self.folder / "inventory"
        (place / "host_vars").mkdir(parents=True, exist_ok=True)
        hosts = {"all": {"children": {"stream_platforms": {"hosts": {"platform": None}}}}}
        (place / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (place / "host_vars" / "platform.yml").write_text(yaml.safe_dump(variables))

    def adopt(self, key: str, **more: str) -> None:
        given = {"key": self.secret_file("in-use", key), **more}
        self.run("adopt", keyturn_adopt=given).check()

    def run(self, playbook: str, *arguments: str, **extra: Any) -> PlaybookResult:
        done = self.ansible.run(
            f"keyturn.runbooks.{playbook}",
            *arguments,
            inventory=self.folder / "inventory",
            extra_vars=extra,
        )
        hidden = self.api.secrets
        assert not any(value in done.output for value in hidden)
        assert not any(value in line for value in hidden for line in self.api.lines)
        assert "told by" not in done.output
        assert not self.api.wrong
        self._nowhere_else(hidden)
        return done

    def _nowhere_else(self, hidden: list[str]) -> None:
        """Keys are in the keyring and the key file alone, and logins where they were given."""
        kept = {self.key_file: self.api.keys_known, self.keyring: self.api.keys_known}
        given = [self.folder / name for name in ("in-use", "oauth.json", "token")]
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in given:
                text = path.read_text("utf-8", "replace")
                strange = [value for value in hidden if value not in kept.get(path, ())]
                assert not any(value in text for value in strange), path

    def document(self) -> Document:
        return parse_document(self.keyring.read_text())

    def key(self, stage: str = "current") -> str:
        found = self.document().stage(stage)
        assert found
        value = found.fields["key"]
        assert isinstance(value, Secret)
        return value.reveal()


class YouTube(Credential):
    """A channel with a stream in use, which a broadcast is bound to, and others of its own."""

    api: YouTubeApi

    def __init__(self, folder: Path, ansible: Ansible, api: YouTubeApi) -> None:
        super().__init__(folder, ansible, api)
        self.others = [api.add(f"Sunday {number}") for number in range(3)]
        self.first = api.add("in use for years")
        self.broadcast = api.bind(self.first)
        login = {
            "credentials": self.secret_file("oauth.json", json.dumps(vars(api.login))),
            "api": api.url,
            "token_url": f"{api.url}{TOKEN}",
            "timeout": "5s",
        }
        self.define({"type": "youtube", "login": login, "broadcast": self.broadcast.id})
        self.adopt(self.first.key)

    def made(self) -> list[FakeStream]:
        """The streams that rotations made."""
        known = [stream.id for stream in (*self.others, self.first)]
        return [stream for stream in self.api.streams.values() if stream.id not in known]


@pytest.fixture
def youtube(scratch: Path, ansible: Ansible) -> Iterator[YouTube]:
    with YouTubeApi() as api:
        yield YouTube(scratch, ansible, api)


@pytest.fixture
def platform(scratch: Path, ansible: Ansible) -> Iterator[Credential]:
    with StreamApi() as api:
        yield Credential(scratch, ansible, api)


def begin_and_lose(youtube: YouTube) -> PlaybookResult:
    """A run that made a stream, did not hear of it, and could not look for it either, as one that is killed right then."""
    youtube.api.fail(INSERT, Fault(Reply(CUT), after=True))
    # The first two are the preflight and the look before anything is made, which has three pages.
    youtube.api.fail(LIST, Fault(), Fault(), Fault(), Fault(), QUOTA)
    lost = youtube.run("rotate", keyturn_force=True).check(2)
    assert "quota of this API is used up" in lost.stdout
    pending = youtube.document().pending
    assert pending and pending.status == "intended" and not pending.fields
    assert [pending.rotation_id in stream.title for stream in youtube.made()] == [True]
    return lost


def test_a_stream_is_replaced_by_another_and_deleted_when_nobody_uses_it(youtube: YouTube) -> None:
    current = youtube.document().current
    assert current and current.text("stream_id") == youtube.first.id
    predicted = youtube.run("rotate", "--check", "--diff", keyturn_force=True).check()
    assert "(new)" in predicted.stdout and "changed=1" in predicted.stdout
    assert youtube.api.writes == 0 and not youtube.key_file.exists()
    begin_and_lose(youtube)
    youtube.run("rotate", "-vvvv", "--diff", keyturn_force=True).check()
    (made,) = youtube.made()
    assert youtube.key() == made.key == youtube.key_file.read_text().strip()
    assert youtube.key("previous") == youtube.first.key
    assert youtube.broadcast.stream == made.id
    youtube.first.state = "active"
    refused = youtube.run("retire_due").check(2)
    assert f"a sender to stream {youtube.first.id}" in refused.stdout
    assert youtube.first.id in youtube.api.streams
    youtube.first.state = "inactive"
    youtube.run("retire_due").check()
    assert youtube.first.id not in youtube.api.streams and youtube.made() == [made]
    assert youtube.api.asked[INSERT] == 1
    assert "changed=0" in youtube.run("rotate").check().stdout


def test_a_rotation_that_is_given_up_leaves_no_stream(youtube: YouTube) -> None:
    """And the next one can be returned from: its broadcast goes back, too."""
    begin_and_lose(youtube)
    dry = youtube.run("abandon", "--check").check()
    assert "changed=1" in dry.stdout and len(youtube.made()) == 1
    youtube.run("abandon").check()
    assert youtube.made() == [] and youtube.first.id in youtube.api.streams
    assert youtube.document().pending is None
    youtube.run("rotate", keyturn_force=True).check()
    assert youtube.broadcast.stream == youtube.made()[0].id
    youtube.run("rollback").check()
    assert youtube.key() == youtube.first.key
    assert youtube.broadcast.stream == youtube.first.id


def test_what_is_in_the_way_is_told_before_anything_is_made(youtube: YouTube) -> None:
    youtube.broadcast.state = "live"
    refused = youtube.run("rotate", keyturn_force=True).check(2)
    assert f"broadcast {youtube.broadcast.id} is on the air (live)" in refused.stdout
    youtube.broadcast.state = "ready"
    youtube.api.fail(f"GET {BROADCASTS}", Fault(refusal(403, "liveStreamingNotEnabled")))
    refused = youtube.run("rotate", keyturn_force=True).check(2)
    assert "live streaming is not enabled for this channel" in refused.stdout
    assert youtube.api.writes == 0 and youtube.document().pending is None


def test_a_platform_that_is_described_in_data(platform: Credential) -> None:
    api = platform.api
    assert isinstance(api, StreamApi)
    old = api.add("in use for years")
    find = {
        "path": "/keys",
        "items": "/data",
        "name": "/label",
        "key": "/key",
        "fields": {"id": "/id"},
        "next": {"pointer": "/next", "query": "after"},
    }
    issue = {
        "path": "/keys",
        "body": {"name": "{credential} {rotation_id}"},
        "key": "/data/a~1b/stream~0key",
        "fields": {"id": "/data/id"},
        "find": find,
    }
    platform.define(
        {
            "type": "generic_http",
            "overlap": True,
            "login": {
                "base_url": f"{api.url}/v1",
                "token": platform.secret_file("token", api.token),
            },
            "issue": issue,
            "revoke": {"path": "/keys/{stage.id}"},
            "check": {"path": "/me"},
        }
    )
    platform.adopt(api.keys[old][1])
    platform.run("rotate", "-vvvv", "--diff", keyturn_force=True).check()
    current = platform.document().current
    assert current and sorted(api.keys) == sorted([old, current.text("id")])
    platform.run("retire_due").check()
    assert list(api.keys) == [current.text("id")]
    assert platform.key() == platform.key_file.read_text().strip()


def test_a_platform_whose_reset_ends_the_key_in_use(platform: Credential) -> None:
    api = platform.api
    assert isinstance(api, StreamApi)
    login = {"base_url": f"{api.url}/v1", "token": platform.secret_file("token", api.token)}
    issue = {"path": "/reset", "body": {}, "key": "/key"}
    issuer = {"type": "generic_http", "overlap": False, "login": login, "issue": issue}
    platform.define(issuer)
    old = api.single
    platform.adopt(old)
    predicted = platform.run("rotate", "--check", keyturn_force=True).check()
    assert "ends the value in use in the moment when it makes the new one" in predicted.output
    assert (api.writes, api.single) == (0, old)
    platform.run("rotate", keyturn_force=True).check()
    assert platform.key() == api.single == platform.key_file.read_text().strip()
    refused = platform.run("rollback").check(2)
    assert "was ended by the issuer when it made this one" in refused.stdout
    told = {"path": "/key", "body": {"key": "{stage.key}"}}
    platform.define({**issuer, "apply": told, "returns": True})
    is_told_its_old_key(platform, old)


def is_told_its_old_key(platform: Credential, old: str) -> None:
    """Before it was told, it accepts that key as little as any; so it is told first, and what is live waits for the proof."""
    api = platform.api
    assert isinstance(api, StreamApi)
    new, writes = api.single, api.writes
    platform.run("rollback", "--check").check()
    assert (api.writes, api.single, platform.key_file.read_text().strip()) == (writes, new, new)
    # It says that it was done, and does it later.
    api.fail(SET, Fault(Reply(200, {})))
    refused = platform.run("rollback").check(2)
    assert "Prove that it is accepted again" in refused.stdout
    assert platform.key_file.read_text().strip() == new == api.single
    assert platform.key() == old
    platform.run("rollback").check()
    assert platform.key() == old == api.single == platform.key_file.read_text().strip()
    platform.run("retire_due").check()
    assert platform.document().previous is None and api.single == old
    same = f'[ "$(cat {platform.key_file})" = "$(cat {platform.folder / "in-use"})" ]'
    relay = {"name": "relay", "type": "command", "argv": ["sh", "-c", same], "reads": ["key_file"]}
    returned = platform.run("rotate", keyturn_force=True, keyturn_consumers=[relay]).check(2)
    assert "The previous value was made current again and proved" in returned.stdout
    assert platform.key() == old == api.single == platform.key_file.read_text().strip()
