# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Env files with commands and odd quotes: a value never becomes code to a shell, and no line is lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env import EnvCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_dialects import DIALECTS
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_text import edit

QUOTED = [
    "readonly X='a\nFOO=old\nb'\n",
    "declare -x X='a\nFOO=old\nb'\n",
    "export A=1 X='a\nFOO=old\nb'\n",
    'export A=1 X="a\nFOO=old\nb"\n',
    "X+='\nFOO=old\n'\n",
    "[ -n \"$X\" ] || X='\nFOO=old\n'\n",
    "echo 'see\nFOO=old\n' >/dev/null\n",
    "if true; then X='\nFOO=old\n'; fi\n",
    "eval '\nFOO=old\n'\n",
    "A=it's\nFOO=old\nB=it's\n",
    "echo 'a\nB='x\ny'\nFOO=old\n'\n",
]
"""Files in which the name is between the quotes of a command; to a shell alone it is no assignment."""

BEHIND = [
    "cat >/dev/null <<EOF\nFOO=old\nEOF\n",
    "cat <<-EOF >/dev/null\n\tFOO=old\n\tEOF\n",
    "cat >/dev/null << !\nFOO=old\n!\n",
    "cat >/dev/null <\\\n<EOF\nFOO=old\nEOF\n",
    "cat \\<<<EOF\nFOO=old\nEOF\n",
    "export X=$(cat <<EOF\nFOO=old\nEOF\n)\n",
    "cat <<'EOF' >/dev/null\nit's\nEOF\nA='x\nFOO=old\n'  # it's\n",
    "A=1;# it's\nX='a\nFOO=old\nb' # it's\n",
    "X=`\nFOO=old\necho`\n",
    'X="$(echo "a # b\nFOO=old\nc")"\n',
    'Y=a\nX="${Y#\'}"\nFOO=old\nZ="${Y#\'}"\n',
]
"""Files in which the name is behind what is not certain to have ended."""


@pytest.mark.parametrize("text", [*QUOTED, *BEHIND])
@pytest.mark.parametrize("dialect", ["common", "posix"])
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_value_is_never_code(text: str, dialect: str, shell: str, tmp_path: Path) -> None:
    """The file is refused, or a shell that reads it runs nothing of the value."""
    path, sign = tmp_path / "env", tmp_path / "touched"
    for value in (f"$(touch {sign})x", f"it's $(touch {sign})"):
        try:
            written = edit(text, {"FOO": value}, "test", DIALECTS.get(dialect))
        except Corrupt:
            continue
        path.write_text(written)
        environ = {"PATH": os.environ["PATH"]}
        argv = [shell, "-c", '. "$0"', str(path)]
        subprocess.run(argv, env=environ, capture_output=True, check=False)
        assert dialect == "posix" and not sign.exists()


@pytest.mark.parametrize("value", ["new", None])
@pytest.mark.parametrize("text", QUOTED)
def test_a_name_between_the_quotes_of_another_line_is_refused(text: str, value: str | None) -> None:
    with pytest.raises(
        Corrupt, match=r"/x/env: FOO is .*line \d.* line \d begins; expected"
    ) as caught:
        EnvCodec().edit(text, {"FOO": value and "geheim"}, "/x/env")
    assert "geheim" not in caught.value.message and "old" not in caught.value.message


@pytest.mark.parametrize("dialect", ["common", "posix"])
@pytest.mark.parametrize("text", BEHIND)
def test_nothing_is_written_behind_what_may_go_on(text: str, dialect: str) -> None:
    for name in ("FOO", "ELSE"):
        with pytest.raises(Corrupt, match="test: "):
            EnvCodec(dialect).edit(text, {name: "new"}, "test")
    assert EnvCodec(dialect).edit("FOO=1\n" + text, {"ELSE": None}, "test") == "FOO=1\n" + text


@pytest.mark.parametrize("text", ['"', "echo 'a\nA=1\n", "A=it's\n", "B $'it\\'s'\n"])
def test_nothing_is_added_behind_a_quote_that_stays_open(text: str) -> None:
    with pytest.raises(Corrupt, match="would be in line"):
        EnvCodec().edit(text, {"FOO": "new"}, "test")


def test_a_value_that_a_shell_reads_on_from_is_not_replaced() -> None:
    """Its lines would begin to count, and those behind it would be in a quote."""
    with pytest.raises(Corrupt, match="line 1, which assigns A, begins reaches beyond line 1"):
        EnvCodec().edit("A=it's\nFOO=old\nB=it's\nC='$(x)'\n", {"A": "new"}, "test")
    assert EnvCodec().edit("A=it's\n", {"A": "new"}, "test") == "A=new\n"


@pytest.mark.parametrize(
    "line",
    [
        "# it's <<EOF",
        "; it's <<EOF",
        "A='x <<EOF'",
        "export A='x <<EOF'",
        "A='x' # it's <<EOF",
        'A="${B}/$(dirname "$0")"',
        "A=\"$(cat 'x y')\"",
        "A=`id -u`",
        '[ $# -gt 0 ] && echo "it\'s"',
        "grep -q x <<< y",
        "A='two\nlines'",
    ],
)
@pytest.mark.parametrize("dialect", ["common", "posix"])
def test_lines_that_end_where_they_seem_to_are_no_obstacle(line: str, dialect: str) -> None:
    if dialect == "posix" and line[0] == ";":
        # To a shell that is no comment.
        line = "#" + line
    text = f"{line}\nFOO=old\n"
    expected = f"{line}\nFOO='n w'\nBAR=x\n"
    assert EnvCodec(dialect).edit(text, {"FOO": "n w", "BAR": "x"}, "test") == expected
    assert EnvCodec(dialect).edit(expected, {"FOO": "n w", "BAR": "x"}, "test") == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('X="$(echo "it\'s")"\nFOO=old\nY="$(echo "it\'s")"\n', "X"),
        ("A=1;# it's\nFOO=old\nB=2;# it's\n", "A"),
    ],
)
def test_lines_that_may_be_assignments_are_not_lost(text: str, name: str) -> None:
    for value in ("new", None):
        with pytest.raises(Corrupt, match=f"{name} in line 1 .* line 2 looks like an assignment"):
            EnvCodec("posix").edit(text, {name: value}, "test")
    assert EnvCodec("posix").edit("X='a\nFOO=1\n'\n", {"X": "n"}, "test") == "X=n\n"


@pytest.mark.parametrize(
    "sign", ["\ufdd0", "\ufdef", "\ufffe", "\uffff", "\U0001fffe", "\U0010ffff"]
)
def test_what_systemd_takes_for_no_text_is_refused(sign: str) -> None:
    """systemd does not take such a value, and writes it to its journal."""
    for dialect in (None, DIALECTS["systemd"]):
        with pytest.raises(BadInput, match="none to Unicode") as caught:
            edit("", {"K": f"geheim{sign}"}, "test", dialect)
        assert "geheim" not in caught.value.message
    for name in ("posix", "compose"):
        assert sign in edit("", {"K": sign}, "test", DIALECTS[name])
    assert edit("", {"K": "\ufdf0\ufffd\U0001fffd"}, "test") == "K='\ufdf0\ufffd\U0001fffd'\n"


def test_only_the_blanks_of_systemd_are_none_of_a_name_to_it() -> None:
    text = "\u3000#='\nB=1\n"
    with pytest.raises(Corrupt, match="line 1 is never closed"):
        EnvCodec("systemd").edit(text, {"FOO": "new"}, "test")
    assert EnvCodec("systemd").edit(" \t\r#='\n", {"FOO": "n"}, "test") == " \t\r#='\nFOO=n\n"


def test_a_last_line_without_a_line_break_is_not_doubled() -> None:
    text = "FOO=old\necho a \\\n b"
    assert EnvCodec("posix").edit(text, {"FOO": "n"}, "test") == "FOO=n\necho a \\\n b"


def test_a_second_time_is_refused_the_first_time() -> None:
    """A line that is replaced may have held the quote that a line behind it was read with."""
    text = "FOO=\"a\necho it's\n"
    with pytest.raises(Corrupt, match="line 2 is never closed"):
        EnvCodec("posix").edit(text, {"FOO": "n"}, "test")
