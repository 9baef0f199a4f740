# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``benchmarks/audit``: the playbook ``audit`` over many credentials, against plain reads of the same parameters with boto3.

Every credential has a keyring in Parameter Store, a hundred of them in a folder, and one parameter as a sink.
The sides run one after the other in one run, on one
machine: the ratio says more than the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import botocore.config
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._ssm import pack
from estate.moto import MotoServer

from bench.contest import Wrong
from bench.store_aws import THREADS, aws_environ

SECONDS_AT_MOST = 60
KEYRINGS, SINKS = "/keyrings", "/app/production"
NOTHING = "- {hosts: credentials, gather_facts: false, tasks: [{debug: {msg: nothing}, run_once: true}]}\n"


@dataclass(frozen=True)
class Figures:
    """Seconds of each part."""

    count: int
    audit: tuple[float, float]
    reads: float
    nothing: tuple[float, float]


def _client() -> Any:
    config = botocore.config.Config(max_pool_connections=THREADS, parameter_validation=False)
    return boto3.Session().client("ssm", config=config)


def _keyring(name: str, value: str) -> str:
    made = datetime.now(timezone.utc) - timedelta(days=10)
    fields = {"value": Secret(value)}
    document = Document(name, secrets.token_bytes(32), updated=made)
    current = Stage("r1", "observed", fields, made=made, promoted=made, observed=made)
    return dump_text(replace(document, current=document.with_fingerprints(current)))


def folder_of(name: str) -> str:
    """The folder of its keyring, as of a team or an application."""
    return name[:-2]


def fill(names: list[str], versions: int) -> None:
    """Keyrings with so many versions each, as they are after some rotations, and what they say in their sinks."""
    client = _client()

    def one(name: str) -> None:
        value = secrets.token_urlsafe(30)
        text = pack(_keyring(name, value), secrets.token_hex(8))
        given = {"Type": "SecureString", "Overwrite": False}
        for number in range(1, versions + 1):
            place = f"{KEYRINGS}/{folder_of(name)}/{name}/{number:010d}"
            client.put_parameter(Name=place, Value=text, **given)
        client.put_parameter(Name=f"{SINKS}/{name}", Value=value, **given)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, names))


def plain_reads(names: list[str]) -> int:
    """The least that a program does for it: pages of the keyrings' folder, and the sinks ten with a call. How many it read."""
    client = _client()

    def ten(start: int) -> int:
        some = [f"{SINKS}/{name}" for name in names[start : start + 10]]
        return len(client.get_parameters(Names=some, WithDecryption=True)["Parameters"])

    def all_below(folder: str) -> int:
        pages = client.get_paginator("get_parameters_by_path").paginate(
            Path=f"{KEYRINGS}/{folder}", Recursive=True, WithDecryption=True
        )
        return sum(len(page["Parameters"]) for page in pages)

    with ThreadPoolExecutor(THREADS) as pool:
        keyrings = pool.map(all_below, sorted({folder_of(name) for name in names}))
        return sum(pool.map(ten, range(0, len(names), 10))) + sum(keyrings)


def write_inventory(folder: Path, names: list[str]) -> Path:
    """One host for each credential; what they share is said once for their groups."""
    shared = {
        "keyturn_keyring": f"ref+awsssm:/{KEYRINGS}/{{{{ team }}}}/{{{{ inventory_hostname }}}}",
        "keyturn_policy": {"rotate": "age", "max_age": "180d"},
        "keyturn_owner": "platform",
        "keyturn_issuer": {"type": "generated", "overlap": True},
        "keyturn_sinks": [
            {
                "ref": f"ref+awsssm:/{SINKS}/{{{{ inventory_hostname }}}}",
                "template": "{current.value}",
            }
        ],
    }
    teams: dict[str, Any] = {}
    for name in names:
        team = folder_of(name)
        empty: dict[str, Any] = {"vars": {"team": team}, "hosts": {}}
        teams.setdefault(f"team_{team}", empty)["hosts"][name] = None
    groups = {"all": {"children": {"credentials": {"vars": shared, "children": teams}}}}
    path = folder / "hosts.yml"
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    path.write_text(yaml.dump(groups, Dumper=dumper), "utf-8")
    return path


def _playbook(name: str, inventory: Path, folder: Path, *extra: str) -> tuple[float, float]:
    """Seconds, and seconds of work: on a machine that does other things they are not the same."""
    argv = [sys.executable, "-m", "ansible", "playbook", name, "-i", str(inventory), *extra]
    log = folder / "log"
    started, before = time.monotonic(), _worked()
    with log.open("w") as out:
        ended = subprocess.run(argv, stdout=out, stderr=out, cwd=folder, env=_few(), check=False)
    seconds = time.monotonic() - started
    if ended.returncode:
        raise Wrong(f"{name} ended with {ended.returncode}: {log.read_text()[-2000:]}")
    return seconds, _worked() - before


def _few() -> dict[str, str]:
    """The environment that a scheduler gives."""
    known = ("PATH", "HOME", "PYTHONPATH", "LANG")
    return {
        name: value
        for name, value in os.environ.items()
        if name in known or name.startswith(("AWS_", "ANSIBLE_"))
    }


def _worked() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _check(report: Path, count: int) -> None:
    summary = json.loads(report.read_text())["summary"]
    wanted = {"credentials": count, "states": {"fresh": count}, "findings": {}}
    if summary != wanted:
        raise Wrong(f"the audit tells {summary}, and there is {wanted}")


def measure(count: int, versions: int) -> Figures:
    """Fill a server, then audit, read plainly, and run a playbook that does nothing.

    :raises Wrong: when the audit does not tell what there is.
    """
    names = [f"c{number:05d}" for number in range(count)]
    with TemporaryDirectory() as place, MotoServer() as server:
        os.environ.update(aws_environ(server))
        folder = Path(place)
        fill(names, versions)
        inventory, report = write_inventory(folder, names), folder / "report.json"
        nothing = folder / "nothing.yml"
        nothing.write_text(NOTHING)
        audited = _playbook(
            "keyturn.runbooks.audit", inventory, folder, "-e", f"output_file={report}"
        )
        _check(report, count)
        started = time.monotonic()
        read = plain_reads(names)
        reads = time.monotonic() - started
        if read != count * (versions + 1):
            raise Wrong(f"{read} parameters were read of {count * (versions + 1)}")
        return Figures(count, audited, reads, _playbook(str(nothing), inventory, folder))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--versions", type=int, default=1)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    found = measure(given.count, given.versions)
    seconds, worked = found.audit
    idle, idled = found.nothing
    print(f"{found.count} credentials, {given.versions} versions of each keyring, load {load:.1f}")
    print(
        f"audit             {seconds:7.1f} s, {worked:.1f} s of work: {worked / found.count * 1000:.2f} ms each"
    )
    print(
        f"boto3, reads only {found.reads:7.1f} s: the audit takes {seconds / found.reads:.1f} times as long"
    )
    print(f"ansible, nothing  {idle:7.1f} s, {idled:.1f} s of work, of the audit's")
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"the largest process had {megabytes} MB")
    met = seconds <= SECONDS_AT_MOST
    print(f"at most {SECONDS_AT_MOST} s: {'yes' if met else 'no'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
