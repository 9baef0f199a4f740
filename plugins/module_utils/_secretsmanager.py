# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One secret of AWS Secrets Manager: a version, and AWSCURRENT moved to it by compare-and-set.

AWS documents of UpdateSecretVersionStage that it fails when the label is attached to another version than the one it is to be
taken from: that makes a compare-and-set of moving AWSCURRENT. PutSecretValue alone, which moves it by itself, has none; it is
only used to make the version, under a label of our own. The version's id is the request's token, so a write that is sent again
makes no second one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import AwsCaller
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws_errors import text_in
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    KeyturnError,
    Refused,
    Unreachable,
)

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
WRITTEN = "keyturn"
"""The label that a version bears from when it is made until the next one is."""

LIMIT = 65536
_MARKED = "InvalidRequestException"


@dataclass(frozen=True)
class Held:
    """A version with its value.

    :param text: none where the value is binary.
    """

    version: str
    text: Optional[str]
    stages: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """A version without its value."""

    version: str
    stages: Tuple[str, ...]
    made: datetime


class AwsSecret:
    """One secret.

    :param name: its name or its ARN.
    :param key_id: the KMS key of a secret that is made here; AWS's own for Secrets Manager when empty.
    """

    def __init__(self, caller: AwsCaller, name: str, key_id: str) -> None:
        self._caller = caller
        self._name = name
        self._key_id = key_id
        self._place = f"secret {name}"

    def __repr__(self) -> str:
        return f"AwsSecret({self._name})"

    @property
    def where(self) -> str:
        """How messages name it."""
        return self._caller.where(self._place)

    def time(self) -> Optional[datetime]:
        """What AWS's clock says now, to the second; none before its first answer."""
        return self._caller.time()

    def read(self, stage: str = CURRENT) -> Optional[Held]:
        """The version that bears a label; none when AWS says that there is none.

        :raises Absent: when the secret is marked for deletion: it still has its values, and they can be brought back.
        :raises Denied, Unreachable, BadInput: as the error says.
        """

        def ask(client: Any) -> Held:
            answer = client.get_secret_value(SecretId=self._name, VersionStage=stage)
            text = text_in(answer, "SecretString") if "SecretString" in answer else None
            return Held(
                text_in(answer, "VersionId"), text, tuple(answer.get("VersionStages") or ())
            )

        try:
            held: Held = self._caller.call(
                f"{self._place} ({stage})", "secretsmanager:GetSecretValue", ask
            )
        except Absent as error:
            if error.details.get("code") == _MARKED:
                raise
            return None
        return held

    def read_version(self, version: str) -> Optional[Held]:
        """A version by its id, whatever labels it bears; none where AWS has it no more.

        :raises Absent: when the secret is marked for deletion.
        :raises Denied, Unreachable, BadInput: as the error says.
        """

        def ask(client: Any) -> Held:
            answer = client.get_secret_value(SecretId=self._name, VersionId=version)
            text = text_in(answer, "SecretString") if "SecretString" in answer else None
            return Held(text_in(answer, "VersionId"), text)

        try:
            held: Held = self._caller.call(
                f"{self._place} (version {version})", "secretsmanager:GetSecretValue", ask
            )
        except Absent as error:
            if error.details.get("code") == _MARKED:
                raise
            return None
        return held

    def versions(self) -> List[Listed]:
        """All versions that AWS still has, the current one first, then the newest; empty when no version is current.

        :raises Denied, Unreachable: as the error says.
        """

        def ask(client: Any) -> List[Listed]:
            found: List[Listed] = []
            token: Dict[str, str] = {}
            while True:
                answer = client.list_secret_version_ids(
                    SecretId=self._name, IncludeDeprecated=True, MaxResults=100, **token
                )
                found += [_listed(item) for item in answer["Versions"]]
                if not answer.get("NextToken"):
                    return found
                token = {"NextToken": answer["NextToken"]}

        if self.read() is None:
            return []
        listed: List[Listed] = self._caller.call(
            self._place, "secretsmanager:ListSecretVersionIds", ask
        )
        newest = sorted(listed, key=lambda item: item.made, reverse=True)
        return sorted(newest, key=lambda item: CURRENT not in item.stages)

    def check(self, text: str) -> None:
        """Refuse a text that a secret cannot hold.

        :raises BadInput: before anything is written.
        """
        size = len(text.encode("utf-8", "surrogatepass"))
        if not 0 < size <= LIMIT:
            raise BadInput(
                f"{self.where}: the value has {size} bytes, and a secret of AWS holds 1 to {LIMIT}; nothing was written"
            )

    def write(self, text: str, expected: Optional[str], token: str) -> str:
        """Make a version and move AWSCURRENT to it, if it is on the expected one.

        :param expected: the version that :meth:`read` gave; none: no version bears AWSCURRENT.
        :param token: the new version's id, 32 to 64 characters; the same one again for the same write.
        :return: the new version's id.
        :raises Conflict: when AWSCURRENT is elsewhere; no value in use was changed.
        :raises BadInput, Denied, Refused, Unreachable: as the error says.
        """
        self.check(text)
        if expected is None and self._create(text, token):
            return token
        if CURRENT in self.put(text, token, (WRITTEN,)) and expected is None:
            return token
        self.move(CURRENT, token, expected)
        return token

    def _create(self, text: str, token: str) -> bool:
        """Make the secret with its first value; false when it is there without one, as infrastructure as code leaves it."""
        if self._name.startswith("arn:"):
            return False
        key = {"KmsKeyId": self._key_id} if self._key_id else {}

        def ask(client: Any) -> str:
            answer = client.create_secret(
                Name=self._name, SecretString=text, ClientRequestToken=token, **key
            )
            return str(answer["VersionId"])

        try:
            self._caller.call(self._place, "secretsmanager:CreateSecret", ask, writes=True)
        except (Conflict, Unreachable) as error:
            found = self._seen(error)
            if found and found.version == token and error.details.get("uncertain"):
                return True
            if isinstance(error, Unreachable):
                raise
            if found:
                raise self._conflict() from None
            return False
        return True

    def _seen(self, error: KeyturnError) -> Optional[Held]:
        """What is current now, after a write whose end is not known; none also when that cannot be told."""
        if isinstance(error, Unreachable) and not error.details.get("uncertain"):
            return None
        try:
            return self.read()
        except Unreachable:
            return None

    def _conflict(self) -> Conflict:
        return Conflict(
            f"{self.where}: somebody else wrote there first; what is current was not changed. Run again"
        )

    def put(self, text: str, token: str, stages: Sequence[str]) -> Tuple[str, ...]:
        """Make a version that bears these labels; AWS makes it once, however often it is asked to.

        :return: the labels that it bears: the first version of a secret also gets AWSCURRENT.
        :raises Absent, Denied, Refused, Unreachable: as the error says.
        """

        def ask(client: Any) -> Tuple[str, ...]:
            answer = client.put_secret_value(
                SecretId=self._name,
                SecretString=text,
                ClientRequestToken=token,
                VersionStages=list(stages),
            )
            return tuple(answer["VersionStages"])

        try:
            found: Tuple[str, ...] = self._caller.call(
                self._place, "secretsmanager:PutSecretValue", ask
            )
        except Refused as error:
            raise Refused(
                f"{self.where}: AWS keeps each version for a day and 100 of them at most, and this secret has them; wait until some are "
                "a day old, or keep what is written so often somewhere else",
                **error.details,
            ) from None
        return found

    def move(self, stage: str, to: Optional[str], expected: Optional[str]) -> None:
        """Move a label to a version, or take it off, if it is on the expected one.

        :raises Conflict: when it is elsewhere.
        :raises Denied, Unreachable: as the error says.
        """
        which: Dict[str, str] = {"SecretId": self._name, "VersionStage": stage}
        if to:
            which["MoveToVersionId"] = to
        if expected:
            which["RemoveFromVersionId"] = expected

        error = self._try_move(which)
        if error is None or self._is_moved(stage, to, expected, error, error):
            return
        # The answer was lost and the label is where it was: nothing took effect.
        again = self._try_move(which)
        if again and not self._is_moved(stage, to, expected, error, again):
            raise again

    def _try_move(self, which: Mapping[str, str]) -> Optional[KeyturnError]:
        def ask(client: Any) -> str:
            return str(client.update_secret_version_stage(**which)["ARN"])

        action = "secretsmanager:UpdateSecretVersionStage"
        try:
            self._caller.call(self._place, action, ask, writes=True)
        except (BadInput, Absent, Unreachable) as error:
            return error
        return None

    def _is_moved(
        self,
        stage: str,
        to: Optional[str],
        expected: Optional[str],
        first: KeyturnError,
        error: KeyturnError,
    ) -> bool:
        """Whether a move is done whose answer was lost; false when it may be tried again.

        :param first: the error of the first try: after a lost answer, the second one is refused for what the first did.
        :raises Conflict: when the label is elsewhere.
        :raises KeyturnError: the error itself, when it has another cause.
        """
        lost = bool(first.details.get("uncertain"))
        if isinstance(error, Unreachable) and not lost:
            raise error
        held = self.read(stage)
        now = held.version if held else None
        if lost and now == to:
            return True
        if now != expected:
            raise self._conflict()
        if not lost:
            raise error
        return False

    def delete(self) -> None:
        """Mark the secret for deletion; AWS keeps it for 30 days, in which it can be brought back.

        :raises Denied, Unreachable: as the error says.
        """
        self._caller.call(
            self._place,
            "secretsmanager:DeleteSecret",
            lambda client: client.delete_secret(SecretId=self._name)["ARN"],
        )


def _listed(item: Mapping[str, Any]) -> Listed:
    return Listed(item["VersionId"], tuple(item.get("VersionStages") or ()), item["CreatedDate"])
