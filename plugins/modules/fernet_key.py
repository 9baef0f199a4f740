#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, check, list and rotate Fernet keys."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fernet_key
short_description: Make, check, list and rotate Fernet keys in a folder, and check those of a list
version_added: 0.1.0
description:
  - Keeps a folder of numbered Fernet keys as Keystone has it. File C(0) is I(staged), which decrypts and is the next to encrypt. The
    highest number is the I(primary), which encrypts. All between are I(secondary) and decrypt.
  - A rotation gives the staged key the next number, makes a new C(0), and removes the oldest secondary keys beyond O(max_active_keys).
    It never removes the primary, the staged key, or one that may be needed still (O(keep_for)).
  - A run that was killed at any point is ended by the next one, which does not rotate a second time. No reader sees a part of a key,
    and at no time is the staged or the primary key missing.
  - With O(value), looks at a key or a list of keys by reference, such as that of a consumer with C(MultiFernet).
  - A key is 32 bytes in URL-safe base64 with padding, 44 characters. One that is not is refused, by its file or its position, with
    what is wrong with it and nothing of the value.
  - The host needs no library beside Python's own. The list's reference is resolved on the controller, and no value of it goes to the
    host. Keys of files are made on the host and stay there.
  - "A key in a store is made by O(keyturn.runbooks.ssm_secret#module:generate), O(keyturn.runbooks.vault_kv#module:generate) or
    O(keyturn.runbooks.env_file#module:generate) with V({type: fernet}), and rotated as a credential."
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
  - keyturn.runbooks.attributes.file
attributes:
  idempotent:
    description: O(state=rotated) rotates when O(max_age) or O(from_primary) says so, and else changes nothing.
    support: full
options:
  path:
    description:
      - The folder, as an absolute path, such as V(/etc/keystone/fernet-keys). The one above it must exist.
      - The folder itself is locked meanwhile, also against other runs of this module, but not against C(keystone-manage). Let one of
        the two alone rotate its keys.
    type: path
  state:
    description:
      - V(present) makes the folder, a primary and a staged key where they are missing, and ends what a killed run began.
      - V(rotated) also rotates, when O(max_age) or O(from_primary) says so. One of them is required, because a task that is run again
        after a lost connection would rotate again. A key that nobody else has yet would encrypt then.
      - V(checked) changes nothing. It fails where there is no key, or one that is wrong.
    type: str
    choices: [present, rotated, checked]
    default: present
  max_age:
    description:
      - With V(rotated), rotate when the primary has been in use for so long, as a duration such as V(7d). V(0s) rotates in each run.
      - With V(checked), RV(due) says whether it has been.
      - The age is read from the times of the files, so copy the folder to other nodes with its times, as C(rsync --times) does.
    type: str
  from_primary:
    description:
      - With V(rotated), rotate only while this is the number of the primary. When it is already the next one, nothing is done. Any
        other is refused.
    type: int
  max_active_keys:
    description:
      - With V(rotated), how many keys stay, with the staged one, as Keystone's option of that name. At least 2.
      - For tokens to stay valid this must be at least the life of a token divided by the time between two rotations, and 2 more.
    type: int
    default: 3
  keep_for:
    description:
      - With V(rotated), how long a key must have been out of use before it is removed, as a duration. It stays meanwhile, also beyond
        O(max_active_keys), with a warning; Keystone reads all keys that are there.
      - The default is the life of Keystone's tokens (C(expiration), 1 hour) and the time for which services may still show one that is
        over (C(allow_expired_window), 48 hours), as they are without other settings.
      - For data at rest no time is long enough. Encrypt it anew first.
    type: str
    default: 49h
  mode:
    description:
      - The mode of all key files, as a quoted octal number such as V("0640"). None that lets every user read them.
      - Without it, files keep theirs, and a new one gets that of the staged or primary key, or V("0600") where there is none.
    type: raw
  directory_mode:
    description: The mode of the folder, likewise. Without it a folder that is there keeps its own, and a new one gets V("0700").
    type: raw
  owner:
    description:
      - The owner of folder and files, by name or number.
      - Without it they keep theirs, and a new file gets that of the staged or primary key, or of the folder.
    type: str
  group:
    description: The group of folder and files, likewise.
    type: str
  value:
    description:
      - A key, or a list of keys of which the first encrypts, as a reference such as V(ref+awsssm://app/prod/WEBHOOK_SECRET_KEY) or, with
        O(keyring), V(keyring#/current/value).
      - It is only looked at, in every O(state). A text that is no reference is the value itself; it then travels through Ansible.
    type: str
  separator:
    description: What stands between two keys of O(value).
    type: str
    default: ","
  contents:
    description: What goes to the host. Made by the collection; what is given here is not used.
    type: dict
seealso:
  - module: keyturn.runbooks.ssm_secret
    description: Makes a key in AWS Systems Manager.
  - module: keyturn.runbooks.publish
    description: "Publishes a credential's keys as a list, by a template such as V({current,pending,previous.value|join:,})."
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Make the keys of a Keystone that has none
  keyturn.runbooks.fernet_key:
    path: /etc/keystone/fernet-keys
    owner: keystone
    group: keystone
  become: true

- name: Rotate them each week, and never twice by accident
  keyturn.runbooks.fernet_key:
    path: /etc/keystone/fernet-keys
    state: rotated
    max_age: 7d
    max_active_keys: 3
    keep_for: 49h    # [token] expiration + allow_expired_window
  become: true

- name: Rotate them now, once, however often this runs
  keyturn.runbooks.fernet_key:
    path: /etc/keystone/fernet-keys
    state: rotated
    from_primary: 7
  become: true

- name: See that a parameter holds Fernet keys, and which of them encrypts
  keyturn.runbooks.fernet_key:
    value: ref+awsssm://musehub/production/WEBHOOK_SECRET_KEY
    state: checked
  delegate_to: localhost
"""

RETURN = r"""
folder:
  description: The folder.
  returned: when O(path) is given
  type: str
key_files:
  description:
    - The keys afterwards, by number, with C(role) (V(primary), V(secondary) or V(staged)), C(fingerprint), C(made), C(age) and
      C(age_seconds), and since and until when it was the primary (C(primary_from), C(primary_until)).
    - The fingerprints are under the salt of the keyring, or else of this task. V((new)) is a key that check mode predicts.
  returned: when O(path) is given
  type: list
  elements: dict
  sample:
    - number: 0
      role: staged
      fingerprint: hmac:8c1f0d6a33b1d3c0
      made: "2026-01-31T22:00:00.000000Z"
      age: 3d 4h
      age_seconds: 273600
      primary_from: null
      primary_until: null
primary:
  description: The number of the key that encrypts.
  returned: when O(path) is given
  type: int
  sample: 8
primary_before:
  description: The number of the key that encrypted before; none where there was no key.
  returned: when O(path) is given
  type: int
  sample: 7
rotated:
  description: Whether the staged key became the primary.
  returned: when O(path) is given
  type: bool
finished:
  description: Whether a rotation that an earlier run had begun was ended, or a staged key made that was missing.
  returned: when O(path) is given
  type: bool
unfinished:
  description: Whether such a rotation was found and left as it is, by V(checked).
  returned: when O(path) is given
  type: bool
due:
  description: Whether V(rotated) would rotate now; none when neither O(max_age) nor O(from_primary) is given.
  returned: when O(state=checked) and O(path) is given
  type: bool
made:
  description: The numbers of new keys.
  returned: when O(path) is given
  type: list
  elements: int
pruned:
  description: The numbers of the keys that were removed.
  returned: when O(path) is given
  type: list
  elements: int
kept:
  description: The keys beyond O(max_active_keys) that may be needed still, each with its C(number) and the time C(until) which it stays.
  returned: when O(path) is given
  type: list
  elements: dict
set_right:
  description: What differed in owner, group or mode.
  returned: when O(path) is given
  type: list
  elements: str
  sample: ["3: mode 0644 instead of 0600"]
key_list:
  description:
    - What O(value) holds. C(count) is the number of keys, C(encrypts) the position of the one that encrypts, C(members) has C(position),
      C(encrypts) and C(fingerprint) of each, and C(duplicates) the positions that hold the same key.
  returned: when O(value) is given
  type: dict
  sample:
    count: 2
    encrypts: 1
    members:
      - {position: 1, encrypts: true, fingerprint: "hmac:52b1a7c4409e1d77"}
      - {position: 2, encrypts: false, fingerprint: "hmac:8c1f0d6a33b1d3c0"}
    duplicates: []
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_key import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
