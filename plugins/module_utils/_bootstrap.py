# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bootstrap makes, and what it leaves as it is: only a credential without a value of its own gets a first one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._due import cut_over
from ansible_collections.keyturn.runbooks.plugins.module_utils._gate_port import Facts, some
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import Issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    Document,
    Stage,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight_facts import is_given
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import Sink
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import described

MAKE, GO_ON, THERE, LEFT_ALONE, WAITING = "make", "go_on", "there", "left_alone", "waiting"
"""What becomes of a credential; only the first two change something."""


@dataclass(frozen=True)
class Left:
    """A credential that is not touched.

    :param state: ``there``, ``left_alone`` or ``waiting``.
    """

    state: str
    message: str


def is_missing(document: Optional[Document]) -> bool:
    """Whether there is no value yet, or only the first one, on its way."""
    if document is None or not (document.current or document.previous):
        return True
    return cut_over(document) and document.previous is None


def there(document: Optional[Document]) -> Optional[Left]:
    """Whether the credential has its value; nobody else is asked for that."""
    if is_missing(document):
        return None
    begun = " A rotation of it is under way: the playbook rotate goes on with it." * bool(
        document and (document.pending or cut_over(document))
    )
    return Left(THERE, f"it has a keyring with a value in use, and stays as it is.{begun}")


def left_alone(document: Optional[Document], facts: Facts, stands: Sequence[str]) -> Optional[Left]:
    """Whether somebody may use a value that no keyring knows. Pure.

    :param stands: what is at the issuer that a first value would change, as sentences.
    """
    if document is not None and (document.current or document.pending):
        return None
    found = [f"these places hold a value that no keyring knows: {some(facts.unknown)}"]
    found = [*(found if facts.unknown else []), *stands]
    if not found:
        return None
    return Left(
        LEFT_ALONE,
        f"{'; '.join(found)}. It is left as it is. Where that is in use, adopt it: ansible-playbook -i INVENTORY "
        f"keyturn.runbooks.adopt --limit {facts.credential} -e @FILE, with keyturn_adopt in FILE. Where it may go, run the playbook "
        f"rotate with --limit {facts.credential} -e keyturn_replace=true, which replaces what its places hold",
    )


def awaited(
    document: Optional[Document], issuer: Optional[Issuer], facts: Facts, context: Context
) -> Optional[Left]:
    """Whether a person has to make the first value, and did not yet. Nothing is written for that."""
    if issuer is None or not issuer.handed:
        return None
    pending = document.pending if document else None
    if pending and pending.status != "intended":
        return None
    empty = Document(facts.credential, bytes(SALT_BYTES))
    asked = replace(document or empty, pending=pending or Stage("(new)", "intended", {}))
    wait = issuer.waits(asked)
    given = facts.given if pending else is_given(issuer, asked, context)
    return None if given or wait is None else Left(WAITING, f"it waits for a person. {wait.what}")


def listed(
    state: str, issuer: Mapping[str, Any], keyring: Any, sinks: Sequence[Sink]
) -> Dict[str, Any]:
    """What the list of a bootstrap says of one credential."""
    return {
        "state": state,
        "issuer": str(issuer.get("type") or ""),
        "keyring": str(keyring or ""),
        "places": [described(sink.ref.place, sink.name, sink.host) for sink in sinks],
    }
