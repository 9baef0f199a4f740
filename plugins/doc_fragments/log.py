# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: what of a log is shown."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared options."""

    DOCUMENTATION = r"""
options:
  redact:
    description:
      - Values that no line may show, as references such as V(ref+vault://secret/stream/restream#/key) or, with O(keyring),
        V(keyring#/pending/key). They are resolved on the controller. A text that is no reference is a value itself, which then travels
        through Ansible.
      - With O(keyring), the values of its stages are hidden too.
      - A value is hidden as it is and as URLs, base64, JSON, shells and hexadecimal digits write it, and each part of it from eight
        characters on.
    type: list
    elements: raw
    default: []
  contents:
    description: The values on their way to a host. Made by the collection; what is given here is not used.
    type: dict
    suboptions:
      sealed:
        description: The values in one opaque text.
        type: str
notes:
  - Whatever is known or not, no line shows what looks like a key, such as an unreadable word of sixteen characters or more, what follows
    the application in an RTMP address, a password in a URL, or what stands behind C(key=), C(token:) and the like. V((hidden)) stands in
    its place. A line is shown with at most 200 characters, and five lines at most.
"""
