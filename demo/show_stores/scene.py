# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The estate of this demo: PostgreSQL, Vault, AWS, Kubernetes and an application under load; each run's identity may do little."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from estate.aws import AwsAccount
from estate.collection import ROOT
from estate.kubernetes import KubernetesServer
from estate.kubernetes_accounts import add_service_account
from estate.load import PROGRAM, LoadClient, database_url, write_env_file
from estate.moto import MotoServer
from estate.postgres import PostgresServer
from estate.processes import Running
from estate.shop import ADMIN, DATABASE, OWNER, ROLES, STATEMENT, open_shop, write_secret
from estate.users import make_run_dir
from estate.vault import PRODUCTION as CAREFUL
from estate.vault import VaultSaysNo, VaultServer

from show_stores.places import PRODUCTION, REPORTS, SECRET, SECRETS, STAGING, Places

KEYRING = "secret/data/keyrings/db_shop"
LEDGER = "secret/metadata/keyrings/db_shop.ledger/db_shop/"
LINES = "secret/data/keyrings/db_shop.ledger/db_shop/"
USER = "keyturn"
PARAMETERS, STAGED = "arn:aws:ssm:*:*:parameter/shop/*", "arn:aws:ssm:*:*:parameter/shop/staging/*"
READ = {
    "Effect": "Allow",
    "Action": ["ssm:GetParameter", "ssm:GetParameters"],
    "Resource": PARAMETERS,
}
WRITE = {"Effect": "Allow", "Action": ["ssm:PutParameter"], "Resource": PARAMETERS}
WRITE_STAGING = {**WRITE, "Resource": STAGED}
KEEP = {"Effect": "Allow", "Action": ["ssm:DescribeParameters"], "Resource": "*"}
ONE_SECRET = {
    "apiGroups": [""],
    "resources": ["secrets"],
    "resourceNames": [SECRET],
    "verbs": ["get", "update"],
}
PARTS = ("app", "holders", "ansible", "vault", "aws", "kubernetes")
Say = Callable[..., None]


def vault_policy() -> str:
    """The rules that docs/vault.md lists for a rotation, for the paths of this shop."""
    page = (ROOT / "docs" / "vault.md").read_text(encoding="utf-8")
    (rules,) = re.findall(r"```hcl\n# rotate\n(.*?)```", page, re.DOTALL)
    return str(rules).replace("secret/data/musehub/", "secret/data/shop/")


class Scene(Running):
    """The estate; a context manager that starts and stops it.

    :param say: shows what is waited for.
    :param keep: leave the files where they are at the end.
    :ivar known: secrets that are known from the start, name to value.
    :ivar environ: who a run is, and where the servers are.
    """

    def __init__(self, say: Say, keep: bool = False) -> None:
        self.run_dir = make_run_dir("keyturn-demo-")
        self.root = self.run_dir / "estate"
        self.known: dict[str, str] = {}
        self.environ: dict[str, str] = {}
        self._say = say
        self._keep = keep
        self._stack = ExitStack()
        try:
            for path in (self.root, *map(self.root.joinpath, PARTS)):
                path.mkdir(mode=0o700)
            self.postgres = PostgresServer("16", run_dir=self.run_dir, fsync=True)
            self.vault = VaultServer(self.root / "vault", shape=CAREFUL)
            self.aws = MotoServer(self.root / "aws")
            self.kubernetes = KubernetesServer(self.root / "kubernetes")
        except BaseException:
            self.close()
            raise
        self.env_file = self.root / "app" / "app.env"
        self.client = LoadClient(self.env_file, self.root / "app", statement=STATEMENT)
        self.places: Places

    @property
    def work_dir(self) -> Path:
        """Where Ansible works: its home, its temporary files, its log."""
        return self.root / "ansible"

    @property
    def facts(self) -> Path:
        """Ports and paths, for the inventory; no secret."""
        return self.root / "estate.json"

    def start(self) -> Scene:
        """Start everything, the client last; Vault is sealed at the end.

        :raises EstateError: when a part does not start.
        """
        for part in (self.kubernetes, self.aws, self.vault, self.postgres):
            self._stack.callback(part.close)
        with self._waiting("PostgreSQL"):
            self.postgres.start()
            self.shop = open_shop(self.postgres)
        with self._waiting("Vault"):
            self.vault.start()
        with self._waiting("AWS"):
            self.aws.start()
            self.account = AwsAccount(self.aws)
        with self._waiting("Kubernetes"):
            self.kubernetes.start()
        with self._waiting("the five places, and the shop"):
            self._furnish()
            self._write_facts()
            self._stack.callback(self.client.stop)
            self.client.start()
        with self._waiting("Vault, started again and sealed"):
            self.vault.stop()
            self.vault.start_sealed()
        return self

    def state(self) -> list[str]:
        """All that a run could change: keyring, places, roles; as digests and versions."""
        held = {name: astuple(one) for name, one in self.places.look().items()}
        parts = [self.shop.roles(), self.version(), repr(held), str(self.lines())]
        return [hashlib.sha256(part.encode()).hexdigest() for part in parts]

    def users(self) -> list[str]:
        """Who works with the database at this moment."""
        return self.shop.users()

    def keyring(self) -> dict[str, Any] | None:
        """The keyring; none before there is one."""
        found = self._keyring()
        return None if found is None else dict(found["data"])

    def version(self) -> str:
        """Which version of the keyring Vault has."""
        found = self._keyring()
        return "" if found is None else str(found["metadata"]["version"])

    def lines(self) -> list[dict[str, Any]]:
        """The ledger."""
        try:
            names = self.vault.request("LIST", LEDGER)["data"]["keys"]
        except VaultSaysNo as error:
            if error.status != 404:
                raise
            return []
        return [self.vault.request("GET", LINES + name)["data"]["data"] for name in sorted(names)]

    def deny_writes(self, deny: bool) -> None:
        """Take the right to write the production parameter from the run's identity in AWS, or give it back."""
        self.account.set_rights(USER, [READ, KEEP, WRITE_STAGING if deny else WRITE])

    def close(self) -> None:
        """Stop everything, the client first."""
        try:
            self._stack.close()
        finally:
            if not self._keep:
                shutil.rmtree(self.run_dir, ignore_errors=True)

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        self._say(f"    {what} ... ", end="")
        try:
            yield
        except BaseException:
            self._say("")
            raise
        self._say(f"{time.monotonic() - started:.1f} s")

    def _keyring(self) -> dict[str, Any] | None:
        try:
            return dict(self.vault.request("GET", KEYRING)["data"])
        except VaultSaysNo as error:
            # 503: sealed, so that nobody can tell; no act needs the keyring then.
            if error.status in (404, 503):
                return None
            raise

    def _furnish(self) -> None:
        """Each place as people had left it, and each identity with the least rights."""
        user, password = ROLES[0], self.shop.password
        url = database_url(user, password, self.postgres.host, self.postgres.port, DATABASE)
        parameters = self.account.client("ssm")
        for name in (PRODUCTION, STAGING):
            parameters.put_parameter(Name=name, Value=url, Type="SecureString")
        self._furnish_vault(user, password)
        self._furnish_kubernetes(user, password)
        write_env_file(self.env_file, url, "# settings of the shop", "LOG_LEVEL=info")
        self.places = Places(parameters, self.vault, self.kubernetes, self.env_file)
        aws = self.account.add_user(USER, [READ, KEEP, WRITE])
        self.environ |= self.account.environ(aws)
        self.known |= {
            "the superuser's password": self.postgres.password,
            "the rotating role's password": self.shop.admin_password,
            f"the first password of {user}": password,
            "the key of the run in AWS": aws.key,
            "the administrator's key in AWS": self.account.administrator.key,
        }

    def _furnish_vault(self, user: str, password: str) -> None:
        vault = self.vault
        vault.mount_kv("secret")
        login = {"username": ADMIN, "password": self.shop.admin_password}
        vault.request("POST", "secret/data/postgres/admin", {"data": login})
        reports = {"username": user, "password": password, "contact": "reports@shop.example"}
        vault.request("POST", REPORTS, {"data": reports})
        role = vault.approle(vault.enable_auth("approle"), vault_policy())
        for number, share in enumerate(vault.unseal_keys, 1):
            holder = self.root / "holders" / str(number)
            holder.mkdir(mode=0o700)
            write_secret(holder / "share", share)
            self.known[f"share {number} of Vault's key"] = share
        self.known |= {"Vault's root token": vault.root_token, "the secret id": role.secret_id}
        self.environ |= {
            "VAULT_ADDR": vault.address,
            "VAULT_CACERT": str(vault.ca_file),
            "VAULT_ROLE_ID": role.role_id,
            "VAULT_SECRET_ID": role.secret_id,
            "VAULT_LOGIN_MOUNT_POINT": role.mount,
        }

    def _furnish_kubernetes(self, user: str, password: str) -> None:
        server = self.kubernetes
        server.request("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
        data = {"DB_USER": user, "DB_PASSWORD": password, "DB_NAME": DATABASE}
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
        server.request("POST", SECRETS, {"metadata": {"name": SECRET}, "data": encoded})
        token = add_service_account(server, "shop", USER, [ONE_SECRET])
        path = self.root / "kubeconfig"
        write_secret(path, json.dumps(server.kubeconfig(USER)))
        self.environ["KUBECONFIG"] = str(path)
        self.known |= {
            "the token of the run in Kubernetes": token,
            "the administrator's token in Kubernetes": server.tokens["admin"],
        }

    def _write_facts(self) -> None:
        facts = {
            "dir": str(self.root),
            "database": DATABASE,
            "owner": OWNER,
            "roles": ROLES,
            "postgres_port": self.postgres.port,
            "vault": self.vault.address,
            "vault_ca": str(self.vault.ca_file),
            "python": sys.executable,
            "client": str(PROGRAM),
            "client_status": str(self.client.status_path),
            "env_file": str(self.env_file),
        }
        self.facts.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
