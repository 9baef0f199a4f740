#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command with values of a secret store in its environment, or write them to a private file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_export
short_description: Run a command with secrets of Vault or another store in its environment, or write them to a private file
version_added: 0.1.0
description:
  - Takes keys of a path in Vault, or of another place that a reference names, as environment variables. With O(argv) it runs a
    command that has them in its environment; with O(dest) it writes a file of them, by default of all, for programs that read one.
  - An option that is for a command alone, such as O(chdir), is refused with O(dest), and one that is for a file alone, such as O(mode),
    with O(argv).
  - References are resolved on the controller. The command runs, or the file is written, where the task runs. The values are in no
    result and in no command line, and a command is the only process that gets them.
  - The command inherits what programs need to work (C(PATH), C(HOME), locale and the like) and the task's C(environment), but
    not the tokens with which the store was opened.
  - Its environment can be read by its own user and by root in C(/proc), for as long as it runs, and it may pass it on.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.env
  - keyturn.runbooks.attributes
attributes:
  check_mode:
    description: Reads the values and looks for the program, but does not run it. A file is compared and not written.
  idempotent:
    support: partial
    description:
      - A file is not written again when it holds the same. A command runs each time, unless O(creates) or O(removes) says that there is
        no need.
options:
  sources:
    description:
      - References to places whose keys become variables, such as V(ref+vault://agenticverz/app-prod), V(ref+awsssm://musehub/production)
        or V(ref+k8s://v1/Secret/default/app).
      - Two places with the same key are refused. So is a key that would set one of a few variables that decide what code a program
        runs, such as C(PATH) or C(LD_PRELOAD).
      - With O(argv) each key must be named, in O(only) or in O(names), or all of them must get a O(prefix). Many more variables decide
        what code a program runs, such as C(TAR_OPTIONS) and C(MAKEFLAGS), and whoever may write to the store must not choose that.
    type: list
    elements: str
    default: []
  only:
    description: Only these keys of O(sources). One that is not there is an error. With O(argv), the way to name them.
    type: list
    elements: str
  names:
    description: Names of variables for keys of O(sources) that are to have another one, by key.
    type: dict
    default: {}
  prefix:
    description: What the names of variables begin with, before the key. Not for those in O(names).
    type: str
    default: ""
  variables:
    description:
      - Further variables, each a reference to one value or, with O(keyring), such as V(keyring#/current/password).
      - A text that is no reference is the value itself; it then travels through Ansible.
    type: dict
    default: {}
  argv:
    description: The command, as a list of words. There is no shell, and references are not resolved in it.
    type: list
    elements: str
  chdir:
    description: The folder to run the command in.
    type: path
  creates:
    description: Do not run the command when this path is there.
    type: path
  removes:
    description: Do not run the command when this path is not there.
    type: path
  rc:
    description: Exit codes that count as success.
    type: list
    elements: int
    default: [0]
  timeout:
    description: How long the command may take; then it is killed with its process group. A duration, such as V(30s) or V(2h).
    type: str
    default: 5m
  return_output:
    description:
      - Return what the command prints, with each value replaced by asterisks. Without it, what it prints is dropped unread.
      - Values are found as they are, line by line, and in quoted, URL, JSON, hexadecimal and base64 form. A program that prints a part
        of a value, or changes it in another way, still tells it.
    type: bool
    default: false
  dest:
    description:
      - Write a file of lines C(NAME=value) and nothing else, as an absolute path. It is replaced as a whole, so that a reader sees the
        old file or the new one. Use M(keyturn.runbooks.env_file) to set single lines of a file.
    type: path
  mode:
    description: The mode of the file in O(dest), as a quoted octal number; V("0600") without it, whatever the file had before.
  contents:
    description: The values on their way to a host. Made by the collection; what is given here is not used.
    type: dict
notes:
  - A command is taken for a change whenever it was run. Say otherwise with C(changed_when), which sees RV(rc).
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Migrate the database with the login that Vault holds
  keyturn.runbooks.vault_export:
    sources:
      - ref+vault://agenticverz/database
    only: [DATABASE_URL]
    argv: [alembic, upgrade, head]
    chdir: /opt/nova/backend
  become: true
  become_user: nova

- name: Run a check with keys from two places, and see what it says
  keyturn.runbooks.vault_export:
    sources:
      - ref+vault://agenticverz/app-prod
      - ref+vault://agenticverz/external-apis
    only: [AOS_API_KEY, OPENAI_API_KEY]
    names: {OPENAI_API_KEY: LLM_KEY}
    variables:
      RUNNER_TOKEN: ref+awsssm://musehub/production/RUNNER_TOKEN
    argv: [/opt/nova/scripts/check_providers]
    return_output: true
    timeout: 1m
  register: checked
  changed_when: false

- name: Write the environment of a service
  keyturn.runbooks.vault_export:
    sources:
      - ref+awsssm://musehub/production
    dest: /opt/musehub/.env
    owner: musehub
    dialect: compose
    backup: true
  delegate_to: app1
  become: true
"""

RETURN = r"""
names:
  description: The names of the variables, in their order.
  returned: success
  type: list
  elements: str
  sample: [DATABASE_URL, POSTGRES_USER]
rc:
  description: The exit code of the command. Also returned with a failure.
  returned: with O(argv), when it was run
  type: int
stdout:
  description: What it printed, without the values; the last 100,000 characters. Also returned with a failure.
  returned: when it was run, with O(return_output)
  type: str
stderr:
  description: What it printed to its error stream, likewise.
  returned: when it was run, with O(return_output)
  type: str
msg:
  description: Why the command was not run.
  returned: when O(creates) or O(removes) kept it from running
  type: str
file:
  description: The file.
  returned: with O(dest)
  type: str
fields:
  description: Fingerprints of the file's C(content), C(before) and C(after).
  returned: with O(dest)
  type: dict
backup_file:
  description: The copy of the file as it was; none when none was made.
  returned: with O(dest)
  type: str
pruned:
  description: The copies that were removed, or would be in check mode.
  returned: with O(dest)
  type: list
  elements: str
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_export import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
