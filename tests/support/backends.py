# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every place that keyrings and values are written to, as the tests over all of them see it.

Beside the references that the collection is given, a backend reads and counts past the collection, in the words of its own
server: what the collection says it wrote is never taken for proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from backend_aws import REGION, SecretsManagerBackend, SsmBackend
from backend_file import EnvFileBackend, FileBackend, WholeFileBackend
from backend_k8s import KubernetesBackend
from backend_port import OPTION, WHERE, Backend, Upstream
from backend_vault import RIGHTS, ProductionVaultBackend, VaultBackend

CLASSES: Mapping[str, type[Backend]] = {
    "file": FileBackend,
    "file-encrypted": FileBackend,
    "file-env": EnvFileBackend,
    "file-whole": WholeFileBackend,
    "vault": VaultBackend,
    "vault-production": ProductionVaultBackend,
    "ssm": SsmBackend,
    "secretsmanager": SecretsManagerBackend,
    "kubernetes": KubernetesBackend,
}
KINDS = tuple(kind for kind in CLASSES if kind not in ("file-env", "file-whole"))
"""Those that keep keyrings; for a keyring, a file is a file."""
SINKS = tuple(kind for kind in CLASSES if kind != "file-encrypted")
"""Those that sinks are written to."""


def with_trait(name: str, kinds: Iterable[str] = KINDS) -> list[str]:
    """The kinds that have something: an attribute of their class that is not empty."""
    return [kind for kind in kinds if getattr(CLASSES[kind], name)]


def make_backend(kind: str, get: Any) -> Backend:
    """A backend with nothing in it; it is ended after the test, or with the process that the test forked.

    :param get: gives a fixture by its name.
    """
    made = _make(kind, get)
    get("request").addfinalizer(made.end)
    return made


def _make(kind: str, get: Any) -> Backend:
    if kind in ("ssm", "secretsmanager"):
        return (SsmBackend if kind == "ssm" else SecretsManagerBackend)(get("moto"))
    if kind == "vault":
        return VaultBackend(get("vault"), get("vault_mount"))
    if kind == "vault-production":
        mount, role = get("production_mount"), get("production_role")
        return ProductionVaultBackend(get("production_vault"), mount, role)
    if kind == "kubernetes":
        return KubernetesBackend(get("kubernetes_server"), get("scratch"))
    if kind in ("file-env", "file-whole"):
        return (EnvFileBackend if kind == "file-env" else WholeFileBackend)(get("scratch"))
    return FileBackend(get("scratch"), encrypted=kind == "file-encrypted")


__all__ = [
    "CLASSES",
    "KINDS",
    "OPTION",
    "REGION",
    "RIGHTS",
    "SINKS",
    "WHERE",
    "Backend",
    "EnvFileBackend",
    "FileBackend",
    "KubernetesBackend",
    "ProductionVaultBackend",
    "SecretsManagerBackend",
    "SsmBackend",
    "Upstream",
    "VaultBackend",
    "WholeFileBackend",
    "make_backend",
    "with_trait",
]
