# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the connection to Vault that are named and not there: told before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve

BASE = {"VAULT_ADDR": "https://127.0.0.1:1", "VAULT_TOKEN": "t", "VAULT_CLIENT_TIMEOUT": "1s"}


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ({"VAULT_CACERT": "{home}/ca.pem"}, "ca.pem"),
        ({"VAULT_CAPATH": "{home}/folder"}, "folder"),
        ({"VAULT_CLIENT_CERT": "{home}/c.pem", "VAULT_CLIENT_KEY": "{home}/there"}, "c.pem"),
        ({"VAULT_CLIENT_CERT": "{home}/there", "VAULT_CLIENT_KEY": "{home}/k.pem"}, "k.pem"),
    ],
)
def test_it_is_named(tmp_path: Path, names: dict[str, str], missing: str) -> None:
    (tmp_path / "there").touch()
    given = {name: path.format(home=tmp_path) for name, path in names.items()}
    context = Context(environ={"HOME": str(tmp_path), **BASE, **given})
    reference = "ref+vault://secret/app#/key"
    with pytest.raises(BadInput) as caught:
        resolve(reference, context, "value")
    assert f"there is no file {tmp_path / missing}" in caught.value.message
    assert "VAULT_C" in caught.value.message
