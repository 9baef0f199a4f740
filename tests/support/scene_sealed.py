# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows and files that are encrypted with a Fernet key which was replaced: an application has to open all of them at any moment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import reveal
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from estate.databases import Database
from estate.playbook import Ansible
from scene import FORCE, Flow, Scene
from world import World

NAME, ROWS, FILES, PAGE = "webhook_key", 10, 2, 4
REENCRYPT, TOO_EARLY, RETIRE = "reencrypt", "retire before reencrypt", "retire after reencrypt"


class Sealed(Scene):
    """See the top of this file.

    :ivar held: the keys that the application was told of last.
    """

    name = "what is stored under a key"

    def __init__(self, folder: Path, ansible: Ansible, database: Database) -> None:
        super().__init__(folder, ansible)
        self.database, self.keys, self.held = database, folder / "keys", folder / "held"
        first = Fernet.generate_key().decode()
        for name in ("keys", "held", "in-use"):
            self.secret_file(name, first)
        self.by_programs = {"held"}
        keeper = f"{database.name}_keeper"
        password = database.create_login(keeper, member_of_owner=False)
        self.secret_file("keeper", json.dumps({"username": keeper, "password": password}))
        self.seen = {"first key": first, "password of the keeper": password}
        self._store(Fernet(first.encode()), keeper)
        self._define()

    def _store(self, sealer: Fernet, keeper: str) -> None:
        run = self.database.execute
        run("CREATE TABLE public.hooks (id int PRIMARY KEY, secret text)")
        run(f'GRANT SELECT, UPDATE (secret) ON public.hooks TO "{keeper}"')
        for number in range(ROWS):
            token = sealer.encrypt_at_time(f"row {number}".encode(), 1_500_000_000).decode()
            run("INSERT INTO public.hooks VALUES (%s, %s)", (number, token))
        for number in range(FILES):
            self.secret_file(f"{number}.enc", sealer.encrypt(f"file {number}".encode()).decode())

    def _define(self) -> None:
        server, folder = self.database.server, self.folder
        login = {"host": server.host, "port": server.port, "dbname": self.database.name}
        login["admin"] = f"ref+file://{folder}/keeper"
        told = ["cp", str(self.keys), str(self.held)]
        known = ["grep", "-qFf", "-", str(self.held)]
        shown = {"stdin": "{stage.value}", "refused_rc": [1]}
        listed = "{current,pending,previous.value|join:,}"
        self.define(
            NAME,
            keyturn_policy={"rotate": "on_compromise", "grace": "0s"},
            keyturn_generate={"value": {"type": "fernet"}},
            keyturn_issuer={"type": "generated", "overlap": True},
            keyturn_sinks=[{"name": "keys", "ref": f"ref+file://{self.keys}", "template": listed}],
            keyturn_consumers=[{"name": "app", "type": "command", "argv": told, "reads": ["keys"]}],
            keyturn_probes=[{"type": "command", "argv": known, **shown}],
            keyturn_reencrypt=[
                {"type": "postgres_rows", "login": login, "table": "hooks", "column": "secret", "page": PAGE},
                {"type": "files", "path": f"{folder}/*.enc"},
            ],
        )  # fmt: skip

    def flows(self) -> list[Flow]:
        """The re-encryption, and the end of the key before and after it."""
        return [
            Flow(REENCRYPT, "reencrypt", self._replaced, still=True),
            Flow(TOO_EARLY, "retire_due", self._replaced, code=2),
            Flow(RETIRE, "retire_due", self._renewed),
        ]

    def _replaced(self) -> None:
        if not self.keyring(NAME).exists():
            given = {"value": f"ref+file://{self.folder}/in-use"}
            self.run("adopt", extra={"keyturn_adopt": given}).check()
            self.run("rotate", extra={**FORCE, "keyturn_reason": "leaked"}).check()
            self._replaced_world = self.world()
        self.restore(self._replaced_world)

    def _renewed(self) -> None:
        self._replaced()
        self.run("reencrypt").check()

    def holders(self) -> list[Path]:
        """See :meth:`Scene.holders`."""
        given = [self.folder / name for name in ("in-use", "keeper")]
        return [*super().holders(), self.keys, self.held, *given, *self._files()]

    def _files(self) -> list[Path]:
        return [self.folder / f"{number}.enc" for number in range(FILES)]

    def beyond(self) -> Any:
        """The rows."""
        found = self.database.execute("SELECT id, secret FROM public.hooks ORDER BY id")
        return [list(row) for row in found]

    def put_back(self, world: World, now: World) -> None:
        """The rows."""
        for number, token in world["beyond"]:
            self.database.execute("UPDATE public.hooks SET secret = %s WHERE id = %s", (token, number))  # fmt: skip

    def _tokens(self) -> Iterator[tuple[str, str]]:
        """What has to come out, and what is stored."""
        yield from ((f"row {number}", token) for number, token in self.beyond())
        yield from ((f"file {path.stem}", path.read_text()) for path in self._files())

    def survives(self, flow: Flow, where: str) -> None:
        """The application opens everything, with the keys that it was told of."""
        keys = MultiFernet([Fernet(key) for key in self.held.read_text().split(",")])
        stored = [*self._tokens()]
        assert len(stored) == ROWS + FILES, f"{where}: something is gone"
        for text, token in stored:
            assert _opened(keys, token) == text, f"{where}: {text} is lost"

    def ended(self, flow: Flow, where: str) -> None:
        """All is under the key in use; or, where that is not so, the older one is still there."""
        key, first = reveal(self.current(NAME).fields["value"]), self.seen["first key"]
        listed = self.held.read_text().split(",")
        if flow.name == TOO_EARLY:
            assert listed == [key, first], where
            return
        for text, token in self._tokens():
            assert _opened(Fernet(key), token) == text, f"{where}: {text}"
        assert listed == ([key] if flow.name == RETIRE else [key, first]), where
        assert self.keys.read_text() == self.held.read_text(), where

    def text_of(self, path: Path, names: Mapping[str, str]) -> str:
        """A token by the key that opens it: two are never alike."""
        text = super().text_of(path, names)
        return _key_of(text, names) if path.suffix == ".enc" else text

    def beyond_by_names(self, names: Mapping[str, str]) -> Any:
        """Rows by their keys."""
        return [(number, _key_of(token, names)) for number, token in self.beyond()]


def _opened(keys: Fernet | MultiFernet, token: str) -> str:
    try:
        return keys.decrypt(token.encode()).decode()
    except InvalidToken:
        return ""


def _key_of(token: str, names: Mapping[str, str]) -> str:
    keys = {value: name for value, name in names.items() if len(value) == 44}
    return next((name for key, name in keys.items() if _opened(Fernet(key), token)), "none")
