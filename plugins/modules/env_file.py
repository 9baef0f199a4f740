#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set variables in an env file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: env_file
short_description: Set variables in an env file, such as a dotenv file or a systemd EnvironmentFile
version_added: 0.1.0
description:
  - Sets, makes or removes variables in a file of C(NAME=value) lines on a host. Comments, order, other lines, C(export) in front of
    a name, mode, owner, access control list and SELinux label are kept. A comment behind a value that is changed moves to a line
    of its own, because to systemd it is a part of the value.
  - Values are quoted so that their readers get back exactly what was given, or refused (O(dialect)).
  - The file is replaced as a whole, under a lock. A reader sees the old file or the new one, and tasks that write different variables
    at the same time lose none. When nothing differs, nothing is written.
  - At least one variable is named, in O(fields) or O(generate). For the mode or owner of a file alone there is C(ansible.builtin.file).
  - References are resolved on the controller. The values go to the host over the connection and are in no result.
  - A path that is itself a symbolic link is refused, and a folder is never made.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.fields
  - keyturn.runbooks.env
  - keyturn.runbooks.attributes
  - keyturn.runbooks.attributes.file
options:
  path:
    description: The file, as an absolute path.
    type: path
    required: true
  contents:
    description: The values on their way to a host. Made by the collection; what is given here is not used.
    type: dict
seealso:
  - module: keyturn.runbooks.publish
    description: Publishes a credential to env files and other places as part of its rotation.
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Set the key of a provider in the env file of an application
  keyturn.runbooks.env_file:
    path: /opt/musehub/.env
    fields:
      OPENAI_API_KEY: ref+vault://agenticverz/external-apis#/OPENAI_API_KEY
      OPENAI_BASE_URL: https://api.openai.com/v1
    owner: musehub
    mode: "0600"
    backup: true
    backup_keep: 3d

- name: Make a session key where there is none, and take out what is no longer read
  keyturn.runbooks.env_file:
    path: /etc/default/musehub
    generate:
      SESSION_KEY: {type: hex, bytes: 32}
    fields:
      OLD_SESSION_KEY:

- name: Give a unit a certificate of several lines
  keyturn.runbooks.env_file:
    path: /etc/musehub/tls.env
    dialect: systemd
    fields:
      TLS_CERTIFICATE: ref+vault://secret/musehub/tls#/certificate
"""

RETURN = r"""
file:
  description: The file.
  returned: success
  type: str
fields:
  description:
    - C(before) and C(after) of each variable, as fingerprints under the salt of the keyring, or else of this task.
    - V((absent)), V((new)) for a value that check mode predicts, V((another form)) for one that readers would not take alike, or that
      has several lines.
  returned: success
  type: dict
  sample: {OPENAI_API_KEY: {before: "hmac:8c1f0d6a33b1d3c0", after: "hmac:52b1a7c4409e1d77"}}
backup_file:
  description: The copy of the file as it was; none when none was made.
  returned: success
  type: str
  sample: /opt/musehub/.env.backup-20260131T220000.000000Z
pruned:
  description: The copies that were removed, or would be in check mode.
  returned: success
  type: list
  elements: str
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._env_file import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
