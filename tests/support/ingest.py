# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real RTMP ingest on this machine that takes only the keys of a list.

**Which of its parts write keys down.** nginx-rtmp writes the key of each publisher to its access log, and to its error log at the
level ``info`` and below; a callback that logs what it was asked has refused keys, too; a request to the control page has the key
in its address. That is how a server with its usual settings is, and so it is here unless ``careful``: then the access logs are off,
the error log begins at ``error``, and the callback logs no name. The statistics page shows keys in either case, to whoever may read it.
"""

from __future__ import annotations

import http.client
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

from estate.errors import EstateError, Missing
from estate.ports import reserve
from estate.processes import Daemon, Running, wait_until
from estate.users import make_run_dir, server_user

MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"))
CALLBACK = Path(__file__).parent / "programs" / "on_publish.py"
CONFIG = """\
load_module {module};
daemon off;
master_process {master};
pid {folder}/nginx.pid;
error_log {folder}/error.log {level};
events {{ worker_connections 128; }}
rtmp {{
    access_log {rtmp_log};
    server {{
        listen 127.0.0.1:{port};
{applications}
    }}
}}
http {{
    access_log {http_log};
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{http};
        location /stat {{ rtmp_stat all; }}
        location /control {{ rtmp_control all; }}
    }}
}}
"""
APPLICATION = """\
        application {name} {{
            live on;
            on_publish http://127.0.0.1:{callback}/on_publish;
        }}
"""


def program(name: str, package: str) -> str:
    """The path of a program.

    :raises Missing: naming the Debian package.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        raise Missing(f"{name}: install the Debian package {package}")
    return found


def _module() -> Path:
    found = [folder / "ngx_rtmp_module.so" for folder in MODULES]
    for path in found:
        if path.exists():
            return path
    raise Missing("nginx-rtmp: install the Debian package libnginx-mod-rtmp")


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def new_key() -> str:
    """A stream key that never was before."""
    return f"key-{secrets.token_urlsafe(18)}"


class Ingest(Running):
    """One nginx with its rtmp module, and the program that answers its ``on_publish``; a context manager that starts and stops both.

    :param run_dir: where its state goes; a fresh temporary directory, removed by :meth:`close`, when none is given.
    :param applications: their names; each takes only the keys that are allowed.
    :param careful: keep keys out of all logs.
    :param reloads: run with a process that can be told to read its configuration again; see :meth:`reload`.
    :ivar allow_list: the file with the keys that are accepted, one on each line; it is read again for each publisher.
    :raises Missing: when nginx or its module is not installed.
    """

    def __init__(
        self,
        run_dir: Path | None = None,
        applications: Sequence[str] = ("live",),
        careful: bool = False,
        reloads: bool = False,
    ) -> None:
        nginx, module = program("nginx", "nginx"), _module()
        self._master = "on" if reloads else "off"
        self._own_run_dir = run_dir is None
        self.run_dir = run_dir or make_run_dir()
        self.folder = self.run_dir / "ingest"
        self.folder.mkdir(mode=0o700)
        self.allow_list = self.run_dir / "allowed-keys"
        self._ports = {name: reserve() for name in ("rtmp", "http", "callback")}
        self.config = self.folder / "nginx.conf"
        self.config.write_text(self._configured(module, applications, careful))
        user = server_user()
        if user:
            user.own(self.folder)
            user.own(self.config)
        self._argv = argv = [
            *(nginx, "-p", str(self.folder)),
            *("-c", str(self.config), "-e", "stderr"),
        ]
        self._nginx = Daemon("nginx", argv, self.run_dir / "nginx.log", user, cwd=self.folder)
        words = [str(self._port("callback")), str(self.allow_list), str(self.callback_log)]
        quiet = ["quiet"] if careful else []
        argv = [sys.executable, str(CALLBACK), *words, *quiet]
        self._callback = Daemon("on_publish", argv, self.run_dir / "on_publish.out.log")

    def _configured(self, module: Path, applications: Sequence[str], careful: bool) -> str:
        callback = self._port("callback")
        return CONFIG.format(
            module=module,
            master=self._master,
            folder=self.folder,
            level="error" if careful else "info",
            rtmp_log="off" if careful else f"{self.folder}/rtmp-access.log",
            http_log="off" if careful else f"{self.folder}/http-access.log",
            port=self._port("rtmp"),
            http=self._port("http"),
            applications="".join(
                APPLICATION.format(name=name, callback=callback) for name in applications
            ),
        )

    def _port(self, name: str) -> int:
        return self._ports[name].number

    @property
    def port(self) -> int:
        """Where it takes streams, on 127.0.0.1."""
        return self._port("rtmp")

    @property
    def stat_url(self) -> str:
        """The statistics page, which names keys."""
        return f"http://127.0.0.1:{self._port('http')}/stat"

    @property
    def callback_log(self) -> Path:
        """What the answering program wrote of each call."""
        return self.run_dir / "on_publish.log"

    def url(self, application: str = "live") -> str:
        """Where to publish, without a key."""
        return f"rtmp://127.0.0.1:{self.port}/{application}"

    def logs(self) -> list[Path]:
        """Every log of nginx and of the answering program."""
        return sorted([*self.run_dir.glob("*.log"), *self.folder.glob("*.log")])

    def logs_with(self, key: str) -> list[str]:
        """The names of the logs in which a key stands."""
        return [path.name for path in self.logs() if key in path.read_text("utf-8", "replace")]

    def allow(self, *keys: str) -> None:
        """Accept these keys, and no other ones."""
        self.allow_list.write_text("".join(f"{key}\n" for key in keys))

    def start(self) -> Ingest:
        """Start both; an ingest that was stopped is started again with the same ports.

        :raises EstateError: with the end of a log.
        """
        if not self._callback.running:
            self.start_callback()
        self._nginx.start(self._answers)
        return self

    def _answers(self) -> bool:
        return _accepts(self.port) and self._get("/stat")[0] == 200

    def stop(self) -> None:
        """Stop nginx; the answering program stays."""
        self._nginx.stop()

    def stop_callback(self) -> None:
        """Stop the answering program: nginx refuses everybody then."""
        self._callback.stop()

    def start_callback(self) -> None:
        """Start the answering program (again)."""
        self._callback.start(lambda: _accepts(self._port("callback")))

    def close(self) -> None:
        """Stop both, give the ports back, and remove the state when it was this object that made the place for it."""
        self._nginx.stop()
        self._callback.stop()
        for port in self._ports.values():
            port.release()
        if self._own_run_dir:
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port("http"), timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def statistics(self) -> str:
        """The statistics page as it is now.

        :raises EstateError: when there is no answer.
        """
        status, text = self._get("/stat")
        if status != 200:
            raise EstateError(f"the statistics page answered {status}")
        return text.decode()

    def publishing(self, application: str = "live") -> list[str]:
        """The keys that somebody publishes with now."""
        found = []
        for place in ElementTree.fromstring(self.statistics()).iter("application"):  # noqa: S314
            if place.findtext("name") == application:
                streams = place.iter("stream")
                found += [
                    one.findtext("name", "")
                    for one in streams
                    if one.find("publishing") is not None
                ]
        return found

    def accepts(self, key: str, application: str = "live") -> bool:
        """Whether the answering program takes a key, asked as nginx asks it; nothing is published.

        :raises EstateError: when there is no answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port("callback"), timeout=10)
        asked = urlencode({"call": "publish", "app": application, "name": key})
        try:
            connection.request("POST", "/on_publish", asked)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException) as error:
            raise EstateError("the program that decides about keys does not answer") from error
        finally:
            connection.close()

    def worker(self) -> str:
        """The id of the process that the statistics come from."""
        return ElementTree.fromstring(self.statistics()).findtext("pid", "")  # noqa: S314

    def reload(self) -> None:
        """``nginx -s reload``: a new process takes what comes, and the old one keeps the broadcasts that it has."""
        before = self.worker()
        subprocess.run([*self._argv, "-s", "reload"], check=True, timeout=20)
        old = Path(f"/proc/{before}/cmdline")

        def alone() -> bool:
            # For a moment both take connections.
            ends = not old.exists() or b"is shutting down" in old.read_bytes()
            return ends and self.worker() != before

        wait_until(alone, 20, "the new process to answer alone")

    def drop(self, key: str, application: str = "live") -> int:
        """Disconnect the publisher with this key; returns how many there were."""
        asked = urlencode({"app": application, "name": key})
        text = self._get(f"/control/drop/publisher?{asked}")[1]
        return int(text or b"0")
