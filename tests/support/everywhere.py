# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential whose keyring is in Vault and that is published to AWS, to Vault, to Kubernetes and to another env file at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from backends import KubernetesBackend, SsmBackend
from estate.client import KEY
from estate.kubernetes import KubernetesServer
from estate.load import database_url, write_env_file
from estate.moto import MotoServer
from estate.processes import wait_until
from estate.tls import make_certificate
from fault_proxy import FaultProxy, proxy_before
from keeping import CREDENTIAL, InVault
from rotation import Estate
from store_faults import is_write
from vault_rights import in_mount, policy_of, rules
from writes import name_of

STAGES = ("staging", "production")
# Of production alone. Staging is in the region of the environment.
REGION = "us-east-1"
SHARED = "shared"
# The account in Kubernetes that runs have, and its role.
ACCOUNT = "reader"


class Production(SsmBackend):
    """Parameters in a region of their own, which the reference names."""

    region = REGION

    def sink(self, name: str) -> str:
        return f"{super().sink(name)}?region={REGION}"


@dataclass
class Everywhere(InVault):
    """The servers, each of AWS and Kubernetes behind a proxy that counts what it is told.

    :param parameters: of AWS's two regions, by what is in them.
    :param cluster: the namespace in Kubernetes.
    :param proxies: in front of both, in this order.
    :param folder: of the operator's kubeconfig.
    :ivar policy: of the runs' token of Vault.
    :ivar audit: Vault's audit log, if it writes one.
    """

    parameters: dict[str, SsmBackend] = field(kw_only=True)
    cluster: KubernetesBackend = field(kw_only=True)
    proxies: tuple[FaultProxy, FaultProxy] = field(kw_only=True)
    folder: Path = field(kw_only=True)
    policy: str = ""
    audit: Path | None = None
    _token: str = ""

    kind = "Vault, all sinks"

    def __post_init__(self) -> None:
        self.policy = self.server.policy(in_mount("rotate", self.mount, SHARED))
        about = {"policies": [self.policy], "no_default_policy": True}
        made = self.server.request("POST", "auth/token/create", about)
        self._token = str(made["auth"]["client_token"])
        self.cluster.act_as(ACCOUNT)
        self.let_replace("get", "create", "update")
        self.env_file.parent.mkdir(mode=0o700)

    def let_publish(self, *capabilities: str) -> None:
        """From now on runs have these rights on the sink in Vault."""
        documented = rules(in_mount("rotate", self.mount, SHARED))
        here = f"{self.mount}/data/{SHARED}"
        changed = policy_of(
            (path, capabilities if path == here else given) for path, given in documented
        )
        self.server.request("PUT", f"sys/policies/acl/{self.policy}", {"policy": changed})

    def let_replace(self, *verbs: str) -> None:
        """From now on runs have these rights on Secrets in Kubernetes; it takes the API server a moment."""
        server, space = self.cluster.server, self.cluster.namespace
        of_secrets = {"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}
        role = {"metadata": {"name": ACCOUNT}, "rules": [of_secrets]}
        where = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}/roles/{ACCOUNT}"
        server.request("PUT", where, role)
        who = f"system:serviceaccount:{space}:{ACCOUNT}"
        what = {"namespace": space, "verb": "update", "resource": "secrets"}
        asked = {"spec": {"user": who, "resourceAttributes": what}}

        def is_so() -> bool:
            reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            allowed: bool = server.request("POST", reviews, asked)["status"]["allowed"]
            return allowed == ("update" in verbs)

        wait_until(is_so, 10, "the rights in Kubernetes")

    @property
    def environ(self) -> dict[str, str]:
        """What each of them needs."""
        about = {**self.parameters["staging"].environ, **self.cluster.environ}
        about.pop("HOME")
        return {**super().environ, "VAULT_TOKEN": self._token, **about}

    @property
    def env_file(self) -> Path:
        """Of another application."""
        return self.folder.with_name("site") / "site.env"

    def holders(self) -> list[Path]:
        """That file."""
        return [self.env_file]

    def places(self) -> dict[str, str]:
        """The references of one sink of each kind, beside the application's own."""
        return {
            **{stage: self.parameters[stage].sink(stage) for stage in STAGES},
            SHARED: f"ref+vault://{self.mount}/{SHARED}#/{KEY}",
            "cluster": self.cluster.sink("app"),
            "site": f"ref+file://{self.env_file}?format=env#/{KEY}",
        }

    def fill(self, url: str) -> None:
        """Put there what is in use, as people did before."""
        for stage in STAGES:
            self.parameters[stage].put(stage, url)
        self.cluster.put("app", url)
        self.server.request("POST", f"{self.mount}/data/{SHARED}", {"data": {KEY: url}})
        write_env_file(self.env_file, url, "# another application")

    def url(self, sink: str) -> str | None:
        """What a reader of a sink finds there; none where nothing is."""
        if sink in STAGES:
            return self.parameters[sink].held(sink)
        if sink == "cluster":
            return self.cluster.held("app")
        if sink == SHARED:
            data = super().others().get(SHARED, {})
            return data.get(KEY)
        lines = self.env_file.read_text().splitlines() if self.env_file.exists() else []
        return next((line.partition("=")[2] for line in lines if line.startswith(KEY)), None)

    def versions(self) -> dict[str, int]:
        """What the servers were told, by the place or the call."""
        told = Counter(super().versions())
        for proxy in self.proxies:
            for asked in proxy.asked:
                if asked.writes:
                    target = asked.headers.get("X-Amz-Target", "").rpartition(".")[2]
                    told[target or name_of(asked.path.partition("?")[0])] += 1
        return dict(told)

    def others(self) -> dict[str, dict[str, str]]:
        """The password that each sink shows."""
        urls = {name: self.url(name) for name in self.places()}
        shown = {name: unquote(urlsplit(url).password or "") for name, url in urls.items() if url}
        return {name: {"password": password} for name, password in shown.items()}

    def held(self, place: str) -> list[dict[str, Any]]:
        """Every version of a secret that Vault keeps."""
        about = self.server.request("GET", f"{self.mount}/metadata/{place}")["data"]
        asked = [
            f"{self.mount}/data/{place}?version={one}"
            for one in sorted(map(int, about["versions"]))
        ]
        return [self.server.request("GET", path)["data"]["data"] for path in asked]

    def twice(self) -> list[str]:
        """The places of which two versions that follow each other are the same. Kubernetes itself takes no such write for one."""
        found = []
        for place in (CREDENTIAL, SHARED):
            found += [place for one, other in pairwise(self.held(place)) if one == other]
        for stage in STAGES:
            found += [stage for one, other in pairwise(self.history(stage)) if one == other]
        return found

    def history(self, stage: str) -> list[str]:
        """Every value that a parameter of AWS had."""
        path = urlsplit(self.places()[stage].removeprefix("ref+awsssm:/")).path
        asked = {"Name": path, "WithDecryption": True}
        found = self.parameters[stage].api.get_parameter_history(**asked)["Parameters"]
        return [item["Value"] for item in found]

    def logs(self) -> list[Path]:
        """The logs of all of them."""
        aws = self.parameters["staging"].server.run_dir
        kubernetes = self.cluster.server.run_dir
        of_vault = [*super().logs(), *([self.audit] if self.audit else [])]
        return [*of_vault, *sorted(aws.glob("*.log")), *sorted(kubernetes.glob("*.log"))]

    def identities(self) -> dict[str, str]:
        """Of Vault, of AWS, and of Kubernetes."""
        [aws], [token] = self.parameters["staging"].values(), self.cluster.values()
        own = {"token of a run": self._token}
        return {**super().identities(), **own, "key of AWS": aws, "token of Kubernetes": token}

    def files(self) -> list[Path]:
        """The kubeconfig, and the proxy's own key."""
        return sorted(self.folder.iterdir())


@contextmanager
def everywhere(
    vault: InVault, moto: MotoServer, kubernetes: KubernetesServer, folder: Path
) -> Iterator[Everywhere]:
    """The servers with nothing in them; the proxies end with the block."""
    folder.mkdir(exist_ok=True)
    parameters: dict[str, SsmBackend] = {
        "staging": SsmBackend(moto),
        "production": Production(moto),
    }
    cluster = KubernetesBackend(kubernetes, folder)
    shown = make_certificate(folder, "proxy")
    tls = shown.server_context()
    with (
        proxy_before(parameters["staging"].upstream(), is_write) as aws,
        proxy_before(cluster.upstream(), is_write, tls) as api,
    ):
        parameters["staging"].through(aws.port, None)
        cluster.through(api.port, shown.certificate)
        yield Everywhere(
            vault.server,
            vault.mount,
            parameters=parameters,
            cluster=cluster,
            proxies=(aws, api),
            folder=folder,
        )


def publish_everywhere(estate: Estate, kept: Everywhere) -> None:
    """Give a credential all these sinks, which hold what is in use."""
    about = ("127.0.0.1", estate.port, estate.database.name)
    kept.fill(database_url(*estate.first, *about))
    host, port, name = about
    template = "postgresql://{current.username}:{current.password|urlencode}"
    for sink, place in kept.places().items():
        shown = {"name": sink, "ref": place, "template": f"{template}@{host}:{port}/{name}"}
        estate.add_sink(shown)
