# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For client libraries that look into their process's environment by themselves, and log what they receive.

The AWS and the Kubernetes client read some dozens of variables in many places, and start programs for credentials with
what they find; no argument of theirs covers all. So the environment of the task is the process's own while they work. Each
task has a process of its own, so nobody else sees it. Their loggers pass on whole answers, headers, and what such a program
printed: nothing is logged meanwhile, and Python's own warnings are not shown.
"""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import contextmanager
from typing import Dict, Iterator, Mapping, Optional


def _put(variables: Mapping[str, Optional[str]]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _difference(wanted: Mapping[str, str], present: Mapping[str, str]) -> Dict[str, Optional[str]]:
    names = {*wanted, *present}
    return {name: wanted.get(name) for name in names if wanted.get(name) != present.get(name)}


@contextmanager
def lent_environ(environ: Mapping[str, str]) -> Iterator[None]:
    """Let libraries see this environment and no other, and say nothing.

    :param environ: the task's environment.
    """
    before = dict(os.environ)
    disabled = logging.root.manager.disable
    _put(_difference(environ, before))
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        _put(_difference(before, dict(os.environ)))
