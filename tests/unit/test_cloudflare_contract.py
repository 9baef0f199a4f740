# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fake of Cloudflare's API takes and gives, held against the vendor's own description of the API.

The fake carries a description of its own, ``cloudflare_contract``: every request of the issuer and every reply of the fake is held
against it in each run. The vendor's document is not part of this project. To compare the two, put it into a folder and name that::

    KEYTURN_PROVIDER_SPECS=FOLDER pytest tests/unit/test_cloudflare_contract.py

The document is ``cloudflare.json``: https://github.com/cloudflare/api-schemas, openapi.json, or a part of it with the tokens of
accounts and users. Do so whenever ``cloudflare_contract`` or the issuer changes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cloudflare_contract
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import no_guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from cloudflare_api import CloudflareApi
from cloudflare_contract import (
    INFO,
    NUMBER,
    OPERATIONS,
    OWNERS,
    RESOURCES,
    TEXT,
    UNDESCRIBED,
    Operation,
    Whose,
    misfits,
)

FOLDER = "KEYTURN_PROVIDER_SPECS"
ID = "r20261122110000abcdef"
CALLS = [
    (whose, operation)
    for whose in OWNERS
    for operation in OPERATIONS
    if (whose.name, operation.vendor) not in UNDESCRIBED
]


@pytest.fixture(scope="module")
def vendor() -> Any:
    """The vendor's document."""
    folder = os.environ.get(FOLDER)
    if not folder:
        pytest.skip(f"{FOLDER} names no folder with cloudflare.json; see the top of this file")
    return json.loads((Path(folder) / "cloudflare.json").read_text("utf-8"))


def _schema(vendor: Any, schema: Any) -> Any:
    """A schema with what it refers to, and with what it is said to be in parts put together."""
    if "$ref" in schema:
        found = vendor
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return _schema(vendor, found)
    parts = [_schema(vendor, part) for part in schema.get("allOf", ())]
    own = {name: item for name, item in schema.items() if name != "allOf"}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part in (*parts, own):
        required += part.get("required", ())
        for name, item in part.get("properties", {}).items():
            known = properties.get(name)
            properties[name] = {"allOf": [known, item]} if known else item
    merged: dict[str, Any] = {}
    for part in (*parts, own):
        merged.update(part)
    return {**merged, "properties": properties, "required": required}


def _unlike(vendor: Any, shape: Any, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    """Where a shape of ours is not what a schema of the vendor allows."""
    schema = _schema(vendor, schema)
    if isinstance(shape, tuple):
        if not set(shape) <= set(schema.get("enum", ())):
            yield f"{at}: other values than {schema.get('enum')}"
    elif isinstance(shape, str):
        if schema.get("type") != {TEXT: "string", NUMBER: "number", RESOURCES: "object"}[shape]:
            yield f"{at}: is {schema.get('type')}"
    elif isinstance(shape, list):
        yield from _unlike(vendor, shape[0], schema.get("items", {}), f"{at}[]")
    else:
        known = schema["properties"]
        yield from (f"{at}.{name}: not there" for name in shape if name not in known)
        for name in shape:
            yield from _unlike(vendor, shape[name], known.get(name, {}), f"{at}.{name}")


def _described(vendor: Any, whose: Whose, operation: Operation) -> Any:
    return vendor["paths"][whose.path + operation.suffix][operation.method.lower()]


def _content(part: Any) -> Any:
    return part["content"]["application/json"].get("schema", {})


@pytest.mark.parametrize(
    ("whose", "operation"), CALLS, ids=lambda item: getattr(item, "vendor", "") or item.name
)
def test_each_call_is_what_the_vendor_describes(
    vendor: Any, whose: Whose, operation: Operation
) -> None:
    method = _described(vendor, whose, operation)
    assert method["operationId"] == whose.before + operation.vendor
    given = {f"{whose.rights}{right}" for right in operation.rights}
    assert given == set(method.get("x-api-token-group", ()))
    known = {item["name"] for item in method.get("parameters", ()) if item.get("in") == "query"}
    assert set(operation.query) <= known
    assert (operation.body is None) == ("requestBody" not in method)
    if operation.body is not None:
        schema = _schema(vendor, _content(method["requestBody"]))
        assert set(operation.must) == set(schema["required"])
        assert not list(_unlike(vendor, operation.body, schema, "request"))
    reply: dict[str, Any] = {"result": operation.result}
    if operation.pages:
        reply["result_info"] = INFO
    assert not list(_unlike(vendor, reply, _content(method["responses"]["200"]), "reply"))


def _plain(vendor: Any, schema: Any) -> Any:
    """A schema of OpenAPI 3.0 as one of JSON Schema, without what is only read: the vendor marks ids so that have to be sent."""
    if isinstance(schema, list):
        return [_plain(vendor, item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found = vendor
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return _plain(vendor, found)
    own = {
        name: _plain(vendor, item)
        for name, item in schema.items()
        if name not in ("nullable", "readOnly", "example")
    }
    return {"anyOf": [own, {"type": "null"}]} if schema.get("nullable") else own


@pytest.mark.parametrize("whose", OWNERS, ids=lambda whose: whose.name)
def test_what_the_issuer_asks_and_hears_is_what_the_vendor_describes(
    vendor: Any, whose: Whose, monkeypatch: pytest.MonkeyPatch
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    monkeypatch.setattr("ssl.SSLContext.set_default_verify_paths", lambda _context: None)
    with CloudflareApi(whose.name) as api:
        _all_calls(api, whose.name)
        assert not api.wrong
    described = {
        whose.before + item.vendor: _described(vendor, whose, item)
        for by, item in CALLS
        if by is whose
    }
    assert set(described) <= {name for name, _sent, _told in api.heard}
    for name, sent, told in api.heard:
        if name not in described:
            continue
        method = described[name]
        if "requestBody" in method:
            jsonschema.validate(sent, _plain(vendor, _content(method["requestBody"])))
        schema = _content(method["responses"]["200" if told["success"] else "4XX"])
        jsonschema.validate(told, _plain(vendor, schema))


def _all_calls(api: CloudflareApi, owner: str) -> None:
    """Everything that an issuer does with tokens."""
    login = {"token": "ref+envsubst://$TOKEN", "api": api.api}
    given = {"type": "cloudflare_r2", "account": api.account, "tokens": owner, "settle": "1s"}
    context = Context(environ={"TOKEN": api.login.value})
    source = api.add("by hand", owner)
    source.condition = {"request.ip": {"in": ["192.0.2.0/24"], "not_in": ["192.0.2.1/32"]}}
    source.used = "2026-11-22T10:00:00Z"
    empty = Document("r2", b"")
    for wish in (
        {"buckets": ["music"], "lifetime": "30d"},
        {"buckets": "all"},
        {"copy_from": source.id},
    ):
        issuer = open_issuer({**given, "login": login, **wish}, context)
        assert not issuer.check(empty, context)
        stage = Stage(ID, "intended", {})
        made = Stage(ID, "retiring", issuer.issue(stage, empty, context, no_guard))
        issuer.sessions(made, context)
        issuer.revoke(made, empty, context, no_guard)
        assert not issuer.revoke(made, empty, context, no_guard).changed


def test_the_description_tells_what_does_not_fit() -> None:
    shape = cloudflare_contract.SENT
    place = {"com.cloudflare.api.account.x": {"com.cloudflare.edge.r2.bucket.*": "*"}}
    policy = {"effect": "allow", "permission_groups": [{"id": "x"}], "resources": place}
    assert not misfits({"name": "x", "policies": [policy]}, shape)
    wrong = {**policy, "id": "x", "effect": "ask", "resources": {}, "permission_groups": {}}
    assert misfits({"name": 1, "policies": [wrong]}, shape, "sent") == [
        "sent.name: not as described",
        "sent.policies[].id: not described",
        "sent.policies[].effect: not as described",
        "sent.policies[].permission_groups: no list",
        "sent.policies[].resources: not as described",
    ]
