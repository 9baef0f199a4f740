# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The definition of one sink, read and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    Reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._env_text import KEY
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._options import (
    FILE_ONLY,
    PATHS,
    WHOLES,
    Options,
    options_of,
    text_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._yaml_path import (
    path_parts,
    path_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._template import Template

_AWS = ("endpoint_url", "profile", "region", "role_arn")
PLACES: Mapping[str, Tuple[str, ...]] = MappingProxyType(
    {
        "awssecrets": (*_AWS, "kms_key_id", "version_stage"),
        "awsssm": (*_AWS, "kms_key_id", "mode"),
        "file": ("format",),
        "k8s": ("inCluster", "kubeConfigPath", "kubeContext"),
        "vault": ("address", "mount", "namespace", "token_env", "token_file"),
    }
)
"""The places that there are, with the parameters of their references. A further one is added here and in :mod:`_open`."""

_SHARED = ("host", "create", "absent")
_KEYS = ("name", "ref", "template", "fields", *_SHARED, *FILE_ONLY)
_GROUP_KEYS = ("name", "group", *_SHARED)
WHOLE = ""
"""The one field of a place that holds one text."""
_BREAK = re.compile(r"[\r\n]")


@dataclass(frozen=True)
class Sink:
    """One sink.

    :param host: the inventory host that it is written from; empty for the controller.
    :param templates: by field of the place; the one field of a text file has the empty name.
    :param group: the name of the group that it belongs to, or empty.
    :param absent: ``keep`` or ``remove`` a field when what its template names is not there.
    """

    name: str
    ref: Reference
    templates: Mapping[str, Template]
    host: str = ""
    group: str = ""
    absent: str = "keep"
    options: Options = field(default_factory=Options)

    @property
    def tells_only(self) -> bool:
        """Whether it holds facts of a rotation, such as its day, and nothing that anybody would log in with."""
        return all(template.tells_only for template in self.templates.values())

    @property
    def shows(self) -> Tuple[str, ...]:
        """The fields that hold a part of the credential, as opposed to facts of a rotation and texts that stay the same."""
        return tuple(
            name
            for name, template in self.templates.items()
            if template.placeholders and not template.tells_only
        )

    @property
    def only_adds(self) -> bool:
        """Whether it is a log, which nothing is read from."""
        return self.options.format == "log"

    @property
    def place(self) -> Tuple[str, ...]:
        """What is written by one call: sinks with the same place are written together."""
        params = sorted(f"{key}={value}" for key, value in self.ref.params.items())
        return (self.host, self.ref.scheme, self.ref.path, *params)


def _known_keys(definition: Mapping[str, Any], known: Tuple[str, ...], where: str) -> None:
    strange = sorted(str(key) for key in definition if key not in known)
    if strange:
        raise BadInput(
            f"{where}: unknown key {', '.join(map(repr, strange))}; expected some of {', '.join(known)}"
        )


def _one_template(
    definition: Mapping[str, Any], ref: Reference, form: str, where: str
) -> Dict[str, Any]:
    template = definition["template"]
    if form in WHOLES:
        if ref.fragment:
            what = "a log gets whole lines" if form == "log" else "a text file is written whole"
            raise BadInput(
                f"{where}: {what}; leave out #/{'/'.join(ref.fragment)}, or say format: env or json"
            )
        return {WHOLE: template}
    if form in PATHS and ref.fragment:
        return {path_text(ref.fragment): template}
    if len(ref.fragment) != 1:
        raise BadInput(
            f"{where}: 'template' writes one field: end the reference with #/NAME of that field, or use 'fields'"
        )
    return {ref.fragment[0]: template}


def _many_templates(
    definition: Mapping[str, Any], ref: Reference, form: str, where: str
) -> Dict[str, Any]:
    fields = definition["fields"]
    if form in WHOLES:
        what = "a log" if form == "log" else "a text file"
        raise BadInput(f"{where}: {what} has no fields; use 'template', or say format: env or json")
    if ref.fragment:
        raise BadInput(
            f"{where}: with 'fields' the reference names the whole place; leave out #/{'/'.join(ref.fragment)}"
        )
    if not isinstance(fields, Mapping) or not fields:
        raise BadInput(f"{where}: 'fields' must be a mapping of names to templates")
    if form in PATHS:
        return {path_text(path_parts(str(key), where)): text for key, text in fields.items()}
    return dict(fields)


def _check_line(template: Template, where: str) -> None:
    """What is a line of a log, and tells one rotation from the next.

    :raises BadInput: when it does not.
    """
    literal = [part for part in template.parts if isinstance(part, str)]
    ends = bool(template.parts) and isinstance(template.parts[-1], str)
    if ends:
        literal[-1] = literal[-1][:-1] if literal[-1].endswith("\n") else literal[-1]
    if any(_BREAK.search(part) for part in literal):
        raise BadInput(f"{where}: a line of a log has no line break inside; take it out")
    telling = ("promoted", "made", "rotation_id")
    if not any(
        part.field in telling and ("date", None) not in part.filters
        for part in template.placeholders
    ):
        raise BadInput(
            f"{where}: nothing in this line tells one rotation from the next, so the second one of a day would add none; put "
            "{current.promoted} or {current.rotation_id} into it"
        )


def _templates(
    definition: Mapping[str, Any], ref: Reference, form: str, name: str, where: str
) -> Dict[str, Template]:
    if ("template" in definition) == ("fields" in definition):
        raise BadInput(
            f"{where}: expected either 'template' (one text) or 'fields' (a mapping of names to templates)"
        )
    read = _one_template if "template" in definition else _many_templates
    found: Dict[str, Template] = {}
    for key, text in read(definition, ref, form, where).items():
        place = f"sink '{name}', field '{key}'" if "fields" in definition else f"sink '{name}'"
        if not isinstance(key, str) or not isinstance(text, str):
            raise BadInput(f"{where}: {place}: expected a text; put numbers and booleans in quotes")
        if form == "env" and not KEY.match(key):
            raise BadInput(
                f"{where}: '{key}' is no name for an env file; expected letters, digits and underscores, not a digit first"
            )
        found[key] = Template.parse(text, place)
        if form == "log":
            _check_line(found[key], place)
    return found


def _reference(definition: Mapping[str, Any], where: str) -> Reference:
    ref = parse_reference(text_of(definition, "ref", where), f"{where}.ref")
    if ref.scheme not in PLACES:
        known = ", ".join(f"ref+{name}://" for name in PLACES)
        raise BadInput(
            f"{where}.ref: a sink cannot be written to '{ref.scheme}'; expected one of {known}"
        )
    strange = [name for name in ref.params if name not in PLACES[ref.scheme]]
    if strange:
        raise BadInput(
            f"{where}.ref: the parameter '{strange[0]}' is for reading only; a sink takes {', '.join(PLACES[ref.scheme])}"
        )
    if ref.params.get("mode", "singleparam") != "singleparam":
        raise BadInput(f"{where}.ref: 'mode' must be singleparam, or left out")
    if ref.scheme == "k8s":
        return _secret_of_kubernetes(ref, where)
    if ref.scheme == "file" and not ref.path.startswith("/"):
        raise BadInput(
            f"{where}.ref: a sink's file needs its whole path: ref+file:///… with three slashes"
        )
    return ref


def _secret_of_kubernetes(ref: Reference, where: str) -> Reference:
    """The reference with its key, which may stand in the path, in the fragment: sinks of one Secret are one place."""
    _version, kind, namespace, name, *key = ref.path.split("/")
    if kind != "Secret":
        raise BadInput(f"{where}.ref: a {kind} is no place for secrets; expected v1/Secret/…")
    if not key:
        return ref
    if ref.fragment:
        raise BadInput(
            f"{where}.ref: the key is named twice, in the path and behind '#'; leave one of them out"
        )
    written, mark, query = ref.place.partition("?")
    above, _slash, last = written.rpartition("/")
    text = f"{above}{mark}{query}#/{last}"
    return Reference(ref.scheme, f"v1/{kind}/{namespace}/{name}", ref.params, (key[0],), text)


def _default_name(ref: Reference, host: str) -> str:
    fragment = "#/" + "/".join(ref.fragment) if ref.fragment else ""
    return f"{ref.path}{fragment}{'@' + host if host else ''}"


def parse_sink(definition: Mapping[str, Any], where: str, group: str = "") -> Sink:
    """Read one sink.

    :param where: how messages name it, until its name is known.
    :param group: the group that it is a part of.
    :raises BadInput: as :func:`parse_sinks`.
    """
    _known_keys(definition, _KEYS, where)
    if "ref" not in definition:
        raise BadInput(
            f"{where}: 'ref' is missing: where the sink is, such as ref+vault://secret/app/db#/DATABASE_URL"
        )
    ref = _reference(definition, where)
    host = text_of(definition, "host", where)
    name = text_of(definition, "name", where, _default_name(ref, host))
    where = f"{where} ('{name}')"
    absent = text_of(definition, "absent", where, "keep")
    if absent not in ("keep", "remove"):
        raise BadInput(f"{where}: 'absent' must be keep or remove")
    options = options_of(definition, ref, where)
    return Sink(
        name,
        ref,
        _templates(definition, ref, options.format, name, where),
        host,
        group,
        absent,
        options,
    )


def parse_group(definition: Mapping[str, Any], where: str) -> List[Sink]:
    """Read sinks that belong together.

    :raises BadInput: as :func:`parse_sinks`.
    """
    _known_keys(definition, _GROUP_KEYS, where)
    members = definition["group"]
    if (
        not isinstance(members, list)
        or not members
        or not all(isinstance(item, Mapping) for item in members)
    ):
        raise BadInput(
            f"{where}: 'group' must be a list of sinks; for a file's group say 'file_group'"
        )
    if any("host" in item for item in members):
        raise BadInput(
            f"{where}: a group is written from one host; give 'host' to the group and not to its members"
        )
    shared = {key: definition[key] for key in _SHARED if key in definition}
    full = [{**shared, **item} for item in members]
    name = text_of(definition, "name", where)
    sinks = [
        parse_sink(item, f"{where}.group[{index}]", name or "?") for index, item in enumerate(full)
    ]
    if name:
        return sinks
    derived = "group " + "+".join(sink.name for sink in sinks)
    return [
        Sink(item.name, item.ref, item.templates, item.host, derived, item.absent, item.options)
        for item in sinks
    ]
