# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What references read from: files, environment variables, Vault. AWS and Kubernetes have modules of their own beside this.

A source gives a text, or a mapping of keys (which may hold mappings again). Where a key of a text is asked for, the text is
read as JSON or YAML; that of a file as ``?format=`` or the file's suffix says:

* ``json`` (``.json``) and ``yaml`` (``.yaml``, ``.yml``, and whatever has no known suffix, as vals does). Scalars are taken
  as they are written: ``0123``, ``yes`` and ``1.10`` stay these texts.
* ``env`` (``.env``, ``.env.*``): assignments as systemd, docker compose and shells agree on; a line on which they differ is
  refused.
* ``text``: one value; the one line break at its end, which editors put there, is not part of it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Callable, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._ansible_vault import (
    AnsibleVault,
    is_encrypted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    KeyturnError,
    MissingLibrary,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import read_with_mode
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_text import (
    parse as parse_env,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_text import (
    values as env_values,
)

try:
    import yaml

    HAS_YAML = True
except ImportError:
    HAS_YAML = False


def _from_json(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        raise Corrupt(
            f"{where}: no JSON: the mistake is at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise Corrupt(f"{where}: nested too deep") from None


def _from_yaml(text: str, where: str) -> Any:
    if not HAS_YAML:
        raise MissingLibrary(
            f"{where}: reading YAML needs the Python library PyYAML where this task runs; install it, or use JSON"
        )
    try:
        # The base loader makes texts, lists and mappings and nothing else.
        return yaml.BaseLoader(text).get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = (
            f": the mistake is at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        )
        raise Corrupt(f"{where}: no YAML{place}") from None
    except RecursionError:
        raise Corrupt(f"{where}: nested too deep") from None


def _from_env(text: str, where: str) -> Any:
    found = env_values(parse_env(text))
    return {
        key: _ambiguous(f"{where}, {key}") if value is None else value
        for key, value in found.items()
    }


def _ambiguous(where: str) -> Unusable:
    return Unusable(
        BadInput(
            f"{where}: systemd, docker compose and shells read this line differently; put the value in double quotes"
        )
    )


class Unusable:
    """A value that cannot be used, among others that can: an error only when it is asked for."""

    def __init__(self, error: KeyturnError) -> None:
        self._error = error

    def refuse(self) -> None:
        """:raises KeyturnError: always; what is wrong with it."""
        raise self._error


def read_keys(text: str, where: str) -> Any:
    """What a text holds that is JSON or YAML.

    :raises Corrupt: when it is neither.
    :raises MissingLibrary: for YAML without PyYAML.
    """
    if text.lstrip().startswith(("{", "[")):
        # Else PyYAML would take JSON's pairs of escapes (an emoji) apart. What is no JSON may be YAML's own short form.
        with suppress(Corrupt):
            return _from_json(text, where)
    return _from_yaml(text, where)


FORMATS: Mapping[str, Callable[[str, str], Any]] = MappingProxyType(
    {"env": _from_env, "json": _from_json, "yaml": _from_yaml}
)
_SUFFIXES = MappingProxyType({".json": "json", ".yaml": "yaml", ".yml": "yaml", ".env": "env"})


def _format(reference: Reference, option: str, structured: bool) -> str:
    asked = reference.params.get("format")
    if asked is not None and asked not in (*FORMATS, "text"):
        raise BadInput(
            f"{option}: {reference.place}: 'format' must be one of {', '.join(sorted(FORMATS))}, text"
        )
    if not structured:
        return "text"
    name = os.path.basename(reference.path)
    guessed = (
        "env"
        if name.startswith(".env")
        else _SUFFIXES.get(os.path.splitext(name)[1].lower(), "yaml")
    )
    return asked or guessed


def decode(data: bytes, where: str) -> str:
    """:raises Corrupt: for bytes that are no text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Corrupt(f"{where}: no UTF-8 text; keep binary values in base64") from None


def load_file(reference: Reference, context: Context, option: str, structured: bool) -> Any:
    """The content of a file; one in ansible-vault's format is decrypted.

    A file that others than its owner may read is used, with a warning that names its mode: refusing it would stop a rotation
    for what ``chmod`` mends, and the value is known to the others already.
    """
    where = f"{option}: {reference.place}"
    path = os.path.expanduser(reference.path)
    kind = _format(reference, option, structured)
    found = read_with_mode(path, option)
    if found is None:
        raise Absent(
            f"{where}: there is no file {path}; correct the path, or make the file on the machine where this task runs"
        )
    data, mode = found
    if is_encrypted(data):
        data = AnsibleVault(reference, context, option).decrypt(data)
    elif "encrypt" in reference.params:
        raise BadInput(
            f"{where}: {path} is not encrypted; encrypt it with 'ansible-vault encrypt', or leave out 'encrypt'"
        )
    elif mode & 0o077:
        context.warn(
            f"{option}: the secrets file {path} has mode {mode:04o}; only its owner should read it: chmod 600 {path}"
        )
    text = decode(data, where)
    return _one_line_break_less(text) if kind == "text" else FORMATS[kind](text, where)


def _one_line_break_less(text: str) -> str:
    if text.endswith("\r\n"):
        return text[:-2]
    return text[:-1] if text.endswith("\n") else text


def load_environment(reference: Reference, context: Context, option: str, structured: bool) -> Any:
    """The value of an environment variable of the task."""
    name = reference.path.lstrip("$").strip("{}")
    where = f"{option}: {reference.place}"
    text = context.environ.get(name)
    if not text:
        state = "is not set" if text is None else "is empty"
        raise Absent(f"{where}: the environment variable {name} {state} where this task runs")
    return read_keys(text, where) if structured else text


def wanted_version(reference: Reference, option: str) -> str:
    """The number in ``?version=``, or empty.

    :raises BadInput: when it is no number.
    """
    wanted = reference.params.get("version")
    number = wanted is not None and wanted.isascii() and wanted.isdecimal()
    if wanted is not None and not (number and int(wanted) > 0):
        raise BadInput(f"{option}: {reference.place}: 'version' must be a number from 1 on")
    return wanted or ""


def load_vault(reference: Reference, context: Context, option: str, structured: bool) -> Any:
    """The keys of a secret in Vault, of its newest version or of ``?version=``."""
    from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv import open_kv

    wanted = wanted_version(reference, option)
    secret = open_kv(reference, context, option)
    found = secret.read(int(wanted) if wanted else None)
    if found.data is not None:
        return found.data
    version = f"version {wanted or found.version} of " if wanted or found.version else ""
    if found.gone == "deleted":
        raise Absent(
            f"{option}: {version}{secret.place} was deleted; 'vault kv undelete' brings it back"
        )
    if found.gone:
        raise Absent(f"{option}: {version}{secret.place} was destroyed; nothing brings it back")
    raise Absent(f"{option}: there is no {version}{secret.place}")
