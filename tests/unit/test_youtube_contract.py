# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fake of YouTube's API takes and gives, held against the vendor's own description of the API.

The fake carries a description of its own, ``youtube_contract``: every request of the issuer and every reply of the fake is held
against it in each run. The vendor's document is not part of this project. To compare the two, put it into a folder and name that::

    KEYTURN_PROVIDER_SPECS=FOLDER pytest tests/unit/test_youtube_contract.py

The document is ``youtube.discovery.json``: what https://youtube.googleapis.com/$discovery/rest?version=v3 answers, or a part of it
with the resources liveStreams and liveBroadcasts and their schemas. Do so whenever ``youtube_contract`` changes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import youtube_contract
from youtube_contract import FLAG, OPERATIONS, TEXT, Operation, misfits

FOLDER = "KEYTURN_PROVIDER_SPECS"


@pytest.fixture(scope="module")
def vendor() -> Any:
    """The vendor's document."""
    folder = os.environ.get(FOLDER)
    if not folder:
        pytest.skip(
            f"{FOLDER} names no folder with youtube.discovery.json; see the top of this file"
        )
    return json.loads((Path(folder) / "youtube.discovery.json").read_text("utf-8"))


def _method(vendor: Any, operation: Operation) -> Any:
    _service, resource, name = operation.vendor.split(".")
    return vendor["resources"][resource]["methods"][name]


def _unlike(vendor: Any, shape: Any, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    """Where a shape of ours is not what a schema of the vendor allows."""
    schema = vendor["schemas"][schema["$ref"]] if "$ref" in schema else schema
    if isinstance(shape, tuple):
        if not set(shape) <= set(schema.get("enum", ())):
            yield f"{at}: other values than {schema.get('enum')}"
    elif isinstance(shape, str):
        if schema.get("type") != {TEXT: "string", FLAG: "boolean"}[shape]:
            yield f"{at}: is {schema.get('type')}"
    elif isinstance(shape, list):
        yield from _unlike(vendor, shape[0], schema.get("items", {}), f"{at}[]")
    else:
        known = schema.get("properties", {})
        yield from (f"{at}.{name}: not there" for name in shape if name not in known)
        for name in shape:
            yield from _unlike(vendor, shape[name], known.get(name, {}), f"{at}.{name}")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.vendor)
def test_each_call_is_what_the_vendor_describes(vendor: Any, operation: Operation) -> None:
    method = _method(vendor, operation)
    assert (operation.method, operation.path) == (method["httpMethod"], f"/{method['path']}")
    assert operation.scopes == set(method["scopes"])
    known = method["parameters"]
    assert all(known[name]["location"] == "query" for name in operation.query)
    required = {name for name, item in known.items() if item.get("required")}
    assert set(operation.required) == required
    for name, choices in operation.query.items():
        assert set(choices) <= set(known[name].get("enum", choices))
    for shape, key in ((operation.body, "request"), (operation.reply, "response")):
        assert (shape is None) == (key not in method)
        assert not list(_unlike(vendor, shape or {}, method.get(key, {}), key))


def test_what_must_be_sent_is_sent(vendor: Any) -> None:
    """The vendor marks ``cdn.format`` as needed, too, and as outdated: resolution and frame rate took its place."""
    (insert,) = [item for item in OPERATIONS if item.vendor.endswith("insert")]
    for section, name in (("snippet", "LiveStreamSnippet"), ("cdn", "CdnSettings")):
        properties = vendor["schemas"][name]["properties"]
        needed = {
            f"{section}.{key}"
            for key, item in properties.items()
            if insert.vendor in item.get("annotations", {}).get("required", ())
            and not item.get("deprecated")
        }
        assert needed <= set(insert.must)


def test_the_description_tells_what_does_not_fit() -> None:
    assert not misfits({"id": "x", "cdn": {"frameRate": "30fps"}}, youtube_contract.STREAM)
    wrong = {"id": 1, "cdn": {"frameRate": "31fps"}, "key": "x", "contentDetails": []}
    assert misfits(wrong, youtube_contract.STREAM, "stream") == [
        "stream.key: not described",
        "stream.id: no string",
        "stream.cdn.frameRate: none of the known values",
        "stream.contentDetails: no mapping",
    ]
