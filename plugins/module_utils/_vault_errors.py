# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error of Vault, of hvac or of the HTTP library means, in this collection's words.

Errors keep four things apart: *absent* (Vault said that there is no such thing), *denied*, *sealed* and *unreachable*. Of
what Vault or the HTTP library say, nothing is passed on: their texts quote URLs, and a proxy's page may hold anything.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Sealed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._unconnected import unconnected

try:
    import hvac.exceptions
    import requests

    HAS_HVAC = True
except ImportError:
    HAS_HVAC = False

NOT_VAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What hvac raises, and who reads what it gives, of an answer that is not the JSON they take for granted."""

_NO_SUCH = ("no handler for route", "unsupported path", "Invalid path for a versioned K/V")
"""With what Vault says 404 where it says more than nothing; the last one as a warning."""

_NOT_CONNECTED = ("NewConnectionError", "NameResolutionError")
LONGEST_TEXT = 1_048_576
"""Bytes of one text that Vault takes by default (max_json_string_value_length of its listener)."""

_TOO_LARGE = ("exceeds allowed length", "value being too large", "value too large")
_NOT_ACTIVE = ("local node not active", "active cluster node not found")


def answer_of(error: Any) -> Dict[str, Any]:
    """What an answer with an error says; nothing where it is no JSON object.

    hvac reads it only where the type of the content is ``application/json`` and no more.
    """
    body = error.json
    if body is None:
        try:
            body = json.loads(error.text or "")
        except NOT_VAULTS:
            return {}
    return body if isinstance(body, dict) else {}


def _texts(answer: Mapping[str, Any], *names: str) -> List[str]:
    lists = [answer.get(name) for name in names]
    return [
        text
        for texts in lists
        if isinstance(texts, list)
        for text in texts
        if isinstance(text, str)
    ]


def said(error: Any, *texts: str) -> bool:
    """Whether Vault's own error list has one of these texts in it."""
    return any(text in item for item in _texts(answer_of(error), "errors") for text in texts)


def is_from_vault(error: Any) -> bool:
    """Whether an error has Vault's form, which is more than JSON with a list of errors: other servers have that, too.

    A gateway's 404 does not say that there is no such secret.
    """
    answer = answer_of(error)
    errors, data = answer.get("errors"), answer.get("data")
    if isinstance(error, hvac.exceptions.InvalidPath):
        # A version that was deleted has its metadata still.
        deleted = isinstance(data, dict) and isinstance(data.get("metadata"), dict)
        told = _texts(answer, "errors", "warnings")
        return errors == [] or deleted or any(text in item for item in told for text in _NO_SUCH)
    plain = isinstance(errors, list) and all(isinstance(text, str) for text in errors)
    return plain or "data" in answer


def is_passing(error: Exception, writes: bool, repeats: bool = False) -> bool:
    """Whether the same call may succeed in a moment, and could not have taken effect if it writes.

    What Vault itself answers with 503 took no effect. What stands before it may say so after it passed the call on.

    :param repeats: the call does no harm when it is sent again after it took effect.
    """
    if isinstance(error, hvac.exceptions.RateLimitExceeded) or never_sent(error):
        return True
    if isinstance(error, hvac.exceptions.VaultDown):
        own = not writes or repeats or is_from_vault(error)
        return own and not said(error, "Vault is sealed")
    if isinstance(error, hvac.exceptions.InvalidRequest):
        # A KV engine that was mounted a moment ago is still being made ready.
        return said(error, "Upgrading from non-versioned")
    if isinstance(error, hvac.exceptions.InternalServerError):
        # Right after an unseal, a node answers like this for about 0.1 s.
        return not writes or said(error, *_NOT_ACTIVE)
    return not writes and (isinstance(error, hvac.exceptions.BadGateway) or _is_cut(error))


def _is_cut(error: Exception) -> bool:
    """Whether a connection that was made ended before the answer was whole."""
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return True
    cut = isinstance(error, requests.exceptions.ConnectionError)
    return cut and not isinstance(error, requests.exceptions.Timeout) and may_be_done(error)


def _is_too_large(error: Exception) -> bool:
    return isinstance(error, hvac.exceptions.VaultError) and said(error, *_TOO_LARGE)


def never_sent(error: Exception) -> bool:
    """Whether no connection came about, so that Vault cannot have heard of the call."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    if not isinstance(error, requests.exceptions.ConnectionError):
        return False
    cause = getattr(error.args[0] if error.args else None, "reason", None)
    return type(cause).__name__ in _NOT_CONNECTED


def may_be_done(error: Exception) -> bool:
    """Whether a write could have taken effect although its answer did not come."""
    if never_sent(error) or isinstance(error, requests.exceptions.SSLError):
        return False
    lost = (
        requests.exceptions.RequestException,
        hvac.exceptions.BadGateway,
        hvac.exceptions.UnexpectedError,
    )
    if isinstance(error, (hvac.exceptions.InternalServerError, *lost)):
        return not _is_too_large(error)
    if isinstance(error, hvac.exceptions.VaultDown):
        return not is_from_vault(error)
    return _is_strange(error)


def _denied(error: Any, where: str, what: str) -> Denied:
    if said(error, "invalid token"):
        return Denied(
            f"{where}: Vault does not know the token: it is wrong, expired, revoked or used up. Log in again and hand over the "
            "new one (VAULT_TOKEN, or an AppRole)"
        )
    return Denied(
        f"{where}: Vault denies this token to {what}. Add the path to its policy; if it is there, check the mount: to a "
        "token without rights Vault answers the same for a path that is not mounted"
    )


def unreachable(error: Exception, where: str, address: str) -> KeyturnError:
    if isinstance(error, requests.exceptions.SSLError):
        return Unreachable(
            f"{where}: the TLS certificate of {address} was not accepted; set VAULT_CACERT to its CA, and check the name, the "
            "expiry and this machine's clock"
        )
    if never_sent(error) or isinstance(error, requests.exceptions.ProxyError):
        return Unreachable(f"{where}: no connection to {address}{unconnected(error, 'Vault')}")
    if isinstance(error, requests.exceptions.Timeout):
        return Unreachable(
            f"{where}: {address} did not answer in time; check the server, or raise VAULT_CLIENT_TIMEOUT"
        )
    if isinstance(error, requests.exceptions.ConnectionError):
        return Unreachable(
            f"{where}: the connection to {address} ended without an answer; see Vault's log and what stands between, then run again"
        )
    return Unreachable(
        f"{where}: {address} gave an answer that is not Vault's ({type(error).__name__}); check VAULT_ADDR and what stands between"
    )


def _absent(error: Any, where: str) -> Absent:
    if said(error, "no handler for route"):
        return Absent(
            f"{where}: nothing is mounted there; mount a KV engine of version 2, or correct the path or its ?mount="
        )
    return Absent(f"{where}: Vault has no such secret")


def _invalid(error: Any, where: str, what: str) -> KeyturnError:
    if said(error, "check-and-set parameter did not match"):
        return Conflict(f"{where}: somebody else wrote there first; nothing was written. Run again")
    if said(error, *_TOO_LARGE):
        return BadInput(
            f"{where}: it is too large for Vault, which takes {LONGEST_TEXT} bytes in one text, and about as much in a whole secret "
            "with integrated storage; make it smaller, or keep it in several"
        )
    return BadInput(
        f"{where}: Vault refuses the request to {what} as invalid; check the path and that the engine is KV version 2"
    )


def _by_kind(error: Exception, where: str, what: str) -> Optional[KeyturnError]:
    if isinstance(error, hvac.exceptions.VaultError) and not is_from_vault(error):
        return None
    if isinstance(error, (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized)):
        return _denied(error, where, what)
    if isinstance(error, hvac.exceptions.InvalidPath):
        return _absent(error, where)
    if isinstance(error, hvac.exceptions.InvalidRequest) or _is_too_large(error):
        return _invalid(error, where, what)
    if isinstance(error, hvac.exceptions.VaultDown) and said(error, "Vault is sealed"):
        return Sealed(
            f"{where}: Vault is sealed or not initialised; unseal it, such as with the playbook keyturn.runbooks.vault_unseal, then run "
            "again"
        )
    return None


_STATEMENTS: Tuple[Any, ...] = ()
if HAS_HVAC:
    _STATEMENTS = (
        hvac.exceptions.Forbidden,
        hvac.exceptions.InvalidPath,
        hvac.exceptions.InvalidRequest,
        hvac.exceptions.Unauthorized,
    )


def _is_strange(error: Exception) -> bool:
    """Whether this has the status of a statement of Vault's, and was said by somebody else."""
    return isinstance(error, _STATEMENTS) and not is_from_vault(error)


def explain(error: Exception, where: str, what: str, address: str) -> KeyturnError:
    """The error of this collection for one of hvac or requests; no text of either is in it."""
    known = _by_kind(error, where, what)
    if known:
        return known
    if isinstance(error, hvac.exceptions.RateLimitExceeded):
        return Unreachable(
            f"{where}: Vault limits the rate of requests and still did at the deadline; run again later or with less forks"
        )
    if isinstance(error, hvac.exceptions.VaultError) and not _is_strange(error):
        kind = type(error).__name__
        return Unreachable(
            f"{where}: Vault at {address} has a trouble of its own ({kind}); see its log, then run again"
        )
    return unreachable(error, where, address)
