# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A document in AWS's Parameter Store: ``ref+awsssm://path/of/keyring``.

* Each version is a parameter of its own below the path, named by its number in ten digits: ``/path/of/keyring/0000000007``. It is
  made with ``Overwrite=False``, which AWS does for one of two that try at once and refuses the other. That alone decides who wins;
  nothing here relies on a read that is up to date, because AWS promises none.
* The document is the highest number. A list that lags behind is found out: beside the highest one that it tells, the next ones
  are asked for by name.
* A version is made only while the one before it is there and the one after it is not. When it is made, the one before is looked for
  again: while that is there, nothing above can have been pruned, so ours is the first of its number and the newest. If it is gone,
  the list decides: where a number above ours is older than ours, ours was made from a document that is long gone. It is deleted,
  which nobody has seen as the highest, and the write is a conflict.
* Each fifth write keeps the five newest versions and deletes those below. A number is never used again, except in the way just told.
* A value is ``keyturn1:WRITE:TEXT``: the id of the write, by which a write whose answer was lost is looked up, and the text, zlib
  and base64. AWS takes no empty value and no double braces, and a keyring of 5 KB takes about 4 KB this way.
* A value of more than 4 KB makes an advanced parameter, which AWS charges for; one of more than 8 KB is refused before anything is
  written.
* SecureString, under ``?kms_key_id=`` or the account's own key of Parameter Store. What a name of AWS's cannot hold is written
  ``_.HEX.``.
* Rights: ``ssm:GetParametersByPath`` on the path; ``ssm:GetParameters``, ``ssm:PutParameter`` and ``ssm:DeleteParameters`` on what is
  below it; ``kms:Decrypt`` and ``kms:Encrypt`` on the key, for advanced parameters ``kms:GenerateDataKey``.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import (
    AwsCaller,
    aws_settings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Corrupt,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import (
    IN_PARAMETERS,
    check_parameter_name,
    escape,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import (
    ADVANCED,
    STANDARD,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._store_port import StoredVersion

KEPT = 5
_ASKED = 10
_LOOKS = 3
_MARK = "keyturn1"
_NUMBER = re.compile(r"[0-9]{10}\Z")


@dataclass(frozen=True)
class _Listed:
    """A version that the list tells of."""

    number: int
    made: datetime


def pack(text: str, write: str) -> str:
    """The value of a parameter for a text.

    :param write: the id of the write.
    """
    packed = zlib.compress(text.encode("utf-8", "surrogatepass"), 9)
    return f"{_MARK}:{write}:{base64.b64encode(packed).decode()}"


def unpack(value: str, where: str) -> str:
    """The text that :func:`pack` was given.

    :raises Corrupt: when it is no such value.
    """
    mark, _colon, rest = value.partition(":")
    try:
        if mark != _MARK:
            raise ValueError
        packed = base64.b64decode(rest.partition(":")[2].encode(), validate=True)
        return zlib.decompress(packed).decode("utf-8", "surrogatepass")
    except (ValueError, binascii.Error, zlib.error):
        raise Corrupt(
            f"{where}: this is not as this collection writes a keyring; put back the parameter as it was, or delete it: the one before "
            "it then counts"
        ) from None


class ParameterStore:
    """One document as parameters below one path."""

    def __init__(self, caller: AwsCaller, path: str, key_id: str, context: Context) -> None:
        self._caller = caller
        self._path = path
        self._key_id = key_id
        self._context = context
        self._place = f"parameters below {path}"
        self._seen = 0

    def __repr__(self) -> str:
        return f"ParameterStore({self._path})"

    def _name(self, number: int) -> str:
        return f"{self._path}/{number:010d}"

    def _list(self) -> List[_Listed]:
        """The versions that AWS tells of, newest first. Their values stay encrypted."""

        def ask(client: Any) -> List[_Listed]:
            pages = client.get_paginator("get_parameters_by_path").paginate(
                Path=self._path, WithDecryption=False
            )
            found = [
                (item["Name"].rpartition("/")[2], item["LastModifiedDate"])
                for page in pages
                for item in page["Parameters"]
            ]
            return [_Listed(int(name), made) for name, made in found if _NUMBER.match(name)]

        listed: List[_Listed] = self._caller.call(self._place, "ssm:GetParametersByPath", ask)
        return sorted(listed, key=lambda item: item.number, reverse=True)

    def _values(self, *numbers: int) -> Dict[int, str]:
        """The values of those of these versions that are there."""
        names = [self._name(number) for number in numbers if number > 0]

        def ask(client: Any) -> Dict[int, str]:
            answer = client.get_parameters(Names=names, WithDecryption=True)
            answer["InvalidParameters"]  # An answer of AWS's says which are not there.
            return {
                int(item["Name"].rpartition("/")[2]): str(item["Value"])
                for item in answer["Parameters"]
            }

        found: Dict[int, str] = self._caller.call(self._place, "ssm:GetParameters", ask)
        return found

    def read(self) -> Optional[Tuple[str, str]]:
        """The document and its version; none when AWS says that there is none.

        :raises Corrupt: when the newest parameter is not of our making.
        :raises Denied, Unreachable, BadInput, Conflict: as the error says.
        """
        for _look in range(_LOOKS):
            if not self._seen:
                listed = self._list()
                if not listed:
                    return None
                self._seen = listed[0].number
            found = self._upwards(self._seen)
            if found:
                number = self._seen = max(found)
                where = self._caller.where(f"parameter {self._name(number)}")
                return unpack(found[number], where), str(number)
            self._seen = 0
        raise Conflict(
            f"{self._caller.where(self._place)}: each newest version was deleted while it was read; find out who deletes there"
        )

    def _upwards(self, number: int) -> Dict[int, str]:
        """The values from this version on, as far as the newest."""
        found: Dict[int, str] = {}
        while True:
            ahead = self._values(*range(number, number + _ASKED))
            found.update(ahead)
            if number + _ASKED - 1 not in ahead:
                return found
            number += _ASKED - 1

    def write(self, text: str, expected: Optional[str]) -> str:
        """Write the next version if the present one is the expected one.

        :raises Conflict: when it is not; nothing was written.
        :raises BadInput: when the document is larger than a parameter can be.
        :raises Denied, Unreachable: as the error says.
        """
        before = int(expected) if expected is not None else 0
        number, write = before + 1, self._context.randbytes(8).hex()
        value = self._fitting(pack(text, write))
        self._expect(before)
        self._make(number, value)
        self._confirm(number)
        self._seen = number
        if number % KEPT == 0:
            self._prune()
        return str(number)

    def _fitting(self, value: str) -> str:
        if len(value) > ADVANCED:
            raise BadInput(
                f"{self._caller.where(self._place)}: the keyring takes {len(value)} bytes there, compressed, and a parameter of AWS holds "
                f"{ADVANCED}; nothing was written. Keep it in AWS Secrets Manager (ref+awssecrets://, 64 KB), in Vault or in a file, or "
                "drop what it no longer needs"
            )
        return value

    def _conflict(self) -> Conflict:
        return Conflict(
            f"{self._caller.where(self._place)}: somebody else wrote there first; nothing was written. Run again"
        )

    def _expect(self, before: int) -> None:
        """Find out early, and for a keyring that was deleted and made anew, that the expected version is not the newest."""
        if before:
            found = self._values(before, before + 1)
            gone = before not in found or before + 1 in found
        else:
            gone = bool(self._list())
        if gone:
            raise self._conflict()

    def _make(self, number: int, value: str) -> None:
        name = self._name(number)
        key = {"KeyId": self._key_id} if self._key_id else {}
        tier = "Advanced" if len(value) > STANDARD else "Standard"

        def ask(client: Any) -> int:
            answer = client.put_parameter(
                Name=name, Value=value, Type="SecureString", Overwrite=False, Tier=tier, **key
            )
            return int(answer["Version"])

        try:
            self._caller.call(f"parameter {name}", "ssm:PutParameter", ask, writes=True)
        except (Conflict, Unreachable) as error:
            if error.details.get("uncertain") and self._is_made(number, value):
                return
            raise

    def _is_made(self, number: int, value: str) -> bool:
        """Whether a write whose answer was lost was done: the value has the id of the write in it."""
        try:
            return self._values(number).get(number) == value
        except KeyturnError:
            return False

    def _confirm(self, number: int) -> None:
        """Make sure that what was just made stands on the newest version."""
        if number > 1 and number - 1 in self._values(number - 1):
            return
        made = {item.number: item.made for item in self._list()}
        above = [moment for other, moment in made.items() if other > number]
        if number in made and any(moment < made[number] for moment in above):
            self._delete([number])
            raise self._conflict()
        if number not in made and above:
            raise Unreachable(
                f"{self._caller.where(self._place)}: version {number} was written and is gone, while others wrote {len(above)} more: it "
                "cannot be told whether those stand on it. Run again",
                uncertain=True,
            )

    def _delete(self, numbers: List[int]) -> None:
        try:
            self.remove(numbers)
        except KeyturnError as error:
            self._context.warn(f"old versions of the keyring stay: {error.message}")

    def remove(self, numbers: List[int]) -> None:
        """Remove versions; one that is not there is none the less gone.

        :raises Denied, Unreachable: as the error says.
        """
        names = [self._name(number) for number in sorted(numbers)]
        for start in range(0, len(names), _ASKED):
            self._delete_named(names[start : start + _ASKED])

    def _delete_named(self, names: List[str]) -> None:
        self._caller.call(
            self._place,
            "ssm:DeleteParameters",
            lambda client: client.delete_parameters(Names=names)["DeletedParameters"],
        )

    def older_texts(self) -> Dict[int, str]:
        """The older versions that are kept, by number.

        :raises Corrupt: when one of them is not of our making.
        :raises Denied, Unreachable: as the error says.
        """
        numbers = [item.number for item in self._list()[1:]]
        found: Dict[int, str] = {}
        for start in range(0, len(numbers), _ASKED):
            found.update(self._values(*numbers[start : start + _ASKED]))
        return {
            number: unpack(value, self._caller.where(f"parameter {self._name(number)}"))
            for number, value in found.items()
        }

    def _prune(self) -> None:
        self._delete([item.number for item in self._list()[KEPT:]])

    def check_write(self, expected: Optional[str]) -> None:
        """Nothing: AWS tells rights to whoever may read its policies, and not to whoever has them."""

    def time(self) -> Optional[datetime]:
        """What AWS's clock says now, to the second; none before its first answer."""
        return self._caller.time()

    def versions(self) -> List[StoredVersion]:
        """The versions that are kept, newest first.

        :raises Denied, Unreachable: as the error says.
        """
        return [
            StoredVersion(
                str(item.number),
                "old" if place else "current",
                item.made.astimezone(timezone.utc),
            )
            for place, item in enumerate(self._list())
        ]


def open_parameter_store(reference: Reference, context: Context, option: str) -> ParameterStore:
    """The store of a ``ref+awsssm`` reference; nothing is read yet.

    :raises BadInput, MissingLibrary: when reference or environment lack something.
    """
    strange = sorted({"mode", "recursive", "version"} & set(reference.params))
    where = f"{option}: {reference.place}"
    if strange:
        raise BadInput(
            f"{where}: '{strange[0]}' is for reading values; a keyring is always its newest version"
        )
    if reference.path.startswith("arn:"):
        check_parameter_name(reference.path, where)
    path = "/" + escape(reference.path, IN_PARAMETERS)
    check_parameter_name(f"{path}/0000000001", where)
    caller = AwsCaller(aws_settings(reference, context, option), context, option, "ssm")
    return ParameterStore(caller, path, reference.params.get("kms_key_id", ""), context)
