#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may log in through a PgBouncer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer
short_description: Make a PgBouncer accept and refuse logins, and see that it does
version_added: 0.1.0
description:
  - Puts names and secrets into PgBouncer's userlist and takes names out, makes PgBouncer read the file, and logs in through it to see
    what became of that. If a login does not end as it must, the previous file is put back and read again, and the task fails.
  - Only the lines of the names it was given are touched. Other lines, comments, their order and quoting stay byte for byte. The file is
    replaced as a whole and keeps its owner; rights of other users are taken away from it.
  - PgBouncer answers every C(RELOAD) with success, also when it could not read the file, and silently drops the users behind a broken
    line. So a file with a broken line is refused before anything is written, with the line's number, and the answer is not relied on.
  - With O(auth=auth_query) PgBouncer asks the database, so nothing is written; the logins are still tried.
  - With O(keyring) it all follows from the credential's keyring. The names and verifiers of the stages that must be accepted are in the
    userlist, those of retired and abandoned ones are not, and neither are the other roles that O(issuer) lists. A value that
    was rolled back keeps its line until it is retired, because consumers hold it until they have read the one that came back. A stage
    without a verifier (an adopted one) leaves the line of its name as it is.
  - It never uses C(PAUSE). With SCRAM secrets PgBouncer logs in to the server with the keys of the client that logged in last, so that a
    pool emptied by C(PAUSE) can stall until its clients time out.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
options:
  userlist:
    description:
      - Path of PgBouncer's C(auth_file) on its host. It must exist and be no symbolic link.
      - Needed unless O(auth=auth_query).
    type: path
  auth:
    description:
      - V(userlist) for secrets in a file, V(auth_query) for a PgBouncer that asks the database for them.
    type: str
    default: userlist
    choices: [userlist, auth_query]
  entries:
    description: Who must be in the userlist. With O(keyring) this is filled in from it.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The user's name.
        type: str
        required: true
      secret:
        description:
          - What stands in its line, or a reference to it, such as V(ref+vault://secret/app#/verifier).
          - A SCRAM secret must be the very string that the server has for the role (C(rolpassword)); the same password with another salt
            lets clients log in to PgBouncer and then fails at the server.
        type: str
      predicted:
        description: The secret does not exist yet; check mode only. Filled in from O(keyring).
        type: bool
        default: false
  absent:
    description: Names whose lines go. One that is in O(entries) too stays. With O(keyring) this is filled in from it.
    type: list
    elements: str
    default: []
  verify:
    description:
      - Logins through PgBouncer that must end in a known way. With O(keyring) these are filled in from it.
      - Of a name in O(entries) without a login here, it is only seen that PgBouncer lists it (C(SHOW USERS)). That is weaker, because
        PgBouncer goes on listing names whose line is gone.
      - A login may be answered over a server connection that is already open; a role's first one opens its own.
    type: list
    elements: dict
    default: []
    suboptions:
      username:
        description: Who logs in.
        type: str
        required: true
      password:
        description: Its password, or a reference to it.
        type: str
      predicted:
        description: The password does not exist yet; check mode only. Filled in from O(keyring).
        type: bool
        default: false
      dbname:
        description: A database of this PgBouncer.
        type: str
        required: true
      host:
        description: Where PgBouncer listens. That of O(admin_login) if left out.
        type: str
      port:
        description: Its port. That of O(admin_login) if left out.
        type: int
      sslmode:
        description: As libpq has it. That of O(admin_login) if left out.
        type: str
      expect:
        description:
          - How the login must end. V(kept) is V(accepted) for a login that is accepted before anything is changed. One that is not does
            not count, with a warning.
        type: str
        default: accepted
        choices: [accepted, kept, refused]
  admin:
    description:
      - Reference to a login of a user in PgBouncer's C(admin_users), a mapping with C(username) and C(password), and perhaps C(host),
        C(port) and C(sslmode).
      - This or O(admin_login) is needed where a userlist is to be changed.
    type: str
  admin_login:
    description: The same as values. What O(admin) says wins.
    type: dict
    default: {}
    suboptions:
      host:
        description: Where PgBouncer listens, as seen from its own host. V(127.0.0.1) if left out.
        type: str
      port:
        description: Its port. That of O(login), or V(6432), if left out.
        type: int
      sslmode:
        description: As libpq has it. V(prefer) if left out.
        type: str
      username:
        description: A user of C(admin_users).
        type: str
      password:
        description: Its password, or a reference to it.
        type: str
  login:
    description: Where the logins of O(keyring) are tried. What is left out is taken from O(admin_login).
    type: dict
    suboptions:
      host:
        description: The address that consumers use, as far as it can be reached from PgBouncer's host.
        type: str
      port:
        description: Its port.
        type: int
      sslmode:
        description: As libpq has it.
        type: str
      dbname:
        description: A database of this PgBouncer. That of C(login) in O(issuer) if left out.
        type: str
  issuer:
    description: The credential's C(keyturn_issuer). Its C(roles) are those that this credential may use.
    type: dict
    default: {}
  headroom:
    description:
      - What to do when the connection limits do not bear a second pool. PgBouncer has a pool for each database and user, so two roles at
        the same time need twice as many server connections. Looked at when a name is added, or with O(auth=auth_query) when two logins
        must be accepted.
      - V(refuse) fails before anything is written, V(warn) goes on, V(skip) does not look.
    type: str
    default: refuse
    choices: [refuse, warn, skip]
  timeout:
    description:
      - How long a login may stay without a clear answer. After a failed server login PgBouncer makes clients of that pool wait
        (C(server_login_retry), 15 seconds by default), so less than that can fail for a reason that is already gone.
      - A wrong answer stands after a second.
    type: str
    default: 20s
  fingerprint_key:
    description:
      - Key of the fingerprints in the diff, in base64. Filled in from O(keyring), so that they are the same as elsewhere.
      - Without one they can be compared only within one diff.
    type: str
requirements:
  - psycopg2, on PgBouncer's host
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Let PgBouncer know both roles of a rotation, and see it accept the pending one
  keyturn.runbooks.pgbouncer:
    keyring: "{{ keyturn_keyring }}"
    credential: db_musehub
    issuer: "{{ keyturn_issuer }}"
    userlist: /etc/pgbouncer/userlist.txt
    admin: ref+vault://secret/pgbouncer/admin
    login: {dbname: musehub}
  delegate_to: db1
  become: true

- name: Set a user's line, without a keyring
  keyturn.runbooks.pgbouncer:
    userlist: /etc/pgbouncer/userlist.txt
    entries:
      - {name: report, secret: "ref+vault://secret/report#/verifier"}
    absent: [report_old]
    verify:
      - {username: report, password: "ref+vault://secret/report#/password", dbname: musehub}
      - {username: report_old, password: "ref+vault://secret/report_old#/password", dbname: musehub, expect: refused}
    admin: ref+vault://secret/pgbouncer/admin
  delegate_to: db1
  become: true

- name: See that a PgBouncer which asks the database accepts the current password
  keyturn.runbooks.pgbouncer:
    auth: auth_query
    verify:
      - {username: report, password: "ref+vault://secret/report#/password", dbname: musehub}
"""

RETURN = r"""
reloaded:
  description: Whether PgBouncer was made to read its files again. Also true when only a lost C(RELOAD) was made up for.
  returned: success
  type: bool
changes:
  description: The lines that changed.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The user's name.
      type: str
    action:
      description: V(added), V(replaced) or V(removed).
      type: str
  sample: [{name: musehub_b, action: added}]
verified:
  description: What was seen. Empty in check mode when something would change, because only the real run can see it.
  returned: success
  type: list
  elements: dict
  contains:
    username:
      description: The user's name.
      type: str
    against:
      description: The database and PgBouncer's address.
      type: str
    expected:
      description: V(accepted), V(refused) or V(listed).
      type: str
    by:
      description: V(login), or V(SHOW USERS) where no password was given.
      type: str
  sample: [{username: musehub_b, against: "musehub at 127.0.0.1:6432", expected: accepted, by: login}]
line:
  description: The number of the broken line.
  returned: when the userlist has one
  type: int
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
replay:
  description: The steps predicted so far, for the tasks that follow.
  returned: in check mode, when O(transition) is given
  type: list
  elements: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
