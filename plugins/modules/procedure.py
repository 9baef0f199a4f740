#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All steps of a rotation, a rollback or an end."""

from __future__ import annotations

DOCUMENTATION = r"""
module: procedure
short_description: Take every step of a rotation, a rollback, or the end of a value
version_added: 0.1.0
description:
  - Takes the steps of O(purpose) one after the other, as far as they are reached from where it runs. Each step is what another module of
    this collection does, with the same checks, and is written to the keyring before or after, so that a run that is interrupted
    anywhere is gone on with by running it again.
  - "V(rotate): the gates, a new value, the issuer accepts it, whoever checks credentials is shown it, it is proved, promoted, brought to
    sinks and consumers, and its health is watched. An issuer without overlap takes it right before sinks and consumers do."
  - When a step fails after consumers may hold the new value, the previous one is made current again, everywhere, and proved.
  - After any failure the ledger and the contacts are told, other runs are let in, and the task fails with the cause and what to do. Where
    the keyring could not even be opened, there is nobody to let in and nothing to write to. Then the contacts alone are told, and the
    store is not waited for again.
  - A sink or a consumer on another host ends the task with RV(elsewhere). The role C(keyturn.runbooks.keyturn) does that part there
    and calls again, with RV(resume).
  - While it runs inside Ansible on the controller, it prints the name of each step on the standard error stream.
  - C(--tags) and C(--skip-tags) choose O(phases), unless they are given.
  - Do not give the task a C(timeout), and set C(timeout=0) where C(task_timeout) is configured. It would cut off the answer to a failure,
    too. Proofs and programs have limits of their own.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.attributes
options:
  keyring:
    required: true
  purpose:
    description: What is to be done.
    type: str
    required: true
    choices: [rotate, rollback, adopt, retire, abandon, verify, compromise, revoke_first]
  policy:
    description: The credential's policy, as in M(keyturn.runbooks.preflight).
    type: dict
    default: {}
  owner:
    description: Who is responsible. Contacts are told.
    type: str
    default: ""
  issuer:
    description: The credential's issuer, as in C(keyturn_issuer). Its key C(type) says which kind.
    type: dict
    required: true
  generate:
    description: How secret fields are made, as in C(keyturn_generate).
    type: dict
    default: {}
  gates:
    description: The credential's own gates, as in C(keyturn_gates). M(keyturn.runbooks.preflight) documents them.
    type: list
    elements: dict
    default: []
  sinks:
    description: The places that the credential is published to, as in C(keyturn_sinks).
    type: list
    elements: dict
    default: []
  consumers:
    description: What must pick it up, as in C(keyturn_consumers).
    type: list
    elements: dict
    default: []
  probes:
    description: The credential's proofs, as in C(keyturn_probes).
    type: list
    elements: dict
    default: []
  timeout:
    description: How long a proof or a health check may take to succeed.
    type: str
    default: 60s
  interval:
    description: How often it is tried.
    type: str
    default: 1s
  value:
    description: For O(purpose=adopt), the value in use, by field, as in M(keyturn.runbooks.keyring).
    type: dict
    default: {}
  made:
    description: For O(purpose=adopt), when that value was made, as RFC 3339 with a zone.
    type: str
  force:
    description:
      - Rotate although the policy does not ask for it.
      - Abandon a value that a person handed over although it is the only one that may work; or take one that was abandoned once more.
    type: bool
    default: false
  replace:
    description: Let the first rotation replace what places hold although the keyring does not know it.
    type: bool
    default: false
  only_missing:
    description:
      - Make a first value where there is none, or go on with one that was begun, and leave everything else as it is. This is what the
        playbook C(bootstrap) does.
      - Left as it is, and listed in the result of the first of RV(steps), is a credential with a value in its keyring, one whose places or
        issuer have a value that no keyring knows, and one whose first value a person has to make. O(replace) does not count then, nor
        does the policy.
    type: bool
    default: false
  emergency:
    description: A look at what a rotation would do treats the value in use as compromised, although the keyring does not say so yet. For
      V(rotate) with O(phases=preflight) alone; whatever writes goes by the keyring.
    type: bool
    default: false
  reason:
    description: Why. By default what the user gave in C(keyturn_reason).
    type: str
    default: ""
  outside_window:
    description: Go on although the maintenance window is closed.
    type: bool
    default: false
  rotation_id:
    description: For O(purpose=rollback), refuse unless this rotation is the one in use.
    type: str
    default: ""
  made_before:
    description: For O(purpose=compromise), what was made at this time or later was not exposed, as RFC 3339 with a zone.
    type: str
    default: ""
  phases:
    description:
      - Take the steps of these phases only. Without any, all steps are taken.
      - With V(promote), V(reload) or V(observe), and none of V(stage), V(apply) and V(prove), nothing new is made. Sinks and consumers are
        brought to what the keyring says.
      - Only a rotation has phases. With V(preflight) alone every other purpose ends after its check, too. Other phases are none to it.
    type: list
    elements: str
    choices: [preflight, stage, apply, prove, promote, reload, observe]
    default: []
  variables:
    description:
      - Names of variables that are set. Those that O(known_variables) lacks are refused, with the one that may be meant.
      - Ansible on the controller fills in those that begin with C(keyturn_).
    type: list
    elements: str
    default: []
  known_variables:
    description:
      - Names of variables that somebody reads. Without any, none is refused.
      - Where the role's variable for an option is among them, such as C(keyturn_issuer) for O(issuer), Ansible on the controller reads it,
        and messages name it.
    type: list
    elements: str
    default: []
  resume:
    description: Where to go on, as RV(resume) of the call before said.
    type: dict
    default: {}
  found:
    description: What was found on other hosts since the call before.
    type: dict
    suboptions:
      unreadable:
        description: Problems with sinks there, as sentences.
        type: list
        elements: str
        default: []
      behind:
        description: Names of sinks there that do not hold what the keyring says.
        type: list
        elements: str
        default: []
      unready:
        description: Problems with consumers there, as sentences.
        type: list
        elements: str
        default: []
      closed:
        description: Why the credential's own gates there are closed, as sentences.
        type: list
        elements: str
        default: []
      unknown:
        description: Sinks there that hold a value although the keyring knows none, described.
        type: list
        elements: str
        default: []
      failure:
        description: What failed there. It is answered as a failure here would be.
        type: str
        default: ""
      kind:
        description: The kind of that failure, as results tell it.
        type: str
        default: Host
      unwritten:
        description:
          - Names of sinks there that could not be written, when that is what failed. Where a host gave no answer, these are all of its
            sinks, one without a name by its reference.
        type: list
        elements: str
        default: []
      place:
        description: Which of V(keyring) and V(ledger) could not be read or written there, if that is what failed.
        type: str
        default: ""
seealso:
  - module: keyturn.runbooks.preflight
  - module: keyturn.runbooks.keyring
  - module: keyturn.runbooks.issuer
  - module: keyturn.runbooks.deliver
  - module: keyturn.runbooks.probe
  - module: keyturn.runbooks.notify
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Rotate a credential that has nothing on other hosts
  keyturn.runbooks.procedure:
    purpose: rotate
    keyring: "{{ keyturn_keyring }}"
    ledger: beside
    credential: db_musehub
    policy: "{{ keyturn_policy }}"
    issuer: "{{ keyturn_issuer }}"
    sinks: "{{ keyturn_sinks }}"
    consumers: "{{ keyturn_consumers }}"
    probes: "{{ keyturn_probes }}"

- name: Return to the value before
  keyturn.runbooks.procedure:
    purpose: rollback
    keyring: "{{ keyturn_keyring }}"
    ledger: beside
    credential: db_musehub
    issuer: "{{ keyturn_issuer }}"
    sinks: "{{ keyturn_sinks }}"
    consumers: "{{ keyturn_consumers }}"
    probes: "{{ keyturn_probes }}"
"""

RETURN = r"""
todo:
  description: What there was to do, as M(keyturn.runbooks.preflight) returns it.
  returned: success
  type: str
  sample: rotate
msg:
  description: Why nothing was done, or how old the value was. On failure, the cause, what was done about it, and what to do.
  returned: always
  type: str
say:
  description: Sentences that a person should read although nothing is wrong.
  returned: success, or after a step failed
  type: list
  elements: str
steps:
  description: The steps that this call took, in order, each with what its module returned beside the keyring.
  returned: success, or after a step failed
  type: list
  elements: dict
  contains:
    step:
      description: Its name.
      type: str
      returned: always
    changed:
      description: Whether it changed something.
      type: bool
      returned: always
    failed:
      description: Whether it failed.
      type: bool
      returned: when it did
keyring:
  description:
    - The state of the keyring afterwards, without values. After a failed step it is without the C(evidence) of stages, which
      M(keyturn.runbooks.keyring_info) shows.
  returned: when a step returned it
  type: dict
kind:
  description:
    - What kind of failure it is. The notes say which there are. V(Refused) is also a keyring that the gates could not open.
  returned: failure
  type: str
  sample: Refused
unwritten:
  description:
    - The names of the sinks that were not written, because their place or one before it took no write, or their host gave no answer.
  returned: failure, when a place took no write
  type: list
  elements: str
  sample: [app]
sinks:
  description: The sinks that the failed step had handled before that place, as M(keyturn.runbooks.publish) returns them.
  returned: failure, when a place that is reached from where this runs took no write
  type: list
  elements: dict
probe:
  description: Which of O(probes) failed, counted from 0.
  returned: failure, when a proof failed
  type: int
  sample: 0
evidence:
  description: What the proofs before that one saw, as M(keyturn.runbooks.probe) returns it.
  returned: failure, when a proof failed
  type: list
  elements: dict
uncertain:
  description: Whether a write may have been done whose answer was lost. The next run finds out.
  returned: failure, when a service did not answer as expected
  type: bool
  sample: false
code:
  description: What AWS calls the error.
  returned: failure, when AWS said no
  type: str
  sample: AccessDeniedException
elsewhere:
  description: What is to be done on other hosts before this goes on. Empty at the end.
  returned: success, or after a step failed
  type: dict
  contains:
    look:
      description: Whether they are only to be looked at, before anything is begun.
      type: bool
      returned: when there is something
    hosts:
      description: The hosts of sinks.
      type: list
      elements: str
      returned: when there is something
    consumers:
      description: The definitions of consumers to be looked at.
      type: list
      elements: dict
      returned: when there is something
    gates:
      description: The hosts of gates to be asked.
      type: list
      elements: str
      returned: when there is something
    how:
      description: How consumers are to be looked at, for M(keyturn.runbooks.consumer).
      type: str
      returned: when there is something
resume:
  description: What the next call of this run needs as O(resume). Empty at the end.
  returned: success
  type: dict
replay:
  description: The steps predicted so far, for the tasks that follow.
  returned: in check mode
  type: list
  elements: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedure import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
