# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``consumer``: have one consumer pick up what it reads, and keep the receipt.

The controller finds out whether the consumer lags (:func:`prepare`), its machine makes it read the
value and sees that it did (``_consumer_part``), and the controller writes the receipt (:func:`conclude`).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Dict, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _pgbouncer,
    _pgbouncer_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumer_part import (
    OPTION,
    named,
    run,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    Consumer,
    check_turn,
    expected,
    order,
    parse_consumer,
    parse_consumers,
    sinks_read,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._define import (
    KEYS,
    clean,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    Document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
    diffs_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._receipts import behind
from ansible_collections.keyturn.runbooks.plugins.module_utils._redact import (
    seal_values,
    values_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import (
    Secret,
    to_plain,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import Sink, parse_sinks


class Prepared(Dict[str, Any]):
    """What :func:`prepare` hands to the machine and to :func:`conclude`.

    :ivar receipts: what the consumers were seen using before.
    """

    receipts: Mapping[str, str] = MappingProxyType({})


def files_read(consumer: Consumer, sinks: Sequence[Sink]) -> tuple[str, ...]:
    """The paths of what a consumer reads on its host, if it reads nothing else."""
    names = sinks_read(consumer, sinks)
    read = [sink for sink in sinks if sink.name in names or sink.group in names]
    if any(sink.ref.scheme != "file" or sink.host != consumer.host for sink in read):
        return ()
    return tuple(dict.fromkeys(sink.ref.path for sink in read))


def _all(members: Sequence[Consumer], params: Params) -> Sequence[Consumer]:
    """All consumers of the credential.

    :raises BadInput: they contradict each other, or one of these is none of them.
    """
    found = parse_consumers(params["consumers"]) if params["consumers"] else members
    known = [other.name for other in found]
    for member in members:
        if member.name not in known:
            names = ", ".join(known)
            raise BadInput(f"{OPTION}: '{member.name}' is none of keyturn_consumers: {names}")
    order(found)
    return found


def _for_pgbouncer(
    consumer: Consumer, document: Document, params: Params, context: Context, **more: bool
) -> Secret:
    """What the pgbouncer module's core needs, as one opaque text.

    Ansible hides each text of a ``no_log`` option wherever it stands in a result; as one text, a
    short value cannot punch holes into names.

    :param more: further options, for :func:`_pgbouncer_change.look`.
    """
    defaults = {name: spec.get("default") for name, spec in _pgbouncer.OWN_OPTIONS.items()}
    given = {**defaults, "issuer": params["issuer"], "admin_login": {}, **consumer.definition}
    port = given.pop("port", None)
    given["login"] = {"port": port, **clean(given["login"] or {})}
    filled = {**given, **_pgbouncer.from_keyring(document, given)}
    ready = to_plain(_pgbouncer.resolve_values(filled, context))
    options = {**{name: ready[name] for name in _pgbouncer.OWN_OPTIONS}, **more}
    return Secret(base64.b64encode(json.dumps(options).encode()).decode())


def _for_deploy(consumer: Consumer, params: Params, context: Context, look: bool = False) -> Secret:
    """What a consumer of type ``deploy`` renders; without a keyring, whatever is there."""
    # Imported where it is used: it brings the library of AWS with it.
    from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers._deploy_known import (
        sealed_for,
    )

    document = open_keyring(params, context).document if params.get("keyring") else None
    sinks = parse_sinks(params["sinks"], "keyturn_sinks")
    with named(consumer):
        return sealed_for(consumer, document, sinks, context, look)


def _looks_at_log(consumer: Consumer) -> bool:
    return consumer.type == "systemd" and consumer.definition.get("log") is not None


def _prepare_look(consumer: Consumer, params: Params, bare: Params, context: Context) -> Params:
    """What its machine needs to know to look at it. There may be no keyring before the first rotation."""
    bare.update(due=False, files=list(files_read(consumer, parse_sinks(params["sinks"]))))
    if consumer.type == "pgbouncer" and params.get("keyring"):
        access, issuer = open_keyring(params, context), params["issuer"]
        document = access.document or Document(access.credential, bytes(SALT_BYTES))
        line = params["look"] == "rotate"
        second = line and _pgbouncer_keyring.brings_second(document, issuer)
        contents = _for_pgbouncer(consumer, document, params, context, second=second, line=line)
        bare["contents"] = {"sealed": contents}
    elif consumer.type == "deploy":
        bare["contents"] = {"sealed": _for_deploy(consumer, params, context, look=True)}
    elif params["look"] == "verify" and params.get("keyring") and _looks_at_log(consumer):
        bare["contents"] = {
            "sealed": seal_values(values_of(open_keyring(params, context).document))
        }
    return bare


@dataclass(frozen=True)
class _Known:
    """What the keyring and the definitions say, for all consumers of one task.

    :param late: the names of those that lag.
    """

    access: KeyringAccess
    document: Document
    sinks: Sequence[Sink]
    late: Sequence[str]


def _sealed(consumer: Consumer, known: _Known, params: Params, context: Context) -> Secret | None:
    """What its machine must know, and no log may show."""
    if consumer.type == "pgbouncer":
        told = any(step["receipts"].get(consumer.name) for step in known.access.replay)
        return _for_pgbouncer(consumer, known.document, params, context, told=told)
    if consumer.type == "deploy":
        return _for_deploy(consumer, params, context)
    return seal_values(values_of(known.document)) if _looks_at_log(consumer) else None


def _told_of(consumer: Consumer, known: _Known) -> Params:
    """What its machine needs to know of one consumer.

    :raises Refused: one that it comes after has not picked up the value.
    """
    due = consumer.name in known.late
    if due and not known.access.context.check_mode:
        # In check mode nobody picks up anything, so the forerunners of this run still lag.
        check_turn(consumer, known.late)
    return {
        "definition": dict(consumer.definition),
        "due": due,
        "expected": expected(known.document, known.sinks, consumer),
        "files": list(files_read(consumer, known.sinks)),
    }


def _others(params: Params) -> tuple[Consumer, ...]:
    """Those that are told together with the one of ``definition``.

    :raises BadInput: for one that cannot be meant.
    """
    given = [it.get("definition") for it in params["together"]]
    return tuple(parse_consumer(it, f"together[{index}]") for index, it in enumerate(given))


def prepare(params: Params, context: Context) -> Params:
    """Find out on the controller whether the consumer lags, and what its machine needs to know.

    :raises Refused: one that it comes after has not picked up the value.
    :raises KeyturnError: as the keyring, the sinks and the references give cause.
    """
    definition = clean(params["definition"])
    consumer, others = parse_consumer(definition, OPTION), _others(params)
    bare = Prepared(params)
    bare.update(definition=definition, consumers=[], sinks=[], issuer={})
    if params["look"]:
        with named(consumer):
            return _prepare_look(consumer, params, bare, context)
    if not params.get("keyring"):
        if consumer.type == "deploy":
            bare["contents"] = {"sealed": _for_deploy(consumer, params, context)}
        return bare
    access = open_keyring(params, context)
    sinks = parse_sinks(params["sinks"], "keyturn_sinks")
    members = (consumer, *others)
    everybody = _all(members, params)
    document = access.need()
    late = [other.name for other in behind(document, sinks, everybody)]
    known = _Known(access, document, sinks, late)
    first, *rest = [_told_of(member, known) for member in members]
    bare.update(**first, together=rest)
    due = [member for member in members if member.name in late]
    if due:
        sealed = {member.name: _sealed(member, known, params, context) for member in due}
        if any(sealed.values()):
            more = [sealed.get(member.name) or seal_values(()) for member in others]
            bare["contents"] = {"sealed": sealed.get(consumer.name), "more": more}
        _pgbouncer.guard(access)
        bare.receipts = _take_back_receipts(access, [member.name for member in due])
        if context.check_mode:
            bare["replay"] = access.replay
    return bare


def _take_back_receipts(access: KeyringAccess, names: Sequence[str]) -> Dict[str, str]:
    """Forget, and return, what consumers were seen using, before they are told: if that fails, nobody knows which value they use."""
    receipts = access.need().receipts
    seen = {name: receipts[name].seen for name in names if name in receipts}
    if any(seen.values()):
        again = {name: "" for name, text in seen.items() if text}
        access.step(Request("receive", access.run, receipts=again))
    return seen


def conclude(params: Params, result: Result, context: Context) -> Result:
    """Write the receipts, on the controller, once the consumers were seen using the value.

    :raises KeyturnError: as the keyring's store gives cause.
    """
    told = [(result, params), *zip(result.get("together") or (), params["together"])]
    receipts = {
        str(done["consumer"]): str(given["expected"])
        for done, given in told
        if given.get("due", True) and "due" in done
    }
    if not params.get("keyring") or not receipts:
        return result
    access = open_keyring(params, context)
    stepped = access.step(Request("receive", access.run, receipts=receipts))
    result = {**result, "changed": bool(result["changed"]) or stepped}
    if result["consumer"] in receipts:
        result["receipt"] = receipts[result["consumer"]]
    if context.check_mode:
        # A step that this task is asked to do too must build on this one.
        params["replay"] = result["replay"] = access.replay
    if context.diff:
        before: Mapping[str, str] = getattr(params, "receipts", {})
        diffs = [_diff(name, before.get(name, ""), seen) for name, seen in receipts.items()]
        result["diff"] = [*diffs_of(result), *diffs]
    return result


def _diff(name: str, before: str, after: str) -> dict[str, str]:
    title = f"receipt of {name}"
    texts = {"before": f"{before}\n" if before else "", "after": f"{after}\n"}
    return {"before_header": title, "after_header": title, **texts}


_LIST = {"type": "list", "elements": "str"}
_DEFINITION = {
    "type": {"type": "str", "required": True, "choices": list(KEYS)},
    "name": {"type": "str"},
    "host": {"type": "str"},
    "reads": _LIST,
    "after": _LIST,
    "barrier": {"type": "str"},
    "timeout": {"type": "str"},
    "prepare": _LIST,
    "seen": _LIST,
    "settle": {"type": "str"},
    "inactive": {"type": "str"},
    "active": {"type": "str"},
    "log": {
        "type": "dict",
        "options": {"forbid": _LIST, "require": _LIST, "allow": _LIST, "since": {"type": "str"}},
    },
    "action": {"type": "str"},
    "unit": {"type": "str"},
    "engine": {"type": "str"},
    "containers": _LIST,
    "service": {"type": "str"},
    "project": {"type": "str"},
    "project_dir": {"type": "path"},
    "files": _LIST,
    "compose_command": _LIST,
    "argv": _LIST,
    "chdir": {"type": "path"},
    "environment": {"type": "dict"},
    "success": {"type": "list", "elements": "int"},
    "userlist": {"type": "path"},
    "auth": {"type": "str"},
    "admin": {"type": "str"},
    "path": {"type": "str"},
    "env_file": {"type": "path"},
    "services": _LIST,
    "url": {"type": "str"},
    "status": {"type": "int"},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool"},
    "pairs": {"type": "list", "elements": "list"},
    "unmarked": {"type": "str"},
    "names": {"type": "dict"},
    "skip": _LIST,
    "recursive": {"type": "bool"},
    "watch_marks": {"type": "bool"},
    "others": {"type": "str"},
    "read_from": {"type": "str"},
    "wait": {"type": "str"},
    "dialect": {"type": "str"},
    "mode": {"type": "raw"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "backup": {"type": "bool"},
    "backup_keep": {"type": "str"},
    "backup_count": {"type": "int"},
    "port": {"type": "int"},
    "login": {"type": "dict", "options": _pgbouncer.LOGIN_OPTIONS},
    "headroom": {"type": "str"},
}
SPEC = {
    **KEYRING_OPTIONS,
    "definition": {"type": "dict", "required": True, "options": _DEFINITION},
    "consumers": {"type": "list", "elements": "dict", "default": []},
    "sinks": {"type": "list", "elements": "dict", "default": []},
    "issuer": {"type": "dict", "default": {}},
    "look": {"type": "str", "choices": ["rotate", "use", "rollback", "verify"]},
    "due": {"type": "bool", "default": True},
    "expected": {"type": "str"},
    "files": {"type": "list", "elements": "path", "default": []},
    "together": {"type": "list", "elements": "dict", "default": []},
    "contents": {
        "type": "dict",
        "options": {
            "sealed": {"type": "str", "no_log": True},
            "more": {"type": "list", "elements": "str", "no_log": True},
        },
    },
}
MODULE = ModuleCore("consumer", SPEC, run, host=True, prepare=prepare, conclude=conclude)
