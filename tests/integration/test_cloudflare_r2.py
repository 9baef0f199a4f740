# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key pair for an object store, in two parameters of AWS: made through Cloudflare's API, and by hand in its dashboard."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    parse_document,
)
from api_server import Fault
from aws_world import AwsWorld
from cloudflare_api import MAKE, CloudflareApi, FakeToken, refusal
from cloudflare_store import Store, store_of
from estate.moto import MotoServer
from estate.playbook import Ansible, PlaybookResult

NAME = "musehub_production_r2"
ID, KEY = "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"
LONG_AGO = "2026-01-01T00:00:00Z"
FORCE = {"keyturn_force": True}


class Credential:
    """One pair: an inventory, a keyring, two parameters that belong together, and one with both."""

    def __init__(self, folder: Path, ansible: Ansible, store: Store, aws: AwsWorld) -> None:
        self.folder, self.ansible, self.store, self.aws = folder, ansible, store, aws
        self.api = store.api
        self.keyring = folder / "keyring.json"

    def secret_file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        return f"ref+file://{path}"

    def define(self, issuer: dict[str, Any]) -> None:
        shown = {ID: "{current.access_key_id}", KEY: "{current.secret_access_key}"}
        group = [
            {"name": name, "ref": f"ref+awsssm:/{self.aws.name(name)}", "template": template}
            for name, template in shown.items()
        ]
        both = {"name": "both", "ref": f"ref+awsssm:/{self.aws.name('R2')}?mode=singleparam"}
        variables = {
            "keyturn_keyring": f"ref+file://{self.keyring}",
            "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
            "keyturn_issuer": issuer,
            "keyturn_sinks": [
                {"name": "parameters", "group": group},
                {**both, "fields": {"id": shown[ID], "secret": shown[KEY]}},
            ],
            "keyturn_probes": [{"type": "s3", "endpoint": self.store.endpoint, "bucket": "music"}],
            "keyturn_wait": "20s",
            "keyturn_interval": "1s",
        }
        place = self.folder / "inventory"
        (place / "host_vars").mkdir(parents=True)
        hosts = {"all": {"children": {"credentials": {"hosts": {NAME: None}}}}}
        (place / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (place / "host_vars" / f"{NAME}.yml").write_text(yaml.safe_dump(variables))

    def _arguments(self, extra: dict[str, Any]) -> dict[str, Any]:
        inventory = self.folder / "inventory"
        return {"inventory": inventory, "extra_vars": extra, "env": self.aws.environ}

    def checked(self, done: PlaybookResult) -> PlaybookResult:
        """Nothing secret was told, and each value is only where it belongs."""
        assert not self.api.wrong
        assert "told by" not in done.output
        given = ("token", "by-hand-secret", "keyring.json")
        texts = [
            path.read_text(errors="replace")
            for path in self.folder.rglob("*")
            if path.is_file() and path.name not in given
        ]
        for text in (done.output, *texts, *self.api.lines):
            assert not any(value in text for value in self.api.secrets)
        # The value of a token is kept nowhere, but for the one of whoever rotates.
        kept = self.keyring.read_text() if self.keyring.exists() else ""
        assert not any(token.value in kept for token in (*self.api.tokens.values(), *self.api.gone))
        return done

    def run(self, playbook: str, *arguments: str, **extra: Any) -> PlaybookResult:
        name = f"keyturn.runbooks.{playbook}"
        return self.checked(self.ansible.run(name, *arguments, **self._arguments(extra)))

    def killed_when_a_token_was_made(self) -> PlaybookResult:
        """A rotation that is killed before it hears of the token that it had made."""
        made, over, know = threading.Event(), threading.Event(), self.api.changed

        def hold() -> None:
            know()
            made.set()
            over.wait(120)

        self.api.changed = hold
        running = self.ansible.start("keyturn.runbooks.rotate", **self._arguments(FORCE))
        assert made.wait(120), running.stdout()
        killed = running.kill()
        self.api.changed = know
        over.set()
        return self.checked(killed)

    def document(self) -> Document:
        return parse_document(self.keyring.read_text())

    def current(self) -> Stage:
        found = self.document().current
        assert found
        return found

    def published(self) -> tuple[str, str]:
        """What the parameters hold, all of them the same and of the same rotation."""
        pair = (self.aws.held(ID)[0], self.aws.held(KEY)[0])
        both = json.loads(self.aws.held("R2")[0])
        assert (both["id"], both["secret"]) == pair
        mark = f"[keyturn rotation {self.current().rotation_id} of "
        assert all(mark in self.aws.described(name)["Description"] for name in (ID, KEY))
        return pair


@pytest.fixture
def credential(scratch: Path, ansible: Ansible, moto: MotoServer) -> Iterator[Credential]:
    with CloudflareApi() as api, store_of(api, "music") as store:
        yield Credential(scratch, ansible, store, AwsWorld(moto))


def pair_of(token: FakeToken) -> tuple[str, str]:
    return token.id, token.secret


def adopted(credential: Credential) -> FakeToken:
    """A pair that was made by hand and stands in two parameters, and is taken over."""
    api, aws = credential.api, credential.aws
    token = credential.secret_file("token", api.login.value)
    login = {"token": token, "api": api.api, "timeout": "30s"}
    credential.define(
        {"type": "cloudflare_r2", "login": login, "account": api.account, "settle": "0s"}
    )
    first = api.add("made by hand")
    for name, value in zip((ID, KEY), pair_of(first), strict=True):
        aws.put(name, value)
    given = {
        "access_key_id": f"ref+awsssm:/{aws.name(ID)}",
        "secret_access_key": f"ref+awsssm:/{aws.name(KEY)}",
    }
    credential.run("adopt", keyturn_adopt=given).check()
    return first


def test_a_pair_is_replaced_by_another_and_its_token_deleted_when_nobody_uses_it(
    credential: Credential,
) -> None:
    api, store = credential.api, credential.store
    first = adopted(credential)
    predicted = credential.run("rotate", "--check", "--diff", **FORCE).check()
    assert "(new)" in predicted.stdout and api.writes == 0
    assert credential.killed_when_a_token_was_made().returncode < 0
    [_first, lost] = api.others
    pending = credential.document().pending
    assert pending and pending.status == "intended" and pending.rotation_id in lost.name
    # The new one is made after a while, and accepted after another.
    api.fail(MAKE, Fault(refusal(429, 971, **{"Retry-After": "1"})))
    store.late = 2
    credential.run("rotate", "-vvv", "--diff", **FORCE).check()
    [_first, made] = api.others
    assert made is not lost and api.gone == [lost]
    assert (made.policies[0]["resources"], made.may) == (first.policies[0]["resources"], first.may)
    assert credential.published() == pair_of(made)
    proofs = {(proof["type"], proof["against"]) for proof in credential.current().evidence}
    assert proofs == {("s3", f"bucket music at {store.endpoint}")}
    refused = credential.run("retire_due").check(2)
    assert f"somebody with access key id {first.id}, last on" in refused.stdout
    first.used = LONG_AGO
    api.fail("delete-token", Fault(refusal(429, 971)))
    store.late = 3
    credential.run("retire_due").check()
    assert api.others == [made] and not credential.document().previous
    assert store.asked[-2:] == [("GET", "/music", first.id), ("GET", "/music", made.id)]


def test_a_pair_that_a_person_makes_in_the_dashboard(credential: Credential) -> None:
    """The id and the secret are handed over, and proved together: with the secret of another key there is no pair, and nothing changes."""
    api = credential.api
    values = {
        "access_key_id": credential.secret_file("by-hand-id", ""),
        "secret_access_key": credential.secret_file("by-hand-secret", ""),
    }
    where = "dash.cloudflare.com, R2, Manage API tokens"
    told = {"make": f"{where}: Create", "end": f"{where}: Delete"}
    credential.define({"type": "operator", "overlap": True, "values": values, **told})
    first, second, third = (api.add(f"made by hand, {number}") for number in range(3))

    def hand(token_id: str, secret: str) -> None:
        credential.secret_file("by-hand-id", token_id)
        credential.secret_file("by-hand-secret", secret)

    hand(*pair_of(first))
    credential.run("rotate").check()
    assert credential.published() == pair_of(first)
    hand(second.id, third.secret)
    mixed = credential.run("rotate", keyturn_wait="1s", **FORCE).check(2)
    assert "SignatureDoesNotMatch: the pair is not accepted" in mixed.stdout
    assert credential.published() == pair_of(first)
