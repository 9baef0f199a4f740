# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make benchmarks-stores``: many values in AWS's Parameter Store and in Vault, against loops with boto3 and hvac and of other modules."""

from __future__ import annotations

import argparse
import os
import resource
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import boto3
import botocore.config
import hvac
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import _publish as _publish_core
from ansible_collections.keyturn.runbooks.plugins.module_utils import _ssm_secret, _vault_kv_task
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    SALT_BYTES,
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import ModuleCore, execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from estate.moto import MotoServer
from estate.users import make_run_dir
from estate.vault import VaultServer

from bench.contest import Wrong, say, spread
from bench.peers import peer_collections

THREADS = 12
REGION = "eu-west-1"
Values = Mapping[str, str]


def run_core(module: ModuleCore, options: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    """A module's arguments checked and its core run, as its action does in Ansible's process."""
    asked = ArgumentSpecValidator(dict(module.argument_spec)).validate(dict(options))
    if asked.error_messages:
        raise Wrong("; ".join(asked.error_messages))
    context = Context(environ={**os.environ, **environ})
    try:
        return execute(module, dict(asked.validated_parameters), context)
    finally:
        context.close()


def aws_environ(server: MotoServer) -> dict[str, str]:
    """What everybody needs to reach it."""
    return {
        "AWS_ENDPOINT_URL": server.address,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(16),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def put_raw(values: Values, _environ: Mapping[str, str]) -> None:
    """One call for each, twelve at once, nothing read and nothing checked."""
    # As the module does: the names and values were checked before.
    config = botocore.config.Config(max_pool_connections=THREADS, parameter_validation=False)
    client = boto3.client("ssm", config=config)

    def put(item: tuple[str, str]) -> None:
        name, value = item
        client.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, values.items()))


def put_core(values: Values, environ: Mapping[str, str]) -> None:
    """``ssm_secret`` with all of them in one task."""
    given = [{"name": name, "value": value} for name, value in values.items()]
    done = run_core(_ssm_secret.MODULE, {"parameters": given}, environ)
    if not done["changed"]:
        raise Wrong("ssm_secret changed nothing")


def _play(folder: Path, values: Values) -> Path:
    """A loop of ``community.aws.ssm_parameter``."""
    listed = [{"name": name, "value": value} for name, value in values.items()]
    task = {
        "community.aws.ssm_parameter": {
            "name": "{{ item.name }}",
            "value": "{{ item.value }}",
            "string_type": "SecureString",
            "overwrite_value": "changed",
        },
        "loop": listed,
        "no_log": True,
    }
    path = folder / "loop.yml"
    path.touch(mode=0o600)
    path.write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}])
    )
    return path


def put_loop(folder: Path, values: Values, environ: Mapping[str, str]) -> float:
    """The seconds of the loop, without those of a play that does nothing."""
    place = {"ANSIBLE_COLLECTIONS_PATH": str(peer_collections())}
    env = {**os.environ, **environ, **place, "ANSIBLE_PIPELINING": "true"}
    seconds = []
    for some in ({}, values):
        own = f"ansible_python_interpreter={sys.executable}"
        argv = ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", own]
        argv.append(str(_play(folder, some)))
        started = time.monotonic()
        ran = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        seconds.append(time.monotonic() - started)
        if ran.returncode:
            raise Wrong(ran.stdout + ran.stderr)
    return seconds[1] - seconds[0]


def _fresh(prefix: str, count: int) -> dict[str, str]:
    return {f"/{prefix}/{number:05d}": secrets.token_urlsafe(30) for number in range(count)}


def parameters(count: int, loop: int, repeat: int) -> list[list[str]]:
    """Rows of the first table."""
    sides: dict[str, Callable[[Values, Mapping[str, str]], None]] = {
        "ssm_secret": put_core,
        "boto3": put_raw,
    }
    rows = []
    folder = make_run_dir("keyturn-benchmark-")
    with MotoServer() as server:
        environ = aws_environ(server)
        os.environ.update(environ)
        # The first ones of each have the libraries to load.
        for name, put in sides.items():
            put(_fresh(f"warm-{name}", 20), environ)
        for what in ("new", "changed"):
            taken: dict[str, list[float]] = {name: [] for name in sides}
            for turn in range(repeat):
                for name in sides if turn % 2 else reversed(sides):
                    # moto looks through all that it has for each description.
                    server.reset()
                    prefix = f"{what}-{turn}-{name}"
                    if what == "changed":
                        put_raw(_fresh(prefix, count), environ)
                    values = _fresh(prefix, count)
                    started = time.monotonic()
                    sides[name](values, environ)
                    taken[name].append(time.monotonic() - started)
                    say(f"  {what}, {name}: {taken[name][-1]:.2f} s")
            own, raw = median(taken["ssm_secret"]), median(taken["boto3"])
            share = f"{100 * raw / own:.0f} %"
            title = f"{count} {what} parameters"
            rows.append([title, spread(taken["ssm_secret"]), spread(taken["boto3"]), share])
        each = put_loop(folder, _fresh("loop", loop), environ) / loop
        own_each = own / count
        rows.append(
            [
                f"one of them, beside a loop of {loop} with community.aws.ssm_parameter",
                f"{1000 * own_each:.1f} ms",
                f"{1000 * each:.0f} ms",
                f"{each / own_each:.0f} times as fast",
            ]
        )
    return rows


def _paths(count: int, fields: int) -> dict[str, dict[str, str]]:
    return {
        f"p{path:03d}": {f"F{field}": secrets.token_urlsafe(24) for field in range(fields)}
        for path in range(count)
    }


def vault_fields(count: int, fields: int, repeat: int) -> list[list[str]]:
    """Rows of the second table."""
    taken: dict[str, list[float]] = {name: [] for name in ("publish", "vault_kv", "hvac")}
    asked: dict[str, float] = {}
    requests = Requests()
    with VaultServer() as server:
        environ = {"VAULT_ADDR": server.address, "VAULT_TOKEN": server.root_token}
        for name in taken:
            server.mount_kv(name.replace("_", "-"))
        for turn in range(repeat + 1):
            for name, seconds in taken.items():
                paths, before, started = _paths(count, fields), requests.count, time.monotonic()
                _set_fields(name, name.replace("_", "-"), paths, environ)
                if turn:
                    seconds.append(time.monotonic() - started)
                    asked[name] = (requests.count - before) / count
    raw = median(taken["hvac"])
    return [
        [
            f"{count * fields} fields over {count} paths: {name}",
            spread(seconds),
            f"{100 * raw / median(seconds):.0f} %",
            f"{asked[name]:.0f}",
        ]
        for name, seconds in taken.items()
    ]


class Requests:
    """Counts the requests that this process sends, by Python's audit events."""

    def __init__(self) -> None:
        self.count = 0
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        # A request's body may be sent apart from its head.
        begins = (b"GET ", b"POST ", b"PUT ", b"LIST ", b"PATCH ", b"DELETE ")
        if event == "http.client.send" and isinstance(arguments[1], bytes):
            self.count += arguments[1].startswith(begins)


def _publish(mount: str, paths: Mapping[str, Values], environ: Mapping[str, str]) -> None:
    """One sink for each path, in one task, as a credential's: all show the same value."""
    folder = make_run_dir("keyturn-benchmark-")
    keyring = folder / "keyring.json"
    stage = Stage("r1", "observed", {"value": Secret(secrets.token_urlsafe(24))})
    document = Document("bench", secrets.token_bytes(SALT_BYTES))
    document = replace(document, current=document.with_fingerprints(stage))
    keyring.touch(mode=0o600)
    keyring.write_text(dump_text(document))
    sinks = [
        {"ref": f"ref+vault://{mount}/{path}", "fields": dict.fromkeys(values, "{current.value}")}
        for path, values in paths.items()
    ]
    done = run_core(
        _publish_core.MODULE, {"keyring": f"ref+file://{keyring}", "sinks": sinks}, environ
    )
    keyring.unlink()
    if not done["changed"]:
        raise Wrong("publish changed nothing")


def _set_fields(
    name: str, mount: str, paths: Mapping[str, Values], environ: Mapping[str, str]
) -> None:
    if name == "publish":
        _publish(mount, paths, environ)
    elif name == "vault_kv":
        for path, values in paths.items():
            options = {"engine_mount_point": mount, "path": path, "fields": dict(values)}
            run_core(_vault_kv_task.MODULE, options, environ)
    else:
        _with_hvac(mount, paths, environ)


def _with_hvac(mount: str, paths: Mapping[str, Values], environ: Mapping[str, str]) -> None:
    kv = hvac.Client(environ["VAULT_ADDR"], environ["VAULT_TOKEN"]).secrets.kv.v2
    for path, values in paths.items():
        try:
            found = kv.read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
            data, version = found["data"]["data"], found["data"]["metadata"]["version"]
        except hvac.exceptions.InvalidPath:
            data, version = {}, 0
        kv.create_or_update_secret(path, {**data, **values}, version, mount)


def memory(count: int) -> list[str]:
    """The greatest size of a process that sets so many parameters."""
    with MotoServer() as server:
        argv = [sys.executable, "-m", "bench.stores", "--child", str(count)]
        env = {**os.environ, **aws_environ(server)}
        here = str(Path(__file__).parents[1])
        env["PYTHONPATH"] = os.pathsep.join(
            [here, str(Path(here).parent / "demo"), env["PYTHONPATH"]]
        )
        ran = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Wrong(ran.stdout + ran.stderr)
    return [f"{count} parameters in one task", f"{int(ran.stdout) // 1024} MB"]


def _child(count: int) -> None:
    put_core(_fresh("memory", count), os.environ)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


HEAD = """\
# Benchmarks of stores

`make benchmarks-stores` measures this on your machine and writes this page. AWS is moto's server, which does one thing at a time, Vault is
the real one, both on 127.0.0.1. The sides run by turns, with values and names of their own; seconds are medians with the least and the
most. Load before the first run: {load:.1f}.

"""


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> int:
    """The program; returns its exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks/stores", description=__doc__)
    parser.add_argument("--page", type=Path, help="write the figures to this file")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--loop", type=int, default=20, help="parameters of the slow loop")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--memory", type=int, default=10_000)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(options.child)
        return 0
    text = HEAD.format(load=os.getloadavg()[0])
    heads = ["AWS Parameter Store", "`ssm_secret`", "beside it", "speed"]
    text += _table(heads, parameters(options.count, options.loop, options.repeat)) + "\n"
    heads = ["Vault", "seconds", "of hvac's speed", "requests for each path"]
    text += _table(heads, vault_fields(100, 10, options.repeat)) + "\n"
    sizes = [memory(count) for count in (options.memory // 10, options.memory)]
    text += _table(["memory", "greatest size"], sizes)
    print(text)
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
