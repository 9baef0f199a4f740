# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies of docs/stores.md, and an identity of a server that compares them with each request."""

from __future__ import annotations

import copy
import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions import (
    LEAVE,
    open_old_versions,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    parse_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    Outcome,
    Wanted,
    bring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._open import (
    Address,
    open_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_secret import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import Store, open_store
from aws_world import REGION, operation
from backends import Upstream
from estate.moto import MotoServer
from fault_proxy import FaultProxy

PAGE = Path(__file__).resolve().parents[2] / "docs" / "stores.md"
Policy = dict[str, Any]


def policies() -> dict[str, Policy]:
    """The policies of the page, by the bold words above each."""
    found = re.findall(
        r"^\*\*([^*\n]+)\*\*(?:(?!\*\*).)+?```json\n(.*?)```",
        PAGE.read_text("utf-8"),
        re.DOTALL | re.M,
    )
    return {name.rstrip("."): json.loads(text) for name, text in found}


def actions(policy: Policy) -> list[str]:
    """Everything that a policy allows."""
    return [action for statement in policy["Statement"] for action in statement["Action"]]


def without(policy: Policy, *left_out: str) -> Policy:
    """All of a policy but some actions or, by their names, some statements."""
    made = copy.deepcopy(policy)
    for statement in made["Statement"]:
        statement["Action"] = [name for name in statement["Action"] if name not in left_out]
    kept = [item for item in made["Statement"] if item["Action"] and item["Sid"] not in left_out]
    assert kept != policy["Statement"] or not left_out
    return {**made, "Statement": kept}


def alone(policy: Policy, *names: str) -> Policy:
    """Some statements of a policy."""
    kept = [item for item in policy["Statement"] if item["Sid"] in names]
    assert len(kept) == len(names)
    return {**policy, "Statement": kept}


class Identity:
    """A user of AWS, and the collection run as this user: with the rights that it has at the time, behind a proxy that counts.

    :ivar name: a name that nobody else uses.
    :ivar warnings: what was warned about.
    """

    def __init__(self, server: MotoServer) -> None:
        self.server = server
        self.name = ""
        self.warnings: list[str] = []
        self._sessions: dict[Any, Any] = {}
        self._user = f"user-{secrets.token_hex(5)}"
        iam = self.admin("iam")
        iam.create_user(UserName=self._user)
        key = iam.create_access_key(UserName=self._user)["AccessKey"]
        port = int(server.address.rpartition(":")[2])
        self.proxy = FaultProxy(Upstream("127.0.0.1", port), lambda *_request: False)
        self.environ = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.proxy.port}",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
            "KEYTURN_AWS_TIMEOUT": "5s",
        }
        self._iam = iam

    def admin(self, service: str) -> Any:
        """A client of somebody who may do everything, while rights are not compared."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.server.address,
            aws_access_key_id="test",
            aws_secret_access_key=secrets.token_hex(8),
        )

    def begin(self) -> None:
        """Go on with names that nobody used."""
        self.name = f"t{secrets.token_hex(5)}"
        self.warnings.clear()
        self.proxy.faults.clear()

    @contextmanager
    def may(self, policy: Policy) -> Iterator[None]:
        """Go on with these rights and no others."""
        self._iam.put_user_policy(
            UserName=self._user, PolicyName="p", PolicyDocument=json.dumps(policy)
        )
        self.proxy.asked.clear()
        self.server.check_rights(True)
        try:
            yield
        finally:
            self.server.check_rights(False)

    def asked(self) -> set[str]:
        """What was asked of AWS with these rights, by the names of the operations."""
        return {operation(asked) for asked in self.proxy.asked}

    @property
    def context(self) -> Context:
        """The surroundings of one call; clients are kept."""
        return Context(
            environ=dict(self.environ), warn=self.warnings.append, sessions=self._sessions
        )

    def admin_sees(self, look: Callable[[], Any]) -> Any:
        """What somebody sees who may do everything."""
        self.server.check_rights(False)
        try:
            return look()
        finally:
            self.server.check_rights(True)

    def ended(self, reference: str, history: str = LEAVE) -> tuple[str, ...]:
        """The older versions of a place that carried a value, and do no more."""
        place = open_old_versions(parse_reference(reference, "sink"), self.context, "sink", history)
        assert place
        seen = place.look(lambda text: text == "refused", False)
        if seen.carrying:
            place.end(seen, lambda: None)
        return seen.carrying

    def store(self, reference: str) -> Store:
        """A keyring's store."""
        return open_store(parse_reference(reference, "keyring"), self.context, "keyring")

    def bring(self, reference: str, value: str | None) -> Outcome:
        """Write a sink, or take it away, as ``publish`` does."""
        [sink] = parse_sinks([{"ref": reference, "template": "x"}])
        ref = sink.ref
        address = Address(ref.scheme, ref.path, ref.params, ref.place, "sink")
        place = open_place(address, sink.options, self.context)
        wanted = Wanted("sink", {"": None if value is None else Secret(value)})
        return bring(place, wanted, lambda: None, self.context)

    def value(self, reference: str) -> str:
        """What a reference resolves to."""
        return resolve(reference, self.context, "value").reveal()

    def task(self, **options: Any) -> dict[str, Any]:
        """One task of ``ssm_secret``."""
        defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
        return execute(MODULE, {**defaults, **options}, self.context)

    def close(self) -> None:
        """End the proxy, and the user."""
        self.proxy.close()
        self._iam.delete_user_policy(UserName=self._user, PolicyName="p")
