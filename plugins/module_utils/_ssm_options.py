# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's own options that say which account and region of AWS and as whom; documented in ``keyturn.runbooks.aws``.

They have the names and aliases that modules of ``amazon.aws`` give them, and are laid over the environment that the task's
references see: so a value's ``ref+awssecrets://`` is looked up as the same identity.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any, Dict, Mapping, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import (
    OTHER_NAMES,
    URL,
    AwsSettings,
    deadline_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

AWS_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "region": {"type": "str", "aliases": ["aws_region", "ec2_region"]},
        "profile": {"type": "str", "aliases": ["aws_profile"]},
        "endpoint_url": {"type": "str", "aliases": ["aws_endpoint_url", "ec2_url", "s3_url"]},
        "access_key": {
            "type": "str",
            "no_log": False,
            "aliases": ["aws_access_key_id", "aws_access_key", "ec2_access_key"],
        },
        "secret_key": {
            "type": "str",
            "no_log": True,
            "aliases": ["aws_secret_access_key", "aws_secret_key", "ec2_secret_key"],
        },
        "session_token": {"type": "str", "no_log": True, "aliases": ["aws_session_token"]},
        "assume_role_arn": {"type": "str", "aliases": ["iam_role_arn", "role_arn"]},
        "aws_ca_bundle": {"type": "path"},
        "validate_certs": {"type": "bool", "default": True},
        "aws_config": {"type": "dict"},
    }
)

_VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "region": "AWS_REGION",
        "profile": "AWS_PROFILE",
        "endpoint_url": "AWS_ENDPOINT_URL",
        "access_key": "AWS_ACCESS_KEY_ID",
        "secret_key": "AWS_SECRET_ACCESS_KEY",
        "session_token": "AWS_SESSION_TOKEN",
        "aws_ca_bundle": "AWS_CA_BUNDLE",
    }
)
_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "access_key": "aws_access_key_id",
        "secret_key": "aws_secret_access_key",
        "session_token": "aws_session_token",
    }
)
_PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")


def _given(params: Mapping[str, Any], context: Context) -> Dict[str, str]:
    given: Dict[str, str] = {}
    for name in _VARIABLES:
        value = params.get(name)
        if value in (None, ""):
            continue
        secret = AWS_OPTIONS[name].get("no_log") and looks_like_reference(value)
        given[name] = resolve(value, context, name).reveal() if secret else str(value)
    return given


def _check(given: Mapping[str, str]) -> None:
    keys = [name for name in _KEYS if name in given]
    if keys and "profile" in given:
        raise BadInput(f"profile: '{keys[0]}' says as whom too; give one of them")
    if keys and not {"access_key", "secret_key"} <= set(given):
        raise BadInput("access_key, secret_key: they belong together; give both")


def _environ(given: Mapping[str, str], context: Context) -> Dict[str, str]:
    environ = dict(context.environ)
    gone: Tuple[str, ...] = ()
    if "access_key" in given:
        gone = (*_PROFILES, _VARIABLES["session_token"], *OTHER_NAMES.values())
    elif "profile" in given:
        gone = (*_PROFILES, *(_VARIABLES[name] for name in _KEYS), *OTHER_NAMES.values())
    if "endpoint_url" in given:
        gone = (*gone, URL, "AWS_ENDPOINT_URL_SSM")
    for name in gone:
        environ.pop(name, None)
    return {**environ, **{_VARIABLES[name]: value for name, value in given.items()}}


def _config(params: Mapping[str, Any]) -> Dict[str, Any]:
    config = dict(params.get("aws_config") or {})
    try:
        import botocore.config

        botocore.config.Config(**config)
    except ImportError:
        return config
    except Exception:
        raise BadInput(
            "aws_config: botocore does not take it; expected settings of botocore.config.Config, such as {read_timeout: 20}"
        ) from None
    return config


def with_aws_options(
    params: Mapping[str, Any], context: Context, connections: int
) -> Tuple[Context, AwsSettings]:
    """The context in which references to AWS mean what the options say, and the settings of a client; options come first.

    :param connections: how many threads will call at once.
    :raises BadInput: when the options contradict each other.
    :raises KeyturnError: as the reference that a secret option may be gives cause.
    """
    given = _given(params, context)
    _check(given)
    changed = replace(context, environ=_environ(given, context))
    settings = AwsSettings(
        region=given.get("region", ""),
        profile=given.get("profile", ""),
        endpoint_url=given.get("endpoint_url", ""),
        role_arn=params.get("assume_role_arn") or "",
        role_option="assume_role_arn",
        keys={_KEYS[name]: Secret(given[name]) for name in _KEYS if name in given},
        verify=False if params.get("validate_certs") is False else None,
        config=_config(params),
        deadline=deadline_of(context, "environment"),
        connections=connections,
    )
    return changed, settings
