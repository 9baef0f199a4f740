# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe ``s3``: a call on a bucket that is signed with the stage's key pair, at any store that speaks S3.

botocore signs it, as AWS's own programs do, and nothing else of AWS's is used: no profile, no variable of the environment and no log.
The secret signs and is not sent. A store names what is wrong by a code; those that say that a pair is not accepted are AWS's
(https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html) and R2's (https://developers.cloudflare.com/r2/api/error-codes/).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Tuple
from urllib.parse import quote, urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    MissingLibrary,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import (
    Answer,
    Call,
    checked_url,
    send,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import as_flag
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._port import (
    REFUSED,
    Attempt,
    ProbeContext,
    Simple,
    denied,
    fill,
    names_stage,
    proved,
    unclear,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

KEYS = (
    "endpoint", "bucket", "region", "access_key_id", "secret_access_key", "action", "prefix", "refused_codes", "validate_certs", "ca_path",
)  # fmt: skip
ID, KEY = "access_key_id", "secret_access_key"
_DEFAULTS = {ID: "{stage.access_key_id}", KEY: "{stage.secret_access_key}"}
LIST, WRITE = "list", "write"
_REFUSED_CODES = (
    "Unauthorized",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
)
_NOT_SO: Mapping[str, str] = MappingProxyType(
    {
        "AccessDenied": "the pair is known, and may not do this in the bucket",
        "NoSuchBucket": "there is no such bucket at this endpoint",
    }
)
_CLOCK = "the clock here is wrong; set it right (NTP)"
_CODE = re.compile(rb"<Code>([A-Za-z.]{1,64})</Code>")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_PREFIX = re.compile(r"[A-Za-z0-9._/-]{0,200}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ONE_CALL = 15.0


@dataclass(frozen=True)
class Where:
    """What is called.

    :param prefix: what is listed begins with it, and so does the name of an object that is written.
    :param refused: what a store calls a pair that it does not accept.
    """

    endpoint: str
    bucket: str
    region: str
    prefix: str
    refused: Tuple[str, ...]
    validate_certs: bool
    ca_path: Optional[str]


def signed(
    method: str, url: str, pair: Tuple[Secret, Secret], region: str, body: bytes
) -> Dict[str, Secret]:
    """The headers of a signed request (AWS Signature Version 4).

    :raises MissingLibrary: without botocore.
    """
    try:
        # Imported where it is used: it takes longer than most of what else a task does.
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
    except ImportError:
        raise MissingLibrary(
            "a probe of type s3 needs the Python library boto3 where this task runs; install it: pip install boto3"
        ) from None
    kind = {"Content-Type": "application/octet-stream"} if body else {}
    request = AWSRequest(method=method, url=url, data=body, headers=kind)
    who = Credentials(pair[0].reveal(), pair[1].reveal())
    S3SigV4Auth(who, "s3", region).add_auth(request)
    return {str(name): Secret(str(value)) for name, value in request.headers.items()}


class S3Probe:
    """One call, or for ``write`` three of them, tried until the answer is the wanted one."""

    def __init__(
        self, where: Where, pair: Tuple[Secret, Secret], action: str, ctx: ProbeContext
    ) -> None:
        self.against = f"bucket {where.bucket} at {where.endpoint}"
        self.blocked = _blocked(pair, action, ctx)
        self._where, self._pair, self._action, self._ctx = where, pair, action, ctx

    def attempt(self, seconds: float) -> Attempt:
        """Sign, and call."""
        try:
            return self._write(seconds) if self._action == WRITE else self._list(seconds)
        except (Unreachable, BadInput) as error:
            return unclear(error.message)

    def _call(self, method: str, path: str, seconds: float, body: bytes = b"") -> Answer:
        where = self._where
        url = f"{where.endpoint}/{where.bucket}{path}"
        # Signed anew each time: a signature is accepted for some minutes only.
        headers = signed(method, url, self._pair, where.region, body)
        call = Call(
            url=url,
            method=method,
            headers=headers,
            body=Secret(body.decode("ascii")) if body else None,
            timeout=min(seconds, _ONE_CALL),
            validate_certs=where.validate_certs,
            ca_path=where.ca_path,
        )
        return send(call)

    def _list(self, seconds: float) -> Attempt:
        prefix = f"&prefix={quote(self._where.prefix, safe='')}" if self._where.prefix else ""
        answer = self._call("GET", f"?list-type=2&max-keys=1{prefix}", seconds)
        if answer.status == 200 and b"<ListBucketResult" not in answer.body:
            return unclear(
                "status 200, but no list of a bucket: is this the address of an S3 store?"
            )
        return self._judged(answer, "it lists the bucket")

    def _write(self, seconds: float) -> Attempt:
        """Write an object of its own, read it again, and remove it, whatever came of it."""
        name = f"/{self._where.prefix}keyturn-probe-{self._ctx.context.randbytes(8).hex()}"
        content = self._ctx.context.randbytes(16).hex().encode()
        answer = self._call("PUT", name, seconds, content)
        if answer.status != 200:
            return self._judged(answer, "")
        try:
            read = self._call("GET", name, seconds)
        finally:
            removed = self._removed(name, seconds)
        if removed:
            return (
                unclear(removed)
                if self._ctx.expect != REFUSED
                else denied(f"it is still accepted; {removed}")
            )
        if self._ctx.expect != REFUSED and (read.status != 200 or read.body != content):
            return unclear(
                f"an object was written, and reading it gave status {read.status} or something else"
            )
        return self._judged(answer, "it writes, reads and removes an object")

    def _removed(self, name: str, seconds: float) -> str:
        """What went wrong when the object was removed; empty if nothing did."""
        try:
            answer = self._call("DELETE", name, seconds)
            told = "" if answer.status in (200, 204) else f"status {answer.status}"
        except Unreachable as error:
            told = error.message
        return f"the object {name[1:]} could not be removed ({told}); remove it" if told else ""

    def _judged(self, answer: Answer, can: str) -> Attempt:
        """What an answer says of the pair."""
        code = _code(answer)
        told = f"status {answer.status}" + (f", {code}" if code else "")
        refused = code in self._where.refused or (answer.status == 401 and not code)
        if self._ctx.expect == REFUSED:
            return _as_refusal(answer.status, refused, told)
        if answer.status == 200:
            return proved(f"{told}: {can}")
        if refused:
            return denied(f"{told}: the pair is not accepted")
        if code in _NOT_SO:
            return denied(f"{told}: {_NOT_SO[code]}")
        return unclear(f"{told}: {_CLOCK}" if code == "RequestTimeTooSkewed" else told)


def _as_refusal(status: int, refused: bool, told: str) -> Attempt:
    """Whether an answer proves that a pair is not accepted any more; one that may not do this is known still."""
    if refused:
        return proved(f"refused with {told}")
    if status == 200:
        return denied(f"{told}: it is still accepted")
    return unclear(f"{told}: this says neither that the pair is accepted nor that it is not")


def _code(answer: Answer) -> str:
    """What the store calls the error; its text is never quoted."""
    found = _CODE.search(answer.body) if answer.status >= 300 else None
    return found.group(1).decode("ascii") if found else ""


def _blocked(pair: Tuple[Secret, Secret], action: str, ctx: ProbeContext) -> str:
    if not all(value.known for value in pair):
        return "the value does not exist yet"
    if ctx.context.check_mode and action == WRITE:
        return "check mode writes no object"
    if ctx.context.check_mode and ctx.expect == REFUSED:
        # A provider that tells when a pair was used last would tell of this, and keep the run after it from ending the pair.
        return "check mode does not use a pair that is to be ended"
    return ""


class S3Type(Simple):
    """Signed calls."""

    keys = KEYS
    stages = ("pending", "current", "previous")

    def presents(self, options: Mapping[str, Any]) -> bool:
        """Whether the pair that signs is the stage's own."""
        return all(names_stage(options.get(name, default)) for name, default in _DEFAULTS.items())

    def check(self, options: Mapping[str, Any], option: str, senders: bool) -> None:
        """Refuse what cannot be meant.

        :raises BadInput: naming the option.
        """
        _where(options, {}, option, complete="endpoint" in options)
        _action(options, option)

    def open(self, options: Mapping[str, Any], stage: Stage, ctx: ProbeContext) -> S3Probe:
        """Read the options."""
        where = _where(options, ctx.issuer, ctx.option)
        identity, secret = (
            fill(options.get(name, default), stage, ctx, f"{ctx.option}.{name}")
            for name, default in _DEFAULTS.items()
        )
        return S3Probe(where, (identity, secret), _action(options, ctx.option), ctx)


def _action(options: Mapping[str, Any], option: str) -> str:
    action = str(options.get("action") or LIST)
    if action not in (LIST, WRITE):
        raise BadInput(f"{option}.action: '{action}' is unknown; expected {LIST} or {WRITE}")
    return action


def _where(
    options: Mapping[str, Any], issuer: Mapping[str, Any], option: str, complete: bool = True
) -> Where:
    bucket, prefix = str(options.get("bucket") or ""), str(options.get("prefix") or "")
    if not _BUCKET.fullmatch(bucket):
        raise BadInput(f"{option}.bucket: expected the name of a bucket")
    if not _PREFIX.fullmatch(prefix):
        raise BadInput(f"{option}.prefix: expected letters, digits and . _ / - alone")
    return Where(
        endpoint=_endpoint(options, issuer, f"{option}.endpoint") if complete else "",
        bucket=bucket,
        region=str(options.get("region") or "auto"),
        prefix=prefix,
        refused=(
            *_REFUSED_CODES,
            *_codes(options.get("refused_codes", []), f"{option}.refused_codes"),
        ),
        validate_certs=as_flag(options.get("validate_certs", True), f"{option}.validate_certs"),
        ca_path=str(options["ca_path"]) if options.get("ca_path") else None,
    )


def _codes(value: Any, option: str) -> List[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise BadInput(f"{option}: expected a list of codes, such as [AccessDenied]")
    return value


def _endpoint(options: Mapping[str, Any], issuer: Mapping[str, Any], option: str) -> str:
    given = options.get("endpoint") or _of_issuer(issuer)
    if not given:
        raise BadInput(
            f"{option}: missing; give the store's address, such as https://ACCOUNT.r2.cloudflarestorage.com"
        )
    text = checked_url(given, option).rstrip("/")
    parts = urlsplit(text)
    if parts.path or parts.query or parts.fragment:
        raise BadInput(
            f"{option}: give the address without a path; the bucket's name belongs into bucket"
        )
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise BadInput(
            f"{option}: over plain http anybody on the way could answer; expected https://"
        )
    return text


def _of_issuer(issuer: Mapping[str, Any]) -> str:
    """R2's address, where the issuer says whose and in which jurisdiction the buckets are."""
    if issuer.get("type") != "cloudflare_r2" or not issuer.get("account"):
        return ""
    place = issuer.get("jurisdiction", "default")
    between = "" if place == "default" else f".{place}"
    return f"https://{issuer['account']}{between}.r2.cloudflarestorage.com"
