# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: which Vault and as whom, under the names that ``community.hashi_vault`` has."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared options."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - The address of Vault, such as V(https://vault.example:8200). Without it E(ANSIBLE_HASHI_VAULT_ADDR), then
        E(VAULT_AGENT_ADDR), then E(VAULT_ADDR). Where the task's own C(environment) sets E(VAULT_ADDR) and not
        E(VAULT_AGENT_ADDR), the latter is passed over.
      - This and the options below count before the environment, also for the references to Vault in this task.
    type: str
  auth_method:
    description:
      - How to log in. Without it E(ANSIBLE_HASHI_VAULT_AUTH_METHOD), then E(VAULT_AUTH_METHOD), else what is there. The options
        that are given come first, then a token in the environment, then an AppRole, then a token file.
      - V(none) is for an agent or a proxy that adds the token. It is meant, too, where E(VAULT_AGENT_ADDR) is the address and there are no
        credentials, nor a part of some, such as a role id without a secret id.
      - A token that was made by a login of this task is renewed when it nears its end, and revoked when the task ends. A token that was
        given is left alone.
    type: str
    choices: [token, approle, jwt, kubernetes, cert, none]
  mount_point:
    description:
      - Where the auth method is mounted, by default under its own name. Without it E(ANSIBLE_HASHI_VAULT_MOUNT_POINT), then
        E(VAULT_LOGIN_MOUNT_POINT).
    type: str
  token:
    description:
      - The token, or a reference to it, such as V(ref+file:///run/keyturn/token). Without it E(ANSIBLE_HASHI_VAULT_TOKEN), then
        E(VAULT_TOKEN), then the token file.
    type: str
  token_path:
    description:
      - The folder of O(token_file). Without it E(ANSIBLE_HASHI_VAULT_TOKEN_PATH), then the user's home.
    type: path
  token_file:
    description:
      - The name of the token file. Without it E(ANSIBLE_HASHI_VAULT_TOKEN_FILE), then E(VAULT_TOKEN_FILE), then V(.vault-token).
    type: str
  role_id:
    description:
      - The AppRole's role id, or the name of the role for V(jwt), V(kubernetes) and V(cert). Without it
        E(ANSIBLE_HASHI_VAULT_ROLE_ID), then E(VAULT_ROLE_ID).
    type: str
  secret_id:
    description:
      - The AppRole's secret id, or a reference to it. Without it E(ANSIBLE_HASHI_VAULT_SECRET_ID), then E(VAULT_SECRET_ID).
    type: str
  secret_id_wrapped:
    description:
      - O(secret_id) is a wrapping token with the secret id in it. Without it E(ANSIBLE_HASHI_VAULT_SECRET_ID_WRAPPED), then
        E(VAULT_SECRET_ID_WRAPPED).
      - It is checked that it comes from this AppRole method, and it is unwrapped once. So it is good for one task only,
        and in a C(loop) for one item. When it is not valid any more, somebody else may have
        unwrapped it; destroy the secret id by its accessor then.
    type: bool
  jwt:
    description:
      - The token for V(jwt), or a reference to it. Without it E(ANSIBLE_HASHI_VAULT_JWT). For V(kubernetes), that of the pod's service
        account when nothing is given.
    type: str
  cert_auth_public_key:
    description:
      - The file of the certificate for V(cert). Without it E(ANSIBLE_HASHI_VAULT_CERT_AUTH_PUBLIC_KEY), then E(VAULT_CLIENT_CERT).
    type: path
  cert_auth_private_key:
    description:
      - The file of its key, when that is not in the same file. Without it E(ANSIBLE_HASHI_VAULT_CERT_AUTH_PRIVATE_KEY), then
        E(VAULT_CLIENT_KEY).
    type: path
  namespace:
    description:
      - The namespace, for Vault Enterprise and OpenBao. Without it E(ANSIBLE_HASHI_VAULT_NAMESPACE), then E(VAULT_NAMESPACE).
    type: str
  ca_cert:
    description:
      - The file with the certificates of the authorities to trust. Without it E(ANSIBLE_HASHI_VAULT_CA_CERT), then E(VAULT_CACERT), then
        the folder in E(VAULT_CAPATH).
    type: path
    aliases: [cacert]
  validate_certs:
    description:
      - Whether the server's certificate is checked. Without it E(ANSIBLE_HASHI_VAULT_VALIDATE_CERTS), then the opposite of
        E(VAULT_SKIP_VERIFY), else it is.
    type: bool
  proxies:
    description:
      - The HTTP proxy on the way to Vault, as a URL, or a mapping of V(http), V(https) or V(all), the scheme of the address of Vault, to
        one each. Without it E(ANSIBLE_HASHI_VAULT_PROXIES), which may be the mapping as JSON, then E(https_proxy) and the like.
      - A URL may hold the proxy's user and password; it may also be a reference to a URL, or to the mapping as JSON.
      - What is sent to this machine itself, such as to an agent, goes through no proxy.
    type: raw
  timeout:
    description:
      - The deadline of one call with all its retries, as a duration or in seconds. Without it E(ANSIBLE_HASHI_VAULT_TIMEOUT), then
        E(VAULT_CLIENT_TIMEOUT), else 10 seconds.
    type: str
  retries:
    description:
      - How often a call is tried again at most, when Vault is busy, not there, or between two states. Without it
        E(ANSIBLE_HASHI_VAULT_RETRIES), then E(VAULT_MAX_RETRIES), else as often as the deadline allows.
      - A write is only sent again where the first one took no effect.
    type: int
requirements:
  - hvac
"""
