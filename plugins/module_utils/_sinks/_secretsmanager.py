# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret of AWS Secrets Manager as a place for sinks: its text, or the keys of the JSON in it.

* A write makes a version and moves AWSCURRENT to it from the version that was read, which AWS refuses when the label is elsewhere.
  AWS moves AWSPREVIOUS to the version before by itself: ``current`` and ``previous`` of a keyring are then AWSCURRENT and AWSPREVIOUS.
* ``?version_stage=AWSPENDING`` is the place of what comes next: a sink of ``pending``, taken off again when there is none. A text
  that already bears AWSPENDING when it becomes current is not written a second time: the label AWSCURRENT moves to it.
* Rights on the secret: ``secretsmanager:GetSecretValue``, ``PutSecretValue``, ``UpdateSecretVersionStage``; ``CreateSecret`` where it
  is to be made, ``DeleteSecret`` where it is to be removed; with a key of one's own ``kms:Decrypt`` and ``kms:GenerateDataKey`` on it.
"""

from __future__ import annotations

from typing import ContextManager, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import (
    AwsCaller,
    aws_settings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Corrupt,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import reveal
from ansible_collections.keyturn.runbooks.plugins.module_utils._secretsmanager import (
    CURRENT,
    PENDING,
    WRITTEN,
    AwsSecret,
    Held,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._define import WHOLE
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import Codec
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Changes,
    Observed,
    Stale,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import IN_SECRETS


class SecretPlace:
    """One label of one secret.

    :param stage: AWSCURRENT or AWSPENDING.
    :param where: how messages name it.
    """

    def __init__(
        self, secret: AwsSecret, stage: str, codec: Codec, context: Context, where: str
    ) -> None:
        self._secret = secret
        self._stage = stage
        self._codec = codec
        self._context = context
        self._where = where

    def exclusive(self) -> Optional[ContextManager[None]]:
        """Nothing: AWS compares and sets."""
        return None

    def tidy(self) -> None:
        """Nothing: a write is done or not."""

    def check(self, changes: Changes) -> None:
        """Refuse values that the text cannot carry.

        :raises BadInput: naming the field.
        """
        self._codec.check(changes, self._where)

    def read(self, names: Tuple[str, ...]) -> Observed:
        """The named fields.

        :raises Absent: when the secret is marked for deletion.
        :raises Denied, Unreachable, Corrupt, BadInput: as the error says.
        """
        held = self._secret.read(self._stage)
        if held is None:
            return Observed({}, exists=False)
        if held.text is None:
            if names != (WHOLE,):
                raise Corrupt(
                    f"{self._where}: its value is binary and has no keys; nothing was changed"
                )
            return Observed({WHOLE: None}, held.version, state=held)
        notes = self._codec.notes(held.text, names)
        fields = self._codec.fields(held.text, names, self._where)
        return Observed(fields, held.version, notes=notes, state=held)

    def check_write(self, observed: Observed, changes: Changes) -> None:
        """Find out what would stop a write: the size.

        :raises BadInput, Corrupt: as :meth:`write`.
        """
        known = {name: value for name, value in changes.items() if value is None or value.known}
        if known:
            self._edited(observed, known)

    def _edited(self, observed: Observed, changes: Changes) -> Optional[str]:
        before = observed.state.text or "" if isinstance(observed.state, Held) else ""
        texts = {name: None if value is None else reveal(value) for name, value in changes.items()}
        text = self._codec.edit(before, texts, self._where)
        if text is not None:
            self._secret.check(text)
        return text

    def write(self, observed: Observed, changes: Changes) -> Optional[str]:
        """Write the next version; its id.

        :raises Stale: when the label is no longer on the version that was read.
        :raises BadInput, Denied, Refused, Unreachable: as the error says.
        """
        text = self._edited(observed, changes)
        expected = observed.version
        try:
            if text is None:
                self._remove(expected)
                return None
            if self._stage == PENDING:
                return self._propose(text, expected)
            return self._promote(text, expected)
        except Conflict as error:
            raise Stale(error.message) from None

    def _promote(self, text: str, expected: Optional[str]) -> str:
        """Make a text current: the version that bears AWSPENDING where it is the same, else a new one."""
        pending = self._secret.read(PENDING) if expected else None
        if pending and pending.text == text and pending.version != expected:
            self._secret.move(CURRENT, pending.version, expected)
            return pending.version
        # Not made from the value: whoever may list versions could try values out.
        return self._secret.write(text, expected, self._context.randbytes(16).hex())

    def _propose(self, text: str, expected: Optional[str]) -> str:
        self._secret.check(text)
        token = self._context.randbytes(16).hex()
        if self._secret.read() is None:
            raise BadInput(
                f"{self._where}: no version is current yet, and AWS makes the first one current; write AWSCURRENT first"
            )
        self._secret.put(text, token, (WRITTEN,))
        self._secret.move(PENDING, token, expected)
        return token

    def _remove(self, expected: Optional[str]) -> None:
        if expected is None:
            return
        if self._stage == PENDING:
            self._secret.move(PENDING, None, expected)
            return
        now = self._secret.read()
        if now is None or now.version != expected:
            raise Stale(f"{self._where}: somebody else wrote to it; nothing was removed")
        self._secret.delete()


def open_secret_place(
    reference: Reference, codec: Codec, context: Context, where: str
) -> SecretPlace:
    """The secret that a sink's reference names; nothing is read yet.

    :raises BadInput, MissingLibrary: when reference or environment lack something.
    """
    stage = reference.params.get("version_stage", CURRENT)
    if stage not in (CURRENT, PENDING):
        raise BadInput(
            f"{where}: 'version_stage' must be {CURRENT} or {PENDING}: AWS itself moves AWSPREVIOUS"
        )
    name = reference.path
    if not name.startswith("arn:") and IN_SECRETS.search(name.replace("_.", "--")):
        raise BadInput(
            f"{where}: '{name}' is no name for a secret; AWS takes letters, digits and / _ + = . @ -"
        )
    caller = AwsCaller(aws_settings(reference, context, where), context, where, "secretsmanager")
    secret = AwsSecret(caller, name, reference.params.get("kms_key_id", ""))
    return SecretPlace(secret, stage, codec, context, where)
