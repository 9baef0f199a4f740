# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A corner of moto of one's own, with a proxy before it where one is wanted, and the core of ``ssm_secret`` in this process."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import boto3
import fault_proxy as harm
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_secret import MODULE
from backends import Upstream
from estate.moto import MotoServer
from fault_proxy import Asked, Fault, FaultProxy

REGION = "eu-west-1"
WRITES = ("Put", "Create", "Update", "Delete", "Label", "AddTags")


def operation(asked: Asked) -> str:
    """What AWS calls the request."""
    return str(asked.headers.get("X-Amz-Target", "")).rpartition(".")[2]


def of(*names: str) -> Callable[[Asked], bool]:
    """Requests of these operations."""
    return lambda asked: operation(asked) in names


def naming(part: str, *names: str) -> Callable[[Asked], bool]:
    """Requests of these operations that name something."""
    return lambda asked: operation(asked) in names and part.encode() in asked.body


def told(code: str, status: int = 400, **headers: str) -> harm.Act:
    """An error as AWS tells it."""
    body = json.dumps({"__type": code, "message": "Rate exceeded or so"}).encode()
    return harm.said(status, body, **headers)


@lru_cache(maxsize=1)
def _identity() -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
    }


@lru_cache(maxsize=1)
def _sessions() -> dict[Any, Any]:
    """Clients, kept from one call to the next: to make one takes longer than to use it."""
    return {}


@lru_cache(maxsize=8)
def _api(address: str, service: str) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=address,
        aws_access_key_id="test",
        aws_secret_access_key=secrets.token_hex(8),
    )


class AwsWorld:
    """A prefix of its own for names, and an identity.

    :ivar api: boto3's client, past everything that is tested.
    """

    def __init__(self, server: MotoServer, service: str = "ssm") -> None:
        self.prefix = f"t{secrets.token_hex(5)}"
        self.server = server
        self.warnings: list[str] = []
        self.environ = {
            "AWS_ENDPOINT_URL": server.address,
            "AWS_REGION": REGION,
            **_identity(),
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
            "KEYTURN_AWS_TIMEOUT": "5s",
        }
        self.api = _api(server.address, service)

    def name(self, short: str) -> str:
        """A parameter of this world."""
        return f"/{self.prefix}/{short}"

    def context(self, **changes: Any) -> Context:
        """The surroundings of one call."""
        shared = {"sessions": _sessions(), "warn": self.warnings.append}
        return Context(environ=dict(self.environ), **shared, **changes)

    def run(self, *, check: bool = False, diff: bool = True, **options: Any) -> dict[str, Any]:
        """The module's core, as a task would call it."""
        validation = ArgumentSpecValidator(MODULE.argument_spec, **MODULE.constraints)
        found = validation.validate(options)
        assert not found.error_messages, found.error_messages
        context = self.context(check_mode=check, diff=diff)
        try:
            return MODULE.run(found.validated_parameters, context)
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        """Close what the call shared, as a task does, and keep it: a client of AWS connects anew when it is used again."""
        told: list[str] = []
        ended = Context(sessions=dict(_sessions()), warn=told.append)
        ended.close()
        assert not told, told
        assert not ended.sessions

    def bring(self, values: dict[str, str], **options: Any) -> dict[str, Any]:
        """Several parameters at once."""
        many = [{"name": self.name(key), "value": value} for key, value in values.items()]
        return self.run(parameters=many, **options)

    def put(self, short: str, value: str, **options: Any) -> int:
        """Write a parameter as somebody else would."""
        given = {"Type": "SecureString", "Overwrite": True, **options}
        return int(self.api.put_parameter(Name=self.name(short), Value=value, **given)["Version"])

    def held(self, short: str) -> tuple[str, int]:
        """Value and version of a parameter, read past everything."""
        found = self.api.get_parameter(Name=self.name(short), WithDecryption=True)["Parameter"]
        return found["Value"], found["Version"]

    def described(self, short: str) -> dict[str, Any]:
        """What a parameter has beside its value."""
        names = [{"Key": "Name", "Values": [self.name(short)]}]
        found = self.api.describe_parameters(ParameterFilters=names)["Parameters"]
        return dict(found[0])

    def labels(self, short: str) -> dict[int, list[str]]:
        """The labels by version."""
        pages = self.api.get_paginator("get_parameter_history").paginate(Name=self.name(short))
        return {
            item["Version"]: sorted(item["Labels"])
            for page in pages
            for item in page["Parameters"]
            if item.get("Labels")
        }

    @contextmanager
    def proxy(self) -> Iterator[FaultProxy]:
        """Go through a proxy meanwhile."""
        port = int(self.server.address.rpartition(":")[2])
        before = FaultProxy(Upstream("127.0.0.1", port), _writes)
        self.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{before.port}"
        try:
            yield before
        finally:
            self.environ["AWS_ENDPOINT_URL"] = self.server.address
            before.close()


def _writes(_method: str, _path: str, headers: dict[str, str]) -> bool:
    return headers.get("X-Amz-Target", "").rpartition(".")[2].startswith(WRITES)


def count(proxy: FaultProxy, *names: str) -> int:
    """How often these operations were asked for."""
    return sum(operation(asked) in names for asked in proxy.asked)


def harmed(act: harm.Act, names: Sequence[str], times: int | None = 1) -> Fault:
    """A fault of these operations."""
    return Fault(act, of(*names), times)
