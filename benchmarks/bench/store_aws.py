# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of AWS's Parameter Store: by ``ssm_secret``, by boto3 alone, and by a loop of another module."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import botocore.config
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils import _ssm_secret
from estate.moto import MotoServer

from bench.contest import Wrong, say
from bench.peers import peer_collections
from bench.store_work import Requests, Values, run_core

THREADS = 12
REGION = "eu-west-1"
OWN_KEY = "alias/aws/ssm"
NEW, NAMED, KEPT = "new", "changed, their key named", "changed, their key kept"
OWN, CAREFUL, WRITES = "ssm_secret", "boto3, the same work", "boto3, writes alone"


@dataclass(frozen=True)
class ParameterFigures:
    """What each way took.

    :param seconds: of every run, by what was written and by the way.
    :param calls: of ``ssm_secret``, by what was written and by AWS's name of the call.
    :param loop: how many parameters the loop of the other module wrote, and the seconds for each.
    """

    count: int
    seconds: Mapping[str, Mapping[str, list[float]]]
    calls: Mapping[str, Mapping[str, int]]
    loop: tuple[int, float]


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


def fresh(prefix: str, count: int) -> dict[str, str]:
    """Values by name, others each time."""
    return {f"/{prefix}/{number:05d}": secrets.token_urlsafe(30) for number in range(count)}


def _client() -> Any:
    """A client of this run alone, as a program and a task have it."""
    # As the module does: the names and values were checked before.
    config = botocore.config.Config(max_pool_connections=THREADS, parameter_validation=False)
    return boto3.Session().client("ssm", config=config)


def _groups(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def put_blindly(values: Values, _key: str = "") -> None:
    """One call for each, twelve at once: nothing is read, and the key becomes the account's own."""
    client = _client()

    def put(item: tuple[str, str]) -> None:
        name, value = item
        client.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, values.items()))


def put_carefully(values: Values, key: str) -> None:
    """What a careful person writes with boto3: read in tens, compare, find out the keys in fifties, write what differs.

    :param key: the key that is named; empty: each keeps its own.
    """
    client, keys = _client(), dict.fromkeys(values, key)

    def read(names: Sequence[str]) -> dict[str, str]:
        answer = client.get_parameters(Names=names, WithDecryption=True)
        return {item["Name"]: item["Value"] for item in answer["Parameters"]}

    def describe(names: Sequence[str]) -> None:
        wanted = [{"Key": "Name", "Option": "Equals", "Values": names}]
        pages = client.get_paginator("describe_parameters").paginate(
            ParameterFilters=wanted, PaginationConfig={"PageSize": 50}
        )
        keys.update((item["Name"], item["KeyId"]) for page in pages for item in page["Parameters"])

    def put(name: str) -> None:
        about = {"KeyId": keys[name]} if keys[name] else {}
        client.put_parameter(
            Name=name, Value=values[name], Type="SecureString", Overwrite=name in there, **about
        )

    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(read, _groups(list(values), 10))
        there = {name: value for answer in answers for name, value in answer.items()}
        differing = [name for name in values if there.get(name) != values[name]]
        if not key:
            list(pool.map(describe, _groups([name for name in differing if name in there], 50)))
        list(pool.map(put, differing))


def put_core(values: Values, key: str) -> None:
    """``ssm_secret`` with all of them in one task."""
    given = [{"name": name, "value": value} for name, value in values.items()]
    options = {"parameters": given, "key_id": key or None}
    done = run_core(_ssm_secret.MODULE, options, os.environ)
    if not all(item["changed"] for item in done["parameters"]):
        raise Wrong("ssm_secret left a parameter as it was")


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


def _seconds_of_loop(folder: Path, values: Values) -> float:
    """The seconds of the loop, without those of a play that does nothing."""
    place = {"ANSIBLE_COLLECTIONS_PATH": str(peer_collections())}
    env = {**os.environ, **place, "ANSIBLE_PIPELINING": "true"}
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


def _turn(name: str, what: str, prefix: str, count: int, requests: Requests) -> float:
    """The seconds of one run; what is changed was there before it."""
    sides = {OWN: put_core, CAREFUL: put_carefully, WRITES: put_blindly}
    if what != NEW:
        put_blindly(fresh(prefix, count))
    values = fresh(prefix, count)
    requests.calls.clear()
    started = time.monotonic()
    sides[name](values, OWN_KEY if what == NAMED else "")
    seconds = time.monotonic() - started
    say(f"  {count} {what}, {name}: {seconds:.2f} s")
    return seconds


def parameters(count: int, loop: int, repeat: int) -> ParameterFigures:
    """All ways by turns.

    :param loop: how many parameters the other module writes, as it takes long; none when 0.
    :raises Wrong: when one did not do its job.
    """
    names = (OWN, CAREFUL, WRITES)
    taken = {what: {name: list[float]() for name in names} for what in (NEW, NAMED, KEPT)}
    calls: dict[str, dict[str, int]] = {}
    requests = Requests()
    with MotoServer() as server:
        os.environ.update(aws_environ(server))
        # The first ones of each have the libraries to load.
        for what in (NEW, KEPT):
            for name in names:
                _turn(name, what, f"warm-{what[:3]}-{names.index(name)}", 20, requests)
        for what, seconds in taken.items():
            for turn in range(repeat):
                for name in names[turn % 3 :] + names[: turn % 3]:
                    # moto looks through all that it has for each description.
                    server.reset()
                    took = _turn(name, what, f"{what[:3]}-{turn}", count, requests)
                    seconds[name].append(took)
                    if name == OWN:
                        calls[what] = dict(requests.calls)
        each = 0.0
        if loop:
            with TemporaryDirectory(prefix="keyturn-benchmark-") as folder:
                each = _seconds_of_loop(Path(folder), fresh("loop", loop)) / loop
    return ParameterFigures(count, taken, calls, (loop, each))
