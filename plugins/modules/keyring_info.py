#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a keyring shows of itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyring_info
short_description: Show the stages, ages and due dates of a credential's keyring
version_added: 0.1.0
description:
  - Reads a keyring and returns its stages with their statuses, ages and fingerprints, who works on it, and how due it is.
  - Never returns a value.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.attributes.info
options:
  policy:
    description: The credential's policy, as in C(keyturn_policy).
    type: dict
    default: {}
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: How old is the database password
  keyturn.runbooks.keyring_info:
    keyring: ref+vault://secret/keyrings/db_musehub
    credential: db_musehub
    policy: {rotate: age, max_age: 180d, grace: 48h}
  register: db_keyring
"""

RETURN = r"""
keyring:
  description: The state of the keyring.
  returned: success
  type: dict
  sample: {exists: true, credential: db_musehub, step: 7, stages: {}}
due:
  description: How due a rotation is.
  returned: success
  type: dict
  sample: {state: fresh}
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_info import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
