# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log files of a trail in its bucket of S3: what the event history of 90 days does not have any more.

A file that is denied, gone, archived or broken is never one without events: each is told, and where none could be read there is no result.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, Type

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import AwsCaller
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    Denied,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    READS,
    Event,
    Looked,
    Window,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._cloudtrail import (
    check_wanted,
    wanted_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._cloudtrail_event import (
    Wanted,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._cloudtrail_file import (
    LATE,
    FileRead,
    days,
    delivered,
    may_tell,
    read_file,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_options import with_aws_options

OPTION = "cloudtrail_bucket"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_ACCOUNT = re.compile(r"\d{12}\Z")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d\Z")
_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}\Z")
_ENOUGH = 10
"""So many files that all may not be read, and no other was: the rest is not tried."""
_MEANT: Mapping[str, Tuple[Type[KeyturnError], str]] = MappingProxyType(
    {
        "NoSuchBucket": (Absent, "there is no such bucket"),
        "NoSuchKey": (Absent, "it was deleted while the folder was read"),
        "InvalidObjectState": (Unreachable, "it is archived; restore it, and look again"),
    }
)
_OF_A_FILE = ("NoSuchKey", "InvalidObjectState")


class Bucket:
    """What is asked of S3.

    :param most: requests.
    """

    def __init__(self, caller: AwsCaller, bucket: str, most: int) -> None:
        self._caller, self._bucket, self._left = caller, bucket, most

    @property
    def spent(self) -> bool:
        """Whether no more may be asked."""
        return self._left <= 0

    def _ask(self, place: str, action: str, function: Callable[[Any], Any]) -> Any:
        self._left -= 1
        what = f"bucket {self._bucket}, {place}"
        try:
            return self._caller.call(what, action, function)
        except KeyturnError as error:
            kind, why = _MEANT.get(str(error.details.get("code")), (None, ""))
            if kind is None:
                raise
            raise kind(f"{self._caller.where(what)}: {why}", **error.details) from None

    def below(self, prefix: str, folders: bool = False) -> Iterator[str]:
        """The names of all files below a prefix, or those of the folders right below it; ends early when no more may be asked.

        :raises Absent, Denied, Unreachable: as the error says.
        """
        asked: Dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix}
        if folders:
            asked["Delimiter"] = "/"
        while not self.spent:
            page = self._ask(
                f"folder {prefix}", "s3:ListBucket", lambda it: it.list_objects_v2(**asked)
            )
            if folders:
                yield from (str(item["Prefix"]) for item in page.get("CommonPrefixes") or ())
            else:
                yield from (str(item["Key"]) for item in page.get("Contents") or ())
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated"):
                return
            if not token or token == asked.get("ContinuationToken"):
                raise Unreachable(
                    f"{OPTION}: the pages of {prefix} do not come to an end; check what stands before the endpoint"
                )
            asked["ContinuationToken"] = token

    def read(self, key: str, wanted: Wanted, window: Window, most: int) -> FileRead:
        """A file.

        :raises Absent, Denied, Unreachable: as the error says.
        """

        def ask(client: Any) -> FileRead:
            body = client.get_object(Bucket=self._bucket, Key=key)["Body"]
            try:
                return read_file(body, wanted, window, most)
            finally:
                body.close()

        found: FileRead = self._ask(f"file {key}", "s3:GetObject", ask)
        return found


@dataclass
class _Found:
    """What was found so far.

    :ivar lost: files that were not read, by why: how many, and the first one's own error.
    """

    events: List[Event] = field(default_factory=list)
    seen: int = 0
    files: int = 0
    unreadable: int = 0
    strange: int = 0
    lost: Dict[str, Tuple[int, KeyturnError]] = field(default_factory=dict)
    gaps: List[str] = field(default_factory=list)

    def lose(self, error: KeyturnError) -> None:
        """A file that could not be read.

        :raises KeyturnError: when none could, and so many were tried.
        """
        kind = type(error).__name__
        count, first = self.lost.get(kind, (0, error))
        self.lost[kind] = (count + 1, first)
        if count + 1 >= _ENOUGH and not self.files and isinstance(error, Denied):
            raise first

    def told(self) -> Tuple[str, ...]:
        """Why there may be more than was found.

        :raises KeyturnError: when there is no file that was read.
        """
        if not self.files and self.lost:
            raise next(iter(self.lost.values()))[1]
        gaps = list(self.gaps)
        for kind, (count, first) in sorted(self.lost.items()):
            which = "1 file was" if count == 1 else f"{count} files were"
            gaps.append(f"{which} not read ({kind}), the first: {first.message}")
        if self.unreadable:
            many = "1 event is" if self.unreadable == 1 else f"{self.unreadable} events are"
            gaps.append(f"{many} not as CloudTrail writes them")
        if self.strange:
            many = "1 file" if self.strange == 1 else f"{self.strange} files"
            verbs = ("has", "was") if self.strange == 1 else ("have", "were")
            gaps.append(
                f"{many} in the trail's folders {verbs[0]} no name of CloudTrail's and {verbs[1]} not read"
            )
        return tuple(gaps)


class CloudTrailBucket:
    """``type: cloudtrail_bucket``: ``bucket``, ``prefix``, ``organization``, ``accounts``, ``regions``, and what ``cloudtrail`` has."""

    about = READS

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse what cannot be meant."""
        check_wanted(params)
        if not _BUCKET.match(str(params.get("bucket") or "")):
            raise BadInput(
                f"bucket: '{params.get('bucket') or ''}' is no bucket of S3; expected the name of the one that the trail writes to"
            )
        accounts = params.get("accounts") or ()
        if not accounts:
            raise BadInput(
                "accounts: missing; name the accounts whose events count, such as ['111122223333']"
            )
        shapes = {"accounts": _ACCOUNT, "regions": _REGION}
        for option, shape in shapes.items():
            for number, item in enumerate(params.get(option) or ()):
                if not shape.match(str(item)):
                    wanted = "twelve digits, in quotes" if option == "accounts" else "such as eu-west-1"  # fmt: skip
                    raise BadInput(f"{option}[{number}]: '{item}' is none; expected {wanted}")
        if params.get("organization") and not _ORGANIZATION.match(params["organization"]):
            raise BadInput(
                f"organization: '{params['organization']}' is none; expected such as o-exampleorgid"
            )

    def look(self, params: Mapping[str, Any], window: Window, context: Context) -> Looked:
        """See :meth:`Source.look`."""
        changed, settings = with_aws_options(params, context, 1)
        caller = AwsCaller(settings, changed, OPTION, "s3", self._sleep)
        wanted, found = wanted_of(params), _Found()
        for account in params["accounts"]:
            folder = f"{_root(params)}{account}/CloudTrail/"
            bucket = Bucket(caller, params["bucket"], int(params["most_calls"]))
            regions = [f"{folder}{region}/" for region in params.get("regions") or ()]
            for place in regions or sorted(bucket.below(folder, folders=True)):
                if regions:
                    bucket = Bucket(caller, params["bucket"], int(params["most_calls"]))
                _look_in(bucket, place, wanted, window, int(params["most"]), found)
            if not regions and not found.files and not found.lost:
                found.gaps.append(f"there is nothing of {account} below {folder}")
        if not found.files and not found.lost:
            raise Absent(
                f"{OPTION}: bucket {params['bucket']} has no log file of these days below {_root(params)}; check prefix, organization, "
                "accounts and regions. A trail that was off, or whose files were deleted, tells nothing"
            )
        if window.until > context.now() - LATE:
            found.gaps.append(
                "files come up to an hour late: the end of the window may lack some; run again later"
            )
        return Looked(tuple(found.events), found.seen, found.told())


def _root(params: Mapping[str, Any]) -> str:
    """Where the folders of accounts are."""
    parts = (str(params.get("prefix") or "").strip("/"), "AWSLogs", params.get("organization"))
    return "".join(f"{part}/" for part in parts if part)


def _look_in(
    bucket: Bucket, place: str, wanted: Wanted, window: Window, most: int, found: _Found
) -> None:
    """All files of a region."""
    shown, empty = place.rstrip("/"), []
    for day in days(window):
        files = 0
        for key in bucket.below(f"{place}{day}/"):
            made = delivered(key.rpartition("/")[2])
            if made is None:
                found.strange += not key.endswith("/")
                continue
            files += 1
            if not may_tell(made, window):
                continue
            why = _limit(bucket, found, most)
            if why:
                found.gaps.append(f"{shown}: {why}: not all of {day} and what comes after was read")
                return
            _read(bucket, key, wanted, window, most, found)
        why = _limit(bucket, found, most)
        if why:
            found.gaps.append(f"{shown}: {why}: it is not known whether there was more")
            return
        if not files:
            empty.append(day)
    if empty:
        named = empty[0] if len(empty) == 1 else f"{empty[0]} to {empty[-1]}, {len(empty)} days"
        found.gaps.append(
            f"{shown}: no log file of {named}: nothing was called there, the trail was off, or files were deleted"
        )


def _limit(bucket: Bucket, found: _Found, most: int) -> Optional[str]:
    if len(found.events) >= most:
        return f"there are {most} events or more; take a shorter window, or raise most"
    return "most_calls is used up; take a shorter window, or raise it" if bucket.spent else None


def _read(
    bucket: Bucket, key: str, wanted: Wanted, window: Window, most: int, found: _Found
) -> None:
    try:
        told = bucket.read(key, wanted, window, most - len(found.events))
    except KeyturnError as error:
        if not isinstance(error, Denied) and error.details.get("code") not in _OF_A_FILE:
            raise
        found.lose(error)
        return
    found.events += told.events
    found.seen += told.seen
    found.unreadable += told.unreadable
    if told.broken:
        found.lose(Corrupt(f"{OPTION}: {key}: {told.broken}"))
    else:
        found.files += 1
