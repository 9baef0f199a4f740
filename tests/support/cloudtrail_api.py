# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for CloudTrail's LookupEvents, which moto has not: requests and replies are held to botocore's own service model.

It limits the rate as AWS does, two requests a second, by a clock that the test may move.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

PER_SECOND = 2
_BY = {"EventName": "EventName", "EventId": "EventId", "Username": "Username"}


@lru_cache(maxsize=1)
def _operation() -> Any:
    model = ServiceModel(Loader().load_service_model("cloudtrail", "service-2"))
    return model.operation_model("LookupEvents")


def model_faults(params: Any, shape: Any) -> str:
    """What botocore's model does not allow, its enumerations and greatest numbers too."""
    told: str = ParamValidator().validate(params, shape).generate_report()
    if told:
        return told
    for name, member in getattr(shape, "members", {}).items():
        value = params.get(name) if isinstance(params, dict) else None
        if value is not None and "max" in member.metadata and isinstance(value, int):
            told += "" if value <= member.metadata["max"] else f"{name}: too large. "
        for item in value if isinstance(value, list) else ():
            for key, inner in getattr(member.member, "members", {}).items():
                allowed = getattr(inner, "enum", None)
                if allowed and isinstance(item, dict) and item.get(key) not in (None, *allowed):
                    told += f"{key}: not in the enumeration. "
    return told


def event(name: str, at: datetime, **told: Any) -> dict[str, Any]:
    """An event as AWS writes it; ``told`` comes over what it would say by itself."""
    services = {"Decrypt": "kms", "GetSecretValue": "secretsmanager", "BatchGetSecretValue": "secretsmanager"}  # fmt: skip
    source = services.get(name, "ssm")
    identity = secrets.token_hex(16)
    body = {
        "eventVersion": "1.08",
        "eventID": identity,
        "eventName": name,
        "eventSource": f"{source}.amazonaws.com",
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "10.20.0.5",
        "userAgent": "aws-sdk-go/1.44",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/nobody"},
        "requestParameters": None,
        "responseElements": None,
        **told,
    }
    return {
        "EventId": identity,
        "EventName": name,
        "EventTime": at.timestamp(),
        "EventSource": body["eventSource"],
        "ReadOnly": "true",
        "CloudTrailEvent": json.dumps(body),
    }


@dataclass
class CloudTrailApi:
    """The events, and what was asked.

    :param refused: so many requests are throttled whatever the rate.
    :param denied: every request is.
    :ivar faults: what a request or a reply had that the model has not.
    :ivar times: when each request came, those that were throttled too.
    """

    events: list[dict[str, Any]] = field(default_factory=list)
    page: int = 50
    clock: Callable[[], float] = time.monotonic
    refused: int = 0
    denied: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def answer(self, target: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and reply."""
        with self.lock:
            now = self.clock()
            recent = [at for at in self.times if at > now - 0.99]
            self.times.append(now)
            if len(recent) >= PER_SECOND:
                return 400, {"__type": "ThrottlingException"}
            if self.refused:
                self.refused -= 1
                return 400, {"__type": "ThrottlingException"}
            if self.denied:
                return 400, {"__type": "AccessDeniedException"}
            return self._found(target, json.loads(body))

    def _found(self, target: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(request)
        told = model_faults(request, _operation().input_shape)
        prefix = _operation().service_model.metadata["targetPrefix"]
        if (
            target != f"{prefix}.LookupEvents"
            or told
            or len(request.get("LookupAttributes", ())) > 1
        ):
            self.faults.append(told or f"{target}: {sorted(request)}")
            return 400, {"__type": "InvalidLookupAttributesException"}
        wanted = request["LookupAttributes"][0]
        first, last = request["StartTime"], request["EndTime"]
        hits = [
            item
            for item in self.events
            if item[_BY[wanted["AttributeKey"]]] == wanted["AttributeValue"]
            and first <= item["EventTime"] <= last
        ]
        at = int(request.get("NextToken") or 0)
        most = min(request["MaxResults"], self.page)
        reply: dict[str, Any] = {"Events": hits[at : at + most]}
        if at + most < len(hits):
            reply["NextToken"] = str(at + most)
        typed = [
            {**item, "EventTime": datetime.fromtimestamp(item["EventTime"], timezone.utc)}
            for item in reply["Events"]
        ]
        told = model_faults({**reply, "Events": typed}, _operation().output_shape)
        if told:
            self.faults.append(told)
        return 200, reply


@contextmanager
def serving(api: CloudTrailApi) -> Iterator[str]:
    """Its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, reply = api.answer(self.headers.get("X-Amz-Target", ""), body)
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
