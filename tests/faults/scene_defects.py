# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defects of single parts, to see that cuts of their scenes find them. Loaded by the plugin ``kill_at``."""

from __future__ import annotations

from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Lock
from typing import Any

UTILS = "ansible_collections.keyturn.runbooks.plugins.module_utils"


def _beside() -> Any:
    spec = spec_from_file_location("keyturn_defects", Path(__file__).with_name("defects.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def second_value() -> None:
    """The value that an earlier run made is not gone on with."""
    _beside().second_value()


def revoked_before_proof() -> None:
    """The value in use is revoked as soon as the new one is accepted."""
    _beside().revoked_before_proof()


def under_another_key() -> None:
    """What is re-encrypted is put under a key that nobody knows."""
    cipher = import_module(f"{UTILS}._reencrypt._fernet").FernetCipher
    fernet = import_module("cryptography.fernet").Fernet
    other = fernet(fernet.generate_key())
    cipher.renewed = lambda self, text: other.encrypt(b"lost")


def half_a_file() -> None:
    """The env file gets the first of its variables alone."""
    file = import_module(f"{UTILS}._env_render").EnvFile
    bring = file.bring
    file.bring = lambda self, fields: bring(self, dict(list(fields.items())[:1]))


def one_alone_is_told() -> None:
    """Of those behind a barrier the first is told alone, and all count as told."""
    part = import_module(f"{UTILS}._consumers._together")
    tell, alone, done = part._tried, Lock(), list[Any]()

    def tried(member: Any) -> Any:
        with alone:
            done[:] = done or [tell(member)]
        return done[0]

    part._tried = tried
