# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: the options of every module that calls AWS."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared options."""

    DOCUMENTATION = r"""
options:
  region:
    description: The region. Else C(AWS_REGION), C(AWS_DEFAULT_REGION), or the profile's.
    type: str
    aliases: [aws_region, ec2_region]
  profile:
    description:
      - A profile of AWS's configuration files. Else C(AWS_PROFILE).
      - It comes before keys in the environment, and cannot be given together with O(access_key).
    type: str
    aliases: [aws_profile]
  endpoint_url:
    description:
      - Where requests go, if not to AWS itself. Else C(AWS_URL), C(AWS_ENDPOINT_URL_SSM) or C(AWS_ENDPOINT_URL), in this order.
    type: str
    aliases: [aws_endpoint_url, ec2_url, s3_url]
  access_key:
    description:
      - The access key's id. Together with O(secret_key).
      - Else C(AWS_ACCESS_KEY_ID), C(AWS_ACCESS_KEY), or what AWS's own programs find.
    type: str
    aliases: [aws_access_key_id, aws_access_key, ec2_access_key]
  secret_key:
    description:
      - The secret access key, or better a reference to it, such as V(ref+vault://secret/aws#/secret_key).
      - Else C(AWS_SECRET_ACCESS_KEY), C(AWS_SECRET_KEY).
    type: str
    aliases: [aws_secret_access_key, aws_secret_key, ec2_secret_key]
  session_token:
    description: The session token of temporary keys, or a reference to it. Else C(AWS_SESSION_TOKEN).
    type: str
    aliases: [aws_session_token]
  assume_role_arn:
    description: A role to act as, assumed with the identity that is found without it.
    type: str
    aliases: [iam_role_arn, role_arn]
  aws_ca_bundle:
    description: File with the certificates of the authorities to trust. Else C(AWS_CA_BUNDLE).
    type: path
  validate_certs:
    description: Whether the endpoint's certificate counts. Without that, anybody in between reads the values.
    type: bool
    default: true
  aws_config:
    description:
      - "Further settings for C(botocore.config.Config), such as V({read_timeout: 20})."
      - Its C(retries) do not count. How often a call is repeated is decided here, where a write whose answer was lost is looked up.
    type: dict
notes:
  - The environment is the task's own, with C(environment), and not only the one that Ansible was started with.
  - A call with all its retries takes as long as C(KEYTURN_AWS_TIMEOUT) in the task's environment says, 30 seconds without it. Throttling
    is answered with less speed, which grows again with every call that AWS takes, and with pauses that grow and differ, or are as long
    as the answer asks for. Where no connection comes about, nothing was sent, and the call is tried again until then, too.
"""
