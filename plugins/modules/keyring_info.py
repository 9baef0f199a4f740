#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a keyring shows of itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyring_info
short_description: Show the stages, ages, due dates and gates of a credential's keyring
version_added: 0.1.0
description:
  - Reads a keyring and returns its stages with their statuses, ages and fingerprints, who works on it, how due it is, and which gates
    would stop it from being rotated, retired or rolled back.
  - Never returns a value.
  - No server is asked but the store of the keyring, and no sink or consumer is looked at. So the gates are only those that the keyring,
    the policy and the credential's definition decide; M(keyturn.runbooks.preflight) checks all of them.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes.info
options:
  policy:
    description: The credential's policy, as in C(keyturn_policy).
    type: dict
    default: {}
  issuer:
    description:
      - The credential's issuer, as in C(keyturn_issuer). It is not connected to.
      - Without it the gate V(leftover) cannot tell a pending value of another definition, and the gate V(previous) takes it that old and
        new values are accepted together. RV(waiting) is null then.
    type: dict
    default: {}
  generate:
    description: How secret fields are made, as in C(keyturn_generate). It is part of what the gate V(leftover) compares.
    type: dict
    default: {}
  owner:
    description: Who is responsible, for RV(owner). By default C(owner) of O(policy).
    type: str
    default: ""
  versions:
    description:
      - Return RV(versions) as well, which costs one more request to the store.
      - It takes more than reading the keyring in two stores. In Vault it is the capability C(read) on C(metadata) of the keyring's path. In
        Secrets Manager it is C(secretsmanager:ListSecretVersionIds).
    type: bool
    default: false
seealso:
  - module: keyturn.runbooks.preflight
  - module: keyturn.runbooks.status_report
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: How old is the database password
  keyturn.runbooks.keyring_info:
    keyring: ref+vault://secret/keyrings/db_musehub
    credential: db_musehub
    policy: {rotate: age, max_age: 180d, grace: 48h}
  register: db_keyring

- name: Which versions of a keyring its store keeps
  keyturn.runbooks.keyring_info:
    keyring: ref+vault://secret/keyrings/db_musehub
    versions: true
  register: db_versions

- name: Stop where a rotation would be refused
  ansible.builtin.assert:
    that: db_keyring.gates.rotate | rejectattr('passed') | length == 0
    fail_msg: "{{ db_keyring.gates.rotate | rejectattr('passed') | map(attribute='message') | join('; ') }}"
"""

RETURN = r"""
clock_skew_seconds:
  description:
    - By how many seconds the clock of the store is ahead of the one where this runs; negative when it is behind. It is measured in whole
      seconds. Null where the store tells no time, such as a file.
    - With more than 60 seconds in either direction the gate V(clock) is closed for every purpose, and says what to do.
  returned: success
  type: int
  sample: 0
versions:
  description:
    - What the store has of the keyring, newest first. The list is empty where there is no keyring. Files and Kubernetes keep the present
      version alone.
    - In Secrets Manager the present version comes first, and a version that lost a race, so that it never was the present one, is among the
      others.
  returned: when O(versions=true)
  type: list
  elements: dict
  contains:
    version:
      description: How the store names it. It is no number to count with.
      type: str
    state:
      description: V(current), V(old), V(deleted) (it can be brought back), or V(destroyed).
      type: str
    made:
      description: When it was written; null where the store does not know.
      type: str
  sample:
    - {version: '7', state: current, made: '2026-01-01T02:03:04.000000Z'}
    - {version: '6', state: old, made: '2025-07-01T02:03:04.000000Z'}
owner:
  description: Who is responsible. It is also returned when the keyring cannot be read.
  returned: always
  type: str
  sample: platform
keyring:
  description: The state of the keyring.
  returned: success
  type: dict
  contains:
    exists:
      description: Whether there is a keyring. All that follows is empty when there is none.
      type: bool
    credential:
      description: The credential that the keyring belongs to.
      type: str
      returned: when it exists
    step:
      description: How many steps were written to it.
      type: int
    stages:
      description: The stages that there are.
      type: dict
      contains:
        current:
          description: What consumers use.
          type: dict
          contains: &stage
            rotation_id:
              description: The rotation that made it.
              type: str
            status:
              description:
                - V(intended), V(issued), V(applied), V(proved) or V(abandoning) while pending; V(cutover), V(promoted) or V(observed) while
                  current; V(grace) or V(retiring) while previous; else V(retained).
              type: str
            fields:
              description: Its fields that are no secret, such as C(username).
              type: dict
            fingerprints:
              description: Keyed digests of its secret fields. Without the keyring nobody can test a guess with them.
              type: dict
            made:
              description: When it was made, as far as that is known.
              type: str
            promoted:
              description: When consumers were first given it.
              type: str
            observed:
              description: When every consumer had been seen using it.
              type: str
            retire_after:
              description: When its grace period ends.
              type: str
            ended:
              description:
                - When its issuer ended it by making another one, which nobody can take back. Null where it did not. Such a value stays the
                  current one until another is promoted.
              type: str
            destroyed:
              description: When nothing was left of a compromised value but its fingerprints. Null where there is, or may be.
              type: str
            age:
              description: How old it is, for people.
              type: str
              sample: 3d 4h
            age_seconds:
              description: How old it is.
              type: int
            failed:
              description: Whether it was rolled back.
              type: bool
            compromised:
              description: Whether an emergency named it. No run returns to it, and it has no grace.
              type: bool
            adopted:
              description: Whether it was in use before its credential had a keyring.
              type: bool
            outage_seconds:
              description:
                - For how long consumers could not log in anew at most, while an issuer without overlap was cut over to it, or after a
                  compromised value was refused before there was this one.
              type: float
            evidence:
              description: What proved it, when and against what.
              type: list
              elements: dict
        pending:
          description: What was made and is not in use yet.
          type: dict
          contains: *stage
        previous:
          description: What is still accepted, in its grace period.
          type: dict
          contains: *stage
    retained:
      description: How many older stages are kept to verify or decrypt.
      type: int
    retained_stages:
      description: These stages.
      type: list
      elements: dict
      contains: *stage
    claim:
      description: The run that works on it, if any.
      type: dict
      contains:
        run_id:
          description: The run.
          type: str
        host:
          description: The machine that it runs on.
          type: str
        pid:
          description: Its process there.
          type: int
        renewed:
          description: When it was last heard of.
          type: str
        expires:
          description: When its claim ends by itself.
          type: str
        alive:
          description: Whether that process lives. Null where that cannot be seen, because it is on another machine or in another container.
          type: bool
    receipts:
      description: By consumer, when it was last seen using what it reads (C(at)), and in which rotation (C(rotation_id)).
      type: dict
    ledger_number:
      description: The number of the last line in the audit log.
      type: int
      returned: when it exists
  sample:
    exists: true
    credential: db_musehub
    step: 7
    stages:
      current: {rotation_id: r20260101020304a1b2c3, status: observed, fields: {username: musehub_a}, age: 12d 4h, age_seconds: 1051200}
    retained: 0
    retained_stages: []
    claim: null
    receipts: {pgbouncer: {at: '2026-01-01T02:05:00.000000Z', rotation_id: r20260101020304a1b2c3}}
due:
  description: How due a rotation is.
  returned: success
  type: dict
  contains:
    state:
      description:
        - V(never_rotated) (there is no value, or nobody knows its age), V(fresh), V(soon) (from 90 % of its maximum age), V(due),
          V(overdue) (over 110 %, or C(ended)), or V(on_demand) where the policy knows no age.
      type: str
    due:
      description: Whether a scheduled run has something to do.
      type: bool
    age_seconds:
      description: Age of the current value.
      type: int
    max_age_seconds:
      description: The age that it may reach.
      type: int
    due_at:
      description: When it reaches that.
      type: str
    under_way:
      description: Whether a rotation was begun and is not at its end.
      type: bool
    ended:
      description: When the issuer ended the value in use, so that nobody can use it. Null where it did not.
      type: str
    compromised:
      description: Whether an emergency named the value in use, or took it out of use.
      type: bool
    text:
      description: All that in one line for people.
      type: str
    retire_at:
      description: When the grace period of the previous value ends.
      type: str
    window_opens:
      description: When the maintenance window opens next. Null while it is open, and where there is none.
      type: str
  sample: {state: fresh, due: false, due_at: '2026-06-30T02:03:04.000000Z', under_way: false, retire_at: null, window_opens: null}
waiting:
  description: Which person is waited for, with an issuer that cannot do it itself. Null where nobody is.
  returned: success
  type: dict
  contains:
    what:
      description: What the person has to do, and where. No part of a value.
      type: str
    since:
      description: When the rotation was begun that waits for a value, or when the grace of a value was over that is to be ended.
      type: str
  sample: null
gates:
  description:
    - What would stop the credential from being rotated (V(rotate)), its previous value from being retired (V(retire)) and from being
      returned to (V(rollback)). Each is a list of gates; O(keyturn.runbooks.preflight#module:purpose) tells of the others.
    - A definition that cannot be read counts as the closed gate V(issuer).
  returned: success
  type: dict
  contains:
    rotate: &gates
      description: The gates of that purpose.
      type: list
      elements: dict
      contains:
        name:
          description: The gate.
          type: str
        passed:
          description: Whether it is open.
          type: bool
        message:
          description: Why; and what to do when it is closed.
          type: str
    retire: *gates
    rollback: *gates
  sample:
    rotate: [{name: claim, passed: true, message: no other run is at work}]
    retire: [{name: grace, passed: false, message: there is no previous value to retire}]
    rollback: [{name: target, passed: false, message: 'nothing is kept to return to: rotate forward instead, with the rotation playbook'}]
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_info import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
