# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer ``cloudflare_r2``: a key pair for Cloudflare's object store, which is an API token of Cloudflare's and is replaced by another.

============  ==========================================================================================
login         ``token``: a reference to the API token of whoever rotates; ``timeout``, ``validate_certs``, ``ca_path``; ``api`` where
              the API is elsewhere
account       the id of the account
tokens        whose the new token is: ``account`` (the default) or ``user``
name          what a token is called; it names ``{rotation_id}``, and may name ``{credential}``
buckets       a list of names, or ``all``; with ``permission`` (``read_write`` or ``read``) and ``jurisdiction``
policies      instead of buckets: policies as the API takes them; a permission group may be given by its name
copy_from     instead of both: the id of a token that may do the same, for as long as the keyring holds none. Without any of the three,
              the new token may what the one in use may
lifetime      after which time Cloudflare ends a new token by itself, such as ``180d``, or ``never``; without it a copy lives as long as
              the token that it copies was to live, and any other forever
settle        how long a new token is left alone before it is used; 60 seconds by default
quiet         how long an old one must not have been used before it is deleted, as far as Cloudflare tells; an hour by default
============  ==========================================================================================

A stage has the fields ``access_key_id``, ``secret_access_key`` (secret), ``token_id`` and ``account``. As Cloudflare has it, the access
key id is the token's id, and the secret access key is the SHA-256 of the token's value, in lower-case hexadecimal digits
(https://developers.cloudflare.com/r2/api/tokens/, "Get S3 API credentials from an API token"). The value itself is kept nowhere: it
would open the rest of Cloudflare's API as well. Old and new are accepted together until the old one is deleted. A change of rights is known
everywhere after up to a minute (https://developers.cloudflare.com/r2/reference/consistency/), hence ``settle``.
"""

from __future__ import annotations

import hashlib
import re
import time
from datetime import timedelta
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard, no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Outcome, Session
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._cloudflare_api import (
    ACTIVE,
    Cloudflare,
    Token,
    TokenLogin,
    is_id,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._cloudflare_definition import (
    NEVER,
    Definition,
    Policy,
    parse_definition,
    parse_policies,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._cloudflare_errors import (
    WRITE_RIGHTS,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._http_api import Api
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._only_one import OnlyOne
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._passive import (
    MadeElsewhere,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_duration,
)

ID, KEY, TOKEN, ACCOUNT = "access_key_id", "secret_access_key", "token_id", "account"
_SECRET = re.compile(r"[0-9a-f]{64}")
_TOLD_EVERY = 5.0


def pair_of(token_id: str, value: Secret, account: str) -> Mapping[str, Value]:
    """The fields of a stage for a token; see the top of this file."""
    digest = hashlib.sha256(value.reveal().encode("utf-8")).hexdigest()
    return {ID: token_id, KEY: Secret(digest), TOKEN: token_id, ACCOUNT: account}


class CloudflareR2(MadeElsewhere):
    """See the table at the top of this file."""

    no_wish = "Cloudflare makes the key, so nothing can be said of it; remove keyturn_generate"
    overlap, cutover, returns = True, False, True
    secret_fields: FrozenSet[str] = frozenset({KEY})

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._option = definition.option
        if not definition.policies:
            self.comes_first = (
                f"{self._option}: the new token copies what it may do from the one that would be deleted before; give buckets or "
                "policies"
            )

    @classmethod
    def from_definition(
        cls, definition: Mapping[str, Any], context: Context, option: str
    ) -> CloudflareR2:
        """The issuer that a ``keyturn_issuer`` describes.

        :raises BadInput: naming the key and what is expected.
        """
        return cls(parse_definition(definition, option))

    def _open(self, context: Context) -> Cloudflare:
        own = self._definition
        login = TokenLogin(own.token, context, f"{self._option}.login.token")
        where = f"{self._option} ({own.api})"
        api = Api(own.api, own.connection, context, where, login)
        return Cloudflare(api, own.account, own.owner)

    def issue(
        self, stage: Stage, document: Document, context: Context, guard: Guard
    ) -> Mapping[str, Value]:
        """The pair of a new token that names the rotation. One that an earlier try left is deleted: its value was told once.

        :raises KeyturnError: as the API's answers give cause.
        """
        name = self._definition.named(document.credential, stage.rotation_id)
        if context.check_mode:
            own = {ACCOUNT: self._definition.account}
            return {**{field: Secret.new() for field in (ID, KEY, TOKEN)}, **own}
        api = self._open(context)
        sent = {"name": name, **self._wanted(api, document, context)}
        made = OnlyOne[Token](
            look=lambda: api.named(stage.rotation_id),
            make=lambda: api.make(sent, guard),
            end=lambda token: _end(api, token, guard),
            usable=lambda token: token.value is not None,
            same=lambda one, other: one.id == other.id,
            tries=api.tries,
        ).get()
        if made.value is None:
            raise Unreachable(f"{api.where}: token {made.id} has no value; run again")
        return pair_of(made.id, made.value, self._definition.account)

    def _wanted(
        self, api: Cloudflare, document: Optional[Document], context: Context
    ) -> Mapping[str, Any]:
        """What the new token may do, from where, and until when.

        :raises KeyturnError: the token to copy from is not there, or a permission group is not.
        """
        policies, lifetime = self._definition.policies, self._definition.lifetime
        more: Dict[str, Any] = {}
        if not policies:
            source = self._source(api, document)
            policies = parse_policies(list(source.policies), f"{api.where}: token {source.id}")
            more.update({"condition": source.condition} if source.condition else {})
            lifetime = self._lifetime_of(api, source) if lifetime is None else lifetime
        if lifetime:
            more["expires_on"] = f"{context.now() + lifetime:%Y-%m-%dT%H:%M:%SZ}"
        return {"policies": self._sent(api, policies), **more}

    def _lifetime_of(self, api: Cloudflare, source: Token) -> Optional[timedelta]:
        """How long a token was to live. Its date itself says nothing about another one, and may be over.

        :raises Refused: it has an end, and nobody tells its beginning.
        """
        if source.expires is None:
            return None
        if source.issued is None or source.expires <= source.issued:
            raise Refused(
                f"{api.where}: token {source.id}, which the new one copies, has a date of expiry, and Cloudflare does not tell when it was "
                f"made: give lifetime, such as 180d or '{NEVER}'"
            )
        return source.expires - source.issued

    def _tell_end(self, wanted: Mapping[str, Any], context: Context) -> None:
        """Warn of an end that nobody wrote into the definition."""
        if "expires_on" not in wanted or self._definition.lifetime is not None:
            return
        context.warn(
            f"{self._option}: the new token expires on {wanted['expires_on']}, because the one that it copies was to live as long: rotate "
            f"it before that, or nobody can use it any more. lifetime says otherwise, such as 365d or '{NEVER}'"
        )

    def _source(self, api: Cloudflare, document: Optional[Document]) -> Token:
        known = document.current.text(TOKEN) if document and document.current else ""
        wanted = known or self._definition.copy_from
        if not wanted:
            raise BadInput(
                f"{self._option}: nothing says what the new token may do: adopt the pair in use, or give buckets, policies or copy_from"
            )
        found = api.token(wanted)
        if found is None:
            raise Refused(
                f"{api.where}: token {wanted}, from which the new one copies what it may do, is not there; give buckets or policies "
                "instead, and see that tokens says whose it is"
            )
        return found

    def _sent(self, api: Cloudflare, policies: Tuple[Policy, ...]) -> List[Dict[str, Any]]:
        named = {group.name for policy in policies for group in policy.groups if group.name}
        ids = api.groups() if named else {}
        missing = sorted(named - set(ids))
        if missing:
            raise Refused(
                f"{api.where}: there is no permission group '{missing[0]}' here; give its id in policies, or look what this account has"
            )
        return [policy.sent(ids) for policy in policies]

    def adopt(self, fields: Mapping[str, Value], context: Context) -> Mapping[str, Value]:
        """The fields of a pair in use whose token is there.

        :raises Refused: there is none, or it is not active.
        """
        known, secret = fields.get(ID), fields.get(KEY)
        if set(fields) != {ID, KEY} or not is_id(known) or not isinstance(secret, Secret):
            raise BadInput(f"{self._option}: to adopt a pair, give {ID} and {KEY}")
        if not _SECRET.fullmatch(secret.reveal()):
            raise BadInput(
                f"{self._option}: what is given as {KEY} is none of R2's, which have 64 hexadecimal digits; is it the other way round, "
                "or the token's value?"
            )
        api = self._open(context)
        found = api.token(str(known))
        if found is None or found.status != ACTIVE:
            why = "is not active" if found else "is not there"
            raise Refused(
                f"{api.where}: token {known}, whose id is the {ID}, {why}; give the pair in use, and see that account and tokens say whose "
                "it is"
            )
        return {ID: found.id, KEY: secret, TOKEN: found.id, ACCOUNT: self._definition.account}

    def check(self, document: Optional[Document], context: Context) -> List[str]:
        """The reasons why no token could be made: the login and its rights, and what the new token may do."""
        try:
            self._definition.named(document.credential if document else "", "r" * 21)
            api = self._open(context)
            login, whose = api.verify()
            api.look()
            self._refuse_reader(api, login, whose)
            wanted = self._wanted(api, document, context)
            self._tell_end(wanted, context)
            return self._against_itself(login, document)
        except BadInput:
            raise
        except KeyturnError as error:
            return [error.message]

    def _refuse_reader(self, api: Cloudflare, login: str, whose: str) -> None:
        """Whether it may write is seen by the names of its rights; where they cannot be read, the first write tells."""
        try:
            found = api.token(login, whose)
        except Denied:
            return
        rights, needed = found.rights if found else [], WRITE_RIGHTS[self._definition.owner]
        if rights and needed not in rights:
            raise Denied(
                f"{api.where}: the login's token {login} may not make and delete tokens: give it {needed}, for this account alone"
            )

    def _against_itself(self, login: str, document: Optional[Document]) -> List[str]:
        stages = document.stages.values() if document else ()
        if any(stage.text(TOKEN) == login for stage in stages):
            return [
                f"{self._option}.login.token: is the token that is rotated here, and would be deleted; log in with another"
            ]
        return []

    def apply(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Leave a new token alone until it is known everywhere; it is accepted without being told of."""
        settle = self._definition.settle.total_seconds()
        if context.check_mode or not settle:
            return Outcome(False)
        found = self._open(context).token(stage.text(TOKEN))
        if found is None or found.issued is None:
            return Outcome(False)
        # Its clock may differ from ours.
        left = min(settle - (context.now() - found.issued).total_seconds(), settle)
        until = time.monotonic() + left
        while time.monotonic() < until:
            left = max(until - time.monotonic(), 0.0)
            context.still_wanted()
            context.progress(f"waiting {left:.0f} s until a new key is known to all of R2")
            time.sleep(min(left, _TOLD_EVERY))
        return Outcome(False)

    def revoke(self, stage: Stage, document: Document, context: Context, guard: Guard) -> Outcome:
        """Delete the token; for a stage without one, every token that names its rotation.

        :raises Refused: another stage has it, or it is another account's, which would say that it is not there.
        """
        api, known, account = self._open(context), stage.text(TOKEN), stage.text(ACCOUNT)
        if account and account != self._definition.account:
            raise Refused(
                f"{self._option}.account: token {known} is one of account {account}, and the definition names {self._definition.account}, "
                "which does not know it. Put the account back as it was until this token is deleted"
            )
        if known:
            _refuse_shared(stage, document)
            there = api.token(known)
            found = [there] if there else []
        else:
            found = api.named(stage.rotation_id)
        for token in found:
            _end(api, token, no_guard if context.check_mode else guard, context.check_mode)
        lines = [f"token {token.id}" for token in found]
        return Outcome(bool(found), {"deleted": [token.id for token in found]}, before=lines)

    def sessions(self, stage: Stage, context: Context) -> Optional[List[Session]]:
        """Whoever used the token lately; none where Cloudflare does not tell when it was used last."""
        known, quiet = stage.text(TOKEN), self._definition.quiet
        found = self._open(context).token(known) if known and quiet else None
        if found is None or found.used is None:
            return None
        if context.now() - found.used >= quiet:
            return []
        text = (
            f"somebody with access key id {known}, last on {found.used:%Y-%m-%dT%H:%M:%SZ}, as Cloudflare tells; it counts as unused "
            f"{format_duration(quiet)} after that (quiet)"
        )
        return [Session("", 0, text=text)]


def _end(api: Cloudflare, token: Token, guard: Guard, check_mode: bool = False) -> None:
    if not check_mode:
        api.delete(token.id, guard)


def _refuse_shared(stage: Stage, document: Document) -> None:
    for which, other in document.stages.items():
        if other.rotation_id != stage.rotation_id and other.text(TOKEN) == stage.text(TOKEN):
            raise Refused(
                f"token {stage.text(TOKEN)} is not deleted: the {which} stage of {document.credential} has it as well; finish or undo "
                "that rotation first"
            )
