# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks of stores share: a module's core in this process, and a count of the requests that it sends."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import ModuleCore, execute

from bench.contest import Wrong

Values = Mapping[str, str]
_BEGINS = (b"GET ", b"POST ", b"PUT ", b"LIST ", b"PATCH ", b"DELETE ")
_LOGINS = ("VAULT_", "ANSIBLE_HASHI_VAULT_", "AWS_")
_TARGET = re.compile(rb"X-Amz-Target: \w+\.(\w+)", re.IGNORECASE)


def run_core(module: ModuleCore, options: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    """A module's arguments checked and its core run, as its action does in Ansible's process."""
    asked = ArgumentSpecValidator(dict(module.argument_spec)).validate(dict(options))
    if asked.error_messages:
        raise Wrong("; ".join(asked.error_messages))
    # Who runs this may be logged in somewhere; what is measured is the servers of the benchmark alone.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_LOGINS)}
    context = Context(environ={**inherited, **environ})
    try:
        return execute(module, dict(asked.validated_parameters), context)
    finally:
        context.close()


class Requests:
    """Counts the requests that this process sends, by Python's audit events.

    :ivar count: all of them.
    :ivar calls: those to AWS, by what AWS calls them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.calls: Counter[str] = Counter()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        # A request's body may be sent apart from its head.
        if event != "http.client.send" or not isinstance(arguments[1], bytes):
            return
        self.count += arguments[1].startswith(_BEGINS)
        self.calls.update(name.decode() for name in _TARGET.findall(arguments[1]))
