# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer ``postgres_role``: alternate login roles, one role with a new password, or a new role for each rotation.

=================  =======  ==================================================================================
strategy           overlap  apply; revoke; drop
=================  =======  ==================================================================================
alternate_roles    yes      the other role gets the rights of the one in use; no login, password, session; -
same_role          no       the role gets another verifier and its sessions live on; nothing is left to revoke
new_role           yes      a role of a new name gets the rights of the one in use; as above; DROP ROLE (or lock)
=================  =======  ==================================================================================
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Set

from ansible_collections.keyturn.runbooks.plugins.module_utils import _scram
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._generate import generate, recipe
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Outcome, Session
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._passive import (
    Passive,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._postgres_check import (
    check_overlap,
    check_same,
    pattern_reasons,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._postgres_definition import (
    ALTERNATE,
    NEW,
    SAME,
    Definition,
    fill,
    parse_definition,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres import _sessions
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import read_admin
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._connect import Server
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._ensure import RoleJob
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._logins import refuse
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._names import (
    check_role_name,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._password import (
    Credential,
    password_state,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import (
    Role,
    read_roles,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._wish import Wish
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value

_GENERATED = "keyturn_generate.password"
_PASSWORD = {"type": "password", "length": 40}


def credential_of(stage: Stage) -> Credential:
    """What the server is to accept for a stage."""
    label = stage.fingerprints.get("password", "(changed)")
    return Credential(stage.secret("password"), stage.secret("verifier"), label)


def _same_rotation(one: Optional[Stage], other: Stage) -> bool:
    return one is not None and one.rotation_id == other.rotation_id


class PostgresRole(Passive):
    """See the table at the top of this file.

    :param definition: from :func:`parse_definition`.
    """

    secret_fields: FrozenSet[str] = frozenset(("password", "verifier"))

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self.overlap = definition.strategy != SAME
        self.cutover, self.returns = not self.overlap, True

    @classmethod
    def from_definition(
        cls, definition: Mapping[str, Any], context: Context, option: str
    ) -> PostgresRole:
        """The issuer that a ``keyturn_issuer`` describes.

        :raises BadInput: naming the key and what is expected.
        """
        return cls(parse_definition(definition, option))

    def _server(self, context: Context) -> Server:
        return Server.open(self._definition.login, context, f"{self._definition.option}.login")

    def _job(
        self, server: Server, name: str, context: Context, guard: Guard = no_guard, like: str = ""
    ) -> RoleJob:
        own = self._definition
        group = own.default_group
        wish = Wish(name, like, own.owner_role, group, own.ownership, own.name_policies)
        return RoleJob(server, wish, context, guard, own.databases)

    def check_generate(self, generate: Mapping[str, Any], context: Context) -> None:
        """Refuse a description of a password that cannot be meant.

        :raises BadInput: naming the option and what is expected.
        """
        recipe(_password_of(generate), context, _GENERATED)

    def propose(
        self, document: Optional[Document], generate_spec: Mapping[str, Any], context: Context
    ) -> Dict[str, Value]:
        """A role and a password with its verifier, made once: PgBouncer needs the identical verifier on every rerun.

        :raises Refused: when no role is free, naming what to do.
        """
        password = _new_password(generate_spec, context)
        username = self._known_next(document)
        if not username:
            with self._server(context) as server:
                username = self._choose(server, document, context)
        if password is None:
            return {"username": username, "password": Secret.new(), "verifier": Secret.new()}
        verifier = _scram.verifier(password, context.randbytes(_scram.SALT_BYTES))
        return {"username": username, "password": Secret(password), "verifier": Secret(verifier)}

    def _known_next(self, document: Optional[Document]) -> str:
        """The role that is next, where the definition and the keyring say it; else nothing."""
        if self._definition.strategy != ALTERNATE:
            return "".join(self._definition.roles)
        free = self._free(document)
        return free[0] if _latest(document) in self._definition.roles else ""

    def _free(self, document: Optional[Document]) -> List[str]:
        taken = _taken(document)
        free = [name for name in self._definition.roles if name not in taken]
        if not free:
            raise Refused(
                f"{self._definition.option}: every role is in use or still kept by the keyring ({', '.join(sorted(taken))}); run "
                "the retire_due playbook first"
            )
        return free

    def _choose(self, server: Server, document: Optional[Document], context: Context) -> str:
        if self._definition.strategy == NEW:
            return self._new_name(server, document, context)
        return self._known_next(document) or self._first_unused(server, self._free(document))

    def _first_unused(self, server: Server, free: List[str]) -> str:
        """A role that nobody can be using: without a keyring only the server knows."""
        roles = read_roles(server, free, read_admin(server))
        for name in free:
            if not roles[name].exists:
                return name
        for name in free:
            if not roles[name].login and not _sessions.list_sessions(server, roles[name].oid):
                return name
        raise Refused(
            f"{self._definition.option}.roles: {' and '.join(free)} exist and can log in, and no keyring says which of them is in "
            "use; take that one over with the adopt playbook first"
        )

    def _new_name(self, server: Server, document: Optional[Document], context: Context) -> str:
        date = context.now().strftime("%Y%m%d")
        suffix = "(new)" if context.check_mode else context.randbytes(3).hex()
        stem = fill(self._definition.template, date, suffix)
        option = f"{self._definition.option}.role_template"
        names = [check_role_name(stem, option)]
        names += [f"{stem}_{number}" for number in range(2, 100)]
        roles = read_roles(server, names, read_admin(server))
        taken = _taken(document)
        free = [name for name in names if not roles[name].exists and name not in taken]
        if not free:
            raise Refused(
                f"{option}: {stem} and 98 more of that name exist; drop the ones that are not needed"
            )
        return check_role_name(free[0], option)

    def _like(self, server: Server, name: str, document: Optional[Document]) -> str:
        """The role that has the rights now."""
        latest = _latest(document)
        if latest and latest != name:
            return latest
        if self._definition.like:
            return self._definition.like
        others = [role for role in self._definition.roles if role != name]
        roles = read_roles(server, others, read_admin(server))
        return next((role for role in others if roles[role].login), "")

    def check(self, document: Optional[Document], context: Context) -> List[str]:
        """Every reason why a rotation could not work; nothing is written."""
        self._warn_of_another(document, context)
        try:
            with self._server(context) as server:
                if self._definition.strategy == SAME:
                    return check_same(self._job(server, self._definition.roles[0], context))
                pending = document.pending if document else None
                name = (
                    pending.text("username") if pending else self._choose(server, document, context)
                )
                job = self._job(server, name, context, like=self._like(server, name, document))
                return check_overlap(job, fresh=pending is None)
        except BadInput:
            raise
        except KeyturnError as error:
            return [error.message]

    def _warn_of_another(self, document: Optional[Document], context: Context) -> None:
        """Roles may be renamed on purpose; with a typo, one would be made that nobody wanted, and the one in use be ended."""
        current = _latest(document)
        roles = self._definition.roles
        if current and roles and current not in roles:
            context.warn(
                f"the role in use, {current}, is none of {self._definition.option}.roles ({', '.join(roles)}): a rotation replaces it "
                "with one of these, and retiring ends it"
            )

    def apply(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Make the server accept this stage; a new one gets the rights of the role in use first.

        :raises Refused: naming every reason, before anything is written.
        """
        name = stage.text("username")
        with self._server(context) as server:
            if self._definition.strategy == SAME or not _same_rotation(document.pending, stage):
                return self._job(server, name, context, guard).active(credential_of(stage))
            job = self._job(server, name, context, guard, self._like(server, name, document))
            refuse(f"role {name}", pattern_reasons(job))
            return job.present(credential_of(stage))

    def revoke(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Make the server refuse this stage, and end its sessions.

        :raises Refused: when the role is the one that another stage needs.
        """
        name = stage.text("username")
        with self._server(context) as server:
            job = self._job(server, name, context, guard)
            if self._definition.strategy == SAME:
                return self._revoke_same(job, stage, document, guard, context)
            self._refuse_shared(stage, document)
            return job.locked(forget=True)

    def _refuse_shared(self, stage: Stage, document: Document) -> None:
        name = stage.text("username")
        for which in ("current", "previous", "pending"):
            other = document.stage(which)
            if other and not _same_rotation(other, stage) and other.text("username") == name:
                raise Refused(
                    f"role {name} is not locked: the {which} stage of {document.credential} uses it as well; finish or undo that "
                    "rotation first"
                )

    def _revoke_same(
        self, job: RoleJob, stage: Stage, document: Document, guard: Guard, context: Context
    ) -> Outcome:
        """The new verifier ended the old password; sessions that logged in with it live on unless it is compromised."""
        role = job.role(job.wish.name)
        state = password_state(job.server, job.admin, role, credential_of(stage))
        if state == "same" and not _is_foreseen(document):
            raise Refused(
                f"role {role.name} still accepts this value, and has only one; rotate it before revoking the old value"
            )
        sessions = _sessions.list_sessions(job.server, role.oid) if stage.compromised else []
        if sessions and not context.check_mode:
            guard()
            _sessions.end_once(job.server, role.oid, role.name)
        return Outcome(bool(sessions), {"role": role.name, "terminated": len(sessions)})

    def drop(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Remove what is left of this stage: the role, or where roles are used again its password.

        :raises Refused: while it has sessions, or owns what cannot be moved; they are named.
        """
        own = self._definition
        with self._server(context) as server:
            job = self._job(server, stage.text("username"), context, guard)
            if own.strategy == SAME:
                return Outcome(False, {"role": job.wish.name})
            self._refuse_shared(stage, document)
            # The keyring has it revoked before it is dropped, which check mode only predicts.
            job.revoked = context.check_mode
            never_used = _same_rotation(document.pending, stage)
            if own.strategy == NEW and (own.retire == "drop" or never_used):
                return job.absent()
            return job.locked(forget=True, settle=True)

    def sessions(self, stage: Stage, context: Context) -> List[Session]:
        """Who is logged in as this stage's role."""
        with self._server(context) as server:
            role: Role = self._job(server, stage.text("username"), context).role(
                stage.text("username")
            )
            return _sessions.list_sessions(server, role.oid)

    def stands(self, context: Context) -> List[str]:
        """Roles that can log in, of which one would get another password; where passwords may not be read, each may have one."""
        names = self._definition.roles
        if self._definition.strategy == NEW:
            return []
        with self._server(context) as server:
            admin = read_admin(server)
            roles = read_roles(server, names, admin)
        used = [
            name
            for name in names
            if roles[name].login and (roles[name].verifier or not admin.reads_verifiers)
        ]
        if len(used) < len(names):
            return []
        return [f"{self._definition.option}: {' and '.join(used)} can log in at the server already"]

    def adopt(self, fields: Mapping[str, Value], context: Context) -> Mapping[str, Value]:
        """The fields of a stage for a password that is in use: checked, with the verifier that the server keeps.

        PgBouncer can then be given the very verifier, also for a role with one password that was changed and is returned to.

        :raises Refused: when the server does not accept it.
        """
        username = fields.get("username") or (self._definition.roles[0] if not self.overlap else "")
        password = fields.get("password")
        option = self._definition.option
        if isinstance(username, Secret) or not username or not isinstance(password, Secret):
            raise BadInput(f"{option}: to adopt a role, give its username and its password")
        with self._server(context) as server:
            role = self._job(server, check_role_name(username, option), context).role(username)
        kept = role.verifier
        # An md5 hash, or an administrator who may not read either: the login that proved the value has to do.
        if kept is None or not _scram.is_verifier(kept.reveal()):
            return {"username": username, "password": password}
        if not _scram.matches(password.reveal(), kept.reveal()):
            raise Refused(
                f"role {username} does not accept this password; give the one that is in use"
            )
        return {"username": username, "password": password, "verifier": kept}


def _is_foreseen(document: Document) -> bool:
    """Whether the value in use is one that a dry run predicted, so that the server was not told of it."""
    password = document.current.secret("password") if document.current else None
    return password is not None and not password.known


def _latest(document: Optional[Document]) -> str:
    """The role that is in use, or that was until it was taken out of use; empty when there is none."""
    stage = (document.current or document.previous) if document else None
    return stage.text("username") if stage else ""


def _taken(document: Optional[Document]) -> Set[str]:
    stages = (document.current, document.previous) if document else ()
    return {stage.text("username") for stage in stages if stage}


def _new_password(generate_spec: Mapping[str, Any], context: Context) -> Optional[str]:
    """A new password; none in check mode, which only checks what is asked for."""
    spec = _password_of(generate_spec)
    if context.check_mode:
        recipe(spec, context, _GENERATED)
        return None
    return generate(spec, context, _GENERATED)


def _password_of(generate_spec: Mapping[str, Any]) -> Any:
    """What is said of the password.

    :raises BadInput: for any other field.
    """
    unknown = sorted(set(generate_spec) - {"password"})
    if unknown:
        raise BadInput(
            f"keyturn_generate: a PostgreSQL role has no field '{unknown[0]}'; expected password"
        )
    return generate_spec.get("password", _PASSWORD)


__all__ = ["ALTERNATE", "NEW", "SAME", "PostgresRole", "credential_of"]
