#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of AWS's Parameter Store."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ssm_secret
short_description: Write parameters of AWS's Parameter Store, one or thousands, each only where it differs
version_added: 0.1.0
description:
  - Brings parameters to the values that are given, as references. Ten are read with one call, and one that differs is written with one
    call, by several threads over one client. What they have beside their values is asked for, with one call for fifty, only where that
    decides something, as when a SecureString is to keep its key.
  - What else a parameter has, its KMS key, tier, description and pattern, stays as it is unless an option says otherwise. AWS
    itself would take the account's own key for a write that names none.
  - A parameter that is absent and one that is denied are different things. A read that fails is never taken for absence, and a write
    whose answer was lost is looked up.
  - AWS has no compare-and-set on a parameter. When somebody else writes between the read and the write here, that is detected, by the
    version that AWS tells, and the task fails and names the versions. It is not prevented.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.aws
  - keyturn.runbooks.attributes
options:
  name:
    description: The parameter, such as V(/musehub/production/DATABASE_URL).
    type: str
  value:
    description:
      - What it is to hold, as a reference such as V(ref+vault://secret/app#/url) or, with O(keyring), V(keyring#/current/password).
      - A text that is no reference is the value itself. It then travels through Ansible.
    type: str
  generate:
    description:
      - "How to make the value where the parameter is not there, as in C(keyturn_generate), such as V({type: password, length: 40}). A
        parameter that is there is left alone, whatever it holds, with its tags and labels."
      - "The types are V(password) with V(length), V(classes), V(exclude) and V(url_safe); V(hex), V(base64) and V(base64url) with V(bytes);
        V(uuid); and V(fernet), which is a key as Fernet takes it."
      - Below 128 bits of entropy a value is refused unless V(allow_weak) is true; V(uuid) has 122 and needs it. V(length) is 40 and
        V(bytes) 32 without saying.
      - This takes the place of O(value), and is for a first value. To replace one that is in use is a rotation, which needs a keyring.
    type: dict
  parameters:
    description:
      - Several parameters at once, which is what makes thousands of them fast.
      - What goes wrong with one of them does not stop the others. The task then fails and says what became of each. Where AWS cannot be
        reached, nothing more is begun.
    type: list
    elements: dict
    suboptions:
      name:
        description: As O(name).
        type: str
        required: true
      value:
        description: As O(value).
        type: str
      generate:
        description: As O(generate).
        type: dict
      type:
        description: As O(type), which is the default.
        type: str
        choices: [SecureString, String, StringList]
        aliases: [string_type]
      key_id:
        description: As O(key_id), which is the default.
        type: str
        aliases: [kms_key_id]
      tier:
        description: As O(tier), which is the default.
        type: str
        choices: [Standard, Advanced, Intelligent-Tiering]
      description:
        description: As O(description), which is the default.
        type: str
      data_type:
        description: As O(data_type), which is the default.
        type: str
      tags:
        description: As O(tags), which is the default.
        type: dict
        aliases: [resource_tags]
  state:
    description:
      - Whether they are to be there. Ten are removed with one call.
      - With V(absent), a parameter is given by its name alone. O(value), O(generate) and O(tags) are refused.
    type: str
    default: present
    choices: [present, absent]
  type:
    description:
      - The type, V(SecureString) when nothing is said.
      - AWS changes the type of no parameter. One that is there with another type is refused.
    type: str
    choices: [SecureString, String, StringList]
    aliases: [string_type]
  key_id:
    description:
      - The KMS key of a SecureString, as an id, an alias or an ARN. Without it a parameter keeps its key, and a new one gets the
        account's own key of Parameter Store.
      - To keep a key it has to be seen, which takes a call more for fifty parameters that differ, and needs C(ssm:DescribeParameters).
        Where that is denied and no key is named, a write is refused.
    type: str
    aliases: [kms_key_id]
  tier:
    description:
      - The tier. Without it a parameter keeps its own, and one with a value of more than 4 KB becomes an advanced one, which AWS charges
        for. No parameter holds more than 8 KB.
      - AWS makes no standard parameter of an advanced one.
    type: str
    choices: [Standard, Advanced, Intelligent-Tiering]
  description:
    description: A description. Without it a parameter keeps its own.
    type: str
  data_type:
    description: The data type, such as V(text) or V(aws:ec2:image). Without it a parameter keeps its own.
    type: str
  tags:
    description:
      - Tags to set. Others are left.
      - A new parameter gets them with the write. For one that is there this takes a call more to read them, and one to set those that
        differ.
    type: dict
    aliases: [resource_tags]
  overwrite_value:
    description:
      - When a parameter that is there is written. V(changed) stands for one that differs from what is given.
      - V(never) leaves every parameter that is there alone, whatever it holds.
      - V(always) makes a new version each time.
    type: str
    default: changed
    choices: [never, changed, always]
  labels:
    description:
      - Whether the label C(current) is kept on the version that was written here last, and C(previous) on the one before it.
      - They move after the write, C(previous) first. A run that was ended in between is made up for by the next one.
      - A read more for ten parameters, and two calls more for each that is written.
    type: bool
    default: false
  accept_drift:
    description:
      - With O(labels), a parameter whose newest version is not the one with the label C(current) was changed by somebody else. When it
        does not hold what is wanted, it is refused, unless this is V(true).
      - AWS keeps nothing else that a write could leave a mark in without a call of its own. So without O(labels) such a change is not seen.
    type: bool
    default: false
  threads:
    description: How many calls are under way at once; V(1) or more.
    type: int
    default: 12
  timeout:
    description: How long all of it may take, as a duration. A call that is under way then is waited for, a few seconds at most.
    type: str
    default: 10m
notes:
  - It needs the rights C(ssm:GetParameters) and C(ssm:PutParameter) on the parameters and C(ssm:DescribeParameters) on C(*);
    C(kms:Decrypt) and C(kms:Encrypt) on the key, and C(kms:GenerateDataKey) for advanced parameters. O(labels) needs
    C(ssm:LabelParameterVersion), O(tags) C(ssm:ListTagsForResource) and C(ssm:AddTagsToResource), O(state=absent) C(ssm:DeleteParameters).
  - With C(ssm:GetParameterHistory) the message about 100 versions can name the label that is in the way. The label C(previous) is moved
    out of the way by itself.
requirements:
  - boto3
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: One parameter
  keyturn.runbooks.ssm_secret:
    name: /musehub/production/DATABASE_URL
    value: ref+vault://secret/musehub#/database_url
    key_id: alias/musehub

- name: Many parameters, in one region as another role
  keyturn.runbooks.ssm_secret:
    region: eu-west-1
    assume_role_arn: arn:aws:iam::123456789012:role/rotation
    tags:
      owner: platform
    parameters:
      - name: /musehub/production/SMTP_PASSWORD
        value: ref+vault://secret/musehub#/smtp_password
      - name: /musehub/production/SENTRY_DSN
        value: ref+envsubst://$SENTRY_DSN
        type: String

- name: Make first values, once
  keyturn.runbooks.ssm_secret:
    parameters:
      - name: /musehub/production/SESSION_KEY
        generate:
          type: password
          length: 40
      - name: /musehub/production/FIELD_KEY
        generate:
          type: fernet

- name: Keep the labels current and previous, and stop where somebody else wrote
  keyturn.runbooks.ssm_secret:
    name: /musehub/production/API_TOKEN
    value: keyring#/current/value
    keyring: ref+vault://secret/keyrings/api_token
    labels: true

- name: Remove what is no longer used
  keyturn.runbooks.ssm_secret:
    state: absent
    parameters:
      - name: /musehub/staging/OLD_TOKEN
"""

RETURN = r"""
parameters:
  description: The parameters, in the order given. Also returned with a failure.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The parameter's name.
      type: str
    changed:
      description: Whether it was changed, or would be in check mode.
      type: bool
    version:
      description: Its version after the task; in check mode, the one that was read. None when it is not there.
      type: int
    version_before:
      description: The version that was read. None when it was not there.
      type: int
    fingerprint:
      description:
        - Of the value after the task, under the salt of O(keyring), or one of this task alone.
        - V((absent)), or V((new)) for a value that check mode predicts.
      type: str
      sample: "hmac:52b1a7c4409e1d77"
    fingerprint_before:
      description: Of the value that was read.
      type: str
    error:
      description: Why it could not be brought up to date.
      type: str
      returned: when it could not
    kind:
      description: The kind of that error, such as V(Denied), V(Conflict), V(Refused) or V(Unreachable).
      type: str
      returned: when it could not
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_secret import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
