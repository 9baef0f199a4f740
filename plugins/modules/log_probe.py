#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look for what must not, or must, be in a log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: log_probe
short_description: Look for what must not, or must, be in a log, from a place on
version_added: 0.1.0
description:
  - Looks at the lines that units wrote to the journal, or that are in a file, since a place in it or since a time. It fails when one must
    not be there, or when one that must be there is not.
  - With O(cursor) nothing is missed between two looks and nothing is counted twice, also when a file was rotated in between. Where lines
    may be missing all the same, such as after a rate limit of journald, RV(gaps) and a warning say so.
  - Lines are shown without values.
  - A journal or a file that this user may not read is a failure, and so is the name of a unit that there is not. Neither is a clean log.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.log
  - keyturn.runbooks.attributes
attributes:
  check_mode:
    description: Only reads, in check mode as otherwise.
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: N/A
  idempotent:
    description: Changes nothing.
options:
  units:
    description:
      - Units whose journal is looked at, with what systemd itself says about them. C(.service) is added to one without a suffix.
      - Give this or O(path).
    type: list
    elements: str
  path:
    description:
      - A log file. One that was rotated since O(cursor) is looked for beside it, by logrotate's names.
    type: path
  since:
    description:
      - From when on lines are looked at, as a duration back from now. V(10m) for units, if neither this nor O(cursor) is given.
      - V(now) looks at nothing that is there already. It is for the first task, whose RV(cursor) a later one goes on from, or with
        O(require) for what is to come. V(start) looks at all that there is.
      - For a file only V(now) and V(start) can be known.
    type: str
  cursor:
    description: From where on lines are looked at, RV(cursor) of an earlier result.
    type: str
  forbid:
    description:
      - Regular expressions of Python that no line may match anywhere. The case of letters does not count.
      - If left out, what an operator looks for after a reload. That is C(error), C(fail), C(failed), C(failure), C(fatal), C(panic),
        C(traceback), C([emerg]), C([alert]), C([crit]), C(denied), C(forbidden), C(refused), C(rejected), C(unauthorized),
        C(not permitted), C(not allowed), C(cannot), C(could not), C(unable to), C(timed out), C(no such file), the statuses 401 and 403
        where they are named as such, and a key, token, credential or password that is called invalid, unknown, bad, wrong, expired,
        revoked, missing, empty or not found. As whole words, and not C(no error), C(0 failed), C(errors=0), C(error_log) or C(error.log).
        The word C(key) alone is in too many healthy lines.
      - V([]) forbids nothing.
    type: list
    elements: str
  require:
    description: Regular expressions that a line each must match, within O(timeout).
    type: list
    elements: str
  allow:
    description: Regular expressions of lines that are never forbidden.
    type: list
    elements: str
  timeout:
    description: How long to wait for what O(require) wants, as a duration. A line that must not be there ends the wait.
    type: str
    default: 0s
seealso:
  - module: keyturn.runbooks.systemd_reload
    description: Reloads units, and looks at what they write meanwhile.
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: No word of a failed login in the last ten minutes
  keyturn.runbooks.log_probe:
    units: [relay.service, encoder.service]
    since: 10m
    forbid: [error, denied, "\\b40[13]\\b"]
    redact: [ref+vault://secret/stream/restream#/key]
  become: true

- name: Where does the log of nginx end now?
  keyturn.runbooks.log_probe:
    path: /var/log/nginx/error.log
    since: now
  become: true
  register: before

- name: What was written to it by what came in between?
  keyturn.runbooks.log_probe:
    path: /var/log/nginx/error.log
    cursor: "{{ before.cursor }}"
  become: true

- name: Wait until the relay says that it publishes
  keyturn.runbooks.log_probe:
    units: [relay]
    since: 1m
    require: ["publishing to restream"]
    timeout: 30s
  become: true
"""

RETURN = r"""
cursor:
  description: The place to go on from in a later task. It goes with the same O(path), or with any O(units) of the same host.
  returned: success, and when a line must not be there or is missing
  type: str
lines:
  description: How many lines were looked at.
  returned: as RV(cursor)
  type: int
forbidden:
  description: How many of them must not be there.
  returned: as RV(cursor)
  type: int
matches:
  description: The first of these, without values.
  returned: as RV(cursor)
  type: list
  elements: dict
  contains:
    line:
      description: The line, shortened.
      type: str
    pattern:
      description: The pattern that it matches.
      type: str
    source:
      description: The unit or file that it is from.
      type: str
    time:
      description: When it was written; empty for a file.
      type: str
required:
  description: How many lines each of O(require) matched.
  returned: as RV(cursor)
  type: dict
gaps:
  description: Why lines may be missing, as sentences. Empty when none is.
  returned: as RV(cursor)
  type: list
  elements: str
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._log_probe import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
