#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every gate and every check, before anything is written."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check every gate before a credential is rotated, retired or rolled back
version_added: 0.1.0
description:
  - Reads the keyring, the policy and all definitions, asks the issuer whether it could do it, reads the sinks, and checks the gates.
    Where a rotation or a rollback will change a sink, its place is asked whether it would take a write; AWS cannot be asked that. Nothing
    is written anywhere.
  - Fails with every refusal in one message, each with the name of its gate and what to do about it.
  - Says what there is to do. A credential that is too young to be rotated, or whose grace period is not over, is no failure but
    RV(todo=nothing), so that a run over many credentials leaves those alone that are not due.
  - "The gates: V(claim) (another run is at work), V(clock), V(reason), V(window), V(policy), V(leftover) (a pending value of another
    definition), V(previous) (one that is still kept), V(alert), V(issuer), V(sinks), V(unknown) (a value in a place of which the
    keyring knows nothing), V(consumers) (one that could not be told), V(gates) (the credential's own), V(probes), V(proof),
    V(observed), V(grace), V(behind) (sinks), V(receipts), V(sessions), V(target) (of a rollback), V(only_value) (that is to be
    abandoned), V(in_use) and V(unmanaged). Problems of definitions count as closed gates, too."
  - Before a rotation each probe is tried once with the current value. What fails then is a warning and no refusal, because a rotation
    may be what repairs it.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes.info
options:
  purpose:
    description: What is about to be done.
    type: str
    default: rotate
    choices: [rotate, look, promote, retire, rollback, verify, adopt, abandon, compromise, revoke_first]
  policy:
    description:
      - The credential's policy, as in C(keyturn_policy). Keys that it does not know are refused.
      - C(rotate) is V(age), V(on_compromise), V(on_provider_change) or V(never). V(never) and V(on_compromise) demand O(force) and
        O(reason), V(on_provider_change) a O(reason). Without a policy a rotation runs whenever it is asked for.
      - C(max_age) is demanded by V(age). C(min_age) is the age from which it may be rotated, by default 90 % of C(max_age).
        C(grace) is how long the previous value stays accepted (48h).
      - C(window) is a list of maintenance windows, each with C(days) (by default all), C(start) and C(end) as V('HH:MM') in quotes, and
        C(timezone), an IANA name or V(UTC). A window that ends before it begins ends on the next day. A time that a change of the clock
        skips counts by the offset before it, one that comes twice counts as the first.
      - C(escalation) says in words whom a person asks when a rotation that was begun fails. The message of the failure ends with it and
        with the state to hand over.
      - C(reason_required) demands a O(reason). C(owner) and C(contacts) are for M(keyturn.runbooks.notify).
      - C(alert) has either C(command), a list of words that ends with 0 (or one of C(rc)) while all is quiet and gets the variables of
        C(environment), texts or references, beside a few ordinary ones, or C(url), with C(headers),
        C(status), C(json), C(contains), C(validate_certs) and C(ca_path) as in M(keyturn.runbooks.probe), which say what the quiet answer
        is. What cannot be asked counts as firing. C(timeout) is 10s.
    type: dict
    default: {}
  issuer:
    description: The credential's issuer, as in C(keyturn_issuer).
    type: dict
    required: true
  generate:
    description: How secret fields are made, as in C(keyturn_generate).
    type: dict
    default: {}
  gates:
    description:
      - The credential's own gates, as in C(keyturn_gates), each with C(type). They are asked before a rotation, a rollback and an end,
        again right before a value is promoted, revoked, or made where its making ends the one before, and only read.
        What cannot be found out closes a gate, too.
      - V(not_publishing) is closed while somebody publishes to an RTMP ingest. C(stat) is the address of the statistics page of nginx with
        the RTMP module, C(applications) names those that count (by default all), C(streams) says whether V(any) broadcast counts (the
        default) or those alone that use the credential's V(own) keys. C(headers), C(validate_certs) and C(ca_path) are as in
        M(keyturn.runbooks.probe). The message names application and address of who is live, and never the stream, which is a key.
      - V(not_connected) is closed while somebody has a connection to one of C(ports), a list of numbers, of C(host), the inventory's
        name of a machine, by the tables of its kernel. It sees what V(not_publishing) cannot, which is a broadcast that an RTMP server
        kept in an old process when it was reloaded. Whoever only watches counts, too. C(except) is a list of addresses and networks
        that may stay connected. It is asked on that machine, by any user, as M(keyturn.runbooks.gate).
      - V(reachable) is closed while C(host) takes no connection at C(port) within C(timeout) (5s).
    type: list
    elements: dict
    default: []
  sinks:
    description: The credential's sinks, as in C(keyturn_sinks). Those without C(host) are read.
    type: list
    elements: dict
    default: []
  consumers:
    description: The credential's consumers, as in C(keyturn_consumers). Those without C(host) are looked at where they would be told.
    type: list
    elements: dict
    default: []
  probes:
    description: The credential's proofs, as in C(keyturn_probes).
    type: list
    elements: dict
    default: []
  unreadable:
    description: Problems with sinks that were found on other hosts, as sentences. They close the gate V(sinks).
    type: list
    elements: str
    default: []
  behind:
    description: Names of sinks on other hosts that do not hold what the keyring says. They close the gate V(behind).
    type: list
    elements: str
    default: []
  unready:
    description:
      - Problems with consumers that O(keyturn.runbooks.consumer#module:look) found on their machines, as sentences.
      - They close the gate V(consumers), before a rotation and before what is in use is brought to its consumers. Before a rollback, in
        an O(emergency), and once consumers may hold the new value, they are warnings, because going on may be what repairs them.
    type: list
    elements: str
    default: []
  unknown:
    description:
      - Sinks on other hosts whose places hold a value although the keyring knows none, described. They close the gate V(unknown) of a first
        rotation. Those without C(host) are looked at here.
      - A field counts that a template with a part of the credential would write, where it is there and not blank. Facts such as a day,
        texts that stay the same, such as a path, and lines of a log do not count.
    type: list
    elements: str
    default: []
  closed:
    description: Why gates that are asked on other hosts are closed, as RV(keyturn.runbooks.gate#module:closed) says. They close V(gates).
    type: list
    elements: str
    default: []
  replace:
    description: Let the first rotation replace what places hold although the keyring does not know it.
    type: bool
    default: false
  only_missing:
    description:
      - Make a first value where there is none, or go on with one that was begun, and leave everything else as it is. This is what the
        playbook C(bootstrap) does.
      - Left as it is, and listed in RV(bootstrap), is a credential with a value in its keyring, one whose places or issuer have a
        value that no keyring knows, and one whose first value a person has to make. O(replace) does not count then, nor does the policy.
    type: bool
    default: false
  variables:
    description: Names of variables that are set. Those that O(known_variables) lacks are refused, with the one that may be meant.
    type: list
    elements: str
    default: []
  known_variables:
    description: Names of variables that somebody reads. Without any, none is refused.
    type: list
    elements: str
    default: []
  force:
    description:
      - Rotate although the policy does not ask for it.
      - Abandon a value that a person handed over although it is the only one that may work.
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
  emergency:
    description:
      - The value is compromised. A reason is demanded, and window, policy and alert do not stop it.
      - The keyring says so, too, from O(purpose=compromise) until the value is ended. Then the reason was given before.
    type: bool
    default: false
  refresh:
    description:
      - With O(purpose=rotate) and nothing pending, a new value is not asked for. RV(todo=use) then stands for bringing sinks and consumers
        to what the keyring says, whatever the policy says about rotating.
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
  not_due:
    description: Whether a credential that is not due is left alone or refused.
    type: str
    default: skip
    choices: [skip, refuse]
  timeout:
    description: How long a proof will be allowed to take, as in M(keyturn.runbooks.probe). Here it is only read.
    type: str
    default: 30s
  interval:
    description: How often a proof will be tried, as in M(keyturn.runbooks.probe). Here it is only read.
    type: str
    default: 2s
  baseline:
    description: Whether the probes are tried with the current value before a rotation, but for test streams.
    type: bool
    default: true
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: May the database password be rotated now
  keyturn.runbooks.preflight:
    keyring: "{{ keyturn_keyring }}"
    credential: db_musehub
    purpose: rotate
    policy:
      rotate: age
      max_age: 180d
      grace: 48h
      window: [{days: [sat, sun], start: '22:00', end: '02:00', timezone: Europe/Berlin}]
      alert:
        url: http://prometheus.example:9090/api/v1/query?query=ALERTS%7Bseverity%3D%22page%22%7D
        json: {/data/result: []}
    issuer: "{{ keyturn_issuer }}"
    sinks: "{{ keyturn_sinks }}"
    consumers: "{{ keyturn_consumers }}"
    probes: "{{ keyturn_probes }}"
  register: preflight
"""

RETURN = r"""
todo:
  description:
    - What there is to do. O(purpose) itself; V(use) when the keyring's step was done by a run that was interrupted, and sinks, reloads
      and observing are left; or V(nothing).
  returned: success, or when a gate is closed
  type: str
  sample: rotate
due:
  description: Whether there is anything to do.
  returned: success, or when a gate is closed
  type: bool
reason:
  description: Why there is nothing to do; else how old the value is.
  returned: success, or when a gate is closed
  type: str
msg:
  description: The same with the credential's name; on failure, every refusal.
  returned: always
  type: str
refusals:
  description: The gates that are closed, each with what to do.
  returned: success, or when a gate is closed
  type: list
  elements: str
gates:
  description:
    - The gates of this purpose that keyring, policy and definitions decide. What could not be asked or written, such as the place of the
      keyring or of the ledger, is in RV(refusals) alone.
  returned: success, or when a gate is closed
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    passed:
      description: Whether it is open.
      type: bool
      returned: always
    message:
      description: Why.
      type: str
      returned: always
bootstrap:
  description: What a bootstrap lists of the credential.
  returned: with O(only_missing), success or when a gate is closed
  type: dict
  contains:
    state:
      description:
        - V(make) or V(go_on) where a first value is made or gone on with; V(there), V(left_alone) or V(waiting) where nothing is done.
      type: str
    issuer:
      description: The kind of its issuer.
      type: str
    keyring:
      description: Where its keyring is, or would be.
      type: str
    places:
      description: Its sinks, described.
      type: list
      elements: str
overlap:
  description: Whether the issuer accepts the old and the new value together.
  returned: success, or when a gate is closed
  type: bool
interruption:
  description: What is interrupted by an issuer without overlap, in a sentence, with what was measured the last time; else empty.
  returned: success, or when a gate is closed
  type: str
elsewhere:
  description: What is to be looked at on other hosts before anything is begun.
  returned: success, or when a gate is closed
  type: dict
  contains:
    sinks:
      description: The hosts of sinks.
      type: list
      elements: str
      returned: always
    consumers:
      description: The definitions of consumers.
      type: list
      elements: dict
      returned: always
    gates:
      description: The hosts of gates, for M(keyturn.runbooks.gate).
      type: list
      elements: str
      returned: always
stages:
  description: The C(status) and C(rotation_id) of each stage that the keyring has, and whether it C(failed) or is C(compromised).
  returned: success, or when a gate is closed
  type: dict
  sample: {current: {status: observed, failed: false, compromised: false, rotation_id: r20260131220000a1b2c3}}
replaced:
  description: The places whose value the keyring does not know, and that a first rotation replaces because the user said so.
  returned: success, or when a gate is closed
  type: list
  elements: str
can_return:
  description: Whether a failure later in this run can be answered by returning to the value that is in use now.
  returned: success, or when a gate is closed
  type: bool
status:
  description: How old the value is against the policy. C(state) is V(never_rotated), V(fresh), V(soon), V(due), V(overdue), V(on_demand),
    or V(unreadable) where the keyring could not be opened.
  returned: success, or when a gate is closed
  type: dict
  sample: {state: due, due: true, age_seconds: 15552000, max_age_seconds: 15552000}
notices:
  description: What people should hear and were not told yet, each with C(event), C(mark) for the keyring's notices, and C(message).
  returned: success, or when a gate is closed
  type: list
  elements: dict
baseline:
  description:
    - How each probe fared with the current value. Empty where none was tried, as when a gate is closed.
    - A test stream is not sent for it, since the value in use may be one that an audience watches.
  returned: success, or when a gate is closed
  type: list
  elements: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
