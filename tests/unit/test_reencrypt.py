# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Re-encryption: what can be meant, what a key opens, and the engine that writes nothing over."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._conditions import (
    gates_of_stores,
    read_conditions,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt import (
    read_places,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._engine import (
    LOOKS,
    count,
    reencrypt,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._fernet import (
    FernetCipher,
    keys_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reencrypt._port import (
    Counts,
    Item,
    Key,
    Replacement,
    shown,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from cryptography.fernet import Fernet

LONG_AGO = 1_500_000_000
OLD, NEW, OTHER = (Fernet.generate_key().decode() for _key in range(3))
LOGIN = {"host": "db1", "dbname": "hub", "admin": {"username": "keeper", "password": "x"}}
ROWS = {"type": "postgres_rows", "login": LOGIN, "table": "hooks", "column": "secret"}
FILES = {"type": "files", "path": "/srv/hub/*.enc"}


def token(key: str = OLD, text: str = "text") -> bytes:
    return Fernet(key.encode()).encrypt_at_time(text.encode(), LONG_AGO)


def stage(value: str | None, status: str = "observed", **fields: str) -> Stage:
    found = {"value": Secret(value)} if value is not None else {}
    return Stage("r1", status, {**found, **{name: Secret(text) for name, text in fields.items()}})


def document(**stages: Any) -> Document:
    plain = Document("webhook_key", os.urandom(32))
    return replace(plain, **{name: plain.with_fingerprints(each) for name, each in stages.items()})


ROTATED = document(current=stage(NEW), previous=stage(OLD, "grace"))


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("rows", r"\[0\]\.type: missing; expected one of files, postgres_rows"),
        ({"type": "s3"}, r"\[0\]\.type: 's3' is unknown; expected one of files, postgres_rows"),
        ({**ROWS, "cipher": "rot13"}, r"\[0\]\.cipher: expected fernet"),
        ({**ROWS, "field": ""}, r"\[0\]\.field: expected the name of the keyring's field"),
        ({**ROWS, "on_unreadable": "drop"}, r"\[0\]\.on_unreadable: expected fail, or report"),
        ({**ROWS, "tabel": "hooks"}, r"\[0\]: unknown key tabel"),
        ({**ROWS, "host": "db1"}, r"\[0\]\.host: rows are reached from where the rotation runs"),
        ({**ROWS, "login": None}, r"\[0\]\.login: expected a mapping"),
        ({**ROWS, "login": {"host": "db1"}}, r"\[0\]\.login\.admin: missing"),
        ({**ROWS, "table": ""}, r"\[0\]\.table: expected the name of a table"),
        ({**ROWS, "table": "t" * 64}, r"\[0\]\.table: a name in PostgreSQL has at most 63 bytes"),
        ({**ROWS, "column": ["a", "b"]}, r"\[0\]\.column: expected the name of a column"),
        ({**ROWS, "key": []}, r"\[0\]\.key: expected the column that names a row"),
        ({**ROWS, "key": ["id", "id"]}, r"\[0\]\.key: expected the column .* different columns"),
        ({**ROWS, "key": [1]}, r"\[0\]\.key: expected the name of a column"),
        ({**ROWS, "page": 0}, r"\[0\]\.page: expected a whole number from 1 to 10000"),
        ({**ROWS, "page": True}, r"\[0\]\.page: expected a whole number"),
        ({**ROWS, "lock_timeout": 0}, r"\[0\]\.lock_timeout: expected more than 0 and at most an hour"),
        ({**ROWS, "pause": "2h"}, r"\[0\]\.pause: expected at most an hour"),
        ({**ROWS, "pause": "soon"}, r"\[0\]\.pause: 'soon' is no duration"),
        ({"type": "files"}, r"\[0\]\.path: expected an absolute path of files"),
        ({**FILES, "path": "secrets/*.enc"}, r"\[0\]\.path: expected an absolute path of files"),
        ({**FILES, "path": "/srv/../etc/*"}, r"\[0\]\.path: expected an absolute path of files"),
        ({**FILES, "path": "/srv/hub/"}, r"\[0\]\.path: expected an absolute path of files"),
        ({**FILES, "path": "/srv/**/x.enc"}, r"\[0\]\.path: \*\* is not known; write one \* for each folder"),
        ({**FILES, "host": ["app1"]}, r"\[0\]\.host: expected the inventory's name"),
        ({**FILES, "page": 7}, r"\[0\]: unknown key page"),
    ],
)  # fmt: skip
def test_a_wrong_place(place: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_places([place])
    with pytest.raises(BadInput, match=f"keyturn_reencrypt{says}"):
        read_conditions(gates_of_stores([place]))


def test_what_is_no_list_of_places() -> None:
    for wrong in ("rows", {"type": "files"}):
        with pytest.raises(BadInput, match=r"^keyturn_reencrypt: expected a list of places"):
            gates_of_stores(wrong)
    with pytest.raises(BadInput, match="made of each item of keyturn_reencrypt"):
        read_conditions([{"type": "reencrypted", "place": FILES}])


# Keys


def test_the_keys_of_a_keyring() -> None:
    third = stage(OTHER, "retained")
    kept = replace(ROTATED, retained=(third,), pending=stage(OTHER, "applied"))
    newest, others = keys_of(kept, "value", "field")
    assert newest == Secret(NEW)
    assert others == (Secret(OTHER), Secret(OLD), Secret(OTHER))
    predicted = replace(ROTATED, current=Stage("r2", "observed", {"value": Secret.new()}))
    assert keys_of(predicted, "value", "field") == (None, (Secret(OLD),))


@pytest.mark.parametrize(
    ("kept", "field", "says"),
    [
        (document(), "value", "the keyring has no value in use"),
        (ROTATED, "key", "the value in use has no secret field 'key'; it has value"),
        (document(current=stage(None, a="1", b="2")), "value", "no secret field 'value'; it has a, b"),
    ],
)  # fmt: skip
def test_a_keyring_without_the_key(kept: Document, field: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        keys_of(kept, field, "places[0].field")


@pytest.mark.parametrize(
    "wrong",
    ["", "short", "!" * 43, "ä" * 44, NEW[:-2]],
    ids=["none", "short", "letters", "umlauts", "cut"],
)
def test_a_value_in_use_that_is_no_fernet_key_is_told_without_it(wrong: str) -> None:
    with pytest.raises(
        BadInput, match=r"f: the value in use is no Fernet key; expected 32 bytes"
    ) as told:
        FernetCipher(Secret(wrong), (), "f")
    assert not wrong or wrong not in told.value.message


def test_what_a_key_opens_and_what_none_does() -> None:
    cipher = FernetCipher(Secret(NEW), (Secret("no key at all"), Secret(OLD)), "f")
    assert cipher.is_older(token())
    assert not cipher.is_newest(token())
    again = cipher.renewed(token())
    assert cipher.is_newest(again)
    assert not cipher.is_older(again)
    assert Fernet(NEW.encode()).decrypt(again) == b"text"
    assert Fernet(NEW.encode()).extract_timestamp(again) == LONG_AGO
    cut = token()[:-8]
    for strange in (
        token(OTHER),
        cut,
        b"",
        b" ",
        b"\xff\x00",
        b"plain text",
        "ä".encode(),
        b"gAAAAA",
    ):
        assert not cipher.is_newest(strange)
        assert not cipher.is_older(strange)


def test_blanks_around_a_token_stay() -> None:
    cipher = FernetCipher(Secret(NEW), (Secret(OLD),), "f")
    again = cipher.renewed(b"\t " + token() + b"\r\n\n")
    assert again[:2] == b"\t "
    assert again.endswith(b"\r\n\n")
    assert cipher.is_newest(again)


# The engine


class Shelf:
    """A place in memory, with somebody who works on some of it."""

    def __init__(self, texts: dict[Key, bytes], busy: Sequence[int] = ()) -> None:
        self.texts, self.busy = texts, list(busy)
        self.written = 0
        self.private: set[str] = set()

    def pages(self) -> Iterator[list[Item]]:
        keys = sorted(self.texts)
        for at in range(0, len(keys), 2):
            yield self.again(keys[at : at + 2])

    def again(self, keys: Any) -> list[Item]:
        return [Item(key, self.texts[key]) for key in keys if key in self.texts]

    def replace(self, replacements: Sequence[Replacement]) -> set[Key]:
        done = set()
        for item in replacements:
            number = int(item.key[0])
            if self.busy.count(number):
                self.busy.remove(number)
            elif self.texts.get(item.key) == item.old:
                self.texts[item.key] = item.new
                self.written += 1
                done.add(item.key)
        return done

    def shown(self, key: Key) -> str:
        return "" if key[0] in self.private else shown(key)

    def check_write(self) -> None:
        """It can be written."""

    def close(self) -> None:
        """Nothing is open."""


CIPHER = FernetCipher(Secret(NEW), (Secret(OLD),), "f")


def done_with(shelf: Shelf, **more: Any) -> tuple[Counts, list[float]]:
    counts, slept = Counts(), list[float]()
    reencrypt(shelf, CIPHER, more.pop("guard", no_guard), counts, sleep=slept.append, **more)
    return counts, slept


def test_everything_is_done_once_and_what_nobody_opens_stays() -> None:
    strange = token(OTHER)
    shelf = Shelf(
        {("1",): token(), ("2",): token(NEW), ("3",): strange, ("4",): token(), ("5",): b"x"}
    )
    counts, slept = done_with(shelf, pause=0.25)
    assert (counts.done, counts.to_do, counts.reencrypted) == (1, 2, 2)
    assert list(map(shown, counts.unreadable)) == ["3", "5"]
    assert (shelf.texts["3",], shelf.texts["5",]) == (strange, b"x")
    assert slept == [0.25, 0.25], "there was nothing to do in the last page"
    again, slept = done_with(shelf, pause=0.25)
    assert (again.done, again.to_do, again.reencrypted, shelf.written, slept) == (3, 0, 0, 2, [])


def test_what_may_tell_something_about_people_is_counted_and_not_named() -> None:
    shelf = Shelf({("7",): b"x", ("8",): b"y"})
    shelf.private = {"7"}
    counts, _slept = done_with(shelf)
    assert counts.result()["unreadable"] == 2 and counts.result()["unreadable_keys"] == ["8"]
    assert counts.some(counts.unreadable) == "8; and 1 more"
    shelf.private = {"7", "8"}
    assert done_with(shelf)[0].result()["unreadable_keys"] == []
    assert count(shelf, CIPHER).some([("7",)]).endswith("show_keys: true names them")


def test_what_somebody_works_on_is_looked_at_again_and_then_left() -> None:
    shelf = Shelf({(str(number),): token() for number in range(4)}, busy=[1, 2, 2])
    assert done_with(shelf)[0].reencrypted == 4
    shelf = Shelf({("1",): token(), ("2",): token()}, busy=[2] * (LOOKS + 1))
    counts, slept = done_with(shelf)
    assert (counts.reencrypted, counts.left, len(slept)) == (1, [("2",)], LOOKS)
    assert done_with(shelf)[0].reencrypted == 1


def test_what_was_changed_or_removed_meanwhile_is_not_overwritten() -> None:
    kept = token(NEW, "changed by the application")

    class Raced(Shelf):
        def replace(self, replacements: Sequence[Replacement]) -> set[Key]:
            self.texts["1",] = kept
            self.texts.pop(("2",), None)
            self.texts["3",] = token(OLD, "by an old process")
            return super().replace(replacements)

    shelf = Raced({("1",): token(), ("2",): token(), ("4",): token()})
    counts, _slept = done_with(shelf)
    assert shelf.texts["1",] == kept
    assert ("2",) not in shelf.texts
    assert (counts.to_do, counts.reencrypted, counts.left, counts.unreadable) == (3, 1, [], [])


def test_nothing_is_written_once_the_keyring_was_changed() -> None:
    shelf = Shelf({(str(number),): token() for number in range(6)})
    calls = []

    def guard() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise Conflict("changed")

    counts = Counts()
    with pytest.raises(Conflict):
        reencrypt(shelf, CIPHER, guard, counts, sleep=lambda _time: None)
    assert (shelf.written, counts.reencrypted) == (2, 2)
