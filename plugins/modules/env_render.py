#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render an env file from all parameters below a path."""

from __future__ import annotations

DOCUMENTATION = r"""
module: env_render
short_description: Render an env file from all parameters below a path of AWS's Parameter Store
version_added: 0.1.0
description:
  - Reads all parameters below O(path), decrypted, and makes O(env_file) exactly what they say. Each parameter is a variable of its own
    name, sorted. Values are quoted so that the file's readers get back what the parameter holds, or refused (O(dialect)).
  - The file is replaced as a whole, under a lock, with mode 0600 unless O(mode) says otherwise. A reader sees the old file or the new one.
    When nothing differs, nothing is written. When something is wrong with one parameter, nothing is written either.
  - AWS writes no two parameters at once. With O(pairs), parameters that belong together are taken only when all of them were written by
    the same rotation.
  - The result and the diff have the names of variables, and no value. Check mode reads for real and predicts exactly.
  - No parameter below the path is an error, and so is what AWS denies; neither empties the file.
  - Needs C(ssm:GetParametersByPath) on the path and C(kms:Decrypt) on the key; for O(pairs) and O(watch_marks) also
    C(ssm:DescribeParameters) on C(*).
requirements:
  - boto3 on the controller, or on the host with O(read_from=host)
extends_documentation_fragment:
  - keyturn.runbooks.env
  - keyturn.runbooks.attributes
  - keyturn.runbooks.attributes.file
attributes:
  action_group:
    support: none
    membership: []
options:
  path:
    description:
      - The path, such as V(/musehub/production/). What is further down is left alone unless O(recursive) is set.
      - Or a reference, which may say in which region and as whom, such as
        V(ref+awsssm://musehub/production?region=eu-west-1&role_arn=arn:aws:iam::123456789012:role/deploy). Without that, the environment
        says so, as for every program of AWS.
    type: str
    required: true
  env_file:
    description: The file, as an absolute path. Its folder must be there.
    type: path
    required: true
  pairs:
    description:
      - Lists of parameters, by their names below the path, that are taken only when all of them are of one rotation, such as an access key
        and its secret. Sinks of one C(group) write the rotation's id beside the value of each, in the same call.
      - Else the task waits for O(wait), and then fails with the ids; nothing is written. A version that somebody wrote by hand carries no
        id, also where the one before it did.
    type: list
    elements: list
    default: []
  unmarked:
    description:
      - What to do with one of O(pairs) of which no part carries an id, because no rotation has written it yet.
      - V(refuse) fails. V(take) takes it, although nobody can tell whether its parts belong together.
    type: str
    choices: [refuse, take]
    default: refuse
  watch_marks:
    description:
      - Also look by itself whether parameters that the sinks of one C(group) have written are of one rotation, and wait, or fail, as for
        O(pairs). So nobody else's pair is taken half written either, such as one that a killed run has left.
      - It cannot see a part that is not there, and where no part carries an id any more it takes them; O(pairs) is stricter in both.
      - Where AWS denies C(ssm:DescribeParameters), this is left out with a warning; for O(pairs) that is an error.
    type: bool
    default: true
  names:
    description:
      - Parameters, by their names below the path, that are to be variables of another name, such as C(db-pass) that is to be
        C(DB_PASSWORD).
    type: dict
    default: {}
  skip:
    description: Parameters, by their names below the path, that are left out.
    type: list
    elements: str
    default: []
  recursive:
    description: Also read what is further down. C(db/PASSWORD) is the variable C(db_PASSWORD), unless O(names) gives it another name.
    type: bool
    default: false
  others:
    description:
      - What becomes of everything else in the file.
      - V(remove) writes the whole file, so that a parameter that was deleted is gone from it, too. The diff shows the names that go.
      - V(keep) changes the lines of the parameters alone, as M(keyturn.runbooks.env_file) does. A parameter that was deleted stays.
    type: str
    choices: [remove, keep]
    default: remove
  read_from:
    description:
      - Who reads the parameters. V(controller) does as the task's environment says; values travel over the connection.
      - V(host) has the host read them as itself, such as by its instance's role. It needs boto3 there, and its region in its own
        configuration or in O(path).
    type: str
    choices: [controller, host]
    default: controller
  wait:
    description: How long O(pairs) that are being written are waited for, as a duration.
    type: str
    default: 10s
  mode:
    description: The file's mode, as a quoted octal number.
    type: raw
    default: "0600"
  contents:
    description: The values on their way to a host. Made by the collection; what is given here is not used.
    type: dict
seealso:
  - module: keyturn.runbooks.consumer
    description: Its type V(deploy) does this as a part of a rotation, and recreates the containers that read the file.
  - module: keyturn.runbooks.env_file
    description: Sets single variables, from any store.
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Render the env file of an application
  keyturn.runbooks.env_render:
    path: /musehub/production/
    env_file: /opt/musehub/.env
    owner: musehub
    pairs:
      - [R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY]
  environment:
    AWS_REGION: us-east-1
  register: rendered

- name: Have the host read with its own role, and keep what else is in the file
  keyturn.runbooks.env_render:
    path: ref+awsssm://musehub/production?region=us-east-1
    env_file: /opt/musehub/.env
    read_from: host
    others: keep
    names: {db-password: DB_PASSWORD}
"""

RETURN = r"""
file:
  description: The file.
  returned: success
  type: str
variables:
  description: All variables that were rendered.
  returned: success
  type: list
  elements: str
  sample: [DB_PASSWORD, R2_ACCESS_KEY_ID]
added:
  description: The variables that were not there.
  returned: success
  type: list
  elements: str
updated:
  description: The variables that had another value, or one that readers would not take alike.
  returned: success
  type: list
  elements: str
removed:
  description: The variables that are gone.
  returned: success
  type: list
  elements: str
unsettled:
  description: What was found wrong with each of O(pairs), with the ids of rotations.
  returned: when that is why it failed
  type: list
  elements: str
backup_file:
  description: The copy of the file as it was; none when none was made.
  returned: success
  type: str
pruned:
  description: The copies that were removed, or would be in check mode.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
