# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of paths in Vault: by ``publish``, by ``vault_kv``, and by a loop with hvac."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import hvac
from ansible_collections.keyturn.runbooks.plugins.module_utils import _publish as _publish_core
from ansible_collections.keyturn.runbooks.plugins.module_utils import _vault_kv_task
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.vault import VaultServer

from bench.contest import Wrong
from bench.store_work import Requests, Values, run_core


@dataclass(frozen=True)
class VaultFigures:
    """What each way took.

    :param seconds: of every run, by the way.
    :param requests: for each path, by the way.
    """

    paths: int
    fields: int
    seconds: Mapping[str, list[float]]
    requests: Mapping[str, float]


def _paths(count: int, fields: int) -> dict[str, dict[str, str]]:
    return {
        f"p{path:03d}": {f"F{field}": secrets.token_urlsafe(24) for field in range(fields)}
        for path in range(count)
    }


def vault_fields(count: int, fields: int, repeat: int) -> VaultFigures:
    """The same fields in so many paths, each way after the other; a first run is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ("publish", "vault_kv", "hvac")}
    asked: dict[str, float] = {}
    requests = Requests()
    with VaultServer() as server:
        environ = {"VAULT_ADDR": server.address, "VAULT_TOKEN": server.root_token}
        for name in taken:
            server.mount_kv(name.replace("_", "-"))
        for turn in range(repeat + 1):
            for name, seconds in taken.items():
                paths, before, started = _paths(count, fields), requests.count, time.monotonic()
                _set_fields(name, name.replace("_", "-"), paths, environ)
                if turn:
                    seconds.append(time.monotonic() - started)
                    asked[name] = (requests.count - before) / count
    return VaultFigures(count, fields, taken, asked)


def _publish(mount: str, paths: Mapping[str, Values], environ: Mapping[str, str]) -> None:
    """One sink for each path, in one task, as a credential's: all show the same value."""
    stage = Stage("r1", "observed", {"value": Secret(secrets.token_urlsafe(24))})
    document = Document("bench", secrets.token_bytes(SALT_BYTES))
    document = replace(document, current=document.with_fingerprints(stage))
    sinks = [
        {"ref": f"ref+vault://{mount}/{path}", "fields": dict.fromkeys(values, "{current.value}")}
        for path, values in paths.items()
    ]
    with TemporaryDirectory(prefix="keyturn-benchmark-") as folder:
        keyring = Path(folder) / "keyring.json"
        keyring.touch(mode=0o600)
        keyring.write_text(dump_text(document))
        options = {"keyring": f"ref+file://{keyring}", "sinks": sinks}
        done = run_core(_publish_core.MODULE, options, environ)
    if not done["changed"]:
        raise Wrong("publish changed nothing")


def _set_fields(
    name: str, mount: str, paths: Mapping[str, Values], environ: Mapping[str, str]
) -> None:
    if name == "publish":
        _publish(mount, paths, environ)
    elif name == "vault_kv":
        for path, values in paths.items():
            options = {"engine_mount_point": mount, "path": path, "fields": dict(values)}
            run_core(_vault_kv_task.MODULE, options, environ)
    else:
        _with_hvac(mount, paths, environ)


def _with_hvac(mount: str, paths: Mapping[str, Values], environ: Mapping[str, str]) -> None:
    kv = hvac.Client(environ["VAULT_ADDR"], environ["VAULT_TOKEN"]).secrets.kv.v2
    for path, values in paths.items():
        try:
            found = kv.read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
            data, version = found["data"]["data"], found["data"]["metadata"]["version"]
        except hvac.exceptions.InvalidPath:
            data, version = {}, 0
        kv.create_or_update_secret(path, {**data, **values}, version, mount)
