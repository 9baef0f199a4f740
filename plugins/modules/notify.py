#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell a credential's contacts what happens."""

from __future__ import annotations

DOCUMENTATION = r"""
module: notify
short_description: Tell a credential's contacts what happens to it
version_added: 0.1.0
description:
  - Sends one event to every contact that wants to hear of it, by a command, a webhook or a mail.
  - A notification that fails never fails the task. It is a warning, and listed in RV(notifications).
  - What is sent holds names, ids and words, never a value.
  - What is told twice is up to the caller. M(keyturn.runbooks.preflight) returns only what was not told yet.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
attributes:
  diff_mode:
    support: none
  idempotent:
    description: Each run sends the notification again.
    support: none
options:
  event:
    description: What happens.
    type: str
    required: true
    choices: [window_opens, success, failure, age_90, grace_24h_in_use]
  contacts:
    description:
      - Who is told. By default C(contacts) of O(policy). Each has a C(type), and can have C(events), the list of those that it wants to
        hear of, by default all.
      - B(command) runs C(argv), a list of words without a shell, where the task runs, with the payload as JSON on its standard input. It
        gets the variables of C(environment), texts or references, beside a few ordinary ones.
      - B(webhook) posts the payload as JSON to C(url), which can be a reference because such an address often is a password, and of which
        only the host is shown. C(headers) are texts or references; one that looks like a secret has to be a reference.
        C(validate_certs) and C(ca_path) are as usual.
      - B(mail) sends to C(to), one address or several, as C(from), by the server C(host) (V(localhost)) at C(port) (25). C(starttls) or
        C(tls) encrypt; C(username) and C(password), a reference, log in; C(validate_certs) and C(ca_path) are as usual.
    type: list
    elements: dict
    default: []
  policy:
    description: The credential's policy, as in C(keyturn_policy), for its C(contacts) and C(owner).
    type: dict
    default: {}
  rotation_id:
    description: The rotation. By default the one that the keyring tells of.
    type: str
    default: ""
  phase:
    description: How far it came. By default the status of the stage that is at work.
    type: str
    default: ""
  owner:
    description: Who is responsible. By default C(owner) of O(policy).
    type: str
    default: ""
  text:
    description: What to say. It must not hold a value.
    type: str
    default: ""
  timeout:
    description: How long each attempt may take.
    type: str
    default: 10s
  interval:
    description: How long to wait between two attempts.
    type: str
    default: 1s
  retries:
    description: At most so many attempts after the first, where another attempt may help.
    type: int
    default: 2
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Tell the owners that the rotation is done
  keyturn.runbooks.notify:
    keyring: "{{ keyturn_keyring }}"
    credential: db_musehub
    event: success
    owner: platform
    text: Rotated in 14 s, no failed login.
    contacts:
      - {type: webhook, url: ref+vault://secret/chat#/hook, events: [success, failure]}
      - {type: mail, to: platform@example.org, from: keyturn@example.org, host: mail.example, port: 587, starttls: true}
      - {type: command, argv: [/usr/bin/logger, -t, keyturn]}
"""

RETURN = r"""
notifications:
  description: Who was told, one item for each contact that wants to hear of the event.
  returned: success
  type: list
  elements: dict
  contains:
    type:
      description: The contact's type.
      type: str
      returned: always
    to:
      description: The program, the host of the webhook, or the recipients.
      type: str
      returned: always
    sent:
      description: Whether it arrived. Never in check mode.
      type: bool
      returned: always
    attempts:
      description: How many attempts it took.
      type: int
      returned: when it was sent
    error:
      description: Why it was not sent, or empty.
      type: str
      returned: always
payload:
  description: What is sent. C(message) is O(text), and C(text) the whole in one line, for chat systems.
  returned: success
  type: dict
  sample:
    credential: db_musehub
    event: success
    message: Rotated in 14 s, no failed login.
    owner: platform
    phase: observed
    rotation_id: r20260131220000ab12cd
    subject: "[keyturn] db_musehub: done"
    text: "db_musehub: done in phase observed. Rotated in 14 s, no failed login."
    time: "2026-01-31T22:00:14.000000Z"
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._notify import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
