# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret of AWS Secrets Manager as a place for sinks: its text, or the keys of the JSON in it.

* A write makes a version and moves AWSCURRENT to it from the version that was read, which AWS refuses when the label is elsewhere.
  AWS moves AWSPREVIOUS to the version before by itself: ``current`` and ``previous`` of a keyring are then AWSCURRENT and AWSPREVIOUS.
* ``?version_stage=AWSPENDING`` is the place of what comes next: a sink of ``pending``, taken off again when there is none. A text
  that already bears AWSPENDING when it becomes current is not written a second time: the label AWSCURRENT moves to it.
* AWS never takes AWSPREVIOUS off by itself. ``?version_stage=AWSPREVIOUS`` is the place of a sink of ``previous`` with ``absent: remove``:
  when the stage ends, so does the label, and a reader that takes what bears it takes no value that was retired.
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
from ansible_collections.keyturn.runbooks.plugins.module_utils._secretsmanager import (
    CURRENT,
    PENDING,
    PREVIOUS,
    WRITTEN,
    AwsSecret,
    Held,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._define import WHOLE
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Codec,
    edited,
    known,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Changes,
    Observed,
    Stale,
    no_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import IN_SECRETS


class SecretPlace:
    """One label of one secret.

    :param stage: AWSCURRENT, AWSPENDING or AWSPREVIOUS.
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
        held = self._foreseen() or self._secret.read(self._stage)
        if held is None:
            return Observed({}, exists=False)
        if held.text is None:
            if names != (WHOLE,):
                raise Corrupt(
                    f"{self._where}: its value is binary and has no keys; nothing was changed"
                )
            return Observed({WHOLE: None}, held.version, notes=(no_text("it"),), state=held)
        notes = self._codec.notes(held.text, names)
        fields = self._codec.fields(held.text, names, self._where)
        return Observed(fields, held.version, notes=notes, state=held)

    def check_write(self, observed: Observed, changes: Changes) -> None:
        """Find out what would stop a write: the size.

        :raises BadInput, Corrupt: as :meth:`write`.
        """
        if some := known(changes):
            text = self._edited(observed, some)
            if text is not None and self._stage == CURRENT and isinstance(observed.state, Held):
                # AWS would move AWSPREVIOUS to what is current now.
                self._context.foreseen[self._moved] = {"held": observed.state}

    @property
    def _moved(self) -> str:
        return f"{PREVIOUS} of {self._secret!r}"

    def _foreseen(self) -> Optional[Held]:
        """What would bear AWSPREVIOUS after what earlier steps of this dry run would have written."""
        if self._stage != PREVIOUS or not self._context.check_mode:
            return None
        held = self._context.foreseen.get(self._moved, {}).get("held")
        return held if isinstance(held, Held) else None

    def _edited(self, observed: Observed, changes: Changes) -> Optional[str]:
        before = observed.state.text or "" if isinstance(observed.state, Held) else ""
        return edited(self._codec, before, changes, self._where, self._secret.check)

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
            if self._stage == CURRENT:
                return self._promote(text, expected)
            return self._attach(text, expected)
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

    def _attach(self, text: str, expected: Optional[str]) -> str:
        """Have a version with this text bear the place's label: the current one where it is that, else a new one."""
        self._secret.check(text)
        current = self._secret.read()
        if current is None:
            raise BadInput(
                f"{self._where}: no version is current yet, and AWS makes the first one current; write AWSCURRENT first"
            )
        token = current.version
        if self._stage == PENDING or current.text != text:
            token = self._context.randbytes(16).hex()
            self._secret.put(text, token, (WRITTEN,))
        self._secret.move(self._stage, token, expected)
        return token

    def _remove(self, expected: Optional[str]) -> None:
        if expected is None:
            return
        if self._stage != CURRENT:
            self._secret.move(self._stage, None, expected)
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
    if stage not in (CURRENT, PENDING, PREVIOUS):
        raise BadInput(
            f"{where}: 'version_stage' must be {CURRENT}, {PENDING} or {PREVIOUS}, the labels of AWS"
        )
    name = reference.path
    if not name.startswith("arn:") and IN_SECRETS.search(name.replace("_.", "--")):
        raise BadInput(
            f"{where}: '{name}' is no name for a secret; AWS takes letters, digits and / _ + = . @ -"
        )
    caller = AwsCaller(aws_settings(reference, context, where), context, where, "secretsmanager")
    secret = AwsSecret(caller, name, reference.params.get("kms_key_id", ""))
    return SecretPlace(secret, stage, codec, context, where)
