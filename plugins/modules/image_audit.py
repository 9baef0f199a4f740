#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look for secrets in a container image."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_audit
short_description: Look for secrets in a container image
version_added: 0.1.0
description:
  - Reads an image of podman or docker, or an archive of one, and lists what in it looks like a secret or is one of the estate's own values.
    Looks at the environment, at build arguments and all other steps of the history, at labels and annotations, at entrypoint and command,
    and at each file of each layer, also at those that a later layer deletes.
  - The image is read as a stream, on the host that has it. Nothing of it is unpacked to a disk or sent to the controller.
  - No value is told, in whole or in part. A finding says where it is, what it looks like, and the name of its variable.
  - Values of keyrings are looked for without sending them to the host. The controller sends a random key and the first few bits of each
    value's digest, and compares the whole digests that the host returns for texts with the same bits.
  - What could not be looked at, such as a layer in an unknown format or a keyring that could not be read, is listed in RV(unknown), and
    never taken for clean.
  - The page C(docs/image-audit.md) tells what is found, what is not, and how the list of false positives is kept.
requirements:
  - bc-detect-secrets, or detect-secrets, for the Python that Ansible uses on that host
extends_documentation_fragment:
  - keyturn.runbooks.attributes.info
attributes:
  action_group:
    support: none
    membership: []
options:
  image:
    description: Name or id of an image that the host has. One of this, O(service) and O(archive) is needed.
    type: str
  service:
    description: A compose service. The image is the one that its containers were made from.
    type: str
  project:
    description: The compose project of O(service), where several have a service of that name.
    type: str
  archive:
    description: A file that C(podman save) or C(docker save) wrote, in docker's or OCI's layout.
    type: path
  engine:
    description: Which of the two has the image.
    type: str
    choices: [podman, docker]
    default: podman
  expected_env:
    description:
      - Names of the environment variables that an image may have, as patterns. Any other is a finding.
      - A value in a known format is a finding under any name.
    type: list
    elements: str
    default:
      - PYTHONPATH
      - PYTHONDONTWRITEBYTECODE
      - PYTHONUNBUFFERED
      - PATH
      - HOME
      - LANG
      - LANGUAGE
      - LC_*
      - TZ
      - TERM
      - container
      - DEBIAN_FRONTEND
      - PYTHON_VERSION
      - PYTHON_SHA256
      - PYTHON_PIP_VERSION
      - PYTHON_SETUPTOOLS_VERSION
      - PYTHON_GET_PIP_URL
      - PYTHON_GET_PIP_SHA256
      - GPG_KEY
  allow:
    description:
      - The list of false positives. An entry says what it is about with C(path), C(name) or C(fingerprint), of which the first two are
        patterns and all that are given have to fit, why with C(reason), and until which day with C(expires).
      - A value of the estate is let pass by its fingerprint alone.
    type: list
    elements: dict
    default: []
  keyrings:
    description: Names of credentials, and references to their keyrings. The values of all their stages are looked for.
    type: dict
    default: {}
  extra_values:
    description: Names, and references to further values that are looked for.
    type: dict
    default: {}
  skip:
    description: Patterns of paths in the image that are not looked into. How many files that were is told.
    type: list
    elements: str
    default: []
  max_file_size:
    description: Bytes. Larger files are not looked into, and listed.
    type: int
    default: 10485760
  timeout:
    description:
      - How long reading the image may take, as a duration.
      - A single file that takes more than a minute of processor time is given up, and RV(unknown) names it.
    type: str
    default: 30m
  marks:
    description: What the controller tells the host of the values to look for. It is made of O(keyrings) and O(extra_values); leave it out.
    type: dict
    default: {}
seealso:
  - module: keyturn.runbooks.image_audit_report
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Is anything secret in the image that this service runs?
  keyturn.runbooks.image_audit:
    engine: docker
    service: musehub
    keyrings:
      app_token: ref+vault://secret/keyrings/app_token
    allow:
      - path: app/tests/fixtures/*.pem
        reason: a key pair that the tests made, which nothing trusts
        expires: "2027-06-30"
  register: seen
  failed_when: seen.findings or seen.unknown
"""

RETURN = r"""
image:
  description: The image that was looked at.
  returned: success
  type: str
image_id:
  description: Its id; empty for an archive.
  returned: success
  type: str
findings:
  description: What was found and is not allowed.
  returned: success
  type: list
  elements: dict
  contains:
    place:
      description: V(environment), V(build_arg), V(history), V(label), V(entrypoint), V(command), V(configuration) or V(file).
      type: str
    rule:
      description: What it looks like.
      type: str
    name:
      description: The name of its variable, where one can be seen.
      type: str
    step:
      description: The number of the step in the history.
      type: int
    made_by:
      description: The instruction of that step, or of the one that made the layer.
      type: str
    path:
      description: The file.
      type: str
    line:
      description: The line in it; none in a file that is no text.
      type: int
    layer:
      description: The digest of the layer's content, as the image's configuration lists it.
      type: str
    layer_number:
      description: Its number, from 1 for the lowest.
      type: int
    deleted_later:
      description: Whether a later layer deletes the file. It can be read all the same by whoever has the image.
      type: bool
    credential:
      description: Whose value it is, with C(stage) and C(field), where it is one of the estate's.
      type: str
    fingerprint:
      description: What O(allow) knows it by. It depends on the place, and tells 12 bits of the value's digest.
      type: str
    allowed_until:
      description: The last day of an entry of O(allow) that is over.
      type: str
allowed:
  description: What was found and an entry of O(allow) lets pass, each with that entry as C(allowed).
  returned: success
  type: list
  elements: dict
expired:
  description: Entries of O(allow) that are over.
  returned: success
  type: list
  elements: dict
unused:
  description: Entries of O(allow) that no finding needs.
  returned: success
  type: list
  elements: dict
unknown:
  description: What could not be looked at, and why.
  returned: success
  type: list
  elements: str
looked_at:
  description: How many C(layers) and C(files) were read, and for how many forms of C(values) they were searched.
  returned: success
  type: dict
not_looked_at:
  description: The first files that are C(too_large) and their C(too_large_count), how many were C(skipped), and C(short_values).
  returned: success
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._image_audit import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
