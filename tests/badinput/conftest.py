# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database that everything is wrong about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_input import Trial
from estate.databases import Database
from estate.playbook import Ansible
from estate.ports import reserve


@pytest.fixture
def trial(scratch: Path, database: Database, ansible: Ansible) -> Iterator[Trial]:
    """A place for cases, beside a port where nobody listens and a database that takes no change."""
    readonly = f"{database.name}_readonly"
    database.execute(f'CREATE DATABASE "{readonly}"')
    database.execute(f'ALTER DATABASE "{readonly}" SET default_transaction_read_only = on')
    place = scratch / "bad"
    place.mkdir(mode=0o711)
    closed = reserve()
    yield Trial(place, database, ansible, closed.number, readonly)
    closed.release()
