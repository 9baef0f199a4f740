# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keyring document: what it holds, how it is read and written. Transitions are in ``_transitions``."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._json_lines import json_lines
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import (
    Secret,
    Value,
    is_known,
    reveal,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time, parse_time

SCHEMA = 3
KIND = "keyturn.keyring"
STAGES = ("pending", "current", "previous")
STATUSES = {
    "pending": ("intended", "issued", "applied", "proved", "abandoning"),
    "current": ("cutover", "promoted", "observed"),
    "previous": ("grace", "retiring"),
    "retained": ("retained",),
}
SALT_BYTES = 32
FINGERPRINT_DIGITS = 16
ABANDONED_KEPT = 8
"""How many values that were handed over and abandoned are known again."""
ABANDONED_KNOWN = timedelta(days=90)
"""For how long, at most."""
_SLOW = {"n": 2**15, "r": 8, "p": 1, "maxmem": 2**26, "dklen": 16}


def fingerprint(salt: bytes, name: str, value: Value) -> str:
    """A keyed digest of one secret field.

    Keyed with a random salt that only the keyring holds, so that a fingerprint in a log does not let anybody test guesses
    of a weak value. A value that check mode predicts is ``(new)``. Check mode has no such salt for a keyring that does not
    exist yet; there a value that exists, such as one to adopt, shows no digest.
    """
    if not is_known(value):
        return "(new)"
    if not any(salt):
        return "(some value)"
    text = name.encode() + b"\0" + reveal(value).encode("utf-8", "surrogatepass")
    return "hmac:" + hmac.new(salt, text, hashlib.sha256).hexdigest()[:FINGERPRINT_DIGITS]


def slow_fingerprint(salt: bytes, name: str, value: Value) -> str:
    """A digest of one secret field that takes about a tenth of a second and 32 MiB each time.

    For what is kept of a text that itself is gone: whoever reads the digest reads the salt, too, and a person may have
    chosen the text, so that each guess has to cost something.

    :return: empty where there is none to be had: the value is only predicted, Python was built without scrypt, or the machine
        forbids it. A quick one is no replacement.
    """
    derive = getattr(hashlib, "scrypt", None)
    if derive is None or not is_known(value) or not any(salt):
        return ""
    text = name.encode() + b"\0" + reveal(value).encode("utf-8", "surrogatepass")
    try:
        digest: bytes = derive(text, salt=salt, **_SLOW)
    except (ValueError, MemoryError):
        return ""
    return digest.hex()


@dataclass(frozen=True)
class Stage:
    """One stage of a credential.

    :param fields: what templates can name; secret ones are :class:`Secret`.
    :param definition: digest of the definition that it was made for.
    :param retire_after: when its grace ends; only in ``previous``.
    :param ended: when its issuer ended it without being asked to, by making another one.
    :param failed: it was rolled back: no grace, never a rollback target.
    :param compromised: an emergency named it: without grace, never a rollback target, and shown to nobody once it is retained.
    :param destroyed: when nothing was left of a compromised value but its fingerprints; only in ``retained``.
    :param reason: why it came into use, in somebody's words.
    :param operator: who brought it into use.
    :param outage: seconds in which consumers could not log in anew, at most, while it was cut over to; none where the issuer
        accepts two values.
    """

    rotation_id: str
    status: str
    fields: Mapping[str, Value]
    definition: str = ""
    made: Optional[datetime] = None
    promoted: Optional[datetime] = None
    observed: Optional[datetime] = None
    retire_after: Optional[datetime] = None
    ended: Optional[datetime] = None
    destroyed: Optional[datetime] = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    evidence: Tuple[Mapping[str, str], ...] = ()
    failed: bool = False
    compromised: bool = False
    adopted: bool = False
    outage: Optional[float] = None
    reason: str = ""
    operator: str = ""

    def text(self, name: str) -> str:
        """The text of a plain field; empty when there is none."""
        value = self.fields.get(name, "")
        return "" if isinstance(value, Secret) else value

    def secret(self, name: str) -> Optional[Secret]:
        """A secret field, or none."""
        value = self.fields.get(name)
        return value if isinstance(value, Secret) else None

    @property
    def accepted(self) -> bool:
        """Whether a consumer may be shown this stage: it has a value and is not on its way out.

        One that was rolled back stays: whoever was told of it goes on presenting it until told otherwise.
        """
        hidden = ("intended", "abandoning", "retiring")
        return self.status not in hidden and not (self.compromised and self.status == "retained")

    @property
    def lingers(self) -> bool:
        """Whether it was compromised and refused, and it is not known yet that no place keeps its value."""
        return self.compromised and self.status == "retained" and self.destroyed is None

    def without_values(self) -> Stage:
        """The stage without its secret fields; their fingerprints stay."""
        plain = {
            name: value for name, value in self.fields.items() if not isinstance(value, Secret)
        }
        return replace(self, fields=plain)

    def is_gone(self, overlap: bool, returns: bool) -> bool:
        """Whether its issuer ended it for good.

        Where it takes two values at a time, by what the definition says now, a wrong mark would stand in the way: the proof tells.

        :param overlap: whether the issuer accepts the old and the new value together.
        :param returns: whether a value that was replaced can be made accepted again.
        """
        return self.ended is not None and not (overlap or returns)


@dataclass(frozen=True)
class Claim:
    """Who is working on this credential now."""

    run_id: str
    host: str
    pid: int
    boot_id: str
    started: str
    renewed: datetime
    expires: datetime


@dataclass(frozen=True)
class Receipt:
    """What a consumer was last seen using: the digest of what it reads, and when."""

    seen: str
    at: datetime
    rotation_id: str


@dataclass(frozen=True)
class Abandoned:
    """A value that a person handed over and that was abandoned: not the value, but what a guess of it can be tried against.

    :param scrypt: of each secret field its slow fingerprint.
    """

    rotation_id: str
    at: datetime
    scrypt: Mapping[str, str]

    def is_known(self, now: datetime) -> bool:
        """Whether it still counts; if not, the next write of the document leaves it out."""
        return now - self.at < ABANDONED_KNOWN


@dataclass(frozen=True)
class LedgerHead:
    """The last ledger line: its number, its hash, the step it tells of, and the line itself in case its append was lost."""

    number: int
    hash: str
    step: int
    line: Mapping[str, Any]


@dataclass(frozen=True)
class Document:
    """A credential's keyring."""

    credential: str
    salt: bytes
    step: int = 0
    updated: Optional[datetime] = None
    pending: Optional[Stage] = None
    current: Optional[Stage] = None
    previous: Optional[Stage] = None
    retained: Tuple[Stage, ...] = ()
    claim: Optional[Claim] = None
    ledger: Optional[LedgerHead] = None
    receipts: Mapping[str, Receipt] = field(default_factory=dict)
    noticed: Mapping[str, str] = field(default_factory=dict)
    abandoned: Tuple[Abandoned, ...] = ()

    def stage(self, name: str) -> Optional[Stage]:
        """The stage of that name, or none.

        :raises BadInput: when there is no stage of that name in the design.
        """
        if name not in STAGES:
            raise BadInput(f"there is no stage '{name}'; expected one of {', '.join(STAGES)}")
        found: Optional[Stage] = getattr(self, name)
        return found

    @property
    def stages(self) -> Dict[str, Stage]:
        """Those that are there, by name; retained ones have none."""
        found = {name: self.stage(name) for name in STAGES}
        return {name: stage for name, stage in found.items() if stage}

    def with_fingerprints(self, stage: Stage) -> Stage:
        """The stage with the fingerprints of its secret fields under this document's salt."""
        prints = {
            name: fingerprint(self.salt, name, value)
            for name, value in stage.fields.items()
            if isinstance(value, Secret)
        }
        return replace(stage, fingerprints=prints)

    def slow_fingerprints(self, stage: Stage) -> Dict[str, str]:
        """What is kept of a stage's secret fields when it is abandoned; empty where no slow fingerprint can be had."""
        prints = {
            name: slow_fingerprint(self.salt, name, value)
            for name, value in stage.fields.items()
            if isinstance(value, Secret)
        }
        return {name: told for name, told in prints.items() if told}

    def was_abandoned(self, name: str, value: Value, now: datetime) -> Optional[Abandoned]:
        """When a value for this field was handed over and abandoned before; none where it was not, as far as is known."""
        kept = [item for item in self.abandoned if item.is_known(now) and name in item.scrypt]
        told = slow_fingerprint(self.salt, name, value) if kept else ""
        found = (item for item in reversed(kept) if told and item.scrypt[name] == told)
        return next(found, None)


_TIMES = ("made", "promoted", "observed", "retire_after", "ended", "destroyed")
_FLAGS = ("failed", "compromised", "adopted")
_WORDS = ("reason", "operator")
_OF_A_STAGE = (
    "rotation_id", "status", "definition", "fields", "secrets", "fingerprints", "evidence", "outage", *_TIMES, *_FLAGS, *_WORDS,
)  # fmt: skip


def _time_or_none(moment: Optional[datetime]) -> Optional[str]:
    return None if moment is None else format_time(moment)


def _dump_stage(stage: Stage) -> Dict[str, Any]:
    body: Dict[str, Any] = {
        "rotation_id": stage.rotation_id,
        "status": stage.status,
        "definition": stage.definition,
    }
    body["fields"] = {
        name: value for name, value in stage.fields.items() if not isinstance(value, Secret)
    }
    body["secrets"] = {
        name: value.reveal() for name, value in stage.fields.items() if isinstance(value, Secret)
    }
    body["fingerprints"] = dict(stage.fingerprints)
    body.update(
        {
            name: _time_or_none(getattr(stage, name))
            for name in _TIMES
            if getattr(stage, name) is not None
        }
    )
    body.update({name: True for name in _FLAGS if getattr(stage, name)})
    body.update({name: getattr(stage, name) for name in _WORDS if getattr(stage, name)})
    if stage.outage is not None:
        body["outage"] = stage.outage
    body["evidence"] = [dict(item) for item in stage.evidence]
    return body


def _all_stages(document: Document) -> List[Stage]:
    return [*document.stages.values(), *document.retained]


def _schema_of(document: Document) -> int:
    """The oldest schema that can say all of it, so that an older collection reads what it understands and refuses the rest."""
    if any(stage.destroyed for stage in document.retained):
        return SCHEMA
    newer = document.abandoned or any(stage.ended for stage in _all_stages(document))
    return 2 if newer else 1


def dump_document(document: Document) -> Dict[str, Any]:
    """The document as JSON types. Only what goes to the secret store may be made from it: it holds the values.

    :raises ValueError: when a stage holds a value that check mode only predicted.
    """
    if not all(
        is_known(value) for stage in _all_stages(document) for value in stage.fields.values()
    ):
        raise ValueError("a predicted value must never be written")
    body: Dict[str, Any] = {
        "kind": KIND,
        "schema": _schema_of(document),
        "credential": document.credential,
        "step": document.step,
    }
    body["salt"] = base64.b64encode(document.salt).decode()
    body["updated"] = _time_or_none(document.updated)
    body["stages"] = {name: _dump_stage(stage) for name, stage in document.stages.items()}
    body["stages"]["retained"] = [_dump_stage(stage) for stage in document.retained]
    claim = document.claim
    if claim:
        body["claim"] = {
            **vars(claim),
            "renewed": format_time(claim.renewed),
            "expires": format_time(claim.expires),
        }
    if document.ledger:
        body["ledger"] = dict(vars(document.ledger))
    body["receipts"] = {
        name: {**vars(item), "at": format_time(item.at)} for name, item in document.receipts.items()
    }
    body["noticed"] = dict(document.noticed)
    if document.abandoned:
        body["abandoned"] = [
            {**vars(item), "at": format_time(item.at)} for item in document.abandoned
        ]
    return body


def dump_text(document: Document) -> str:
    """The document as the text that a store keeps."""
    return json_lines(dump_document(document))


def _want(
    body: Mapping[str, Any], name: str, kind: Union[type, Tuple[type, ...]], where: str
) -> Any:
    value = body.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Corrupt(
            f"{where}: '{name}' is missing or of the wrong type; restore the last good version of the keyring"
        )
    return value


def _texts(body: Mapping[str, Any], name: str, where: str) -> Dict[str, str]:
    value = _want(body, name, dict, where)
    if not all(isinstance(key, str) and isinstance(text, str) for key, text in value.items()):
        raise Corrupt(
            f"{where}: '{name}' must map names to texts; restore the last good version of the keyring"
        )
    return dict(value)


def _only(body: Mapping[str, Any], known: Tuple[str, ...], where: str) -> None:
    strange = sorted(set(body) - set(known))
    if strange:
        raise Corrupt(
            f"{where}: unknown key {', '.join(map(repr, strange))}; was the keyring edited by hand? Restore the last good version of it"
        )


def _parse_stage(name: str, body: Any, salt: bytes, where: str) -> Stage:
    where = f"{where}, stage {name}"
    if not isinstance(body, dict):
        raise Corrupt(f"{where}: expected a mapping; restore the last good version of the keyring")
    _only(body, _OF_A_STAGE, where)
    status = _want(body, "status", str, where)
    if status not in STATUSES[name]:
        raise Corrupt(
            f"{where}: status '{status}' is not one of {', '.join(STATUSES[name])}; restore the last good version of the keyring"
        )
    fields: Dict[str, Value] = dict(_texts(body, "fields", where))
    secrets = {key: Secret(text) for key, text in _texts(body, "secrets", where).items()}
    fields.update(secrets)
    prints = _texts(body, "fingerprints", where)
    for key, secret in secrets.items():
        if not hmac.compare_digest(prints.get(key, ""), fingerprint(salt, key, secret)):
            raise Corrupt(
                f"{where}: the value of '{key}' does not match its fingerprint: it was changed outside of keyturn. "
                "Restore the last good version, or take the value over with the adopt playbook under a new keyring"
            )
    evidence = tuple(
        item for item in _want(body, "evidence", list, where) if isinstance(item, dict)
    )
    found: Dict[str, Any] = {
        key: parse_time(body[key], f"{where}, {key}") for key in _TIMES if key in body
    }
    found.update({key: body.get(key) is True for key in _FLAGS})
    found.update({key: _want(body, key, str, where) for key in _WORDS if key in body})
    if "outage" in body:
        found["outage"] = float(_want(body, "outage", (int, float), where))
    rotation = _want(body, "rotation_id", str, where)
    definition = _want(body, "definition", str, where)
    return Stage(
        rotation, status, fields, definition, fingerprints=prints, evidence=evidence, **found
    )


def _parse_claim(body: Mapping[str, Any], where: str) -> Claim:
    where = f"{where}, claim"
    return Claim(
        run_id=_want(body, "run_id", str, where),
        host=_want(body, "host", str, where),
        pid=_want(body, "pid", int, where),
        boot_id=_want(body, "boot_id", str, where),
        started=_want(body, "started", str, where),
        renewed=parse_time(_want(body, "renewed", str, where), f"{where}, renewed"),
        expires=parse_time(_want(body, "expires", str, where), f"{where}, expires"),
    )


def _parse_receipt(body: Mapping[str, Any], where: str) -> Receipt:
    at = parse_time(_want(body, "at", str, where), f"{where}, at")
    return Receipt(_want(body, "seen", str, where), at, _want(body, "rotation_id", str, where))


def _parse_abandoned(body: Any, where: str) -> Optional[Abandoned]:
    """None for what is of another form: a quick fingerprint is not to be kept."""
    where = f"{where}, abandoned"
    if not isinstance(body, dict):
        raise Corrupt(f"{where}: expected a mapping; restore the last good version of the keyring")
    if set(body) != {"rotation_id", "at", "scrypt"}:
        return None
    at = parse_time(_want(body, "at", str, where), f"{where}, at")
    return Abandoned(_want(body, "rotation_id", str, where), at, _texts(body, "scrypt", where))


def _parse_head(body: Mapping[str, Any], where: str) -> LedgerHead:
    where = f"{where}, ledger"
    number, step = _want(body, "number", int, where), _want(body, "step", int, where)
    return LedgerHead(
        number, _want(body, "hash", str, where), step, _want(body, "line", dict, where)
    )


def _parse_salt(body: Mapping[str, Any], where: str) -> bytes:
    try:
        salt = base64.b64decode(_want(body, "salt", str, where), validate=True)
    except ValueError:
        salt = b""
    if len(salt) < SALT_BYTES:
        raise Corrupt(f"{where}: 'salt' is damaged; restore the last good version of the keyring")
    return salt


_KEYS = (
    "kind",
    "schema",
    "credential",
    "step",
    "salt",
    "updated",
    "stages",
    "claim",
    "ledger",
    "receipts",
    "noticed",
    "abandoned",
)


def _load(text: str, where: str) -> Dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        position = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise Corrupt(
            f"{where}: this is no JSON document{position}; restore the last good version of the keyring"
        ) from None
    if not isinstance(body, dict) or body.get("kind") != KIND:
        raise Corrupt(
            f"{where}: this is no keyring (expected a JSON object with kind '{KIND}'); check the reference. If it is right, somebody "
            "overwrote it: restore the last good version of the keyring"
        )
    schema = _want(body, "schema", int, where)
    if schema > SCHEMA:
        raise Corrupt(
            f"{where}: written by a newer version of keyturn.runbooks (schema {schema}; this one reads up to {SCHEMA}); "
            "upgrade the collection here. Nothing was changed"
        )
    _only(body, _KEYS, where)
    return body


def parse_document(text: str, where: str = "keyring") -> Document:
    """Read what a store kept.

    :param where: how messages name the keyring.
    :raises Corrupt: when it is not a document of this or an older schema, or a value does not match its fingerprint.
    """
    body = _load(text, where)
    salt = _parse_salt(body, where)
    stages: Mapping[str, Any] = _want(body, "stages", dict, where)
    _only(stages, (*STAGES, "retained"), f"{where}, stages")
    named: Dict[str, Any] = {
        name: _parse_stage(name, stages[name], salt, where) for name in STAGES if name in stages
    }
    kept: List[Any] = stages.get("retained", [])
    receipts = _want(body, "receipts", dict, where)
    updated = body.get("updated")
    return Document(
        credential=_want(body, "credential", str, where),
        salt=salt,
        step=_want(body, "step", int, where),
        updated=parse_time(updated, f"{where}, updated") if updated else None,
        retained=tuple(_parse_stage("retained", item, salt, where) for item in kept),
        claim=_parse_claim(body["claim"], where) if "claim" in body else None,
        ledger=_parse_head(body["ledger"], where) if "ledger" in body else None,
        receipts={
            name: _parse_receipt(item, f"{where}, receipt {name}")
            for name, item in receipts.items()
        },
        noticed=_texts(body, "noticed", where),
        abandoned=tuple(
            known
            for item in (_want(body, "abandoned", list, where) if "abandoned" in body else ())
            for known in [_parse_abandoned(item, where)]
            if known
        ),
        **named,
    )
