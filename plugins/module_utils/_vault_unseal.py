# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``vault_unseal``: a sealed Vault is given shares of its key until it serves.

Vault counts a share that it is given once, whether it is right or not; only the one that completes the number shows whether all
of them were right. The same share given twice counts once, so a call whose answer was lost is sent again.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    KeyturnError,
    Refused,
    Sealed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import VaultClient
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_errors import said
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_options import (
    VAULT_OPTIONS,
    to_the_node,
    with_vault_options,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_settings import vault_settings
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_unseal_shares import Shares

# That it is missing is said in the client, with the name of the option.
with suppress(ImportError):
    import hvac.exceptions

SHAMIR = "shamir"
_REACHING = ("ca_cert", "validate_certs", "timeout", "retries")
_NAMESPACES = ("ANSIBLE_HASHI_VAULT_NAMESPACE", "VAULT_NAMESPACE")
_ROUNDS = 3
_POLL = 0.1
_FORM = ("must be a valid hex", "key is longer", "key is shorter")


@dataclass(frozen=True)
class SealState:
    """What a Vault says of its seal.

    :param kind: ``shamir``, or what unseals it by itself.
    :param threshold: how many shares open it, of ``total``.
    :param progress: how many it was given so far.
    :param nonce: which attempt that is; empty before the first share.
    """

    initialized: bool
    sealed: bool
    kind: str
    threshold: int
    total: int
    progress: int
    nonce: str
    migration: bool
    version: str

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> SealState:
        """The state that an answer of Vault tells."""
        return cls(
            initialized=bool(answer["initialized"]),
            sealed=bool(answer["sealed"]),
            kind=str(answer["type"]),
            threshold=int(answer["t"]),
            total=int(answer["n"]),
            progress=int(answer["progress"]),
            nonce=str(answer["nonce"]),
            migration=bool(answer.get("migration")),
            version=str(answer.get("version") or ""),
        )

    def __str__(self) -> str:
        return f"{self.progress} of {self.threshold}"


def anonymous(params: Mapping[str, Any], context: Context) -> Context:
    """The context in which a Vault is reached as nobody: what is asked of a seal needs no login, and has no namespace.

    No agent is asked: it would get the shares.
    """
    given = {name: params.get(name) for name in _REACHING}
    found = with_vault_options({**given, "auth_method": "none"}, to_the_node(context))
    environ = {name: value for name, value in found.environ.items() if name not in _NAMESPACES}
    return replace(found, environ=environ)


class Node:
    """One Vault server, as far as its seal goes.

    :ivar url: as it was given; empty where the environment names it.
    """

    def __init__(self, url: str, context: Context) -> None:
        self.url = url
        reference = Reference("vault", "", {"address": url} if url else {})
        self._client = VaultClient(vault_settings(reference, context, "url"), context, "url")
        self.address = self._client.address

    def state(self) -> SealState:
        """What it says now.

        :raises Unreachable: when it says nothing that could be understood.
        """
        answer = self._client.call(
            self.address, "read its seal", lambda client: client.sys.read_seal_status()
        )
        return self._read(answer)

    def reset(self) -> SealState:
        """Have it forget the shares that it was given."""
        answer = self._client.call(
            self.address,
            "reset its unsealing",
            lambda client: client.adapter.put("/v1/sys/unseal", json={"reset": True}),
        )
        return self._read(answer)

    def give(self, share: Secret, name: str) -> Optional[SealState]:
        """Give it one share; none when that completed the number and they did not fit together.

        :param name: how messages name the share.
        :raises BadInput: for what can be no share.
        """

        def send(client: Any) -> Any:
            try:
                return client.adapter.put("/v1/sys/unseal", json={"key": share.reveal()})
            except hvac.exceptions.InvalidRequest as error:
                if said(error, *_FORM):
                    raise BadInput(f"{name}: {self.address} says that this is no share") from None
                return None

        answer = self._client.call(self.address, "unseal it", send)
        return None if answer is None else self._read(answer)

    def serves(self) -> bool:
        """Whether it answers requests: for a moment after it was unsealed it does not, and without a leader it never does."""

        def ask(client: Any) -> bool:
            path = "/v1/auth/token/lookup-self"
            answer = client.adapter.get(path, raise_exception=False)
            return int(getattr(answer, "status_code", 200)) < 500

        with suppress(Unreachable):
            return bool(self._client.call(self.address, "see whether it serves", ask))
        return False

    def _read(self, answer: Any) -> SealState:
        try:
            return SealState.of(answer)
        except (KeyError, TypeError, ValueError):
            raise Unreachable(
                f"url: {self.address} gave an answer that is not Vault's; check the address and what stands between"
            ) from None


class _Job:
    """The unsealing of one node.

    :ivar before: what it said at first.
    :ivar changed: it was sealed and is opened here, or would be in check mode.
    """

    def __init__(self, node: Node, params: Params, shares: Shares, context: Context) -> None:
        self.node = node
        self._params = params
        self._shares = shares
        self._context = context
        self.before: Optional[SealState] = None
        self.changed = False

    def unseal(self) -> None:
        """Give shares until it is open.

        :raises KeyturnError: telling how far it came.
        """
        self.before = state = self.node.state()
        if not state.initialized:
            raise Sealed(
                f"url: {self.node.address} is not initialised: there is nothing to unseal. Is this the right address and data "
                "directory? A new Vault is made with 'vault operator init'; a new node of a cluster joins it first"
            )
        if not state.sealed or state.kind != SHAMIR:
            return
        self._refuse_migration(state)
        forgotten = bool(self._params["reset"])
        given = 0 if forgotten else state.progress
        self._shares.need(state.threshold - given, state.threshold)
        if not self._context.check_mode:
            self._give_all(self.node.reset() if forgotten and state.progress else state)
        self.changed = True

    def _refuse_migration(self, state: SealState) -> None:
        if state.migration:
            raise Refused(
                f"url: {self.node.address} is being moved to another kind of seal, which a person should watch: give the shares with "
                "'vault operator unseal -migrate'"
            )

    def _give_all(self, state: SealState) -> None:
        for _round in range(_ROUNDS):
            self._shares.need(state.threshold - state.progress, state.threshold)
            fitted = self._round(state)
            others, state = state.progress, self.node.state()
            if not state.sealed:
                return
            if not fitted and not others:
                raise self._wrong(state)
        raise Conflict(
            f"url: {self.node.address} is being unsealed by somebody else at the same time, who begins anew or gives wrong shares; it "
            f"has {state}. Agree on who does it, then run again"
        )

    def _round(self, state: SealState) -> bool:
        """Give one share after another, until it is open or somebody begins anew; false when they did not fit together."""
        nonce, seen, address = state.nonce, state.progress, self.node.address
        for name, share in self._shares.each():
            self._context.still_wanted()
            told = self.node.give(share, name)
            if told is None:
                return False
            if not told.sealed or (nonce and told.nonce != nonce):
                return True
            if told.progress > seen:
                self._context.progress(f"{address}: {told} shares")
            nonce, seen = told.nonce, told.progress
        raise Refused(
            f"url: {address} has {seen} of {state.threshold} shares and all that were given here are among them; give one more"
        )

    def _wrong(self, state: SealState) -> BadInput:
        places = ", ".join(self._shares.used(state.threshold))
        return BadInput(
            f"shares: {self.node.address} does not open with these {state.threshold} shares ({places}): at least one is wrong, or "
            "of another Vault, or from before a rekey. Vault does not say which one, and has begun anew at "
            f"{state}. Give other shares of the {state.total}, or leave one out after the other"
        )

    def wait(self, until: float) -> None:
        """Wait until it serves.

        :raises Sealed: one that unseals itself did not.
        :raises Unreachable: it is open and does not serve.
        """
        if self.before is None or self._context.check_mode or not self.before.sealed:
            return
        by_itself = "" if self.before.kind == SHAMIR else self.before.kind
        while not self._ready(by_itself):
            if time.monotonic() >= until:
                raise self._late(by_itself)
            time.sleep(_POLL)

    def _ready(self, by_itself: str) -> bool:
        if by_itself and self.node.state().sealed:
            return False
        return self.node.serves()

    def _late(self, by_itself: str) -> KeyturnError:
        address = self.node.address
        if by_itself and self.node.state().sealed:
            return Sealed(
                f"url: {address} unseals itself by {by_itself} and has not done so: there is nothing to do with shares (recovery "
                f"shares open no seal). See in its log why it does not reach {by_itself}, or may not use it"
            )
        return Unreachable(
            f"url: {address} is unsealed, and does not serve yet. A cluster needs more than half of its nodes: unseal the others, "
            "and see its log. Or raise 'wait'"
        )

    def told(self) -> Dict[str, Any]:
        """For the result."""
        state = self.before
        if state is None:
            return {"url": self.node.address, "changed": False}
        return {
            "url": self.node.address,
            "changed": self.changed,
            "sealed_before": state.sealed,
            "progress_before": str(state),
            "threshold": state.threshold,
            "shares": state.total,
            "seal_type": state.kind,
            "version": state.version,
        }


def _trouble(step: Callable[[], None]) -> List[KeyturnError]:
    try:
        step()
    except KeyturnError as error:
        return [error]
    return []


def _attempted(jobs: List[_Job], wait: float) -> List[KeyturnError]:
    """All that is in the way: one node that is down does not keep the others sealed."""
    found = {id(job): _trouble(job.unseal) for job in jobs}
    until = time.monotonic() + wait
    for job in jobs:
        found[id(job)] = found[id(job)] or _trouble(partial(job.wait, until))
    return [error for errors in found.values() for error in errors]


def _diff(jobs: List[_Job]) -> Dict[str, Any]:
    def line(job: _Job, changed: bool) -> str:
        is_open = changed or (job.before is not None and not job.before.sealed)
        return f"{job.node.address}: {'unsealed' if is_open else 'sealed'}\n"

    return {
        "before_header": "seal",
        "after_header": "seal",
        "before": "".join(line(job, False) for job in jobs),
        "after": "".join(line(job, job.changed) for job in jobs),
    }


def run(params: Params, context: Context) -> Result:
    """Unseal the nodes that are sealed.

    :raises KeyturnError: of the first node that could not be; ``details["nodes"]`` tells of all.
    """
    wait = parse_duration(params["wait"], "wait").total_seconds()
    shares = Shares(params["shares"], bool(params["shares_together"]), context)
    reaching = anonymous(params, context)
    urls = list(dict.fromkeys(params["url"] or [""]))
    jobs = [_Job(Node(url, reaching), params, shares, context) for url in urls]
    errors = _attempted(jobs, wait)
    result: Result = {
        "changed": any(job.changed for job in jobs),
        "nodes": [job.told() for job in jobs],
    }
    if context.diff:
        result["diff"] = _diff(jobs)
    if errors:
        first = errors[0]
        raise type(first)(
            "; ".join(error.message for error in errors), **{**first.details, **result}
        )
    return result


SPEC: Mapping[str, Any] = {
    **{name: VAULT_OPTIONS[name] for name in _REACHING},
    "url": {"type": "list", "elements": "str"},
    # Only references are taken. One that holds a value all the same is refused, and is not to be shown either.
    "shares": {"type": "list", "elements": "str", "required": True, "no_log": True},
    "shares_together": {"type": "bool", "default": False, "no_log": False},
    "reset": {"type": "bool", "default": False},
    "wait": {"type": "str", "default": "30s"},
}
MODULE = ModuleCore("vault_unseal", SPEC, run)
