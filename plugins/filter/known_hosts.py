# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that a play's hosts go through: Ansible only warns of a name that no inventory has, and calls the run a success."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible import context
from ansible.errors import AnsibleFilterError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

DOCUMENTATION = r"""
name: known_hosts
short_description: Take the hosts of a play, and refuse names that the inventory does not have
version_added: 0.1.0
description:
  - A play without hosts is none, and Ansible calls a run of it a success. So whoever misspells the name of a credential would take it for
    rotated.
  - Takes what a person gave as the hosts of a play and returns it as it is, or the groups that a playbook takes by itself where nothing was
    given.
  - A name that is neither a host nor a group of the inventory ends the run before anything is done, also beside others that are known, and
    so does a pattern that matches no host. That holds for the names that C(--limit) gives, too.
  - C(--syntax-check) takes every name, since it may be without the inventory.
options:
  _input:
    description: The pattern that was given, as a text or a list; empty where none was.
    type: raw
    required: true
  groups:
    description: Ansible's variable C(groups).
    type: dict
    required: true
  default:
    description: The groups that are taken where nothing was given, those of them that the inventory has.
    type: list
    elements: str
    default: [credentials, postgres_roles, stream_platforms]
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Rotate what was named, and nothing where a name is misspelled
  hosts: "{{ keyturn_hosts | default('') | keyturn.runbooks.known_hosts(groups) }}"
  gather_facts: false
  roles:
    - keyturn.runbooks.keyturn
"""

RETURN = r"""
_value:
  description: A pattern of hosts.
  type: raw
"""

_DEFAULT = ("credentials", "postgres_roles", "stream_platforms")
_NAME = re.compile(r"[&!]?([A-Za-z0-9_][A-Za-z0-9_.-]*)\Z")
_LOCAL = frozenset({"all", "ungrouped", "localhost", "127.0.0.1"})


def _names(pattern: Any) -> list[str]:
    """The plain names of a pattern, without what they do to it."""
    parts = [pattern] if isinstance(pattern, str) else list(pattern)
    words = [word.strip() for part in parts for word in re.split(r"[,:]", str(part))]
    return [found.group(1) for found in map(_NAME.match, words) if found]


def _matched(pattern: Any, groups: Mapping[str, Iterable[str]]) -> bool:
    """Whether any host is meant, as Ansible itself finds out."""
    manager = InventoryManager(DataLoader(), parse=False)
    for group, hosts in groups.items():
        manager.add_group(group)
        for host in hosts:
            manager.add_host(host, group=group)
    return bool(manager.get_hosts(pattern=pattern))


def _nobody(option: str, what: str) -> AnsibleFilterError:
    return AnsibleFilterError(
        f"{option}: the inventory has no {what}, so nothing was done: see how it is spelled, and which inventory -i names"
    )


def _refuse_unknown(option: str, pattern: Any, groups: Mapping[str, Iterable[str]]) -> None:
    """Refuse plain names of a pattern that the inventory does not have.

    :param option: what the pattern was given with.
    """
    known = {*groups, *groups.get("all", ()), *_LOCAL}
    unknown = [name for name in dict.fromkeys(_names(pattern)) if name not in known]
    if unknown:
        raise _nobody(option, f"host or group {' and no '.join(unknown)}")


def known_hosts(
    pattern: Any, groups: Mapping[str, Iterable[str]], default: Iterable[str] = _DEFAULT
) -> Any:
    """The hosts of a play.

    :raises AnsibleFilterError: the inventory does not have one of the names.
    """
    # With --syntax-check nothing is run, and whoever asks for it need not have the inventory.
    asked = not context.CLIARGS.get("syntax")
    if asked:
        _refuse_unknown("--limit", context.CLIARGS.get("subset") or "", groups)
    if not pattern:
        names = [*default]
        return ":".join(name for name in names if name in groups) or names[0]
    if asked:
        _refuse_unknown("keyturn_hosts", pattern, groups)
        if not _matched(pattern, groups):
            raise _nobody("keyturn_hosts", f"host for {pattern}")
    return pattern


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"known_hosts": known_hosts}
