# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task ends with the run that it belongs to.

Ansible does tasks in processes of their own, which outlive an ``ansible-playbook`` that was killed. Such a run counts as dead: the
next one takes over, and nobody else may go on with its steps then.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

# linux/prctl.h; elsewhere than on Linux there is nothing like it.
_PR_SET_PDEATHSIG = 1


_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(BaseException):
    """The run is over. No error: nothing answers it, but what holds something lets it go."""


def _stop(_number: int, _frame: object) -> NoReturn:
    raise Stopped


def _ask_for_a_signal(parent: int) -> None:
    """Have the kernel send SIGTERM when the parent ends; it may have ended before that was asked for.

    :raises Stopped: when it has.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise Stopped


@contextlib.contextmanager
def ending_with_the_run() -> Iterator[None]:
    """Inside, SIGTERM, SIGINT, SIGHUP and the parent's end stop this process at once, after the programs that it started were killed.

    Ansible passes signals on to it, and would leave those programs running: each leads a session of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _stop) for number in _ENDS}
    try:
        _ask_for_a_signal(os.getppid())
        yield
    except Stopped:
        os._exit(128 + signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
