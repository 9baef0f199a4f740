# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a role accepts a password, and the statement that makes it so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils import _scram
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import Admin
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import Change
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import (
    identifier,
    literal,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._role_plan import (
    alter_needs,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import Role
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

SAME = "same"
OTHER = "other"
NONE = "none"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Credential:
    """What a role is to accept.

    :param verifier: what the server is to keep; made from the password when there is none.
    :param label: how a diff shows it, such as its fingerprint.
    """

    password: Optional[Secret] = None
    verifier: Optional[Secret] = None
    label: str = "(changed)"

    @property
    def known(self) -> bool:
        """Whether it exists, as opposed to being predicted by check mode."""
        return all(secret.known for secret in (self.password, self.verifier) if secret)


def _compared(role: Role, wanted: Credential) -> str:
    kept = role.verifier or Secret("")
    if wanted.verifier:
        return SAME if wanted.verifier == kept else OTHER
    password = wanted.password.reveal() if wanted.password else ""
    return SAME if _scram.matches(password, kept.reveal()) else OTHER


def password_state(server: Server, admin: Admin, role: Role, wanted: Credential) -> str:
    """Whether the role has this password: ``same``, ``other``, ``none`` or ``unknown``.

    Where the administrator may not read verifiers, a login says it: nobody but us knows the password of a stage, so a role
    that accepts it has this stage's verifier.
    """
    if not role.exists or (admin.reads_verifiers and role.verifier is None):
        return NONE
    if admin.reads_verifiers:
        return _compared(role, wanted) if wanted.known else OTHER
    if not role.login or wanted.password is None:
        return UNKNOWN
    if not wanted.known:
        return OTHER
    verdict = server.try_login(role.name, wanted.password)
    return {"accepted": SAME, "refused": OTHER}.get(verdict[0] if verdict else "", UNKNOWN)


def plan_login(
    role: Role, state: str, wanted: Credential, admin: Admin, context: Context, endless: bool
) -> List[Change]:
    """Let the role log in with this password, from now on.

    The server only hears the verifier, so no log of it can hold the password.

    :param endless: take away an end (``VALID UNTIL``) that is still to come, and not only one that has passed.
    """
    words: List[str] = []
    parts: List[str] = []
    if not role.login:
        words.append("LOGIN")
        parts.append("LOGIN")
    if state != SAME:
        words.append(f"PASSWORD {literal(_verifier(wanted, context))}")
        parts.append("password")
    if role.expired or (endless and role.valid_until):
        words.append("VALID UNTIL 'infinity'")
        parts.append("VALID UNTIL infinity")
    if not words:
        return []
    statement = f"ALTER ROLE {identifier(role.name)} {' '.join(words)}"
    return [Change(role.name, statement, ", ".join(parts), needs=alter_needs(role, admin))]


def _verifier(wanted: Credential, context: Context) -> str:
    if not wanted.known:
        return "(new)"
    if wanted.verifier:
        return wanted.verifier.reveal()
    password = wanted.password.reveal() if wanted.password else ""
    return _scram.verifier(password, context.randbytes(_scram.SALT_BYTES))


def password_lines(state: str, wanted: Credential) -> Tuple[List[str], List[str]]:
    """The password's part of a diff: before and after."""
    before = {
        OTHER: "password: (another)",
        NONE: "password: (none)",
        UNKNOWN: "password: (not known)",
    }
    if state == SAME:
        return [], []
    return [before[state]], [f"password: {wanted.label if wanted.known else '(new)'}"]
