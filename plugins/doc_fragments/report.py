# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: modules that print one report of many results, and keep it in a file."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared options and attributes."""

    DOCUMENTATION = r"""
options:
  output:
    description: What is printed.
    type: str
    choices: [table, json]
    default: table
  output_file:
    description:
      - A file on the controller that is written with the report as JSON, whatever is printed. It has mode 0600 and is replaced whole.
    type: str
    default: ""
attributes:
  action:
    description: An action plugin of the same name does all of it, on the controller.
    support: full
  check_mode:
    description: Prints the report, but does not write the file.
    support: full
  diff_mode:
    description: A report differs each time, by its time and the ages in it alone.
    support: none
  idempotent:
    description: A file is written each time.
    support: none
  platform:
    description: Where it runs, which is the controller.
    support: full
    platforms: posix
  safe_file_operations:
    description: The file is replaced as a whole. A reader sees the old one or the new one.
    support: full
"""
