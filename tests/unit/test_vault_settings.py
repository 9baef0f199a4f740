# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Vault and as whom: what counts before what."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._environ import TASK_VARIABLES
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Denied,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_proxies import over
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_settings import (
    VaultSettings,
    vault_settings,
)

OPTION = "keyturn_keyring"
BASE = {"VAULT_ADDR": "https://vault.example:8200", "VAULT_TOKEN": "t"}


class World:
    """An environment, and the warnings that settings made of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.warnings: list[str] = []

    def settings(self, query: str = "", /, **environ: str) -> VaultSettings:
        reference = parse_reference(f"ref+vault://secret/x{query}", OPTION)
        chosen = {name: value for name, value in environ.items() if value != "unset"}
        context = Context(environ={"HOME": str(self.home), **chosen}, warn=self.warnings.append)
        return vault_settings(reference, context, OPTION)

    def refusal(self, kind: type[KeyturnError], query: str = "", /, **environ: str) -> str:
        with pytest.raises(kind) as caught:
            self.settings(query, **environ)
        assert caught.value.message.startswith(OPTION)
        return caught.value.message

    def token_file(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.home / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def token(settings: VaultSettings) -> str:
    assert settings.identity.method == "token"
    assert settings.identity.role == ""
    assert settings.identity.secret is not None
    return settings.identity.secret.reveal()


@pytest.mark.parametrize(
    ("environ", "query", "expected"),
    [
        ({"VAULT_ADDR": "https://a:1"}, "", "https://a:1"),
        (
            {"VAULT_ADDR": "https://a:1", "ANSIBLE_HASHI_VAULT_ADDR": "https://b:2"},
            "",
            "https://b:2",
        ),
        ({"ANSIBLE_HASHI_VAULT_ADDR": "https://b:2"}, "?address=https://c:3", "https://c:3"),
        (
            {"VAULT_ADDR": "https://a:1", "VAULT_AGENT_ADDR": "http://127.0.0.1:9"},
            "",
            "http://127.0.0.1:9",
        ),
        (
            {"VAULT_AGENT_ADDR": "http://127.0.0.1:9", "ANSIBLE_HASHI_VAULT_ADDR": "https://b:2"},
            "",
            "https://b:2",
        ),
        ({"VAULT_ADDR": "http://127.0.0.1:8200"}, "", "http://127.0.0.1:8200"),
        ({"VAULT_ADDR": "https://[::1]:8200"}, "", "https://[::1]:8200"),
    ],
)
def test_address(world: World, environ: dict[str, str], query: str, expected: str) -> None:
    assert world.settings(query, VAULT_TOKEN="t", **environ).address == expected
    assert world.warnings == []


@pytest.mark.parametrize(
    "address",
    [
        "vault.example:8200",
        "ftp://vault",
        "https://",
        "https://u:p@vault",
        "https://u@vault",
        "http://:u:p@vault",
        "https://@vault",
        "https://:u:p@vault",
        "https://v:x",
        "http://[",
    ],
)
def test_an_address_that_is_none(world: World, address: str) -> None:
    message = world.refusal(BadInput, VAULT_ADDR=address, VAULT_TOKEN="t")
    assert "must be a URL such as" in message
    assert "u:p" not in message
    assert "set VAULT_ADDR" in world.refusal(BadInput, VAULT_TOKEN="t")


def test_a_unix_socket_is_no_address(world: World) -> None:
    message = world.refusal(BadInput, VAULT_AGENT_ADDR="unix:///run/agent.sock")
    assert "give the agent a listener at 127.0.0.1" in message


def test_at_an_agent_credentials_count_where_there_are_some(world: World) -> None:
    agent = {"VAULT_AGENT_ADDR": "http://127.0.0.1:9"}
    assert world.settings(**agent).identity.method == "none"
    assert token(world.settings(**agent, VAULT_TOKEN="t")) == "t"
    role = {"VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"}
    assert world.settings(**agent, **role).identity.method == "approle"
    # Another address is no agent's, and who names a method is to have what it needs.
    for other in ("?address=https://c:3", ""):
        named = {} if other else {"VAULT_AUTH_METHOD": "token"}
        assert "no credentials for Vault" in world.refusal(BadInput, other, **agent, **named)
    world.token_file(".vault-token", "kept")
    assert token(world.settings(**agent)) == "kept"


def test_plain_http_beyond_this_machine_warns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    plain = {"VAULT_ADDR": "http://vault.example:8200", "VAULT_TOKEN": "t"}
    world.settings(**plain)
    assert "travel in the clear; use https" in world.warnings[0]
    monkeypatch.setenv("http_proxy", "http://u:hidden@proxy.example:3128")
    world.settings(**plain)
    assert "travel in the clear, and through the proxy that http_proxy names" in world.warnings[1]
    assert "hidden" not in world.warnings[1]
    monkeypatch.setenv("no_proxy", "vault.example")
    world.settings(**plain)
    assert world.warnings[2] == world.warnings[0]
    world.settings(**{**plain, "VAULT_ADDR": "http://localhost:8200"})
    assert len(world.warnings) == 3
    proxies = {"ANSIBLE_HASHI_VAULT_PROXIES": '{"http": "http://u:hidden@a:1"}'}
    world.settings(**plain, **proxies)
    assert (
        "through the proxy that 'proxies' (ANSIBLE_HASHI_VAULT_PROXIES) names" in world.warnings[3]
    )
    assert "hidden" not in world.warnings[3]
    monkeypatch.delenv("no_proxy")
    world.settings(**plain, ANSIBLE_HASHI_VAULT_PROXIES='{"http": ""}')
    assert world.warnings[4] == world.warnings[0]


A, B = "http://u:hidden@a:3128", "socks5h://b:1080"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (A, {"http": A, "https": A}),
        (A.removeprefix("http://"), {"http": A, "https": A}),
        (f'{{"http": "{A}", "https": "{B}"}}', {"http": A, "https": B}),
        (f"{{'https': '{A}', 'http': None}}", {"https": A, "http": ""}),
        (f"http={A},https={B}", {"http": A, "https": B}),
        (f"https={A} http={B}", {"http": B, "https": A}),
        (f'{{"all": "{A}", "https://vault.example": ""}}', {"all": A, "https://vault.example": ""}),
        ("", {}),
    ],
)
def test_proxies(world: World, text: str, expected: dict[str, str]) -> None:
    found = world.settings(**BASE, ANSIBLE_HASHI_VAULT_PROXIES=text)
    assert {scheme: url.reveal() for scheme, url in found.proxies} == expected
    assert "hidden" not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "{hidden",
        "{'a': __import__('hidden')}",
        '["hidden"]',
        '{"https": 7}',
        '{"ftp": "http://hidden"}',
        "http://",
        "http://u:hidden@",
        "http://hidden:0",
        "http://hidden:x",
        "http://a hidden",
        "http=http://a,hidden",
    ],
)
def test_proxies_that_are_none(world: World, text: str) -> None:
    message = world.refusal(BadInput, **BASE, ANSIBLE_HASHI_VAULT_PROXIES=text)
    assert "must be a URL such as http://proxy.example:3128, or a mapping" in message
    assert "hidden" not in message


def test_the_proxies_that_count() -> None:
    environment = {"http": "http://e:1", "https": "http://e:2"}
    assert over(environment, ()) == environment
    assert over(environment, (("https", Secret("http://a:1")),)) == {
        **environment,
        "https": "http://a:1",
    }
    assert over(environment, (("all", Secret("http://a:1")),)) == {"all": "http://a:1"}


def test_namespace_and_deadline(world: World) -> None:
    assert world.settings(**BASE).namespace is None
    assert world.settings(**BASE, VAULT_NAMESPACE="a").namespace == "a"
    both = {"VAULT_NAMESPACE": "a", "ANSIBLE_HASHI_VAULT_NAMESPACE": "b"}
    assert world.settings(**BASE, **both).namespace == "b"
    assert world.settings("?namespace=c", **BASE, **both).namespace == "c"
    assert world.settings(**BASE).deadline == 10.0
    assert world.settings(**BASE, VAULT_CLIENT_TIMEOUT="30").deadline == 30.0
    assert world.settings(**BASE, VAULT_CLIENT_TIMEOUT="2m").deadline == 120.0
    assert "VAULT_CLIENT_TIMEOUT" in world.refusal(BadInput, **BASE, VAULT_CLIENT_TIMEOUT="soon")


@pytest.mark.parametrize(
    ("environ", "verify", "warns"),
    [
        ({}, True, False),
        ({"VAULT_CACERT": "/ca.pem"}, "/ca.pem", False),
        ({"VAULT_CAPATH": "/ca"}, "/ca", False),
        ({"VAULT_CACERT": "/a", "ANSIBLE_HASHI_VAULT_CA_CERT": "/b"}, "/b", False),
        ({"VAULT_SKIP_VERIFY": "1"}, False, True),
        ({"VAULT_SKIP_VERIFY": "false", "VAULT_CACERT": "/a"}, "/a", False),
        ({"ANSIBLE_HASHI_VAULT_VALIDATE_CERTS": "no", "VAULT_CACERT": "/a"}, False, True),
        ({"ANSIBLE_HASHI_VAULT_VALIDATE_CERTS": "yes", "VAULT_SKIP_VERIFY": "true"}, True, False),
    ],
)
def test_tls(world: World, environ: dict[str, str], verify: object, warns: bool) -> None:
    assert world.settings(**BASE, **environ).verify == verify
    assert bool(world.warnings) is warns


def test_a_flag_that_is_none(world: World) -> None:
    assert "VAULT_SKIP_VERIFY must be true or false" in world.refusal(
        BadInput, **BASE, VAULT_SKIP_VERIFY="perhaps"
    )


def test_client_certificates(world: World) -> None:
    assert world.settings(**BASE).client_cert is None
    assert world.settings(**BASE, VAULT_CLIENT_CERT="/c").client_cert is None
    found = world.settings(**BASE, VAULT_CLIENT_CERT="/c", VAULT_CLIENT_KEY="/k").client_cert
    assert found == ("/c", "/k")


APPROLE = {"VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"}


def test_which_token(world: World) -> None:
    base = {"VAULT_ADDR": BASE["VAULT_ADDR"]}
    world.token_file(".vault-token", "from-home\n")
    assert token(world.settings(**base)) == "from-home"
    assert token(world.settings(**base, VAULT_TOKEN="v")) == "v"
    both = {"VAULT_TOKEN": "v", "ANSIBLE_HASHI_VAULT_TOKEN": "a"}
    assert token(world.settings(**base, **both)) == "a"
    assert token(world.settings("?token_env=MINE", **base, **both, MINE="m")) == "m"
    other = world.token_file("other", "o\n")
    assert token(world.settings(f"?token_file={other}", **base, **both)) == "o"
    assert token(world.settings(**base, VAULT_TOKEN_FILE=str(other))) == "o"
    named = {"ANSIBLE_HASHI_VAULT_TOKEN_PATH": str(world.home), "VAULT_TOKEN_FILE": "other"}
    assert token(world.settings(**base, **named)) == "o"
    assert world.warnings == []


def test_a_token_in_the_environment_counts_before_an_approle_and_that_before_a_file(
    world: World,
) -> None:
    base = {"VAULT_ADDR": BASE["VAULT_ADDR"], **APPROLE}
    world.token_file(".vault-token", "from-home\n")
    assert token(world.settings(**base, VAULT_TOKEN="v")) == "v"
    found = world.settings(**base).identity
    assert (found.method, found.role, found.mount, found.wrapped) == (
        "approle",
        "r",
        "approle",
        False,
    )
    assert found.secret == Secret("s")
    chosen = world.settings(**base, VAULT_TOKEN="v", VAULT_AUTH_METHOD="approle").identity
    assert (chosen.role, chosen.secret) == ("r", Secret("s"))
    assert token(world.settings(**base, VAULT_AUTH_METHOD="token")) == "from-home"
    # A reference that names its own token means that one, whatever the environment has for other Vaults.
    assert token(world.settings("?token_env=MINE", **base, MINE="m")) == "m"
    method = {"VAULT_AUTH_METHOD": "approle"}
    assert token(world.settings("?token_env=MINE", **base, **method, MINE="m")) == "m"


def test_an_approle_without_a_secret_id_is_only_taken_by_name(world: World) -> None:
    base = {"VAULT_ADDR": BASE["VAULT_ADDR"], "VAULT_ROLE_ID": "r"}
    assert "no credentials" in world.refusal(BadInput, **base)
    found = world.settings(**base, VAULT_AUTH_METHOD="approle").identity
    assert (found.role, found.secret) == ("r", None)


def test_what_is_missing(world: World) -> None:
    base = {"VAULT_ADDR": BASE["VAULT_ADDR"]}
    assert "set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID" in world.refusal(
        BadInput, **base
    )
    method = {"ANSIBLE_HASHI_VAULT_AUTH_METHOD": "approle"}
    assert "set VAULT_ROLE_ID" in world.refusal(BadInput, **base, **method, VAULT_TOKEN="v")
    method = {"ANSIBLE_HASHI_VAULT_AUTH_METHOD": "ldap"}
    assert "expected token, approle, jwt, kubernetes, cert or none" in world.refusal(
        BadInput, **base, **method
    )
    # No credentials is not "there is no such secret": who may go without the secret must not go on here.
    assert "MINE, which token_env names" in world.refusal(Denied, "?token_env=MINE", **base)
    assert "which token_file names" in world.refusal(Denied, "?token_file=/no/such", **base)
    world.token_file(".vault-token", "\n")
    assert "no credentials" in world.refusal(BadInput, **base)


AGENT = {"VAULT_AGENT_ADDR": "http://127.0.0.1:9"}


@pytest.mark.parametrize("agent", [{}, AGENT])
@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"VAULT_ROLE_ID": "r"}, BadInput),
        ({"ANSIBLE_HASHI_VAULT_ROLE_ID": "r"}, BadInput),
        ({"VAULT_SECRET_ID": "s"}, BadInput),
        ({"ANSIBLE_HASHI_VAULT_SECRET_ID": "s"}, BadInput),
        ({"ANSIBLE_HASHI_VAULT_JWT": "j"}, BadInput),
        ({"ANSIBLE_HASHI_VAULT_CERT_AUTH_PUBLIC_KEY": "/c"}, BadInput),
        ({"VAULT_TOKEN_FILE": "gone"}, Denied),
        ({"ANSIBLE_HASHI_VAULT_TOKEN_FILE": "gone"}, Denied),
        ({"ANSIBLE_HASHI_VAULT_TOKEN_PATH": "/no/such"}, Denied),
        ({"VAULT_TOKEN_FILE": "empty"}, BadInput),
    ],
)
def test_a_part_of_a_login_is_never_an_agents_identity(
    world: World, agent: dict[str, str], part: dict[str, str], kind: type[KeyturnError]
) -> None:
    world.token_file("empty", "\n")
    address = {"VAULT_ADDR": BASE["VAULT_ADDR"]}
    [name] = part
    assert name in world.refusal(kind, **address, **agent, **part)


def test_an_agents_identity_is_taken_where_there_is_nothing_else(world: World) -> None:
    assert world.settings(**AGENT).identity.method == "none"
    world.token_file(".vault-token", "\n")
    assert world.settings(**AGENT).identity.method == "none"


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("VAULT_ADDR VAULT_TOKEN", BASE["VAULT_ADDR"]),
        ("VAULT_ADDR", BASE["VAULT_ADDR"]),
        ("VAULT_ADDR VAULT_AGENT_ADDR", AGENT["VAULT_AGENT_ADDR"]),
        ("VAULT_TOKEN", AGENT["VAULT_AGENT_ADDR"]),
        ("", AGENT["VAULT_AGENT_ADDR"]),
    ],
)
def test_a_tasks_own_address_counts_before_an_agent_that_was_inherited(
    world: World, own: str, expected: str
) -> None:
    assert world.settings(**BASE, **AGENT, **{TASK_VARIABLES: own}).address == expected
    # Nor is the agent's identity taken for such a task.
    without = {"VAULT_ADDR": BASE["VAULT_ADDR"], **AGENT, TASK_VARIABLES: own}
    if expected == BASE["VAULT_ADDR"]:
        assert "no credentials" in world.refusal(BadInput, **without)
    else:
        assert world.settings(**without).identity.method == "none"


def test_a_token_file_that_others_may_read_warns(world: World) -> None:
    world.token_file(".vault-token", "x", 0o644)
    world.settings(VAULT_ADDR=BASE["VAULT_ADDR"])
    assert "mode 0644" in world.warnings[0]


def test_settings_do_not_show_secrets(world: World) -> None:
    value = secrets.token_urlsafe(16)
    shown = repr(world.settings(VAULT_ADDR=BASE["VAULT_ADDR"], VAULT_TOKEN=value))
    role = {"VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": value}
    shown += repr(world.settings(VAULT_ADDR=BASE["VAULT_ADDR"], **role))
    assert value not in shown
