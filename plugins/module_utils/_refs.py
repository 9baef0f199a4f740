# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From references to values, in the process that needs the value and nowhere else. The grammar is in ``_reference``."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Sequence, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent, BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._ref_sources import (
    Unusable,
    load_environment,
    load_file,
    load_vault,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    KEYRING,
    Reference,
    looks_like_reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

Source = Callable[[Reference, Context, str, bool], Any]


def _load_secret(reference: Reference, context: Context, option: str, structured: bool) -> Any:
    # These are imported where they are used: Ansible compiles each module of a collection anew in every run.
    from ansible_collections.keyturn.runbooks.plugins.module_utils._ref_aws import load_secret

    return load_secret(reference, context, option, structured)


def _load_parameter(reference: Reference, context: Context, option: str, structured: bool) -> Any:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._ref_aws import load_parameter

    return load_parameter(reference, context, option, structured)


def _load_object(reference: Reference, context: Context, option: str, structured: bool) -> Any:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._ref_k8s import load_object

    return load_object(reference, context, option, structured)


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "awssecrets": _load_secret,
        "awsssm": _load_parameter,
        "envsubst": load_environment,
        "file": load_file,
        "k8s": _load_object,
        "vault": load_vault,
    }
)
"""Every place that values can be read from, by scheme. Called with whether keys are wanted and not one text."""

_SHOWN_KEYS = 20


def _listed(names: Iterable[object]) -> str:
    """Names of keys for a message."""
    shown = sorted(str(name) for name in names)
    more = f" and {len(shown) - _SHOWN_KEYS} more" if len(shown) > _SHOWN_KEYS else ""
    return ", ".join(shown[:_SHOWN_KEYS]) + more or "none"


def _load(reference: Reference, context: Context, option: str, structured: bool) -> Any:
    value = SOURCES[reference.scheme](reference, context, option, structured)
    return _dig(value, reference, option)


def _dig(value: Any, reference: Reference, option: str) -> Any:
    """Follow the fragment."""
    passed = ""
    for key in reference.fragment:
        where = f"{option}: {reference.place}#{passed or '/'}"
        if isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, dict):
            raise Absent(f"{where}: there is no key '{key}'; keys there: {_listed(value)}")
        elif isinstance(value, list):
            raise Absent(
                f"{where}: there is no item '{key}' in this list of {len(value)}, counted from 0"
            )
        else:
            raise BadInput(
                f"{where}: this is one value and has no key '{key}'; shorten the reference"
            )
        passed += f"/{key}"
    return value


def _to_secret(value: Any, where: str) -> Secret:
    if isinstance(value, Unusable):
        value.refuse()
    if isinstance(value, dict):
        raise BadInput(
            f"{where}: a single value is needed and this is a mapping; add one of its keys to the reference: {_listed(value)}"
        )
    if isinstance(value, list):
        raise BadInput(
            f"{where}: a single value is needed and this is a list of {len(value)}; add an item's number to the reference"
        )
    if value is None:
        raise BadInput(f"{where}: the value is null; set it, or name another key")
    if isinstance(value, bool):
        return Secret("true" if value else "false")
    return Secret(str(value))


def _from_keyring(reference: Reference, document: Optional[Document], option: str) -> Secret:
    name, key = reference.fragment
    if document is None:
        raise Absent(
            f"{option}: {reference.text}: there is no keyring here; name it in keyturn_keyring, and rotate or adopt first"
        )
    stage = document.stage(name)
    if stage is None:
        raise Absent(
            f"{option}: {reference.text}: the keyring of {document.credential} has no {name} stage now"
        )
    if key not in stage.fields:
        raise Absent(
            f"{option}: {reference.text}: the {name} stage has no field '{key}'; it has {_listed(stage.fields)}"
        )
    value = stage.fields[key]
    return value if isinstance(value, Secret) else Secret(value)


def _parsed(reference: Union[str, Reference], option: str) -> Reference:
    return reference if isinstance(reference, Reference) else parse_reference(reference, option)


def resolve(
    reference: Union[str, Reference],
    context: Context,
    option: str,
    document: Optional[Document] = None,
) -> Secret:
    """The one value that a reference names.

    :param option: the option or variable that it came in, for messages.
    :param document: the credential's keyring, for ``keyring#`` references.
    :raises BadInput: for a wrong reference, or one that names a mapping.
    :raises Absent, Denied, Sealed, Unreachable: each says which.
    :raises Corrupt, MissingLibrary: for content that cannot be read, or not here.
    """
    parsed = _parsed(reference, option)
    if parsed.scheme == KEYRING:
        return _from_keyring(parsed, document, option)
    value = _load(parsed, context, option, structured=bool(parsed.fragment))
    return _to_secret(value, f"{option}: {parsed.text}")


def resolve_mapping(
    value: Union[str, Reference, Mapping[str, Any]],
    context: Context,
    option: str,
    required: Sequence[str] = (),
) -> Dict[str, Secret]:
    """The keys and values that a reference names, such as an administrator's ``username`` and ``password``.

    :param value: a reference to a mapping; or a mapping itself, whose values are references or plain.
    :param required: keys that must be there.
    :raises BadInput: when it is one value and no mapping, or holds something else than single values.
    :raises Absent: when it, or a required key, is not there.
    :raises Denied, Sealed, Unreachable, Corrupt, MissingLibrary: as :func:`resolve`.
    """
    if isinstance(value, Mapping):
        found = {
            key: _resolve_item(item, context, f"{option}.{key}") for key, item in value.items()
        }
        where = option
    else:
        parsed = _parsed(value, option)
        where = f"{option}: {parsed.text}"
        content = (
            None if parsed.scheme == KEYRING else _load(parsed, context, option, structured=True)
        )
        if not isinstance(content, dict):
            wanted = f"the keys {', '.join(required)}" if required else "keys and values"
            raise BadInput(
                f"{where}: a mapping with {wanted} is needed and this is a single value; keep them together in one place"
            )
        found = {str(key): _to_secret(item, f"{where}, {key}") for key, item in content.items()}
    missing = [key for key in required if key not in found]
    if missing:
        raise Absent(
            f"{where}: there is no key '{missing[0]}'; needed: {', '.join(required)}; there: {_listed(found)}"
        )
    return found


def _resolve_item(item: Any, context: Context, option: str) -> Secret:
    return (
        resolve(item, context, option) if looks_like_reference(item) else _to_secret(item, option)
    )


__all__ = [
    "SOURCES",
    "Reference",
    "Source",
    "looks_like_reference",
    "parse_reference",
    "resolve",
    "resolve_mapping",
]
