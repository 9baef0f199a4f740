# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``verify_ledger``: is the audit log whole, and does it agree with the keyring."""

from __future__ import annotations

from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import (
    chain_faults,
    tail_faults,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers import open_ledger
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)


def run(params: Params, context: Context) -> Result:
    """Check every line of the credential's chain.

    :raises Corrupt: with every fault that was found.
    """
    if not params.get("ledger"):
        raise BadInput(
            "ledger: missing; name the ledger to check, such as ref+file:///var/log/keyturn/NAME.jsonl"
        )
    access = open_keyring(params, context)
    credential = access.credential or (access.document.credential if access.document else "")
    ledger = open_ledger(
        params["ledger"], context, "ledger", to_verify=True, keyring=params["keyring"]
    )
    reading = ledger.read(credential)
    lines = reading.lines
    faults = [*reading.faults, *chain_faults(lines)]
    if access.document is not None:
        faults += tail_faults(lines, access.document.ledger)
    elif not lines:
        raise Absent(
            f"ledger: {params['ledger']} has no line of '{credential}', and there is no keyring that could tell of one"
        )
    else:
        context.warn(
            f"{credential}: there is no keyring to compare the ledger with, so a cut end would not show"
        )
    if faults:
        raise Corrupt(
            f"the ledger of {credential} does not hold: {'; '.join(faults)}",
            faults=faults,
            lines=len(lines),
        )
    recovered = [line["number"] for line in lines if line.get("recovered")]
    return {"changed": False, "lines": len(lines), "recovered": recovered, "faults": []}


MODULE = ModuleCore("verify_ledger", dict(KEYRING_OPTIONS), run)
