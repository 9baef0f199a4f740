# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error of AWS means.

The codes are those that AWS documents: the common errors of its query and JSON protocols, and those of GetParameter,
GetParametersByPath, PutParameter, LabelParameterVersion, GetSecretValue, PutSecretValue, UpdateSecretVersionStage, CreateSecret and
AssumeRole. Nothing of an error's text is passed on: it quotes account numbers, names
of users and, when a request is malformed, what was sent.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, Callable, List, Mapping, Tuple, Type

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_told import wished_seconds
from ansible_collections.keyturn.runbooks.plugins.module_utils._unconnected import unconnected

Meaning = Tuple[Type[KeyturnError], str]

THROTTLED, TROUBLED, UNSENT = "throttled", "troubled", "unsent"
"""Why the same call may succeed in a moment: too many at once, a trouble of AWS's or on the way, or it never got there."""

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
    (
        "AWS denies this identity {action}; allow it in the policy, and on a KMS key of your own also kms:Decrypt to read, kms:Encrypt "
        "or kms:GenerateDataKey to write"
    ),
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
    "AWS does not accept the signature: the secret access key is wrong, or this machine's clock is; correct the key, or set the clock",
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
    "AWS limits the rate of requests and still did at the deadline; run again later, with less forks, or a longer KEYTURN_AWS_TIMEOUT",
)
_LIMITED: Meaning = (
    Unreachable,
    (
        "AWS, or what stands before it, limits the rate of requests and still did at the deadline; run again later, with less forks, or a "
        "longer KEYTURN_AWS_TIMEOUT"
    ),
)
_TAKEN: Meaning = (Conflict, "somebody else made it first; nothing was written. Run again")
_BUSY: Meaning = (
    Conflict,
    "somebody else changes it at this moment, and AWS takes one change at a time; nothing was written. Run again",
)
_TOO_MANY: Meaning = (
    Refused,
    "AWS's quota for this kind of thing is used up; remove what is not needed, or ask AWS for more",
)
_VERSIONS_FULL: Meaning = (
    Refused,
    "it has 100 versions, and the oldest has a label, so AWS does not drop it; move that label to a newer version, or take it off",
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

# As botocore's standard mode has them, beside HTTP's own 429.
_THROTTLING = (
    "BandwidthLimitExceeded",
    "LimitExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
)
_ONE_AT_A_TIME = "TooManyUpdates"

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
        "EncryptionFailure": _KMS,
        **dict.fromkeys(_THROTTLING, _THROTTLED),
        "TooManyUpdates": _BUSY,
        "ParameterAlreadyExists": _TAKEN,
        "ResourceExistsException": _TAKEN,
        "ParameterMaxVersionLimitExceeded": _VERSIONS_FULL,
        "ParameterLimitExceeded": _TOO_MANY,
        "LimitExceededException": _TOO_MANY,
        "ParameterVersionLabelLimitExceeded": _TOO_MANY,
        "TooManyTagsError": _TOO_MANY,
        "UnsupportedParameterType": _INVALID,
        "HierarchyLevelLimitExceededException": _INVALID,
        "HierarchyTypeMismatchException": _INVALID,
        "InvalidAllowedPatternException": _INVALID,
        "ValidationException": _INVALID,
        "ValidationError": _INVALID,
        "ParameterPatternMismatchException": _INVALID,
        "InvalidParameterException": _INVALID,
        "InvalidRequestException": _INVALID,
        "InvalidFilterValue": _INVALID,
    }
)
_UNHEARD: Mapping[int, Meaning] = MappingProxyType(
    {400: _INVALID, 401: _FORBIDDEN, 403: _FORBIDDEN, 429: _THROTTLED}
)
"""What an error means whose name is not known here, by its status."""
_UNNAMED: Mapping[int, Meaning] = MappingProxyType({429: _LIMITED})
"""The same for an answer without a name, which anything may have given."""

# An answer that lacks what AWS's has, or has it in another shape.
_MISSHAPEN = (
    "ResponseParserError",
    "LookupError",
    "TypeError",
    "AttributeError",
    "RecursionError",
    "StrangeAnswer",
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
            "AWS's configuration here has no such profile; correct the option 'profile', ?profile= or AWS_PROFILE, or see AWS_CONFIG_FILE",
        ),
        "NoRegionError": (
            BadInput,
            "the region of AWS is not known; set AWS_REGION or the option 'region', or add ?region= to the reference",
        ),
        "InvalidRegionError": (
            BadInput,
            "that is no name of a region of AWS; correct AWS_REGION, the option 'region' or ?region=",
        ),
        "ConfigParseError": (BadInput, "AWS's configuration file here cannot be read; mend it"),
        "ParamValidationError": _INVALID,
        "SSLError": (
            Unreachable,
            "the TLS certificate of the endpoint was not accepted; set AWS_CA_BUNDLE to its CA, and check this machine's clock",
        ),
        "ReadTimeoutError": (
            Unreachable,
            "no answer in time; run again, or check the network and the proxy",
        ),
        "ConnectionClosedError": (
            Unreachable,
            "the connection was closed without an answer; run again",
        ),
        **dict.fromkeys(_MISSHAPEN, _STRANGE),
        "ValueError": (
            BadInput,
            "the endpoint must be a URL such as https://ssm.eu-west-1.amazonaws.com; correct endpoint_url or AWS_ENDPOINT_URL",
        ),
    }
)


# What says that no byte of the request can have reached AWS.
_NEVER_SENT = frozenset({"ConnectTimeoutError", "EndpointConnectionError", "ProxyConnectionError"})
_LOST = frozenset({"HTTPClientError", *_MISSHAPEN})
_HOPELESS = frozenset({"SSLError"})
_LONGEST_WISH = 60.0
_CODE = re.compile(r"[A-Za-z.]{1,64}\Z")
_CODE_IN_XML = re.compile(r"<Code>([A-Za-z.]{1,64})</Code>")


class StrangeAnswer(Exception):
    """An answer that is not AWS's, or to another question."""


def heard(function: Callable[[], Any]) -> Any:
    """What a call gives.

    :raises StrangeAnswer: for an answer with a number or a text that is none.
    :raises Exception: as boto3 has it.
    """
    try:
        return function()
    except ValueError as error:
        ours = isinstance(error, UnicodeEncodeError)
        if ours or "BotoCoreError" in _names(error):
            raise
        raise StrangeAnswer from error


def text_in(item: Mapping[str, Any], name: str) -> str:
    """A text of an answer.

    :raises StrangeAnswer: when it is none.
    """
    found = item[name]
    if not isinstance(found, str):
        raise StrangeAnswer
    return found


def _names(error: BaseException) -> List[str]:
    return [kind.__name__ for kind in type(error).__mro__]


def code_of(error: Any) -> str:
    """What AWS calls its error, in JSON or XML; empty when this is none of AWS's own, or nothing that AWS would call one."""
    if "ClientError" not in _names(error):
        return ""
    told = error.response.get("Error", {})
    code = str(told.get("Code", "")).rpartition("#")[2].partition(":")[0]
    if _CODE.match(code):
        return code
    # A body that is no JSON is boto3's message.
    in_xml = _CODE_IN_XML.search(str(told.get("Message", "")))
    return in_xml.group(1) if in_xml else ""


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 500)


def passing(error: Exception, writes: bool) -> str:
    """Why the same call may succeed in a moment, and could not have taken effect if it writes; empty where it is not so."""
    names = set(_names(error))
    if "ClientError" in names:
        code, status = code_of(error), _status(error)
        if code in _THROTTLING or code == _ONE_AT_A_TIME or status == 429:
            return THROTTLED
        return TROUBLED if status >= 500 and not writes else ""
    if names & _HOPELESS:
        return ""
    if names & _NEVER_SENT:
        return UNSENT
    return TROUBLED if names & _LOST and not writes else ""


def may_be_done(error: Exception) -> bool:
    """Whether a write could have taken effect although its answer did not come."""
    names = set(_names(error))
    if "ClientError" in names:
        status = _status(error)
        return status >= 500 or (status != 429 and not code_of(error))
    return bool(names & _LOST) and not names & (_NEVER_SENT | _HOPELESS)


def wished_pause(error: Any) -> float:
    """The seconds that the service asks to wait (Retry-After, RFC 9110, 10.2.3); 0 when it does not."""
    if "ClientError" not in _names(error):
        return 0.0
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders") or {}
    return min(wished_seconds(headers.get("retry-after")), _LONGEST_WISH)


def _answered(error: Any) -> Meaning:
    """What an answer with an error means.

    AWS names each of its errors. Of what has no name, such as a proxy's page, boto3 tells the number of its status, or nothing.
    """
    code, status = code_of(error), _status(error)
    told = str(error.response.get("Error", {}).get("Message", ""))
    if code == "InvalidRequestException" and "delet" in told:
        return _DELETED
    if code in _CODES:
        return _CODES[code]
    if status >= 500:
        return _TROUBLE
    return _UNHEARD.get(status, _STRANGE) if code else _UNNAMED.get(status, _STRANGE)


def too_fast(where: str) -> KeyturnError:
    """The error for a call that was not made, because AWS limits the rate of calls and its turn would come too late."""
    kind, text = _THROTTLED
    return kind(f"{where}: {text}")


def explain(error: Exception, where: str, action: str) -> KeyturnError:
    """The error of this collection for one of boto3; that itself when it is one already.

    :param where: how messages name what was asked for.
    :param action: the permission that it needs.
    :return: with AWS's own name of the error in ``details["code"]``, where there is one.
    """
    if isinstance(error, KeyturnError):
        return error
    names = _names(error)
    code = code_of(error)
    if "ClientError" in names:
        kind, text = _answered(error)
    else:
        known = (name for name in names if name in _FAILURES)
        kind, text = _FAILURES.get(next(known, ""), (Unreachable, f"no usable answer ({names[0]})"))
    if set(names) & _NEVER_SENT:
        text = f"no connection{unconnected(error, 'the endpoint of this region')}"
    return kind(f"{where}: {text.format(action=action)}", **({"code": code} if code else {}))
