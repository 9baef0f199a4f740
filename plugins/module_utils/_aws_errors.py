# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error of AWS means.

The codes are those that AWS documents: the common errors of its query and JSON protocols, and those of GetParameter,
GetParametersByPath, GetSecretValue and AssumeRole. Nothing of an error's text is passed on: it quotes account numbers, names
of users and, when a request is malformed, what was sent.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Mapping, Tuple, Type

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    Unreachable,
)

Meaning = Tuple[Type[KeyturnError], str]

_ABSENT: Meaning = (
    Absent,
    "AWS has no such thing in this account and region; check name, region and account",
)
_NO_VERSION: Meaning = (Absent, "it is there, and has no such version")
_DELETED: Meaning = (
    Absent,
    "it is marked for deletion; 'aws secretsmanager restore-secret' brings it back",
)
_FORBIDDEN: Meaning = (
    Denied,
    "AWS denies this identity {action}; allow that on it in the policy, and kms:Decrypt on the key that it is encrypted with",
)
_UNKNOWN_KEY: Meaning = (
    Denied,
    "AWS does not accept the credentials: the access key is wrong, inactive or deleted, or of another partition; use a valid one",
)
_EXPIRED: Meaning = (
    Denied,
    "the credentials for AWS have expired; log in again (aws sso login, or a new session)",
)
_SIGNATURE: Meaning = (
    Denied,
    "AWS does not accept the signature: the secret access key is wrong, or this machine's clock is",
)
_NO_IDENTITY: Meaning = (
    Denied,
    "there are no credentials for AWS: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile, where this task runs",
)
_KMS: Meaning = (
    Denied,
    "AWS cannot decrypt it: the KMS key is disabled, deleted or not for this identity; see the key's state and its policy",
)
_THROTTLED: Meaning = (
    Unreachable,
    "AWS limits the rate of requests and still did after several tries; run again later or with less forks",
)
_INVALID: Meaning = (
    BadInput,
    "AWS refuses the name, the version or the role as invalid; see how AWS writes it",
)
_STRANGE: Meaning = (
    Unreachable,
    "an answer that is not AWS's; check AWS_ENDPOINT_URL and what stands between",
)
_TROUBLE: Meaning = (
    Unreachable,
    "AWS has a trouble of its own; see its service health, then run again",
)

_CODES: Mapping[str, Meaning] = MappingProxyType(
    {
        "ParameterNotFound": _ABSENT,
        "ParameterVersionNotFound": _NO_VERSION,
        "ResourceNotFoundException": _ABSENT,
        "AccessDenied": _FORBIDDEN,
        "AccessDeniedException": _FORBIDDEN,
        "UnauthorizedOperation": _FORBIDDEN,
        "NotAuthorized": _FORBIDDEN,
        "AuthFailure": _UNKNOWN_KEY,
        "UnrecognizedClientException": _UNKNOWN_KEY,
        "InvalidClientTokenId": _UNKNOWN_KEY,
        "InvalidAccessKeyId": _UNKNOWN_KEY,
        "OptInRequired": _UNKNOWN_KEY,
        "MissingAuthenticationToken": _UNKNOWN_KEY,
        "MissingAuthenticationTokenException": _UNKNOWN_KEY,
        "ExpiredToken": _EXPIRED,
        "ExpiredTokenException": _EXPIRED,
        "RequestExpired": _SIGNATURE,
        "SignatureDoesNotMatch": _SIGNATURE,
        "InvalidSignatureException": _SIGNATURE,
        "IncompleteSignature": _SIGNATURE,
        "InvalidKeyId": _KMS,
        "DecryptionFailure": _KMS,
        "ThrottlingException": _THROTTLED,
        "Throttling": _THROTTLED,
        "TooManyRequestsException": _THROTTLED,
        "RequestLimitExceeded": _THROTTLED,
        "ValidationException": _INVALID,
        "ValidationError": _INVALID,
        "ParameterPatternMismatchException": _INVALID,
        "InvalidParameterException": _INVALID,
        "InvalidRequestException": _INVALID,
        "InvalidFilterValue": _INVALID,
    }
)

# By the name of the exception: the library is not imported before it is used.
_FAILURES: Mapping[str, Meaning] = MappingProxyType(
    {
        "NoCredentialsError": _NO_IDENTITY,
        "PartialCredentialsError": (
            Denied,
            "the credentials for AWS are incomplete: access key and secret access key belong together; set both",
        ),
        "CredentialRetrievalError": (
            Denied,
            "the program or service that gives the credentials for AWS did not; run 'aws sts get-caller-identity' here",
        ),
        "TokenRetrievalError": _EXPIRED,
        "SSOTokenLoadError": _EXPIRED,
        "UnauthorizedSSOTokenError": _EXPIRED,
        "ProfileNotFound": (
            BadInput,
            "there is no such profile in AWS's configuration here; correct ?profile= or AWS_PROFILE, or see AWS_CONFIG_FILE",
        ),
        "NoRegionError": (
            BadInput,
            "the region of AWS is not known; set AWS_REGION, or add ?region= to the reference",
        ),
        "InvalidRegionError": (
            BadInput,
            "that is no name of a region of AWS; correct AWS_REGION or ?region=",
        ),
        "ConfigParseError": (BadInput, "AWS's configuration file here cannot be read; mend it"),
        "ParamValidationError": _INVALID,
        "SSLError": (
            Unreachable,
            "the TLS certificate of the endpoint was not accepted; set AWS_CA_BUNDLE to its CA, and check this machine's clock",
        ),
        "ConnectTimeoutError": (
            Unreachable,
            "no connection in time; check the network, the proxy and the endpoint",
        ),
        "ReadTimeoutError": (
            Unreachable,
            "no answer in time; run again, or check the network and the proxy",
        ),
        "ProxyConnectionError": (Unreachable, "no connection to the proxy; check HTTPS_PROXY"),
        "EndpointConnectionError": (
            Unreachable,
            "no connection; check the region, the endpoint and the network",
        ),
        "ConnectionClosedError": (
            Unreachable,
            "the connection was closed without an answer; run again",
        ),
        "ResponseParserError": _STRANGE,
        "KeyError": _STRANGE,
        "ValueError": (
            BadInput,
            "the endpoint must be a URL such as https://ssm.eu-west-1.amazonaws.com",
        ),
    }
)


def _answered(error: Any) -> Meaning:
    """What AWS's own answer means."""
    told = error.response.get("Error", {})
    code = str(told.get("Code", "")).rpartition("#")[2].partition(":")[0]
    if code == "InvalidRequestException" and "delet" in str(told.get("Message", "")):
        return _DELETED
    if code in _CODES:
        return _CODES[code]
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 500)
    if status in (401, 403):
        return _FORBIDDEN
    if status == 429:
        return _THROTTLED
    if status >= 500:
        return _TROUBLE
    return _INVALID if status == 400 else _STRANGE


def explain(error: Exception, where: str, action: str) -> KeyturnError:
    """The error of this collection for one of boto3; that itself when it is one already.

    :param where: how messages name what was asked for.
    :param action: the permission that it needs.
    """
    if isinstance(error, KeyturnError):
        return error
    names = [kind.__name__ for kind in type(error).__mro__]
    if "ClientError" in names:
        kind, text = _answered(error)
    else:
        known = (name for name in names if name in _FAILURES)
        kind, text = _FAILURES.get(next(known, ""), (Unreachable, f"no usable answer ({names[0]})"))
    return kind(f"{where}: {text.format(action=action)}")
