# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Kubernetes with one node and real pods, in namespaces of its own, so that nothing of it is left on the machine.

Mounts, network and processes belong to one process, the *room*: when that is killed, the kernel ends and removes all of it but the
empty control groups of the containers, which :meth:`PodCluster.close` removes. Needs root, containerd, runc and the CNI plugins.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from estate import kubernetes_relay
from estate.errors import EstateError, Missing
from estate.kubernetes import FINDER, KubernetesSaysNo, KubernetesServer
from estate.kubernetes_groups import groups_of, remove_groups
from estate.kubernetes_image import AGENT, pack_image
from estate.kubernetes_node import (
    ADDRESS,
    CNI,
    CONTAINERD,
    NETWORK,
    NODE,
    SETUP,
    SOCKET,
    kubelet_configuration,
)
from estate.processes import Daemon, descendants, tail, wait_until
from estate.tls import make_certificate

PROGRAMS_VARIABLE = "KEYTURN_KUBERNETES_PROGRAMS"
MARK = "KEYTURN_POD"
"""The variable that names a pod to its own process."""

COMPONENTS = {
    f"system:node:{NODE}": "system:nodes",
    "system:kube-scheduler": "",
    "system:kube-controller-manager": "",
}


def programs_folder() -> Path:
    """The folder with Kubernetes's programs and the pods' agent; it never builds.

    :raises Missing: when there is none.
    """
    given = os.environ.get(PROGRAMS_VARIABLE)
    if not given and not FINDER.exists():
        raise Missing(f"Kubernetes: set {PROGRAMS_VARIABLE} to a folder with its programs")
    found = subprocess.run(
        [str(FINDER), "--all", "--cached"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise Missing(f"Kubernetes: {found.stderr.strip() or f'set {PROGRAMS_VARIABLE}'}")
    return Path(found.stdout.strip())


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise Missing("a Kubernetes with pods needs root")
    packages = {
        "containerd": "containerd",
        "ctr": "containerd",
        "runc": "runc",
        "ip": "iproute2",
        "unshare": "util-linux",
        "nsenter": "util-linux",
        "setpriv": "util-linux",
    }
    for program, package in packages.items():
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise Missing(f"{program}: install the Debian package {package}")
    if not (CNI / "bridge").exists():
        raise Missing(f"{CNI}/bridge: install the Debian package containernetworking-plugins")


class PodCluster(KubernetesServer):
    """A cluster with one node; a context manager that starts and stops it.

    :param run_dir: where its logs and its configuration go; what the node writes is kept in memory.
    :raises Missing: when one of its programs is not there, or this user is not root.
    """

    def __init__(self, run_dir: Path | None = None) -> None:
        _check_machine()
        self._programs = programs_folder()
        super().__init__(run_dir, binary=self._programs / "kube-apiserver")
        self.tokens.update({name: os.urandom(18).hex() for name in COMPONENTS})
        self._init = 0
        self._groups: set[Path] = set()
        self._relay: subprocess.Popen[bytes] | None = None
        self._parts: list[Daemon] = []

    def start(self) -> PodCluster:
        """Start all of it, and wait until the node is ready.

        :raises EstateError: with the end of a log.
        """
        self._tls = make_certificate(self.run_dir, "kubernetes")
        self._write_tokens()
        self._open_room()
        # The API server asks etcd whether it is ready, and says so of itself only then.
        self._part("etcd", self._etcd.argv)
        self._start_relay()
        self._part("kube-apiserver", self._api_argv(), self._ready)
        self._start_containerd()
        self._start_managers()
        self._start_kubelet()
        return self

    def close(self) -> None:
        """Kill the room with all that is in it, and remove the control groups of its containers."""
        self._groups |= groups_of(descendants(self._init) if self._init else [])
        if self._init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
        if self._relay:
            self._relay.kill()
            self._relay.wait()
        for part in reversed(self._parts):
            part.stop(5)
        remove_groups(self._groups)
        super().close()

    def left(self) -> list[str]:
        """What is still on the machine after :meth:`close`: processes, mounts, control groups."""
        mounts = Path("/proc/self/mounts").read_text()
        found = [str(group) for group in self._groups if group.exists()]
        found += ["a mount"] if str(self.run_dir) in mounts else []
        return found + [part.name for part in self._parts if part.running]

    def start_pod(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        """Start a pod with one container of the agent's image.

        :param spec: of the container, beside its image; ``volumes`` is the pod's.
        :raises EstateError: when the namespace does not take it.
        """
        own = {"name": "agent", "image": AGENT, "imagePullPolicy": "Never"}
        env = [*spec.get("env", []), {"name": MARK, "value": name}]
        container = {**own, **{key: spec[key] for key in spec if key != "volumes"}, "env": env}
        body = {
            "metadata": {"name": name},
            "spec": {
                "containers": [container],
                "volumes": spec.get("volumes", []),
                "dnsPolicy": "Default",
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
            },
        }
        path = f"/api/v1/namespaces/{namespace}/pods"
        wait_until(lambda: self._posted(path, body), 20, f"the service account of {namespace}")

    def wait_for_pod(self, namespace: str, name: str) -> Path:
        """Wait until a pod runs; the ``/proc`` folder of its process, on this machine.

        :raises EstateError: when it does not run.
        """
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        wait_until(lambda: self._runs(path), 60, f"pod {name} to run")
        return self._process(name)

    def remove_pod(self, namespace: str, name: str) -> None:
        """Remove a pod, and wait until its node has let go of it.

        :raises EstateError: when that takes too long.
        """
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self.request("DELETE", path)
        wait_until(lambda: self._is_gone(path), 60, f"pod {name} to end")

    def _is_gone(self, path: str) -> bool:
        try:
            self.request("GET", path)
        except KubernetesSaysNo as error:
            return error.status == 404
        return False

    def _posted(self, path: str, body: Mapping[str, Any]) -> bool:
        """Whether it was taken: a namespace's service account comes a moment after it."""
        try:
            self.request("POST", path, body)
        except KubernetesSaysNo as error:
            if error.status != 403:
                raise
            return False
        return True

    def _runs(self, path: str) -> bool:
        states = self.request("GET", path).get("status", {}).get("containerStatuses") or [{}]
        return all("running" in (state.get("state") or {}) for state in states)

    def _process(self, pod: str) -> Path:
        mark = f"{MARK}={pod}".encode()
        for pid in descendants(self._init):
            place = Path(f"/proc/{pid}")
            with contextlib.suppress(OSError):
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    return place
        raise EstateError(f"pod {pod} has no process")

    def _users(self) -> list[tuple[str, str]]:
        return [*super()._users(), *COMPONENTS.items()]

    def _open_room(self) -> None:
        isolated = (
            "--mount",
            "--net",
            "--pid",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child",
            "--mount-proc",
        )
        # A shell as the first process takes leave of the orphans that others leave behind.
        wait = ["bash", "-c", "while :; do sleep 3600 & wait $!; done"]
        # It takes no other signal as long as it has a child.
        room = Daemon(
            "the room",
            ["unshare", *isolated, *wait],
            self.run_dir / "room.log",
            stop_signal=signal.SIGKILL,
        )
        self._parts.append(room)
        room.start(lambda: bool(descendants(room.pid)))
        self._init = descendants(room.pid)[0]
        wait_until(self._is_apart, 10, "the room's mounts")
        done = subprocess.run(
            self._inside(["sh", "-c", SETUP]), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise EstateError(f"the room could not be set up: {done.stderr.strip()}")

    def _is_apart(self) -> bool:
        kinds = ("mnt", "net", "pid")
        mine, its = (
            [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds]
            for pid in ("self", str(self._init))
        )
        first = Path(f"/proc/{self._init}/cmdline").read_bytes().startswith(b"bash")
        return first and not set(mine) & set(its)

    def _inside(self, argv: Sequence[str]) -> list[str]:
        enter = [
            "nsenter",
            "--target",
            str(self._init),
            "--mount",
            "--net",
            "--pid",
            "--ipc",
            "--uts",
        ]
        return [*enter, "--", *argv]

    def _part(
        self,
        name: str,
        argv: Sequence[str],
        ready: Callable[[], bool] = lambda: True,
        seconds: float = 60,
    ) -> None:
        """Start a program in the room."""
        part = Daemon(name, self._inside(argv), self.run_dir / f"{name}.log")
        self._parts.append(part)
        part.start(ready, seconds)

    def _start_relay(self) -> None:
        """Make the API server reachable from outside, at the address that the kubeconfig names."""
        with socket.create_server(("127.0.0.1", self._port.number)) as listener:
            # It ends with this process, as the room does.
            argv = ["setpriv", "--pdeathsig", "KILL"]
            argv += ["nsenter", "--target", str(self._init), "--net", "--", sys.executable]
            argv += [str(kubernetes_relay.__file__), str(listener.fileno()), "127.0.0.1", "443"]
            self._relay = subprocess.Popen(
                argv, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL
            )

    def _api_options(self) -> dict[str, str]:
        options = super()._api_options()
        del options["disable-admission-plugins"]
        return {
            **options,
            "bind-address": "0.0.0.0",  # noqa: S104 - all addresses of a network that nobody else is in
            "advertise-address": ADDRESS,
            "secure-port": "443",
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            "kubelet-preferred-address-types": "InternalIP",
            "service-account-extend-token-expiration": "false",
        }

    def _component(self, name: str) -> str:
        """The kubeconfig of a part of the cluster, which speaks to the API inside the room."""
        server = f"https://{ADDRESS}:443"
        config = self.kubeconfig(name, server=server, **{"tls-server-name": "localhost"})
        path = self.run_dir / f"{name.replace(':', '-')}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config), encoding="utf-8")
        return str(path)

    def _start_containerd(self) -> None:
        network, image = self.run_dir / "cni", self.run_dir / "image.tar"
        network.mkdir()
        (network / "10-keyturn.conflist").write_text(json.dumps(NETWORK))
        config = self.run_dir / "containerd.toml"
        config.write_text(CONTAINERD.replace("CNI_FOLDER", str(network)))
        self._part(
            "containerd", ["containerd", "--config", str(config)], lambda: self._ctr("version"), 30
        )
        pack_image(self._programs / "agent", image)
        if not self._ctr("-n", "k8s.io", "images", "import", str(image)):
            log = tail(self.run_dir / "containerd.log")
            raise EstateError(f"containerd does not take the image; end of its log:\n{log}")

    def _ctr(self, *argv: str) -> bool:
        command = self._inside(["ctr", "--address", SOCKET, *argv])
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _start_managers(self) -> None:
        shared = [
            "--authentication-skip-lookup",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ]
        for name, more in {
            "kube-controller-manager": [
                f"--root-ca-file={self.tls.certificate}",
                f"--service-account-private-key-file={self.tls.key}",
                "--use-service-account-credentials",
            ],
            "kube-scheduler": [],
        }.items():
            config = self._component(f"system:{name}")
            self._part(name, [str(self._programs / name), f"--kubeconfig={config}", *shared, *more])

    def _start_kubelet(self) -> None:
        config = self.run_dir / "kubelet.json"
        config.write_text(json.dumps(kubelet_configuration()))
        argv = [
            str(self._programs / "kubelet"),
            f"--config={config}",
            f"--kubeconfig={self._component(f'system:node:{NODE}')}",
            f"--hostname-override={NODE}",
            f"--node-ip={ADDRESS}",
            "--root-dir=/var/lib/kubelet",
        ]
        self._part("kubelet", argv, self._node_is_ready, 90)

    def _node_is_ready(self) -> bool:
        try:
            node = self.request("GET", f"/api/v1/nodes/{NODE}")
        except (KubernetesSaysNo, OSError):
            return False
        conditions = node.get("status", {}).get("conditions") or []
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
