# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which arguments of a task callbacks may see."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_secret import (
    MODULE as K8S_SECRET,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._pg_role import MODULE as PG_ROLE
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import MASK
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._secret_options import (
    holds_values,
    masked,
)

SPEC: dict[str, Any] = {
    "name": {"type": "str"},
    "key": {"type": "str", "no_log": True, "aliases": ["secret_key"]},
    "login": {"type": "dict", "no_log": True},
    "one": {"type": "dict", "options": {"name": {}, "value": {"no_log": True}}},
    "many": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {}, "value": {"no_log": True, "aliases": ["text"]}},
    },
}
GIVEN = [
    ({"key": "v"}, {"key": MASK}),
    ({"secret_key": "v"}, {"secret_key": MASK}),
    ({"login": {"username": "u", "password": "v"}}, {"login": MASK}),
    ({"one": {"name": "n", "value": "v"}}, {"one": {"name": "n", "value": MASK}}),
    (
        {"many": [{"name": "n", "value": "v"}, {"name": "m", "text": "v"}]},
        {"many": [{"name": "n", "value": MASK}, {"name": "m", "text": MASK}]},
    ),
]


@pytest.mark.parametrize(("given", "shown"), GIVEN)
def test_what_is_secret_is_masked_and_counts_as_a_value(
    given: dict[str, Any], shown: dict[str, Any]
) -> None:
    assert masked(SPEC, given) == shown
    assert holds_values(SPEC, given)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "n"},
        {"key": None},
        {"key": "ref+file:///key"},
        {"login": {"username": "u", "password": "ref+file:///key"}},
        {"many": [{"name": "n", "value": "ref+file:///key"}, {"name": "m"}]},
        {"many": None},
        {"strange": "x"},
    ],
)
def test_references_and_names_are_no_values(given: dict[str, Any]) -> None:
    assert not holds_values(SPEC, given)


def test_a_text_in_the_place_of_a_mapping_is_not_shown() -> None:
    given = {"one": "name=n value=v", "many": ["name=n value=v", None]}
    assert masked(SPEC, given) == {"one": MASK, "many": [MASK, None]}


def test_passwords_of_several_roles_are_masked() -> None:
    given = {"roles": [{"name": "app_a", "password": "v"}]}
    assert masked(PG_ROLE.argument_spec, given) == {"roles": [{"name": "app_a", "password": MASK}]}
    assert holds_values(PG_ROLE.argument_spec, given)


def test_a_text_that_may_be_shown_is_no_value() -> None:
    assert not holds_values(SPEC, {"key": "/path"}, frozenset({"/path"}))
    assert holds_values(SPEC, {"key": "/path", "login": {"password": "v"}}, frozenset({"/path"}))
    path = {"kubeconfig": "/path"}
    assert not holds_values(K8S_SECRET.argument_spec, path, K8S_SECRET.public(path))
    content = {"kubeconfig": {"users": [{"user": {"token": "v"}}]}}
    assert holds_values(K8S_SECRET.argument_spec, content, K8S_SECRET.public(content))
    assert masked(K8S_SECRET.argument_spec, content) == {"kubeconfig": MASK}
