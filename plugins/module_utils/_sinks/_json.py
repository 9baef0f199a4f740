# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of a JSON file as a place for sinks."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Corrupt
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Changes

_INDENT = re.compile(r"\A\s*\{\n([ \t]+)\S")


def _load(text: str, where: str) -> Dict[str, Any]:
    if not text.strip():
        return {}
    try:
        body = json.loads(text)
    except ValueError:
        # The parser's own message may quote the text.
        raise Corrupt(
            f"{where}: this is no JSON; nothing was changed. Mend it, or name another place"
        ) from None
    if not isinstance(body, dict):
        raise Corrupt(
            f"{where}: expected a JSON object at the top; nothing was changed. Mend it, or name another place"
        )
    return body


class JsonCodec:
    """Reads and changes texts under the top-level keys of a JSON object; the other keys, their order and the indent are kept."""

    def check(self, changes: Changes, where: str) -> None:
        """Any text fits into JSON."""

    def fields(self, text: str, names: Tuple[str, ...], where: str) -> Dict[str, Optional[Secret]]:
        """The texts that are there; none for a key that holds something else."""
        body = _load(text, where)
        return {
            name: Secret(body[name]) if isinstance(body[name], str) else None
            for name in names
            if name in body
        }

    def notes(self, text: str, names: Tuple[str, ...]) -> Tuple[str, ...]:
        """Nothing."""
        return ()

    def edit(self, text: str, changes: Mapping[str, Optional[str]], where: str) -> Optional[str]:
        """The new text of the file."""
        body = _load(text, where)
        for name, value in changes.items():
            if value is None:
                body.pop(name, None)
            else:
                body[name] = value
        indent = _INDENT.match(text)
        compact = text.strip() and "\n" not in text.strip()
        layout: Any = None if compact else indent.group(1) if indent else "  "
        return json.dumps(body, indent=layout, ensure_ascii=False) + "\n"
