# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``vault_posture``: how well a Vault is set up, by what its API and its listener tell."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Callable, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils import _vault_posture_rules as rules
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    Sealed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import VaultClient
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_options import (
    VAULT_OPTIONS,
    to_the_node,
    with_vault_options,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_findings import (
    HIGH,
    UNKNOWN,
    Findings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_tls import (
    look_at_certificate,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_settings import vault_settings

OLDEST = "1.19.0"
"""The oldest version that its maker still mended when this was written."""
_MOST_TOKENS = 1000

Ask = Callable[[Any], Any]


def open_client(params: Mapping[str, Any], context: Context) -> VaultClient:
    """A client for the Vault that a task's options name, and for no agent before it; connects at the first call."""
    within = with_vault_options(params, to_the_node(context))
    return VaultClient(vault_settings(Reference("vault", "", {}), within, "url"), within, "url")


class Look:
    """One look at one Vault: what cannot be asked becomes a finding of its own, and never "there is none"."""

    def __init__(self, client: VaultClient, found: Findings) -> None:
        self._client = client
        self._found = found

    def ask(self, check: str, right: str, function: Ask) -> Optional[Any]:
        """What Vault answers; none when it does not, which is noted.

        :param right: the line of a policy that allows the question.
        :raises Sealed, Unreachable: which end the look.
        """
        self._found.begin(check)
        try:
            return self._client.call(check, "look at it", function)
        except Denied:
            self._found.add(
                check,
                UNKNOWN,
                "this was not looked at: the token may not, or is not valid",
                f"add to its policy: {right}",
            )
        except (Absent, BadInput):
            self._found.add(
                check,
                UNKNOWN,
                "this was not looked at: this Vault does not know the question",
                "see its version",
            )
        return None

    def tokens(self) -> Optional[List[Mapping[str, Any]]]:
        """The tokens that are alive; none when they cannot be listed."""
        listed = self.ask(
            "root_tokens",
            'path "auth/token/accessors" { capabilities = ["list", "sudo"] }',
            lambda client: client.adapter.list("/v1/auth/token/accessors"),
        )
        if listed is None:
            return None
        accessors = list(listed["data"]["keys"])
        alive = [found for found in map(self._token, accessors[:_MOST_TOKENS]) if found]
        if len(accessors) > _MOST_TOKENS or (accessors and not alive):
            self._found.add(
                "root_tokens",
                UNKNOWN,
                f"{len(alive)} of {len(accessors)} tokens were looked at",
                'tidy the tokens up, and allow: path "auth/token/lookup-accessor" { capabilities = ["update"] }',
            )
        return alive

    def _token(self, accessor: str) -> Optional[Mapping[str, Any]]:
        """One token; none for one that ended a moment ago."""
        with suppress(Denied, Absent, BadInput):
            answer = self._client.call(
                "a token",
                "look it up",
                lambda client: client.adapter.post(
                    "/v1/auth/token/lookup-accessor", json={"accessor": accessor}
                ),
            )
            found: Mapping[str, Any] = answer["data"]
            return found
        return None


def _inside(look: Look, params: Params, found: Findings) -> None:
    """What an open Vault tells a token."""
    longest = int(parse_duration(params["token_max_ttl"], "token_max_ttl").total_seconds())
    settings = look.ask(
        "listener_tls",
        'path "sys/config/state/sanitized" { capabilities = ["read"] }',
        lambda client: client.adapter.get("/v1/sys/config/state/sanitized"),
    )
    if settings is not None:
        rules.listeners(settings["data"], found)
        rules.config(settings["data"], found)
    devices = look.ask(
        "audit",
        'path "sys/audit" { capabilities = ["read", "sudo"] }',
        lambda client: client.adapter.get("/v1/sys/audit"),
    )
    if devices is not None:
        rules.audit(devices["data"], found)
    alive = look.tokens()
    if alive is not None:
        rules.tokens(alive, longest, found)


def look_at(params: Params, context: Context, found: Findings) -> Mapping[str, Any]:
    """Make all checks; what stands in the way of one is a finding.

    :returns: what the Vault says of its seal; empty when it says nothing.
    """
    outside = with_vault_options({**params, "auth_method": "none"}, to_the_node(context))
    nobody = vault_settings(Reference("vault", "", {}), outside, "url")
    least = parse_duration(params["certificate_left"], "certificate_left")
    look_at_certificate(nobody.address, nobody.verify, least, context.now(), found)
    anyone = VaultClient(nobody, outside, "url")
    found.begin("seal")
    try:
        state: Mapping[str, Any] = anyone.call(
            "its seal", "read it", lambda client: client.sys.read_seal_status()
        )
        rules.seal(state, found)
        rules.version(str(state.get("version") or ""), params["oldest_version"], found)
        if state.get("sealed") is not False:
            return state
        _inside(Look(open_client(params, context), found), params, found)
        leader = anyone.call(
            "its leader", "look it up", lambda client: client.adapter.get("/v1/sys/leader")
        )
        alone = not leader.get("ha_enabled")
        return {**state, "active": alone or bool(leader.get("is_self"))}
    except Sealed as error:
        found.add("seal", HIGH, error.message, "run the vault_unseal playbook")
    except KeyturnError as error:
        found.add("reach", UNKNOWN, error.message, "see to that, then look again")
    return {}


def run(params: Params, context: Context) -> Result:
    """Look at one Vault.

    :raises BadInput: for options that cannot be meant.
    """
    found = Findings()
    state = look_at(params, context, found)
    return {
        "changed": False,
        "version": str(state.get("version") or ""),
        "sealed": state.get("sealed"),
        "active": bool(state.get("active")),
        "storage": str(state.get("storage_type") or ""),
        **found.result(),
    }


SPEC: Mapping[str, Any] = {
    **VAULT_OPTIONS,
    "certificate_left": {"type": "str", "default": "30d"},
    "oldest_version": {"type": "str", "default": OLDEST},
    "token_max_ttl": {"type": "str", "default": "768h", "no_log": False},
}
MODULE = ModuleCore("vault_posture", SPEC, run)
