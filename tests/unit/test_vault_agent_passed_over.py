# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is meant for a Vault itself goes past an agent that the environment names, too."""

from __future__ import annotations

import base64
import http.server
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _vault_posture,
    _vault_posture_snapshot,
    _vault_unseal,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import ModuleCore, execute

SEAL = {
    "type": "shamir",
    "initialized": True,
    "t": 1,
    "n": 1,
    "progress": 0,
    "nonce": "",
    "version": "1.21.2",
}


@contextmanager
def sealed() -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes any share for its own, and what it was asked, with the bodies."""
    asked: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(self.path.encode() + b" " + body)
            opened = any(b'"key"' in item for item in asked)
            answer = json.dumps({**SEAL, "sealed": not opened, "data": {}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_PUT = do_POST = do_GET  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_args: object) -> None:
            """Nothing."""

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}", asked
    finally:
        listener.shutdown()
        listener.server_close()


def asked_of_both(
    module: ModuleCore, options: dict[str, Any], **environ: str
) -> tuple[list[bytes], list[bytes]]:
    """What a Vault and an agent are asked where the environment names both."""
    found = ArgumentSpecValidator(dict(module.argument_spec)).validate(options)
    assert not found.error_messages
    with sealed() as (address, of_vault), sealed() as (agent, of_agent):
        named = {"VAULT_ADDR": address, "VAULT_AGENT_ADDR": agent, "HOME": "/nonexistent"}
        context = Context(environ={**named, **environ})
        try:
            execute(module, dict(found.validated_parameters), context)
        finally:
            context.close()
    return of_vault, of_agent


def test_a_share_goes_to_the_node_alone(tmp_path: Path) -> None:
    share = base64.b64encode(secrets.token_bytes(33)).decode()
    place = tmp_path / "share"
    place.touch(mode=0o600)
    place.write_text(share)
    options = {"shares": [f"ref+file://{place}"]}
    of_vault, of_agent = asked_of_both(_vault_unseal.MODULE, options)
    assert any(share.encode() in item for item in of_vault)
    assert of_agent == []


def test_the_posture_is_that_of_the_node() -> None:
    of_vault, of_agent = asked_of_both(_vault_posture.MODULE, {}, VAULT_TOKEN="t")
    assert of_vault
    assert of_agent == []
    # Without a token nothing is asked with that of an agent.
    of_vault, of_agent = asked_of_both(_vault_posture.MODULE, {})
    assert of_vault
    assert of_agent == []


def test_a_snapshot_is_that_of_the_node() -> None:
    of_vault, of_agent = asked_of_both(_vault_posture_snapshot.MODULE, {}, VAULT_TOKEN="t")
    assert of_vault
    assert of_agent == []
