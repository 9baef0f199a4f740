# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The five places that the password is published to, each asked in the words of its own server, past the collection."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from estate.client import KEY
from estate.kubernetes import KubernetesServer
from estate.vault import VaultServer

PRODUCTION, STAGING = "/shop/production/DATABASE_URL", "/shop/staging/DATABASE_URL"
REPORTS = "secret/data/shop/reports"
SECRETS, SECRET = "/api/v1/namespaces/shop/secrets", "database"
NAMES = {
    "Vault": "secret/shop/reports, fields username and password; beside them contact",
    "Kubernetes": "Secret database in namespace shop, keys DB_USER and DB_PASSWORD; beside them DB_NAME",
    "env file": "app.env, line DATABASE_URL; beside it LOG_LEVEL and a comment. The shop reads this one",
    "AWS staging": f"parameter {STAGING}",
    "AWS production": f"parameter {PRODUCTION}",
}
"""What each place is, by the name that tables call it."""


@dataclass(frozen=True)
class Held:
    """What one place holds.

    :param version: as its server counts; empty where nobody does.
    :param others: what else is in it.
    """

    version: str
    user: str
    password: str = field(repr=False)
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Places:
    """Where to look.

    :param parameters: boto3's client, as an administrator.
    """

    parameters: Any
    vault: VaultServer
    kubernetes: KubernetesServer
    env_file: Path

    def look(self) -> dict[str, Held]:
        """What each place holds at this moment."""
        look: dict[str, Callable[[], Held]] = {
            "Vault": self._field,
            "Kubernetes": self._secret,
            "env file": self._line,
            "AWS staging": lambda: self._parameter(STAGING),
            "AWS production": lambda: self._parameter(PRODUCTION),
        }
        return {name: look[name]() for name in NAMES}

    def _parameter(self, name: str) -> Held:
        found = self.parameters.get_parameter(Name=name, WithDecryption=True)["Parameter"]
        return Held(str(found["Version"]), *_of_url(found["Value"]))

    def _field(self) -> Held:
        found = self.vault.request("GET", REPORTS)["data"]
        data, version = dict(found["data"]), str(found["metadata"]["version"])
        user, password = data.pop("username"), data.pop("password")
        return Held(version, user, password, _named(data))

    def _secret(self) -> Held:
        found = self.kubernetes.request("GET", f"{SECRETS}/{SECRET}")
        data = {key: base64.b64decode(text).decode() for key, text in found["data"].items()}
        user, password = data.pop("DB_USER"), data.pop("DB_PASSWORD")
        version = str(found["metadata"]["resourceVersion"])
        return Held(version, user, password, _named(data))

    def _line(self) -> Held:
        lines = self.env_file.read_text(encoding="utf-8").splitlines()
        (line,) = [line for line in lines if line.startswith(f"{KEY}=")]
        others = tuple(other for other in lines if other != line)
        return Held("", *_of_url(line.partition("=")[2].strip("'\"")), others)


def _named(data: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{key}={text}" for key, text in sorted(data.items()))


def _of_url(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return unquote(parts.username or ""), unquote(parts.password or "")


def fingerprint(document: Mapping[str, Any] | None, password: str) -> str:
    """The keyring's own fingerprint of a password, short; keyed with a salt that nobody sees, so that it gives nothing away."""
    if document is None:
        return ""
    salt = base64.b64decode(document["salt"])
    return hmac.new(salt, b"password\0" + password.encode(), hashlib.sha256).hexdigest()[:8]


def rows(
    before: Mapping[str, Held], after: Mapping[str, Held], mark: Callable[[str], str]
) -> list[tuple[str, ...]]:
    """The table of the places: what each held before and holds after something, with one entry where that is the same.

    :param mark: the fingerprint of a password.
    """
    return [
        (
            name,
            _step(before[name].version, held.version) or "-",
            _step(before[name].user, held.user),
            _step(mark(before[name].password), mark(held.password)),
        )
        for name, held in after.items()
    ]


def _step(before: str, after: str) -> str:
    return after if before == after else f"{before} -> {after}"
