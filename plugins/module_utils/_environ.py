# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of the programs that definitions name.

A run's own environment holds what opens every store: a Vault token, cloud keys, the password of ansible-vault. A program that
reloads a service has no use for them, and may print or pass on what it finds. So it gets what programs need to work at all,
what the task's ``environment`` says, and what its definition says.
"""

from __future__ import annotations

import re
from typing import Dict, Mapping

TASK_VARIABLES = "KEYTURN_TASK_ENVIRONMENT"
"""The variable with the names of those that the task's own ``environment`` sets, separated by spaces."""

TELLING = re.compile(
    r"(TOKEN|SECRET|SECRET_ID|PASSWORD|PASSWD|ACCESS_KEY|SECRET_KEY|API_KEY|JWT)\Z", re.IGNORECASE
)
"""Names of variables that hold a secret. They are for the references of this task and for nobody else."""

URL_WITH_PASSWORD = re.compile(
    r"(?:https?://[^/\s@]+|://[^/\s@]*:[^/\s@]+|(?:\A|[\s\"'=,])[^/\s@:\"'=,]*:[^/\s@]+)@"
)
"""In a value: such as a proxy's, or a database's."""

# What names files, folders, sockets, a language or a user: nothing here is a secret.
_ORDINARY = frozenset(
    (
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
        "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS",
        "CONTAINERS_CONF", "CONTAINER_HOST",
        "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
        "SSL_CERT_FILE", "SSL_CERT_DIR",
    )
)  # fmt: skip
_FAMILIES = ("LC_", "COMPOSE_")
# How to get to a store, which no program needs to know: a proxy's address may hold a password.
_OF_STORES = "ANSIBLE_HASHI_VAULT_"


def program_environ(environ: Mapping[str, str]) -> Dict[str, str]:
    """What a program may inherit.

    :param environ: this task's whole environment.
    """
    meant = {
        name
        for name in environ.get(TASK_VARIABLES, "").split()
        if not TELLING.search(name) and not name.startswith(_OF_STORES)
    }
    return {
        name: value
        for name, value in environ.items()
        if name in _ORDINARY or name.startswith(_FAMILIES) or name in meant
    }


def named(environment: Mapping[str, str]) -> Dict[str, str]:
    """A task's own ``environment`` with the variable that says which names it sets; nothing when it sets none."""
    return {**environment, TASK_VARIABLES: " ".join(sorted(environment))} if environment else {}
