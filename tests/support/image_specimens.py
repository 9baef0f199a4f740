# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What images are filled with: secrets of many kinds, made anew for each run, and what only looks like them."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import string
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

_UPPER = string.ascii_uppercase + string.digits
_ALNUM = string.ascii_letters + string.digits


def pick(letters: str, count: int) -> str:
    """Random characters of these."""
    return "".join(secrets.choice(letters) for _number in range(count))


@dataclass
class Specimens:
    """Files of an image by their path.

    :ivar planted: those that hold a secret, and ``values`` these, to be looked for in all that is printed.
    :ivar estate: values that the estate's keyrings hold, by credential.
    """

    planted: dict[str, bytes] = field(default_factory=dict)
    benign: dict[str, bytes] = field(default_factory=dict)
    values: list[str] = field(default_factory=list)
    estate: dict[str, str] = field(default_factory=dict)

    def plant(self, path: str, text: str, *values: str) -> None:
        """A file with these values in it."""
        self.planted[path] = text.encode()
        self.values.extend(values)

    def harmless(self, path: str, text: str) -> None:
        """A file without any."""
        self.benign[path] = text.encode()


def _private(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, ssh: bool = False) -> str:
    layout = serialization.PrivateFormat.OpenSSH if ssh else serialization.PrivateFormat.PKCS8
    return key.private_bytes(
        serialization.Encoding.PEM, layout, serialization.NoEncryption()
    ).decode()


def _certificate(key: ec.EllipticCurvePrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app1.internal")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=9))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def _part(document: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def _tokens(made: Specimens) -> None:
    """Values in formats of their own."""
    aws, secret = "AKIA" + pick(_UPPER, 16), pick(_ALNUM + "/+", 40)
    made.plant(
        "app/settings.py",
        f"REGION = 'eu-west-1'\nAWS_KEY = '{aws}'\naws_secret_access_key = '{secret}'\n",
        aws,
        secret,
    )
    github = "ghp_" + pick(_ALNUM, 36)
    made.plant("app/ci.sh", f"#!/bin/sh\nexport GH={github}; gh release list\n", github)
    slack = f"xoxb-{pick(string.digits, 12)}-{pick(string.digits, 12)}-{pick(_ALNUM, 24)}"
    made.plant("app/hooks.yaml", f"notify:\n  - channel: ops\n    with: {slack}\n", slack)
    stripe = "sk_live_" + pick(_ALNUM, 24)
    made.plant("app/pay.json", json.dumps({"currency": "eur", "stripe": stripe}), stripe)
    gitlab = "glpat-" + pick(_ALNUM, 20)
    made.plant(
        "usr/local/lib/python3.12/site-packages/tool/defaults.py", f"X = '{gitlab}'\n", gitlab
    )
    npm = "npm_" + pick(_ALNUM, 36)
    made.plant("app/.npmrc", f"//registry.example/:_authToken={npm}\n", npm)
    jwt = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part({'sub': pick(_ALNUM, 9)})}.{pick(_ALNUM, 43)}"
    made.plant("app/session.txt", f"last seen: {jwt}\n", jwt)
    vault = "hvs." + pick(_ALNUM, 90)
    made.plant("app/agent.hcl", f'auto_auth {{\n  note = "{vault}"\n}}\n', vault)
    google = "AIza" + pick(_ALNUM, 35)
    made.plant("app/static/map.js", f'load({{"k":"{google}"}})\n', google)


def _keys(made: Specimens) -> None:
    """Keys and files that tell by their names."""
    tls = _private(ec.generate_private_key(ec.SECP256R1()))
    made.plant("app/tls/server.pem", tls, tls.splitlines()[1])
    ssh = _private(ed25519.Ed25519PrivateKey.generate(), ssh=True)
    made.plant("root/.ssh/id_ed25519", ssh, ssh.splitlines()[1])
    login = base64.b64encode(f"ci:{secrets.token_urlsafe(18)}".encode()).decode()
    made.plant(
        "root/.docker/config.json", json.dumps({"auths": {"r.internal": {"auth": login}}}), login
    )
    line = secrets.token_urlsafe(18)
    made.plant("root/.pgpass", f"db1:5432:musehub:musehub:{line}\n", line)


def _settings(made: Specimens) -> None:
    """Values of settings, which have no format."""
    names = ("DB_PASSWORD", "WEBHOOK_SECRET_KEY", "RUNNER_TOKEN", "R2_SECRET_ACCESS_KEY")
    own = {name: secrets.token_urlsafe(24) for name in names}
    made.plant("app/.env", "".join(f"{key}={text}\n" for key, text in own.items()), *own.values())
    hexadecimal = secrets.token_hex(24)
    made.plant(
        "app/conf/db.ini",
        f"[db]\nhost = db1\nuser = musehub\npassword = {hexadecimal}\n",
        hexadecimal,
    )
    chosen = f"Tr0ub4dor-{pick(string.digits, 4)}"
    made.plant("app/conf/mail.yml", f"smtp:\n  host: mail1\n  password: {chosen}\n", chosen)
    fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    made.plant(
        "app/worker.py", f'def sign():\n    return Signer("x", secret_key="{fernet}")\n', fernet
    )
    odd = secrets.token_hex(21)
    made.plant("app/start.py", f"client = connect(\n    seed='{odd}',\n)\n", odd)
    url = pick(_ALNUM, 20)
    made.plant("app/queue.conf", f"broker amqp://worker:{url}@mq1:5672/jobs\n", url)


def _of_the_estate(made: Specimens) -> None:
    """Values that nothing tells but that the keyrings hold them: random words, hexadecimal ones like digests, a phrase."""
    for name in ("notes", "table", "cluster", "binary", "phrase"):
        made.estate[name] = secrets.token_hex(20)
    made.estate["phrase"] = (
        f"correct {pick(string.ascii_lowercase, 6)} battery {pick(string.ascii_lowercase, 5)}"
    )
    made.estate["cluster"] = pick(string.ascii_lowercase, 18)
    encoded = base64.b64encode(made.estate["cluster"].encode()).decode()
    made.plant("app/README", f"Ask for it, or use {made.estate['notes']}, which works.\n")
    made.plant("app/data/table.csv", f"id,etag\n1,{made.estate['table']}\n")
    made.plant("app/deploy/manifest.yaml", f"data:\n  it: {encoded}\n")
    made.plant("app/data/song.txt", f"{made.estate['phrase']}\n")
    made.planted["app/cache.bin"] = b"\x00\x01" + made.estate["binary"].encode() + b"\x00\xff"
    made.values += [*made.estate.values(), encoded]


def _digests(made: Specimens) -> None:
    """Digests, ids and packed code."""
    sri = base64.b64encode(hashlib.sha512(secrets.token_bytes(9)).digest()).decode()
    sha1, sha256 = secrets.token_hex(20), secrets.token_hex(32)
    entry = {"version": "1.2.3", "integrity": f"sha512-{sri}"}
    calls = (
        f"function {pick(_ALNUM, 2)}(e,t){{return e.token=t.password||e.key}}" for _n in "x" * 90
    )
    words = ";".join(calls)
    for path, text in {
        "app/package-lock.json": json.dumps({"packages": {"node_modules/a": entry}}, indent=1),
        "app/poetry.lock": f'[[package]]\nname = "a"\nfiles = [{{hash = "sha256:{sha256}"}}]\n',
        "app/requirements.txt": f"hvac==2.4.0 --hash=sha256:{sha256}\n",
        "app/ids.yaml": f"tenant: {uuid.uuid4()}\nsession_token_id: {uuid.uuid4()}\n",
        "app/version.py": f"__version__ = '1.0'\n__build__ = '{sha1}'\nCOMMIT = '{sha1}'\n",
        "app/.git/packed-refs": f"# pack-refs with: peeled\n{sha1} refs/heads/main\n",
        "app/SHA256SUMS": f"{sha256}  app.tar\n",
        "app/static/app.min.js": f"!function(){{{words}}}();\n",
        "app/static/bundle.js": f"var a=function(){{{words}}};\n",
        "app/static/logo.css": f"a{{background:url(data:image/png;base64,{sri})}}",
        "var/lib/dpkg/info/a.md5sums": f"{secrets.token_hex(16)}  usr/bin/a\n",
        "app/schema.json": json.dumps(
            {"password": {"type": "string", "minLength": 12}, "$id": f"urn:uuid:{uuid.uuid4()}"}
        ),
    }.items():
        made.harmless(path, text)
    made.benign["app/module.pyc"] = secrets.token_bytes(600) + b"password" + secrets.token_bytes(99)


def _public(made: Specimens) -> None:
    """What of a key pair everybody may know."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    of_ssh = ed25519.Ed25519PrivateKey.generate().public_key()
    ssh = of_ssh.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    x = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    jwk = {"kty": "EC", "crv": "P-256", "kid": x[:16], "x": x, "y": x[::-1]}
    made.harmless("app/tls/server.crt", _certificate(key))
    made.harmless("app/tls/public.pem", public.decode())
    made.harmless("root/.ssh/authorized_keys", f"{ssh.decode()} ops@app1\n")
    made.harmless("app/jwks.json", json.dumps({"keys": [jwk]}))


_PLACEHOLDERS = {
    "app/.env.example": "DB_PASSWORD=change-me\nRUNNER_TOKEN=your-token-here-0123456789\nAPI_KEY=\n",
    "app/conf/app.yml": (
        "db:\n  password: ${DB_PASSWORD}\n  token_url: https://sso.internal/oauth2/token\n  secretName: musehub-db\n"
    ),
    "app/conf/refs.yml": (
        "password: ref+vault://secret/musehub/db#/password\nsecret_file: /run/secrets/db_password_v2\n"
    ),
    "app/auth.py": (
        "password = get_password('db1')\ntoken = request.headers['X-Token-2']\nSECRET_NAME = 'musehub/prod/db1'\n"
    ),
    "app/README.md": (
        'Set `AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE` and\n`postgres://user:password@db1/app`, with `token: "<token>"`.\n'
    ),
    "etc/ssl/openssl.cnf": "input_password = secret1234\noutput_password = secret1234\n",
    "app/help.txt": "-----BEGIN PRIVATE KEY-----\n(put it here)\n-----END PRIVATE KEY-----\n",
    "app/locale/de.po": 'msgid "password_reset_2fa"\nmsgstr "Passwort zuruecksetzen"\n',
    "app/policies.py": 'policies = ["ELBSecurityPolicy-TLS13-1-3-2021-06", "InvalidS3KeyPrefixException"]\n',
}


def _placeholders(made: Specimens) -> None:
    """What stands for a value, or names one."""
    for path, text in _PLACEHOLDERS.items():
        made.harmless(path, text)


def make_specimens() -> Specimens:
    """Files with secrets, and files without."""
    made = Specimens()
    for part in (_tokens, _keys, _settings, _of_the_estate, _digests, _public, _placeholders):
        part(made)
    return made


def keyring(path: Path, **stages: dict[str, str]) -> str:
    """A reference to a keyring with these stages."""
    statuses = {"current": "observed", "previous": "grace", "pending": "issued"}
    made = {
        name: Stage(
            rotation_id=f"r-{name}",
            status=statuses[name],
            fields={key: it if key == "username" else Secret(it) for key, it in fields.items()},
        )
        for name, fields in stages.items()
    }
    document = Document("app", secrets.token_bytes(32))
    whole: dict[str, Any] = {
        name: document.with_fingerprints(stage) for name, stage in made.items()
    }
    path.write_text(dump_text(replace(document, **whole)))
    path.chmod(0o600)
    return f"ref+file://{path}"
