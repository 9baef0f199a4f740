# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role should be, and what a plan is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import FrozenSet, Mapping, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import Admin
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import (
    Change,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._observed import Observed
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._rights_read import (
    RightsRead,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import (
    Role,
)


@dataclass(frozen=True)
class Wish:
    """What a role should be.

    :param like: the role whose rights it should have; empty for none.
    :param owner_role: a group role that owns what the login roles make; empty for none.
    :param default_group: the group role to make when one is needed and none is named.
    :param ownership: ``group`` or ``refuse``: what to do about objects that belong to a login role.
    :param name_policies: ``refuse`` or ``allow``: what to do about policies that depend on a role's name.
    """

    name: str
    like: str = ""
    owner_role: str = ""
    default_group: str = ""
    ownership: str = "group"
    name_policies: str = "refuse"


@dataclass(frozen=True)
class Facts:
    """What was read.

    :param roles: by name; the wished one, its pattern and the group.
    :param group: the group role that the login roles act as; empty for none.
    :param search_paths: by database, for sessions that would not find a schema named after the pattern.
    :param name_policies: policies that depend on a role's name, in words.
    """

    admin: Admin
    roles: Mapping[str, Role]
    rights: RightsRead
    group: str = ""
    search_paths: Mapping[str, str] = field(default_factory=dict)
    name_policies: Tuple[str, ...] = ()

    def observed(self, name: str) -> Observed:
        """What a role may do; nothing when it is not there."""
        return self.rights.observed.get(name, Observed(name))


@dataclass(frozen=True)
class Plan:
    """What to do.

    :param reasons: why it must not be done, each a sentence with what to do.
    :param joined: roles that the administrator makes itself a member of meanwhile.
    """

    changes: Tuple[Change, ...] = ()
    reasons: Tuple[str, ...] = ()
    joined: FrozenSet[str] = frozenset()
