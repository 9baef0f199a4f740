# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run whose keyring cannot be opened, or is lost on the way: it waits no longer than it must, says so once, and tells the owner."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import yaml
from estate.playbook import Ansible, PlaybookResult
from estate.vault import VaultServer

DEADLINE = 2.0
CHECK = "Check every gate, reach everything, write nothing"


class Token:
    """A credential that is made here, with its keyring in a Vault of its own."""

    def __init__(self, folder: Path, server: VaultServer, ansible: Ansible) -> None:
        self.folder, self.server, self.ansible = folder, server, ansible
        self.told = folder / "told"
        self.token = server.root_token
        contact = {"type": "command", "argv": ["sh", "-c", f"cat >> {self.told}"]}
        sink = {"ref": f"ref+file://{folder}/app.env?format=env#/TOKEN"}
        variables: dict[str, Any] = {
            "keyturn_keyring": "ref+vault://kv/keyrings/app_token",
            "keyturn_issuer": {"type": "generated", "overlap": True},
            "keyturn_policy": {"rotate": "age", "max_age": "90d", "contacts": [contact]},
            "keyturn_sinks": [{**sink, "template": "{current.value}"}],
            "keyturn_probes": [{"type": "command", "argv": ["true"]}],
        }
        hosts = {"all": {"children": {"credentials": {"hosts": {"app_token": variables}}}}}
        (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))

    def probe(self, url: str) -> None:
        """Prove a value by showing it there."""
        path = self.folder / "hosts.yml"
        hosts = yaml.safe_load(path.read_text())
        shown = {"Authorization": "Bearer {stage.value}"}
        variables = hosts["all"]["children"]["credentials"]["hosts"]["app_token"]
        variables["keyturn_probes"] = [{"type": "http", "url": url, "headers": shown}]
        path.write_text(yaml.safe_dump(hosts))

    def mail(self) -> dict[str, Any]:
        """The one thing that the owner was told."""
        (told,) = map(json.loads, self.told.read_text().splitlines())
        assert isinstance(told, dict)
        return told

    def run(self) -> PlaybookResult:
        """Rotate it."""
        environ = {
            "VAULT_ADDR": self.server.address,
            "VAULT_TOKEN": self.token,
            "VAULT_CLIENT_TIMEOUT": str(DEADLINE),
        }
        inventory = self.folder / "hosts.yml"
        return self.ansible.run("keyturn.runbooks.rotate", inventory=inventory, env=environ)

    def refused(self, why: str) -> PlaybookResult:
        """A rotation that cannot open the keyring, which is told once to each who is told."""
        self.told.unlink(missing_ok=True)
        failed = self.run().check(2)
        # On its standard error stream are the run's own lines; Ansible tells the failed task on the other one.
        assert failed.stderr.count(why) == 1, failed.stderr
        assert "WARNING" not in failed.output
        assert [line.partition(":")[0] for line in failed.steps] == [
            CHECK,
            "FAILED",
            "Tell the contacts",
        ]
        said = [line for line in failed.stdout.splitlines() if line.startswith("fatal: ")]
        assert len(said) == 1 and said[0].count(why) == 1 and len(said[0]) < 900, said
        mail = self.mail()
        assert mail["event"] == "failure" and mail["text"].count(why) == 1
        return failed


def test_it_takes_one_deadline_and_is_said_once(scratch: Path, ansible: Ansible) -> None:
    place = scratch / "vault"
    place.mkdir(mode=0o700)
    with VaultServer(place) as server:
        server.mount_kv("kv")
        made = Token(scratch, server, ansible)
        made.token = server.token('path "kv/data/other" { capabilities = ["read"] }')
        denied = made.refused("Vault denies this token to read it")
        made.token = server.root_token
        server.seal()
        sealed = made.refused("Vault is sealed or not initialised")
        assert "keyturn.runbooks.vault_unseal" in sealed.stderr
        server.stop()
        stopped = made.refused(f"no connection to {server.address}: it was refused")
        assert stopped.seconds - denied.seconds < DEADLINE * 2.5


@contextlib.contextmanager
def answering(act: Callable[[], None]) -> Iterator[str]:
    """Something that accepts every value; before it says so, it does that."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            act()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            """Not on the screen."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_one_that_is_lost_on_the_way_is_released_if_that_is_possible(
    scratch: Path, ansible: Ansible
) -> None:
    place = scratch / "vault"
    place.mkdir(mode=0o700)
    with VaultServer(place) as server, answering(server.stop) as url:
        server.mount_kv("kv")
        made = Token(scratch, server, ansible)
        made.probe(url)
        failed = made.run().check(2)
    why = f"no connection to {server.address}: it was refused"
    assert failed.stderr.count(why) == 1, failed.stderr
    assert failed.steps[-2:] == ["Tell the contacts", "Let other runs in again"]
    # Ansible wraps its warnings where there is a screen.
    told = " ".join(failed.output.split())
    assert (
        "Let other runs in again: not done, for the same reason. The claim of this run ends" in told
    )
    mail = made.mail()
    assert mail["phase"] == "prove" and mail["rotation_id"].startswith("r20")
    assert mail["text"].count(why) == 1
