# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an env file that is rendered from parameters holds, which pairs are taken, and consumers of type deploy as they are written."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import parse_consumer
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render_plan import (
    Difference,
    Held,
    Rules,
    difference,
    looked_up,
    read_rules,
    refuse_keyrings,
    refused,
    text_of,
    unsettled,
    variables,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render_source import (
    Expected,
    source_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_mark import Mark

PAIR = ("ID", "KEY")
RULES = Rules(pairs=(PAIR,))
THERE = {"ID": 3, "KEY": 7}


def marks(**rotations: str) -> dict[str, Mark]:
    """Those of one group."""
    return {name: Mark(rotation, "app/pair") for name, rotation in rotations.items()}


# --- Names


def test_names_are_given_and_left_out() -> None:
    rules = Rules(names={"db-pass": "DB_PASSWORD"}, skip=("2fa",))
    found = variables(["TOKEN", "db-pass", "2fa", "a/b"], rules, "below /app")
    assert found == {"TOKEN": "TOKEN", "a/b": "a_b", "db-pass": "DB_PASSWORD"}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["db-pass"], "'db-pass' is no name of a variable"),
        (["2FA"], "'2FA' is no name of a variable"),
        (["a.b"], "'a.b' is no name"),
        (["a/b", "a_b"], "'a/b' and 'a_b' would both be the variable a_b"),
    ],
)
def test_what_is_no_variable_is_named(names: list[str], told: str) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        variables(names, Rules(), "below /app")
    assert caught.value.message.startswith("below /app: ")


def test_a_keyring_is_never_given_to_an_application() -> None:
    held = {"k": Held("k", Secret("keyturn1:x:y"), 1), "t": Held("t", Secret("t"), 1)}
    with pytest.raises(BadInput, match="'k' is a version of a keyring"):
        refuse_keyrings(held, Rules(), "below /app")
    refuse_keyrings(held, Rules(skip=("k",)), "below /app")


# --- Pairs


@pytest.mark.parametrize(
    ("rotations", "told"),
    [
        ({"ID": "r1", "KEY": "r1"}, ""),
        ({"ID": "r2", "KEY": "r1"}, "ID is of rotation r2, KEY is of rotation r1"),
        ({"ID": "r2"}, "ID is of rotation r2, KEY carries no rotation's id"),
        ({}, "ID carries no rotation's id, KEY carries no rotation's id (written by"),
    ],
)
def test_a_pair_is_of_one_rotation(rotations: dict[str, str], told: str) -> None:
    found = unsettled(RULES, THERE, marks(**rotations), ())
    assert bool(found) == bool(told)
    assert all(text.startswith(told) for text in found)


def test_a_part_that_is_missing_is_half_a_pair_and_no_part_is_none() -> None:
    assert unsettled(RULES, {"ID": 1}, marks(ID="r1"), ()) == [
        "ID is of rotation r1, KEY is not there"
    ]
    assert unsettled(RULES, {"OTHER": 1}, {}, ()) == []
    alone = Rules(pairs=(PAIR,), watch_marks=False)
    assert looked_up(alone, {"ID": 1, "OTHER": 2}) == ["ID"]
    assert looked_up(RULES, {"ID": 1, "OTHER": 2}) == ["ID", "OTHER"]


def test_a_pair_by_hand_is_taken_where_that_is_said_and_never_beside_a_rotation() -> None:
    rules = Rules(pairs=(PAIR,), unmarked="take")
    assert unsettled(rules, THERE, {}, ()) == []
    assert unsettled(rules, {"ID": 1}, {}, ()) != []
    assert unsettled(rules, THERE, marks(KEY="r1"), ()) != []


def test_the_rotation_that_mends_a_pair_is_not_stopped_by_it() -> None:
    assert unsettled(RULES, THERE, marks(ID="r2", KEY="r1"), ["KEY"]) == []
    assert unsettled(Rules(), THERE, marks(ID="r2", KEY="r1"), ["KEY"]) == []


@pytest.mark.parametrize(
    ("rotations", "taken"),
    [
        ({"ID": "r1", "KEY": "r1"}, True),
        ({"ID": "r2", "KEY": "r1"}, False),
        ({"ID": "r2", "KEY": ""}, False),
        ({"ID": "", "KEY": ""}, True),
        ({"ID": "r2"}, True),
    ],
)
def test_what_one_group_has_written_is_seen_to_belong_together(
    rotations: dict[str, str], taken: bool
) -> None:
    found = unsettled(Rules(), THERE, marks(**rotations), ())
    assert (found == []) == taken
    assert all("(they belong together, of app/pair)" in text for text in found)
    assert unsettled(Rules(watch_marks=False), THERE, marks(**rotations), ()) == []
    assert unsettled(Rules(skip=("KEY",)), THERE, marks(**rotations), ()) == []
    apart = {**marks(ID=rotations["ID"]), "KEY": Mark("r9", "app/other")}
    assert unsettled(Rules(), THERE, apart, ()) == []


def test_the_refusal_says_both_ids_and_that_nothing_was_written() -> None:
    problems = unsettled(RULES, THERE, marks(ID="r2", KEY="r1"), ())
    assert len(problems) == 1, "named, and marked"
    message = refused("below /app", problems, 10.0).message
    assert "r2" in message
    assert "r1" in message
    assert "after 10 s" in message
    assert "The file is as it was" in message


# --- What a rotation expects


def test_what_was_written_is_known_by_its_digest_alone() -> None:
    salt, value = secrets.token_bytes(16), secrets.token_urlsafe(16)
    digest = Expected(salt).digest(Secret(value))
    sent = Expected(salt, {"TOKEN": digest, "GONE": ""}).to_plain()
    assert value not in str(sent)
    expected = Expected.parse(sent)
    held = {"TOKEN": Held("TOKEN", Secret(value), 1)}
    assert expected.late(held) == []
    held["GONE"] = Held("GONE", Secret("x"), 1)
    assert expected.late(held) == ["GONE"]
    assert expected.late({}) == ["TOKEN"]


def test_a_dry_run_foresees_what_will_be_there() -> None:
    salt = secrets.token_bytes(16)
    same = Expected(salt).digest(Secret("same"))
    expected = Expected(salt, {"NEW": "(new)", "SAME": same, "GONE": ""}, dry=True)
    values = {name: Secret(name.lower()) for name in ("SAME", "GONE", "OTHER")}
    found = expected.foreseen(values)
    assert {name: value.known for name, value in found.items()} == {"SAME": True, "OTHER": True, "NEW": False}  # fmt: skip
    assert expected.late({}) == []


# --- The file


def test_the_text_is_sorted_and_quoted() -> None:
    fields = {"B": Secret("it's"), "A": Secret("x y"), "C": Secret("a\nb")}
    with pytest.raises(BadInput, match="C: the value holds a line break"):
        text_of(fields, "common", "the file")
    assert text_of(fields, "systemd", "the file") == 'A=\'x y\'\nB="it\'s"\nC="a\nb"\n'


def test_a_difference_has_names() -> None:
    fields = {"A": Secret("1"), "B": Secret.new("B"), "D": Secret("4")}
    before = "A=1\nB=2\nC=3\n"
    assert difference(before, fields, "remove", "common") == Difference(("D",), ("B",), ("C",))
    assert difference(before, fields, "keep", "common") == Difference(("D",), ("B",), ())
    assert difference(None, fields, "remove", "common").added == ("A", "B", "D")


def test_a_line_of_base64_is_not_told_as_a_name() -> None:
    ends = [base64.b64encode(secrets.token_bytes(size)).decode() for size in (16, 32)]
    ends = [end.replace("+", "a").replace("/", "b").replace(end[0], "a", 1) for end in ends]
    before = "EMPTY=\nA=-----BEGIN\n{}\n1{}A\n{}\n".format(ends[0], "b" * 8, f"Aa1{ends[1]}")
    found = difference(before, {"B": Secret("x")}, "remove", "common").removed
    assert found == ("(a line of base64)", "A", "EMPTY")


# --- What is written in an inventory


@pytest.mark.parametrize(
    "text", ["/app/production/", "app/production", "ref+awsssm://app/production"]
)
def test_a_path_is_written_in_three_ways(text: str) -> None:
    assert source_of(text, "path").path == "app/production"


def definition(**changes: Any) -> dict[str, Any]:
    own = {"type": "deploy", "host": "app1", "path": "/app/production/", "services": ["app"]}
    return {**own, "env_file": "/opt/app/.env", **changes}


def test_a_consumer_has_a_name() -> None:
    assert parse_consumer(definition(), "it").name == "app1/deploy/app/production"
    rules = read_rules(definition(pairs=[list(PAIR)], wait="3s"), "it")
    assert (rules.pairs, rules.wait) == ((PAIR,), 3.0)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"path": None}, "'path' is missing"),
    ({"path": "ref+vault://secret/app"}, "path: expected a path of parameters"),
    ({"path": "ref+awsssm://app?mode=singleparam"}, r"\?mode= has no meaning for a path"),
    ({"path": "/app one/"}, "path: "),
    ({"env_file": "opt/app/.env"}, "env_file: expected an absolute path"),
    ({"services": []}, "'services' is missing"),
    ({"services": ["app", "app"]}, "'services' names something twice"),
    ({"pairs": "ID,KEY"}, "pairs: expected a list of lists"),
    ({"pairs": [["ID"]]}, r"pairs\[0\]: expected a list of two names or more"),
    ({"pairs": [["ID", "KEY"], ["ID", "OTHER"]]}, "pairs: 'ID' is named twice"),
    ({"pairs": [["/app/ID", "KEY"]]}, "without a slash in front"),
    ({"pairs": [["ID", "KEY"]], "skip": ["KEY"]}, "'KEY' is in 'skip' too"),
    ({"names": {"db-pass": "DB-PASS"}}, "names.db-pass: expected the name of a variable"),
    ({"names": ["db-pass"]}, "names: expected parameters and their variables"),
    ({"skip": "TOKEN"}, "skip: expected a list"),
    ({"unmarked": "maybe"}, "unmarked: expected refuse or take"),
    ({"watch_marks": "often"}, "watch_marks: expected true or false"),
    ({"recursive": "often"}, "recursive: expected true or false"),
    ({"others": "sort"}, "'others' must be one of remove, keep"),
    ({"read_from": "app2"}, "'read_from' must be one of controller, host"),
    ({"dialect": "toml"}, "'dialect' must be one of"),
    ({"mode": 600}, "mode: expected a quoted octal number"),
    ({"wait": "soon"}, "wait: "),
    ({"url": "localhost/health"}, "url: this is no address"),
    ({"status": 99}, "status: expected an HTTP status"),
    ({"inactive": "skip"}, "'inactive' must be one of start, refuse, warn"),
    ({"backup_count": 0}, "backup_count: expected 1 or more"),
    ({"unit": "app.service"}, "unknown key 'unit' for type deploy"),
]


@pytest.mark.parametrize(("changes", "told"), BAD)
def test_a_definition_that_cannot_be_meant_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        parse_consumer(definition(**changes), "keyturn_consumers[0]")
    assert caught.value.message.startswith("keyturn_consumers[0]")
