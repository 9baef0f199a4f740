# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PgBouncer must know of a PostgreSQL role's keyring. Pure."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, reveal

USERNAME, PASSWORD, VERIFIER = "username", "password", "verifier"
_GONE = ("intended", "abandoning", "retiring")
_IN_FORCE = ("applied", "proved")


@dataclass(frozen=True)
class Wanted:
    """Who may log in through PgBouncer, and who may not.

    :param entries: name → the secret of its line.
    :param absent: names whose line goes.
    :param accepted: name → password of the login that must work: the pending one, or the current.
    :param kept: name → password of a login that must go on working if it works now: a credential
        whose current value is broken can still be rotated.
    :param refused: name → password of logins that must not work.
    """

    entries: Mapping[str, Secret]
    absent: tuple[str, ...]
    accepted: Mapping[str, Secret]
    kept: Mapping[str, Secret]
    refused: Mapping[str, Secret]


def _kept(stage: Stage) -> bool:
    # A value that was rolled back stays until it is retired: consumers hold it until they have
    # picked up the one that came back.
    return stage.status not in _GONE


def _kept_stages(document: Document) -> list[Stage]:
    """The stages whose login must work, the one in force for a shared name last."""
    previous, current, pending = document.previous, document.current, document.pending
    found = [stage for stage in (previous, current) if stage and _kept(stage)]
    if pending and _kept(pending):
        # One password per role: until the server has the new one, the line must stay.
        shared = {stage.text(USERNAME) for stage in found}
        if pending.status in _IN_FORCE or pending.text(USERNAME) not in shared:
            found.append(pending)
    return [stage for stage in found if stage.text(USERNAME)]


def _gone_stages(document: Document) -> list[Stage]:
    stages = (document.previous, document.current, document.pending)
    gone = [stage for stage in stages if stage and not _kept(stage)]
    # What was compromised is kept to find what carries it; its login was taken out before that.
    kept = [stage for stage in document.retained if not stage.compromised]
    return [stage for stage in (*kept, *gone) if stage.text(USERNAME)]


def _by_name(stages: list[Stage], field: str) -> dict[str, Secret]:
    found: dict[str, Secret] = {}
    for stage in stages:
        secret = stage.secret(field)
        found.pop(stage.text(USERNAME), None)
        if secret is not None:
            found[stage.text(USERNAME)] = secret
    return found


def _entries(stages: list[Stage]) -> dict[str, Secret]:
    """The secret of each name's line.

    An adopted stage may have no verifier; its line is right as it is. But where one role has one password, the line held the
    value that is returned from: then it takes the password itself, which PgBouncer understands as well.
    """
    found: dict[str, Secret] = {}
    for stage in stages:
        name = stage.text(USERNAME)
        replaced = found.pop(name, None)
        secret = stage.secret(VERIFIER) or (stage.secret(PASSWORD) if replaced else None)
        if secret is not None:
            found[name] = secret
    return found


def wanted(document: Document, strategy: str = "") -> Wanted:
    """What this keyring asks of PgBouncer.

    A stage without a verifier (an adopted one) leaves the line of its name as it is. So does a role
    that no stage has used: it may be the one that the application uses, and was not adopted.

    :param strategy: the issuer's. With ``same_role`` a value that is abandoned was never in force: the line is not its own.
    """
    kept, gone = _kept_stages(document), _gone_stages(document)
    if strategy == "same_role":
        gone = [stage for stage in gone if stage is not document.pending]
    names = {stage.text(USERNAME) for stage in kept}
    left = dict.fromkeys(stage.text(USERNAME) for stage in gone)
    newest = kept[-1:] if kept[-1:] != [document.previous] else []
    proved = _by_name(newest, PASSWORD)
    current = [stage for stage in kept if stage is document.current]
    return Wanted(
        entries=_entries(kept),
        absent=tuple(name for name in left if name not in names),
        accepted=proved,
        kept={name: it for name, it in _by_name(current, PASSWORD).items() if name not in proved},
        refused={name: it for name, it in _by_name(gone, PASSWORD).items() if name not in names},
    )


def brings_second(document: Document, issuer: Mapping[str, Any]) -> bool:
    """Whether the next rotation brings a second role that logs in, and with it a second pool.

    :param issuer: the definition, ``keyturn_issuer``.
    """
    names = {stage.text(USERNAME) for stage in _kept_stages(document)}
    return issuer.get("strategy") != "same_role" and len(names) == 1


def digest(document: Document) -> str:
    """A keyed digest of who may log in; begins with ``(new)`` where check mode predicts a part.

    It stays the same when a retired stage is forgotten.
    """
    kept = _kept_stages(document)
    entries = _entries(kept)
    names = {stage.text(USERNAME) for stage in kept}
    lines = [f"+{name}\0{reveal(entries.get(name, ''))}" for name in sorted(names)]
    mac = hmac.new(document.salt, digestmod=hashlib.sha256)
    for line in lines:
        data = line.encode("utf-8", "surrogatepass")
        mac.update(len(data).to_bytes(8, "big") + data)
    known = all(secret.known for secret in entries.values())
    return f"{'hmac' if known else '(new)'}:{mac.hexdigest()[:32]}"
