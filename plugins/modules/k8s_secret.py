#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of a Kubernetes Secret."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_secret
short_description: Set keys of a Kubernetes Secret and keep everything else of it
version_added: 0.1.0
description:
  - Sets or removes keys of one Secret. Other keys, binary ones too, labels, annotations, owner references and the type are kept to the
    byte.
  - A write names the version that was read, so that one that somebody else wrote in between is refused by Kubernetes; it is then read
    and planned again. A write whose answer was lost is looked up.
  - A Secret that holds the right values already is not written at all, so its resourceVersion stays.
  - No value reaches a result or a diff, and none is written to the annotation in which C(kubectl apply) keeps its manifest. The annotation
    itself is left as it is. Where it holds a key that is set here, a warning tells so, because the next C(kubectl apply) puts the
    manifest's value back.
  - A warning also names an owner or a manager by server-side apply that will set the key again.
  - Pods that mount the Secret as a volume see the new value within about a minute. As an environment variable or by C(subPath) they
    keep the old one until they are restarted; these pods are named in the result.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.fields
  - keyturn.runbooks.kubernetes
  - keyturn.runbooks.attributes
options:
  name:
    description: The Secret.
    type: str
    required: true
  namespace:
    description: Its namespace, which must exist.
    type: str
    required: true
  state:
    description:
      - V(present). The Secret is there with these keys.
      - V(absent). The Secret is removed, and before it the stand-in that a replacement left which was killed (O(replace_immutable)), as
        that holds the same values and a later run would make the Secret from it. What somebody else writes in between is read again
        and removed, too.
      - An identity that may not C(get) the stand-in removes the Secret alone, and a warning says so.
      - V(absent) takes no option that says how the Secret is to be, such as O(fields), O(type) or O(immutable).
    type: str
    default: present
    choices: [present, absent]
  type:
    description:
      - The type of a Secret that is made, such as V(kubernetes.io/tls); V(Opaque) without it.
      - Nobody can change the type of a Secret that is there, so a different one is refused.
    type: str
  labels:
    description: Labels to set, or with null to remove. Others are kept.
    type: dict
    default: {}
  annotations:
    description: Annotations to set, or with null to remove. Others are kept.
    type: dict
    default: {}
  immutable:
    description:
      - Whether Kubernetes is to refuse every change of the Secret's keys. Left as it is without this option.
      - V(false) for a Secret that is immutable needs O(replace_immutable).
    type: bool
  replace_immutable:
    description:
      - Replace an immutable Secret whose keys must change. It is removed, if it is still the one that was read, and made anew with the same
        other keys, labels, annotations, owner references and type. Without this option it is refused.
      - For a moment there is no such Secret, and a pod that starts then waits for it.
      - A node does not look at an immutable Secret again while a pod there has it. So running pods keep the old values, and so do new
        pods on that node until the last of the old ones has gone. A Secret of another name has none of this.
      - The new content is kept in a stand-in of the name C(NAME.keyturn-stand-in) until the Secret is there. When a run is killed
        in between, the next one makes the Secret from it.
      - An identity that may not C(get) the stand-in makes the Secret without the keys that only the stand-in has, and a warning says
        so. The stand-in stays until a run with this option has brought them back.
    type: bool
    default: false
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Set one key of a Secret
  keyturn.runbooks.k8s_secret:
    name: musehub
    namespace: production
    fields:
      DATABASE_URL: ref+vault://secret/musehub/production#/DATABASE_URL

- name: Make a Secret with a random key where there is none yet, and say who looks after it
  keyturn.runbooks.k8s_secret:
    name: session
    namespace: production
    context: production
    generate:
      SESSION_KEY: {type: hex, bytes: 32}
    labels:
      app.kubernetes.io/part-of: musehub
    annotations:
      keyturn.example/owner: platform

- name: Write to a cluster whose kubeconfig is kept in Vault
  keyturn.runbooks.k8s_secret:
    kubeconfig: ref+vault://secret/clusters/production#/kubeconfig
    name: musehub
    namespace: production
    fields:
      STREAM_KEY: ref+vault://secret/musehub/production#/STREAM_KEY

- name: Put a certificate and its key into a TLS Secret
  keyturn.runbooks.k8s_secret:
    name: musehub-tls
    namespace: production
    type: kubernetes.io/tls
    fields:
      tls.crt: ref+file:///etc/ssl/musehub.pem
      tls.key: ref+vault://secret/musehub/tls#/key

- name: Change an immutable Secret
  keyturn.runbooks.k8s_secret:
    name: signing-v3
    namespace: production
    replace_immutable: true
    fields:
      kid: "2026-11"

- name: Take away a key that nobody reads, and fail the task if pods must be restarted for another
  keyturn.runbooks.k8s_secret:
    name: musehub
    namespace: production
    fields:
      OLD_TOKEN:
      NEW_TOKEN: ref+file:///root/new_token
  register: secret
  failed_when: secret is failed or secret.pods_to_restart | length > 0
"""

RETURN = r"""
fields:
  description:
    - C(before) and C(after) of each key that was named, as fingerprints. With O(keyring) they are keyed with its salt and can be
      compared with its own; without, they differ from run to run.
    - V((absent)), or V((new)) for a value that check mode predicts.
  returned: success
  type: dict
  sample: {DATABASE_URL: {before: "hmac:8c1f0d6a33b1d3c0", after: "hmac:52b1a7c4409e1d77"}}
version:
  description: The Secret's resourceVersion after the task; in check mode, the one that was read. None where there is no Secret.
  returned: success
  type: str
version_before:
  description: The resourceVersion that was read; none where there was no Secret.
  returned: success
  type: str
pods_to_restart:
  description:
    - Pods that keep the old value until they are restarted. They have a key that was changed as an environment variable, or the Secret by
      C(subPath), or a Secret that was replaced because it was immutable.
    - Found with one question for the first 500 pods of the namespace, after a change; empty where the identity may not list pods.
  returned: success
  type: list
  elements: str
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_secret import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
