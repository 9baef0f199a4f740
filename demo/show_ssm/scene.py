# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The estate of this demo: Parameter Store, PostgreSQL, the application, and what people have left there."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shutil
import sys
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from estate.aws import AwsUser, client, environ
from estate.load import PROGRAM, LoadClient
from estate.moto import MotoServer
from estate.ports import reserve
from estate.postgres import PostgresServer
from estate.processes import Running
from estate.users import make_run_dir
from show.leaks import secrets_of

from show_ssm.containers import open_containers
from show_ssm.database import NAME, SETTINGS, STATEMENT, Database
from show_ssm.services import PAIR, Pair, Webhooks

PRODUCTION, KEYRINGS = "/musehub/production", "/keyturn/keyrings"
TYPED, UNCLAIMED = "SMTP_PASSWORD", "OLD_TOKEN"
PARTS = ("app", "ansible", "aws", "ledger", "opt", "reports", "secrets", "services", "webhooks")
WRITTEN = ("app", "ledger", "webhooks")


class Scene(Running):
    """The estate; a context manager that starts and stops it.

    :param keep: leave the files where they are at the end.
    :param contained: whether containers are used where they work.
    :ivar known: secrets that are known from the start, name to value.
    :ivar since: when all of this began.
    :ivar environ: who a run is, and where the servers are.
    """

    def __init__(self, keep: bool = False, contained: bool = True) -> None:
        self.run_dir = make_run_dir("keyturn-demo-")
        self.root = self.run_dir / "estate"
        self._keep, self._contained = keep, contained
        self._stack = ExitStack()
        self.known: dict[str, str] = {}
        self.since = datetime.now(timezone.utc)
        self.user = AwsUser("keyturn", secrets.token_hex(10), secrets.token_hex(20))
        try:
            for path in (self.root, *map(self.root.joinpath, PARTS)):
                path.mkdir(mode=0o700)
            self.postgres = PostgresServer("16", run_dir=self.run_dir, settings=SETTINGS)
            self.moto = MotoServer(self.root / "aws")
        except BaseException:
            self.close()
            raise
        self.database = Database(self.postgres)
        self.env_file = self.root / "app" / "workers.env"
        self.workers = LoadClient(self.env_file, self.root / "app", 4, 3, 5.0, 5.0, STATEMENT)
        self._ports = [reserve(), reserve()]
        self._facts: dict[str, Any] = {"images": [], "application": False}

    @property
    def work_dir(self) -> Path:
        """Where Ansible works: its home, its temporary files, its log."""
        return self.root / "ansible"

    @property
    def facts(self) -> Path:
        """Ports and paths, for the inventory; no secret."""
        return self.root / "estate.json"

    def start(self) -> Scene:
        """Start the servers; the application is started when it has its first values.

        :raises EstateError: when a part does not start.
        """
        for part in (self.moto, self.postgres):
            self._stack.callback(part.close)
        self.postgres.start()
        self.moto.start()
        self.database.prepare(self.root / "secrets")
        self.parameters = client("ssm", self.moto, self.user)
        self.environ = environ(self.moto, self.user)
        self._furnish()
        port, database_port = self._ports[0].number, self.postgres.port
        self.containers = open_containers(self.root / "opt", port, database_port, self._contained)
        self._stack.callback(self.containers.close)
        self._stack.callback(self.workers.stop)
        self.environ |= self.containers.environ
        login = {"host": "127.0.0.1", "port": self.postgres.port, "dbname": NAME}
        password = self.database.passwords["hooks_app"]
        login |= {"user": "hooks_app", "password": password}
        self.webhooks = Webhooks(self.root / "webhooks", login)
        self.pair = Pair(self.root / "services", self.moto.address, self._ports[1].number)
        self.tell()
        return self

    def tell(self, **facts: Any) -> None:
        """Write down where things are, for the inventory."""
        self._facts |= {
            "dir": str(self.root),
            "aws": self.moto.address,
            "postgres_port": self.postgres.port,
            "postgres_log": str(self.postgres.log_path),
            "musehub_port": self._ports[0].number,
            "server_port": self._ports[1].number,
            "python": sys.executable,
            "client": str(PROGRAM),
            "client_status": str(self.workers.status_path),
            "pair": str(PAIR),
            "containers": not self.containers.why,
            "compose": self.containers.compose,
            "project": self.containers.project,
            **facts,
        }
        self.facts.write_text(json.dumps(self._facts, indent=1) + "\n", encoding="utf-8")

    def close(self) -> None:
        """Stop everything, the application first."""
        try:
            self._stack.close()
        finally:
            for port in getattr(self, "_ports", ()):
                port.release()
            if not self._keep:
                shutil.rmtree(self.run_dir, ignore_errors=True)

    # --- what is there, asked past Ansible

    def value(self, name: str) -> str:
        """A parameter of the application."""
        found = self.parameters.get_parameter(Name=f"{PRODUCTION}/{name}", WithDecryption=True)
        return str(found["Parameter"]["Value"])

    def versions(self) -> dict[str, int]:
        """How often each parameter was written, keyrings among them."""
        pages = self.parameters.get_paginator("describe_parameters").paginate()
        return {one["Name"]: one["Version"] for page in pages for one in page["Parameters"]}

    def state(self) -> dict[str, str]:
        """All that a run could write: parameters by version, roles and files by digest."""
        found = {name: str(number) for name, number in self.versions().items()}
        found["roles"] = digest(self.database.roles().encode())
        files = [path for part in WRITTEN for path in (self.root / part).iterdir()]
        # The workers count all the time.
        kept = [path for path in files if path != self.workers.status_path and path.is_file()]
        return found | {str(path): digest(path.read_bytes()) for path in kept}

    def secrets(self) -> dict[str, str]:
        """Every value that any version of any keyring holds, and those that are known from the start."""
        found = dict(self.known)
        for path, held in self._keyrings().items():
            name = path.split("/")[3]
            found |= {f"{name}: {kind}": value for kind, value in secrets_of(held).items()}
        return found

    def previous(self, name: str) -> Any:
        """The value of a credential that was replaced and is still accepted; none when there is none."""
        newest = max(self._keyrings(name).items())[1]
        return newest["stages"].get("previous")

    def _keyrings(self, name: str = "") -> dict[str, dict[str, Any]]:
        """All versions of keyrings, by their parameter."""
        path = f"{KEYRINGS}/{name}".rstrip("/")
        pages = self.parameters.get_paginator("get_parameters_by_path").paginate(
            Path=path, Recursive=True, WithDecryption=True
        )
        return {one["Name"]: document(one["Value"]) for page in pages for one in page["Parameters"]}

    def report(self, name: str) -> Any:
        """What a playbook wrote down."""
        return json.loads((self.root / "reports" / f"{name}.json").read_text(encoding="utf-8"))

    def _furnish(self) -> None:
        """What people have left: a value that is in use, and one that nobody knows anything of."""
        for name in (TYPED, UNCLAIMED):
            value = secrets.token_urlsafe(24)
            self.known[f"the first {name}"] = value
            self.parameters.put_parameter(
                Name=f"{PRODUCTION}/{name}", Value=value, Type="SecureString"
            )
        self.known |= {f"the password of {name}": text for name, text in self._passwords().items()}

    def _passwords(self) -> Mapping[str, str]:
        superuser = {"the superuser": self.postgres.password, "the run in AWS": self.user.key}
        return {**self.database.passwords, **superuser}


def digest(content: bytes) -> str:
    """What a content can be compared by."""
    return hashlib.sha256(content).hexdigest()


def document(value: str) -> dict[str, Any]:
    """A keyring as Parameter Store keeps it: a mark, the id of a write, and the text, packed."""
    packed = base64.b64decode(value.split(":", 2)[2])
    found: dict[str, Any] = json.loads(zlib.decompress(packed))
    return found
