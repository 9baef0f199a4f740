# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an incident's record: mode 0600, replaced whole, and never in the place of anything else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import (
    check_replaceable,
    hold,
    read_with_mode,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import Known
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_markdown import TITLE
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_record import KIND

MODE = 0o600
TOLD = ".told"


@dataclass(frozen=True)
class Output:
    """A file as it is to be.

    :param option: the option that names it.
    :param before: what it holds now; none where there is no file.
    :param open: others may read it.
    """

    option: str
    path: str
    text: str
    before: Optional[str]
    open: bool

    @property
    def differs(self) -> bool:
        """Whether it has to be written."""
        return self.open or self.before != self.text

    def diff(self, known: Known) -> Dict[str, str]:
        """For ``--diff``: a record holds no value, and one of an earlier run none that is known now."""
        return {
            "before_header": self.path,
            "after_header": self.path,
            "before": known.all_of(self.before or ""),
            "after": self.text,
        }

    def write(self) -> None:
        """Put it there.

        :raises KeyturnError: naming the option and the file; it is as it was then.
        """
        with hold(self.path, self.option) as held:
            held.replace(self.text.encode(), mode=MODE)


def about(text: str) -> Optional[str]:
    """Which credential a record is about, as the record has it; none for a file that is no record and so none of ours."""
    if text.startswith(TITLE):
        return text[len(TITLE) :].split("\n", 1)[0]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    ours = isinstance(found, dict) and str(found.get("kind", "")).startswith(KIND)
    return str(found.get("credential", "")) if ours else None


def planned(option: str, path: str, text: str) -> Output:
    """Read what is there.

    :raises BadInput: for a file that is something else or about another credential, a link, and what is no file.
    :raises Absent, Denied: without its folder, or without the right to write there.
    """
    check_replaceable(path, option)
    found = read_with_mode(path, option)
    before = found[0].decode("utf-8", "replace") if found else None
    theirs = about(before) if before else None
    if before and theirs is None:
        raise BadInput(
            f"{option}: {path} is there and is no record of an incident; it was left as it is. Name another file"
        )
    if before and theirs != about(text):
        raise BadInput(
            f"{option}: {path} is the record of another credential, {theirs}; it was left as it is. Give each credential a file of its "
            "own, such as with {{ inventory_hostname }} in its name"
        )
    return Output(option, path, text, before, bool(found and found[1] & 0o077))


def told_before(path: str, option: str) -> Dict[str, str]:
    """Who was told which record, by the file beside it."""
    found = read_with_mode(f"{path}{TOLD}", option)
    try:
        told = json.loads(found[0]) if found else {}
    except ValueError:
        told = {}
    marks = told.get("told") if isinstance(told, dict) else None
    return {str(k): str(v) for k, v in marks.items()} if isinstance(marks, dict) else {}


def mark_told(path: str, option: str, told: Mapping[str, str]) -> None:
    """Write down who was told."""
    text = json.dumps({"kind": f"{KIND}.told", "told": dict(told)}, indent=2, sort_keys=True)
    planned(option, f"{path}{TOLD}", text + "\n").write()


def diffs(outputs: List[Output], known: Known) -> List[Any]:
    """The diffs of the files that differ."""
    return [output.diff(known) for output in outputs if output.differs]
