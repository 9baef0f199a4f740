# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The older versions of a secret in AWS Secrets Manager. AWS lets nobody delete one: its labels are taken off.

A version without a label is AWS's to remove. It does that when there are more than 100, and not within a day. Until then it can be
read by its id. AWSCURRENT and AWSPENDING stay where they are.

Rights: ``secretsmanager:ListSecretVersionIds``, ``GetSecretValue`` and ``UpdateSecretVersionStage``.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import (
    AwsCaller,
    aws_settings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._port import (
    Carries,
    Seen,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secretsmanager import (
    CURRENT,
    PENDING,
    AwsSecret,
    Listed,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import (
    IN_SECRETS,
    escape,
)

_IN_USE = (CURRENT, PENDING)


def _unlabelled(number: int) -> str:
    many = "version without a label carries" if number == 1 else "versions without a label carry"
    return (
        f"{number} {many} it: AWS removes such versions by itself once there are more than 100, and not within a day. Until then "
        "who may call secretsmanager:GetSecretValue can read the refused value by the version's id; no call removes one version"
    )


class SecretVersions:
    """Those of one secret."""

    def __init__(self, secret: AwsSecret, where: str) -> None:
        self.where = where
        self._secret = secret

    def look(self, carries: Carries, replaced: bool) -> Seen:
        """Read each version that AWS still has, also those without a label.

        :raises Denied, Unreachable, Absent: as AWS says.
        """
        listed = self._secret.versions()
        with_it: List[Listed] = []
        left: List[str] = []
        for item in listed:
            text = self._text(item)
            if text is None:
                left.append(f"version {item.version} is binary and was not looked into")
            elif carries(text):
                with_it.append(item)
        labels: Dict[str, Tuple[str, ...]] = {}
        bare = 0
        for item in with_it:
            fixed = [name for name in _IN_USE if name in item.stages]
            if fixed and not (replaced and CURRENT in fixed):
                left.append(
                    f"version {item.version}, which bears {' and '.join(fixed)}, carries it and is left: see who wrote it"
                )
                continue
            bare += 1
            if item.stages:
                labels[item.version] = tuple(name for name in item.stages if name not in _IN_USE)
        told = (_unlabelled(bare),) if bare else ()
        older = sum(CURRENT not in item.stages for item in listed)
        return Seen(tuple(labels), older, tuple(left), told, labels)

    def _text(self, item: Listed) -> Optional[str]:
        held = self._secret.read_version(item.version)
        # AWS removed it meanwhile.
        return "" if held is None else held.text

    def end(self, seen: Seen, guard: Guard) -> None:
        """Take their labels off, one by one: AWS refuses where one is elsewhere by now.

        :raises Denied, Unreachable, Conflict: as AWS says.
        """
        labels = seen.state if isinstance(seen.state, Mapping) else {}
        for version, names in labels.items():
            for name in names:
                guard()
                self._secret.move(name, None, version)


def open_secret_versions(
    reference: Reference, context: Context, where: str, keyring: bool
) -> SecretVersions:
    """The older versions of what a reference names; nothing is read yet.

    :param keyring: it is a keyring's place, whose name may be written in another way.
    :raises BadInput, MissingLibrary: when reference or environment lack something.
    """
    path = reference.path
    name = escape(path, IN_SECRETS) if keyring and not path.startswith("arn:") else path
    caller = AwsCaller(aws_settings(reference, context, where), context, where, "secretsmanager")
    return SecretVersions(AwsSecret(caller, name, ""), where)
