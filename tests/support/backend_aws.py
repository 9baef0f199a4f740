# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS's parameters and secrets, as the tests over all stores and sinks see them."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._ssm import pack
from backend_port import NO_TEXT, Backend, Upstream
from botocore.exceptions import ClientError
from estate.moto import MotoServer
from points import soak
from racing import filler

REGION = "eu-west-1"


class _AwsBackend(Backend):
    """Something of AWS, below a prefix of its own."""

    service = ""
    region = REGION

    def __init__(self, server: MotoServer) -> None:
        super().__init__()
        self.server = server
        self.prefix = f"t{secrets.token_hex(5)}"
        self.environ = {
            "AWS_ENDPOINT_URL": server.address,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIA" + secrets.token_hex(8).upper(),
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.api = boto3.client(
            self.service,
            region_name=self.region,
            endpoint_url=server.address,
            aws_access_key_id="test",
            aws_secret_access_key=secrets.token_urlsafe(8),
        )

    def upstream(self) -> Upstream:
        return Upstream("127.0.0.1", int(self.server.address.rpartition(":")[2]))

    def through(self, port: int, ca: Path | None) -> None:
        self.environ["AWS_ENDPOINT_URL"] = f"{'https' if ca else 'http'}://127.0.0.1:{port}"
        if ca:
            self.environ["AWS_CA_BUNDLE"] = str(ca)

    def values(self) -> list[str]:
        return [self.environ["AWS_SECRET_ACCESS_KEY"]]

    def patience(self, seconds: float) -> None:
        self.environ["KEYTURN_AWS_TIMEOUT"] = str(seconds)


class SsmBackend(_AwsBackend):
    """Parameters of AWS Systems Manager."""

    kind = "SSM"
    service = "ssm"
    keeps_versions = True
    compares = False
    largest = 8_000
    beyond = 8_400
    largest_value = 8_192
    beyond_value = 8_193
    tiers = ((4_096, "Standard"), (8_192, "Advanced"))
    refused_names = ("a b",)
    # AWS takes it for the name of another parameter.
    refused_values = ("{{ looks.like.a.template }}",)

    def _version(self, number: int, name: str = "db_app") -> str:
        return f"/{self.prefix}/keyrings/{name}/{number:010d}"

    def keyring_version(self, name: str = "db_app") -> str:
        path = f"/{self.prefix}/keyrings/{name}"
        pages = self.api.get_paginator("get_parameters_by_path").paginate(Path=path)
        names = [item["Name"] for page in pages for item in page["Parameters"]]
        return str(max(int(found.rpartition("/")[2]) for found in names))

    def note_keyring(self) -> str:
        return self.keyring_version()

    def go_back(self, noted: str) -> None:
        """``aws ssm get-parameter``, and ``put-parameter`` as the number after the newest."""
        found = self.api.get_parameter(Name=self._version(int(noted)), WithDecryption=True)
        following = self._version(int(self.keyring_version()) + 1)
        value = found["Parameter"]["Value"]
        self.api.put_parameter(
            Name=following, Value=value, Type="SecureString", Tier="Intelligent-Tiering"
        )

    def keyring_of(self, size: int) -> str:
        length = size
        while len(pack(filler(length), "0" * 16)) > size:
            length -= 1
        return filler(length)

    def keyring_tier(self) -> str:
        names = [{"Key": "Name", "Values": [self._version(int(self.keyring_version()))]}]
        found = self.api.describe_parameters(ParameterFilters=names)
        return str(found["Parameters"][0]["Tier"])

    def keyring(self, name: str) -> str:
        return f"ref+awsssm://{self.prefix}/keyrings/{quote(name)}"

    def sink(self, name: str) -> str:
        return f"ref+awsssm://{self.prefix}/sinks/{quote(name)}"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = self.api.get_parameter(Name=f"/{self.prefix}/sinks/{name}", WithDecryption=True)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ParameterNotFound":
                return None
            raise
        parameter: dict[str, Any] = found["Parameter"]
        return parameter

    def held(self, name: str) -> str | None:
        found = self._read(name)
        return None if found is None else found["Value"]

    def others(self, name: str) -> dict[str, str]:
        names = [{"Key": "Name", "Values": [f"/{self.prefix}/sinks/{name}"]}]
        found = self.api.describe_parameters(ParameterFilters=names)["Parameters"][0]
        return {key: str(found.get(key)) for key in ("Type", "KeyId", "Description", "Tier")}

    def put(self, name: str, value: str) -> None:
        there = {} if self._read(name) else {"KeyId": "alias/app", "Description": "of the app"}
        self.api.put_parameter(
            Name=f"/{self.prefix}/sinks/{name}",
            Value=value,
            Type="SecureString",
            Overwrite=True,
            **there,
        )

    def writes(self, name: str) -> int | str:
        found = self._read(name)
        return 0 if found is None else int(found["Version"])


class SecretsManagerBackend(_AwsBackend):
    """Secrets of AWS Secrets Manager."""

    kind = "Secrets Manager"
    service = "secretsmanager"
    # AWS keeps each version for a day and 100 of them at most, which moto does not know: 8 times 12 is what it would take.
    race = 50 if soak() else 12
    keeps_bytes = True
    keeps_versions = True
    largest = 65_536
    beyond = 65_537
    largest_value = 65_536
    beyond_value = 65_537
    refused_names = ("a b",)

    def _current(self, name: str = "db_app") -> dict[str, Any]:
        secret = f"{self.prefix}/keyrings/{name}"
        found: dict[str, Any] = self.api.get_secret_value(
            SecretId=secret, VersionStage="AWSCURRENT"
        )
        return found

    def keyring_version(self, name: str = "db_app") -> str:
        return str(self._current(name)["VersionId"])

    def note_keyring(self) -> str:
        return self.keyring_version()

    def go_back(self, noted: str) -> None:
        """``aws secretsmanager update-secret-version-stage``."""
        self.api.update_secret_version_stage(
            SecretId=f"{self.prefix}/keyrings/db_app",
            VersionStage="AWSCURRENT",
            MoveToVersionId=noted,
            RemoveFromVersionId=self.keyring_version(),
        )

    def spoil_keyring(self) -> bytes:
        self.api.put_secret_value(SecretId=f"{self.prefix}/keyrings/db_app", SecretBinary=NO_TEXT)
        return NO_TEXT

    def spoiled(self) -> bytes:
        return bytes(self._current()["SecretBinary"])

    def spoil(self, name: str) -> bytes:
        self.put(name, "text")
        self.api.put_secret_value(SecretId=f"{self.prefix}/sinks/{name}", SecretBinary=NO_TEXT)
        return NO_TEXT

    def keyring(self, name: str) -> str:
        return f"ref+awssecrets://{self.prefix}/keyrings/{quote(name)}"

    def sink(self, name: str) -> str:
        return f"ref+awssecrets://{self.prefix}/sinks/{quote(name)}"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.api.get_secret_value(
                SecretId=f"{self.prefix}/sinks/{name}", VersionStage="AWSCURRENT"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
        return found

    def held(self, name: str) -> str | None:
        found = self._read(name)
        return None if found is None else found.get("SecretString")

    def others(self, name: str) -> dict[str, str]:
        found = self.api.describe_secret(SecretId=f"{self.prefix}/sinks/{name}")
        return {key: str(found.get(key)) for key in ("Description", "KmsKeyId", "Tags")}

    def put(self, name: str, value: str) -> None:
        secret = f"{self.prefix}/sinks/{name}"
        if self._read(name) is None:
            tags = [{"Key": "team", "Value": "platform"}]
            about = {"Description": "of the app", "KmsKeyId": "alias/app", "Tags": tags}
            self.api.create_secret(Name=secret, SecretString=value, **about)
        else:
            self.api.put_secret_value(SecretId=secret, SecretString=value)

    def writes(self, name: str) -> int | str:
        found = self._read(name)
        return "" if found is None else str(found["VersionId"])
