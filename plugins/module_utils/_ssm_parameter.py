# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of AWS's Parameter Store: read one or ten at a time, written one by one.

AWS has no compare-and-set on a parameter. A write tells the version that it made; where that is not the one that was read and
one more, somebody else wrote in between and was written over: this is found out and told, not prevented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import (
    AwsCaller,
    aws_settings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws_errors import (
    StrangeAnswer,
    text_in,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_mark import (
    Mark,
    mark_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import (
    check_parameter_name,
)

STANDARD, ADVANCED = 4096, 8192
"""The bytes that a parameter of each tier holds, as AWS documents them."""

AT_ONCE = 10
"""How many parameters GetParameters and DeleteParameters take."""

DESCRIBED_AT_ONCE = 50
SECURE = "SecureString"
_NESTED = re.compile(r"\{\{.*\}\}", re.DOTALL)
_ARN = re.compile(r"arn:[^:]*:ssm:[^:]*:[^:]*:parameter/")
_FULL = "ParameterMaxVersionLimitExceeded"
_KEPT = ("KeyId", "Tier", "Description", "AllowedPattern")


@dataclass(frozen=True)
class Found:
    """The newest version of a parameter."""

    value: Secret
    version: int
    kind: str
    data_type: str = "text"


@dataclass(frozen=True)
class Past:
    """A version of a parameter's history."""

    version: int
    value: Secret
    labels: Tuple[str, ...] = ()


def check_text(text: str, where: str) -> None:
    """Refuse a value that a parameter cannot hold.

    :raises BadInput: before anything is written.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if not text:
        raise BadInput(
            f"{where}: the value is empty, and a parameter of AWS is not; remove it instead"
        )
    if size > ADVANCED:
        raise BadInput(
            f"{where}: the value has {size} bytes, and a parameter of AWS holds {ADVANCED}; nothing was written. AWS Secrets Manager "
            "holds 64 KB"
        )
    if _NESTED.search(text):
        raise BadInput(
            f"{where}: AWS takes no value with double braces in it, as it would mean another parameter; nothing was written"
        )


def tier_for(text: str, tier: str) -> str:
    """The tier that a value needs; the given one where that is enough."""
    large = len(text.encode("utf-8", "surrogatepass")) > STANDARD
    return "Advanced" if large and tier in ("", "Standard") else tier


def _is_named(told: str, asked: str) -> bool:
    """Whether a parameter's name, or its ARN, is the one that was asked for."""
    if told == asked or (_ARN.match(told) and _ARN.match(asked)):
        return told == asked
    return _ARN.sub("", told).lstrip("/") == _ARN.sub("", asked).lstrip("/")


def answered(answer: Mapping[str, Any], name: str, version: Optional[int] = None) -> Found:
    """The parameter in an answer to GetParameter.

    :param version: the one that was asked for; none for the newest.
    :raises StrangeAnswer: when it is another one, or of no known shape.
    """
    item = answer["Parameter"]
    found = _found(item)
    if not _is_named(text_in(item, "Name"), name) or version not in (None, found.version):
        raise StrangeAnswer
    return found


def _found(item: Mapping[str, Any]) -> Found:
    value, kind = Secret(text_in(item, "Value")), str(item["Type"])
    return Found(value, int(item["Version"]), kind, str(item.get("DataType") or "text"))


class Parameters:
    """The parameters of one account and region."""

    def __init__(self, caller: AwsCaller) -> None:
        self._caller = caller

    def where(self, name: str) -> str:
        """How messages name a parameter."""
        return self._caller.where(f"parameter {name}")

    def read(self, names: Sequence[str]) -> Dict[str, Found]:
        """Those of up to ten parameters that are there, decrypted.

        :param names: each may end in ``:LABEL``; the answer has them without it.
        :raises Denied: when one of them is denied: AWS answers nothing then.
        :raises Unreachable, BadInput: as the error says.
        """

        def ask(client: Any) -> Dict[str, Found]:
            answer = client.get_parameters(Names=list(names), WithDecryption=True)
            answer["InvalidParameters"]  # An answer of AWS's says which are not there.
            return {str(item["Name"]): _found(item) for item in answer["Parameters"]}

        place = f"parameter {names[0]}" if len(names) == 1 else f"parameters {names[0]} and others"
        found: Dict[str, Found] = self._caller.call(place, "ssm:GetParameters", ask)
        return found

    def read_one(self, name: str) -> Optional[Found]:
        """A parameter, decrypted; none when AWS says that there is none.

        :raises Denied, Unreachable, BadInput: as the error says.
        """

        def ask(client: Any) -> Found:
            return answered(client.get_parameter(Name=name, WithDecryption=True), name)

        try:
            found: Found = self._caller.call(f"parameter {name}", "ssm:GetParameter", ask)
        except Absent:
            return None
        return found

    def attributes(self, names: Sequence[str]) -> Dict[str, Dict[str, str]]:
        """What up to fifty parameters have beside their values, as PutParameter takes it.

        :raises Denied, Unreachable, BadInput: as the error says.
        """
        return {
            name: {key: str(item[key]) for key in _KEPT if item.get(key)}
            for name, item in self._described(names).items()
        }

    def marks(self, versions: Mapping[str, int]) -> Dict[str, Mark]:
        """What is told of the rotations of up to fifty parameters, of those that have a mark: see :mod:`_ssm_mark`.

        :param versions: by the parameter's name. Where AWS tells of another version by now, it is not known which rotation it is of.
        :raises Denied, Unreachable, BadInput: as the error says.
        """
        found = {}
        for name, item in self._described(list(versions)).items():
            mark = mark_of(str(item.get("Description") or ""), versions.get(name, 0))
            if mark and name in versions:
                same = int(item["Version"]) == versions[name]
                found[name] = mark if same else Mark("", mark.group)
        return found

    def _described(self, names: Sequence[str]) -> Dict[str, Mapping[str, Any]]:
        wanted = [{"Key": "Name", "Option": "Equals", "Values": list(names)}]

        def ask(client: Any) -> Dict[str, Mapping[str, Any]]:
            found: Dict[str, Mapping[str, Any]] = {}
            pages = client.get_paginator("describe_parameters").paginate(
                ParameterFilters=wanted, PaginationConfig={"PageSize": DESCRIBED_AT_ONCE}
            )
            for page in pages:
                found.update((str(item["Name"]), item) for item in page["Parameters"])
                # A page may be short, and then says that there are more although there are none.
                if found.keys() >= set(names):
                    break
            return found

        place = f"parameter {names[0]}" if len(names) == 1 else f"parameters {names[0]} and others"
        found: Dict[str, Mapping[str, Any]] = self._caller.call(
            place, "ssm:DescribeParameters", ask
        )
        return found

    def kept(self, name: str, before: Found, key_id: str) -> Dict[str, str]:
        """What must be written along so that it stays: AWS's own key would take the place of one that is not named.

        :param key_id: the key that the user names; empty for the one that it has.
        :raises Denied: when it cannot be seen and is needed.
        """
        blind = before.kind == SECURE and not key_id
        try:
            found = self.attributes([name]).get(name)
        except Denied as error:
            if blind:
                raise self.blind(name, error) from None
            found = {}
        if found is None and blind:
            raise self.undescribed(name)
        return {**(found or {}), "KeyId": key_id} if key_id else found or {}

    def blind(self, name: str, error: Denied) -> Denied:
        """The error for a parameter whose key cannot be seen."""
        return Denied(
            f"{self.where(name)}: AWS denies this identity ssm:DescribeParameters, so its KMS key cannot be seen, and a write that does "
            "not name it would go to the account's own key; allow that on *, or name the key (kms_key_id)",
            **error.details,
        )

    def not_compared(self, name: str, error: Denied) -> Denied:
        """The error for a parameter of which it cannot be seen whether it is as the options say."""
        return Denied(
            f"{self.where(name)}: AWS denies this identity ssm:DescribeParameters, so it cannot be seen whether its key, tier and "
            "description are those of the options; allow that on *, or leave these options out",
            **error.details,
        )

    def undescribed(self, name: str) -> Conflict:
        """The error for a parameter that has a value and no description: without its key it would go to the account's own."""
        return Conflict(
            f"{self.where(name)}: AWS tells its value and not its KMS key: it was just made, or removed meanwhile; nothing was written. "
            "Run again"
        )

    def create(self, name: str, text: str, kind: str, **given: Any) -> int:
        """Make a parameter that is not there; its version.

        :param given: further arguments of PutParameter.
        :raises Conflict: when somebody else made it.
        :raises BadInput, Denied, Refused, Unreachable: as the error says.
        """
        return self._put(name, text, 0, {"Type": kind, "Overwrite": False, **given})

    def overwrite(self, name: str, text: str, before: Found, **given: Any) -> int:
        """Write a further version; its number.

        :param given: further arguments of PutParameter, :meth:`kept` among them.
        :raises Conflict: when somebody else wrote between reading and writing, and was written over.
        :raises BadInput, Denied, Refused, Unreachable: as the error says.
        """
        if before.data_type != "text":
            given.setdefault("DataType", before.data_type)
        given.setdefault("Type", before.kind)
        if given["Type"] != SECURE:
            given.pop("KeyId", None)
        return self._put(name, text, before.version, {"Overwrite": True, **given})

    def _put(self, name: str, text: str, before: int, given: Dict[str, Any]) -> int:
        tier = tier_for(text, given.pop("Tier", ""))
        if tier:
            given["Tier"] = tier

        def ask(client: Any) -> int:
            return int(client.put_parameter(Name=name, Value=text, **given)["Version"])

        try:
            version: int = self._caller.call(
                f"parameter {name}", "ssm:PutParameter", ask, writes=True
            )
        except Refused as error:
            raise self._full(name, error) from None
        except (Conflict, Unreachable) as error:
            if not error.details.get("uncertain"):
                raise
            version = self._looked_up(name, text, before, error)
        if version != before + 1:
            raise self._written_over(name, before, version)
        return version

    def _looked_up(self, name: str, text: str, before: int, error: KeyturnError) -> int:
        """The version that a write whose answer was lost made.

        :raises KeyturnError: the error itself, when the write cannot be seen.
        """
        try:
            found = self.read([name]).get(name)
        except KeyturnError:
            raise error from None
        if found is None or found.version <= before or found.value != Secret(text):
            raise error
        return found.version

    def _written_over(self, name: str, before: int, version: int) -> Conflict:
        others = f"{before + 1}" if version == before + 2 else f"{before + 1} to {version - 1}"
        return Conflict(
            f"{self.where(name)}: somebody else wrote version {others} after version {before} was read here, and this write, version "
            f"{version}, stands above it: AWS has no compare-and-set. See 'aws ssm get-parameter-history' for what was written over, "
            "find out who writes there, then run again",
            version=version,
            version_before=before,
            written=True,
        )

    def _full(self, name: str, error: Refused) -> Refused:
        if error.details.get("code") != _FULL:
            return error
        try:
            version, labels = self.oldest(name)
        except KeyturnError:
            return error
        moved = f"aws ssm label-parameter-version --name {name} --labels {' '.join(labels)}"
        return Refused(
            f"{self.where(name)}: it has 100 versions, and AWS does not drop the oldest, {version}, because of its label "
            f"{', '.join(labels) or '(none)'}. Move the label to a newer one ('{moved} --parameter-version NUMBER'), or take it off "
            "(unlabel-parameter-version), then run again",
            **{**error.details, "labels": labels, "oldest": version},
        )

    def oldest(self, name: str) -> Tuple[int, List[str]]:
        """The number and the labels of the oldest version.

        :raises Denied, Unreachable: as the error says.
        """

        def ask(client: Any) -> Tuple[int, List[str]]:
            pages = client.get_paginator("get_parameter_history").paginate(
                Name=name, WithDecryption=False
            )
            return min(
                (int(item["Version"]), sorted(item.get("Labels") or ()))
                for page in pages
                for item in page["Parameters"]
            )

        found: Tuple[int, List[str]] = self._caller.call(
            f"parameter {name}", "ssm:GetParameterHistory", ask
        )
        return found

    def history(self, name: str) -> List[Past]:
        """Every version that AWS still has, decrypted, the oldest first; empty when AWS says that there is no such parameter.

        :raises Denied, Unreachable, BadInput: as the error says.
        """

        def ask(client: Any) -> List[Past]:
            pages = client.get_paginator("get_parameter_history").paginate(
                Name=name, WithDecryption=True
            )
            return [
                Past(
                    int(item["Version"]),
                    Secret(text_in(item, "Value")),
                    tuple(sorted(item.get("Labels") or ())),
                )
                for page in pages
                for item in page["Parameters"]
            ]

        try:
            found: List[Past] = self._caller.call(
                f"parameter {name}", "ssm:GetParameterHistory", ask
            )
        except Absent:
            return []
        return sorted(found, key=lambda item: item.version)

    def unlabel(self, name: str, version: int, labels: Sequence[str]) -> None:
        """Take labels off a version; one that is not there is none the less off.

        :raises Absent, Denied, Unreachable: as the error says.
        """
        self._caller.call(
            f"parameter {name}",
            "ssm:UnlabelParameterVersion",
            lambda client: client.unlabel_parameter_version(
                Name=name, ParameterVersion=version, Labels=list(labels)
            )["RemovedLabels"],
        )

    def label(self, name: str, version: int, label: str) -> None:
        """Move a label to a version.

        :raises Absent, BadInput, Denied, Refused, Unreachable: as the error says.
        """

        def ask(client: Any) -> List[str]:
            answer = client.label_parameter_version(
                Name=name, ParameterVersion=version, Labels=[label]
            )
            return list(answer.get("InvalidLabels") or ()) if answer["ParameterVersion"] else []

        if self._caller.call(f"parameter {name}", "ssm:LabelParameterVersion", ask):
            raise BadInput(f"{self.where(name)}: AWS does not take '{label}' as a label")

    def delete(self, names: Sequence[str]) -> None:
        """Remove up to ten parameters; one that is not there is none the less gone.

        :raises Denied, Unreachable: as the error says.
        """
        place = f"parameter {names[0]}" if len(names) == 1 else f"parameters {names[0]} and others"
        self._caller.call(
            place,
            "ssm:DeleteParameters",
            lambda client: client.delete_parameters(Names=list(names))["DeletedParameters"],
        )


def open_parameter(
    reference: Reference, context: Context, where: str
) -> Tuple[Parameters, str, str]:
    """What a reference to a parameter names: where it is, its name, and the id of the key it is encrypted with. Nothing is read yet.

    :raises BadInput, MissingLibrary: when reference or environment lack something.
    """
    path = reference.path
    name = check_parameter_name(path if path.startswith("arn:") else f"/{path}", where)
    caller = AwsCaller(aws_settings(reference, context, where), context, where, "ssm")
    return Parameters(caller), name, reference.params.get("kms_key_id", "")
