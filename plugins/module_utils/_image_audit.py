# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of the module ``image_audit``: what in a container image looks like a secret, or is one of the estate's."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils import _image_config as config
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_allow import (
    read_allowances,
    sort_out,
    unneeded,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_archive import (
    Archive,
    Layer,
    SeeFile,
    read_archive,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_engine import (
    ENGINES,
    Engine,
    names_of,
    notes_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_look import (
    Look,
    fingerprint,
    printable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_rules import Rules
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_time import Patience, Timed
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_values import Known
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

_KNOWN = "image_audit"
_SHOWN_LARGE = 200


# On the controller, before


def _stages(document: Document) -> Iterator[Tuple[str, Any]]:
    yield from document.stages.items()
    for stage in document.retained:
        yield "retained", stage


def _read_keyring(name: str, reference: str, known: Known, context: Context) -> None:
    document = open_keyring({"keyring": reference, "credential": ""}, context).document
    for label, stage in _stages(document) if document else ():
        username = stage.fields.get("username")
        for key, value in stage.fields.items():
            if isinstance(value, Secret) and value.known:
                login = username if isinstance(username, str) else ""
                known.add(f"{name}/{label}/{key}", value, login)


def _read(what: str, read: Callable[[], None]) -> str:
    """Read one; why it could not be read, when it could not."""
    try:
        read()
    except BadInput:
        raise
    except KeyturnError as error:
        return f"{what}: it was not read, so it was not looked for: {error.message}"
    return ""


def _read_known(params: Params, context: Context) -> Tuple[Known, List[str]]:
    known = Known(context.randbytes(32))
    told = [
        _read(f"keyring of {name}", partial(_read_keyring, name, str(it), known, context))
        for name, it in params["keyrings"].items()
    ]
    told += [
        _read(f"value '{name}'", partial(_read_value, name, str(it), known, context))
        for name, it in params["extra_values"].items()
    ]
    return known, [why for why in told if why]


def _read_value(name: str, reference: str, known: Known, context: Context) -> None:
    known.add(f"{name}//", resolve(reference, context, f"extra_values, {name}"))


def prepare(params: Params, context: Context) -> Params:
    """Read the values to look for, and make of them what the host may know.

    :raises BadInput: for an entry of the list of false positives that cannot be meant.
    """
    if params["project"] and not params["service"]:
        raise BadInput("project: it belongs to 'service', which is missing")
    allow = [one.told() for one in read_allowances(params["allow"])]
    known, unread = _read_known(params, context)
    context.sessions[_KNOWN] = known
    marks = {**known.marks(), "unread": unread, "short": known.short}
    return {**params, "allow": allow, "marks": marks, "keyrings": {}, "extra_values": {}}


# On the host


def _archive(
    params: Params, seconds: float, see: SeeFile, context: Context
) -> Tuple[Archive, Dict[str, Any]]:
    most = params["max_file_size"]
    if params["archive"]:
        path = os.path.expanduser(params["archive"])
        try:
            with open(path, "rb") as file:
                timed = Timed(file, time.monotonic() + seconds)
                return read_archive(timed, most, see), {"names": [], "id": ""}
        except OSError as error:
            raise BadInput(
                f"archive: {path} cannot be read ({os.strerror(error.errno or 0)})"
            ) from None
    engine = Engine(params["engine"], context)
    image = params["image"] or engine.image_of(params["service"], params["project"] or "")
    about = engine.look_up(image)
    with engine.saved(str(about["id"]), seconds) as stream:
        return read_archive(stream, most, see), about


def run(params: Params, context: Context) -> Result:
    """Look at one image; :func:`conclude` makes findings of what this returns.

    :raises KeyturnError: the image cannot be read.
    """
    marks = params["marks"] or {}
    look = Look(Rules(), marks, params["skip"])
    seconds = parse_duration(params["timeout"], "timeout").total_seconds()
    patience = Patience(time.monotonic() + seconds)

    def see(layer: Layer, path: str, data: bytes) -> None:
        patience.spend(printable(path), partial(look.see, layer, path, data))

    archive, about = _archive(params, seconds, see, context)
    for configuration in archive.configurations:
        work = partial(look.configuration, configuration, params["expected_env"])
        patience.spend("its configuration", work)
    for document in (about, *archive.documents):
        patience.spend("its annotations", partial(look.annotations, notes_of(document)))
    shown = params["archive"] or params["image"] or next(iter(names_of(about)), str(about["id"]))
    large = [path for layer in archive.layers for path in layer.large]
    return {
        "changed": False,
        "image": shown,
        "image_id": str(about["id"]),
        "looked_at": {
            "layers": len(archive.layers),
            "files": sum(layer.files for layer in archive.layers),
            "values": len(marks.get("begins") or ()),
        },
        "not_looked_at": {
            "too_large": large[:_SHOWN_LARGE],
            "too_large_count": len(large),
            "skipped": look.skipped,
            "short_values": list(marks.get("short") or ()),
        },
        "unknown": [
            *archive.problems,
            *patience.problems,
            *look.problems,
            *(marks.get("unread") or ()),
        ],
        **look.found(archive),
    }


# On the controller, after


def _of_values(result: Result, known: Known) -> List[Dict[str, Any]]:
    found = []
    for suspect in result.get("suspects") or []:
        what, bits = known.of_digest(suspect["digest"])
        if what:
            credential, stage, key = what.rsplit("/", 2)
            whose = {"credential": credential, "stage": stage, "field": key}
            finding = {**suspect["where"], "rule": "value of the estate", **whose}
            found.append({**finding, "fingerprint": fingerprint(finding, bits)})
    return found


def _line(finding: Mapping[str, Any]) -> Tuple[Any, ...]:
    keys = ("place", "layer", "path", "line", "step", "name")
    return tuple(finding.get(key) for key in keys)


def conclude(params: Params, result: Result, context: Context) -> Result:
    """Tell which texts are values of the estate, and sort out what is allowed."""
    if "findings" not in result:
        return result
    known = context.sessions.pop(_KNOWN)
    try:
        return _concluded(params, result, known, context)
    finally:
        known.close()


def _concluded(params: Params, result: Result, known: Known, context: Context) -> Result:
    own = _of_values(result, known)
    places = {_line(finding) for finding in own}
    lines = {
        _line({**finding, "name": ""})
        for finding in own
        if finding.get("line") or finding.get("step")
    }
    others = [
        finding
        for finding in result["findings"]
        if _line(finding) not in places and _line({**finding, "name": ""}) not in lines
    ]
    # A path or a name may itself hold a value.
    told = [
        {key: known.hide(it) if isinstance(it, str) else it for key, it in finding.items()}
        for finding in [*own, *others]
    ]
    allowances, today = read_allowances(params["allow"]), context.now().date()
    counted, passed = sort_out(told, allowances, today)
    kept = {key: value for key, value in result.items() if key != "suspects"}
    skipped = dict(kept["not_looked_at"])
    skipped["too_large"] = [known.hide(path) for path in skipped["too_large"]]
    return {
        **kept,
        "not_looked_at": skipped,
        "unknown": [known.hide(text) for text in kept["unknown"]],
        "findings": counted,
        "allowed": passed,
        **unneeded(told, allowances, today),
    }


SPEC: Mapping[str, Any] = {
    "image": {"type": "str"},
    "service": {"type": "str"},
    "project": {"type": "str"},
    "archive": {"type": "path"},
    "engine": {"type": "str", "default": ENGINES[0], "choices": list(ENGINES)},
    "expected_env": {"type": "list", "elements": "str", "default": list(config.EXPECTED_ENV)},
    "allow": {"type": "list", "elements": "dict", "default": []},
    "keyrings": {"type": "dict", "default": {}, "no_log": False},
    "extra_values": {"type": "dict", "default": {}, "no_log": False},
    "skip": {"type": "list", "elements": "str", "default": []},
    "max_file_size": {"type": "int", "default": 10 << 20},
    "timeout": {"type": "str", "default": "30m"},
    "marks": {"type": "dict", "default": {}, "no_log": False},
}
MODULE = ModuleCore(
    "image_audit",
    SPEC,
    run,
    constraints={
        "mutually_exclusive": [("image", "service", "archive")],
        "required_one_of": [("image", "service", "archive")],
    },
    host=True,
    prepare=prepare,
    conclude=conclude,
)
