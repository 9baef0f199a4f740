# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an answer has the shape of one of Kubernetes's, as far as it is read here; what has not comes from something else."""

from __future__ import annotations

from typing import Any

_MARKS = ("labels", "annotations")
_TEXTS = ("name", "uid", "resourceVersion")
_LISTS = ("ownerReferences", "managedFields")


def _are_texts(value: Any) -> bool:
    """Texts by their names, or nothing at all; a text may be left out."""
    return value is None or (
        isinstance(value, dict)
        and all(text is None or isinstance(text, str) for text in value.values())
    )


def _are_objects(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(item, dict) for item in value)
    )


def _is_owned(entry: Any) -> bool:
    """What a manager says of the fields that are its own."""
    fields = entry.get("fieldsV1") or {}
    return isinstance(fields, dict) and isinstance(fields.get("f:data") or {}, dict)


def _is_metadata(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and all(_are_texts(value.get(name)) for name in _MARKS)
        and _are_texts({name: value.get(name) for name in _TEXTS})
        and all(_are_objects(value.get(name)) for name in _LISTS)
        and all(_is_owned(entry) for entry in value.get("managedFields") or ())
    )


def is_object(body: Any) -> bool:
    """Whether this can be an object of Kubernetes, or a list of them."""
    if not isinstance(body, dict):
        return False
    named = all(body.get(name) and isinstance(body[name], str) for name in ("kind", "apiVersion"))
    data = all(_are_texts(body.get(name)) for name in ("data", "binaryData"))
    return named and data and _is_metadata(body.get("metadata")) and _are_objects(body.get("items"))


def is_status(body: Any) -> bool:
    """Whether this is what Kubernetes itself says of an error, and no page of something in between."""
    if not isinstance(body, dict) or body.get("kind") != "Status":
        return False
    details = body.get("details") or {}
    return isinstance(details, dict) and isinstance(details.get("kind") or "", str)
