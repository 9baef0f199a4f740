#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge who used a credential, and write the record of the incident."""

from __future__ import annotations

DOCUMENTATION = r"""
module: incident_report
short_description: Write the record of an incident, with who used the credential
version_added: 0.1.0
description:
  - Judges what M(keyturn.runbooks.incident_reads) found against an allow-list, and writes the record of the incident as Markdown and as
    JSON. In it are the credential's timeline from its ledger, the reads and logins with what was not expected first, what could not be
    looked at and why, and open points.
  - The same inputs give the same text. Nothing in it depends on when it was made.
  - No value is in the record. It shows fingerprints, and its texts are without the values that the keyring and O(redact) know. A value that
    the keyring has forgotten by now is known by O(redact) alone.
  - A ledger or a keyring that cannot be read is told in the record, and keeps nobody from having one.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.log
  - keyturn.runbooks.attributes
  - keyturn.runbooks.attributes.file
attributes:
  check_mode:
    description: Judges for real, writes no file and tells nobody.
  diff_mode:
    description: Shows the record, which holds no value.
  idempotent:
    description: Files that are the same are not written, and nobody is told the same record twice.
options:
  since:
    description: When the exposure began, as an RFC 3339 time. The same as that of the tasks in O(looked).
    type: str
    required: true
  until:
    description: When it ended.
    type: str
    required: true
  looked:
    description:
      - Results of M(keyturn.runbooks.incident_reads), those of tasks that failed as well. A failed one is told as a source that was not
        looked at.
      - In a loop, C(item.name) is what the record calls a source.
    type: list
    elements: dict
    default: []
  expected:
    description:
      - The allow-list. A use is expected when one entry is about its principal, and about its address and time of day as well.
      - C(principal) is a name or a pattern with C(*) and C(?), compared with the principal and the role behind it. C(addresses) are
        networks, services such as V(lambda.amazonaws.com), or V(local), and without them any address is expected. C(between) is a part of
        the day in UTC, such as V(22:00-06:00). C(reason) says why, and is needed.
    type: list
    elements: dict
    default: []
  reason:
    description: What happened. If left out, the reason of the run (C(keyturn_reason)).
    type: str
    default: ''
  open_points:
    description: What is still to be done, beside what the record finds itself.
    type: list
    elements: str
    default: []
  output_markdown:
    description:
      - File for people. It has mode 0600, and its folder exists.
      - A file that is there and is no record of an incident is refused.
    type: str
    default: ''
  output_json:
    description: The same as JSON, in a file as O(output_markdown).
    type: str
    default: ''
  contacts:
    description:
      - Who gets the record, as in a policy (see docs/policy.md). V(command) gets it on its standard input, V(webhook) as JSON, V(mail) as
        text.
      - V(webhook) and V(command) may have C(payload), a mapping that they get instead, as an issue tracker takes it. In its texts
        C({title}), C({body}) and the other names of the JSON are replaced. C(title) has at most 250 characters and C(body) 60000 with a few
        words about the rest, which is what GitHub and GitLab take. C(text) is the whole record.
      - It needs O(output_json). Who got which record is kept beside that file. Who could not be told is told by the next run.
    type: list
    elements: dict
    default: []
  timeout:
    description: How long a contact may take.
    type: str
    default: 10s
seealso:
  - module: keyturn.runbooks.incident_reads
  - module: keyturn.runbooks.verify_ledger
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Write the record
  keyturn.runbooks.incident_report:
    keyring: ref+vault://secret/keyrings/db_musehub
    ledger: beside
    credential: db_musehub
    reason: the password was in a log that others read
    since: '2026-01-30T08:00:00Z'
    until: '2026-01-31T22:00:00Z'
    looked: ["{{ trail }}"]
    expected:
      - principal: arn:aws:sts::111122223333:assumed-role/musehub/*
        addresses: [10.20.0.0/16]
        reason: the application itself
      - principal: arn:aws:iam::111122223333:role/deploy
        addresses: [10.30.0.8]
        between: '02:00-04:00'
        reason: the nightly deploy
    output_markdown: /srv/incidents/2026-01-31.md
    output_json: /srv/incidents/2026-01-31.json
    contacts:
      - name: tracker
        type: webhook
        url: https://api.github.com/repos/example/incidents/issues
        headers: {Authorization: ref+vault://secret/tracker#/header}
        payload: {title: "{title}", body: "{body}", labels: [incident]}
"""

RETURN = r"""
record:
  description: What O(output_json) holds.
  returned: success
  type: dict
summary:
  description: The counts of it.
  returned: success
  type: dict
  sample:
    reads: {unexpected: 1, denied: 2, failed: 0, expected: 240}
    logins: {unexpected: 0, denied: 0, failed: 0, expected: 12}
    timeline: 6
    looked_at: 2
    not_looked_at: 1
    open_points: 3
files:
  description: The files that were written, or were as they should be.
  returned: success
  type: list
  elements: str
notifications:
  description: Who was told, or could not be.
  returned: success
  type: list
  elements: dict
failing:
  description: Why the incident is not understood yet, in sentences.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_report import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
