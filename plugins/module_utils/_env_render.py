# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``env_render``: an env file from all parameters below a path of AWS's Parameter Store.

Where they are read (on the controller, or on the host with its own role), and where the file is, are two things: the values travel
in one opaque text. What is written is the whole file or, with ``others: keep``, the lines that are named below the path.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_file import (
    FILE_OPTIONS,
    attributes_of,
    keep_of,
    place_of,
    tidy_copies,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render_plan import (
    CONTROLLER,
    HOST,
    KEEP,
    REFUSE,
    REMOVE,
    TAKE,
    WAIT,
    Difference,
    difference,
    read_rules,
    text_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render_source import (
    Expected,
    Source,
    source_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Wanted, bring
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._define import WHOLE
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env import EnvCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Codec,
    FilePlace,
    TextCodec,
)

MODE = "0600"


@dataclass(frozen=True)
class Rendered:
    """What was, or in check mode would be, done to the file.

    :param changed: also for a mode or an owner that was not as it should be.
    """

    changed: bool
    names: Difference
    copies: Mapping[str, Any]

    def result(self) -> Result:
        """What the result says: names alone."""
        return {
            "added": list(self.names.added),
            "updated": list(self.names.updated),
            "removed": list(self.names.removed),
        }

    def diff(self, title: str) -> Dict[str, str]:
        """A diff as Ansible shows it, with names and no values."""
        before = {name: name for name in (*self.names.updated, *self.names.removed)}
        after = {name: f"{name} (added)" for name in self.names.added}
        after.update((name, f"{name} (another value)") for name in self.names.updated)
        lines = ["".join(f"{side[name]}\n" for name in sorted(side)) for side in (before, after)]
        return {"before_header": title, "after_header": title, "before": lines[0], "after": lines[1]}  # fmt: skip


def file_options(given: Mapping[str, Any]) -> Params:
    """The options of the file: what is not given is as the module's options have it, and the mode 0600.

    :raises BadInput: for a wrong one.
    """
    options = {name: spec.get("default") for name, spec in FILE_OPTIONS.items()}
    options.update((name, given[name]) for name in FILE_OPTIONS if given.get(name) is not None)
    options["mode"] = options["mode"] or MODE
    attributes_of(options)
    keep_of(options)
    return options


class EnvFile:
    """The file on this machine.

    :param given: the options of a task or the keys of a consumer.
    :param where: how messages name it.
    """

    def __init__(self, given: Mapping[str, Any], where: str, context: Context) -> None:
        self._options = file_options(given)
        self._others = given.get("others") or REMOVE
        self._dialect = str(self._options["dialect"])
        self._where = where
        self._context = context
        codec: Codec = TextCodec() if self._others == REMOVE else EnvCodec(self._dialect)
        self._place: FilePlace = place_of(
            str(given["env_file"]), codec, self._options, where, context
        )

    def _wanted(self, fields: Mapping[str, Secret]) -> Wanted:
        text = text_of(fields, self._dialect, self._where)
        if self._others != REMOVE:
            return Wanted(self._where, dict(fields))
        known = all(value.known for value in fields.values())
        return Wanted(self._where, {WHOLE: Secret(text, known)})

    def bring(self, fields: Mapping[str, Secret]) -> Rendered:
        """Make the file hold these, in one replacement; in check mode only find out.

        :raises BadInput: for a value that its readers could not be given; the file is as it was.
        :raises KeyturnError: as the file gives cause.
        """
        wanted = self._wanted(fields)
        outcome = bring(self._place, wanted, no_guard, self._context)
        state = outcome.observed.state
        before: Optional[str] = getattr(state, "text", "") if outcome.observed.exists else None
        names = difference(before, fields, self._others, self._dialect)
        if not outcome.changes:
            names = Difference()
        for note in outcome.observed.notes:
            self._context.warn(f"{self._where}: {note}")
        copies = tidy_copies(self._place, outcome)
        return Rendered(outcome.changed, names, copies)


def sealed(values: Mapping[str, Secret]) -> str:
    """Variables as one opaque text, on their way to another machine."""
    body = {name: [value.reveal(), value.known] for name, value in values.items()}
    return base64.b64encode(json.dumps(body).encode()).decode()


def unsealed(text: str) -> Dict[str, Secret]:
    """What :func:`sealed` was given."""
    body = json.loads(base64.b64decode(text))
    return {name: Secret(pair[0], pair[1]) for name, pair in body.items()}


def _where(params: Params) -> str:
    return f"env_render ({params['env_file']})"


def _read(params: Params, context: Context) -> Dict[str, Secret]:
    source = Source(source_of(params["path"], "path"), context, "env_render")
    return source.settled(read_rules(params, ""), Expected())


def prepare(params: Params, context: Context) -> Params:
    """Read the parameters on the controller, unless the host does, and refuse what is wrong before it is asked.

    :raises BadInput, Absent, Denied, Refused, Unreachable: as options and AWS give cause.
    """
    source_of(params["path"], "path")
    read_rules(params, "")
    file_options(params)
    if params["read_from"] == HOST:
        return params
    values = _read(params, context)
    text_of(values, params["dialect"], _where(params))
    return {**params, "contents": {"sealed": sealed(values)}}


def run(params: Params, context: Context) -> Result:
    """Compare and replace the file, on the machine where it is.

    :raises KeyturnError: as AWS and the file give cause; it is as it was then.
    """
    where, text = _where(params), (params.get("contents") or {}).get("sealed")
    if params["read_from"] == CONTROLLER and not text:
        raise BadInput(
            "env_render: this module gets its values from its action plugin; call it as keyturn.runbooks.env_render in a task"
        )
    own = params["read_from"] == HOST
    values = _read(params, context) if own else unsealed(reveal(text or ""))
    done = EnvFile(params, where, context).bring(values)
    result = {"changed": done.changed or bool(done.copies["pruned"]), "file": params["env_file"]}
    result = {**result, "variables": sorted(values), **done.result(), **done.copies}
    if context.diff:
        result["diff"] = done.diff(params["env_file"])
    return result


RENDER_OPTIONS: Mapping[str, Any] = {
    "path": {"type": "str", "required": True},
    "env_file": {"type": "path", "required": True},
    "pairs": {"type": "list", "elements": "list", "default": []},
    "unmarked": {"type": "str", "choices": [REFUSE, TAKE], "default": REFUSE},
    "names": {"type": "dict", "default": {}},
    "skip": {"type": "list", "elements": "str", "default": []},
    "recursive": {"type": "bool", "default": False},
    "watch_marks": {"type": "bool", "default": True},
    "others": {"type": "str", "choices": [REMOVE, KEEP], "default": REMOVE},
    "read_from": {"type": "str", "choices": [CONTROLLER, HOST], "default": CONTROLLER},
    "wait": {"type": "str", "default": WAIT},
}
MODULE = ModuleCore(
    name="env_render",
    argument_spec={
        **RENDER_OPTIONS,
        **FILE_OPTIONS,
        "mode": {"type": "raw", "default": MODE},
        "contents": {"type": "dict", "no_log": True},
    },
    run=run,
    host=True,
    prepare=prepare,
)
