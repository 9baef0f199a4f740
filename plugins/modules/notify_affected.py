#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell those whom a new value affects, each once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: notify_affected
short_description: Tell those whom a new value of a credential affects, each once
version_added: 0.1.0
description:
  - Some values cannot be replaced without breaking something for people outside, such as a key that an application holds one at a time.
    This module finds out who they are before the value is replaced, keeps that list, and tells each of them once the new value is in use.
  - With O(state=listed) the list is read and kept, and more users than expected are refused. It is for right before a rotation, and
    does nothing where none is due.
  - With O(state=told) each user on the list gets a message, once every consumer was seen using the new value. It is noted before and
    after each message, so that a run which was ended anywhere is gone on with by running it again.
  - A user who cannot be told stops nobody else. The task fails at its end, with who is left and what to do.
  - Results, messages and differences show ids and counts, and no address, no other column and no text that was sent.
  - In check mode the list is read and counted, and nothing is kept or sent.
requirements:
  - psycopg2 where the task runs, for a query
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
options:
  affected:
    description:
      - C(breaks) is a sentence that says what stops working.
      - C(of) says where the list comes from, one row for each user. With C(type=postgres) it has C(login), as in C(keyturn_issuer) of
        C(postgres_role), and C(query), one SELECT that names tables with their schema. It is run in a session that only reads. With
        C(type=file) it has C(path), and C(format) (V(json), a list of objects, or V(csv), with names in the first line) where the name
        does not end so. With C(type=command) it has C(argv), C(environment) and C(timeout) (V(60s)), and prints such JSON.
      - C(id) is the column that names a user for good. Ids are shown, so it has to be another one than the address. C(to) is the column
        with the address.
      - C(message) has C(subject) and C(body), texts with C({column}) for what stands in the user's row.
      - C(by) says how users are told. C(type) is C(mail), C(webhook) or C(command), with the options of a contact of
        M(keyturn.runbooks.notify) but for C(to), or C(file), with C(path), to which a line of JSON is added for each user. A program
        and a webhook get the same JSON, with C(id), C(user), C(to), C(subject) and C(body). A message that is sent twice has the same
        C(id), and a mail the same Message-ID.
      - C(per_second) is how many messages go at most in a second (V(5)).
      - C(expect_at_most) is the largest number of users that can be right, up to 10000. More than that are refused before anything is
        changed.
      - C(when_uncertain) says what becomes of a message of which it is not known whether it went, because the run was killed or the
        connection was lost in the midst. With V(send_again), the default, nobody is missed and somebody may be told twice. With
        V(leave) nobody is told twice, and who may have been missed is named.
      - C(keep) is a reference to where the list is kept. Without it, that is beside a keyring in Vault or in a file.
    type: dict
    required: true
  state:
    description: Whether those affected are to be C(listed), before a rotation, or C(told), after it.
    type: str
    choices: [listed, told]
    default: told
  policy:
    description:
      - When the credential is rotated, as in M(keyturn.runbooks.preflight). With O(state=listed), nothing is done where no rotation is due.
    type: dict
    default: {}
  force:
    description: A rotation comes although the policy does not ask for it yet.
    type: bool
    default: false
  again:
    description: Try those once more whose message was refused for good.
    type: bool
    default: false
  keyring:
    required: true
seealso:
  - module: keyturn.runbooks.notify
    description: Tells the credential's own contacts what happens.
  - module: keyturn.runbooks.reencrypt
    description: Where what is stored can be brought under the new key, nobody has to be told.
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: List who has to register a webhook anew
  keyturn.runbooks.notify_affected:
    keyring: ref+vault://secret/keyrings/webhook_key
    credential: webhook_key
    state: listed
    affected:
      breaks: Deliveries to webhooks fail until their owners register them anew.
      of:
        type: postgres
        login: {host: db1.example, dbname: musehub, admin: ref+vault://secret/postgres/reader}
        query: SELECT u.id, u.email, u.name FROM public.users u WHERE EXISTS (SELECT FROM public.webhooks w WHERE w.owner = u.id)
      id: id
      to: email
      message:
        subject: Please register your webhooks again
        body: |
          Hello {name},
          the key of our webhooks was replaced. Please register yours again.
      by: {type: mail, host: mail.example, from: support@musehub.example}
      per_second: 5
      expect_at_most: 500

- name: Tell them, after the rotation
  keyturn.runbooks.notify_affected:
    keyring: ref+vault://secret/keyrings/webhook_key
    credential: webhook_key
    state: told
    affected: "{{ webhook_key_affected }}"    # the same as before
"""

RETURN = r"""
msg:
  description: What was found, or done.
  returned: always
  type: str
affected:
  description:
    - C(breaks), and C(count), how many there are. C(told) is how many of them were told so far, C(left) how many were not.
    - C(failed), C(refused) and C(uncertain) are ids of those left whose message failed, was refused for good, or may have gone.
    - C(rotation_id) is the rotation that they are told of.
  returned: always
  type: dict
  sample:
    breaks: Deliveries to webhooks fail until their owners register them anew.
    count: 340
    told: 338
    left: 2
    failed: ["77"]
    refused: ["12"]
    uncertain: []
    rotation_id: r20261122214000a1b2c3
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._notify_affected import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
