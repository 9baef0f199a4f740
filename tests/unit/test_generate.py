# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New values: what is promised of each, for any options that are allowed."""

from __future__ import annotations

import base64
import itertools
import math
import random
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._generate import (
    CLASSES,
    generate,
    recipe,
)
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

OPTION = "keyturn_generate.password"


def make(spec: Mapping[str, Any], seed: int | None = None) -> tuple[str, list[str]]:
    warnings: list[str] = []
    context = Context(warn=warnings.append)
    if seed is not None:
        context.randbytes = random.Random(seed).randbytes  # noqa: S311 - a known sequence is the point
    return generate(spec, context, OPTION), warnings


def bits(spec: Mapping[str, Any]) -> float:
    return recipe({**spec, "allow_weak": True}, Context(), OPTION).bits


def refusal(spec: Any) -> str:
    with pytest.raises(BadInput) as caught:
        generate(spec, Context(), OPTION)
    assert caught.value.message.startswith(OPTION)
    return caught.value.message


SPECS = st.fixed_dictionaries(
    {
        "type": st.just("password"),
        "length": st.integers(4, 80),
        "classes": st.lists(st.sampled_from(sorted(CLASSES)), min_size=1, max_size=4, unique=True),
        "exclude": st.text("aeiouAEIOU01357O$%&", max_size=8),
        "url_safe": st.booleans(),
        "allow_weak": st.just(True),
    }
)


@given(spec=SPECS, seed=st.integers(0, 2**32))
def test_a_password_is_as_asked_for(spec: dict[str, Any], seed: int) -> None:
    value, _warnings = make(spec, seed)
    assert len(value) == spec["length"]
    allowed = "".join(CLASSES[name] for name in spec["classes"])
    assert set(value) <= set(allowed) - set(spec["exclude"])
    for name in spec["classes"]:
        assert set(value) & set(CLASSES[name])
    if spec["url_safe"]:
        assert not set(value) & (set(CLASSES["symbols"]) - set("-._~"))


@given(st.integers(1, 200), st.integers(0, 2**32))
def test_bytes_in_every_form(size: int, seed: int) -> None:
    spec = {"bytes": size, "allow_weak": True}
    digits, _warnings = make({"type": "hex", **spec}, seed)
    text, _warnings = make({"type": "base64url", **spec}, seed)
    raw = bytes.fromhex(digits)
    assert len(raw) == size
    assert digits == digits.lower()
    assert base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) == raw
    assert not set(text) & set("+/=")
    padded, _warnings = make({"type": "base64", **spec}, seed)
    assert base64.b64decode(padded, validate=True) == raw


@given(st.integers(0, 2**32))
def test_a_key_that_fernet_takes(seed: int) -> None:
    key, warnings = make({"type": "fernet"}, seed)
    assert (len(key), len(base64.urlsafe_b64decode(key))) == (44, 32)
    assert warnings == []
    # A key without its padding is what the other form makes, and Fernet refuses it.
    assert Fernet(key).decrypt(Fernet(key.encode()).encrypt(b"kept")) == b"kept"
    with pytest.raises(ValueError, match=r"padding|32"):
        Fernet(make({"type": "base64url"}, seed)[0])


@given(st.integers(0, 2**32))
def test_uuid(seed: int) -> None:
    text, warnings = make({"type": "uuid", "allow_weak": True}, seed)
    found = uuid.UUID(text)
    assert (found.version, found.variant, str(found)) == (4, uuid.RFC_4122, text)
    assert "122 bits" in warnings[0]


def test_defaults_are_strong_and_safe_in_urls() -> None:
    value, warnings = make({})
    assert len(value) == 40
    assert value.isalnum()
    assert warnings == []
    assert len(make({"type": "hex"})[0]) == 64
    assert len(make({"type": "base64url"})[0]) == 43
    assert len(make({"type": "base64"})[0]) == 44
    assert make({})[0] != make({})[0]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"length": 1, "classes": ["lower"]}, math.log2(26)),
        ({"length": 3, "classes": "lower"}, 3 * math.log2(26)),
        ({"length": 2, "classes": ["lower", "digits"]}, math.log2(2 * 26 * 10)),
        (
            {"length": 3, "classes": ["lower", "upper"], "exclude": "bcdefghijklmnopqrstuvwxyz"},
            math.log2(27**3 - 26**3 - 1),
        ),
        ({"type": "hex", "bytes": 16}, 128.0),
        ({"type": "base64url", "bytes": 7}, 56.0),
        ({"type": "uuid"}, 122.0),
    ],
)
def test_entropy(spec: dict[str, Any], expected: float) -> None:
    assert bits(spec) == pytest.approx(expected)


def test_entropy_counts_every_password_once() -> None:
    """The formula against counting them all."""
    spec = {
        "length": 4,
        "classes": ["lower", "upper", "digits"],
        "exclude": CLASSES["lower"][2:] + CLASSES["upper"][3:] + CLASSES["digits"][1:],
    }
    alphabets = ("ab", "ABC", "0")
    every = itertools.product("".join(alphabets), repeat=4)
    fitting = sum(all(set(text) & set(alphabet) for alphabet in alphabets) for text in every)
    assert bits(spec) == pytest.approx(math.log2(fitting))


@pytest.mark.parametrize(
    "spec",
    [
        {"length": 21},
        {"type": "hex", "bytes": 15},
        {"type": "base64", "bytes": 15},
        {"type": "base64url", "bytes": 15},
        {"type": "uuid"},
        {"length": 38, "classes": ["digits"]},
    ],
)
def test_weak_values_need_a_word_and_then_warn(spec: dict[str, Any]) -> None:
    assert "bits of entropy, and 128 are the least" in refusal(spec)
    told = refusal({**spec, "allow_weak": False})
    assert "allow_weak: true" in told
    # A UUID has no length that somebody could choose.
    fixed = spec.get("type") == "uuid"
    assert ("take another type" if fixed else "make it longer") in told
    assert ("make it longer" if fixed else "take another type") not in told
    value, warnings = make({**spec, "allow_weak": True})
    assert value
    assert len(warnings) == 1
    assert value not in warnings[0]


@pytest.mark.parametrize(
    "spec",
    [
        {"length": 22},
        {"type": "hex", "bytes": 16},
        {"length": "39", "classes": "digits"},
        {"length": 40, "classes": ["symbols"], "url_safe": "no"},
    ],
)
def test_strong_values_warn_of_nothing(spec: dict[str, Any]) -> None:
    assert make(spec)[1] == []


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("password", "expected a mapping"),
        (
            {"type": "pin"},
            "no type 'pin'; expected one of password, hex, base64, base64url, fernet, uuid",
        ),
        ({"lenght": 40}, "no 'lenght' for type password; expected some of allow_weak, classes"),
        ({"type": "hex", "length": 40}, "no 'length' for type hex; expected some of allow_weak"),
        ({"length": 0}, "whole number from 1 to 1024"),
        ({"length": 5000}, "whole number"),
        ({"length": True}, "whole number"),
        ({"length": 40.5}, "whole number"),
        ({"length": "forty"}, "whole number"),
        ({"classes": []}, "must be a list"),
        ({"classes": {"lower": 1}}, "must be a list"),
        ({"classes": ["lower", "emoji"]}, "there is no 'emoji'; expected some of lower, upper"),
        ({"exclude": 0}, "must be a text"),
        ({"exclude": "0123456789"}, "no character of the class 'digits'"),
        ({"length": 2}, "no room for one character of each of 3 classes"),
        ({"url_safe": "perhaps"}, "must be true or false"),
        ({"allow_weak": 1}, "must be true or false"),
    ],
)
def test_what_cannot_be_meant(spec: Any, problem: str) -> None:
    assert problem in refusal(spec)


@pytest.mark.parametrize("byte", [0, 1, 127, 255])
def test_a_broken_random_source_is_found_out(byte: int) -> None:
    context = Context(randbytes=lambda size: bytes([byte]) * size)
    with pytest.raises(KeyturnError, match="random source"):
        generate({}, context, OPTION)


def _chi_square(spec: dict[str, Any], every: set[str]) -> float:
    """How far counts of many values are from equal."""
    made = recipe({**spec, "allow_weak": True}, Context(), OPTION)
    source = random.Random(20260131).randbytes  # noqa: S311 - a known sequence is the point
    counts = Counter(made.make(source) for _number in range(60_000))
    assert set(counts) == every
    expected = 60_000 / len(every)
    return sum((count - expected) ** 2 / expected for count in counts.values())


def test_every_character_is_equally_likely() -> None:
    """28 symbols: bytes modulo 28 would favour 4 of them by a ninth. Beyond 75 by chance: one in a million."""
    spec = {"length": 1, "classes": ["symbols"]}
    assert _chi_square(spec, set(CLASSES["symbols"])) < 75


def test_every_fitting_password_is_equally_likely() -> None:
    """Putting a missing class in afterwards would favour passwords with one character of it."""
    lower, upper = "abcd", "AB"
    spec = {
        "length": 3,
        "classes": ["lower", "upper"],
        "exclude": CLASSES["lower"][4:] + CLASSES["upper"][2:],
    }
    every = {"".join(item) for item in itertools.product(lower + upper, repeat=3)}
    fitting = {text for text in every if set(text) & set(lower) and set(text) & set(upper)}
    assert _chi_square(spec, fitting) < 250
