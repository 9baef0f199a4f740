# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kubeconfig that a task itself holds, as kubernetes.core takes it: a mapping, or here a reference to its text. It holds credentials."""

from __future__ import annotations

import json
import os
import re
from typing import Any, FrozenSet, Iterator, Mapping, Optional, Tuple
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    MissingLibrary,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

OPTION = "kubeconfig"

_NAMES = frozenset(
    {"apiVersion", "cluster", "current-context", "kind", "name", "namespace", "user"}
)
"""The keys of a kubeconfig whose texts are names: as parts of other words they are to stay readable."""

_OPAQUE = frozenset({"config", "extension", "extensions"})
"""Below these, programs keep what is their own."""

_LONGEST_NAME = 253
_LONGEST_PART = 255
_NO_PATH = frozenset('\n{}"=')


def _is_file(given: Any) -> bool:
    """Whether this is meant as files."""
    if not isinstance(given, str) or looks_like_reference(given):
        return False
    return "\n" not in given and not given.lstrip().startswith("{")


def is_path(text: str) -> bool:
    """Whether a text is surely a path, or several with ``:`` between: what stands in the place of one may be a token, or a whole
    kubeconfig in base64."""
    return all(
        part.startswith(("/", "~", "./", "../"))
        and not _NO_PATH & set(part)
        and all(len(name) <= _LONGEST_PART for name in part.split("/"))
        and len(part) <= _LONGEST_PART
        for part in text.split(os.pathsep)
    )


def named_path(text: str) -> str:
    """A path for a message; what is none is not shown."""
    return text if is_path(text) else "(not shown, because it is no absolute path)"


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return "@" not in parts.netloc and not parts.query and not parts.fragment


def _may_show(name: Any, text: str) -> bool:
    if name == "server":
        return _is_address(text)
    return name in _NAMES and len(text) <= _LONGEST_NAME and not re.search(r"\s", text)


def inline_kubeconfig(given: Any, context: Context) -> Optional[Secret]:
    """The kubeconfig that an option holds or refers to, as JSON; none where it names files, or nothing.

    :raises BadInput: when it is no mapping; nothing of it is in the message.
    :raises Denied: when there is nothing at the reference: without credentials nothing can be said of the Secret.
    :raises MissingLibrary: for a text, without PyYAML.
    """
    if not given or _is_file(given):
        return None
    if isinstance(given, str):
        given = _parsed(_text(given, context))
    if not isinstance(given, Mapping):
        raise BadInput(
            f"{OPTION}: expected the path of a kubeconfig, its content as a mapping, or a reference to its text; see what "
            "'kubectl config view --raw' gives"
        )
    return Secret(json.dumps(given, default=str, skipkeys=True))


def _text(given: str, context: Context) -> str:
    if not looks_like_reference(given):
        return given
    try:
        return resolve(given, context, OPTION).reveal()
    except Absent as error:
        raise Denied(error.message) from None


def _parsed(text: str) -> Any:
    """A text as YAML, which JSON is, too; none when it is neither."""
    try:
        import yaml
    except ImportError:
        raise MissingLibrary(
            f"{OPTION}: its text needs the Python library PyYAML where this task runs, which comes with that of Kubernetes; install it: "
            "pip install kubernetes"
        ) from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def _texts(given: Any, name: Any = None, opaque: bool = False) -> Iterator[Tuple[str, bool]]:
    """Each text with whether it may be shown.

    :param name: the key that it stands under.
    :param opaque: it stands below something that is a program's own.
    """
    if isinstance(given, Mapping):
        for inner, value in given.items():
            yield from _texts(value, inner, opaque or inner in _OPAQUE)
    elif isinstance(given, (list, tuple)):
        for item in given:
            yield from _texts(item, None, opaque)
    elif given is not None and not isinstance(given, bool):
        # A number, too: a password may be read as one.
        yield str(given), not opaque and _may_show(name, str(given))


def shown_of(given: Any, *secret: Any) -> FrozenSet[str]:
    """What may be shown of this option: a path, and names and addresses in a mapping that are no part of what is secret.

    :param secret: other options, no text of which is to be shown.
    """
    whole = isinstance(given, str)
    texts = [(given, _is_file(given) and is_path(given))] if whole else list(_texts(given))
    hidden = {text for text, public in texts if not public}
    hidden |= {text for text, _public in _texts(secret)}
    return frozenset(text for text, public in texts if public) - hidden
