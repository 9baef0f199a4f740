# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A credential whose keyring is in Vault and that is published to parameters of AWS, a Vault field and a Kubernetes Secret at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backends import KubernetesBackend, SsmBackend
from estate.kubernetes import KubernetesServer
from estate.moto import MotoServer
from estate.tls import make_certificate
from fault_proxy import Fault, FaultProxy, proxy_before, said
from keeping import InVault
from rotation import Estate
from store_faults import is_write
from writes import name_of

STAGES = ("production", "staging")
_PASSWORD = "{current.password}"


@dataclass
class Everywhere(InVault):
    """The servers, each of AWS and Kubernetes behind a proxy that counts what it is told.

    :param parameters: of AWS.
    :param cluster: the namespace in Kubernetes.
    :param proxies: in front of both, in this order.
    :param folder: of the operator's kubeconfig.
    """

    parameters: SsmBackend = field(kw_only=True)
    cluster: KubernetesBackend = field(kw_only=True)
    proxies: tuple[FaultProxy, FaultProxy] = field(kw_only=True)
    folder: Path = field(kw_only=True)

    kind = "Vault, all sinks"

    @property
    def environ(self) -> dict[str, str]:
        """What each of them needs."""
        about = {**self.parameters.environ, **self.cluster.environ}
        about.pop("HOME")
        return {**super().environ, **about}

    def sinks(self) -> list[dict[str, Any]]:
        """One of each kind, beside the application's own."""
        places = {
            **{stage: self.parameters.sink(stage) for stage in STAGES},
            "shared": f"ref+vault://{self.mount}/shared#/password",
            "cluster": self.cluster.sink("app"),
        }
        return [{"name": name, "ref": ref, "template": _PASSWORD} for name, ref in places.items()]

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
        """What each sink holds."""
        held = {stage: self.parameters.held(stage) for stage in STAGES}
        held["cluster"] = self.cluster.held("app")
        found = {name: {"password": value} for name, value in held.items() if value is not None}
        return {**super().others(), **found}

    def logs(self) -> list[Path]:
        """The logs of all of them."""
        aws, kubernetes = self.parameters.server.run_dir, self.cluster.server.run_dir
        return [*super().logs(), *sorted(aws.glob("*.log")), *sorted(kubernetes.glob("*.log"))]

    def identities(self) -> dict[str, str]:
        """Of Vault, of AWS, and of Kubernetes."""
        [aws], [token] = self.parameters.values(), self.cluster.values()
        return {**super().identities(), "key of AWS": aws, "token of Kubernetes": token}

    def files(self) -> list[Path]:
        """The kubeconfig, and the proxy's own key."""
        return sorted(self.folder.iterdir())

    def refuse(self, which: int, code: str = "AccessDeniedException") -> None:
        """From now on one of the two servers refuses what changes something: 0 is AWS, 1 is Kubernetes."""
        body = f'{{"__type": "{code}"}}' if which == 0 else '{"kind": "Status", "code": 403}'
        act = said(400 if which == 0 else 403, body.encode())
        self.proxies[which].faults.append(Fault(act, lambda asked: asked.writes))

    def allow(self) -> None:
        """All is well again."""
        for proxy in self.proxies:
            proxy.faults.clear()


@contextmanager
def everywhere(
    vault: InVault, moto: MotoServer, kubernetes: KubernetesServer, folder: Path
) -> Iterator[Everywhere]:
    """The servers with nothing in them; the proxies end with the block."""
    folder.mkdir(exist_ok=True)
    parameters, cluster = SsmBackend(moto), KubernetesBackend(kubernetes, folder)
    shown = make_certificate(folder, "proxy")
    tls = shown.server_context()
    with (
        proxy_before(parameters.upstream(), is_write) as aws,
        proxy_before(cluster.upstream(), is_write, tls) as api,
    ):
        parameters.through(aws.port, None)
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
    """Give a credential all these sinks."""
    for sink in kept.sinks():
        estate.add_sink(sink)
