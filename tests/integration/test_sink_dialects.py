# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sinks in env files that are for one reader: it gets the values of the keyring, whatever characters they have."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._publish import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from env_readers import DIALECT_OF, READERS
from machines import required

COMMON = ["two words", "$HOME ${HOME} $(id)", 'it\'s "quoted"', "a#b = c\\d", " ends ", "é漢"]
"""What all readers can be given in one form."""
ALONE = ["`id` isn't", "back`\\slash", "two\nlines", "$A'\"`\\\n#"]
"""What needs the quoting of one reader."""


class Published:
    """A keyring with one field for each value, and its sink in an env file."""

    def __init__(self, folder: Path, values: list[str]) -> None:
        self.path, self.keyring = folder / "app.env", folder / "keyring.json"
        self.values = {f"K{number}": value for number, value in enumerate(values)}
        fields = {f"field_{name}": Secret(value) for name, value in self.values.items()}
        document = Document("app", secrets.token_bytes(32))
        stage = document.with_fingerprints(Stage("r1", "observed", fields))
        self.keyring.touch(mode=0o600)
        self.keyring.write_text(dump_text(Document(**{**vars(document), "current": stage})))

    def run(self, check: bool = False, **options: str) -> dict[str, Any]:
        templates = {name: f"{{current.field_{name}}}" for name in self.values}
        sink = {"ref": f"ref+file://{self.path}?format=env", "fields": templates, **options}
        own = {"keyring": f"ref+file://{self.keyring}", "credential": "app", "sinks": [sink]}
        context = Context(check, diff=True, environ={})
        done = execute(MODULE, {**own, "run": {"run_id": "me"}, "host": None}, context)
        assert not [value for value in self.values.values() if value in json.dumps(done)]
        return done

    def quartet(self, **options: str) -> None:
        before = self.path.read_bytes()
        predicted = self.run(check=True, **options)
        assert self.path.read_bytes() == before
        done = self.run(**options)
        assert predicted["diff"] == done["diff"]
        after = self.path.read_bytes()
        assert not any(self.run(check=check, **options)["changed"] for check in (True, False))
        assert self.path.read_bytes() == after


@pytest.mark.parametrize("name", sorted(READERS))
def test_the_reader_that_a_sink_is_for_gets_the_values(tmp_path: Path, name: str) -> None:
    with required():
        reader = READERS[name]()
    published = Published(tmp_path, [secrets.token_hex(6) + value for value in COMMON + ALONE])
    published.path.write_text("# kept\nOTHER='stays here'\nK0=old\n")
    published.quartet(dialect=DIALECT_OF[name])
    found = reader(published.path)
    assert {key: found.get(key) for key in published.values} == published.values
    assert found["OTHER"] == "stays here"
    assert published.path.read_text().startswith("# kept\nOTHER='stays here'\n")


def test_without_one_every_reader_gets_the_values(tmp_path: Path) -> None:
    published = Published(tmp_path, [secrets.token_hex(6) + value for value in COMMON])
    published.path.touch()
    published.quartet()
    for name in READERS:
        with required():
            found = READERS[name]()(published.path)
        assert {key: found.get(key) for key in published.values} == published.values


@pytest.mark.parametrize("value", ALONE)
def test_what_has_no_common_form_is_refused_and_the_way_out_named(
    tmp_path: Path, value: str
) -> None:
    published = Published(tmp_path, [secrets.token_hex(6) + value])
    published.path.write_text("K0=old\n")
    for check in (True, False):
        with pytest.raises(BadInput) as caught:
            published.run(check)
        assert "say with 'dialect' which one reader this file is for" in caught.value.message
        assert published.values["K0"] not in caught.value.message
    assert published.path.read_text() == "K0=old\n"
