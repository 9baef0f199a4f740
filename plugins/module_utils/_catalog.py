# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``catalog``: an inventory's host variables from a table of secrets.

A file of host variables that is there belongs to whoever keeps it: it is compared and never written. The file that lists the
hosts is the catalog's own, and says so in its first line.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._catalog_rows import (
    Credential,
    Rules,
    all_credentials,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._catalog_table import (
    FORMATS,
    read_rows,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    KeyturnError,
    MissingLibrary,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import file_error
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import (
    check_replaceable,
    read_file,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import parse_policy

_PLAIN = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./:+~@#%=&?-]*\Z")
_NUMBER = re.compile(r"[\d.+-][\d._:eE+-]*\Z|0[box]")
_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"))
_PUBLIC = 0o644
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Planned:
    """One file.

    :param text: what it should hold.
    :param there: what it holds; none when it is not there.
    :param differs: the variables that differ in a file that is kept.
    :param writes: whether it is to be written.
    """

    path: str
    text: str
    there: Optional[str]
    differs: Tuple[str, ...] = ()
    writes: bool = False


def _scalar(value: Any) -> str:
    """A text as YAML reads it back: without quotes where no reader takes it for anything else."""
    text = str(value)
    plain = _PLAIN.match(text) and not _NUMBER.match(text) and text.lower() not in _WORDS
    return text if plain and not text.endswith(":") else json.dumps(text)


def _flow(value: Any) -> str:
    """A value on one line, as the examples of this collection write it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _scalar(value)


def host_file(item: Credential, source: str) -> str:
    """The text of a credential's file of host variables."""
    lines = [
        "---",
        f"# {item.place}, as {source} has it. Who makes it valid, who uses it and what proves it are yours to add.",
    ]
    for name, value in item.variables.items():
        if name == "keyturn_sinks":
            lines += [f"{name}:", *(f"  - {_flow(sink)}" for sink in value)]
        else:
            lines.append(f"{name}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def hosts_head(source: str) -> str:
    """How the first lines of the file of hosts begin, by which it is known."""
    return f"---\n# Made from {source} by keyturn.runbooks.catalog, which writes it anew"


def hosts_file(items: Sequence[Credential], source: str, group: str) -> str:
    """The text of the file that lists the hosts."""
    lines = [
        f"{hosts_head(source)}: list further groups in a file of your own.",
        f"{_scalar(group)}:",
        "  hosts:",
    ]
    return "\n".join([*lines, *(f"    {_scalar(item.name)}:" for item in items)]) + "\n"


def _text_of(path: str, option: str) -> Optional[str]:
    data = read_file(path, option)
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Corrupt(f"{option}: {path} is no UTF-8 text") from None


def _load(text: str, path: str) -> Mapping[str, Any]:
    """The variables in a file; those that Ansible alone can read, such as encrypted ones, count as different ones."""
    try:
        import yaml
    except ImportError:
        raise MissingLibrary(
            "inventory: reading host variables needs the Python library PyYAML; install it"
        ) from None
    try:
        body = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # makes texts, lists and mappings and nothing else
    except yaml.YAMLError:
        raise Corrupt(f"inventory: {path} is no YAML; mend it, then import again") from None
    if body in (None, ""):
        return {}
    if not isinstance(body, dict):
        raise Corrupt(f"inventory: {path} holds no mapping of variables")
    return body


def _places(sinks: Any) -> List[Any]:
    """The references of sinks, those of groups too."""
    listed = [sink for sink in sinks if isinstance(sink, dict)] if isinstance(sinks, list) else []
    return [sink.get("ref") for sink in listed] + [
        place for sink in listed for place in _places(sink.get("group"))
    ]


def _says(name: str, wanted: Any, found: Any) -> bool:
    """Whether a file that somebody worked on says what the table says, maybe with more: further sinks, another template, a grace period,
    the parts of a value in use."""
    if name == "keyturn_sinks":
        return set(_places(wanted)) <= set(_places(found))
    if name == "keyturn_policy" and isinstance(found, dict):
        return all(found.get(key) == item for key, item in wanted.items())
    if name == "keyturn_adopt" and isinstance(found, dict):
        return set(wanted.values()) <= {item for item in found.values() if isinstance(item, str)}
    return bool(found == wanted)


def _plan_host(item: Credential, folder: str, source: str) -> Planned:
    base, text = os.path.join(folder, "host_vars", item.name), host_file(item, source)
    if os.path.isdir(base):
        raise BadInput(
            f"inventory: {base} is a folder, which is not compared; make it one file, or take the row out of the table"
        )
    path = next((base + end for end in (".yml", ".yaml", "") if os.path.lexists(base + end)), "")
    there = _text_of(path, "inventory") if path else None
    if there is None:
        return Planned(path or f"{base}.yml", text, None, writes=True)
    wanted, found = _load(text, path), _load(there, path)
    differs = tuple(name for name in wanted if not _says(name, wanted[name], found.get(name)))
    return Planned(path, text, there, differs)


def _plan_hosts(path: str, text: str, source: str, wanted: Sequence[str]) -> Planned:
    there = _text_of(path, "hosts_file")
    if there is not None and not there.startswith(hosts_head(source)):
        absent = tuple(
            name for name in wanted if not re.search(rf"^\s+{name}:", there, re.MULTILINE)
        )
        return Planned(path, text, there, absent)
    return Planned(path, text, there, writes=there != text)


def _write(plan: Planned) -> None:
    """Put a file in its place as a whole; one of host variables never in the place of another.

    :raises Unreachable: when somebody else made it in between.
    :raises Denied, Absent: as the folder gives cause.
    """
    folder, name = os.path.split(plan.path)
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor, part = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(plan.text)
                os.fchmod(file.fileno(), _PUBLIC)
            if plan.there is None:
                os.link(part, plan.path)
            else:
                os.replace(part, plan.path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part)
    except OSError as error:
        raise file_error(error, "inventory", plan.path, "write") from None


def _carry_out(writes: Sequence[Planned], context: Context) -> None:
    """Write the files, or in check mode see whether they could be written.

    :raises KeyturnError: for the first one that cannot; what was written before is in its details.
    """
    written: List[str] = []
    try:
        for plan in writes:
            # The folder of host variables is made where it is not there.
            folder = os.path.dirname(plan.path)
            check_replaceable(plan.path if os.path.lexists(folder) else folder, "inventory")
            if not context.check_mode:
                _write(plan)
                written.append(plan.path)
    except KeyturnError as error:
        error.details.update(written=written, changed=bool(written))
        raise


def _folder(params: Params) -> str:
    given = os.path.abspath(str(params["inventory"]))
    folder = os.path.dirname(given) if os.path.isfile(given) else given
    if not os.path.isdir(folder):
        raise Absent(f"inventory: there is no folder {folder}; make it, or correct the path")
    return folder


def _rules(params: Params, context: Context) -> Rules:
    if "{name}" not in params["keyring"]:
        raise BadInput(
            "keyring: expected a reference with {name}, so that each credential has its own"
        )
    policy = dict(params["policy"] or {})
    strange = [name for name in policy if name in ("rotate", "max_age")]
    if strange:
        raise BadInput(f"policy.{strange[0]}: the table says this for each row; leave it out here")
    parse_policy({"rotate": "never", **policy}, "policy")
    issuer = params["issuer"] or {}
    if issuer:
        open_issuer(issuer, context, "issuer")
    environments = tuple(params["environments"] or ())
    return Rules(params["keyring"], params["owner"] or "", environments, policy, issuer)


def _plans(params: Params, context: Context) -> Tuple[List[Credential], List[Planned], Planned]:
    path, folder = params["src"], _folder(params)
    if not _GROUP.match(params["group"]):
        raise BadInput("group: expected a name of letters, digits and underscores")
    text = _text_of(path, "src")
    if text is None:
        raise Absent(f"src: there is no file {path}; correct the path")
    source = os.path.basename(path)
    rows = read_rows(text, path, params["format"])
    items = all_credentials(rows, _rules(params, context), f"src: {path}")
    hosts = [_plan_host(item, folder, source) for item in items]
    listing = hosts_file(items, source, params["group"])
    names = [item.name for item in items]
    own = _plan_hosts(os.path.join(folder, params["hosts_file"]), listing, source, names)
    return items, hosts, own


def _diff(plans: Sequence[Planned]) -> List[Dict[str, str]]:
    return [
        {
            "before_header": plan.path,
            "after_header": plan.path,
            "before": plan.there or "",
            "after": plan.text,
        }
        for plan in plans
        if plan.writes
    ]


def _different(items: Sequence[Credential], hosts: Sequence[Planned]) -> List[Dict[str, Any]]:
    return [
        {"host": item.name, "line": item.line, "path": plan.path, "variables": list(plan.differs)}
        for item, plan in zip(items, hosts)
        if plan.differs
    ]


def run(params: Params, context: Context) -> Result:
    """Compare the inventory with the catalog, and write what is not there.

    :raises BadInput: naming every row that is not understood; nothing is written then.
    :raises KeyturnError: as the files give cause.
    """
    items, hosts, own = _plans(params, context)
    different = _different(items, hosts)
    for found in different:
        names = ", ".join(found["variables"])
        context.warn(
            f"{found['path']}: {names} differs from line {found['line']} of {params['src']}; it was left as it is"
        )
    if own.differs:
        context.warn(
            f"{own.path} is not the catalog's own file and was left as it is; it does not list {', '.join(own.differs)}"
        )
    writes = [plan for plan in (*hosts, own) if plan.writes]
    _carry_out(writes, context)
    result: Result = {
        "changed": bool(writes),
        "hosts": [item.name for item in items],
        "written": [plan.path for plan in writes],
        "different": different,
    }
    return {**result, "diff": _diff(writes)} if context.diff else result


MODULE = ModuleCore(
    name="catalog",
    argument_spec={
        "src": {"type": "path", "required": True},
        "format": {"type": "str", "choices": list(FORMATS), "default": "auto"},
        "inventory": {"type": "path", "required": True},
        "hosts_file": {"type": "str", "default": "catalog.yml"},
        "group": {"type": "str", "default": "catalogued"},
        "keyring": {
            "type": "str",
            "no_log": False,
            "default": "ref+vault://secret/keyrings/{name}",
        },
        "owner": {"type": "str"},
        "environments": {"type": "list", "elements": "str", "default": []},
        "policy": {"type": "dict", "default": {}},
        "issuer": {"type": "dict", "default": {}},
    },
    run=run,
)
