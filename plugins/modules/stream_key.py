#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put one platform's stream key where a host and Vault keep it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_key
short_description: Put one platform's stream key into its file on a host, and into Vault
version_added: 0.1.0
description:
  - Brings a stream key to where the services of a host read it, which is a file of its own, and to Vault, or to one of both. In
    Vault the key to come stands beside the one in use.
  - The file is replaced as a whole, under a lock. Before that it is copied once a day, and old copies are removed. Mode and
    owners are set right, also where the key is.
  - The line of an env file that names the key's file is looked at and mended; every other line is kept.
  - In Vault the fields C(key) and C(key_new) are written by compare-and-set; other fields are kept.
  - Every part is looked at before any is written. The host comes first, and Vault, which the controller writes, follows.
  - In a rotation, sinks do all of this; see M(keyturn.runbooks.publish). Test a key with M(keyturn.runbooks.stream_probe)
    before it is put into a file that services read.
  - The key is in no result, no log and no command line. References are resolved on the controller, and the key goes to the host
    over the connection.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
  - keyturn.runbooks.attributes.file
options:
  path:
    description:
      - The key's file on the host, as an absolute path. It gets the key and a line break.
      - The folder must be there. A path that is itself a symbolic link is refused.
    type: path
  value:
    description:
      - The stream key, as a reference, such as V(keyring#/current/key) or V(ref+file:///root/new.key), or as a text.
      - Needed. A line break at its end is left out. A key that is empty, or has blanks, control characters or others outside of
        ASCII, is refused.
    type: raw
  owner:
    description: The file's owner, by name or number. Without it, a file that is there keeps its own.
    type: str
  group:
    description: The file's group, by name or number. Without it, a file that is there keeps its own.
    type: str
  mode:
    description: The file's mode, as a quoted octal number.
    type: raw
    default: "0600"
  backup:
    description:
      - Copy the file before another key takes its place, to C(PATH.bak.YYYYMMDD), by the day in UTC, with mode 0600 and the
        owner who runs the task. The first copy of a day stays. Where no file is there, a warning says so, and the task goes on.
      - Let no program take every file of that folder, but for example C(*.key).
    type: bool
    default: true
  keep:
    description:
      - With O(backup), copies of days that ended longer ago than this are removed, as a duration such as V(7d). Each run does
        that, also one that finds nothing else to change. That counts as a change.
    type: str
    default: 7d
  env_file:
    description:
      - An env file on the host that names the key's file for a service, such as a systemd C(EnvironmentFile). It must be there.
      - The line for O(env_name) is made or mended where it does not name O(path).
    type: path
  env_name:
    description: The variable that names the key's file.
    type: str
    default: STREAM_KEY_FILE
  vault:
    description:
      - A path of Vault's KV engine, version 2, such as V(ref+vault://secret/stream/restream), for the fields C(key) and
        C(key_new).
      - It is read and written from the controller, with the task's environment, wherever the task is delegated to.
    type: str
  pending:
    description:
      - With O(vault), the key to come, as O(value) is given. It becomes C(key_new).
      - Without it, and with V(keyring#/pending/key) while the keyring has no such stage, C(key_new) is removed.
    type: raw
  contents:
    description: The key on its way to a host. Made by the collection; what is given here is not used.
    type: dict
requirements:
  - hvac on the controller, with O(vault)
seealso:
  - module: keyturn.runbooks.publish
    description: Publishes a stream key to files, Vault and others as part of its rotation.
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Put a stream key into its file, and have the relay's env file name that
  keyturn.runbooks.stream_key:
    path: /etc/stream/keys/restream.key
    value: ref+vault://secret/stream/restream#/key
    owner: stream
    group: stream
    env_file: /etc/stream/relay/env
  become: true

- name: Keep a key in Vault with the next one beside it
  keyturn.runbooks.stream_key:
    value: keyring#/current/key
    pending: keyring#/pending/key
    keyring: ref+vault://secret/keyrings/restream
    vault: ref+vault://secret/stream/restream

- name: See which hosts have another key, another mode, or an env file that names another one
  keyturn.runbooks.stream_key:
    path: /etc/stream/keys/restream.key
    value: ref+vault://secret/stream/restream#/key
    env_file: /etc/stream/relay/env
  check_mode: true
  become: true
  register: found
  failed_when: found.changed
"""

RETURN = r"""
file:
  description: The key's file; none without O(path).
  returned: success
  type: str
key_file:
  description: What was done to the key's file.
  returned: with O(path)
  type: dict
  contains:
    changed:
      description: Whether it was written, or would be in check mode.
      type: bool
    fields:
      description:
        - C(before) and C(after) of its C(content), as fingerprints under the salt of the keyring, or else of this task.
        - V((absent)), V((new)) for a value that check mode predicts.
      type: dict
      sample: {content: {before: "hmac:8c1f0d6a33b1d3c0", after: "hmac:52b1a7c4409e1d77"}}
    drift:
      description: What was wrong with its mode and owners, in words.
      type: list
      elements: str
      sample: [mode 0644 instead of 0600]
env_line:
  description: The same of the line for O(env_name).
  returned: with O(env_file)
  type: dict
vault:
  description: The same of the fields in Vault, with C(version) and C(version_before) instead of C(drift).
  returned: with O(vault)
  type: dict
backup:
  description: What became of the copies of the key's file.
  returned: with O(path) and O(backup)
  type: dict
  contains:
    made:
      description: The path of the copy that was made, or would be in check mode; none when none was.
      type: str
    pruned:
      description: The paths of copies that were removed, or would be.
      type: list
      elements: str
    note:
      description: Why none was made although the key changes; else empty.
      type: str
    missing:
      description: There was no file to copy.
      type: bool
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._stream_key import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
