# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of a task that calls AWS: names of AWS's own programs, and those of ``amazon.aws``."""

from __future__ import annotations

import secrets

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import aws_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import (
    TASK_VARIABLES,
    program_environ,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_options import with_aws_options

ID, KEY = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"


def test_no_program_inherits_a_key() -> None:
    names = [KEY, "AWS_SECRET_KEY", ID, "AWS_ACCESS_KEY"]
    environ = {**dict.fromkeys(names, "x"), TASK_VARIABLES: " ".join(names)}
    assert program_environ(environ) == {ID: "x"}


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({"AWS_ACCESS_KEY": "b", "AWS_SECRET_KEY": "t"}, {ID: "b", KEY: "t"}),
        ({ID: "a", KEY: "s", "AWS_ACCESS_KEY": "b", "AWS_SECRET_KEY": "t"}, {ID: "a", KEY: "s"}),
        ({ID: "a", "AWS_SECRET_KEY": "t"}, {ID: "a", KEY: "t"}),
        ({ID: "", KEY: "s", "AWS_ACCESS_KEY": "b"}, {ID: "b", KEY: "s"}),
        ({"EC2_ACCESS_KEY": "b", "EC2_SECRET_KEY": "t"}, {}),
        ({}, {}),
    ],
)
def test_which_keys_count(given: dict[str, str], counts: dict[str, str]) -> None:
    found = aws_environ(given)
    assert {name: found[name] for name in (ID, KEY) if found.get(name)} == counts


def test_an_option_leaves_nothing_of_the_other_names() -> None:
    environ = {"AWS_ACCESS_KEY": "b", "AWS_SECRET_KEY": "t", "AWS_URL": "https://elsewhere.example"}
    context, _settings = with_aws_options({"profile": "ops"}, Context(environ=environ), 1)
    assert context.environ == {"AWS_PROFILE": "ops", "AWS_URL": environ["AWS_URL"]}
    key, url = secrets.token_hex(8), "https://ssm.example"
    environ["AWS_ENDPOINT_URL_SSM"] = "https://further.example"
    given = {"access_key": "a", "secret_key": key, "endpoint_url": url}
    context, _settings = with_aws_options(given, Context(environ=environ), 1)
    assert context.environ == {ID: "a", KEY: key, "AWS_ENDPOINT_URL": url}
