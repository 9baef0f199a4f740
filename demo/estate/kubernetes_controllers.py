# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane of a real Kubernetes with its controllers: service accounts, rollouts on paper, garbage collection; no nodes."""

from __future__ import annotations

import json
from pathlib import Path

from estate.kubernetes import KubernetesSaysNo, KubernetesServer
from estate.kubernetes_pods import programs_folder
from estate.ports import reserve
from estate.processes import Daemon


class ControlPlane(KubernetesServer):
    """etcd, the API server and the controller manager; a context manager that starts and stops them.

    :param run_dir: as for :class:`KubernetesServer`.
    :raises Missing: when one of its programs is not there.
    """

    def __init__(self, run_dir: Path | None = None) -> None:
        self._manager_binary = programs_folder() / "kube-controller-manager"
        super().__init__(run_dir, binary=self._manager_binary.with_name("kube-apiserver"))
        self._manager_port = reserve()
        self._manager: Daemon | None = None

    def start(self) -> ControlPlane:
        """Start all of them, and wait until the controllers have begun.

        :raises EstateError: with the end of the log.
        """
        super().start()
        config = self.run_dir / "controllers.kubeconfig"
        config.touch(mode=0o600)
        config.write_text(json.dumps(self.kubeconfig()), encoding="utf-8")
        options = {
            "kubeconfig": config,
            "bind-address": "127.0.0.1",
            "secure-port": self._manager_port.number,
            "authentication-skip-lookup": "true",
            "leader-elect": "false",
            "root-ca-file": self.tls.certificate,
            "service-account-private-key-file": self.tls.key,
            "use-service-account-credentials": "true",
        }
        argv = [
            str(self._manager_binary),
            *(f"--{name}={value}" for name, value in options.items()),
        ]
        self._manager = Daemon("the controllers", argv, self.run_dir / "controllers.log")
        self._manager.start(self._begun, 60)
        return self

    def close(self) -> None:
        """Stop them, and remove the state when it was this object that made the place for it."""
        if self._manager:
            self._manager.stop()
        self._manager_port.release()
        super().close()

    def _api_options(self) -> dict[str, str]:
        options = super()._api_options()
        del options["disable-admission-plugins"]
        return options

    def _begun(self) -> bool:
        """Whether the first of them has done its work."""
        try:
            self.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")
        except (KubernetesSaysNo, OSError):
            return False
        return True
