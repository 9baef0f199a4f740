#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Older versions that carry a compromised value, and their end."""

from __future__ import annotations

DOCUMENTATION = r"""
module: old_versions
short_description: Destroy older versions that carry a compromised value
version_added: 0.1.0
description:
  - Looks into the older versions that the places of a credential keep, and destroys those that carry a value that was compromised and is
    refused by now. The playbook C(respond_compromise) does this at its end.
  - Which versions carry it is told by what they hold. Every one is read. What is in use in a place is never destroyed, whatever it holds.
  - "In Vault: versions are destroyed, which cannot be undone. A version that was deleted cannot be looked into and is told."
  - "In AWS Secrets Manager: all labels but AWSCURRENT and AWSPENDING are taken off, so that AWS may remove the version. AWS lets nobody
    do more, and the result says what it keeps."
  - "In AWS's Parameter Store: what O(history) says."
  - Kubernetes keeps no older versions. Copies of files are removed by M(keyturn.runbooks.publish), with its option C(carrying).
  - Then the value is taken out of the keyring itself, where its fingerprint stays, and the keyring's own older versions that have it are
    destroyed. A keyring in Systems Manager has each version as a parameter, which is removed.
  - A place that denies something keeps nothing else from being done. The task fails at its end, names all of them and the missing right,
    and the keyring keeps the value, by which it is found the next time.
  - It refuses where what was compromised may still be accepted.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.attributes
options:
  keyring:
    required: true
  sinks:
    description: The places that the credential is published to, as in C(keyturn_sinks).
    type: list
    elements: dict
    default: []
  history:
    description:
      - What becomes of the history of parameters in AWS, which whoever may call C(ssm:GetParameterHistory) can read.
      - With V(undecided) the result and a warning tell which versions carry the value, and what V(push_out) would take. The keyring keeps
        the value, by which they are found, until another run decides.
      - With V(leave) they are told and stay, and the value is taken out of the keyring, so that they cannot be found any more. That is so
        of whatever else is left too, such as a version of Vault that somebody deleted and that cannot be looked into.
      - With V(push_out) the value in use is written again until AWS has dropped the versions that carry the other, which it does once there
        are 100 newer ones. Readers find the value in use all the time. All that is older than those versions goes with them. AWS takes
        three such writes in a second, and each is an event for whoever listens to changes of parameters.
    type: str
    choices: [undecided, leave, push_out]
    default: undecided
  copies:
    description:
      - Results of M(keyturn.runbooks.publish) for the copies of files on each host. They are told with the rest, and a failure among them
        is one of this task.
    type: list
    elements: dict
    default: []
seealso:
  - module: keyturn.runbooks.vault_kv
  - module: keyturn.runbooks.publish
  - module: keyturn.runbooks.keyring_info
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: See what would be destroyed
  keyturn.runbooks.old_versions:
    keyring: "{{ keyturn_keyring }}"
    ledger: beside
    credential: db_musehub
    sinks: "{{ keyturn_sinks }}"
  check_mode: true
"""

RETURN = r"""
msg:
  description: How many versions were destroyed, and what stays, as a sentence. On failure, the places that refused, and why.
  returned: always
  type: str
places:
  description: Each place that was looked at. Empty when nothing that was compromised is kept.
  returned: success, or when a place refused
  type: list
  elements: dict
  contains:
    place:
      description: Its name.
      type: str
      returned: always
    looked:
      description: How many older versions were looked into.
      type: int
      returned: always
    destroyed:
      description:
        - What the place calls the versions that carried the value and were destroyed, or lost their labels. In check mode, those that would
          be, as far as they are there; a run that has yet to rotate makes more of them.
      type: list
      elements: str
      returned: always
    left:
      description: What stays, and why, as sentences.
      type: list
      elements: str
      returned: always
    error:
      description: Why it could not be looked at, or not be changed. Empty when it could.
      type: str
      returned: always
keyring:
  description: The state of the keyring afterwards, without values.
  returned: success
  type: dict
replay:
  description: The steps predicted so far, for the tasks that follow.
  returned: in check mode
  type: list
  elements: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions_task import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
