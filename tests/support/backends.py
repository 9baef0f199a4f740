# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every place that keyrings and values are written to, as the tests over all of them see it.

Beside the references that the collection is given, a backend reads and counts past the collection, in the words of its own
server: what the collection says it wrote is never taken for proof.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._open import (
    Address,
    open_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Place
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import Store, open_store
from botocore.exceptions import ClientError
from estate.kubernetes import KubernetesSaysNo, KubernetesServer
from estate.moto import MotoServer
from estate.vault import VaultSaysNo, VaultServer


def soak() -> bool:
    """Whether everything is tried, however long it takes: ``make soak``."""
    return bool(os.environ.get("KEYTURN_SOAK"))


OPTION = "keyturn_keyring"
WHERE = "keyturn_sinks"
REGION = "eu-west-1"


@dataclass(frozen=True)
class Upstream:
    """Where a server listens, for a proxy in front of it."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class Backend(ABC):
    """One kind of place.

    :ivar kind: what tables call it.
    :ivar environ: the task's environment.
    :ivar largest: bytes of a keyring that it takes.
    :ivar beyond: bytes of one that it refuses; 0: more than anybody has.
    :ivar race: how many writes each of the racing processes does: encryption takes its time.
    :ivar keeps_versions: earlier versions of a keyring stay known.
    :ivar compares: a sink's write is refused by the server itself when somebody else wrote in between.
    :ivar field: the field that sinks are tried with; empty for a place that holds one text.
    :ivar server_compares: it is the server that compares, and not a lock and a read under it.
    :ivar largest_value: bytes of a value that a sink takes.
    :ivar beyond_value: bytes of one that it refuses; 0: more than anybody has.
    :ivar refused_names: of the names that are tried, those that its server does not take; ``refused_values`` likewise.
    """

    kind = ""
    largest = 1_000_000
    beyond = 0
    largest_value = 500_000
    beyond_value = 0
    race = 50
    refused_names: tuple[str, ...] = ()
    refused_values: tuple[str, ...] = ()
    server_compares = True
    keeps_versions = False
    compares = True
    field = ""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        self.warnings: list[str] = []
        self.sessions: dict[Any, Any] = {}

    def context(self, **changes: Any) -> Context:
        """The surroundings of one call; logins and connections are shared by all calls of a test."""
        about = {"environ": dict(self.environ), "warn": self.warnings.append}
        return Context(sessions=self.sessions, **about, **changes)

    def store(self, name: str = "db_app") -> Store:
        """A keyring's store, opened by its reference."""
        return open_store(parse_reference(self.keyring(name), OPTION), self.context(), OPTION)

    def place(self, name: str = "app", context: Context | None = None) -> Place:
        """A sink's place, opened as ``publish`` does."""
        [sink] = parse_sinks([{"ref": self.sink(name), "template": "x", **self.sink_options()}])
        ref = sink.ref
        address = Address(ref.scheme, ref.path, ref.params, ref.place, WHERE)
        return open_place(address, sink.options, context or self.context())

    def sink_options(self) -> dict[str, Any]:
        """What a sink's definition needs beside its reference."""
        return {}

    @abstractmethod
    def keyring(self, name: str) -> str:
        """The reference of a keyring."""

    @abstractmethod
    def sink(self, name: str) -> str:
        """The reference of a sink, with its field."""

    @abstractmethod
    def held(self, name: str) -> str | None:
        """What the sink holds, read past the collection; none when it is not there."""

    @abstractmethod
    def put(self, name: str, value: str) -> None:
        """Write it past the collection, as somebody else would."""

    @abstractmethod
    def writes(self, name: str) -> int | str:
        """What the server itself counts or names the sink's present version by; it differs after every write."""

    @abstractmethod
    def others(self, name: str) -> dict[str, str]:
        """All other fields of the sink, and what else it is to keep, read past the collection."""

    def left_over(self, name: str) -> list[str]:
        """What a killed writer left beside the sink."""
        return []

    def upstream(self) -> Upstream | None:
        """Where its server listens; none where there is no server."""
        return None

    def through(self, port: int, ca: Path | None) -> None:
        """Go on through a proxy at this port of 127.0.0.1, by TLS where a CA is given."""
        raise NotImplementedError(f"{self.kind} has no server")

    def heal(self, environ: dict[str, str]) -> None:
        """Go on as before a fault, with this environment and the server as it was."""
        self.environ = dict(environ)

    def patience(self, seconds: float) -> None:
        """Set the deadline of one call with all its retries."""
        raise NotImplementedError(f"{self.kind} has no server")

    def values(self) -> list[str]:
        """What must never show: the identity that the server is asked with."""
        return []


class FileBackend(Backend):
    """A file, as ``publish`` and file keyrings write it."""

    kind = "file"
    field = "VALUE"
    server_compares = False

    def __init__(self, folder: Path, encrypted: bool = False) -> None:
        super().__init__()
        self.folder = folder
        self._query = ""
        if encrypted:
            self.kind = "file, encrypted"
            self.race = 5
            password = folder / "vault-password"
            password.write_text(secrets.token_urlsafe(16), encoding="utf-8")
            password.chmod(0o600)
            self._query = f"?encrypt=vault&vault_password_file={password}"

    def keyring(self, name: str) -> str:
        path = self.folder / "keyrings" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        return f"ref+file://{quote(str(path))}{self._query}"

    def _path(self, name: str) -> Path:
        path = self.folder / "sinks" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def sink(self, name: str) -> str:
        return f"ref+file://{quote(str(self._path(name)))}?format=json#/{self.field}"

    def held(self, name: str) -> str | None:
        try:
            found = json.loads(self._path(name).read_text(encoding="utf-8")).get(self.field)
        except FileNotFoundError:
            return None
        return None if found is None else str(found)

    def others(self, name: str) -> dict[str, str]:
        body = json.loads(self._path(name).read_text(encoding="utf-8"))
        mode = f"{self._path(name).stat().st_mode:o}"
        return {**{key: body[key] for key in body if key != self.field}, "mode": mode}

    def left_over(self, name: str) -> list[str]:
        names = [path.name for path in self._path(name).parent.iterdir()]
        return [
            found for found in names if name in found and not found.endswith((".json", ".lock"))
        ]

    def put(self, name: str, value: str) -> None:
        path = self._path(name)
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"OTHER": "kept", self.field: value}), encoding="utf-8")
        part.chmod(0o600)
        part.replace(path)

    def writes(self, name: str) -> int | str:
        try:
            status = os.stat(self._path(name))
        except FileNotFoundError:
            return ""
        return f"{status.st_ino} {status.st_mtime_ns}"


class VaultBackend(Backend):
    """A mount of KV version 2."""

    kind = "Vault"
    keeps_versions = True
    field = "VALUE"
    largest_value = 1_048_576
    beyond_value = 1_048_600

    def __init__(self, server: VaultServer, mount: str) -> None:
        super().__init__()
        self.server = server
        self.mount = mount
        self.environ = {"VAULT_ADDR": server.address, "VAULT_TOKEN": server.root_token}

    def keyring(self, name: str) -> str:
        return f"ref+vault://{self.mount}/{quote(name)}"

    def sink(self, name: str) -> str:
        return f"ref+vault://{self.mount}/sinks/{quote(name)}#/{self.field}"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = self.server.request("GET", f"{self.mount}/data/sinks/{quote(name)}")
        except VaultSaysNo as error:
            if error.status == 404:
                return None
            raise
        data: dict[str, Any] = found["data"]
        return data

    def held(self, name: str) -> str | None:
        found = self._read(name)
        return None if found is None else found["data"].get(self.field)

    def others(self, name: str) -> dict[str, str]:
        found = (self._read(name) or {})["data"]
        return {key: value for key, value in found.items() if key != self.field}

    def put(self, name: str, value: str) -> None:
        data = {"OTHER": "kept", self.field: value}
        self.server.request("POST", f"{self.mount}/data/sinks/{quote(name)}", {"data": data})

    def writes(self, name: str) -> int | str:
        found = self._read(name)
        return 0 if found is None else int(found["metadata"]["version"])

    def upstream(self) -> Upstream:
        return Upstream("127.0.0.1", int(self.server.address.rpartition(":")[2]))

    def through(self, port: int, ca: Path | None) -> None:
        self.environ["VAULT_ADDR"] = f"{'https' if ca else 'http'}://127.0.0.1:{port}"
        if ca:
            self.environ["VAULT_CACERT"] = str(ca)

    def heal(self, environ: dict[str, str]) -> None:
        super().heal(environ)
        if self.server.request("GET", "sys/seal-status")["sealed"]:
            self.server.unseal()

    def patience(self, seconds: float) -> None:
        self.environ["VAULT_CLIENT_TIMEOUT"] = str(seconds)

    def values(self) -> list[str]:
        return [self.environ["VAULT_TOKEN"]]


class _AwsBackend(Backend):
    """Something of AWS, below a prefix of its own."""

    service = ""
    race = 50 if soak() else 6

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
            region_name=REGION,
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
    largest = 7_000
    beyond = 40_000
    largest_value = 8_192
    beyond_value = 8_200
    refused_names = ("a b",)
    # AWS takes it for the name of another parameter.
    refused_values = ("{{ looks.like.a.template }}",)

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
    keeps_versions = True
    largest = 60_000
    beyond = 70_000
    largest_value = 65_536
    beyond_value = 65_540
    refused_names = ("a b",)

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
        return None if found is None else found["SecretString"]

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


class KubernetesBackend(Backend):
    """Secrets of one namespace."""

    kind = "Kubernetes"
    field = "VALUE"
    race = 50 if soak() else 20
    # The API server keeps Secrets of up to 1 MiB, as base64.
    largest = 700_000
    beyond = 1_100_000
    largest_value = 700_000
    beyond_value = 1_100_000
    refused_names = (
        *("under_score", "deep/er/path", "a b"),
        *("with blank", "with.dots.and-dashes_", "team/a/b.c", "ünïcode", "a+b=c,d@e:f", "100%"),
    )

    def __init__(self, server: KubernetesServer, folder: Path) -> None:
        super().__init__()
        self.server = server
        self.namespace = f"t{secrets.token_hex(5)}"
        self._file = folder / "kubeconfig"
        self._cluster: dict[str, Any] = {}
        self._token = ""
        server.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self._configure()
        self.environ = {"KUBECONFIG": str(self._file), "HOME": str(folder)}

    def _configure(self, **changes: Any) -> None:
        self._cluster.update(changes)
        config = self.server.kubeconfig(**self._cluster)
        if self._token:
            config["users"][0]["user"]["token"] = self._token
        self._file.write_text(json.dumps(config), encoding="utf-8")
        self._file.chmod(0o600)

    def patience(self, seconds: float) -> None:
        self.environ["KEYTURN_K8S_TIMEOUT"] = str(seconds)

    def heal(self, environ: dict[str, str]) -> None:
        super().heal(environ)
        self._cluster, self._token = {}, ""
        self._configure()

    def act_as(self, rights: str) -> None:
        """Go on as a service account that may ``read`` Secrets, or nothing; or as nobody that is known.

        :param rights: ``reader``, ``stranger`` or ``unknown``.
        """
        account = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
        if rights == "unknown":
            self._token = secrets.token_urlsafe(24)
        else:
            self.server.request("POST", account, {"metadata": {"name": rights}})
            asked = f"{account}/{rights}/token"
            self._token = self.server.request("POST", asked, {"spec": {}})["status"]["token"]
        if rights == "reader":
            self._let_read(rights)
        self._configure()

    def _let_read(self, account: str) -> None:
        where = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]
        name = {"metadata": {"name": account}}
        self.server.request("POST", f"{where}/roles", {**name, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
        subject = {"kind": "ServiceAccount", "name": account, "namespace": self.namespace}
        body = {**name, "roleRef": role, "subjects": [subject]}
        self.server.request("POST", f"{where}/rolebindings", body)

    def keyring(self, name: str) -> str:
        return f"ref+k8s://v1/Secret/{self.namespace}/{quote(self._named(name))}"

    @staticmethod
    def _named(name: str) -> str:
        """As names are written there."""
        return "keyring-" + name.replace("db_app", "db-app")

    def sink(self, name: str) -> str:
        return f"ref+k8s://v1/Secret/{self.namespace}/{quote(name)}#/{self.field}"

    @property
    def _secrets(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return self.server.request("GET", f"{self._secrets}/{name}")
        except KubernetesSaysNo as error:
            if error.status == 404:
                return None
            raise

    def held(self, name: str) -> str | None:
        found = self._read(name)
        value = (found or {}).get("data", {}).get(self.field)
        return None if value is None else base64.b64decode(value).decode()

    def others(self, name: str) -> dict[str, str]:
        found = self._read(name) or {}
        data = {
            key: base64.b64decode(value).decode("latin-1")
            for key, value in found["data"].items()
            if key != self.field
        }
        kept = ("labels", "annotations", "ownerReferences")
        about = {key: json.dumps(found["metadata"].get(key)) for key in kept}
        return {**data, **about, "type": found["type"]}

    def put(self, name: str, value: str) -> None:
        data = {"OTHER": "kept", self.field: value}
        body = {
            "metadata": {
                "name": name,
                "labels": {"team": "platform"},
                "annotations": {"example.com/kept": "yes"},
            },
            "type": "example.com/app",
            "data": {"BINARY": base64.b64encode(bytes(range(256))).decode()},
            "stringData": data,
        }
        there = self._read(name)
        if there is not None:
            body["type"] = there["type"]
        where = f"{self._secrets}/{name}" if there else self._secrets
        self.server.request("PUT" if there else "POST", where, body)

    def writes(self, name: str) -> int | str:
        found = self._read(name)
        return "" if found is None else str(found["metadata"]["resourceVersion"])

    def upstream(self) -> Upstream:
        trust = ssl.create_default_context(cafile=str(self.server.tls.certificate))
        return Upstream("127.0.0.1", int(self.server.address.rpartition(":")[2]), trust)

    def through(self, port: int, ca: Path | None) -> None:
        if ca is None:
            self._configure(server=f"http://127.0.0.1:{port}")
        else:
            address = f"https://127.0.0.1:{port}"
            self._configure(**{"server": address, "certificate-authority": str(ca)})

    def values(self) -> list[str]:
        return [self._token or self.server.tokens["admin"]]


KINDS = ("file", "file-encrypted", "vault", "ssm", "secretsmanager", "kubernetes")
"""What :func:`make_backend` can make."""


def make_backend(kind: str, get: Any) -> Backend:
    """A backend with nothing in it.

    :param get: gives a fixture by its name.
    """
    if kind in ("ssm", "secretsmanager"):
        return (SsmBackend if kind == "ssm" else SecretsManagerBackend)(get("moto"))
    if kind == "vault":
        return VaultBackend(get("vault"), get("vault_mount"))
    if kind == "kubernetes":
        return KubernetesBackend(get("kubernetes_server"), get("scratch"))
    return FileBackend(get("scratch"), encrypted=kind == "file-encrypted")
