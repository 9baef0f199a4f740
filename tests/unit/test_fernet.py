# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fernet keys as text and the plan for a folder of them: what is refused and why, which key does what, what may be removed."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Refused,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet import (
    check_separator,
    list_facts,
    parse_key,
    parse_list,
    problem,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_plan import (
    Key,
    Keys,
    Plan,
    Rules,
    missing,
    notes,
    rotation,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from cryptography.fernet import Fernet, MultiFernet
from hypothesis import given
from hypothesis import strategies as st

T0 = datetime(2026, 1, 31, 22, 0, tzinfo=timezone.utc)
DAY = timedelta(days=1)
WHERE = "fernet_key (/keys)"


def fresh() -> str:
    return Fernet.generate_key().decode()


# Values


@given(st.binary(min_size=32, max_size=32))
def test_every_key_that_an_encoder_writes_is_one(raw: bytes) -> None:
    assert problem(base64.urlsafe_b64encode(raw).decode()) is None


@given(
    st.text(max_size=60) | st.binary(max_size=50).map(lambda raw: base64.b64encode(raw).decode())
)
def test_what_is_taken_is_a_key_to_the_library_as_well(text: str) -> None:
    if problem(text) is None:
        Fernet(text.encode())


def broken(kind: str) -> str:
    key = fresh()
    odd = base64.urlsafe_b64encode(bytes(32)).decode()[:-2] + "B="
    made = {
        "nothing": "",
        "hexadecimal": secrets.token_hex(32),
        "ordinary": base64.b64encode(b"\xff" * 32).decode(),
        "unpadded": key.rstrip("="),
        "overpadded": key + "=",
        "16 bytes": base64.urlsafe_b64encode(secrets.token_bytes(16)).decode(),
        "48 bytes": base64.urlsafe_b64encode(secrets.token_bytes(48)).decode(),
        "cut": key[:30],
        "blank": f" {key}",
        "line break": f"{key}\n",
        "joined": key + fresh(),
        "quoted": f'"{key}"',
        "a password": "tr0ub4dor&3!" + secrets.token_urlsafe(9),
        "odd bits": odd,
        "another alphabet": "é" * 44,
    }
    return made[kind]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nothing", "it is empty"),
        ("hexadecimal", "hexadecimal digits"),
        ("ordinary", "'-' for '+' and '_' for '/'"),
        ("unpadded", "its padding is wrong"),
        ("overpadded", "its padding is wrong"),
        ("16 bytes", "too short; 32 bytes in URL-safe base64 are 44 characters"),
        ("48 bytes", "too long"),
        ("cut", "too short"),
        ("blank", "white space"),
        ("line break", "white space"),
        ("joined", "joined without a separator"),
        ("quoted", "characters that no URL-safe base64 has"),
        ("a password", "characters that no URL-safe base64 has"),
        ("odd bits", "one that no encoder writes there"),
        ("another alphabet", "characters that no URL-safe base64 has"),
    ],
)
def test_what_is_wrong_is_said_without_the_value(kind: str, said: str) -> None:
    text = broken(kind)
    with pytest.raises(BadInput) as caught:
        parse_key(text, "file 3")
    assert (
        caught.value.message.startswith("file 3: no Fernet key: ") and said in caught.value.message
    )
    bare = text.strip(' "=\n')
    assert not bare or all(
        bare[i : i + 6] not in caught.value.message for i in range(len(bare) - 5)
    )


def test_the_list_of_a_consumer_with_several_keys() -> None:
    new, old = fresh(), fresh()
    keys = parse_list(Secret(f"{new},{old}"), ",", "value")
    taken = MultiFernet([Fernet(key.reveal()) for key in keys])
    assert Fernet(new).decrypt(taken.encrypt(b"row")) == b"row"
    assert taken.decrypt(Fernet(old).encrypt(b"row")) == b"row"
    told = list_facts(keys, b"salt")
    assert (told["count"], told["encrypts"], told["duplicates"]) == (2, 1, [])
    assert [member["encrypts"] for member in told["members"]] == [True, False]
    assert told["members"][0]["fingerprint"] != told["members"][1]["fingerprint"]
    assert new not in str(told) and old not in str(told)


def test_the_same_key_twice_is_told_by_its_positions() -> None:
    one, two = fresh(), fresh()
    told = list_facts(parse_list(Secret(";".join([one, two, one])), ";", "value"), b"salt")
    assert told["count"] == 3 and told["duplicates"] == [[1, 3]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{0},{1},", "position 3 of 3: it is empty"),
        ("{0},,{1}", "position 2 of 3: it is empty"),
        ("{0}, {1}", "position 2 of 2: it begins or ends with white space"),
        ("{0};{1}", "If a semicolon stands between its keys, set 'separator'"),
        ("{0}\n{1}", "If a line break stands between its keys"),
        ('["{0}","{1}"]', "It looks like a JSON list"),
        ("x,{0},y", "position 1 of 3: it is too short"),
        ("x,{0},y", "position 3 of 3: it is too short"),
        ("  \n", "it is empty; a Fernet key, or several with ','"),
    ],
)
def test_a_wrong_key_of_a_list_is_named_by_its_position(text: str, said: str) -> None:
    keys = fresh(), fresh()
    with pytest.raises(BadInput) as caught:
        parse_list(Secret(text.format(*keys)), ",", "value")
    assert said in caught.value.message
    assert not any(key[:8] in caught.value.message for key in keys)


@pytest.mark.parametrize("separator", ["", "A", "-", "=", "_,", " x "])
def test_a_separator_that_a_key_could_have(separator: str) -> None:
    with pytest.raises(BadInput, match="separator: expected characters that no key has"):
        check_separator(separator, "separator")


# Plans


def keys(*days: float, staged: float | None = None) -> Keys:
    """Keys 1, 2, … with the days at which their files were written, and a staged one."""
    found = {number: Key(Secret(fresh()), T0 + day * DAY) for number, day in enumerate(days, 1)}
    if staged is not None:
        found[0] = Key(Secret(fresh()), T0 + staged * DAY)
    return Keys(found)


def rules(most: int = 3, keep: float = 0, **more: object) -> Rules:
    return Rules(most, keep * DAY, **({"max_age": timedelta(0)} | more))  # type: ignore[arg-type]  # the other fields by keyword


def test_roles_and_times_of_a_folder() -> None:
    found = keys(0, 1, 2, staged=3)
    assert [found.role(number) for number in range(4)] == [
        "staged",
        "secondary",
        "secondary",
        "primary",
    ]
    # The key that followed was made when this one came into use.
    assert [found.came_into_use(number) for number in range(4)] == [
        None,
        T0 + DAY,
        T0 + 2 * DAY,
        T0 + 3 * DAY,
    ]
    assert [found.went_out_of_use(number) for number in range(4)] == [
        None,
        T0 + 2 * DAY,
        T0 + 3 * DAY,
        None,
    ]


def test_a_copy_that_lost_its_times_is_not_told_older() -> None:
    assert keys(0, 9, 2, staged=3).went_out_of_use(1) == T0 + 9 * DAY


@pytest.mark.parametrize(
    ("found", "plan"),
    [
        (Keys({}), Plan(first=1, stage=True)),
        (keys(staged=0), Plan(promote=1, stage=True, finished=True)),
        (keys(0, 1), Plan(stage=True, finished=True)),
        (keys(0, 1, staged=2), Plan()),
    ],
    ids=["nothing", "a staged key alone", "no staged key", "all there"],
)
def test_what_is_missing(found: Keys, plan: Plan) -> None:
    assert missing(found) == plan


def test_a_rotation_that_was_begun_is_ended_and_not_begun_again() -> None:
    found = keys(0, 1, staged=2)
    half = Keys({**found.by_number, 3: found.by_number[0]})
    assert half.unfinished and half.came_into_use(3) is None
    plan = rotation(half, rules(most=9), T0 + 5 * DAY, WHERE)
    assert plan == Plan(stage=True, finished=True)
    after = plan.after(half, {0: Secret(fresh())}, T0 + 5 * DAY)
    assert not after.unfinished and after.came_into_use(3) == T0 + 5 * DAY


def test_the_oldest_go_and_never_the_primary_or_the_staged_one() -> None:
    plan = rotation(keys(0, 1, 2, 3, staged=4), rules(most=2), T0 + 9 * DAY, WHERE)
    assert (plan.promote, plan.prune, plan.kept) == (5, (1, 2, 3, 4), ())


def test_a_key_that_may_be_needed_stays_and_is_told_until_when() -> None:
    found = keys(0, 1, 2, 3, staged=4)
    now = T0 + 5 * DAY
    wish = rules(keep=2.5)
    plan = rotation(found, wish, now, WHERE)
    # 1 ended at day 2, 2 at 3, 3 at 4, and 4 ends now.
    assert (plan.prune, plan.kept) == ((1,), ((2, T0 + 5.5 * DAY), (3, T0 + 6.5 * DAY)))
    after = plan.after(found, {0: Secret(fresh())}, now)
    (note,) = notes(after, plan, wish, now)
    assert "more than 3 keys are kept: 2 until 2026-02-06T10:00:00" in note


def test_what_was_kept_goes_later_without_a_rotation() -> None:
    plan = rotation(keys(0, 1, 2, staged=4), rules(keep=2, max_age=30 * DAY), T0 + 6 * DAY, WHERE)
    assert plan == Plan(prune=(1,)) and not plan.rotates


def test_gaps_and_high_numbers() -> None:
    found = Keys(
        {number: Key(Secret(fresh()), T0 + number * DAY) for number in (3, 7, 12)}
        | {0: Key(Secret(fresh()), T0 + 13 * DAY)}
    )
    plan = rotation(found, rules(most=4), T0 + 20 * DAY, WHERE)
    assert (plan.promote, plan.prune) == (13, (3,))


@pytest.mark.parametrize(
    ("wish", "rotates"),
    [
        ({"max_age": DAY}, True),
        ({"max_age": 2 * DAY}, False),
        ({"from_primary": 2, "max_age": None}, True),
        ({"from_primary": 1, "max_age": None}, False),
        ({"from_primary": 2, "max_age": 2 * DAY}, False),
    ],
)
def test_what_says_when(wish: dict[str, object], rotates: bool) -> None:
    found = keys(0, 1, staged=2)
    assert rotation(found, rules(**wish), T0 + 3 * DAY, WHERE).rotates is rotates


@pytest.mark.parametrize("named", [1, 4])
def test_a_primary_that_nobody_named_is_refused(named: int) -> None:
    with pytest.raises(Refused, match=f"from_primary is {named} and the primary is 3. Nothing was"):
        rotation(keys(0, 1, 2, staged=3), rules(from_primary=named), T0, WHERE)


def test_a_staged_key_that_was_in_use_before_is_refused() -> None:
    found = keys(0, 1, 2)
    again = Keys({**found.by_number, 0: Key(found.by_number[1].secret, T0 + 3 * DAY)})
    with pytest.raises(Refused, match="the same as number 1, which was in use before"):
        rotation(again, rules(), T0 + 4 * DAY, WHERE)
    assert notes(again, Plan(), rules(), T0 + 4 * DAY) == ["keys 0 and 1 are the same"]


def test_nothing_to_rotate() -> None:
    with pytest.raises(Absent, match="there is no key to rotate; state 'present'"):
        rotation(Keys({}), rules(), T0, WHERE)


def test_times_in_the_future_are_told_and_remove_nothing() -> None:
    found = keys(0, 1, 2, staged=9)
    plan = rotation(found, rules(most=2, keep=1, max_age=DAY), T0 + 4 * DAY, WHERE)
    assert not plan.rotates and plan.prune == (1,)
    assert "file 0 is in the future" in notes(found, plan, rules(), T0 + 4 * DAY)[0]
