# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: python scripts/summary.py SECONDS REPORT.xml...
"""One line in pytest's own words for several runs of it, from their JUnit reports."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def count(report: Path) -> dict[str, int]:
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))  # noqa: S314 (made by our own run)
    found = {
        name: sum(int(suite.get(name, 0)) for suite in suites)
        for name in ("tests", "failures", "errors", "skipped")
    }
    found["passed"] = found["tests"] - found["failures"] - found["errors"] - found["skipped"]
    return found


def main() -> None:
    seconds, reports = sys.argv[1], [Path(name) for name in sys.argv[2:]]
    counts = {report.stem: count(report) for report in reports}
    total = {
        key: sum(found[key] for found in counts.values())
        for key in ("failures", "passed", "skipped", "errors")
    }
    total = {"failed": total["failures"], **total}
    del total["failures"]
    words = ", ".join(
        f"{number} {word}"
        for word, number in total.items()
        if number or word in ("passed", "skipped")
    )
    parts = ", ".join(f"{name} {found['passed']}" for name, found in counts.items())
    print(f"== {parts}")
    print(f"== {words} in {seconds}s ==")


if __name__ == "__main__":
    main()
