# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a report to a file on the controller."""

from __future__ import annotations

import contextlib
import os
import tempfile

from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import (
    file_error,
    refuse_link,
)


def write_file(path: str, text: str) -> None:
    """Put this text in the file's place, readable by this user alone: a reader sees the old or the new one, whole.

    There is no lock, as of files that several change in turn: each report is whole, and the last one counts.

    :raises KeyturnError: naming the file and what to do; nothing was changed then.
    """
    refuse_link(path, "output_file")
    folder, name = os.path.split(path)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=folder or ".", prefix=f".{name}.")
    except OSError as error:
        raise file_error(error, "output_file", path, "write") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise file_error(error, "output_file", path, "write") from None
        raise
