# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Env files for one reader alone: whatever is written, that reader gets back, and what is there is read as it reads it."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_dialects import DIALECTS
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_text import (
    common_form,
    edit,
    parse,
    quote,
    values,
)
from env_readers import DIALECT_OF, READERS, Reader, podman_compose
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from machines import required

SPECIAL = "'\"\\$`#;&|<>()~ \t\n\r=!*?[]{}%^,:@/.-_anrtxB07é漢\U0001f600\ufdd0\x01\x1b\x7f\x00"
QUICK = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MANY = st.lists(st.text(alphabet=SPECIAL, max_size=14), min_size=40, max_size=60)


@pytest.fixture(params=sorted(READERS))
def reader(request: pytest.FixtureRequest) -> tuple[str, Reader]:
    with required():
        return request.param, READERS[request.param]()


def _writable(value: str, name: str) -> bool:
    try:
        quote(value, "x", DIALECTS.get(name))
    except BadInput:
        return False
    return True


@QUICK
@given(MANY)
def test_the_reader_gets_back_what_its_dialect_writes(
    reader: tuple[str, Reader], tmp_path: Path, texts: list[str]
) -> None:
    name, read = reader
    dialect = DIALECT_OF[name]
    wanted: dict[str, str | None] = {
        f"K{index}": text for index, text in enumerate(texts) if _writable(text, dialect)
    }
    path = tmp_path / "env"
    written = edit("# a file\nOTHER=1\n", wanted, "test", DIALECTS[dialect])
    path.write_bytes(written.encode())
    found = read(path)
    assert {key: value for key, value in found.items() if key in wanted} == wanted
    assert found["OTHER"] == "1"
    assert {
        key: value
        for key, value in values(parse(written, DIALECTS[dialect])).items()
        if key in wanted
    } == wanted


@QUICK
@given(MANY)
def test_every_reader_gets_back_the_common_form(
    reader: tuple[str, Reader], tmp_path: Path, texts: list[str]
) -> None:
    wanted: dict[str, str | None] = {
        f"K{index}": text for index, text in enumerate(texts) if common_form(text) is not None
    }
    path = tmp_path / "env"
    path.write_bytes(edit("", wanted, "test").encode())
    assert {key: value for key, value in reader[1](path).items() if key in wanted} == wanted


@QUICK
@given(MANY)
def test_podman_compose_reads_the_common_form_but_for_what_it_takes_for_a_variable(
    tmp_path: Path, texts: list[str]
) -> None:
    wanted: dict[str, str | None] = {}
    for index, text in enumerate(texts):
        form = common_form(text)
        if form is not None and "${" not in text and "\\$" not in form:
            wanted[f"K{index}"] = text
    path = tmp_path / "env"
    path.write_bytes(edit("", wanted, "test").encode())
    assert podman_compose(path) == wanted


LINES = st.lists(
    st.tuples(
        st.sampled_from(["K", "L", "export K", "# K", "K ", " M"]),
        st.sampled_from(["=", " =", "= "]),
        st.text(alphabet="ab'\"\\ #$=\n", max_size=10),
    ),
    min_size=1,
    max_size=5,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LINES)
def test_what_counts_as_the_value_is_what_the_reader_takes(
    reader: tuple[str, Reader], tmp_path: Path, lines: list[tuple[str, str, str]]
) -> None:
    """Whatever a file holds: a value that is recognised is the reader's, and a line that is set is read as it was set."""
    name, read = reader
    dialect = DIALECTS[DIALECT_OF[name]]
    text = "".join(f"{key}{equals}{value}\n" for key, equals, value in lines)
    # A comment that ends in a backslash reaches further to some versions of a reader than to others.
    assume("\\\n" not in text)
    value = "it's `new`\\"
    try:
        after = edit(text, {"NEW": value}, "test", dialect)
    except Corrupt:
        return
    path = tmp_path / "env"
    path.write_text(after)
    try:
        found = read(path)
    except Exception:
        # The reader refuses the whole file.
        return
    recognised = {
        key: value for key, value in values(parse(after, dialect)).items() if value is not None
    }
    assert {key: found.get(key) for key in recognised} == recognised


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_value_with_a_common_form_is_written_for_all(name: str) -> None:
    for value in ("", "abc", "a b", "it's", "c:\\x", '$5 "x" `y`'):
        assert edit("", {"K": value}, "test", DIALECTS[name]) == edit("", {"K": value}, "test")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("systemd", 'K="it\'s \\`x\\` \\$5 \\\\\n2"\n'),
        ("compose", 'K="it\'s `x` \\$5 \\\\\\n2"\n'),
        ("posix", "K='it'\\''s `x` $5 \\\n2'\n"),
    ],
)
def test_what_each_dialect_writes_where_there_is_no_common_form(name: str, line: str) -> None:
    value = "it's `x` $5 \\\n2"
    assert edit("A=1\n", {"K": value}, "test", DIALECTS[name]) == "A=1\n" + line
    assert edit("A=1\n" + line, {"K": value}, "test", DIALECTS[name]) == "A=1\n" + line
    assert edit("A=1\n" + line + "B=2\n", {"K": None}, "test", DIALECTS[name]) == "A=1\nB=2\n"
    assert values(parse("A=1\n" + line + "B=2", DIALECTS[name])) == {"A": "1", "K": value, "B": "2"}


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_control_character_is_refused_without_showing_the_value(name: str) -> None:
    secret = secrets.token_urlsafe(8)
    with pytest.raises(BadInput) as caught:
        edit("", {"K": f"{secret}\0"}, "/opt/app/.env", DIALECTS[name])
    assert "/opt/app/.env, K" in caught.value.message
    assert secret not in caught.value.message


@pytest.mark.parametrize("name", ["", "systemd"])
def test_a_line_behind_a_comment_with_a_backslash_is_set_apart(name: str) -> None:
    """systemd before 254 takes it for more of the comment, later ones for an assignment."""
    text = "# c \\\nK=x\n"
    assert values(parse(text, DIALECTS.get(name))) == {"K": None}
    once = edit(text, {"K": "x"}, "test", DIALECTS.get(name))
    assert once == "# c \\\n\nK=x\n"
    assert edit(once, {"K": "x"}, "test", DIALECTS.get(name)) == once


def test_systemd_does_not_assign_what_is_exported() -> None:
    systemd = DIALECTS["systemd"]
    text = "export K=old\nL='x' # c\n"
    assert values(parse(text, systemd)) == {"L": "x# c"}
    assert edit(text, {"K": "new"}, "test", systemd) == text + "K=new\n"
    assert edit(text, {"K": "new"}, "test", DIALECTS["posix"]) == "export K=new\nL='x' # c\n"


@pytest.mark.parametrize(
    ("name", "line", "value"),
    [
        ("systemd", "K=a b  ", "a b"),
        ("systemd", "K='a'\"b\"c", "abc"),
        ("systemd", "K=it's", "it's"),
        ("systemd", "K=a\\\nb", "ab"),
        ("systemd", 'K="a\\nb"', None),
        ("systemd", "K=a\r", None),
        ("posix", "K='a'\"b\"\\ c # why", "ab c"),
        ("posix", "K=a b", None),
        ("posix", 'K="$HOME"', None),
        ("posix", 'K="\\`"', "`"),
        ("compose", "K=a # why", "a"),
        ("compose", 'K="a\\nb\\t"  # why', "a\nb\t"),
        ("compose", "K='a\nb'", "a\nb"),
        ("compose", 'K="$X"', None),
        ("compose", 'K="\\a"', None),
        ("compose", "K=a b", None),
    ],
)
def test_what_one_reader_takes_for_the_value(name: str, line: str, value: str | None) -> None:
    assert values(parse(line + "\n", DIALECTS[name])) == {"K": value}


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_an_open_quote_is_refused(name: str) -> None:
    with pytest.raises(Corrupt, match="line 2"):
        edit("A=1\nB='open\nC=3\n", {"K": "n"}, "test", DIALECTS[name])


@given(st.text(alphabet=SPECIAL + "ABK=#export "), st.sampled_from(sorted(DIALECTS)))
def test_parsing_loses_nothing(text: str, name: str) -> None:
    assert "".join(entry.text for entry in parse(text, DIALECTS[name])) == text
