# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the module ``consumer`` on the consumer's machine: it is looked at, or told and seen, alone or with others."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Iterator

from ansible_collections.keyturn.runbooks.plugins.module_utils import _pgbouncer_change
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    Consumer,
    parse_consumer,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._define import clean
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._open import (
    check,
    pick_up,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._open import (
    prepare as make_ready,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._port import Task
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._together import (
    Member,
    tell_together,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Params, Result
from ansible_collections.keyturn.runbooks.plugins.module_utils._redact import unseal_values
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal

OPTION = "definition"


@contextmanager
def named(consumer: Consumer) -> Iterator[None]:
    """Errors inside of it name the consumer and its host: whoever is told of one has nothing else beside the message."""
    bare = f"consumer {consumer.name}: "
    where = f"consumer {consumer.name} on {consumer.host}: " if consumer.host else bare
    try:
        yield
    except KeyturnError as error:
        if error.message.startswith(where):
            raise
        told = error.message[len(bare) :] if error.message.startswith(bare) else error.message
        raise type(error)(f"{where}{told}", **error.details) from None


def _unsealed(sealed: Secret | None) -> Params:
    if not sealed:
        raise BadInput(
            f"{OPTION}: type pgbouncer follows from a keyring; give 'keyring', or use the module "
            "pgbouncer"
        )
    options: Params = json.loads(base64.b64decode(reveal(sealed)))
    return options


def _run_pgbouncer(sealed: Secret | None, context: Context) -> Result:
    result = _pgbouncer_change.run(_unsealed(sealed), context)
    action = "reload" if result["reloaded"] else "none"
    seen = not (context.check_mode and result["changed"])
    return {**result, "action": action, "coalesced": False, "seen": seen}


def _look(consumer: Consumer, task: Task, params: Params, context: Context) -> Result:
    """See whether the consumer could be told now, or how it is doing; it is not touched."""
    verify = params["look"] == "verify"
    with named(consumer):
        if consumer.type == "pgbouncer":
            options = _unsealed((params.get("contents") or {}).get("sealed"))
            _pgbouncer_change.look(options, context, options["second"], options["line"])
        elif verify and consumer.type == "systemd":
            # Imported where it is used, as in _open: Ansible compiles each module of a collection anew in every run.
            from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._systemd import (
                SystemdUnit,
            )

            SystemdUnit(task).verify()
        elif consumer.type != "none":
            check(task)
    return {"changed": False, "consumer": consumer.name, **task.told}


@dataclass(frozen=True)
class Part:
    """One consumer on its machine, as the controller told of it.

    :param sealed: what no log may show.
    """

    consumer: Consumer
    task: Task
    due: bool
    sealed: Secret | None

    @property
    def lane(self) -> str:
        """What it shares with those that cannot be told at the same moment: the compose command of this machine."""
        return "compose" if self.consumer.type in ("compose", "deploy") else ""

    def ready(self) -> None:
        """See whether it can be told, and make it ready.

        :raises KeyturnError: it cannot.
        """
        adapted = self.consumer.type not in ("pgbouncer", "none")
        if self.due and adapted and not self.task.context.check_mode:
            with named(self.consumer):
                if check(self.task):
                    make_ready(self.task)

    def tell(self, prepared: bool = False) -> Result:
        """Have it pick up its value.

        :param prepared: it was made ready.
        :raises KeyturnError: it was not seen using it.
        """
        result: Result = {"changed": False, "consumer": self.consumer.name, "due": self.due}
        if not self.due or self.consumer.type == "none":
            return {**result, "action": "none", "coalesced": False, "seen": True}
        if self.consumer.type == "pgbouncer":
            return {**result, **_run_pgbouncer(self.sealed, self.task.context)}
        with named(self.consumer):
            done = pick_up(self.task, prepared=prepared)
        return {**result, **self.task.told, **done, "changed": done["action"] != "none"}


def parts(params: Params, context: Context) -> list[Part]:
    """The consumer, and those that are told together with it."""
    contents = params.get("contents") or {}
    more = contents.get("more") or [None] * len(params["together"])
    found = []
    told = [(OPTION, params, contents.get("sealed"))]
    told += [("together", it, more[index]) for index, it in enumerate(params["together"])]
    for option, given, sealed in told:
        definition = clean(given["definition"])
        consumer = parse_consumer(definition, option)
        hidden = unseal_values({"sealed": sealed}) if consumer.type != "pgbouncer" else ()
        files = tuple(given.get("files") or ())
        task = Task(consumer.name, definition, context, files=files, hidden=hidden)
        found.append(Part(consumer, task, bool(given.get("due", True)), sealed))
    return found


def run(params: Params, context: Context) -> Result:
    """Have the consumer pick up its value, on its machine, together with those of ``together``.

    :raises KeyturnError: one was not seen using it.
    """
    first, *rest = parts(params, context)
    if params.get("look"):
        return _look(first.consumer, first.task, params, context)
    if not rest:
        return first.tell()
    members = [Member(it.ready, partial(it.tell, prepared=True), it.lane) for it in (first, *rest)]
    told, *others = tell_together(members)
    changed = any(result["changed"] for result in (told, *others))
    return {**told, "changed": changed, "together": others}
