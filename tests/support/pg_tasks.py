# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of the module ``pg_role`` without Ansible around them, and estates for them to work on."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils import _pg_role
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._ensure import RoleJob
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._login import open_login
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._wish import Wish
from estate.databases import Database
from pg_world import World, second_database

Params = dict[str, Any]


@dataclass
class Tasks:
    """Runs the module's core as a task would."""

    database: Database
    admin: tuple[str, str]
    warnings: list[str] = field(default_factory=list)

    def login(self) -> Params:
        """The task's ``login``."""
        server = self.database.server
        admin = {"username": self.admin[0], "password": self.admin[1]}
        return {
            "host": server.host,
            "port": server.port,
            "dbname": self.database.name,
            "admin": admin,
        }

    def __call__(self, check: bool = False, **params: Any) -> Params:
        """One task; ``check`` for check mode."""
        defaults = {name: option.get("default") for name, option in _pg_role.SPEC.items()}
        context = Context(check_mode=check, diff=True, warn=self.warnings.append)
        return _pg_role.run({**defaults, "login": self.login(), **params}, context)

    def job(self, wish: Wish, **options: Any) -> RoleJob:
        """The job behind a task, to interfere with it."""
        context = Context(warn=self.warnings.append)
        server = Server(
            open_login(self.login(), context, "login"), context, options.pop("lock_wait", 60)
        )
        return RoleJob(server, wish, context, **options)


@contextlib.contextmanager
def worlds(database: Database) -> Iterator[Callable[[bool], World]]:
    """A function that makes an estate; ``owned`` when the role in use owns things."""
    with contextlib.ExitStack() as stack:
        second = stack.enter_context(second_database(database.server, f"{database.name}_two"))

        def make(owned: bool = False) -> World:
            secret = database.create_login(f"{database.name}_a", member_of_owner=False)
            world = World(database.server, database.name, second, secret)
            stack.callback(world.close)
            world.build(owned)
            return world

        yield make


def password() -> str:
    """A new password with characters that need quoting."""
    return "p'\"%é\\ " + secrets.token_urlsafe(24)


def log_since(database: Database, start: int) -> str:
    """What the server logged since then."""
    return database.server.log()[start:]
