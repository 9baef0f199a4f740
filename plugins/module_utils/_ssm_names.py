# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of parameters and secrets: what AWS takes, and how a keyring's name is written with that."""

from __future__ import annotations

import re
from typing import Match, Pattern

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput

IN_PARAMETERS = re.compile(r"[^A-Za-z0-9_./-]|_(?=\.)")
IN_SECRETS = re.compile(r"[^A-Za-z0-9_.=+@/-]|_(?=\.)")
"""What cannot stand in a name as it is: what AWS refuses, and the beginning of our own escape."""

_NAME = re.compile(r"/?[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*\Z")
_RESERVED = re.compile(r"/?(?:aws|ssm)", re.IGNORECASE)
_LEVELS = 15


def _escaped(found: Match[str]) -> str:
    return f"_.{found.group().encode('utf-8', 'surrogatepass').hex()}."


def escape(path: str, refused: Pattern[str]) -> str:
    """A name that AWS takes, another one for each path; one that AWS takes as it is stays so.

    :param refused: :data:`IN_PARAMETERS` or :data:`IN_SECRETS`.
    """
    return refused.sub(_escaped, path)


def check_parameter_name(name: str, where: str) -> str:
    """The name itself, when AWS takes it for a parameter that is to be written.

    :raises BadInput: telling what AWS wants.
    """
    if name.startswith("arn:"):
        raise BadInput(
            f"{where}: AWS writes parameters by their name and not by an ARN; name it, and for another account assume a role there"
        )
    if not _NAME.match(name):
        raise BadInput(
            f"{where}: '{name}' is no name for a parameter; AWS takes letters, digits and _ . - between slashes"
        )
    if _RESERVED.match(name):
        raise BadInput(
            f"{where}: '{name}': AWS keeps names that begin with aws or ssm for itself; choose another"
        )
    if name.count("/") > _LEVELS:
        raise BadInput(f"{where}: '{name}': AWS takes {_LEVELS} levels at most; shorten it")
    return name
