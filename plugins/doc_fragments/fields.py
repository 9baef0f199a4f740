# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: the options of every module that sets fields of a place."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared options."""

    DOCUMENTATION = r"""
options:
  fields:
    description:
      - What to set, by the field's name. Other fields are left as they are.
      - A value is a reference such as V(ref+vault://secret/app#/password), V(ref+file:///root/new.key), V(ref+envsubst://$NEW_KEY) or,
        with O(keyring), V(keyring#/current/password). A text that is no reference is the value itself; it then travels through Ansible.
      - Null removes the field.
    type: dict
    default: {}
  generate:
    description:
      - "Fields that are made where they are not there, by name, each with how to make it, as in C(keyturn_generate), such as
        V({type: hex, bytes: 32}). One that is there is left as it is."
      - "The types are V(password) with V(length), V(classes), V(exclude) and V(url_safe); V(hex), V(base64) and V(base64url) with V(bytes);
        V(uuid); and V(fernet), which is a key as Fernet takes it. V(base64) has padding, V(base64url) has none."
      - Below 128 bits of entropy a value is refused unless V(allow_weak) is true; V(uuid) has 122 and needs it. V(length) is 40 and
        V(bytes) 32 without saying.
      - This is for a first value. To replace one that is in use is a rotation, which needs a keyring.
    type: dict
    default: {}
  create:
    description: Whether the place is made when it is not there.
    type: bool
    default: true
"""
