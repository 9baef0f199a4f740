# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential's keyring in its store: read, step by compare-and-set, and guard external writes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._claims import (
    check_claim,
    check_clock,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Corrupt,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    Document,
    LedgerHead,
    dump_text,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import next_head
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers import Ledger, open_ledger
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import is_dead, run_of
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import open_store
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_time,
    parse_time_if_given,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._transitions import (
    only_claimed,
    transition,
)

OPTION = "keyturn_keyring"
KEYRING, LEDGER = "keyring", "ledger"
"""What an error's ``details["place"]`` says: which of the two could not be read or written."""

_TRIES = 4
# What they write was made for the document that was read: for another one it may be wrong, such as a role that is in use by now.
_PROPOSING = ("stage", "adopt")


def request_to_replay(request: Request) -> Dict[str, Any]:
    """A predicted step as plain data without values, for the tasks that follow in check mode."""
    plain = {name: value for name, value in request.fields.items() if not isinstance(value, Secret)}
    secret = [name for name, value in request.fields.items() if isinstance(value, Secret)]
    return {
        "transition": request.transition,
        "rotation_id": request.rotation_id,
        "fields": plain,
        "secret_fields": secret,
        "definition": request.definition,
        "overlap": request.overlap,
        "ends": request.ends,
        "returns": request.returns,
        "handed": request.handed,
        "evidence": [dict(item) for item in request.evidence],
        "grace": request.grace.total_seconds(),
        "made": format_time(request.made) if request.made else None,
        "before": format_time(request.before) if request.before else None,
        "receipts": dict(request.receipts),
        "notices": dict(request.notices),
        "retain": request.retain,
        "take_over": request.take_over,
        "holder_dead": request.holder_dead,
    }


def _replay_to_request(entry: Mapping[str, Any], run: Run, credential: str) -> Request:
    same = (
        "transition",
        "rotation_id",
        "definition",
        "overlap",
        "ends",
        "returns",
        "handed",
        "receipts",
        "notices",
        "retain",
        "take_over",
        "holder_dead",
    )
    return Request(
        run=run,
        credential=credential,
        salt=bytes(SALT_BYTES),
        fields={**entry["fields"], **{name: Secret.new() for name in entry["secret_fields"]}},
        evidence=tuple(entry["evidence"]),
        grace=timedelta(seconds=entry["grace"]),
        made=parse_time_if_given(entry["made"], "replay"),
        before=parse_time_if_given(entry.get("before"), "replay"),
        **{name: entry[name] for name in same},
    )


@contextmanager
def _at(place: str) -> Iterator[None]:
    """What fails inside says where."""
    try:
        yield
    except KeyturnError as error:
        error.details.setdefault("place", place)
        raise


class KeyringAccess:
    """One credential's keyring, as this task sees it.

    :ivar document: the document; in check mode with the steps that earlier tasks predicted; none when it is absent.
    """

    def __init__(self, params: Mapping[str, Any], context: Context) -> None:
        text = params.get("keyring")
        if not text:
            raise BadInput(
                f"{OPTION}: missing; name where this credential's keyring is kept, such as ref+vault://secret/keyrings/NAME"
            )
        self.context = context
        self.credential = params.get("credential") or ""
        self.run = run_of(params)
        self.take_over = bool(params.get("take_over"))
        self.replay: List[Dict[str, Any]] = (
            list(params.get("replay") or []) if context.check_mode else []
        )
        self._reference = parse_reference(str(text), OPTION)
        self._store = open_store(self._reference, context, OPTION)
        self._ledger_text = str(params.get("ledger") or "")
        self._opened: Optional[Ledger] = None
        self._own = False
        self._read()

    def _read(self) -> None:
        with _at(KEYRING):
            found = self._store.read()
        self.version: Any = found[1] if found else None
        self.document: Optional[Document] = self._parsed(found[0]) if found else None
        owner = self.document.credential if self.document else ""
        if owner and self.credential and owner != self.credential:
            raise BadInput(
                f"{OPTION}: the keyring at {self._reference.text} belongs to '{owner}', not to '{self.credential}'; give each "
                "credential its own"
            )
        for entry in self.replay:
            request = _replay_to_request(entry, self.run, self.credential)
            # When it was predicted, so that all tasks of a dry run tell one time of it.
            after = transition(self.document, request, self._when(entry))
            self.document = after if after is self.document else self._told_of(after, request)

    def _when(self, entry: Mapping[str, Any]) -> datetime:
        """When a step was predicted, but never before what was written since."""
        written = self.document.updated if self.document else None
        at = parse_time_if_given(entry.get("at"), "replay") or self.context.now()
        return max(at, written or at)

    def _parsed(self, text: str) -> Document:
        known = self.context.parsed.get(self._reference.text)
        if known is None or known[0] != text:
            known = (text, parse_document(text, f"{OPTION} {self._reference.text}"))
            self.context.parsed[self._reference.text] = known
        document: Document = known[1]
        return document

    def _told_of(
        self, after: Document, request: Request, message: str = "", outcome: str = "done"
    ) -> Document:
        """The document with the line of the ledger that tells of its last step."""
        head = next_head(after, request, self.context.now(), outcome, message)
        return replace(after, ledger=head)

    def need(self) -> Document:
        """The document.

        :raises Absent: when there is none, naming what makes one.
        """
        if self.document is None:
            raise Absent(
                f"{OPTION}: there is no keyring at {self._reference.text}; rotate the credential for the first time, or take over "
                "the value in use with the adopt playbook"
            )
        return self.document

    def store_time(self) -> Optional[datetime]:
        """What the store's own clock says, where it tells it."""
        return self._store.time()

    def check_write(self) -> None:
        """Find out, without a step, what would keep this run from writing the keyring.

        :raises KeyturnError: as the store would at a step.
        """
        with _at(KEYRING):
            self._store.check_write(self.version)

    def look_at_ledger(self) -> None:
        """Reach the audit log, review it as a run's first step does, and find out whether a line may be added.

        :raises BadInput, Denied, Refused, Sealed, Unreachable, Corrupt: naming the place.
        """
        ledger, head, owner = self._ledger(), self._head(), self._owner()
        with _at(LEDGER):
            found = ledger.review(owner, head, self._is_first(), False)
            ledger.check_append(owner, head)
        if self.context.check_mode:
            # Nothing will be written that this could be told with.
            self._warn_of(found.faults)

    def refuse_others(self) -> None:
        """Refuse what another run is at work on; called before a value is proposed, which would tell of that run's traces alone.

        :raises Refused: naming the run.
        """
        if self.document:
            dead = is_dead(self.document.claim)
            asked = Request("claim", self.run, holder_dead=dead, take_over=self.take_over)
            check_claim(self.document, asked, self.context.now())

    def guard(self) -> None:
        """Make sure that this run still holds the claim; called right before each external write.

        :raises Conflict: when another run took it over or wrote meanwhile.
        """
        self.context.still_wanted()
        if self.context.check_mode:
            return
        with _at(KEYRING):
            found = self._store.read()
        document = self._parsed(found[0]) if found else None
        claim = document.claim if document else None
        # A module that is used alone may work on a keyring that nobody has claimed: then nobody may have written meanwhile.
        unclaimed = claim is None and self.document is not None and self.document.claim is None
        if not unclaimed and (claim is None or claim.run_id != self.run.run_id):
            holder = f"run {claim.run_id} holds it now" if claim else "nobody holds it now"
            raise Conflict(
                f"{self.credential}: this run lost its claim on the keyring ({holder}); nothing more was written. Run again"
            )
        if found and found[1] != self.version:
            raise Conflict(
                f"{self.credential}: the keyring was changed while this task was at work; nothing more was written. Run again"
            )

    def step(self, request: Request, message: str = "", outcome: str = "done") -> bool:
        """Do one step and write it; in check mode only predict it.

        :return: whether the document changed.
        :raises Refused, Conflict: as :func:`transition`; or when others keep writing in between.
        """
        request = replace(
            request,
            run=self.run,
            credential=request.credential or self.credential,
            take_over=self.take_over,
        )
        # Also in check mode, so that a reference that cannot be meant is told there already.
        ledger = self._ledger()
        check_clock(self.credential, self.document, self.context.now(), self.store_time())
        for attempt in range(_TRIES):
            asked = replace(
                request,
                holder_dead=is_dead(self.document.claim if self.document else None),
                salt=self._new_salt(),
            )
            after = transition(self.document, asked, self.context.now())
            if attempt and after is not self.document and asked.transition in _PROPOSING:
                raise Conflict(
                    f"{self.credential}: the keyring was changed while a value was proposed for it; nothing was written. Run again"
                )
            if after is self.document:
                if asked.transition == "release" and not self.context.check_mode:
                    # The run before may have been killed between its last write and that line, and this one has nothing to write.
                    self._recover(ledger, first=False)
                return False
            if self.context.check_mode:
                self._foresee(ledger, after, asked, message, outcome)
                return True
            if only_claimed(self.document, after):
                asked = replace(asked, transition="claim")
            if self._write(ledger, after, asked, message, outcome):
                return True
            self._read()
        raise Conflict(
            f"{self.credential}: the keyring changed {_TRIES} times while writing to it; find out who else writes there"
        )

    def _foresee(
        self, ledger: Ledger, after: Document, request: Request, message: str, outcome: str
    ) -> None:
        if not self.replay:
            self.check_write()
            with _at(LEDGER):
                ledger.check_append(self._owner(), self._head())
        at = format_time(after.updated or self.context.now())
        self.replay.append({**request_to_replay(request), "at": at})
        self.document = self._told_of(after, request, message, outcome)

    def _new_salt(self) -> bytes:
        return bytes(SALT_BYTES) if self.context.check_mode else self.context.randbytes(SALT_BYTES)

    def _ledger(self) -> Ledger:
        if self._opened is None:
            self._opened = open_ledger(
                self._ledger_text, self.context, keyring=self._reference.text
            )
        return self._opened

    def _write(
        self, ledger: Ledger, after: Document, request: Request, message: str, outcome: str
    ) -> bool:
        self.context.still_wanted()
        try:
            faults = self._recover(ledger, self._is_first(), failed=outcome != "done")
        except Corrupt:
            if not self.was_changed():
                raise
            # It was compared with a keyring that another run has written since.
            return False
        after = self._told_of(after, request, message, outcome)
        text = dump_text(after)
        try:
            with _at(KEYRING):
                self.version = self._store.write(text, self.version)
        except Conflict:
            return False
        self.document = after
        self.context.parsed[self._reference.text] = (text, after)
        self._warn_of(faults)
        if after.ledger:
            self._append(ledger, after.ledger.line)
        return True

    @staticmethod
    def _append(ledger: Ledger, line: Mapping[str, Any]) -> None:
        try:
            with _at(LEDGER):
                ledger.append(line)
        except KeyturnError as error:
            # The keyring's own part is done; the line is brought to the ledger by the next step.
            error.details.setdefault("changed", True)
            raise

    def _owner(self) -> str:
        """Whose lines of the ledger these are."""
        return self.document.credential if self.document else self.credential

    def _head(self) -> Optional[LedgerHead]:
        """The last line of the ledger that the keyring knows of."""
        return self.document.ledger if self.document else None

    def _is_first(self) -> bool:
        """Whether the next line is the first one of this run."""
        head = self._head()
        return head is None or head.line.get("run_id") != self.run.run_id

    def was_changed(self) -> bool:
        """Whether somebody wrote to the keyring since it was read here.

        :raises Denied, Sealed, Unreachable, BadInput: as the store says.
        """
        found = self._store.read()
        return bool((found[1] if found else None) != self.version)

    def _recover(self, ledger: Ledger, first: bool, failed: bool = False) -> Tuple[str, ...]:
        """Add the line that a killed run could not; returns what else is wrong, by the document as it was read."""
        with _at(LEDGER):
            found = ledger.review(self._owner(), self._head(), first, failed)
            if found.lost:
                ledger.append(found.lost)
        return tuple(found.faults)

    def _warn_of(self, faults: Sequence[str]) -> None:
        if faults:
            self.context.warn(
                f"{self.credential}: the ledger is not whole: {'; '.join(faults)}. Run the verify_ledger module, and find out who did it"
            )


def open_keyring(params: Mapping[str, Any], context: Context) -> KeyringAccess:
    """The keyring that a task's parameters name.

    :raises BadInput, Absent, Denied, Sealed, Unreachable, Corrupt, Refused: as the reference, the store and the document give cause.
    """
    return KeyringAccess(params, context)
