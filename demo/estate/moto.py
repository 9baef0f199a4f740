# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS on 127.0.0.1: moto's server keeps parameters, secrets and identities, and can check what an identity may."""

from __future__ import annotations

import http.client
import importlib.util
import secrets
import shutil
import sys
from pathlib import Path

from estate.errors import Missing
from estate.ports import reserve
from estate.processes import Daemon, Running
from estate.users import make_run_dir

TOKEN = "KEYTURN_AWS_TOKEN"
PROGRAM = Path(__file__).with_name("aws_server.py")


class MotoServer(Running):
    """One server; a context manager that starts and stops it. It serves plain HTTP and forgets all when it ends.

    :param run_dir: where its log goes; a fresh temporary directory, removed by :meth:`close`, when none is given.
    :ivar token: what moto's own commands ask for.
    :raises Missing: when moto, or what its server needs, is not installed.
    """

    def __init__(self, run_dir: Path | None = None) -> None:
        needed = ("moto", "flask", "flask_cors")
        absent = [name for name in needed if importlib.util.find_spec(name) is None]
        if absent:
            raise Missing(f"AWS: pip install moto flask flask-cors ({absent[0]} is not there)")
        self._own_run_dir = run_dir is None
        self.run_dir = run_dir or make_run_dir()
        self._port = reserve()
        # Not as a file: Python would find this module in its folder, where it looks for moto's own.
        argv = [sys.executable, "-c", PROGRAM.read_text("utf-8"), str(self._port.number)]
        # In its environment, which other users cannot read, as they can a command line.
        self.token = secrets.token_urlsafe(24)
        env = {TOKEN: self.token}
        self._daemon = Daemon("moto", argv, self.run_dir / "moto.log", env=env)

    @property
    def address(self) -> str:
        """What goes into AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self._port.number}"

    def start(self) -> MotoServer:
        """Start it.

        :raises EstateError: with the end of the log.
        """
        self._daemon.start(lambda: self._post("reset-auth", "inf") == 200)
        return self

    def check_rights(self, check: bool) -> None:
        """Whether identities and policies count; at first everybody may do everything."""
        self._post("reset-auth", "0" if check else "inf")

    def reset(self) -> None:
        """Forget all parameters, secrets and identities."""
        self._post("reset", "")

    def close(self) -> None:
        """Stop, give the port back, and remove the state when it was this object that made the place for it."""
        self._daemon.stop()
        self._port.release()
        if self._own_run_dir:
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _post(self, what: str, body: str) -> int:
        """The status; 0 when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port.number, timeout=10)
        try:
            connection.request("POST", f"/moto-api/{what}", body, {"X-Keyturn-Token": self.token})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()
