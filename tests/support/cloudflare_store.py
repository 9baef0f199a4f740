# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object store that knows the key pairs of ``cloudflare_api``: moto's server for S3 and IAM, in this process.

moto compares each signature, and each call with what the identity may. Each token of the API is a user of moto's IAM with one access
key, whose id and secret are derived from the token as Cloudflare documents it, and which may what the token may in its buckets.
moto writes this in its own words: a pair that it does not know is ``InvalidAccessKeyId`` with 403, where R2 says ``Unauthorized`` with 401.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cloudflare_api import ITEM_READ, ITEM_WRITE, CloudflareApi, FakeToken
from moto import settings
from moto.iam.models import AccessKey, iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

ACCOUNT = "123456789012"
_SEEN = re.compile(r"Credential=([^/]+)/")
_READ = ["s3:ListBucket", "s3:GetObject"]
_RIGHTS = {ITEM_READ: _READ, ITEM_WRITE: [*_READ, "s3:PutObject", "s3:DeleteObject"]}


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_arguments: Any) -> None:
        """Nothing: what was asked is kept."""


class Store:
    """See the top of this file.

    :ivar asked: method and path of each call, and who signed it.
    :ivar late: what the API makes or ends is known here after so many further calls, as at R2 it takes up to a minute.
    """

    def __init__(self, api: CloudflareApi, *buckets: str) -> None:
        self.api, self.asked = api, list[tuple[str, str, str]]()
        self.late = 0
        self._iam = iam_backends[ACCOUNT]["aws"]
        self._iam.reset()
        s3_backends[ACCOUNT]["aws"].reset()
        for bucket in buckets:
            s3_backends[ACCOUNT]["aws"].create_bucket(bucket, "us-east-1")
        one: Any = DomainDispatcherApplication(create_backend_app)
        self._serve, self._lock = one, threading.RLock()
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", 0, self._call, threaded=True, request_handler=_Handler
        )
        api.changed = self.know
        self.know()

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def names(self, bucket: str) -> list[str]:
        """The objects in a bucket."""
        return list(s3_backends[ACCOUNT]["aws"].get_bucket(bucket).keys)

    def know(self) -> None:
        """Hear of what the API made and ended."""
        with self._lock:
            if self.late:
                return
            for name in [user.name for user in self._iam.list_users("/", None, None)]:
                self._forget(name)
            for token in list(self.api.tokens.values()):
                self._register(token)

    def _forget(self, name: str) -> None:
        self._iam.delete_user_policy(name, "own")
        self._iam.users[name].access_keys.clear()
        self._iam.delete_user(name)

    def _register(self, token: FakeToken) -> None:
        user = self._iam.create_user("us-east-1", token.id)
        actions = sorted({action for name in token.may for action in _RIGHTS.get(name, ())})
        buckets = [name.rpartition("_")[2] for name in token.resources]
        where = [f"arn:aws:s3:::{name}{rest}" for name in buckets for rest in ("", "/*")]
        allowed = {"Effect": "Allow", "Action": actions or ["s3:none"], "Resource": where}
        policy = {"Version": "2012-10-17", "Statement": [allowed]}
        self._iam.put_user_policy(token.id, "own", json.dumps(policy))
        key = AccessKey(token.id, "AKIA", ACCOUNT)
        key.access_key_id, key.secret_access_key = token.id, token.secret
        user.access_keys.append(key)

    def _call(self, environ: Any, start_response: Any) -> list[bytes]:
        signer = _SEEN.search(environ.get("HTTP_AUTHORIZATION", ""))
        who = signer.group(1) if signer else ""
        told: list[str] = []

        def start(status: str, *rest: Any) -> Any:
            told.append(status)
            return start_response(status, *rest)

        with self._lock:
            self.asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], who))
            answer = list(self._serve(environ, start))
            self.late = max(self.late - 1, 0)
            self.know()
        if told and told[-1].startswith("2"):
            self.api.used(who)
        return answer


@contextmanager
def store_of(api: CloudflareApi, *buckets: str) -> Iterator[Store]:
    """A store with these buckets, which compares rights meanwhile."""
    before, made = settings.INITIAL_NO_AUTH_ACTION_COUNT, Store(api, *buckets)
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    serving = threading.Thread(target=made._server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    try:
        yield made
    finally:
        settings.INITIAL_NO_AUTH_ACTION_COUNT = before
        made._server.shutdown()
        made._server.server_close()
        serving.join()
