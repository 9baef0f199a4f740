# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a provider or a person made is looked at before it is passed on."""

from __future__ import annotations

import secrets
from urllib.parse import quote

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring_step import (
    check_made_elsewhere,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret


@pytest.mark.parametrize("text", ["good\nEVIL", "two words", "nul\0", "café", "", "a" * 5000])
def test_what_a_reader_may_take_for_two_values_is_no_value(text: str) -> None:
    with pytest.raises(Refused, match="made as 'key' can be no value") as refused:
        check_made_elsewhere({"key": Secret(text)}, "restream")
    assert text not in refused.value.message or not text


@pytest.mark.parametrize("shape", ["{}", "rtmps://live.example:443/rtmp/{}", "id-{}-1"])
def test_a_plain_field_that_holds_the_value_is_refused(shape: str) -> None:
    key = secrets.token_urlsafe(20) + "/+"
    for text in (key, quote(key, safe="")):
        with pytest.raises(BadInput, match="the plain field 'url'") as refused:
            check_made_elsewhere({"key": Secret(key), "url": shape.format(text)}, "restream")
        assert key not in refused.value.message


def test_what_is_fine_and_what_is_not_known_yet_pass() -> None:
    made = {"key": Secret(secrets.token_urlsafe(20)), "url": "rtmps://live.example/rtmp", "id": "7"}
    check_made_elsewhere(made, "restream")
    check_made_elsewhere({"key": Secret.new(), "id": "7"}, "restream")
