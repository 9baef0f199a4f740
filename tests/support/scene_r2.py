# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key pair for an object store, made through Cloudflare's API: no token may be left there that the keyring does not know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import reveal
from cloudflare_api import FakeToken
from cloudflare_store import Store
from estate.playbook import Ansible
from scene import FORCE, Flow, Scene, by_names
from world import World

NAME = "r2"
ID, KEY = "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"
ROTATE, RETIRE = "rotate at Cloudflare", "retire at Cloudflare"
ROTATE_FIRST, REVOKE_FIRST = "compromise at Cloudflare, rotate_first", "compromise at Cloudflare, revoke_first"  # fmt: skip
LONG_AGO = "2026-01-01T00:00:00Z"
BY_HAND = "made by hand"


def definition(folder: Path, store: Store, login: str, **changes: Any) -> dict[str, Any]:
    """The variables of a pair that an application reads from an env file.

    :param login: where the token of whoever rotates is.
    """
    api, env_file = store.api, folder / "r2.env"
    named = f"ref+file://{env_file}?format=env#/"
    shown = {ID: "{current.access_key_id}", KEY: "{current.secret_access_key}"}
    told = ["cp", str(env_file), f"{folder}/r2.held"]
    return {
        "keyturn_issuer": {
            "type": "cloudflare_r2",
            "login": {"token": login, "api": api.api, "timeout": "10s"},
            "account": api.account,
            "settle": "0s",
            **changes,
        },
        "keyturn_sinks": [
            {"name": key, "ref": f"{named}{key}", "template": it} for key, it in shown.items()
        ],
        "keyturn_consumers": [{"name": "app", "type": "command", "argv": told, "reads": [*shown]}],
        "keyturn_probes": [{"type": "s3", "endpoint": store.endpoint, "bucket": "music"}],
    }


class Tokens:
    """The tokens of an API by their ids, so that those that were ended can be put back."""

    def __init__(self, store: Store) -> None:
        self._store, self._known = store, dict[str, FakeToken]()

    def there(self) -> list[list[str]]:
        """Id, name and status of each."""
        tokens = self._store.api.tokens
        self._known.update(tokens)
        return [[token.id, token.name, token.status] for token in tokens.values()]

    def put_back(self, rows: list[list[str]]) -> None:
        """Have those alone, and nobody who used one lately."""
        self._store.api.tokens = {row[0]: self._known[row[0]] for row in rows}
        for token in self._store.api.tokens.values():
            token.used = LONG_AGO
        self._store.know()


class PairAtCloudflare(Scene):
    """See the top of this file."""

    name = "a pair at Cloudflare"

    def __init__(self, folder: Path, ansible: Ansible, store: Store) -> None:
        super().__init__(folder, ansible)
        self.store, self.api, self._tokens = store, store.api, Tokens(store)
        self.first, self.until = self.api.add(BY_HAND), ""
        self.seen = {
            "token of whoever rotates": self.api.login.value,
            "first token": self.first.value,
            "first secret": self.first.secret,
        }
        self.env_file, self.held = folder / "r2.env", folder / "r2.held"
        self.by_programs = {self.held.name}
        login = self.secret_file("login", self.api.login.value)
        for path in (self.env_file, self.held):
            self.secret_file(path.name, f"{ID}={self.first.id}\n{KEY}={self.first.secret}\n")
        self.define(NAME, **definition(folder, store, login, buckets=["music"]))

    def flows(self) -> list[Flow]:
        """A rotation, the end of the pair before it, and the answer to a compromise in both orders."""
        orders = ((ROTATE_FIRST, "rotate_first"), (REVOKE_FIRST, "revoke_first"))
        return [
            Flow(ROTATE, "rotate", self._adopted, once=FORCE),
            Flow(RETIRE, "retire_due", self._rotated),
            *(
                Flow(name, "respond_compromise", self._exposed, self._answer(order))
                for name, order in orders
            ),
        ]

    def _answer(self, order: str) -> Any:
        told = {"keyturn_reason": "in a log", "keyturn_hosts": NAME, "keyturn_response": order}
        return lambda: {**told, "keyturn_made_before": self.until}

    def _adopted(self) -> None:
        if not self.keyring(NAME).exists():
            named = f"ref+file://{self.env_file}?format=env#/"
            given = {"access_key_id": f"{named}{ID}", "secret_access_key": f"{named}{KEY}"}
            self.run("adopt", extra={"keyturn_adopt": given}).check()
            self._adopted_world = self.world()
        self.restore(self._adopted_world)

    def _rotated(self) -> None:
        self._adopted()
        self.run("rotate", extra=FORCE).check()
        self._tokens.put_back(self._tokens.there())

    def _exposed(self) -> None:
        self._rotated()
        self.until = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._old = {token.id for token in self.api.others}

    def holders(self) -> list[Path]:
        """See :meth:`Scene.holders`."""
        return [*super().holders(), self.env_file, self.held, self.folder / "login"]

    def beyond(self) -> Any:
        """The tokens."""
        return self._tokens.there()

    def put_back(self, world: World, now: World) -> None:
        """The tokens."""
        self._tokens.put_back(world["beyond"])

    def remember(self) -> None:
        """The values of the tokens, too: the API tells them once."""
        super().remember()
        for token in (*self.api.tokens.values(), *self.api.gone):
            self.seen[f"value of token {token.id}"] = token.value

    def used(self) -> str:
        """The id that the application signs with."""
        lines = dict(line.split("=", 1) for line in self.held.read_text().splitlines())
        return lines[ID].strip("'\"")

    def survives(self, flow: Flow, where: str) -> None:
        """Every token there is one that the keyring knows; the application's works, unless that is what was asked for."""
        known = self.rotations()
        lost = [
            token.name
            for token in self.api.others
            if token.name != BY_HAND and not any(one in token.name for one in known)
        ]
        assert not lost, f"{where}: nobody knows of the tokens {lost}"
        if flow.name != REVOKE_FIRST:
            assert self.used() in self.api.tokens, f"{where}: the application is locked out"
        assert not self.api.wrong, f"{where}: {self.api.wrong}"

    def ended(self, flow: Flow, where: str) -> None:
        """The new one is used; beside it there is the one before, after a rotation alone."""
        pair = self.current(NAME)
        mine = reveal(pair.fields["access_key_id"])
        there = {token.id for token in self.api.others}
        assert mine in there and self.used() == mine, where
        assert len(there) == (2 if flow.name == ROTATE else 1), f"{where}: {len(there)} tokens"
        if flow.name in (ROTATE_FIRST, REVOKE_FIRST):
            assert not there & self._old, f"{where}: a compromised token is still accepted"

    def beyond_by_names(self, names: Mapping[str, str]) -> Any:
        """The tokens by their stages."""
        return sorted([by_names(token.id, names), by_names(token.name, names), token.status] for token in self.api.others)  # fmt: skip
