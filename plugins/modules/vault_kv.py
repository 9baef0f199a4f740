#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields, metadata and versions of a secret in Vault's KV engine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_kv
short_description: Set fields of a secret in Vault and leave all others as they are
version_added: 0.1.0
description:
  - Sets or removes fields of one secret in a KV engine. The secret is read, only what differs is changed, and the whole is written by
    check-and-set on the version that was read. When somebody else wrote in between, it is read and planned again. What was
    written is read back and compared.
  - A secret that holds the right values is not written, so it gets no new version.
  - Keeps custom metadata of the secret, such as its owner and when it was last rotated, beside what others keep there.
  - Deletes, undeletes and destroys versions, and removes a secret.
  - With an engine of version 1, fields can be set and a secret can be removed. That engine has no check-and-set. What somebody
    else writes in the same moment is lost, and only seen when it came after the write of this task; that is an error then. It
    has no versions and no metadata.
  - In check mode Vault is asked whether the token has the rights that the write needs, where its policy allows that question.
extends_documentation_fragment:
  - keyturn.runbooks.vault
  - keyturn.runbooks.fields
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
attributes:
  action_group:
    membership: [keyturn.runbooks.keyturn, keyturn.runbooks.vault]
options:
  engine_mount_point:
    description: Where the KV engine is mounted.
    type: str
    default: secret
  path:
    description: The path of the secret below its mount, without the C(data/) of Vault's API.
    type: str
    required: true
  state:
    description:
      - V(present). The fields and the metadata are as asked. Where the newest version was deleted, what is written has the named fields
        only, and a warning tells so.
      - V(deleted). The versions in O(versions), those that O(keep) leaves over, or the newest one, are deleted. They can be brought back.
      - V(undeleted). They are brought back.
      - V(destroyed). The versions in O(versions), or those that O(keep) leaves over, are gone for good.
      - V(absent). The secret is removed with all its versions and its metadata, for good. Vault compares nothing there, so what somebody
        writes in that moment goes with it.
    type: str
    default: present
    choices: [present, absent, deleted, undeleted, destroyed]
  versions:
    description:
      - The numbers of the versions to delete, undelete or destroy. One that is deleted or destroyed already, or that Vault keeps no more,
        is no change.
    type: list
    elements: int
    default: []
  kv_version:
    description: The version of the engine. With V(auto) Vault is asked, and where it does not tell, it is taken for V(2).
    type: str
    default: auto
    choices: ["1", "2", auto]
  owner:
    description: Who is responsible for the secret, kept as C(owner) in its custom metadata.
    type: str
  rotation_id:
    description: The rotation that the values are from, kept as C(rotation_id).
    type: str
  max_age:
    description: How old the values may become, as a duration such as V(180d), kept as C(max_age).
    type: str
  metadata:
    description:
      - Further custom metadata by key. Null removes a key; others stay, whoever set them. Custom metadata is no place for secrets.
      - With O(owner), O(rotation_id) or O(max_age), the key C(last_rotated) is set to the time of the version whenever values were
        written.
      - Vault merges them where the policy has C(patch) on the metadata. Otherwise they are read, merged and written as a whole.
    type: dict
    default: {}
  keep:
    description:
      - How many versions Vault keeps of the secret. Older ones go with the next write.
      - With O(state=deleted) or O(state=destroyed), in the place of O(versions), it chooses the versions that are older than the newest so
        many that can be read; where there are fewer of these, none. What Vault keeps by itself is left as it is.
    type: int
seealso:
  - module: keyturn.runbooks.publish
notes:
  - "Rights for values: C(create), C(read) and C(update) on C(MOUNT/data/PATH)."
  - "Rights for metadata: C(read) with C(patch) or C(update) on C(MOUNT/metadata/PATH)."
  - "Rights for versions: C(read) on C(MOUNT/metadata/PATH), with C(update) on C(MOUNT/delete/PATH), C(MOUNT/undelete/PATH) or
    C(MOUNT/destroy/PATH). For O(state=absent): C(read) and C(delete) on C(MOUNT/metadata/PATH)."
  - "Rights with an engine of version 1: C(create), C(read), C(update) and C(delete) on C(MOUNT/PATH)."
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Set one field of a path and say who owns it
  keyturn.runbooks.vault_kv:
    engine_mount_point: secret
    path: musehub/production
    fields:
      STREAM_KEY: ref+file:///root/new-stream-key
    owner: platform
    max_age: 90d

- name: Make a first key where there is none, with an AppRole whose secret id came wrapped
  keyturn.runbooks.vault_kv:
    url: https://vault.example:8200
    auth_method: approle
    role_id: "{{ deploy_role_id }}"
    secret_id: ref+envsubst://$WRAPPED_SECRET_ID
    secret_id_wrapped: true
    path: musehub/production
    generate:
      SESSION_KEY: {type: hex, bytes: 32}

- name: Take an old field out
  keyturn.runbooks.vault_kv:
    path: musehub/production
    fields:
      OLD_KEY: null

- name: Destroy versions that hold a key that was compromised
  keyturn.runbooks.vault_kv:
    path: musehub/production
    state: destroyed
    versions: [3, 4]

- name: Keep the value in use and the one before it, and destroy what is older
  keyturn.runbooks.vault_kv:
    path: musehub/production
    state: destroyed
    keep: 2
"""

RETURN = r"""
fields:
  description:
    - C(before) and C(after) of each field that is asked for, as fingerprints. Under the salt of O(keyring) they can be compared with
      those of the keyring, otherwise within one result.
    - V((absent)), or V((new)) for a value that check mode predicts.
  returned: success
  type: dict
  sample: {STREAM_KEY: {before: "hmac:8c1f0d6a33b1d3c0", after: "hmac:52b1a7c4409e1d77"}}
metadata:
  description: C(before) of each key of the custom metadata that is asked for, and whether it C(changed).
  returned: success
  type: dict
  sample: {owner: {before: null, changed: true}}
version:
  description:
    - The secret's newest version after the task; in check mode, the one that was read.
    - None with an engine of version 1, and after O(state=absent).
  returned: success
  type: str
  sample: "4"
version_before:
  description: The version that was read.
  returned: success
  type: str
  sample: "3"
versions:
  description:
    - By number, what each version that was changed was before and is afterwards.
    - With O(state=absent) of a secret without versions the key is V(metadata), and with an engine of version 1 it is V(secret).
  returned: with another O(state) than V(present)
  type: dict
  sample: {"3": [live, destroyed]}
kv_version:
  description: The version of the engine.
  returned: success
  type: int
  sample: 2
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv_task import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
