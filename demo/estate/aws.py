# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An account of AWS on moto's server: an administrator, and users whose every call is compared with their policy."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from estate.moto import MotoServer

REGION = "eu-west-1"
POLICY = "rights"
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
Statement = dict[str, Any]

# How botocore finds a setting: its name in a file, its variable, what it is otherwise, its type.
_NO_FILE = (None, None, os.devnull, None)
_OURS = MappingProxyType(
    {
        "profile": (None, None, None, None),
        "config_file": _NO_FILE,
        "credentials_file": _NO_FILE,
    }
)


@dataclass(frozen=True)
class AwsUser:
    """A user with an access key."""

    name: str
    key_id: str
    key: str = field(repr=False)


def client(service: str, server: MotoServer, who: AwsUser) -> Any:
    """boto3's client, as this user; the settings for AWS and the proxy of whoever starts this do not count."""
    import boto3
    import botocore.config
    import botocore.session

    alone = botocore.session.Session(session_vars=_OURS)
    return boto3.Session(botocore_session=alone).client(
        service,
        region_name=REGION,
        endpoint_url=server.address,
        aws_access_key_id=who.key_id,
        aws_secret_access_key=who.key,
        config=botocore.config.Config(proxies={}),
    )


def environ(server: MotoServer, who: AwsUser) -> dict[str, str]:
    """What a program needs in its environment to call AWS as this user."""
    return {
        "AWS_ENDPOINT_URL": server.address,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": who.key_id,
        "AWS_SECRET_ACCESS_KEY": who.key,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class AwsAccount:
    """An account in which rights count from the moment that this object is made.

    :param server: one that serves nobody else, because all of it compares rights afterwards.
    :ivar administrator: may do everything.
    """

    def __init__(self, server: MotoServer) -> None:
        self._server = server
        # Anybody may do anything until rights count.
        self.administrator = AwsUser("", secrets.token_hex(10), secrets.token_hex(20))
        self.administrator = self.add_user("administrator", [EVERYTHING])
        server.check_rights(True)

    def client(self, service: str) -> Any:
        """boto3's client, as the administrator."""
        return client(service, self._server, self.administrator)

    def add_user(self, name: str, rights: Sequence[Statement]) -> AwsUser:
        """A user who may do only this."""
        identities = self.client("iam")
        identities.create_user(UserName=name)
        self.set_rights(name, rights)
        made = identities.create_access_key(UserName=name)["AccessKey"]
        return AwsUser(name, made["AccessKeyId"], made["SecretAccessKey"])

    def set_rights(self, name: str, rights: Sequence[Statement]) -> None:
        """From now on a user may do only this."""
        policy = {"Version": "2012-10-17", "Statement": list(rights)}
        self.client("iam").put_user_policy(
            UserName=name, PolicyName=POLICY, PolicyDocument=json.dumps(policy)
        )

    def environ(self, user: AwsUser) -> dict[str, str]:
        """What a program needs in its environment to call AWS as this user."""
        return environ(self._server, user)
