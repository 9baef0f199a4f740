# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves, with names of stages in the place of values: two undisturbed runs leave the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._userlist import secrets_of
from estate.client import read_credential
from rotation import Estate

STAGES = ("pending", "current", "previous")
_ROLES = """
SELECT rolname, rolcanlogin, rolpassword,
    ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = oid ORDER BY 1),
    ARRAY(SELECT setconfig::text FROM pg_db_role_setting WHERE setrole = oid ORDER BY 1)
FROM pg_authid WHERE rolname LIKE %s AND rolname <> %s"""
# The application replaces its status again and again, and what tests write of a run is not the run's.
_MOVING = (".part",)
_TESTS = ("trace", "lost")


def state_of(estate: Estate) -> dict[str, Any]:
    """Everything that is there at the end of a run."""
    document = estate.document()
    found = document.stages
    # A name, a verifier or a rotation that two stages share is the newer one's.
    names = {stage.text("username"): name for name, stage in reversed(found.items())}
    rotations = {stage.rotation_id: name for name, stage in reversed(found.items())}
    return {
        "stages": {
            name: (stage.status, stage.failed, stage.compromised, sorted(stage.fields))
            for name, stage in found.items()
        },
        "retained": [(stage.status, stage.failed) for stage in document.retained],
        "accepted": {name: estate.accepts(name) for name in found},
        "claim": document.claim,
        "receipts": {
            name: rotations.get(receipt.rotation_id, "older")
            for name, receipt in document.receipts.items()
        },
        "roles": _roles(estate, found, names),
        "userlist": _userlist(estate, found, names),
        "others": {
            place: {
                name: _values(found, "password").get(value, "other")
                for name, value in fields.items()
            }
            for place, fields in estate.kept.others().items()
        },
        "env": _env(estate, found["current"]),
        "ledger": estate.ledger_faults(),
        "files": files_of(estate),
    }


def _values(found: dict[str, Stage], field: str) -> dict[str, str]:
    secrets = {name: stage.secret(field) for name, stage in reversed(found.items())}
    return {secret.reveal(): name for name, secret in secrets.items() if secret}


def _roles(estate: Estate, found: dict[str, Stage], names: dict[str, str]) -> list[Any]:
    """Each role: whose it is, whether it may log in, by whose value, what it is a member of, what is set for it."""
    rows = estate.database.execute(_ROLES, (f"{estate.prefix}%", estate.database.owner))
    verifiers = {**_values(found, "verifier"), None: "none"}
    return sorted(
        (names.get(name, "other"), login, verifiers.get(password, "other"), member, settings)
        for name, login, password, member, settings in rows
    )


def _userlist(estate: Estate, found: dict[str, Stage], names: dict[str, str]) -> list[Any]:
    """Each line of the pooler's file, where it has one: whose it is, and whose value."""
    if not estate.pooler or estate.pooler.auth != "userlist":
        return []
    known = {**_values(found, "password"), **_values(found, "verifier")}
    lines = secrets_of(estate.pooler.userlist_path.read_text(), "userlist")
    lines.pop(estate.pooler.admin_user)
    return sorted(
        (names.get(name, "other"), known.get(secret.reveal(), "other"))
        for name, secret in lines.items()
    )


def _env(estate: Estate, current: Stage) -> Any:
    """Whether the application's file names the value in use; what else is in it."""
    used, secret = read_credential(estate.env_file, 1), current.secret("password")
    others = [
        line
        for line in estate.env_file.read_text().splitlines()
        if not line.startswith("DATABASE_URL=")
    ]
    right = secret and (used.username, used.password) == (current.text("username"), secret.reveal())
    return bool(right), others


def files_of(estate: Estate) -> list[tuple[str, str]]:
    """Every file that is there, with its mode; successors that were left among them. Ansible's own are apart."""
    own = tuple(estate.folder.glob("ansible*"))
    places = {estate.folder, *([estate.pooler.userlist_path.parent] if estate.pooler else [])}
    found: set[tuple[str, str]] = set()
    for place in places:
        for path in place.rglob("*"):
            if path.is_file() and not _apart(path, own):
                found.add((str(path.relative_to(place)), f"{path.stat().st_mode & 0o7777:04o}"))
    return sorted(found)


def _apart(path: Path, own: tuple[Path, ...]) -> bool:
    return (
        any(place in path.parents for place in own) or path.suffix in _MOVING or path.name in _TESTS
    )
