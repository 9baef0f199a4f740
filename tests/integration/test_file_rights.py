# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights that docs/stores.md asks for keyrings and sinks in files: enough for a user who has no others, and each of them needed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._preflight_facts import (
    Definitions,
    Problems,
    look_at_sinks,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import Wanted, bring
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Attributes,
    FilePlace,
    TextCodec,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import Store, open_store
from nobody import NOBODY, as_nobody

BITS = {"read": stat.S_IRUSR, "write": stat.S_IWUSR, "search": stat.S_IXUSR}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def folder(scratch: Path) -> Path:
    """A directory that this user alone may enter."""
    scratch.chmod(0o755)
    made = scratch / "keyrings"
    made.mkdir(0o700)
    os.chown(made, NOBODY, NOBODY)
    return made


def store(path: Path) -> Store:
    return open_store(
        parse_reference(f"ref+file://{path}", "keyring"), Context(environ={}), "keyring"
    )


def write(path: Path, value: str) -> bool:
    """As ``publish`` writes a sink."""
    place = FilePlace(str(path), TextCodec(), Attributes(), "sink 'app'")
    wanted = Wanted("sink 'app'", {"": Secret(value)})
    return bring(place, wanted, lambda: None, Context(environ={})).changed


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory_of_ones_own_is_enough(folder: Path) -> None:
    with as_nobody():
        keyring = store(folder / "db.json")
        version = keyring.write("first", None)
        version = keyring.write("second", version)
        assert keyring.read() == ("second", version)
        for value in ("first", "second"):
            assert write(folder / "app", value)
    assert {mode(path) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("bit", BITS)
def test_each_bit_of_the_directory_is_needed(folder: Path, bit: str) -> None:
    with as_nobody():
        version = store(folder / "db.json").write("first", None)
        write(folder / "app", "first")
        folder.chmod(0o700 & ~BITS[bit])
        try:
            with pytest.raises(Denied, match=str(folder)):
                store(folder / "db.json").write("second", version)
            with pytest.raises(Denied, match=str(folder)):
                write(folder / "app", "second")
        finally:
            folder.chmod(0o700)
        assert store(folder / "db.json").read() == ("first", version)
        assert (folder / "app").read_text("utf-8") == "first"


def test_to_look_takes_search_and_read(folder: Path) -> None:
    with as_nobody():
        version = store(folder / "db.json").write("document", None)
        folder.chmod(0o100)
        assert store(folder / "db.json").read() == ("document", version)
        (folder / "db.json").chmod(0o200)
        with pytest.raises(Denied, match=r"db\.json"):
            store(folder / "db.json").read()
        folder.chmod(0o600)
        # What cannot be looked at is not taken for a keyring that is not there.
        with pytest.raises(Denied, match=r"db\.json"):
            store(folder / "db.json").read()
        folder.chmod(0o700)


def test_a_file_of_somebody_else_is_not_made_ones_own(folder: Path) -> None:
    (folder / "app").write_text("theirs", encoding="utf-8")
    (folder / "app").chmod(0o644)
    with as_nobody(), pytest.raises(Denied, match="belongs to root"):
        write(folder / "app", "mine")
    assert write(folder / "app", "by root")
    assert (folder / "app").stat().st_uid == 0


@pytest.mark.parametrize(("what", "refused"), [("rollback", False), ("use", True)])
def test_a_place_that_shows_the_value_before_needs_no_write_to_go_back(
    folder: Path, what: str, refused: bool
) -> None:
    fields = [{"value": Secret(name)} for name in ("first", "second")]
    before, now = (Stage(f"r{number}", "grace", held, "d") for number, held in enumerate(fields, 1))
    document = Document("db", bytes(32), current=now, previous=before)
    sinks = [{"name": "app", "ref": f"ref+file://{folder}/app", "template": "{current.value}"}]
    defined = Definitions(None, parse_sinks(sinks), (), None)
    params = {"unreadable": [], "behind": [], "unknown": [], "issuer": {}}
    with as_nobody():
        write(folder / "app", "first")
        folder.chmod(0o500)
        problems = Problems()
        found = look_at_sinks(
            params, what, defined, document, Context(check_mode=True, environ={}), problems
        )
        folder.chmod(0o700)
    assert bool(found.unreadable) is refused and not problems.sentences
