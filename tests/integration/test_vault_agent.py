# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real ``vault proxy``, and a real ``vault agent``, that log in by themselves and add their token to what they pass on."""

from __future__ import annotations

import http.client
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied
from estate.playbook import Ansible
from estate.ports import reserve
from estate.processes import Daemon
from estate.vault import AppRole, VaultServer, vault_binary
from login_world import ONE, TWO, LoginWorld, refusal
from vault_fixtures import vault_approle

__all__ = ["vault_approle"]

# As its documentation advises: what does not say that it speaks to Vault is not passed on.
CONFIG = """
vault {{ address = "{vault}" }}
auto_auth {{
  method "approle" {{
    mount_path = "auth/{mount}"
    config = {{
      role_id_file_path = "{folder}/role-id"
      secret_id_file_path = "{folder}/secret-id"
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
api_proxy {{ use_auto_auth_token = true }}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
  require_request_header = true
}}
"""


@contextmanager
def running(kind: str, server: VaultServer, role: AppRole, folder: Path) -> Iterator[str]:
    """The address of one that logs in as this role."""
    port = reserve()
    for name, text in (("role-id", role.role_id), ("secret-id", role.secret_id)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    told = {"vault": server.address, "mount": role.mount, "folder": folder, "port": port.number}
    config = folder / "config.hcl"
    config.write_text(CONFIG.format(**told))
    argv = [str(vault_binary()), kind, f"-config={config}"]
    daemon = Daemon(f"vault {kind}", argv, folder / f"{kind}.log", env={"HOME": str(folder)})
    daemon.start(lambda: answers(port.number))
    try:
        yield f"http://127.0.0.1:{port.number}"
    finally:
        daemon.stop()
        port.release()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1/sys/health", headers={"X-Vault-Request": "true"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture
def world(vault: VaultServer, vault_mount: str) -> Iterator[LoginWorld]:
    made = LoginWorld(vault, vault_mount)
    del made.environ["VAULT_ADDR"]
    yield made
    made.context.close()


@pytest.mark.parametrize("kind", ["proxy", "agent"])
def test_the_token_is_added_and_left_alone(
    world: LoginWorld, vault_approle: Callable[..., AppRole], tmp_path: Path, kind: str
) -> None:
    role = vault_approle(world.rules)
    with running(kind, world.server, role, tmp_path) as address:
        # As those of Vault's own command line have it: the address alone.
        world.environ["VAULT_AGENT_ADDR"] = address
        assert world.store().write(ONE, None) == "1"
        world.context.close()
        # As those of community.hashi_vault have it, where this one is the address of Vault.
        del world.environ["VAULT_AGENT_ADDR"]
        named = {"ANSIBLE_HASHI_VAULT_ADDR": address, "ANSIBLE_HASHI_VAULT_AUTH_METHOD": "none"}
        world.environ |= named
        assert world.store().write(TWO, "1") == "2"
        world.context.close()
        (kept,) = [
            made for made in world.tokens(role.mount) if made["meta"]["role_name"] == role.name
        ]
        assert kept["ttl"] > 0, "the token is not a task's to revoke"
        # A token of the task's own counts before the one that would be added.
        for name in named:
            del world.environ[name]
        little = world.server.token(
            f'path "{world.mount}/data/other" {{ capabilities = ["read"] }}'
        )
        world.environ |= {"VAULT_AGENT_ADDR": address, "VAULT_TOKEN": little}
        assert "denies this token" in refusal(Denied, world.store().read)
        del world.environ["VAULT_TOKEN"]
        assert world.store().read() == (TWO, "2")


def test_one_that_is_not_logged_in(
    world: LoginWorld, vault_approle: Callable[..., AppRole], tmp_path: Path
) -> None:
    role = vault_approle(world.rules)
    body = {"secret_id_accessor": role.accessor}
    world.server.request(
        "POST", f"auth/{role.mount}/role/{role.name}/secret-id-accessor/destroy", body
    )
    with running("proxy", world.server, role, tmp_path) as address:
        world.environ["VAULT_AGENT_ADDR"] = address
        # Nobody's secret is taken for absent by that.
        assert "denies this token to read it" in refusal(Denied, world.store().read)


def test_a_play_behind_one(
    world: LoginWorld, vault_approle: Callable[..., AppRole], scratch: Path, ansible: Ansible
) -> None:
    value = secrets.token_urlsafe(24)
    given = scratch / "given"
    given.touch(mode=0o600)
    given.write_text(value)
    options: dict[str, Any] = {"engine_mount_point": world.mount, "path": "app"}
    options["fields"] = {"KEY": f"ref+file://{given}"}
    wish = {"keyturn.runbooks.vault_kv": options}
    again = {**wish, "register": "again", "failed_when": "again is changed"}
    found = f"lookup('keyturn.runbooks.ref', 'ref+vault://{world.mount}/app#/KEY') | length"
    tasks = [wish, again, {"ansible.builtin.assert": {"that": f"{found} == {len(value)}"}}]
    book = scratch / "play.yml"
    book.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    with running("proxy", world.server, vault_approle(world.rules), scratch) as address:
        ended = ansible.run(str(book), "-vvv", env={"VAULT_AGENT_ADDR": address}).check()
    assert value not in ended.output + ansible.log()
    assert world.server.request("GET", f"{world.mount}/data/app")["data"]["data"] == {"KEY": value}
