# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags of parameters. AWS takes them with a new parameter, and for one that is there in a call of its own."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import AwsCaller
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_plan import Wish


def _listed(tags: Mapping[str, str]) -> List[Dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class Tags:
    """The tags of one account's parameters."""

    def __init__(self, caller: AwsCaller) -> None:
        self._caller = caller

    @staticmethod
    def argument(tags: Mapping[str, str]) -> Dict[str, Any]:
        """What PutParameter takes for a new parameter."""
        return {"Tags": _listed(tags)} if tags else {}

    def missing(self, wish: Wish) -> Dict[str, str]:
        """Those of the wished tags that are not there, or differ.

        :raises Denied, Unreachable: as the error says.
        """

        def ask(client: Any) -> Dict[str, str]:
            answer = client.list_tags_for_resource(ResourceType="Parameter", ResourceId=wish.name)
            return {str(item["Key"]): str(item["Value"]) for item in answer["TagList"]}

        there: Dict[str, str] = self._caller.call(
            f"parameter {wish.name}", "ssm:ListTagsForResource", ask
        )
        return {key: value for key, value in wish.tags.items() if there.get(key) != value}

    def add(self, name: str, tags: Mapping[str, str]) -> None:
        """Set tags; others are left.

        :raises Denied, Refused, Unreachable: as the error says.
        """

        def ask(client: Any) -> None:
            client.add_tags_to_resource(
                ResourceType="Parameter", ResourceId=name, Tags=_listed(tags)
            )

        self._caller.call(f"parameter {name}", "ssm:AddTagsToResource", ask)
