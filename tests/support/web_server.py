# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real nginx in front of nothing: it asks for a user's password, and writes down who came."""

from __future__ import annotations

import base64
import http.client
from pathlib import Path

from estate.ports import reserve
from estate.processes import Daemon, Running
from ingest import program

CONFIG = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 16; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        auth_basic work;
        auth_basic_user_file {folder}/users;
        location / {{ try_files /none =204; }}
    }}
}}
"""


class WebServer(Running):
    """One nginx; a context manager.

    :param users: their passwords.
    :raises Missing: when nginx is not installed.
    """

    def __init__(self, folder: Path, **users: str) -> None:
        self.log = folder / "access.log"
        self._port = reserve()
        listed = folder / "users"
        listed.touch(0o600)
        listed.write_text("".join(f"{name}:{{PLAIN}}{value}\n" for name, value in users.items()))
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, port=self._port.number))
        argv = [program("nginx", "nginx"), "-p", str(folder), "-c", str(config), "-e", "stderr"]
        self._nginx = Daemon("nginx", argv, folder / "nginx.out", cwd=folder)

    def start(self) -> WebServer:
        """Start it; returns itself."""
        self._nginx.start(lambda: self.asks("/") != 0)
        return self

    def close(self) -> None:
        """Stop it."""
        self._nginx.stop()
        self._port.release()

    def asks(self, path: str, user: str = "", password: str = "") -> int:
        """How it answers; 0 when it does not."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port.number, timeout=5)
        shown = base64.b64encode(f"{user}:{password}".encode()).decode()
        try:
            connection.request(
                "GET", path, headers={"Authorization": f"Basic {shown}"} if user else {}
            )
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()
