# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real rsyslogd, on a socket and ports of its own, that writes what arrives to one file."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from estate.errors import Missing
from estate.ports import reserve
from estate.processes import Daemon, Running, wait_until
from estate.users import server_user

CONFIG = """
global(workDirectory="{folder}")
module(load="imudp")
module(load="imtcp")
module(load="imuxsock" SysSock.Use="off")
input(type="imudp" address="127.0.0.1" port="{port}")
input(type="imtcp" address="127.0.0.1" port="{port}")
input(type="imuxsock" Socket="{socket}" CreatePath="off")
action(type="omfile" file="{output}" template="{template}")
"""


def _program() -> str:
    found = shutil.which("rsyslogd", path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        raise Missing("rsyslogd: install the package rsyslog")
    return found


class SyslogServer(Running):
    """One rsyslogd; a context manager that starts and stops it.

    :param folder: where its state goes; servers' users can pass through it.
    :param template: the form of the lines that it writes: one of rsyslog's own.
    """

    def __init__(self, folder: Path, template: str = "RSYSLOG_FileFormat") -> None:
        self.folder = folder
        self.output = folder / "messages.log"
        self.socket = folder / "log"
        self._port = reserve()
        self._user = server_user()
        config = folder / "rsyslog.conf"
        facts = {"folder": folder, "socket": self.socket, "output": self.output}
        config.write_text(CONFIG.format(port=self.port, template=template, **facts))
        config.chmod(0o644)
        if self._user:
            shutil.chown(folder, self._user.uid, self._user.gid)
        argv = [_program(), "-n", "-f", str(config), "-i", str(folder / "pid")]
        self._daemon = Daemon("rsyslogd", argv, folder.parent / "rsyslogd.log", user=self._user)

    @property
    def port(self) -> int:
        """Of TCP and UDP."""
        return self._port.number

    def start(self) -> SyslogServer:
        """Start it and wait until it listens."""
        self._daemon.start(self._listens)
        return self

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return self.socket.exists() and probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Stop it in good order."""
        self._daemon.stop()

    def close(self) -> None:
        """Stop it and give the port back."""
        self.stop()
        self._port.release()

    def text(self) -> str:
        """What has arrived so far."""
        return self.output.read_text(encoding="utf-8") if self.output.exists() else ""

    def wait_for(self, mark: str, times: int = 1) -> str:
        """What has arrived, once this text is there so many times."""
        wait_until(lambda: self.text().count(mark) >= times, 20, f"{mark} in syslog")
        return self.text()
