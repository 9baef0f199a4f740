# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes by their names, with the servers that each of them needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cloudflare_api import CloudflareApi
from cloudflare_store import Store, store_of
from estate.databases import Database, fresh_database
from estate.playbook import Ansible
from points import soak
from scene import Flow, Scene
from scene_deployed import Deployed
from scene_looks import Looks
from scene_new import NewEnvironment
from scene_pair import TwoBehindABarrier
from scene_r2 import PairAtCloudflare
from scene_role import ExposedRole
from scene_sealed import Sealed

Build = Callable[[str, Ansible], Scene]
ROLE, SEALED, NEW, CLOUDFLARE = "role", "sealed", "new", "cloudflare"
DEPLOY, BARRIER, LOOKS = "deploy", "barrier", "looks"
ALL = (ROLE, SEALED, NEW, CLOUDFLARE, DEPLOY, BARRIER, LOOKS)


@pytest.fixture
def build(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Build]:
    """Makes a scene."""
    given, folder = request.getfixturevalue, scratch / "estate"
    with ExitStack() as ending:

        def database() -> Database:
            return ending.enter_context(fresh_database(given("postgres_of")("16")))

        def store() -> Store:
            return ending.enter_context(store_of(ending.enter_context(CloudflareApi()), "music"))

        makers: dict[str, Callable[[Ansible], Scene]] = {
            ROLE: lambda ansible: ExposedRole(folder, ansible, database()),
            SEALED: lambda ansible: Sealed(folder, ansible, database()),
            NEW: lambda ansible: NewEnvironment(folder, ansible, database(), store()),
            CLOUDFLARE: lambda ansible: PairAtCloudflare(folder, ansible, store()),
            DEPLOY: lambda ansible: Deployed(folder, ansible, given("moto")),
            LOOKS: lambda ansible: Looks(folder, ansible),
            BARRIER: lambda ansible: TwoBehindABarrier(folder, ansible),
        }
        yield lambda name, ansible: makers[name](ansible)


def flows(scene: Scene, *left_to_soak: str) -> list[Flow]:
    """What is tried of a scene.

    :param left_to_soak: flows that are like others which are tried anyway: ``make soak`` takes them.
    """
    return [flow for flow in scene.flows() if soak() or flow.name not in left_to_soak]
