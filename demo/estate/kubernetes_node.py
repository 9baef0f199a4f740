# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node of the tests' Kubernetes is set up with: the mounts and addresses of its room, containerd, the pods' network, the kubelet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from estate.kubernetes_image import PAUSE

NODE = "n1"
ADDRESS, SERVICE = "10.250.0.1", "10.96.0.1"
CNI = Path("/usr/lib/cni")
SOCKET = "/run/containerd/containerd.sock"
SETUP = f"""
set -e
for place in /run /var/log /var/lib; do mount -t tmpfs -o mode=0755 tmpfs "$place"; done
for kind in devices freezer blkio pids; do
    if [ ! -d /sys/fs/cgroup/$kind ] && [ -d /sys/fs/cgroup/memory ]; then
        mkdir -p /sys/fs/cgroup/$kind
        mount -t cgroup -o $kind cgroup /sys/fs/cgroup/$kind
    fi
done
ip link set lo up
ip addr add {ADDRESS}/32 dev lo
ip addr add {SERVICE}/32 dev lo
echo 1 > /proc/sys/net/ipv4/ip_forward
"""
CONTAINERD = f"""
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# Without CAP_SYS_RESOURCE no sandbox starts otherwise.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI}"
conf_dir = "CNI_FOLDER"
"""
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "keyturn",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipam": {
                "type": "host-local",
                "subnet": "10.250.1.0/24",
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}


def kubelet_configuration() -> dict[str, Any]:
    """The kubelet's, for a machine that gives its containers no limits."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        # A changed Secret reaches a mounted file within this time; the default is a minute.
        "syncFrequency": "1s",
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "nodeStatusUpdateFrequency": "2s",
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "maxOpenFiles": 20000,
        "resolvConf": "",
        "shutdownGracePeriod": "0s",
    }
