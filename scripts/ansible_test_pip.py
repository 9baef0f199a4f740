# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: python scripts/ansible_test_pip.py 3.11
"""Give ansible-test the pip that it otherwise downloads from a file host of its own.

It makes its virtual environments without pip and runs a bootstrap script, kept in its cache, inside
them. The same pip is on the package index as a wheel, and a wheel can be run as it is.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from ansible_test._internal.python_requirements import get_venv_packages

CACHE = Path.home() / ".ansible/test/cache"
BOOTSTRAP = '''\
"""Stands in for get-pip.py {version}: runs pip from its wheel."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("{wheel}")))
from pip._internal.cli.main import main

packages = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(main(["install", *packages]))
'''


def main() -> None:
    version = get_venv_packages(SimpleNamespace(version=sys.argv[1]))["pip"]
    script = CACHE / f"get_pip_{version.replace('.', '_')}.py"
    if script.exists():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "download", "--no-deps", "--dest", CACHE, f"pip=={version}"], check=True)
    wheel = next(CACHE.glob(f"pip-{version}-*.whl")).name
    script.write_text(BOOTSTRAP.format(version=version, wheel=wheel))


if __name__ == "__main__":
    main()
