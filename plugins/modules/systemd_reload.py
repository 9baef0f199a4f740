#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have units of systemd read their files anew."""

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_reload
short_description: Reload or restart units of systemd, and see that it worked
version_added: 0.1.0
description:
  - Tells units to read what they read, and believes it only when it was seen. The result of the reload is read from the unit
    (C(ReloadResult)), not from an exit status, the unit must still be up after it has settled, and its log can be looked at.
  - A unit that does not run is not started unless that is asked for.
  - All units are looked at before the first one is told. When one of them cannot or must not be told, none is. They are told in the order
    of O(units). After one that did not come up, the others are left as they are, because what broke the first would break them too.
  - A unit is locked on its host while it is told, also against consumers of a rotation that share it.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.log
  - keyturn.runbooks.attributes
attributes:
  check_mode:
    description: Tells what would be done with each unit and why, and touches nothing.
  diff_mode:
    description: There is nothing to show; RV(units) says what was done.
    support: none
  idempotent:
    description: A unit is told each time, unless O(unless_fresh) finds that it need not be.
    support: partial
options:
  units:
    description: Names of units, in the order in which they are told. C(.service) is added to one without a suffix.
    type: list
    elements: str
    required: true
  action:
    description:
      - V(auto) reloads a unit that has C(ExecReload), and restarts another one. It also restarts a unit that gets one of O(files) through
        C(EnvironmentFile) or C(LoadCredential). systemd copies these when the unit starts, and a reload leaves the copies as they are.
      - V(reload) fails for a unit that has no C(ExecReload). V(restart) restarts each.
      - A reload that failed is never followed by a restart. The unit runs on with what it had, and a restart would end that.
    type: str
    choices: [auto, reload, restart]
    default: auto
  when_inactive:
    description:
      - What to do with a unit that does not run. C(ansible.builtin.systemd_service) with C(state=reloaded) would start it.
      - V(refuse) fails, before any unit is told. V(skip) leaves it alone, and the result says so. It reads its files when it starts.
        V(start) starts it, and sees that it comes up.
    type: str
    choices: [refuse, skip, start]
    default: refuse
  daemon_reload:
    description:
      - What to do when the unit's own files changed since systemd read them (C(NeedDaemonReload)). They would not take effect.
      - V(warn) warns and goes on, V(refuse) fails before any unit is told, V(do) has systemd read the files of all units first.
    type: str
    choices: [refuse, warn, do]
    default: warn
  files:
    description: What the units read, on their host. It says which of them need a restart, see O(action). See also O(unless_fresh).
    type: list
    elements: path
    default: []
  unless_fresh:
    description:
      - Leave a unit alone that was started, or seen to reload by this collection, after the youngest of O(files) was written.
      - In check mode, a file that an earlier task would have written is as old as it is.
    type: bool
    default: false
  settle:
    description: How long a unit must stay up after it was told, as a duration.
    type: str
    default: 1s
  timeout:
    description: How long it may take, for each unit, as a duration.
    type: str
    default: 60s
  log:
    description:
      - What a unit's log must not, or must, say while it is told. Without it the log is not looked at. V({}) looks for what must usually
        not be there.
      - The journal is read from where it ended right before the unit was told until O(settle) is over. Nothing older counts, and nothing
        is missed in between. What the former process of a restarted unit says while it ends does not count.
      - Patterns are regular expressions of Python that match anywhere in a line. The case of letters does not count.
      - A journal that this user may not read is a failure before the unit is told.
    type: dict
    suboptions:
      forbid:
        description: Patterns that no line may match. If left out, those of M(keyturn.runbooks.log_probe).
        type: list
        elements: str
      require:
        description: Patterns that a line each must match, within O(timeout).
        type: list
        elements: str
      allow:
        description: Patterns of lines that are never forbidden.
        type: list
        elements: str
seealso:
  - module: keyturn.runbooks.consumer
    description: The same for a unit that is a consumer of a credential, with a receipt once it was seen using it.
  - module: keyturn.runbooks.log_probe
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Have the relay read its key file, and see in its log that it did
  keyturn.runbooks.systemd_reload:
    units: [relay.service]
    files: [/etc/stream/keys/restream.key]
    log:
      require: ["key file read"]
    redact: [ref+vault://secret/stream/restream#/key]
  become: true

- name: Have whoever serves TLS read the new certificate, and leave alone what is stopped
  keyturn.runbooks.systemd_reload:
    units: [nginx, haproxy]
    when_inactive: skip
    settle: 2s
    log: {}
  become: true

- name: As a handler, restart what gets its settings from an env file
  keyturn.runbooks.systemd_reload:
    units: [musehub]
    files: [/etc/musehub/env]
    daemon_reload: do
  become: true

- name: What would be done?
  keyturn.runbooks.systemd_reload:
    units: [relay, encoder]
    when_inactive: skip
  check_mode: true
  register: foreseen
"""

RETURN = r"""
units:
  description:
    - What was done with each unit. In check mode, what would be done.
  returned: success, and a failure once the units were looked at
  type: list
  elements: dict
  contains:
    unit:
      description: Its name.
      type: str
    action:
      description: V(reload), V(restart), V(start) or V(none).
      type: str
    why:
      description: Why that.
      type: str
    result:
      description:
        - V(done), or V(predicted) in check mode; V(skipped) when it does not run; V(fresh) when it has read its files already.
        - In a failed result also V(failed) for the one that did not come up, V(refused) for one that cannot or must not be told, and
          V(not_told) for one that was left as it is.
      type: str
    active_state:
      description: C(ActiveState) afterwards.
      type: str
    reload_result:
      description: C(ReloadResult) after a reload.
      type: str
    exec_reload_status:
      description: How the commands of C(ExecReload) ended.
      type: str
    pid:
      description: The main process afterwards.
      type: int
    seconds:
      description: How long it took until it had settled.
      type: float
    log:
      description: What was found in its log, where O(log) is given.
      type: dict
      contains:
        lines:
          description: How many lines were looked at.
          type: int
        forbidden:
          description: How many of them must not be there.
          type: int
        matches:
          description: The first of these, without values, each with its C(pattern), C(source) and C(time).
          type: list
          elements: dict
        required:
          description: How many lines each required pattern matched.
          type: dict
        gaps:
          description: Why lines may be missing, such as a rate limit of journald.
          type: list
          elements: str
  sample:
    - unit: relay.service
      action: reload
      why: it has ExecReload
      result: done
      active_state: active
      reload_result: success
      exec_reload_status: exited/0
      pid: 4242
      seconds: 1.062
      log: {lines: 3, forbidden: 0, matches: [], required: {}, gaps: []}
daemon_reloaded:
  description: Whether systemd read the files of all units first, or would.
  returned: success
  type: bool
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._systemd_reload import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
