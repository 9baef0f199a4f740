# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup that gives the value of a reference to modules that take no references."""

from __future__ import annotations

DOCUMENTATION = r"""
name: ref
short_description: The value of a reference, for modules that take no references
version_added: 0.1.0
description:
  - Reads the value that a reference names, on the controller, so that a module of another collection can be given it.
  - B(Its cost.) The value then travels through Ansible, and this collection can no longer keep it to itself. Give the task
    C(no_log=true), or the value is in its output at C(-vvv), in callbacks and in logs. A C(set_fact) puts it into the fact cache if one is
    kept. A module that writes it to a file of its own, or puts it into a command line, does so.
  - Every module of this collection takes references itself and needs no lookup.
  - The lookup reads anew each time it is evaluated, and a method of Vault that logs in then logs in anew. A variable that holds it is
    evaluated wherever the variable is used. Several references in one C(query) share one login. A wrapped secret id is good for one
    evaluation only.
options:
  _terms:
    description:
      - References, such as V(ref+vault://secret/app#/password), V(ref+awsssm://app/production/TOKEN) or V(ref+file:///root/key).
      - V(keyring#/current/password) names a field of the keyring in O(keyring).
    type: list
    elements: str
    required: true
  default:
    description:
      - What to give where the store says that there is no such thing.
      - It is never given for a store that refuses, is sealed or does not answer.
    type: raw
  keyring:
    description: Reference to the keyring that V(keyring#) stands for.
    type: str
    vars:
      - name: keyturn_keyring
notes:
  - A lookup sees the environment of C(ansible-playbook) and not the task's own C(environment). Set C(VAULT_ADDR), C(AWS_PROFILE) and the
    like there.
  - What is read is never taken for a template.
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Give an administrator of Grafana the password that Vault holds
  community.grafana.grafana_user:
    url: https://grafana.example
    url_username: admin
    url_password: "{{ lookup('keyturn.runbooks.ref', 'ref+vault://secret/grafana#/admin_password') }}"
    name: reports
    state: present
  no_log: true

- name: Use a token where there is one
  ansible.builtin.uri:
    url: https://api.example/v1/models
    headers:
      Authorization: "Bearer {{ lookup('keyturn.runbooks.ref', 'ref+awsssm://app/TOKEN', default='') }}"
  no_log: true

- name: Log in with the current value of a credential's keyring
  community.postgresql.postgresql_ping:
    login_user: "{{ lookup('keyturn.runbooks.ref', 'keyring#/current/username') }}"
    login_password: "{{ lookup('keyturn.runbooks.ref', 'keyring#/current/password') }}"
  vars:
    keyturn_keyring: ref+vault://secret/keyrings/db_musehub
  no_log: true
"""

RETURN = r"""
_raw:
  description: The values, in the order of the references.
  type: list
  elements: str
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Absent
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import failure
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    KEYRING,
    Reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve

_OPTION = "lookup keyturn.runbooks.ref"


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no types
    """Ansible's entry point."""

    def run(
        self, terms: list[Any], variables: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        """Resolve each reference; see :class:`ansible.plugins.lookup.LookupBase`."""
        self.set_options(var_options=variables, direct=kwargs)
        context = Context(
            warn=Display().warning,
            vault_secrets=getattr(getattr(self._loader, "_vault", None), "secrets", None),
        )
        try:
            with contextlib.closing(context):
                return [self._value(term, context, "default" in kwargs) for term in terms]
        except AnsibleLookupError:
            raise
        except Exception as error:
            # The text of an error that nobody foresaw may quote a value.
            raise AnsibleLookupError(failure(error)["msg"]) from None

    def _value(self, term: Any, context: Context, may_be_absent: bool) -> Any:
        try:
            reference = parse_reference(str(term) if isinstance(term, str) else term, _OPTION)
            return wrap_var(self._resolved(reference, context))
        except Absent as error:
            if may_be_absent:
                return self.get_option("default")
            raise AnsibleLookupError(error.message) from None

    def _resolved(self, reference: Reference, context: Context) -> str:
        if reference.scheme != KEYRING:
            return resolve(reference, context, _OPTION).reveal()
        # What reads a keyring is needed for these references alone.
        from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring

        keyring = self._templar.template(self.get_option("keyring"))
        access = open_keyring({"keyring": str(keyring) if keyring else None}, context)
        return resolve(reference, context, _OPTION, access.document).reveal()
