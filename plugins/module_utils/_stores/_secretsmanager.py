# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A document in AWS Secrets Manager: ``ref+awssecrets://name``.

* The document is the secret's text, up to 64 KB. The version that bears AWSCURRENT is the present one.
* A write makes a version and then moves AWSCURRENT to it from the expected version. AWS documents that this fails when the label
  is elsewhere, and that alone decides who wins; a version that lost bears no label any more, was never current, and AWS drops it.
* A version's id is made from the expected version and the text, so that a write which is sent again makes no second version. A
  write whose answer was lost is looked up.
* AWS keeps every version for a day and 100 of them at most: more writes than that to one keyring within a day are refused. A
  rotation takes about a dozen.
* A secret that is there without a value, as infrastructure as code makes it, is an absent document. One that is marked for deletion
  is an error: nothing is written over what can be brought back.
* What a name of AWS's cannot hold is written ``_.HEX.``. ``?kms_key_id=`` counts when the secret is made.
* Rights on the secret: ``secretsmanager:GetSecretValue``, ``PutSecretValue``, ``UpdateSecretVersionStage``, ``CreateSecret`` for the
  first write, ``ListSecretVersionIds`` for the list of versions; with a key of one's own ``kms:Decrypt`` and
  ``kms:GenerateDataKey`` on it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import List, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import (
    AwsCaller,
    aws_settings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secretsmanager import (
    CURRENT,
    AwsSecret,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import (
    IN_SECRETS,
    escape,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._store_port import StoredVersion


def token_of(expected: Optional[str], text: str) -> str:
    """The id of the version that a write makes: the same for the same write.

    It tells nothing of the text: a keyring has 32 random bytes in it, its salt.
    """
    body = f"{expected or ''}\n{text}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(body).hexdigest()[:32]


class SecretStore:
    """One document as one secret."""

    def __init__(self, secret: AwsSecret) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return f"SecretStore({self._secret!r})"

    def read(self) -> Optional[Tuple[str, str]]:
        """The document and its version; none when AWS says that there is none.

        :raises Absent: when the secret is marked for deletion.
        :raises Corrupt: when its value is binary.
        :raises Denied, Unreachable, BadInput: as the error says.
        """
        held = self._secret.read()
        if held is None:
            return None
        if held.text is None:
            raise Corrupt(
                f"{self._secret.where}: its value is binary, and this collection keeps texts; put back the version before it"
            )
        return held.text, held.version

    def write(self, text: str, expected: Optional[str]) -> str:
        """Write a version if the present one is the expected one.

        :raises Conflict: when it is not; what is current was not changed.
        :raises Denied, Refused, Unreachable, BadInput, Absent: as the error says.
        """
        return self._secret.write(text, expected, token_of(expected, text))

    def check_write(self, expected: Optional[str]) -> None:
        """Nothing: AWS tells rights to whoever may read its policies, and not to whoever has them."""

    def time(self) -> Optional[datetime]:
        """What AWS's clock says now, to the second; none before its first answer."""
        return self._secret.time()

    def versions(self) -> List[StoredVersion]:
        """The versions that AWS still has, the current one first. One that lost a race is among them: AWS tells them not apart.

        :raises Denied, Unreachable: as the error says.
        """
        return [
            StoredVersion(
                item.version,
                "current" if CURRENT in item.stages else "old",
                item.made.astimezone(timezone.utc),
            )
            for item in self._secret.versions()
        ]


def open_secret_store(reference: Reference, context: Context, option: str) -> SecretStore:
    """The store of a ``ref+awssecrets`` reference; nothing is read yet.

    :raises BadInput, MissingLibrary: when reference or environment lack something.
    """
    strange = sorted({"version_id", "version_stage"} & set(reference.params))
    if strange:
        raise BadInput(
            f"{option}: {reference.place}: '{strange[0]}' is for reading values; a keyring is always its current version"
        )
    path = reference.path
    name = path if path.startswith("arn:") else escape(path, IN_SECRETS)
    caller = AwsCaller(aws_settings(reference, context, option), context, option, "secretsmanager")
    return SecretStore(AwsSecret(caller, name, reference.params.get("kms_key_id", "")))
