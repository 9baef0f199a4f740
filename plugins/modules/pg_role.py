#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Login roles of a PostgreSQL server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_role
short_description: Make PostgreSQL login roles with a password the server never hears, and with another role's rights
version_added: 0.1.0
description:
  - Gives a role a password without the password reaching the server. The SCRAM-SHA-256 verifier is made here, so that no
    server log holds the password, with C(log_statement=all) and with C(password_encryption=md5) as well.
  - Makes a role an exact stand-in of another one (O(like)). It copies attributes, memberships with their options, settings,
    the connection limit, rights on databases, schemas, tables, columns, sequences, routines, types, languages, foreign data
    wrappers and servers, large objects, tablespaces and parameters, default privileges in both directions, the roles of
    row-security policies, and user mappings. What only the stand-in has is taken away.
  - What belongs to the role named in O(like) moves to a group role, so that both login roles own it (O(ownership)). Each table
    moves in a short transaction of its own that gives up after 0.2 seconds without its lock and is tried again for a minute.
  - Retires a role safely. It is dropped only when nobody is logged in as it, nothing belongs to it, and nobody holds a right
    that it gave.
  - Works with an administrator that is no superuser, and names every right that such an administrator lacks before anything is
    written.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
options:
  login:
    description: The server, and the administrator that changes roles there.
    type: dict
    required: true
    suboptions:
      host:
        description: Name or address of the server, or the folder of its Unix socket. libpq's default when left out.
        type: str
      port:
        description: Its port.
        type: int
        default: 5432
      dbname:
        description: The database to start from. Roles belong to the whole server.
        type: str
        default: postgres
      sslmode:
        description: As libpq has it.
        type: str
        default: prefer
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
      sslrootcert:
        description: File with the certificates of the authorities to trust.
        type: path
      sslcert:
        description: File with the administrator's own certificate.
        type: path
      sslkey:
        description: File with the key of O(login.sslcert).
        type: path
      target_session_attrs:
        description: As libpq has it, such as V(read-write) with several hosts.
        type: str
      connect_timeout:
        description: Seconds to wait for a connection.
        type: int
        default: 10
      admin:
        description:
          - Reference to the administrator's username and password, such as V(ref+vault://secret/postgres/admin), or a mapping
            with the keys C(username) and C(password) whose values are references.
          - Without a password libpq uses what it finds, such as a password file or a certificate.
        type: raw
        required: true
  name:
    description: The role.
    type: str
  roles:
    description:
      - Several roles at once, over one connection. The other options hold for all of them.
    type: list
    elements: dict
    suboptions:
      name:
        description: The role.
        type: str
        required: true
      password:
        description: As O(password).
        type: str
      verifier:
        description: As O(verifier).
        type: str
      like:
        description: As O(like), which is the default.
        type: str
  state:
    description:
      - V(present), or V(standby), which means the same. The role is there, has the rights of O(like), and can log in.
      - V(active). The role is there already and can log in with this password. Its rights are left alone.
      - V(locked). The role cannot log in, and its sessions are ended.
      - V(absent). The role is dropped. Refused while it has sessions or owns something; what it owns goes to the role that it
        acts as, where it does (O(owner_role)).
    type: str
    default: present
    choices: [present, standby, active, locked, absent]
  password:
    description:
      - The password, or better a reference to it, such as V(ref+vault://secret/app#/password) or V(keyring#/pending/password).
      - A role that accepts it already is left alone, whatever the salt of its verifier.
    type: str
  verifier:
    description:
      - The SCRAM-SHA-256 verifier that the server is to keep, or a reference to it, such as V(keyring#/pending/verifier).
      - Give it where another program needs the identical text, as PgBouncer's userlist does.
    type: str
  like:
    description: The role whose rights the role gets. Without it rights are left alone.
    type: str
  owner_role:
    description:
      - A NOLOGIN role that owns what the application makes. The login roles become its members and act as it
        (C(ALTER ROLE … SET role)). Made when it is not there.
      - When something belongs to the role named in O(like), and that role does not act as another one yet, the default is its
        name with V(_owner).
    type: str
  ownership:
    description:
      - What to do when something belongs to one of the login roles. V(group) moves it to O(owner_role), V(refuse) names it.
      - With V(group), new sessions of both login roles act as the owner role, which gets all their rights. Sessions that are open
        already keep on working, and what they still make is open to the owner role. From then on give rights to the owner role,
        and take them from it.
    type: str
    default: group
    choices: [group, refuse]
  databases:
    description:
      - Databases to copy rights in. By default every database in which the server knows rights of the roles.
      - For O(state=absent) all of them are visited.
    type: list
    elements: str
  name_policies:
    description:
      - What to do when row-security policies that apply to O(like) compare the user's name (C(current_user)), so that a role of
        another name may see other rows.
    type: str
    default: refuse
    choices: [refuse, allow]
notes:
  - Needs psycopg2 (C(psycopg2-binary), or Debian's C(python3-psycopg2)) where it runs.
  - An administrator that is no superuser needs CREATEROLE, from PostgreSQL 16 on also ADMIN OPTION on the roles it changes and on
    the roles whose membership it gives, the rights of the owners of what it grants, and C(pg_signal_backend) to end sessions.
    While it works it makes itself a member of the roles it moves ownership between, and leaves them again.
  - Where the administrator may not read verifiers (only superusers may), a login with the password tells whether it is set. A
    O(verifier) without a O(password) is then written each time.
  - The verifier itself is in the server's log when that logs statements. Nobody can log in with it.
  - C(VALID UNTIL) is not copied from the role named in O(like); the password has no end, and a warning says so. Otherwise an end
    that is still to come is left alone, and one that has passed is taken away.
requirements:
  - psycopg2
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Give the application a new password, of which the server sees the verifier only
  keyturn.runbooks.pg_role:
    login:
      host: db1.example
      admin: ref+vault://secret/postgres/admin
    name: musehub
    password: ref+vault://secret/musehub/database#/password

- name: Make a second login role that may do everything the first one may
  keyturn.runbooks.pg_role:
    login:
      host: db1.example
      dbname: musehub
      sslmode: verify-full
      sslrootcert: /etc/ssl/certs/db-ca.pem
      admin: ref+vault://secret/postgres/admin
    name: musehub_b
    like: musehub_a
    owner_role: musehub_owner
    password: ref+vault://secret/musehub/database_b#/password

- name: See what that would change, without changing anything
  keyturn.runbooks.pg_role:
    login:
      host: db1.example
      admin: ref+vault://secret/postgres/admin
    name: musehub_b
    like: musehub_a
    password: ref+vault://secret/musehub/database_b#/password
  check_mode: true
  diff: true

- name: Write the very verifier that PgBouncer's userlist has
  keyturn.runbooks.pg_role:
    login:
      host: db1.example
      admin: ref+vault://secret/postgres/admin
    name: musehub_b
    state: active
    keyring: ref+vault://secret/keyrings/db_musehub
    password: keyring#/current/password
    verifier: keyring#/current/verifier

- name: Shut a role out at once, and end its sessions
  keyturn.runbooks.pg_role:
    login:
      host: db1.example
      admin: ref+vault://secret/postgres/admin
    name: contractor
    state: locked

- name: Drop last month's role once nobody uses it any more
  keyturn.runbooks.pg_role:
    login:
      host: db1.example
      admin: ref+vault://secret/postgres/admin
    name: agentaskit_prod_20260101
    state: absent

- name: New passwords for many roles over one connection
  keyturn.runbooks.pg_role:
    login:
      host: db1.example
      admin:
        username: rotator
        password: ref+file:///etc/keyturn/rotator
    state: active
    roles:
      - name: billing
        password: ref+vault://secret/billing#/password
      - name: search
        password: ref+vault://secret/search#/password
"""

RETURN = r"""
roles:
  description: What was found and done for each role, as booleans, counts and names.
  returned: success
  type: list
  elements: dict
  contains:
    role:
      description: Its name.
      type: str
    changed:
      description: Whether something was changed, or would be.
      type: bool
    created:
      description: Whether it was not there before.
      returned: when it is to log in
      type: bool
    login:
      description: Whether it can log in now.
      returned: when it is to log in
      type: bool
    password_changed:
      description: Whether it was given this password, as opposed to having it already.
      returned: when it is to log in
      type: bool
    rights_added:
      description: How many changes gave it, the owner role or the role named in O(like) something.
      returned: when rights were looked at
      type: int
    rights_removed:
      description: How many changes took something away.
      returned: when rights were looked at
      type: int
    databases:
      description: The databases that were looked at.
      returned: when rights were copied
      type: list
      elements: str
    owner_role:
      description: The group role that owns what the login roles make; empty for none.
      returned: when rights were copied
      type: str
    terminated:
      description: How many sessions were ended.
      returned: for O(state=locked)
      type: int
    dropped:
      description: Whether it was there and was dropped.
      returned: for O(state=absent)
      type: bool
  sample:
    - {role: musehub_b, changed: true, created: true, login: true, password_changed: true, rights_added: 14, rights_removed: 0,
       databases: [musehub], owner_role: musehub_owner}
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._pg_role import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
