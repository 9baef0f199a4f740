# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with what a Vault says of itself. Pure: each function looks at one answer."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from typing import Any, Iterable, List, Mapping, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_findings import (
    HIGH,
    LOW,
    MEDIUM,
    UNKNOWN,
    Findings,
)

DEFAULT_TTL = 768 * 3600
"""Seconds that a token lasts where nothing else is set (32 days: ``system_max_ttl`` of Vault)."""
_OLD_TLS = ("tls10", "tls11")
_SHOWN = 5


def is_loopback(host: str) -> bool:
    """Whether an address of a listener or a URL is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def seal(state: Mapping[str, Any], found: Findings) -> None:
    """The seal: closed, or openable by one share alone."""
    found.begin("seal")
    if not state.get("initialized"):
        found.add(
            "seal", HIGH, "Vault is not initialised", "check the address and the data directory"
        )
    elif state.get("sealed"):
        found.add(
            "seal",
            HIGH,
            "Vault is sealed",
            "run the vault_unseal playbook, and see why it restarted",
        )
    elif state.get("type") == "shamir" and int(state.get("t") or 0) < 2:
        found.add(
            "seal",
            MEDIUM,
            f"one share of {state.get('n')} opens it alone",
            "split the key with 'vault operator rekey' (5 shares, 3 of them needed), or let a key management service unseal it",
        )


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(
        int(part)
        for part in re.findall(r"\d+", version.split("+", maxsplit=1)[0].split("-", maxsplit=1)[0])[
            :3
        ]
    )


def version(running: str, oldest: str, found: Findings) -> None:
    """A server that is older than it may be."""
    found.begin("version")
    if not oldest:
        return
    if not _numbers(running):
        found.add("version", UNKNOWN, "Vault does not tell its version", "see its own log for it")
    elif _numbers(running) < _numbers(oldest):
        found.add(
            "version",
            MEDIUM,
            f"version {running} is older than {oldest}",
            "upgrade it, one node at a time",
        )


def listeners(config: Mapping[str, Any], found: Findings) -> None:
    """Listeners without TLS, or with one that is broken."""
    found.begin("listener_tls")
    for listener in config.get("listeners") or []:
        settings = listener.get("config") or {}
        address = str(settings.get("address") or "127.0.0.1:8200")
        if listener.get("type") == "unix":
            continue
        if str(settings.get("tls_disable")).lower() in ("true", "1"):
            own = is_loopback(address.rpartition(":")[0])
            found.add(
                "listener_tls",
                LOW if own else HIGH,
                f"the listener {address} has no TLS"
                + (
                    "; only this machine reaches it"
                    if own
                    else ": tokens and secrets pass in the clear"
                ),
                "set tls_cert_file and tls_key_file, and remove tls_disable",
            )
        elif str(settings.get("tls_min_version")) in _OLD_TLS:
            found.add(
                "listener_tls",
                MEDIUM,
                f"the listener {address} takes TLS older than 1.2",
                "remove tls_min_version",
            )


def config(settings: Mapping[str, Any], found: Findings) -> None:
    """The server's own settings."""
    found.begin("mlock")
    kind = str((settings.get("storage") or {}).get("type") or "")
    if settings.get("disable_mlock") and kind != "raft":
        found.add(
            "mlock",
            MEDIUM,
            f"disable_mlock is set with storage '{kind}': secrets in memory can be written to swap",
            "remove disable_mlock; only raft wants it, on a machine without swap",
        )
    found.begin("lease")
    for name in ("default_lease_ttl", "max_lease_ttl"):
        seconds = int(settings.get(name) or 0)
        if seconds > DEFAULT_TTL:
            found.add(
                "lease",
                LOW,
                f"{name} is {seconds // 86400} days",
                "shorten it to what a renewal needs, 768h or less",
            )
    found.begin("raw_storage")
    if settings.get("raw_storage_endpoint"):
        found.add(
            "raw_storage",
            HIGH,
            "raw_storage_endpoint is on: whoever may use sys/raw reads and writes past all policies",
            "remove it and restart",
        )


def audit(devices: Mapping[str, Any], found: Findings) -> None:
    """Audit devices: none at all, or one that writes values down."""
    found.begin("audit")
    if not devices:
        found.add(
            "audit",
            HIGH,
            "no audit device is on: nobody can tell who read what",
            "vault audit enable file file_path=/var/log/vault/audit.log mode=0600",
        )
    for path, device in sorted(devices.items()):
        options = device.get("options") or {}
        name = path.rstrip("/")
        if str(options.get("log_raw")).lower() == "true":
            found.add(
                "audit",
                HIGH,
                f"the audit device '{name}' has log_raw: every value is written down in the clear",
                "enable it anew without log_raw, and destroy its log",
            )
        if str(options.get("hmac_accessor", "true")).lower() == "false":
            found.add(
                "audit",
                MEDIUM,
                f"the audit device '{name}' writes accessors in the clear",
                "enable it anew without hmac_accessor=false",
            )
        mode = str(options.get("mode") or "0600")
        if (
            device.get("type") == "file"
            and re.match(r"^0?[0-7]{3}$", mode)
            and int(mode, 8) & 0o077
        ):
            found.add(
                "audit",
                MEDIUM,
                f"the audit device '{name}' makes its file with mode {mode}",
                "enable it anew with mode=0600",
            )


def _names(tokens: Iterable[Mapping[str, Any]]) -> str:
    """Display names, of which some come from outside: no more of them than fit, and no control characters."""
    counts = Counter(printable(str(token.get("display_name") or "?")) for token in tokens)
    shown = [
        f"{name} ({count})" if count > 1 else name for name, count in counts.most_common(_SHOWN)
    ]
    return ", ".join(shown) + (" and others" if len(counts) > _SHOWN else "")


def printable(text: str, most: int = 80) -> str:
    """A text of somebody else's, made harmless for a screen."""
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean if len(clean) <= most else f"{clean[:most]}..."


def tokens(alive: Sequence[Mapping[str, Any]], longest: int, found: Findings) -> None:
    """Tokens that should not be there.

    :param longest: seconds that a token may last.
    """
    found.begin("root_tokens")
    roots = [token for token in alive if "root" in (token.get("policies") or [])]
    if roots:
        found.add(
            "root_tokens",
            HIGH,
            f"{_count(len(roots), 'root token is', 'root tokens are')} alive: {_names(roots)}",
            "revoke it ('vault token revoke -self' with it); 'vault operator generate-root' makes one with the shares when it is needed",
        )
    found.begin("token_ttl")
    others: List[Mapping[str, Any]] = [token for token in alive if token not in roots]
    lasting = [token for token in others if int(token.get("creation_ttl") or 0) > longest]
    if lasting:
        found.add(
            "token_ttl",
            MEDIUM,
            f"{_count(len(lasting), 'token lasts', 'tokens last')} longer than {longest // 3600} h: {_names(lasting)}",
            "set token_max_ttl of their roles; let applications log in with an AppRole and renew",
        )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
