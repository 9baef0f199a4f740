# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: the options of modules that write a file of environment variables."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared options."""

    DOCUMENTATION = r"""
options:
  dialect:
    description:
      - Who reads the file. With V(common), a value is written so that systemd's C(EnvironmentFile), docker compose and shells all
        read the same; one for which there is no such form is refused.
      - With V(systemd), V(compose) or V(posix) such a value is written as that one reader takes it. That allows line breaks, and a
        backquote beside a single quote or a backslash. A value that has a common form is written in that form by each of them.
      - V(compose) is docker compose. podman-compose reads C(${NAME}) as a variable in every quoting, and keeps the backslash of an
        escaped dollar sign; no form of such values is right for both.
      - V(systemd) does not take lines that begin with C(export) for assignments, as systemd does not.
    type: str
    choices: [common, compose, posix, systemd]
    default: common
  mode:
    description:
      - The file's mode, as a quoted octal number such as V("0640").
      - Without it, a new file gets V("0600") and a file that is there keeps its own; one that everybody on the machine can read is
        warned about.
    type: raw
  owner:
    description: The file's owner, by name or number. Without it, a file that is there keeps its own.
    type: str
  group:
    description: The file's group, by name or number. Without it, a file that is there keeps its own.
    type: str
  backup:
    description:
      - Copy the file as it was before it is replaced, to a file beside it called C(NAME.backup-TIME), with the time in UTC.
      - The copy has mode 0600 and belongs to the user who runs the task, because it holds values that may still be accepted.
      - Where a program reads every file of that folder, keep no copies.
    type: bool
    default: false
  backup_keep:
    description:
      - With O(backup), copies older than this are removed, as a duration such as V(7d). V(0s) keeps none but one that this run makes.
      - Each run removes them, also one that finds nothing else to change. That counts as a change.
    type: str
    default: 7d
  backup_count:
    description: With O(backup), only so many copies are kept, the newest ones, however old they are.
    type: int
    default: 10
"""
