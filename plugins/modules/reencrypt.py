#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring what is stored under the newest key of a credential."""

from __future__ import annotations

DOCUMENTATION = r"""
module: reencrypt
short_description: Bring what is stored under the newest key of a credential
version_added: 0.1.0
description:
  - Reads ciphertexts where they are stored, in rows of PostgreSQL or in files, and replaces those that an older key of the keyring made by
    the same under the key in use. A token of Fernet keeps the time at which it was first made.
  - It keeps no state. What is under the key in use is done, so a run that was ended anywhere is gone on with by running it again, and two
    runs at once are harmless.
  - A ciphertext is replaced only while it is still what was read. What an application changed meanwhile, or works on, is looked at again,
    and never overwritten.
  - What no key of the keyring opens is never touched. It is counted and named, rows by their key where that is a number or a UUID, and
    files by their path.
  - Refused while the key in use is not observed yet, because somebody may not have it then.
  - In check mode everything is read and counted, and nothing is written.
requirements:
  - cryptography where the task runs
  - psycopg2 there, for C(postgres_rows)
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
  - keyturn.runbooks.attributes.file
options:
  places:
    description:
      - Where ciphertexts are stored. Each has C(type), C(postgres_rows) or C(files).
      - All have C(field), the keyring's field that holds the key (V(value)); C(cipher), V(fernet); C(pause), seconds to wait after each
        page that something was written in (V(0)); and C(on_unreadable). That is V(fail) without it, and V(report) where what no key opens
        may stay as it is.
      - C(postgres_rows) is one column of a table, of text or bytea, with C(login) as in C(keyturn_issuer) of C(postgres_role), C(schema)
        (V(public)), C(table), C(column), and C(key), the column or the list of columns that name a row, without it those of the
        primary key. They have to be unique and NOT NULL. C(page) is how many rows are read, and at most changed, in one transaction
        (V(500)), C(show_keys) whether results and messages name rows by keys that are no numbers and no UUIDs (V(false)), and
        C(lock_timeout) how long a statement waits for a lock of the table (V(1) second). Rows that somebody has locked are
        not waited for. NULL and empty texts are passed over.
      - C(files) are files on C(host), or without it where the task runs, that are each one ciphertext. C(path) is absolute, and each
        part of it may have the wildcards C(*), C(?) and C([]). A file is replaced as a whole, with its mode and owner, under the lock of
        its folder, C(.reencrypt.keyturn.lock).
    type: list
    elements: dict
    required: true
  host:
    description: The C(host) of the places that are meant. Others are left out, and one at least has to be there. Without it, those
      that name none.
    type: str
    default: ""
  contents:
    description: The keys on their way to a host. Made by the collection; what is given here is not used.
    type: dict
seealso:
  - module: keyturn.runbooks.procedure
    description: Retires the previous key only where nothing that is stored needs it.
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Bring the secrets of webhooks under the newest key
  keyturn.runbooks.reencrypt:
    keyring: ref+vault://secret/keyrings/webhook_key
    credential: webhook_key
    places:
      - type: postgres_rows
        login: {host: db1.example, dbname: musehub, admin: ref+vault://secret/postgres/admin}
        table: webhooks
        column: secret

- name: Count what is still under an older key in the files of a host
  keyturn.runbooks.reencrypt:
    keyring: ref+vault://secret/keyrings/webhook_key
    credential: webhook_key
    host: app1
    places:
      - {type: files, host: app1, path: /srv/musehub/secrets/*.enc}
  delegate_to: app1
  check_mode: true
"""

RETURN = r"""
places:
  description:
    - Of each place C(place), how messages name it, and C(type).
    - C(done) and C(to_do) are how many were under the newest key, and under an older one, when they were first looked at, and
      C(reencrypted) how many of the latter were replaced. Those that somebody else replaced meanwhile are not among these.
    - C(unreadable) and C(left) are how many no key opens, and how many somebody worked on until the end. C(unreadable_keys) and
      C(left_keys) name those among the first 20 of each whose key may be shown.
  returned: always
  type: list
  elements: dict
  sample:
    - place: public.webhooks.secret in musehub
      type: postgres_rows
      done: 12
      to_do: 340
      reencrypted: 340
      unreadable: 0
      unreadable_keys: []
      left: 0
      left_keys: []
closed:
  description: In check mode, why the previous key may not end yet, each a sentence. None when nothing needs it.
  returned: always
  type: list
  elements: str
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt_task import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
