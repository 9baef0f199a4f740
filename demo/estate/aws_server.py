# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that is AWS in tests: moto's server on the port of 127.0.0.1 that its argument names.

moto compares every action with the caller's policies. For parameters and secrets it takes each request to be about ``*``, so that no
policy that names its resources would allow anything. Here it is told what a request is about, as AWS's Service Authorization Reference
has it for AWS Systems Manager and AWS Secrets Manager: a parameter, or the path that is listed, by its ARN; each one of several; ``*``
for DescribeParameters; a secret by its ARN with the six characters at the end, or without them where there is none yet.
A parameter that is made with tags needs the right to tag it, too. Rights on KMS keys are not compared.

moto also has a page that shows everything, and commands, such as the one that turns rights off, which need no identity. They are for
the one who started the server: a request for them bears the token that stands in the server's environment. A page in a browser is
never served: neither one of another address (``Origin``), nor one whose name leads here (``Host``).
"""

from __future__ import annotations

import hmac
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from importlib import import_module
from types import MappingProxyType
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple

NAMES = ("Name", "Names", "Path", "ResourceId")
"""What requests to Parameter Store call the parameters that they are about."""

COMMANDS = "moto_api"
SERVED = ("iam", "kms", "secretsmanager", "ssm", "sts", COMMANDS)
"""Of what moto can stand for, as it calls it."""

TOKEN = "KEYTURN_AWS_TOKEN"
"""The variable with what requests for moto's own commands bear in the header ``X-Keyturn-Token``."""

# Any port: a proxy passes the address on that it was asked at, because requests are signed with it.
_HERE = re.compile(r"(127\.0\.0\.1|localhost):[0-9]+", re.ASCII)

_CHECK = "_authenticate_and_authorize_normal_action"


def arns_of_parameters(request: Any) -> list[str]:
    """The parameters that a request is about; ``*`` where it names none."""
    if request._get_action() == "DescribeParameters":
        return ["*"]
    given = [request._get_param(name) for name in NAMES]
    names = [
        name for item in given if item for name in (item if isinstance(item, list) else [item])
    ]
    before = f"arn:aws:ssm:{request.region}:{request.current_account}:parameter/"
    # A name can end in a version or a label.
    plain = (name.removeprefix(before).lstrip("/").partition(":")[0] for name in names)
    return [before + name for name in plain] or ["*"]


def arns_of_secrets(request: Any) -> list[str]:
    """The secret that a request is about; ``*`` where it names none."""
    name = request._get_param("SecretId") or request._get_param("Name")
    held = request.backend.secrets
    if not name:
        return ["*"]
    if name in held:
        return [str(held[name].arn)]
    before = f"arn:aws:secretsmanager:{request.region}:{request.current_account}:secret:"
    return [name if name.startswith("arn:") else before + name]


def _request(**about: Any) -> Any:
    # Imported where rights are compared: it takes as long as all the rest.
    return import_module("moto.iam.access_control").IAMRequest(**about)


def _tagging(**about: Any) -> Any:
    return _request(**{**about, "action": "AddTagsToResource"})


def checks(resources: Callable[[Any], Iterable[str]]) -> Callable[..., None]:
    """What a service does before it serves a request."""

    def check(request: Any, _resource: str = "*") -> None:
        tags = request._get_action() == "PutParameter" and request._get_param("Tags")
        for arn in resources(request):
            request._authenticate_and_authorize_action(_request, arn)
            if tags:
                request._authenticate_and_authorize_action(_tagging, arn)

    return check


SERVICES = MappingProxyType(
    {
        "AmazonSSM": ("moto.ssm.responses", "SimpleSystemManagerResponse", arns_of_parameters),
        "secretsmanager": (
            "moto.secretsmanager.responses",
            "SecretsManagerResponse",
            arns_of_secrets,
        ),
    }
)
"""By what requests begin their X-Amz-Target with: who serves them, and what they are about."""


def refuse(_environ: Any, start_response: Any) -> list[bytes]:
    """Serve nothing, and say no more than that."""
    start_response("403 Forbidden", [("Content-Length", "0"), ("Connection", "close")])
    return []


def for_commands(serve: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Serve only the one who started the server."""
    token = os.environ.get(TOKEN, "")

    def call(environ: Any, start_response: Any) -> Any:
        given = environ.get("HTTP_X_KEYTURN_TOKEN", "").encode("utf-8", "replace")
        known = bool(token) and hmac.compare_digest(given, token.encode())
        return (serve if known else refuse)(environ, start_response)

    return call


def service(name: Any) -> Any:
    """What serves a service, as moto calls it."""
    if name not in SERVED:
        return refuse
    made: Any = create_backend_app(name)
    return for_commands(made) if name == COMMANDS else made


def is_program(environ: Any) -> bool:
    """Whether no page of a browser asks."""
    here = _HERE.fullmatch(environ.get("HTTP_HOST", ""))
    return bool(here) and "HTTP_ORIGIN" not in environ


def application() -> Callable[[Any, Any], list[bytes]]:
    """One request after the other: AWS does one change of a thing at a time, and moto's threads could both find a name free."""
    serve: Any = DomainDispatcherApplication(service)
    one, told = threading.Lock(), set[str]()

    def call(environ: Any, start_response: Any) -> list[bytes]:
        if not is_program(environ):
            return refuse(environ, start_response)
        target = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")[0]
        with one:
            if target in SERVICES and target not in told:
                module, name, resources = SERVICES[target]
                setattr(getattr(import_module(module), name), _CHECK, checks(resources))
                told.add(target)
            return list(serve(environ, start_response))

    return call


class Handler(WSGIRequestHandler):
    """Keeps connections, and does not wait for more before it answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), application(), threaded=True, request_handler=Handler)
