# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's own options for Vault: they count before the environment, under the names that users know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.doc_fragments.vault import ModuleDocFragment
from ansible_collections.keyturn.runbooks.plugins.module_utils import _vault_identity
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Denied
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_identity import Identity
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_options import (
    VAULT_OPTIONS,
    with_vault_options,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_settings import (
    VaultSettings,
    vault_settings,
)

PREFIX = "ANSIBLE_HASHI_VAULT_"
BASE = {"VAULT_ADDR": "https://vault.example:8200"}


def settings(options: dict[str, Any], **environ: str) -> VaultSettings:
    context = with_vault_options(options, Context(environ={**BASE, **environ}))
    return vault_settings(parse_reference("ref+vault://secret/x", "option"), context, "option")


def identity(options: dict[str, Any], **environ: str) -> Identity:
    return settings(options, **environ).identity


def test_options_count_before_the_environment() -> None:
    environ = {
        f"{PREFIX}ADDR": "https://env:1",
        f"{PREFIX}NAMESPACE": "env",
        f"{PREFIX}CA_CERT": "/env",
        f"{PREFIX}TIMEOUT": "5",
        f"{PREFIX}RETRIES": "5",
        "VAULT_TOKEN": "env",
    }
    options = {
        "url": "https://option:1",
        "namespace": "option",
        "ca_cert": "/option",
        "timeout": "7s",
        "retries": 0,
        "token": "option",
        "role_id": None,
        "secret_id": "",
    }
    found = settings(options, **environ)
    assert (found.address, found.namespace, found.verify) == (
        "https://option:1",
        "option",
        "/option",
    )
    assert (found.deadline, found.retries) == (7.0, 0)
    assert found.identity.secret == Secret("option")
    assert settings({"validate_certs": False}, VAULT_TOKEN="t").verify is False
    assert settings({"validate_certs": True}, VAULT_TOKEN="t", VAULT_SKIP_VERIFY="1").verify is True


def test_nothing_given_is_the_environment() -> None:
    found = settings(dict.fromkeys(VAULT_OPTIONS), VAULT_TOKEN="env", VAULT_MAX_RETRIES="2")
    assert found.identity.secret == Secret("env")
    assert (found.deadline, found.retries) == (10.0, 2)


def test_what_is_given_says_how_to_log_in(tmp_path: Path) -> None:
    environ = {"VAULT_TOKEN": "env", f"{PREFIX}AUTH_METHOD": "token"}
    approle = identity({"role_id": "r", "secret_id": "s"}, **environ)
    assert (approle.method, approle.mount, approle.role) == ("approle", "approle", "r")
    assert identity({"token": "t"}, VAULT_AUTH_METHOD="approle").secret == Secret("t")
    (tmp_path / "mine").write_text("from-file")
    (tmp_path / "mine").chmod(0o600)
    files = {"token_path": str(tmp_path), "token_file": "mine"}
    assert identity(files, **environ).secret == Secret("from-file")
    (tmp_path / "cert.pem").write_text("")
    pem = str(tmp_path / "cert.pem")
    assert identity({"cert_auth_public_key": pem}, VAULT_TOKEN="env").certificate == pem
    both = {"cert_auth_public_key": pem, "cert_auth_private_key": pem}
    assert settings(both).client_cert == (pem, pem)
    assert identity({"auth_method": "none"}, VAULT_TOKEN="env") == Identity("none")


def test_a_jwt_is_for_one_of_two_methods() -> None:
    options = {"jwt": "j", "role_id": "runner"}
    with pytest.raises(BadInput, match="say whether it is for 'jwt' or 'kubernetes'"):
        identity(options)
    by_environment = identity(options, VAULT_AUTH_METHOD="kubernetes")
    assert (by_environment.method, by_environment.mount) == ("kubernetes", "kubernetes")
    said = identity({**options, "auth_method": "jwt", "mount_point": "/ci/jwt/"})
    assert (said.method, said.mount, said.role) == ("jwt", "ci/jwt", "runner")
    assert said.secret == Secret("j")


def test_secret_options_may_be_references(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("from-file\n")
    (tmp_path / "id").chmod(0o600)
    options = {"role_id": "r", "secret_id": f"ref+file://{tmp_path}/id"}
    found = identity(options)
    assert found.secret == Secret("from-file")
    assert not found.wrapped
    assert identity({**options, "secret_id_wrapped": True}).wrapped
    variable = {f"{PREFIX}SECRET_ID_WRAPPED": "no", "VAULT_SECRET_ID_WRAPPED": "yes"}
    assert not identity(options, **variable).wrapped
    assert identity(options, VAULT_SECRET_ID_WRAPPED="yes").wrapped


@pytest.mark.parametrize("reference", [False, True])
def test_proxies(tmp_path: Path, reference: bool) -> None:
    url = "http://u:p@proxy.example:3128"
    by_variable = {f"{PREFIX}PROXIES": "http://other:1", "VAULT_TOKEN": "t"}
    both = (("http", Secret(url)), ("https", Secret(url)))
    for given, expected in ((url, both), ({"https": url}, both[1:])):
        option: Any = given
        if reference:
            (tmp_path / "proxies").write_text(
                given if isinstance(given, str) else json.dumps(given)
            )
            (tmp_path / "proxies").chmod(0o600)
            option = f"ref+file://{tmp_path}/proxies"
        found = settings({"proxies": option}, **by_variable)
        assert found.proxies == expected
        assert "u:p" not in repr(found)
    assert settings({}, **by_variable).proxies[0] == ("http", Secret("http://other:1"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"auth_method": "jwt"}, "to log in to Vault by jwt, name the role"),
        (
            {"auth_method": "jwt", "role_id": "r"},
            "give the token: set ANSIBLE_HASHI_VAULT_JWT, or jwt",
        ),
        ({"auth_method": "kubernetes"}, "by kubernetes, name the role"),
        ({"auth_method": "cert"}, "name the certificate's file"),
        ({"auth_method": "approle", "token": "t"}, "set VAULT_ROLE_ID and VAULT_SECRET_ID"),
        ({"token": "t", "timeout": "soon"}, "VAULT_CLIENT_TIMEOUT"),
        ({"token": "t", "retries": -1}, "must be a number"),
        ({"token": "t", "proxies": ["http://p:1"]}, "'proxies', ANSIBLE_HASHI_VAULT_PROXIES"),
        ({"token": "t", "proxies": {"ftp": "http://p:1"}}, "must be a URL such as"),
    ],
)
def test_what_is_missing(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        settings(options)


def test_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_vault_identity, "POD_IDENTITY", str(tmp_path / "token"))
    options = {"auth_method": "kubernetes", "role_id": "runner"}
    with pytest.raises(Denied, match="no pod with a service account"):
        identity(options)
    (tmp_path / "token").write_text("pods\n")
    assert identity(options).secret == Secret("pods")
    with pytest.raises(Denied, match="there is no file /no/such"):
        identity({"cert_auth_public_key": "/no/such"})


def test_no_secret_shows() -> None:
    for options in ({"token": "hidden-1"}, {"role_id": "r", "secret_id": "hidden-2"}):
        found = settings(options)
        assert "hidden" not in repr(found)
        assert "hidden" not in repr(with_vault_options(options, Context(environ=BASE)))


def test_every_option_is_documented() -> None:
    for name, option in VAULT_OPTIONS.items():
        assert f"\n  {name}:\n" in ModuleDocFragment.DOCUMENTATION
        secret = name in ("token", "secret_id", "jwt", "proxies")
        assert option.get("no_log", False) is secret
