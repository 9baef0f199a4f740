# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a PgBouncer accept and refuse logins: write, RELOAD, see it in force, or put all back.

RELOAD always answers success, whatever became of the files; only logins through PgBouncer show
what it knows. PAUSE is never used: with SCRAM secrets PgBouncer logs in to the server with the
keys of the last client, so that a pool emptied by PAUSE can stall until its clients time out.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    KeyturnError,
    ProbeFailed,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import refuse_link
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import (
    Held,
    check_replaceable,
    hold,
    read_with_mode,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import fingerprint
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Params, Result
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_headroom import (
    SERVER_QUESTION,
    Server,
    lacks,
    pools_of,
    server_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_job import (
    QUICK,
    Job,
    job_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_keyring import VERIFIER
from ansible_collections.keyturn.runbooks.plugins.module_utils._pgbouncer_server import (
    ask_through,
    holds,
    prove,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._userlist import (
    Plan,
    decode,
    encode,
    plan,
    secrets_of,
)

_OTHERS_MODE = 0o007
OPTION = "userlist"


def check_headroom(job: Job) -> None:
    """See whether the connection limits bear a second pool.

    :raises Refused: when they do not, with the numbers; only a warning where the option says so.
    """
    if job.headroom == "skip" or job.console is None or not job.logins:
        return
    databases, config = job.console.ask("SHOW DATABASES"), job.console.ask("SHOW CONFIG")
    server = _server(job)
    names = dict.fromkeys(wish.login.dbname for wish in job.logins)
    found = [one for name in names for one in lacks(pools_of(name, databases, config), server)]
    if found and job.headroom == "refuse":
        told = " ".join(found)
        raise Refused(f"headroom: {told} (or accept it with headroom: warn). Nothing was written")
    for sentence in found:
        job.context.warn(f"headroom: {sentence}")


def _server(job: Job) -> Server | None:
    # One that is to come does not work yet, most often.
    for wish in sorted(job.logins, key=lambda wish: not wish.kept):
        if wish.accepted:
            try:
                return server_of(ask_through(wish.login, SERVER_QUESTION, QUICK)[0])
            except KeyturnError:
                continue
    job.context.warn(
        "headroom: PostgreSQL's max_connections was not compared: no login of verify works yet"
    )
    return None


def _missing(job: Job) -> list[str]:
    """Names without a login to try that PgBouncer does not know."""
    names = job.unproved()
    if not names or job.console is None:
        return []
    known = set(job.console.users())
    return [name for name in names if name not in known]


def _in_force(job: Job) -> bool:
    return all(holds(wish, min(job.seconds, QUICK)) for wish in job.logins) and not _missing(job)


def _verify(job: Job) -> None:
    for wish in job.logins:
        prove(wish, job.seconds)
    missing = _missing(job)
    if missing:
        raise ProbeFailed(f"PgBouncer does not know {', '.join(missing)} (SHOW USERS)")


def _evidence(job: Job) -> list[dict[str, str]]:
    found = [
        {
            "username": wish.login.username,
            "against": f"{wish.login.dbname} at {wish.login.host}:{wish.login.port}",
            "expected": "accepted" if wish.accepted else "refused",
            "by": "login",
        }
        for wish in job.logins
    ]
    if job.console is not None:
        against = f"{job.console.login.host}:{job.console.login.port}"
        found += [
            {"username": name, "against": against, "expected": "listed", "by": "SHOW USERS"}
            for name in job.unproved()
        ]
    return found


def _result(job: Job, changed: bool, reloaded: bool) -> Result:
    verified = [] if job.context.check_mode and changed else _evidence(job)
    return {"changed": changed, "reloaded": reloaded, "verified": verified, "changes": []}


def _bring_in_force(job: Job) -> Result:
    """Nothing is to be written: see that PgBouncer uses it, and make up for a lost RELOAD."""
    if _in_force(job):
        return _result(job, changed=False, reloaded=False)
    if job.context.check_mode and job.console is not None:
        return _result(job, changed=True, reloaded=True)
    if job.console is not None:
        job.console.reload()
    try:
        _verify(job)
    except (ProbeFailed, Unreachable) as error:
        raise type(error)(f"{_where(job)} is as asked, but {error.message}. {_REMEDY}") from None
    return _result(job, changed=job.console is not None, reloaded=job.console is not None)


_REMEDY = (
    "Check that the role may log in to PostgreSQL with exactly this secret (a SCRAM secret must be "
    "the same string there), that PgBouncer's auth_file or auth_query is the one meant here, and "
    "its log"
)


def _where(job: Job) -> str:
    return f"userlist {job.path}" if job.path else "auth_query"


def _absent(path: str) -> Absent:
    return Absent(
        f"{OPTION}: {path} does not exist; correct the path, or create the file with mode 0600 "
        "for the user that PgBouncer runs as"
    )


def _read(job: Job, held: Held | None = None) -> tuple[bytes, int]:
    path = str(job.path)
    found = held.read_with_mode() if held else read_with_mode(path, OPTION)
    if found is None:
        raise _absent(path)
    if found[1] & _OTHERS_MODE:
        job.context.warn(f"{OPTION}: every user of this host may read {path}; set its mode to 0600")
    return found


def _plan(job: Job, content: bytes) -> Plan:
    return plan(decode(content), job.entries, job.absent, f"{OPTION} {job.path}")


def _prepare_write(job: Job, made: Plan) -> None:
    console = job.need_console()
    if console.login.username in [change.name for change in made.changes]:
        raise Refused(
            f"{_where(job)}: the line of {console.login.username} would change, with whom this "
            "module itself reloads PgBouncer; give another user of admin_users in admin"
        )
    console.users()
    if any(change.action == "added" for change in made.changes):
        check_headroom(job)


def _write(job: Job, held: Held, before: bytes, mode: int, made: Plan) -> None:
    """Write, RELOAD and verify; on failure the file is put back as it was."""
    held.replace(encode(made.text), mode & ~_OTHERS_MODE)
    try:
        job.need_console().reload()
        _verify(job)
    except BaseException as error:
        held.replace(before, mode)
        undone = _reload_again(job)
        if not isinstance(error, KeyturnError):
            raise
        raise type(error)(
            f"{_where(job)} was written, but {error.message}. {undone}. {_REMEDY}", **error.details
        ) from None


def _reload_again(job: Job) -> str:
    try:
        job.need_console().reload()
    except KeyturnError as error:
        return f"The previous file was put back, but could not be reloaded: {error.message}"
    return "The previous file was put back and reloaded"


def _listed(job: Job, made: Plan, before: bytes) -> Result:
    result = _result(job, changed=True, reloaded=True)
    result["changes"] = [{"name": item.name, "action": item.action} for item in made.changes]
    if job.context.diff:
        result["diff"] = _diff(job, decode(before), made)
    return result


def _diff(job: Job, before: str, made: Plan) -> dict[str, str]:
    """Names with fingerprints, of the lines that may change."""
    managed = {*job.entries, *job.absent}
    texts = []
    there = job.entries if job.told else {}
    for text, news in ((before, there), (made.text, job.entries)):
        found = {**secrets_of(text, OPTION), **news}
        prints = {name: fingerprint(job.key, VERIFIER, it) for name, it in found.items()}
        texts.append("".join(f"{name} {prints[name]}\n" for name in found if name in managed))
    title = f"{job.path} (managed names, fingerprints)"
    return {"before_header": title, "after_header": title, "before": texts[0], "after": texts[1]}


def _run_listed(job: Job) -> Result:
    refuse_link(str(job.path), OPTION)
    if job.context.check_mode:
        before, _mode = _read(job)
        made = _plan(job, before)
        if not made.changes:
            return _bring_in_force(job)
        _prepare_write(job, made)
        return _listed(job, made, before)
    if read_with_mode(str(job.path), OPTION) is None:
        # Before a lock is made beside a path that is only misspelt.
        raise _absent(str(job.path))
    # Until PgBouncer is seen using it: a second writer's file must not be undone with this one's.
    with hold(str(job.path), OPTION, timeout=QUICK + 3 * job.seconds) as held:
        before, mode = _read(job, held)
        made = _plan(job, before)
        if not made.changes:
            return _bring_in_force(job)
        _prepare_write(job, made)
        _write(job, held, before, mode, made)
        return _listed(job, made, before)


def _without_broken(job: Job) -> Job:
    """Leave out logins that are only to be kept working, and do not work now."""
    broken = [wish for wish in job.logins if wish.kept and not holds(wish, QUICK)]
    for wish in broken:
        job.context.warn(
            f"the login of {wish.login} does not work now, so it is not seen whether it goes on to"
        )
    return replace(job, logins=tuple(wish for wish in job.logins if wish not in broken))


def look(params: Params, context: Context, second: bool, line: bool) -> None:
    """See, without a write, whether PgBouncer could be brought to what will be asked of it.

    :param second: a second role that logs in will come.
    :param line: a line of the userlist will change.
    :raises KeyturnError: it could not.
    """
    job = job_of(params, context)
    if job.path is not None:
        check_replaceable(job.path, OPTION)
        made = _plan(job, _read(job)[0])
        if line or made.changes:
            _prepare_write(job, made)
        second = second and not any(change.action == "added" for change in made.changes)
    elif job.console is not None:
        job.console.users()
    if second:
        check_headroom(job)


def run(params: Params, context: Context) -> Result:
    """Make PgBouncer accept and refuse the logins that it is asked to.

    :raises KeyturnError: nothing was changed, or the previous userlist is back in force.
    """
    job = _without_broken(job_of(params, context))
    if job.path is not None:
        return _run_listed(job)
    if sum(1 for wish in job.logins if wish.accepted) > 1:
        check_headroom(job)
    return _bring_in_force(job)
