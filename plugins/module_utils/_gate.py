# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``gate``: those of a credential's own gates that are asked on a machine, asked there."""

from __future__ import annotations

from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions import (
    closed,
    read_conditions,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    Params,
    Result,
)


def prepare(params: Params, context: Context) -> Params:
    """Leave out what is not asked there: the others' headers are logins, and no business of that machine.

    :raises BadInput: naming the key and what is expected; also when nothing is left to ask.
    """
    gates = params["gates"]
    pairs = zip(gates, read_conditions(gates))
    own = [gate for gate, condition in pairs if condition.on == params["host"]]
    if not own:
        where = f"with host '{params['host']}'" if params["host"] else "without host"
        raise BadInput(
            f"gates: there is none {where}, so nothing would be asked; expected at least one. 'host' has to be that of the gates"
        )
    return {**params, "gates": own}


def run(params: Params, context: Context) -> Result:
    """Ask them.

    :raises BadInput: naming the key and what is expected.
    """
    return {
        "changed": False,
        "closed": closed(params["gates"], context, host=params["host"]),
    }


MODULE = ModuleCore(
    name="gate",
    argument_spec={
        "gates": {"type": "list", "elements": "dict", "required": True},
        "host": {"type": "str", "default": ""},
    },
    run=run,
    prepare=prepare,
    host=True,
)
