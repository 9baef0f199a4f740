# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The definition of one consumer, read and checked. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._log_look import check_log
from ansible_collections.keyturn.runbooks.plugins.module_utils._program import read_argv, read_codes
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

COMMON = ("type", "name", "host", "reads", "after", "barrier", "timeout")
SEEN = ("prepare", "seen", "settle")
RENDERED = (
    "pairs", "unmarked", "watch_marks", "names", "skip", "recursive", "others", "read_from", "wait", "dialect", "mode", "owner", "group",
    "backup", "backup_keep", "backup_count",
)  # fmt: skip
"""What the module ``env_render`` calls alike."""

KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pgbouncer": ("userlist", "auth", "admin", "port", "login", "headroom"),
        "systemd": ("unit", "action", "inactive", "active", "log", *SEEN),
        "container": ("containers", "engine", "inactive", *SEEN),
        "compose": (
            "service",
            "project",
            "project_dir",
            "files",
            "compose_command",
            "engine",
            "action",
            "inactive",
            *SEEN,
        ),
        "command": ("argv", "chdir", "environment", "success", "prepare", "seen"),
        "deploy": (
            "path",
            "env_file",
            "services",
            "url",
            "status",
            "ca_path",
            "validate_certs",
            "project",
            "project_dir",
            "files",
            "compose_command",
            "engine",
            "inactive",
            *RENDERED,
            *SEEN,
        ),
        "none": (),
    }
)
"""The keys of each type beside the common ones. A further type is added here and in ``_open``."""

NEEDED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pgbouncer": (),
        "systemd": ("unit",),
        "container": ("containers",),
        "compose": ("service",),
        "command": ("argv",),
        "deploy": ("path", "env_file", "services"),
        "none": (),
    }
)
ACTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"systemd": ("auto", "reload", "restart"), "compose": ("recreate", "restart")}
)
CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "auth": ("userlist", "auth_query"),
        "headroom": ("refuse", "warn", "skip"),
        "active": ("proceed", "refuse"),
        "engine": ("podman", "docker"),
    }
)
INACTIVE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "systemd": ("refuse", "warn", "skip", "start"),
        "deploy": ("start", "refuse", "warn"),
    }
)
_STOPPED = ("refuse", "warn")
_LISTS = ("containers", "files", "compose_command", "services")
_GLOB = "*?[]"


@dataclass(frozen=True)
class Consumer:
    """One consumer.

    :param name: its given name, or one made from what it is; receipts are kept under it.
    :param host: the inventory host that it runs on; empty for the controller.
    :param reads: names of sinks and groups; none for all of them.
    :param after: names of consumers that must have picked up the value first.
    :param barrier: consumers with the same one are told together: see ``_together``.
    :param definition: as its user wrote it.
    """

    name: str
    type: str
    host: str = ""
    reads: tuple[str, ...] | None = None
    after: tuple[str, ...] = ()
    barrier: str = ""
    definition: Mapping[str, Any] = field(default_factory=dict)


def _names(definition: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = definition.get(key)
    items = [value] if isinstance(value, str) else value
    if items is None:
        return ()
    if not isinstance(items, (list, tuple)) or not all(isinstance(it, str) and it for it in items):
        raise BadInput(f"{where}: '{key}' must be a list of names")
    if len(set(items)) < len(items):
        raise BadInput(f"{where}: '{key}' names something twice")
    return tuple(items)


def _text(definition: Mapping[str, Any], key: str, where: str) -> str:
    value = definition.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or not value:
        raise BadInput(f"{where}: '{key}' must be a text that is not empty")
    return value


def unit_name(text: str, where: str) -> str:
    """A unit's full name.

    :raises BadInput: for a pattern, which may stand for several units.
    """
    if any(mark in text for mark in _GLOB) or text.startswith("-") or "/" in text:
        raise BadInput(f"{where}: '{text}' is no name of one unit, such as musehub.service")
    return text if "." in text else f"{text}.service"


def _service(definition: Mapping[str, Any], where: str) -> str:
    service, project = (_text(definition, key, where) for key in ("service", "project"))
    return f"{project}.{service}" if project else service


def _command_name(definition: Mapping[str, Any], where: str) -> str:
    # The words themselves may be long, and are nobody's business in a keyring.
    argv = read_argv(definition.get("argv"), f"{where}: argv")
    digest = hashlib.sha256("\0".join(argv).encode()).hexdigest()[:8]
    return f"{argv[0].rpartition('/')[2]}-{digest}"


_WHAT: Mapping[str, Callable[[Mapping[str, Any], str], str]] = MappingProxyType(
    {
        "pgbouncer": lambda given, where: _text(given, "userlist", where) or "auth_query",
        "systemd": lambda given, where: unit_name(_text(given, "unit", where), where),
        "container": lambda given, where: "+".join(_names(given, "containers", where)),
        "compose": _service,
        "command": _command_name,
        "deploy": lambda given, where: _text(given, "path", where).strip("/"),
        "none": lambda given, where: "none",
    }
)
"""What makes a consumer without a name of its own recognisable, by type."""


def _derived(definition: Mapping[str, Any], kind: str, host: str, where: str) -> str:
    return f"{host or 'localhost'}/{kind}/{_WHAT[kind](definition, where)}"


def _check_values(definition: Mapping[str, Any], kind: str, where: str) -> None:
    of_type = {"action": ACTIONS.get(kind, ()), "inactive": INACTIVE.get(kind, _STOPPED)}
    for key, allowed in {**CHOICES, **of_type}.items():
        if key in definition and definition[key] not in allowed:
            raise BadInput(f"{where}: '{key}' must be one of {', '.join(allowed)}")
    for key in ("timeout", "settle"):
        if key in definition:
            parse_duration(definition[key], f"{where}: {key}")
    for key in ("argv", "prepare", "seen"):
        if key in definition:
            read_argv(definition[key], f"{where}: {key}")
    if "success" in definition:
        read_codes(definition["success"], f"{where}: success")
    for key in _LISTS:
        _names(definition, key, where)
    _check_unit(definition, where)
    _check_environment(definition.get("environment") or {}, where)
    if kind == "deploy":
        # Imported where it is used: Ansible compiles each module of a collection anew in every run.
        from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._deploy_known import (
            check_deploy,
        )

        check_deploy(definition, where)


def _check_unit(definition: Mapping[str, Any], where: str) -> None:
    if "log" in definition:
        check_log(definition["log"], f"{where}: log")
    if definition.get("active") == "refuse" and definition.get("inactive", "refuse") == "refuse":
        raise BadInput(
            f"{where}: with 'active: refuse', a unit is told only while it does not run; say 'inactive: skip' (it reads the value "
            "when it starts) or 'inactive: start'"
        )


def _check_environment(environment: Any, where: str) -> None:
    if not isinstance(environment, Mapping):
        raise BadInput(f"{where}: 'environment' must map names to texts")
    for name, value in environment.items():
        if str(value).startswith(("ref+", "secretref+", "keyring#")):
            raise BadInput(
                f"{where}: environment variable '{name}' is a reference, which is not resolved "
                "here; let the command read a sink"
            )


def clean(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition without the keys that were left out."""
    return {str(key): value for key, value in definition.items() if value is not None}


def parse_consumer(given: Any, where: str) -> Consumer:
    """Read one consumer.

    :param where: how messages name it.
    :raises BadInput: naming what is wrong.
    """
    if not isinstance(given, Mapping):
        raise BadInput(f"{where}: expected a mapping with 'type'")
    definition = clean(given)
    kind = str(definition.get("type"))
    if kind not in KEYS:
        raise BadInput(f"{where}: 'type' must be one of {', '.join(KEYS)}")
    known = (*COMMON, *KEYS[kind])
    strange = sorted(key for key in definition if key not in known)
    if strange:
        told = f"unknown key {', '.join(map(repr, strange))} for type {kind}"
        raise BadInput(f"{where}: {told}; expected some of {', '.join(known)}")
    missing = [key for key in NEEDED[kind] if not definition.get(key)]
    if missing:
        raise BadInput(f"{where}: '{missing[0]}' is missing; type {kind} needs it")
    _check_values(definition, kind, where)
    host = _text(definition, "host", where)
    return Consumer(
        name=_text(definition, "name", where) or _derived(definition, kind, host, where),
        type=kind,
        host=host,
        reads=_names(definition, "reads", where) if "reads" in definition else None,
        after=_names(definition, "after", where),
        barrier=_text(definition, "barrier", where),
        definition=definition,
    )


def parse_consumers(
    definitions: Sequence[Any], option: str = "keyturn_consumers"
) -> tuple[Consumer, ...]:
    """Read a credential's consumers.

    :param option: how messages name the list.
    :raises BadInput: for a definition that cannot be meant, or a name that is there twice.
    """
    found = [parse_consumer(it, f"{option}[{index}]") for index, it in enumerate(definitions)]
    names = [consumer.name for consumer in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"{option}: two consumers are '{twice}'; give each its own 'name'")
    return tuple(found)
