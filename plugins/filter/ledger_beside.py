# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that finds a place for the audit log beside the keyring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference

DOCUMENTATION = r"""
name: ledger_beside
short_description: Find the place of the audit log beside a keyring
version_added: 0.1.0
description:
  - Takes the reference of a credential's keyring and returns the reference of an audit log next to it, so that the log lasts as
    long as the keyring does, wherever the run takes place.
  - For a keyring in Vault that is a path of its own that ends in C(.ledger), at the same server and with the same login.
  - For a keyring in a file that is a file of its own that ends in C(.ledger.jsonl).
options:
  _input:
    description: Reference of the keyring.
    type: str
    required: true
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Check the audit log that lies beside the keyring
  keyturn.runbooks.verify_ledger:
    keyring: "{{ keyturn_keyring }}"
    ledger: "{{ keyturn_keyring | keyturn.runbooks.ledger_beside }}"
    credential: "{{ inventory_hostname }}"
"""

RETURN = r"""
_value:
  description: Reference of the audit log.
  type: str
  sample: ref+vault://secret/keyrings/db_musehub.ledger
"""

OPTION = "keyturn_keyring"


def beside(keyring: Any) -> str:
    """The ledger's reference.

    :raises AnsibleFilterError: for what is no reference, and for a keyring in a place that keeps no ledger.
    """
    try:
        reference = parse_reference(keyring, OPTION)
    except BadInput as error:
        raise AnsibleFilterError(error.message) from None
    place, mark, query = reference.place.partition("?")
    if reference.scheme == "vault":
        return f"{place}.ledger{mark}{query}"
    if reference.scheme == "file":
        return f"{place}.ledger.jsonl"
    raise AnsibleFilterError(
        f"{OPTION}: {reference.text}: no audit log can be kept beside it; name a place in keyturn_ledger, such as "
        "ref+vault://MOUNT/PATH, ref+file:///PATH or ref+syslog://HOST:PORT"
    )


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"ledger_beside": beside}
