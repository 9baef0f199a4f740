# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""References to AWS: parameters of Systems Manager and secrets of Secrets Manager.

``ref+awsssm://musehub/production/TOKEN`` is the parameter ``/musehub/production/TOKEN``, decrypted. With keys, it is as for vals:
``ref+awsssm://musehub/production#/TOKEN`` reads the parameters below a path (``?recursive=true``: at any depth), and
``?mode=singleparam`` reads one parameter that holds JSON or YAML.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Union

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import AwsCaller, aws_settings
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws_errors import (
    StrangeAnswer,
    text_in,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent, BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._ref_sources import (
    decode,
    read_keys,
    wanted_version,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import answered

_MODE = "singleparam"
_SWITCH = ("true", "false")


def _check_parameters(reference: Reference, where: str, below: bool) -> None:
    params = reference.params
    if params.get("mode", _MODE) != _MODE:
        raise BadInput(f"{where}: 'mode' must be {_MODE}, or left out")
    if params.get("recursive", "false") not in _SWITCH:
        raise BadInput(f"{where}: 'recursive' must be true or false")
    if "recursive" in params and not below:
        raise BadInput(f"{where}: 'recursive' is for keys below a path; leave it out")
    if "version" in params and below:
        raise BadInput(
            f"{where}: a path of parameters has no version; add mode={_MODE}, or leave out 'version'"
        )


def _name(path: str) -> str:
    return path if path.startswith("arn:") else f"/{path}"


def load_parameter(reference: Reference, context: Context, option: str, structured: bool) -> Any:
    """The value of a parameter, of its newest version or of ``?version=``; or those below a path, by their names there."""
    where = f"{option}: {reference.place}"
    below = structured and "mode" not in reference.params
    _check_parameters(reference, where, below)
    version = wanted_version(reference, option)
    name = _name(reference.path)
    caller = AwsCaller(aws_settings(reference, context, option), context, option, "ssm")
    if below:
        return _parameters_below(caller, name, reference.params.get("recursive") == "true")
    selector = f"{name}:{version}" if version else name

    def ask(client: Any) -> str:
        answer = client.get_parameter(Name=selector, WithDecryption=True)
        return answered(answer, name, int(version) if version else None).value.reveal()

    text = caller.call(f"parameter {selector}", "ssm:GetParameter", ask)
    return read_keys(text, where) if structured else text


def _parameters_below(caller: AwsCaller, path: str, recursive: bool) -> Dict[str, Any]:
    def ask(client: Any) -> Dict[str, str]:
        pages = client.get_paginator("get_parameters_by_path").paginate(
            Path=path, Recursive=recursive, WithDecryption=True
        )
        items = [item for page in pages for item in page["Parameters"]]
        return {text_in(item, "Name"): text_in(item, "Value") for item in items}

    place = f"parameters below {path}"
    found = caller.call(place, "ssm:GetParametersByPath", ask)
    if not found:
        raise Absent(
            f"{caller.where(place)}: there are none; if the parameter {path} itself holds the keys, add ?mode={_MODE}"
        )
    return _nested({name[len(path) :].lstrip("/"): value for name, value in found.items()})


def _nested(flat: Dict[str, str]) -> Dict[str, Any]:
    """``{"a/b": …}`` as ``{"a": {"b": …}}``. A parameter that has others below it cannot be named this way, nor can it with vals."""
    found: Dict[str, Any] = {}
    # Short names first, so that what is below one takes its place.
    for name in sorted(flat):
        *above, last = name.split("/")
        holder = found
        for key in above:
            inner = holder.get(key)
            holder[key] = holder = inner if isinstance(inner, dict) else {}
        holder[last] = flat[name]
    return found


def _check_secret(answer: Mapping[str, Any], name: str, version: Optional[str]) -> None:
    """Make sure that an answer is about the secret, and the version, that was asked for.

    :raises StrangeAnswer: when it is about another one.
    """
    # AWS finds a secret also by an ARN without the six characters that it puts at the end.
    told = text_in(answer, "ARN" if name.startswith("arn:") else "Name")
    same = told == name or (name.startswith("arn:") and told.startswith(f"{name}-"))
    if not same or (version and text_in(answer, "VersionId") != version):
        raise StrangeAnswer


def load_secret(reference: Reference, context: Context, option: str, structured: bool) -> Any:
    """The value of a secret: AWSCURRENT, or that of ``?version_stage=`` or ``?version_id=``; its keys when it is JSON or YAML."""
    params = reference.params
    which: Dict[str, str] = {"SecretId": reference.path}
    if params.get("version_id"):
        which["VersionId"] = params["version_id"]
    if params.get("version_stage") or not params.get("version_id"):
        which["VersionStage"] = params.get("version_stage") or "AWSCURRENT"
    version = " ".join(which[key] for key in ("VersionStage", "VersionId") if key in which)

    def ask(client: Any) -> Union[str, bytes]:
        answer = client.get_secret_value(**which)
        _check_secret(answer, reference.path, params.get("version_id"))
        if "SecretString" in answer:
            return text_in(answer, "SecretString")
        return bytes(answer["SecretBinary"])

    caller = AwsCaller(aws_settings(reference, context, option), context, option, "secretsmanager")
    place = f"secret {reference.path} ({version})"
    value = caller.call(place, "secretsmanager:GetSecretValue", ask)
    where = f"{option}: {reference.place}"
    text = decode(value, where) if isinstance(value, bytes) else str(value)
    return read_keys(text, where) if structured else text
