# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``k8s_secret`` as a pod runs it: with the token and the CA where Kubernetes puts them, and a service account of its own.

The files are in mounts of the module's own process, so that nothing of them is ever on this machine.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from estate.kubernetes import KubernetesServer
from k8s_tokens import Account
from k8s_world import KubernetesWorld

MODULE = "ansible_collections.keyturn.runbooks.plugins.modules.k8s_secret"
POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SETUP = f"""
mount -t tmpfs -o mode=0755 none "$(readlink -f /var/run)" && mkdir -p {POD} && umask 077 &&
printf %s "$TOKEN" > {POD}/token && cp "$CA" {POD}/ca.crt && printf %s "$NAMESPACE" > {POD}/namespace && unset TOKEN CA NAMESPACE &&
exec "$@"
"""


class Pod(KubernetesWorld):
    """A namespace with a service account that may write Secrets there and nothing else."""

    def __init__(self, server: KubernetesServer, home: Path) -> None:
        super().__init__(server, home)
        verbs = ["get", "create", "update"]
        self.token = Account(server, self.namespace, "runner", verbs).token()
        (home / ".kube").mkdir()

    def run(self, **options: Any) -> dict[str, Any]:
        """The module's result."""
        host, port = self.server.address.rpartition("/")[2].split(":")
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
            "HOME": str(self.home),
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "TOKEN": self.token,
            "CA": str(self.server.tls.certificate),
            "NAMESPACE": self.namespace,
        }
        mapped = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
        argv = ["unshare", "--mount", "--propagation", "private", *mapped, "sh", "-c", SETUP, "sh"]
        given = {"name": "app", "namespace": self.namespace, **options}
        ended = subprocess.run(
            [*argv, sys.executable, "-m", MODULE],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": given}),
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.stdout, ended.stderr
        assert self.token not in ended.stdout + ended.stderr
        result: dict[str, Any] = json.loads(ended.stdout)
        return result


@pytest.fixture
def pod(kubernetes_server: KubernetesServer, tmp_path: Path) -> Pod:
    return Pod(kubernetes_server, tmp_path)


def test_a_pod_writes_as_its_service_account(pod: Pod) -> None:
    there = POD.exists()
    value = secrets.token_urlsafe(16)
    # Of somebody who may do nothing.
    other = pod.home / ".kube" / "config"
    other.write_text(json.dumps(pod.server.kubeconfig("weak")))
    done = pod.run(in_cluster=True, fields={"password": value})
    assert (done.get("failed"), done["changed"]) == (None, True), done
    assert pod.values("app") == {"password": value.encode()}
    assert value not in json.dumps(done)
    denied = pod.run(in_cluster=True, namespace="default", fields={"password": value})
    assert (denied["failed"], denied["kind"]) == (True, "Denied")
    # Where there is no kubeconfig, a pod is found without the option.
    other.unlink()
    again = pod.run(fields={"password": value})
    assert (again.get("failed"), again["changed"]) == (None, False), again
    assert POD.exists() is there
