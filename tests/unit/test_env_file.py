# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of env files: what the real readers make of them, and what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env import (
    DIALECT_NAMES,
    EnvCodec,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_dialects import DIALECTS
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_text import (
    KEY,
    duplicates,
    edit,
    parse,
    quote,
    values,
)
from env_readers import READERS, Reader
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from machines import required

SPECIAL = "'\"\\$`#;&|<>()~ \t=!*?[]{}%^,:@/.-_aB7é漢"


@pytest.fixture(params=sorted(READERS))
def reader(request: pytest.FixtureRequest) -> Reader:
    with required():
        return READERS[request.param]()


def _writable(value: str) -> bool:
    try:
        quote(value, "x")
    except BadInput:
        return False
    return True


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(alphabet=SPECIAL, max_size=12), min_size=40, max_size=60))
def test_every_reader_gets_back_what_was_written(
    reader: Reader, tmp_path: Path, texts: list[str]
) -> None:
    wanted: dict[str, str | None] = {
        f"K{index}": text for index, text in enumerate(texts) if _writable(text)
    }
    path = tmp_path / "env"
    path.write_text(edit("# a file\nOTHER=1\n", wanted, "test"))
    assert {key: value for key, value in reader(path).items() if key in wanted} == wanted
    assert reader(path)["OTHER"] == "1"


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("", "K=\n"),
        ("abc", "K=abc\n"),
        ("postgresql://u:p%40@h:6432/db", "K=postgresql://u:p%40@h:6432/db\n"),
        ("a b", "K='a b'\n"),
        ("a#b", "K='a#b'\n"),
        ("~/x", "K='~/x'\n"),
        ("$HOME", "K='$HOME'\n"),
        ('a"b`c', "K='a\"b`c'\n"),
        ("it's", 'K="it\'s"\n'),
        ("c:\\x", 'K="c:\\\\x"\n'),
        ("it's $5", 'K="it\'s \\$5"\n'),
    ],
)
def test_the_quoting_that_all_readers_share(value: str, line: str) -> None:
    assert edit("", {"K": value}, "test") == line
    assert values(parse(line)) == {"K": value}


@pytest.mark.parametrize(
    "value", ["geheim\n", "geheim\r", "geheim\0", "geheim\x1b", "geheim`'", "geheim`\\"]
)
def test_what_has_no_common_form_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(BadInput) as caught:
        edit("", {"K": value}, "/opt/app/.env")
    assert "/opt/app/.env, K" in caught.value.message and "b64" in caught.value.message
    assert "geheim" not in caught.value.message


OLD = """\
# top ' comment
A=1

export DATABASE_URL="postgresql://old"
; another
B='multi
DATABASE_URL=not this
line'
C = spaced
  D=indented # why
strange line ""
"""


def test_all_other_text_keeps_its_place() -> None:
    new = edit(OLD, {"DATABASE_URL": "new value", "E": "x"}, "test")
    assert new == OLD.replace('"postgresql://old"', "'new value'") + "E=x\n"


def test_a_comment_behind_the_value_moves_above_it() -> None:
    assert edit("A=1\n  D=indented # why\nZ=2\n", {"D": "n"}, "test") == "A=1\n# why\n  D=n\nZ=2\n"
    assert edit("D='x' # why\n", {"D": "x"}, "test") == "# why\nD=x\n"
    assert edit("D=x#y\n", {"D": "n"}, "test") == "D=n\n"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("K=abc", "abc"),
        ("export K=abc", "abc"),
        ("  K='a b'", "a b"),
        ('K="a \\"b\\" \\$c \\\\d"', 'a "b" $c \\d'),
        ("K=", ""),
        ("K=''", ""),
        # Readers differ about these, so they count as unlike any value and are written anew.
        ("K = abc", None),
        ("K= abc", None),
        ("K=abc # c", None),
        ("K='abc' # c", None),
        ("K=a b", None),
        ("K=$OTHER", None),
        ('K="$OTHER"', None),
        ('K="a`b"', None),
        ('K="a\\nb"', None),
        ("K='a\\b'", None),
        ("K=a\\b", None),
        ("K=it's", None),
        ("K='a'b", None),
        ("K='a\nb'", None),
        ("K=a\\\nb", None),
        ("K=abc\r", None),
        ("K='open", None),
    ],
)
def test_what_counts_as_the_value(line: str, value: str | None) -> None:
    assert values(parse(line + "\n")) == {"K": value}
    assert values(parse(edit(line + "\n", {"K": "n"}, "test"))) == {"K": "n"}


def test_of_several_lines_the_last_one_stays() -> None:
    old = "K=1\nA=x\nexport K=2 # c\nK=3\nB=y\n"
    assert duplicates(parse(old), ("A", "K")) == ("K",)
    assert edit(old, {"K": "new"}, "test") == "A=x\n# c\nK=new\nB=y\n"


AWKWARD = [
    "A=1\nK=old # c\\\nB=1\n",
    "K='old' # c\\\nB=1\n",
    "A=1\nK='old'   # it's \\\nB=1\n",
    "K='old' # c\\",
    "K='1' # c\\\nK=2\nB=1\n",
    "# c \\\nK='old' #d\\\nB=2\n",
    "K=1\nexport\tK=old\nB=1\n",
    "K=1\nexport K='old' # c\\\nB=1\n",
]


@pytest.mark.parametrize("text", AWKWARD)
def test_every_reader_gets_a_value_beside_awkward_lines(
    text: str, reader: Reader, tmp_path: Path
) -> None:
    path = tmp_path / "app.env"
    once = edit(text, {"K": "new"}, "test")
    path.write_text(once)
    found = dict(reader(path))
    assert found["K"] == "new" and found.get("B") == dict(reader_of(text)).get("B")
    assert edit(once, {"K": "new"}, "test") == once
    codec = EnvCodec()
    assert codec.fields(once, ("K",), "test") == {"K": Secret("new")}
    assert codec.notes(once, ("K",)) == ()
    path.write_text(edit(once, {"K": None}, "test"))
    found = dict(reader(path))
    assert "K" not in found and found.get("B") == dict(reader_of(text)).get("B")


def reader_of(text: str) -> dict[str, str]:
    """The plain lines of a text."""
    return dict(line.split("=", 1) for line in text.splitlines() if line.startswith("B="))


def test_of_lines_with_and_without_export_one_of_each_stays() -> None:
    old = "K=1\nK=2\nexport K=3\nexport\tK=4\n"
    assert values(parse(old)) == {"K": None}
    assert duplicates(parse(old), ("K",)) == ("K",)
    assert edit(old, {"K": "n"}, "test") == "K=n\nexport\tK=n\n"
    assert edit(old, {"K": "n"}, "test", DIALECTS["posix"]) == "export\tK=n\n"
    assert edit("K=n\nexport K=old\n", {"K": "n"}, "test") == "K=n\nexport K=n\n"


@pytest.mark.parametrize("line", ["K: old", "export K: old", "  K :old", "K:"])
@pytest.mark.parametrize("dialect", ["common", "compose"])
def test_a_line_with_a_colon_that_docker_compose_takes_for_an_assignment_is_refused(
    line: str, dialect: str
) -> None:
    codec = EnvCodec(dialect)
    with pytest.raises(Corrupt, match="line 2 assigns K with a colon"):
        codec.fields(f"K=new\n{line}\n", ("K",), "test")
    assert codec.fields(f"# K: x\nK2: x\nA='\nK: x'\n{line}\n", ("B",), "test") == {}
    assert EnvCodec("posix").fields(f"K=new\n{line}\n", ("K",), "x") == {"K": Secret("new")}


@pytest.mark.parametrize(
    ("line", "dialects"),
    [
        ("A=1 K=old", "common posix"),
        ("export A=1 K=old", "common posix"),
        ("export 'K=old'", "common posix"),
        ("A=x;K=old", "common posix"),
        ("unset A K", "common posix"),
        ("readonly K=old", "common posix"),
        ("K+=x", "common posix"),
        ("\rK=old", "common systemd compose posix"),
        ("\u00a0K=old", "common systemd compose posix"),
        ("# K=old", ""),
        ("A='x K=old'", ""),
        ("URL=http://h/?a=1&K=2", ""),
        ('URL="http://${K}@h"', ""),
        ("OK=1 2", ""),
        ("unset KK", ""),
    ],
)
@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_a_line_that_may_set_the_name_otherwise_is_told(
    line: str, dialects: str, dialect: str
) -> None:
    notes = EnvCodec(dialect).notes(f"K=new\n{line}\n", ("K",))
    assert bool(notes) is (dialect in dialects.split())
    assert all("line 2 may set K" in note for note in notes)
    assert EnvCodec().notes("B=\\\nK=old\n", ("K",))


def test_a_key_is_removed_and_its_comment_stays() -> None:
    assert (
        edit("A=1\nK=x # why\nB=2\nK=y\n", {"K": None, "NONE": None}, "test") == "A=1\n# why\nB=2\n"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A=1", "A=1\nK=n\n"),
        ("# c \\\n", "# c \\\n\nK=n\n"),
        ("", "K=n\n"),
        ("\ufeffK=1\n", "\ufeffK=n\n"),
    ],
)
def test_where_a_line_goes(old: str, new: str) -> None:
    assert edit(old, {"K": "n"}, "test") == new


def test_an_open_quote_that_would_swallow_the_new_line_is_refused() -> None:
    with pytest.raises(Corrupt, match="line 2"):
        edit("A=1\nB='open\nC=3\n", {"K": "n"}, "test")
    assert edit("A=1\nB='open\nC=3\n", {"B": "n"}, "test") == "A=1\nB=n\nC=3\n"


@given(st.text(alphabet=SPECIAL + "\n\rABK=#export "))
def test_parsing_loses_nothing(text: str) -> None:
    assert "".join(entry.text for entry in parse(text)) == text
    assert all(entry.key is None or KEY.match(entry.key) for entry in parse(text))


@given(st.text(alphabet=SPECIAL + "\nABK=#"), st.text(alphabet=SPECIAL, max_size=8))
def test_editing_holds_what_it_says_and_a_second_time_changes_nothing(
    text: str, value: str
) -> None:
    assume(_writable(value))
    try:
        once = edit(text, {"K": value}, "test")
    except Corrupt:
        return
    assert values(parse(once))["K"] == value
    assert edit(once, {"K": value}, "test") == once
    others = {key: found for key, found in values(parse(text)).items() if key != "K"}
    assert all(values(parse(once)).get(key) == found for key, found in others.items())
