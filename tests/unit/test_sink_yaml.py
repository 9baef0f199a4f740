# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values in YAML files: what is replaced, what stays to the byte, and what is refused."""

from __future__ import annotations

import builtins
import time
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Corrupt,
    KeyturnError,
    MissingLibrary,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._yaml import YamlCodec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._yaml_path import (
    path_parts,
    path_text,
)
from hypothesis import given, settings
from hypothesis import strategies as st

WHERE = "sink 'profile'"
PROFILE = """\
# The encoder of studio 1.   Ask Mira before you change it.
encoder: {preset:   ultrafast,  size: 1280x720 }
credential_refs:
  - name: twitch          # the second platform
    env:  STREAM_KEY_FILE
    last_rotated: "2026-08-01"   # by hand

  - name:  restream
    last_rotated: 2026-08-22     # quarterly
    note: >-
      two lines
      of text
  -   name: youtube

contact: 'ops@example.com'
"""
DAY = "credential_refs/name=restream/last_rotated"


def edit(text: str, changes: dict[str, str], front: bool = False) -> str:
    done = YamlCodec(front).edit(text, changes, WHERE)
    assert done is not None
    again = YamlCodec(front).edit(done, changes, WHERE)
    assert again == done
    found = YamlCodec(front).fields(done, tuple(changes), WHERE)
    assert found == {name: Secret(value) for name, value in changes.items()}
    return done


def replaced(old: str, new: str) -> str:
    assert PROFILE.count(old) == 1
    return PROFILE.replace(old, new)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (DAY, "2026-11-22", replaced("2026-08-22", "2026-11-22")),
        ("credential_refs/1/last_rotated", "2026-11-22", replaced("2026-08-22", "2026-11-22")),
        (
            "credential_refs/name=twitch/last_rotated",
            "2026-11-22",
            replaced('"2026-08-01"', '"2026-11-22"'),
        ),
        (DAY, "2026-11-22T08:30:00.000001Z", replaced("2026-08-22", "2026-11-22T08:30:00.000001Z")),
        (DAY, "no", replaced("2026-08-22", "'no'")),
        (DAY, "12", replaced("2026-08-22", "'12'")),
        (DAY, "it's # new: ok", replaced("2026-08-22", "'it''s # new: ok'")),
        (DAY, "two\nlines", replaced("2026-08-22", r'"two\x0alines"')),
        (DAY, "", replaced("2026-08-22", "''")),
        ("contact", "o'neil", replaced("'ops@example.com'", "'o''neil'")),
        ("encoder/preset", "slow", replaced("ultrafast", "slow")),
        ("encoder/size", "a, b", replaced("1280x720", "'a, b'")),
        (
            "credential_refs/name=youtube/last_rotated",
            "2026-11-22",
            replaced("name: youtube\n", "name: youtube\n      last_rotated: 2026-11-22\n"),
        ),
        (
            "credential_refs/name=restream/by",
            "mira",
            replaced("# quarterly\n", "# quarterly\n    by: mira\n"),
        ),
        ("changed", "2026-11-22", PROFILE + "changed: 2026-11-22\n"),
        ("yes", "on", PROFILE + "'yes': 'on'\n"),
    ],
)
def test_one_value_is_set_and_the_rest_stays(path: str, value: str, expected: str) -> None:
    assert edit(PROFILE, {path: value}) == expected


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        ("a:\nb: 1\n", "a", "x", "a: x\nb: 1\n"),
        ("a:   # never\n", "a", "2026-11-22", "a: 2026-11-22   # never\n"),
        ("a: ~\n", "a", "x", "a: x\n"),
        ("- \n- b", "0", "x", "- x \n- b"),
        ("a: 1", "b", "x", "a: 1\nb: x"),
        ("a: 1\r\nc: 2\r\n", "b", "x", "a: 1\r\nc: 2\r\nb: x\r\n"),
        ("a: 1\r\n", "a", "7", "a: 7\r\n"),
        ("a: 1\n", "a", "07", "a: '07'\n"),
        ("a: true\n", "a", "false", "a: false\n"),
        ("a: word\n", "a", "false", "a: 'false'\n"),
        ("--- # head\na: 1\n...\n", "a", "x", "--- # head\na: x\n...\n"),
        ("? a\n: b\n", "a", "x", "? a\n: x\n"),
        ("é: {ü: 'ö'}\n", "é/ü", "ß", "é: {ü: 'ß'}\n"),
        ("a: one\n  two\nb: 1\n", "a", "x", "a: x\nb: 1\n"),
        ("{a: ,b: 1}\n", "a", "x", "{a: x ,b: 1}\n"),
        ("a/b: 1\n", "a%2Fb", "2", "a/b: 2\n"),
        ("name=x: 1\n", "name=x", "2", "name=x: 2\n"),
        ("1: {2: 3}\n", "1/2", "4", "1: {2: 4}\n"),
    ],
)
def test_other_layouts(before: str, path: str, value: str, after: str) -> None:
    assert edit(before, {path: value}) == after


def test_several_values_at_once() -> None:
    changes = {DAY: "2026-11-22", "credential_refs/name=restream/by": "mira", "changed": "yes"}
    text = edit(PROFILE, changes)
    assert "last_rotated: 2026-11-22     # quarterly\n    by: mira\n" in text
    assert text.endswith("changed: 'yes'\n")


PAGE = "---\ntitle: Stream service   # mine\nlast_rotated: 2026-08-22\n---\n\n# Service\n\n---\nlast_rotated: no\n"


def test_front_matter_of_a_page() -> None:
    after = edit(PAGE, {"last_rotated": "2026-11-22", "by": "mira"}, front=True)
    assert after == PAGE.replace("2026-08-22\n", "2026-11-22\nby: mira\n")


REFUSED: list[tuple[str, str, type[KeyturnError], list[str]]] = [
    (PROFILE, "credential_ref/0/day", BadInput, ["at the top", "no 'credential_ref'", "make it"]),
    (PROFILE, "credential_refs/3/day", BadInput, ["3 items", "none is '3'"]),
    (PROFILE, "credential_refs/restream/day", BadInput, ["a list (line 4)", "key=value"]),
    (PROFILE, "credential_refs/name=kick/day", BadInput, ["no item", "'kick' under 'name'"]),
    (PROFILE, "credential_refs/name=restream", BadInput, ["is a mapping", "no single value"]),
    (PROFILE, "credential_refs", BadInput, ["is a list", "no single value"]),
    (PROFILE, "contact/mail", BadInput, ["at 'contact' is a single value", "'mail'"]),
    (PROFILE, "credential_refs/name=restream/note", BadInput, ["block of lines (line 10)"]),
    (PROFILE, "encoder/crf", BadInput, ["not clear", "in braces", "by hand once"]),
    ("r:\n- {n: a}\n- {n: a}\n", "r/n=a/x", BadInput, ["2 items", "lines 2 and 3"]),
    ("a: &x 1\nb: *x\n", "a", BadInput, ["'a'", "anchor", "line 1"]),
    ("a: &x 1\nb: *x\n", "b", BadInput, ["'b' is an alias", "line 2"]),
    ("a: &x {c: 1}\nb: *x\n", "b/c", BadInput, ["at 'b' is an alias"]),
    ("a: &x {c: 1}\nb: *x\n", "a/c", BadInput, ["at 'a'", "other places"]),
    ("a: !vault x\n", "a", BadInput, ["'a'", "tag"]),
    ("x: &x {c: 1}\na:\n  <<: *x\n  d: 1\n", "a/c", BadInput, ["merges another"]),
    ("a: 1\n---\na: 2\n", "a", BadInput, ["2 YAML documents", "Split"]),
    ("a: 1\nb: 2\na: 3\n", "b", Corrupt, ["one key twice (lines 1 and 3)"]),
    ("a: [1\n", "a", Corrupt, ["no YAML (line 2)"]),
    ("a: \udcff\n", "a", Corrupt, ["no YAML", "characters"]),
    ("a:\n\tb: 1\n", "a/b", Corrupt, ["no YAML (line 2)"]),
    ('a: "\\UFFFFFFFF"\n', "a", Corrupt, ["no YAML"]),
    ("", "a", BadInput, ["not there, or empty"]),
    ("# only this\n", "a", BadInput, ["nothing in it"]),
    ("a: {b}\n", "a/b", BadInput, ["without another change", "by hand"]),
    ("a:\n  - 1\n", "b", BadInput, ["no single value"]),
]


@pytest.mark.parametrize(("text", "path", "error", "says"), REFUSED)
def test_what_is_refused(text: str, path: str, error: type[KeyturnError], says: list[str]) -> None:
    with pytest.raises(error) as caught:
        YamlCodec().edit(text, {path: "unseen-value"}, WHERE)
    assert all(part in caught.value.message for part in [WHERE, *says]), caught.value.message
    assert "unseen-value" not in caught.value.message


@pytest.mark.parametrize("text", ["a: 1\n", "---\na: 1\n", "\n---\na: 1\n---\n", "--- a\n---\n"])
def test_a_page_without_front_matter(text: str) -> None:
    with pytest.raises(BadInput, match="there is no front matter"):
        YamlCodec(True).edit(text, {"a": "x"}, WHERE)


def test_an_error_in_front_matter_tells_the_line_of_the_file() -> None:
    with pytest.raises(Corrupt, match=r"no YAML \(line 3\)"):
        YamlCodec(True).fields("---\na: 1\n b: [\n---\n", ("a",), WHERE)


def test_two_paths_to_one_value() -> None:
    for last in ("last_rotated", "new"):
        changes = {f"credential_refs/{item}/{last}": "x" for item in ("1", "name=restream")}
        with pytest.raises(BadInput, match="lead to one value"):
            YamlCodec().edit(PROFILE, changes, WHERE)


def test_a_value_that_is_no_text() -> None:
    with pytest.raises(BadInput, match="no UTF-8"):
        YamlCodec().check({"a": Secret("\udcff")}, WHERE)
    with pytest.raises(BadInput, match="is no path"):
        YamlCodec().check({"a//b": Secret("x")}, WHERE)


def test_nothing_equals_no_text() -> None:
    text = "a:\nb: null\nc: 'null'\nd: 5\n"
    found = YamlCodec().fields(text, ("a", "b", "c", "d", "e"), WHERE)
    assert found == {"a": None, "b": None, "c": Secret("null"), "d": Secret("5")}


def test_without_pyyaml_the_message_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "yaml":
            raise ImportError
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingLibrary, match="python3-yaml"):
        YamlCodec().fields("a: 1\n", ("a",), WHERE)


@given(st.lists(st.text(min_size=1), min_size=1))
def test_a_path_is_read_back(parts: list[str]) -> None:
    assert path_parts(path_text(parts), WHERE) == tuple(parts)


TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
COMMENTS = st.text(alphabet="abc:#'\"{}[]&*!|>%@` \t-", max_size=12).map(lambda text: f"# {text}")
BLANKS = st.sampled_from(["", " ", "   "])
OTHERS = st.sampled_from(
    [
        "1",
        "~",
        "",
        "'q # q'",
        '"d\\n"',
        "[a,  b]",
        "{x: 'y'}",
        "|\n{0}  lit\n\n{0}  eral",
        "&n{0} v",
        "!t v",
    ]
)


@st.composite
def files(draw: Any) -> tuple[str, str, str]:
    """What is before a value, how it is written, and what is behind it."""

    def line(indent: int, key: str, value: str) -> str:
        value = value.replace("{0}", " " * indent)
        remark = draw(st.one_of(st.just(""), COMMENTS))
        block = "\n" in value
        return f"{' ' * indent}{key}:{draw(BLANKS)} {value}{' ' + remark if remark and not block else draw(BLANKS) if not block else ''}\n"

    def noise(indent: int) -> str:
        return draw(
            st.one_of(
                st.just(""), st.just("\n"), COMMENTS.map(lambda text: f"{' ' * indent}{text}\n")
            )
        )

    before = noise(0) + line(0, "first", draw(OTHERS)) + noise(0) + f"refs:{draw(BLANKS)}\n"
    before += noise(2) + "  - name: other\n" + line(4, "day", draw(st.sampled_from(["1", "'2'"])))
    before += noise(4) + "  - name: mine\n" + noise(4) + f"    day:{draw(BLANKS)} "
    value = draw(st.sampled_from(["2026-08-22", "'2026-08-22'", '"never"', "never", "7", "true"]))
    tail = draw(st.one_of(BLANKS, COMMENTS.map(lambda text: f" {text}")))
    behind = tail + "\n" + noise(4) + line(4, "more", draw(OTHERS)) + noise(2)
    behind += line(0, "last", draw(OTHERS)) + noise(0)
    return before, value, behind


@settings(max_examples=60, deadline=None)
@given(files(), TEXTS, st.booleans())
def test_everything_around_the_value_stays(
    parts: tuple[str, str, str], value: str, windows: bool
) -> None:
    before, written, behind = parts
    text = before + written + behind
    if windows:
        before, text, behind = (part.replace("\n", "\r\n") for part in (before, text, behind))
    after = YamlCodec().edit(text, {"refs/name=mine/day": value}, WHERE)
    assert after is not None and after.startswith(before) and after.endswith(behind)
    put = after[len(before) : len(after) - len(behind)]
    assert yaml.safe_load(f"[{put}]\n") is not None
    assert str(yaml.compose(f"- {put}\n").value[0].value) == value
    found = YamlCodec().fields(after, ("refs/name=mine/day",), WHERE)
    assert found == {"refs/name=mine/day": Secret(value)}


@settings(max_examples=60, deadline=None)
@given(files(), TEXTS)
def test_a_new_key_changes_no_other(parts: tuple[str, str, str], value: str) -> None:
    text = "".join(parts)
    after = YamlCodec().edit(text, {"refs/name=mine/new": value}, WHERE)
    assert after is not None
    lines, held = after.splitlines(keepends=True), text.splitlines(keepends=True)
    added = [index for index, line in enumerate(lines) if line.startswith("    new: ")]
    assert len(added) == 1 and lines[: added[0]] + lines[added[0] + 1 :] == held


@pytest.mark.parametrize(
    "text",
    ["a: " + "[" * 4000 + "]" * 4000 + "\n", "a: " + "{b: " * 4000, "[" * 200_000, "\n".join(" " * it + "a:" for it in range(1200)),
     "- " * 4000 + "b", "? " * 4000 + "b"],
    ids=["lists", "mappings", "open", "indented", "dashes", "keys"],
)  # fmt: skip
@pytest.mark.parametrize("front", [False, True])
def test_a_file_that_is_nested_without_end_is_refused_in_no_time(text: str, front: bool) -> None:
    before = time.process_time()
    with pytest.raises(KeyturnError, match="more than 100 levels"):
        YamlCodec(front).fields(f"---\n{text}\n---\n" if front else text, ("b",), WHERE)
    assert time.process_time() - before < 4.0


def test_a_file_that_is_too_large_is_refused() -> None:
    text = "b: 1\n" + "# no value\n" * 200_000
    with pytest.raises(BadInput, match="more than 1 MiB"):
        YamlCodec().fields(text, ("b",), WHERE)


@pytest.mark.parametrize(
    "text",
    ["a: " + "[" * 90 + "]" * 90, "a: '" + "[" * 5000 + "'", "# " + "[" * 5000, "a: " + "[] " * 0 + "x" + "[" * 5000,
     "a: |\n" + "".join(f"  {' ' * it}[\n" for it in range(300)), "a:\n" + "  - [[1], [2]]\n" * 2000],
    ids=["deep", "quoted", "comment", "plain", "block", "wide"],
)  # fmt: skip
def test_brackets_that_nest_little_are_read(text: str) -> None:
    assert YamlCodec().fields(f"{text}\nb: 1\n", ("b",), WHERE) == {"b": Secret("1")}
