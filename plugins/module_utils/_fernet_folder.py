# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of Fernet keys brought to what is asked: read, planned and written under one lock, and what may be told of that."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    Corrupt,
    Denied,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet import FIELD
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_files import (
    NOTHING,
    Folder,
    Found,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_like import Like
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_open import (
    is_there,
    make_folder,
    opened,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._fernet_plan import (
    STAGED,
    Keys,
    Plan,
    Rules,
    is_due,
    missing,
    notes,
    rotation,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import (
    file_error,
    user_name,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import refusal_of, takes_files
from ansible_collections.keyturn.runbooks.plugins.module_utils._generate import generate
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import fingerprint
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Result
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import (
    format_duration,
    format_time,
)

PRESENT, ROTATED, CHECKED = "present", "rotated", "checked"
_OTHERS = 0o007
_NEW_FILE = 0o600


@dataclass(frozen=True)
class Task:
    """What is asked of a folder."""

    path: str
    where: str
    state: str
    rules: Rules
    files: Like
    folder: Like
    salt: bytes
    context: Context
    now: datetime

    @property
    def writing(self) -> bool:
        """Whether anything may be written."""
        return self.state != CHECKED and not self.context.check_mode

    def plan(self, keys: Keys) -> Plan:
        """What is to be done with the keys."""
        if self.state == ROTATED:
            return rotation(keys, self.rules, self.now, self.where)
        return missing(keys) if self.state == PRESENT else Plan()


@dataclass(frozen=True)
class _Drift:
    """What must be set right of owners and modes, in words: of files by number, of the folder without."""

    files: Dict[int, List[str]]
    folder: List[str]

    @property
    def lines(self) -> List[str]:
        """One line for each file, and for the folder."""
        found = [f"{number}: {', '.join(told)}" for number, told in self.files.items() if told]
        return [*found, f"folder: {', '.join(self.folder)}"] if self.folder else found

    def owners(self, found: Found) -> List[Tuple[int, int]]:
        """Whose files are to be set right."""
        statuses = [found.statuses[number] for number in self.files]
        if self.folder and found.folder is not None:
            statuses.append(found.folder)
        return [(status.st_uid, status.st_gid) for status in statuses]


def _drift(task: Task, found: Found, plan: Plan) -> _Drift:
    if task.state == CHECKED:
        return _Drift({}, [])
    gone = {*plan.prune, *([STAGED] if plan.stage and plan.promote is None else [])}
    files = {
        number: told
        for number, status in sorted(found.statuses.items())
        if number not in gone and (told := task.files.drift(status))
    }
    return _Drift(files, task.folder.drift(found.folder) if found.folder else [])


def _like(task: Task, found: Found) -> Like:
    """What a new file gets: as the staged one or the primary has it, else as the folder's owner needs it."""
    for number in (STAGED, found.keys.primary):
        if number is not None and number in found.statuses:
            return task.files.over(found.statuses[number])
    if found.folder is not None:
        return task.files.over(found.folder, _NEW_FILE)
    return Like(task.files.mode or _NEW_FILE, task.files.uid, task.files.gid)


def _write(task: Task, folder: Folder, found: Found, plan: Plan, drift: _Drift) -> Keys:
    """Do it; the keys afterwards."""
    new = {
        number: Secret(generate({"type": "fernet"}, task.context, "fernet_key"))
        for number in plan.new
    }
    if new:
        # Whatever may fail, such as for want of room, fails here, where nothing was changed.
        with folder.prepared(new, _like(task, found), task.now) as ready:
            _dress(task, folder, drift)
            if plan.promote is not None:
                task.context.still_wanted()
                folder.promote(plan.promote, found.keys.by_number[STAGED])
            for number in new:
                task.context.still_wanted()
                ready.put(number)
    else:
        _dress(task, folder, drift)
    if plan.prune:
        task.context.still_wanted()
        folder.remove(plan.prune)
    wanted = plan.after(found.keys, new, task.now)
    if _values(folder.read().keys) != _values(wanted):
        raise Corrupt(
            f"{task.where}: the files are not what was just written: something else changes them, such as 'keystone-manage "
            "fernet_rotate'. Let one alone rotate them; look at the folder with state 'checked', then run again"
        )
    return wanted


def _values(keys: Keys) -> Dict[int, Secret]:
    return {number: key.secret for number, key in keys.by_number.items()}


def _dress(task: Task, folder: Folder, drift: _Drift) -> None:
    if drift.folder:
        folder.dress(None, task.folder)
    for number in drift.files:
        folder.dress(number, task.files)


def _foresee(task: Task, found: Found, drift: _Drift) -> None:
    """What would stop the writes, without one.

    :raises Absent, Denied: as the writes would.
    """
    at = task.path if found.folder is not None else os.path.dirname(task.path)
    if not os.path.isdir(at):
        raise Absent(f"{task.where}: there is no directory {at}; create it first")
    if not takes_files(at):
        raise file_error(refusal_of(at), task.where, task.path, "write")
    user = os.geteuid()
    groups = {os.getegid(), *os.getgroups()}
    like = _like(task, found)
    given = [(like.uid, like.gid), *drift.owners(found)]
    foreign = [
        (uid, gid)
        for uid, gid in given
        if uid not in (None, user) or (gid is not None and gid not in groups)
    ]
    if user != 0 and foreign:
        raise Denied(
            f"{task.where}: user {user_name(user)} can neither give files to others nor set the mode of theirs, as would be "
            "needed here; run as root"
        )


def _locked(task: Task) -> Tuple[Found, Keys, Plan, _Drift]:
    """Read, decide and write: what was there, what is there, and what was done between."""
    if is_there(task.path, task.where):
        return _settled(task)
    if task.state != PRESENT:
        raise Absent(
            f"{task.where}: there is no such folder; state 'present' makes it and its first keys"
        )
    if task.writing:
        task.context.still_wanted()
        make_folder(task.path, task.where, task.folder)
        return _settled(task)
    plan, drift = task.plan(NOTHING.keys), _Drift({}, [])
    _foresee(task, NOTHING, drift)
    return NOTHING, _predicted(plan, NOTHING.keys, task.now), plan, drift


def _settled(task: Task) -> Tuple[Found, Keys, Plan, _Drift]:
    """The same for a folder that is there."""
    with opened(task.path, task.where, alone=task.writing) as folder:
        found = folder.read()
        plan = task.plan(found.keys)
        drift = _drift(task, found, plan)
        if not (plan.writes or drift.lines):
            return found, found.keys, plan, drift
        if not task.writing:
            _foresee(task, found, drift)
            return found, _predicted(plan, found.keys, task.now), plan, drift
        task.context.still_wanted()
        return found, _write(task, folder, found, plan, drift), plan, drift


def _predicted(plan: Plan, keys: Keys, now: datetime) -> Keys:
    return plan.after(keys, {number: Secret.new() for number in plan.new}, now)


def _shown(task: Task, keys: Keys) -> List[Dict[str, Any]]:
    shown = []
    for number in sorted(keys.by_number):
        key = keys.by_number[number]
        begun, ended = keys.came_into_use(number), keys.went_out_of_use(number)
        age = max(task.now - key.modified, timedelta(0))
        shown.append(
            {
                "number": number,
                "role": keys.role(number),
                "fingerprint": fingerprint(task.salt, FIELD, key.secret),
                "made": format_time(key.modified),
                "age": format_duration(age),
                "age_seconds": int(age.total_seconds()),
                "primary_from": format_time(begun) if begun else None,
                "primary_until": format_time(ended) if ended else None,
            }
        )
    return shown


def _lines(task: Task, keys: Keys) -> List[str]:
    return [
        f"{item['number']}: {item['role']}, {item['fingerprint']}" for item in _shown(task, keys)
    ]


def _warn(task: Task, found: Found, after: Keys, plan: Plan) -> None:
    told = notes(after, plan, task.rules, task.now)
    if task.state == ROTATED and plan.finished:
        told.append(
            f"this ended what an earlier run had begun: the primary is {after.primary}. It is not rotated again in the same run"
        )
    if task.state == CHECKED and found.keys.unfinished:
        told.append(
            "a rotation was begun and not ended: key 0 is missing, or the same as the primary. State 'present' or 'rotated' ends it; "
            "nothing is lost meanwhile"
        )
    open_files = [
        str(number) for number, status in sorted(found.statuses.items()) if status.st_mode & _OTHERS
    ]
    if open_files and task.files.mode is None:
        told.append(f"every user of the machine can reach file {open_files[0]}; set 'mode'")
    if found.folder is not None and found.folder.st_mode & _OTHERS and task.folder.mode is None:
        told.append("every user of the machine can enter the folder; set 'directory_mode'")
    for note in told:
        task.context.warn(f"{task.where}: {note}")


def folder_result(task: Task) -> Result:
    found, after, plan, drift = _locked(task)
    if task.state == CHECKED and not after.by_number:
        raise Absent(f"{task.where}: there is no key in it; state 'present' makes the first ones")
    _warn(task, found, after, plan)
    before = [*_lines(task, found.keys), *drift.lines]
    result: Result = {
        "changed": plan.writes or bool(drift.lines),
        "folder": task.path,
        "key_files": _shown(task, after),
        "primary": after.primary,
        "primary_before": found.keys.primary,
        "rotated": plan.rotates,
        "finished": plan.finished,
        "unfinished": after.unfinished,
        "made": sorted(plan.new),
        "pruned": list(plan.prune),
        "kept": [{"number": number, "until": format_time(until)} for number, until in plan.kept],
        "set_right": drift.lines,
    }
    if task.state == CHECKED:
        result["due"] = _due(task, after)
    if task.context.diff:
        result["diff"] = {
            "before_header": task.where,
            "after_header": task.where,
            "before": "".join(f"{line}\n" for line in before),
            "after": "".join(f"{line}\n" for line in _lines(task, after)),
        }
    return result


def _due(task: Task, keys: Keys) -> Optional[bool]:
    """Whether state ``rotated`` would rotate now; none where nothing says when it should."""
    guarded = task.rules.max_age is not None or task.rules.from_primary is not None
    if not guarded or keys.unfinished:
        return None
    return is_due(keys, task.rules, task.now, task.where)
