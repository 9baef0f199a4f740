# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: which Kubernetes, and as whom."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared options."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - The kubeconfig, or several with V(:) between, which are merged as kubectl does it.
      - Also its content, as a mapping as the modules of kubernetes.core take it, as its text in YAML or JSON, or as a reference to that
        text, such as V(ref+vault://secret/kubernetes#/kubeconfig). A text with a line break in it, or that begins with V({), is
        content; any other that is no reference names files. Where there is nothing at the reference, the task fails as denied.
      - As the content holds credentials, it is kept out of results and logs, and no file is made of it or of a key in it where the system
        has files in memory, as Linux does. Paths in it must be absolute.
      - Without it E(K8S_AUTH_KUBECONFIG), E(KUBECONFIG), C(~/.kube/config), and then the cluster of the pod that this runs in.
      - The other options and their variables are laid over it, as in the modules of kubernetes.core. So where E(K8S_AUTH_HOST) and
        E(K8S_AUTH_API_KEY) are set, as AWX does for its credentials, they decide, and no kubeconfig is read; where this one is
        meant, empty those variables in the task's C(environment).
    type: raw
  context:
    description:
      - The context of the kubeconfig. Without it E(K8S_AUTH_CONTEXT), then the current one of the file.
      - E(K8S_AUTH_CONTEXT) does not count where O(kubeconfig) is given, because it names a context of another file.
    type: str
  in_cluster:
    description:
      - Use the cluster and the service account of the pod that this runs in, also where there is a kubeconfig.
      - No E(K8S_AUTH_HOST) and no other variable of a login counts then, so nothing is sent to another server than the pod's own. It
        takes no O(kubeconfig), O(context) and O(host); the other options of the task count.
    type: bool
    default: false
  host:
    description:
      - The address of the API server, instead of that of the kubeconfig; also E(K8S_AUTH_HOST).
      - With O(api_key), or with O(client_cert) and O(client_key), no kubeconfig is needed, and none is read.
    type: str
  api_key:
    description:
      - The token, or better a reference to it, such as V(ref+vault://secret/kubernetes#/token) or V(ref+file:///run/token); also
        E(K8S_AUTH_API_KEY).
    type: str
  ca_cert:
    description: File with the certificates of the authorities to trust; also E(K8S_AUTH_SSL_CA_CERT).
    type: path
    aliases: [ssl_ca_cert]
  client_cert:
    description: File with the client's own certificate; also E(K8S_AUTH_CERT_FILE).
    type: path
    aliases: [cert_file]
  client_key:
    description: File with the key of O(client_cert); also E(K8S_AUTH_KEY_FILE).
    type: path
    aliases: [key_file]
  validate_certs:
    description:
      - Whether the server's certificate is checked; also E(K8S_AUTH_VERIFY_SSL). Without either, as the kubeconfig has it, else V(true).
      - V(false) is warned about, because the token goes to whoever answers.
    type: bool
    aliases: [verify_ssl]
  proxy:
    description: Address of the HTTP proxy in front of the server; also E(K8S_AUTH_PROXY).
    type: str
  no_proxy:
    description: Addresses that need no proxy, with commas between; also E(K8S_AUTH_NO_PROXY).
    type: str
  impersonate_user:
    description: The user to act as; also E(K8S_AUTH_IMPERSONATE_USER).
    type: str
  impersonate_groups:
    description:
      - The groups to act as; also E(K8S_AUTH_IMPERSONATE_GROUPS), with commas between.
      - Without O(impersonate_user) or its variable they are refused, as Kubernetes takes no groups alone.
    type: list
    elements: str
  timeout:
    description:
      - How long one question or one write may take with all its retries, as a duration such as V(30s). Without it
        E(KEYTURN_K8S_TIMEOUT), then 20 seconds.
    type: str
requirements:
  - kubernetes
notes:
  - Options and environment variables have the names that the modules of kubernetes.core know. References to Kubernetes
    (C(ref+k8s://)) and keyrings in it read the same variables.
"""
