# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of AWS read ahead, ten with a call: whoever asks for one of them afterwards is answered from here.

Keyrings that share a folder with nine more are read with it, page by page. Others are read each by its path. What AWS does not answer
here is asked for once more by whoever needs it, and told there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import (
    AwsCaller,
    AwsSettings,
    aws_settings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_look import chunks
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import (
    IN_PARAMETERS,
    escape,
)

SERVICE = "ssm"
SECONDS = 3600.0
"""For everything that is read ahead: each call has its own deadline."""
_AT_ONCE = 10
_DESCRIBED_AT_ONCE = 50
_MANY = 10
Item = Mapping[str, Any]


@dataclass
class _Read:
    """What is known of the parameters of one account and region.

    :ivar items: by name, as AWS tells of each.
    :ivar known: names that were asked for.
    :ivar folders: paths that were read as a whole, with a slash at the end.
    """

    items: Dict[str, Item] = field(default_factory=dict)
    known: Set[str] = field(default_factory=set)
    folders: Set[str] = field(default_factory=set)
    below: Dict[str, List[Item]] = field(default_factory=dict)

    def keep_folder(self, path: str, items: Sequence[Item]) -> None:
        """All that there is below a path."""
        self.folders.add(f"{path}/")
        for item in items:
            name = str(item["Name"])
            self.items[name] = item
            self.below.setdefault(name.rpartition("/")[0], []).append(item)

    def tells(self, name: str) -> bool:
        """Whether it is known that this parameter is there, or is not."""
        return name in self.known or name in self.items or self.covers(name.rpartition("/")[0])

    def covers(self, path: str) -> bool:
        """Whether all below a path is known."""
        while path:
            if f"{path}/" in self.folders:
                return True
            path = path.rpartition("/")[0]
        return False


class _Pages:
    """A paginator that knows its one page."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items

    def paginate(self, **_asked: Any) -> Iterator[Dict[str, Any]]:
        """The page."""
        yield {"Parameters": list(self._items)}


class _ByPath:
    def __init__(self, client: Any, read: _Read) -> None:
        self._client, self._read = client, read

    def paginate(self, **asked: Any) -> Any:
        """The pages of a path."""
        path = asked["Path"]
        if self._read.covers(path) and not asked.get("Recursive"):
            return _Pages(self._read.below.get(path, ())).paginate()
        return self._client.get_paginator("get_parameters_by_path").paginate(**asked)


class Ahead:
    """A client of boto3's for Parameter Store that answers what was read ahead, and asks AWS for the rest."""

    def __init__(self, client: Any, read: _Read) -> None:
        self._client, self._read = client, read

    def __repr__(self) -> str:
        return "Ahead()"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_parameter(self, **asked: Any) -> Any:
        """One parameter."""
        found = self._read.items.get(asked["Name"])
        if found is not None and "Value" in found:
            return {"Parameter": found}
        # One that was found to be absent is asked for again: AWS says that best.
        return self._client.get_parameter(**asked)

    def get_parameters(self, **asked: Any) -> Any:
        """Up to ten."""
        names = asked["Names"]
        if not all(self._read.tells(name) for name in names):
            return self._client.get_parameters(**asked)
        there = [self._read.items[name] for name in names if name in self._read.items]
        gone = [name for name in names if name not in self._read.items]
        return {"Parameters": there, "InvalidParameters": gone}

    def get_paginator(self, operation: str) -> Any:
        """Pages of a path, or of what else AWS has."""
        if operation == "get_parameters_by_path":
            return _ByPath(self._client, self._read)
        return self._client.get_paginator(operation)


@dataclass
class Wanted:
    """What will be asked of one account and region."""

    option: str
    keyrings: Set[str] = field(default_factory=set)
    names: Set[str] = field(default_factory=set)


def _identity(settings: AwsSettings) -> Tuple[Any, ...]:
    return (settings.region, settings.profile, settings.endpoint_url, settings.role_arn)


class ReadAhead:
    """Collects what will be asked, then asks for it at once.

    :param threads: calls at a time.
    """

    def __init__(self, context: Context, threads: int) -> None:
        self._context, self._threads = context, threads
        self._settings: Dict[Tuple[Any, ...], AwsSettings] = {}
        self._wanted: Dict[Tuple[Any, ...], Wanted] = {}

    def _of(self, reference: Reference, option: str) -> Wanted:
        settings = aws_settings(reference, self._context, option)
        key = _identity(settings)
        self._settings.setdefault(key, settings)
        return self._wanted.setdefault(key, Wanted(option))

    def keyring(self, reference: Reference, option: str) -> None:
        """A keyring's path will be read."""
        path = "/" + escape(reference.path, IN_PARAMETERS)
        self._of(reference, option).keyrings.add(path)

    def parameter(self, reference: Reference, option: str) -> None:
        """A parameter will be read."""
        if not reference.path.startswith("arn:"):
            self._of(reference, option).names.add(f"/{reference.path}")

    def fetch(self) -> None:
        """Read all of it; the context's sessions answer from it then, while the caller lends AWS the environment."""
        for key, wanted in self._wanted.items():
            self._try_to_fetch(self._settings[key], wanted)

    def _try_to_fetch(self, settings: AwsSettings, wanted: Wanted) -> None:
        try:
            self._fetch(settings, wanted)
        except KeyturnError as error:
            # Each credential tells of it: without a connection none can be read.
            self._context.warn(error.message)

    def _fetch(self, settings: AwsSettings, wanted: Wanted) -> None:
        many = replace(settings, connections=self._threads)
        caller = AwsCaller(many, self._context, wanted.option, SERVICE)
        read = _Read()
        with caller.lent(SECONDS), ThreadPoolExecutor(self._threads) as pool:
            jobs = [pool.submit(_folder, caller, read, path) for path in folders(wanted.keyrings)]
            jobs += [
                pool.submit(_some, caller, read, names)
                for names in chunks(sorted(wanted.names), _AT_ONCE)
            ]
            for job in jobs:
                job.result()
            left = sorted(path for path in wanted.keyrings if not read.covers(path))
            list(pool.map(lambda path: _folder(caller, read, path), left))
        before = set(self._context.sessions)
        with AwsCaller(settings, self._context, wanted.option, SERVICE).lent(SECONDS):
            pass
        for name in set(self._context.sessions) - before:
            session = self._context.sessions[name]
            ahead = replace(session, client=Ahead(session.client, read), lent=True)
            self._context.sessions[name] = ahead


def folders(keyrings: Set[str]) -> List[str]:
    """The paths that hold many keyrings."""
    counts: Dict[str, int] = {}
    for path in keyrings:
        parent = path.rpartition("/")[0]
        counts[parent] = counts.get(parent, 0) + 1
    return sorted(path for path, count in counts.items() if path and count >= _MANY)


def _by_path(path: str, decrypt: bool) -> Any:
    def ask(client: Any) -> List[Item]:
        pages = client.get_paginator("get_parameters_by_path").paginate(
            Path=path, Recursive=True, WithDecryption=decrypt
        )
        return [item for page in pages for item in page["Parameters"]]

    return ask


def _folder(caller: AwsCaller, read: _Read, path: str) -> None:
    """All below a path; nothing where AWS does not answer that."""
    try:
        found = caller.call(
            f"parameters below {path}", "ssm:GetParametersByPath", _by_path(path, True)
        )
    except KeyturnError:
        return
    read.keep_folder(path, found)


def _some(caller: AwsCaller, read: _Read, names: Sequence[str]) -> None:
    def ask(client: Any) -> List[Item]:
        answer = client.get_parameters(Names=list(names), WithDecryption=True)
        answer["InvalidParameters"]  # An answer of AWS's says which are not there.
        return list(answer["Parameters"])

    try:
        found = caller.call(f"parameters {names[0]} and others", "ssm:GetParameters", ask)
    except KeyturnError:
        return
    read.items.update({str(item["Name"]): item for item in found})
    read.known.update(names)


class Account:
    """What is asked of one account and region for what was found.

    :param reference: a place there.
    """

    def __init__(self, reference: Reference, context: Context, option: str) -> None:
        self._caller = AwsCaller(aws_settings(reference, context, option), context, option, SERVICE)

    def below(self, path: str) -> List[Dict[str, Any]]:
        """The parameters below a path, without their values.

        :raises Denied, Unreachable, BadInput: as the error says.
        """
        place = f"parameters below {path}"
        found = self._caller.call(place, "ssm:GetParametersByPath", _by_path(path, False))
        return [{name: value for name, value in item.items() if name != "Value"} for item in found]

    def described(self, names: Sequence[str]) -> Dict[str, Item]:
        """Who changed parameters last, as far as AWS tells it.

        :raises Denied, Unreachable, BadInput: as the error says.
        """
        found: Dict[str, Item] = {}
        for some in chunks(list(names), _DESCRIBED_AT_ONCE):
            found.update(self._described(some))
        return found

    def _described(self, names: Sequence[str]) -> Dict[str, Item]:
        wanted = [{"Key": "Name", "Option": "Equals", "Values": list(names)}]

        def ask(client: Any) -> Dict[str, Item]:
            pages = client.get_paginator("describe_parameters").paginate(ParameterFilters=wanted)
            return {str(item["Name"]): item for page in pages for item in page["Parameters"]}

        place, action = f"parameters {names[0]} and others", "ssm:DescribeParameters"
        told: Dict[str, Item] = self._caller.call(place, action, ask)
        return told


def of_aws(reference: Optional[Reference]) -> bool:
    """Whether a place is in Parameter Store."""
    return reference is not None and reference.scheme == "awsssm"
