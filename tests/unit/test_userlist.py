# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer's userlist: read as PgBouncer reads it, changed by the line."""

from __future__ import annotations

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._userlist import (
    Change,
    decode,
    encode,
    parse,
    plan,
    quote,
    secrets_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

WHERE = "/etc/pgbouncer/userlist.txt"


class Loader:
    """What PgBouncer 1.18 makes of a file, character by character as its loader does."""

    def __init__(self, text: str) -> None:
        self.data = text + "\0"
        self.at = 0
        self.users: dict[str, str] = {}
        self.whole = True
        while self.whole and self.skip(" \t\n\v\f\r") != "\0":
            if self.data[self.at] == ";":
                self.rest_of_line()
            else:
                self.whole = self.data[self.at] == '"' and self.entry()

    def skip(self, characters: str) -> str:
        while self.data[self.at] in characters:
            self.at += 1
        return self.data[self.at]

    def rest_of_line(self) -> None:
        while self.data[self.at] not in "\0\n":
            self.at += 1

    def find_quote(self, start: bool) -> bool:
        while self.data[self.at] != "\0":
            if self.data[self.at] != '"':
                self.at += 1
            elif self.data[self.at + 1] == '"' and not start:
                self.at += 2
            else:
                return True
        return False

    def quoted(self) -> str | None:
        self.at += 1
        begin = self.at
        return self.data[begin : self.at].replace('""', '"') if self.find_quote(False) else None

    def entry(self) -> bool:
        name = self.quoted()
        self.at += name is not None
        if name is None or not self.find_quote(True):
            return False
        secret = self.quoted()
        if secret is not None:
            self.users[name] = secret
            self.rest_of_line()
        return secret is not None


def pgbouncer_reads(text: str) -> tuple[dict[str, str], bool]:
    loader = Loader(text)
    return loader.users, loader.whole


def as_text(found: dict[str, Secret]) -> dict[str, str]:
    return {name: secret.reveal() for name, secret in found.items()}


FILES = st.text(alphabet='"ab; \n\r#', max_size=60)
NAMES = st.text(alphabet='ab" ', max_size=4).map(quote)
SECRETS = st.text(alphabet='xy" ;', max_size=6).map(quote)
LINES = st.lists(
    st.one_of(
        st.just("\n"),
        st.text(alphabet='ab "', max_size=8).map(lambda text: f"; {text}\n"),
        st.builds(
            "{}\t{}{}\n".format, NAMES, SECRETS, st.sampled_from(["", "  ", ' ; "c"', ' "d"'])
        ),
    ),
    max_size=6,
).map("".join)
WANTED = st.dictionaries(
    st.sampled_from(["a", "b", 'a"b', "new"]),
    st.text(alphabet='xy" ', min_size=1, max_size=5),
    max_size=3,
)


@settings(max_examples=400, deadline=None)
@given(FILES)
def test_a_file_is_read_as_pgbouncer_reads_it_or_refused(text: str) -> None:
    users, whole = pgbouncer_reads(text)
    try:
        found = as_text(secrets_of(text, WHERE))
    except BadInput:
        return
    assert whole
    assert found == users


@settings(max_examples=200, deadline=None)
@given(LINES)
def test_a_well_formed_file_is_never_refused(text: str) -> None:
    assert as_text(secrets_of(text, WHERE)) == pgbouncer_reads(text)[0]


@settings(max_examples=200, deadline=None)
@given(LINES, WANTED, st.sets(st.sampled_from(["a", "b", "none"])))
def test_a_plan_does_what_it_was_told_and_nothing_else(
    text: str, wanted: dict[str, str], absent: set[str]
) -> None:
    entries = {name: Secret(value) for name, value in wanted.items()}
    before, _rest = pgbouncer_reads(text)
    made = plan(text, entries, absent, WHERE)
    after, whole = pgbouncer_reads(made.text)
    assert whole
    kept = {name: value for name, value in before.items() if name not in absent}
    assert after == {**kept, **wanted}
    again = plan(made.text, entries, absent, WHERE)
    assert again.text == made.text
    assert again.changes == ()


def test_other_lines_comments_order_and_quoting_stay() -> None:
    text = '; estate\n\n  "one"   "1"  more "words"\r\n"app" "old" ; note\n"q""x" "a""b"\n"z" "z"'
    made = plan(text, {"app": Secret('n"w'), "new": Secret("v")}, ["one"], WHERE)
    assert made.text == '; estate\n\n"app" "n""w" ; note\n"q""x" "a""b"\n"z" "z"\n"new" "v"\n'
    removed, replaced, added = (
        Change("one", "removed"),
        Change("app", "replaced"),
        Change("new", "added"),
    )
    assert made.changes == (removed, replaced, added)


def test_a_line_that_is_right_already_keeps_its_odd_form() -> None:
    text = '\t"app"junk"secret"more\n'
    made = plan(text, {"app": Secret("secret")}, ["other"], WHERE)
    assert (made.text, made.changes) == (text, ())


def test_every_line_of_a_name_that_stands_twice_is_set_or_goes() -> None:
    text = '"app" "one"\n"x" "y"\n"app" "two"\n'
    both = plan(text, {"app": Secret("two")}, [], WHERE)
    assert both.text == '"app" "two"\n"x" "y"\n"app" "two"\n'
    assert plan(text, {}, ["app"], WHERE).text == '"x" "y"\n'


def test_a_new_line_takes_the_files_line_end() -> None:
    assert plan('"x" "y"\r\n', {"a": Secret("b")}, [], WHERE).text == '"x" "y"\r\n"a" "b"\r\n'
    assert plan("", {"a": Secret("b")}, [], WHERE).text == '"a" "b"\n'
    assert plan("; no line end", {"a": Secret("b")}, [], WHERE).text == '; no line end\n"a" "b"\n'


def test_bytes_that_are_no_utf8_survive() -> None:
    content = b'"caf\xe9" "\xff\xfe"\n'
    made = plan(decode(content), {"a": Secret("b")}, [], WHERE)
    assert encode(made.text) == content + b'"a" "b"\n'


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ('"a" "b"\n# note\n', 2, "a comment begins with ;"),
        ('"a" "b"\nc "d"\n', 2, "expected a user's name"),
        ('; x\n"a\n"b" "c"\n', 2, "the name's closing quote"),
        ('"a" "b\n"c" "d"\n', 1, "the secret's closing quote"),
        ('"a" "b"\n\n"c" "d\n', 3, "the secret's closing quote"),
        ('"a" "b"\n"c', 2, "the name's closing quote"),
        ('"a" "b"\n"c"\n"d" "e"\n', 2, "no secret in double quotes on its line"),
        ('"c"', 1, "no secret in double quotes on its line"),
        ('"a""b"\n', 1, "no secret in double quotes on its line"),
        ('"a" "b"\n"' + "n" * 128 + '" "b"\n', 2, "127 bytes"),
        ('"a" "' + "é" * 1024 + '"\n', 1, "2047 bytes"),
        ('"a" "b"\n\0\n"c" "d"\n', 2, "NUL"),
    ],
)
def test_a_broken_line_is_refused_with_its_number(text: str, line: int, told: str) -> None:
    with pytest.raises(BadInput, match="Nothing was written") as caught:
        plan(text, {"x": Secret("y")}, [], WHERE)
    assert told in caught.value.message
    assert f"{WHERE}, line {line}:" in caught.value.message
    assert caught.value.details == {"line": line}


def test_a_refusal_tells_no_secret() -> None:
    value = "very-secret-words"
    with pytest.raises(BadInput) as caught:
        parse(f'"a" "{value}"\n"b" "{value}', WHERE)
    assert value not in caught.value.message


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "n" * 128, '"' * 64])
def test_a_name_that_no_userlist_can_hold_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="cannot stand in a userlist"):
        plan("", {name: Secret("x")}, [], WHERE)


@pytest.mark.parametrize("secret", ["", "a\0b", "a\nb", "s" * 2048])
def test_a_secret_that_no_userlist_can_hold_is_refused(secret: str) -> None:
    with pytest.raises(BadInput, match="the secret of 'app'"):
        plan("", {"app": Secret(secret)}, [], WHERE)


def test_a_predicted_secret_is_always_a_change_and_marks_the_plan() -> None:
    made = plan('"app" "(new)"\n', {"app": Secret.new()}, [], WHERE)
    assert made.changes == (Change("app", "replaced"),)
    assert not made.known
