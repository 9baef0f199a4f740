# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is missing where applications are told a password and no user name. Pure."""

from __future__ import annotations

import re
from typing import Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._define import WHOLE, Sink

_PASSWORD = re.compile(r"(?:password|passwd|passphrase|pass|pwd|pw)\Z", re.IGNORECASE)
_LAST_NAME = re.compile(r"[^/#?]+(?=\?[^#]*\Z|\Z)")


def _beside(name: str) -> str:
    """What the user name is called that belongs to a password of this name."""
    user = "user" if name == name.lower() else "USER"
    if _PASSWORD.search(name):
        return _PASSWORD.sub(user, name)
    return f"{name}_{user}"


def _shown_by(sink: Sink) -> Optional[str]:
    """The field of a sink that shows the password; none where none does."""
    fields = (name for name, it in sink.templates.items() if it.uses("current", "password"))
    return next(fields, None)


def example(sinks: Sequence[Sink]) -> str:
    """A reference to where the user name could stand, beside the first password that is shown; empty where there is none."""
    for sink in sinks:
        field, text = _shown_by(sink), str(sink.ref)
        if field is None:
            continue
        if sink.ref.fragment or field == WHOLE:
            return _LAST_NAME.sub(lambda found: _beside(found.group()), text, count=1)
        return f"{text}#/{_beside(field)}"
    return ""


def no_user_name(sinks: Sequence[Sink]) -> str:
    """Why a role that changes needs a sink for its name, and which one would do."""
    place = example(sinks)
    such_as = f", such as {place}," if place else ","
    return (
        "no sink tells its readers the user name, so an application that reads only a password would go on with the old role: add a sink "
        f"that renders {{current.username}}{such_as} and have the application read it too, put it into a template that is there, or use "
        "strategy same_role"
    )
