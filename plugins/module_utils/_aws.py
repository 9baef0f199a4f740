# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one connection to AWS: which account and region, as whom, how long to wait.

=============  ==========================================================================================
region         ``?region=``, AWS_REGION, AWS_DEFAULT_REGION, the profile's
profile        ``?profile=``, AWS_PROFILE; the first one counts before keys in the environment
role           ``?role_arn=``: assumed with the identity that is found without it
endpoint       ``?endpoint_url=``, AWS_ENDPOINT_URL_SSM and so on, AWS_ENDPOINT_URL, AWS's own
identity       as for every AWS program: AWS_ACCESS_KEY_ID and the like, a web identity, the files of
               AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, the role of the container or machine
=============  ==========================================================================================

What else AWS's own programs read from the environment (AWS_CA_BUNDLE, HTTPS_PROXY, AWS_USE_FIPS_ENDPOINT) counts as well: the
task's environment, which need not be the one that Ansible was started with.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws_errors import explain
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import MissingLibrary
from ansible_collections.keyturn.runbooks.plugins.module_utils._lent_environ import lent_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference

_ATTEMPTS = 3
_SECONDS = 5
_SESSION_NAME = "keyturn"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _boto3(option: str) -> Any:
    """The library. Imported where it is needed: it takes longer to import than most tasks take to run."""
    try:
        import boto3
    except ImportError:
        raise MissingLibrary(
            f"{option}: AWS needs the Python library boto3 where this task runs; install it: pip install boto3"
        ) from None
    return boto3


class AwsCaller:
    """Calls of one service of AWS, as one identity.

    :param service: as AWS's programs name it: ``ssm``, ``secretsmanager``.
    :raises MissingLibrary: without boto3.
    """

    def __init__(self, reference: Reference, context: Context, option: str, service: str) -> None:
        self._params = reference.params
        self._context = context
        self._option = option
        self._service = service
        self._client: Optional[Any] = None
        self._library = _boto3(option)

    def __repr__(self) -> str:
        return f"AwsCaller({self._service})"

    def where(self, place: str) -> str:
        """How messages name a place: the option, what it is, and where it was asked for."""
        address = f" at {self._address()}" if self._client is not None else ""
        return f"{self._option}: AWS {place}{address}"

    def call(self, place: str, action: str, function: Callable[[Any], Any]) -> Any:
        """Ask AWS something, again while it is only busy; an answer takes half a minute at most.

        :param place: what it is about, for messages.
        :param action: the name of the permission that it needs.
        :param function: gets the service's client of boto3.
        :raises Absent, BadInput, Denied, Unreachable: each says which. Nothing of what AWS says is passed on.
        """
        with lent_environ(self._context.environ):
            try:
                self._client = self._client or self._connect()
                return function(self._client)
            except Exception as error:
                raise explain(error, self.where(place), action) from None

    def _connect(self) -> Any:
        environ = self._context.environ
        region = (
            self._params.get("region")
            or environ.get("AWS_REGION")
            or environ.get("AWS_DEFAULT_REGION")
        )
        session = self._library.Session(
            profile_name=self._params.get("profile") or None, region_name=region or None
        )
        identity = self._assumed(session) if self._params.get("role_arn") else {}
        client = self._open(session, self._service, self._params.get("endpoint_url"), **identity)
        parts = urlsplit(client.meta.endpoint_url)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            self._context.warn(
                f"{self._option}: the endpoint of AWS is plain http: values travel in the clear; use https"
            )
        return client

    def _open(self, session: Any, service: str, endpoint: Optional[str], **identity: str) -> Any:
        import botocore.config

        config = botocore.config.Config(
            connect_timeout=_SECONDS,
            read_timeout=_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        return session.client(service, endpoint_url=endpoint or None, config=config, **identity)

    def _assumed(self, session: Any) -> Dict[str, str]:
        """The keys of ``?role_arn=``, for as long as AWS gives them by default."""
        role = self._params["role_arn"]
        try:
            answer = self._open(session, "sts", None).assume_role(
                RoleArn=role, RoleSessionName=_SESSION_NAME
            )
        except Exception as error:
            raise explain(error, f"{self._option}: AWS role {role}", "sts:AssumeRole") from None
        made = answer["Credentials"]
        return {
            "aws_access_key_id": made["AccessKeyId"],
            "aws_secret_access_key": made["SecretAccessKey"],
            "aws_session_token": made["SessionToken"],
        }

    def _address(self) -> str:
        parts = urlsplit(self._client.meta.endpoint_url if self._client else "")
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}"
