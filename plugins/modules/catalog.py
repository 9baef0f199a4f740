#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make an inventory of credentials from a table of secrets."""

from __future__ import annotations

DOCUMENTATION = r"""
module: catalog
short_description: Make an inventory of credentials from a table of secrets, owners and rotation frequencies
version_added: 0.1.0
description:
  - Reads a table such as teams keep of their secrets, in a Markdown page, a CSV file or a YAML list, and writes a file of host
    variables for each key in it, and one file that lists the hosts. No secret is read or written.
  - A file of host variables that is there is never written. Where it says something else than the table, this is told, and the
    run succeeds.
  - When any row is not understood, every such row is named with its line, and nothing is written.
  - The variables are the owner, the policy, where the keyring is to be, the place as the only sink, and C(keyturn_adopt) with a
    reference to the value in use. Who makes the value valid (C(keyturn_issuer)), who uses it and what proves it no table
    tells. Add them to the file, put the host into a group of your inventory, and take it over with the playbook C(adopt).
extends_documentation_fragment:
  - keyturn.runbooks.attributes
  - keyturn.runbooks.attributes.file
attributes:
  diff_mode:
    description: Shows the files that are written. They hold no secret.
  action_group:
    support: none
    membership: []
options:
  src:
    description:
      - The table. Its headings are C(Vault Path), C(Path) or C(Location); C(Keys), C(Key) or C(Secret); C(Rotation Frequency),
        C(Rotation Schedule), C(Frequency) or C(Schedule); C(Owner); and C(Name). Others are not read.
      - A place is C(MOUNT/PATH) in Vault, also as C(MOUNT/data/PATH), or the name of an SSM parameter with a slash in front, also with
        the word C(SSM) before it. A C(*) at the end of a parameter's name stands for the key.
      - A row may have several keys, separated by a comma or a slash. Each becomes a credential. Its host is named after path and key,
        such as C(agenticverz_database_postgres_password), or as the column C(Name) says.
      - A frequency is C(Daily), C(Weekly), C(Monthly), C(Quarterly), C(Annually), C(Every 90 days), C(On compromise), C(On provider
        change) (or password, token, key, secret or user) or C(Never). What is in parentheses after it is not read.
      - C(On password change) and the like become C(rotate=on_provider_change), which only a person with a reason starts. A value that
        follows another one is better a sink of that one.
    type: path
    required: true
  format:
    description:
      - What the table is in. With V(auto), C(.csv), C(.yml) and C(.yaml) say so, and all else is Markdown.
      - A Markdown page may hold other text and other tables.
    type: str
    choices: [auto, csv, markdown, yaml]
    default: auto
  inventory:
    description: The folder of the inventory, or a file in it.
    type: path
    required: true
  hosts_file:
    description:
      - The file that lists the hosts, in O(inventory). It is the table's own, says so in its first line, and is written anew when the
        table changes. Give each table a file of its own.
      - A file of that name which is not of this kind is left as it is.
    type: str
    default: catalog.yml
  group:
    description:
      - The group that the hosts are listed in.
      - Keep it apart from the groups that your scheduled playbooks take, until a host has its issuer.
    type: str
    default: catalogued
  keyring:
    description: Reference to where each keyring is to be, with C({name}) for the host.
    type: str
    default: ref+vault://secret/keyrings/{name}
  owner:
    description: The owner where the table has none.
    type: str
  environments:
    description: What C(<env>) in a place stands for. There is one credential for each.
    type: list
    elements: str
    default: []
  policy:
    description: Keys that each C(keyturn_policy) is to have beside C(rotate) and C(max_age), such as C(grace).
    type: dict
    default: {}
  issuer:
    description:
      - C(keyturn_issuer) for all rows of the table.
      - Only where it is right for each of them. An issuer that makes values itself would replace a provider's key with one that
        the provider does not know.
    type: dict
    default: {}
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Import the table of the runbook
  keyturn.runbooks.catalog:
    src: docs/secrets-rotation.md
    inventory: inventories/production

- name: Import a table of parameters that has no owners
  keyturn.runbooks.catalog:
    src: docs/musehub-secrets.csv
    inventory: inventories/production
    hosts_file: musehub.yml
    group: musehub
    owner: musehub
    environments: [production, staging]
    policy: {grace: 24h}
"""

RETURN = r"""
hosts:
  description: The hosts, in the order of the table.
  returned: success
  type: list
  elements: str
  sample: [agenticverz_app_prod_aos_api_key]
written:
  description: The files that were written, or would be in check mode.
  returned: success
  type: list
  elements: str
different:
  description: The files that were left although they say something else than the table.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The host.
      type: str
    line:
      description: The line of the table.
      type: int
    path:
      description: The file.
      type: str
    variables:
      description: The variables that differ.
      type: list
      elements: str
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._catalog import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
