# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer of values that are made here."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import Issuer, open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._stage_facts import FACTS

CONTEXT = Context()


def issuer(**definition: Any) -> Issuer:
    return open_issuer({"type": "generated", "overlap": True, **definition}, CONTEXT)


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ({"overlap": "perhaps"}, r"keyturn_issuer\.overlap: 'perhaps' is neither true nor false"),
        ({"roles": ["a"]}, r"keyturn_issuer: there is no 'roles' for type generated"),
        ({"fields": []}, r"keyturn_issuer\.fields"),
        ({"fields": "value"}, r"keyturn_issuer\.fields"),
        ({"fields": ["a", "a"]}, r"keyturn_issuer\.fields"),
        ({"fields": ["a b"]}, r"keyturn_issuer\.fields"),
        *(
            ({"fields": ["value", name]}, rf"keyturn_issuer\.fields: '{name}' .*made, operator, ")
            for name in FACTS
        ),
    ],
)
def test_a_wrong_definition(definition: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        issuer(**definition)


def test_whether_values_overlap_has_to_be_said() -> None:
    with pytest.raises(BadInput, match=r"keyturn_issuer\.overlap: missing; true where"):
        open_issuer({"type": "generated"}, CONTEXT)
    assert issuer(overlap="no").overlap is False


def test_values_are_made_once_for_each_field() -> None:
    made = issuer(fields=["key", "pin"])
    wishes = {"pin": {"type": "hex", "bytes": 16}}
    first, second = (made.propose(None, wishes, CONTEXT) for _time in range(2))
    assert set(first) == {"key", "pin"} == set(made.secret_fields)
    for name in first:
        values = [found[name] for found in (first, second)]
        assert all(isinstance(value, Secret) and value.known for value in values)
        assert values[0] != values[1]
    pin = first["pin"]
    assert isinstance(pin, Secret)
    assert len(pin.reveal()) == 32


def test_check_mode_makes_nothing() -> None:
    found = issuer().propose(None, {}, Context(check_mode=True, randbytes=None))  # type: ignore[arg-type]
    assert found == {"value": Secret.new()}


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"password": {}}, r"keyturn_generate: the issuer has no field 'password'; expected some"),
        ({"value": {"type": "poem"}}, r"keyturn_generate\.value"),
    ],
)
def test_a_wrong_wish(wishes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        issuer().check_generate(wishes, CONTEXT)


def test_adoption_takes_exactly_its_fields() -> None:
    given = {"value": Secret("in use")}
    assert issuer().adopt(given, CONTEXT) == given
    with pytest.raises(BadInput, match="exactly the fields value"):
        issuer().adopt({"password": Secret("in use")}, CONTEXT)
