# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page about platforms with an API shows is taken as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._generic_definition import (
    _FIND_KEYS,
    _ISSUE_KEYS,
    _KEYS,
)

PAGE = Path(__file__).parents[2].joinpath("docs", "stream-issuers.md").read_text("utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_its_examples_are_issuers(block: str) -> None:
    definition = yaml.safe_load(block)["keyturn_issuer"]
    assert open_issuer(definition, Context()).secret_fields == {"key"}


def test_it_tells_of_every_key() -> None:
    assert len(BLOCKS) == 3
    named = set(re.findall(r"[a-z_]+", PAGE))
    assert {*_KEYS, *_ISSUE_KEYS, *_FIND_KEYS} <= named
