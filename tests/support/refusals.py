# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sinks that take no write: from the beginning, or from the moment when a run has begun to write its sinks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from everywhere import REGION, Everywhere
from fault_proxy import Exchange, Fault, said


@dataclass(frozen=True)
class Refusal:
    """One sink that refuses.

    :param sink: its name.
    :param place: what a message has to name beside it.
    :param begin: has it refuse.
    :param end: has it take writes again.
    :param foreseen: whoever may write can be asked without a write.
    :param after: in mid-run it begins once a parameter of this region of AWS was written; of any, where none is named.
    """

    sink: str
    place: str
    begin: Callable[[Everywhere], None]
    end: Callable[[Everywhere], None]
    foreseen: bool = True
    after: str = ""


def _aws_denies(region: str) -> Callable[[Everywhere], None]:
    """As AWS answers without the right ssm:PutParameter in a region, or in any where none is named."""
    denied = said(400, b'{"__type": "AccessDeniedException", "message": "not authorized"}')

    def begin(kept: Everywhere) -> None:
        # A signature names the region that it is for.
        wanted = Fault(
            denied, lambda asked: asked.writes and region in asked.headers["Authorization"]
        )
        kept.proxies[0].faults.append(wanted)

    return begin


def _aws_allows(kept: Everywhere) -> None:
    kept.proxies[0].faults.clear()


def read_only(folder: Path) -> None:
    """A file system that takes no write, of root either; anybody else has no right to mount and gets no right to write."""
    if os.geteuid():
        folder.chmod(0o500)
        return
    _mount("--bind", str(folder), str(folder))
    _mount("-o", "remount,bind,ro", str(folder))


def writable(folder: Path) -> None:
    """As before."""
    if os.geteuid():
        folder.chmod(0o700)
    elif f" {folder} " in Path("/proc/self/mountinfo").read_text():
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


REFUSALS = (
    Refusal("production", "parameter", _aws_denies(REGION), _aws_allows, foreseen=False),
    Refusal(
        "shared",
        "Vault",
        lambda kept: kept.let_publish("read"),
        lambda kept: kept.let_publish("create", "read", "update"),
    ),
    Refusal(
        "cluster",
        "Secret",
        lambda kept: kept.let_replace("get"),
        lambda kept: kept.let_replace("get", "create", "update"),
    ),
    Refusal(
        "site",
        "site.env",
        lambda kept: read_only(kept.env_file.parent),
        lambda kept: writable(kept.env_file.parent),
    ),
)
AFTER_AWS = Refusal("staging", "parameter", _aws_denies(""), _aws_allows, False, REGION)
"""All of AWS, in mid-run once it has taken every write of the way there."""


@contextmanager
def refusing(kept: Everywhere, refusal: Refusal, midway: bool = False) -> Iterator[None]:
    """While the block lasts, a sink refuses.

    :param midway: from the moment when sinks are written: no look before a rotation could have found it out.
    """
    with ExitStack() as ending:
        ending.callback(refusal.end, kept)
        if midway:
            begins = Fault(
                _then(kept, refusal),
                lambda asked: asked.writes and refusal.after in asked.headers["Authorization"],
                1,
            )
            kept.proxies[0].faults.append(begins)
        else:
            refusal.begin(kept)
        yield


def _then(kept: Everywhere, refusal: Refusal) -> Callable[[Exchange], None]:
    def act(exchange: Exchange) -> None:
        refusal.begin(kept)
        exchange.pass_on()

    return act
