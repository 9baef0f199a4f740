# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a token may do at a path, asked without doing it; this is for check mode."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_client import VaultClient


def need_rights(
    client: VaultClient,
    place: str,
    needed: Mapping[str, Sequence[str]],
    where: str,
    rule: str = "",
) -> None:
    """Ask Vault whether this token has one of these rights at each path of the API.

    A policy may withhold the question (``update`` on ``sys/capabilities-self``, which Vault's default policy gives): then what
    the token may do is seen when it is done.

    :param needed: for each path the rights of which one is enough; the first one is what messages ask for.
    :param rule: the path that messages name instead of these.
    :raises Denied: when it has none of them.
    """

    def ask(hvac_client: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = hvac_client.sys.get_capabilities(paths=list(needed))
        return answer

    try:
        answer = client.call(place, "look up its rights", ask)
    except Denied:
        return
    granted: Dict[str, List[str]] = {
        path: answer.get("data", answer).get(path) or [] for path in needed
    }
    for path, enough in needed.items():
        if not {"root", *enough} & set(granted[path]):
            raise Denied(
                f"{where}: this token may not write there; add '{enough[0]}' on '{rule or path}' to its policy"
            )
