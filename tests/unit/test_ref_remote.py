# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""References to AWS and Kubernetes, as far as no server is needed: parameters, libraries, the environment, errors."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import warnings
from pathlib import Path

import botocore.exceptions as told
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws_errors import explain
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    MissingLibrary,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._lent_environ import lent_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._ref_aws import _nested
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    SCHEMES,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import SOURCES, resolve
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import open_store

OPTION = "keyturn_issuer.login.admin"


def test_every_scheme_can_be_read() -> None:
    assert set(SOURCES) == set(SCHEMES)


@pytest.mark.parametrize("scheme", ["envsubst://$NAME"])
def test_where_nothing_can_be_written_the_others_are_named(scheme: str) -> None:
    name = scheme.partition(":")[0]
    with pytest.raises(BadInput) as caught:
        parse_sinks([{"ref": f"ref+{scheme}#/key", "template": "{current.password}"}])
    assert (
        f"cannot be written to '{name}'; expected one of ref+awssecrets://, ref+awsssm://, ref+file://, ref+k8s://, ref+vault://"
        in str(caught.value)
    )
    with pytest.raises(BadInput) as caught:
        open_store(parse_reference(f"ref+{scheme}", OPTION), Context(environ={}), OPTION)
    assert (
        f"'{name}' is no store in this version; expected ref+awssecrets or ref+awsssm or ref+file or ref+k8s or ref+vault"
        in str(caught.value)
    )


# --- libraries


@pytest.mark.parametrize(
    ("text", "library"),
    [
        ("ref+awsssm://a/b", "boto3"),
        ("ref+awssecrets://a", "boto3"),
        ("ref+k8s://v1/Secret/ns/name/key", "kubernetes"),
    ],
)
def test_the_library_that_is_missing_is_named(
    text: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / "kubeconfig").write_text("")
    context = Context(environ={"KUBECONFIG": str(tmp_path / "kubeconfig")})
    with pytest.raises(MissingLibrary, match=f"{OPTION}: .*pip install {library}"):
        resolve(text, context, OPTION)


# --- the environment


def test_a_library_sees_the_tasks_environment_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEYTURN_OURS", "ours")
    monkeypatch.setenv("KEYTURN_BOTH", "ours")
    monkeypatch.delenv("KEYTURN_THEIRS", raising=False)
    before = dict(os.environ)
    with lent_environ({"KEYTURN_BOTH": "theirs", "KEYTURN_THEIRS": "theirs"}):
        assert dict(os.environ) == {"KEYTURN_BOTH": "theirs", "KEYTURN_THEIRS": "theirs"}
        os.environ["KEYTURN_LEFT"] = "by the library"
    assert dict(os.environ) == before


def test_the_environment_comes_back_after_an_error() -> None:
    before = dict(os.environ)
    with pytest.raises(OSError, match="lost"), lent_environ({"KEYTURN_THEIRS": "theirs"}):
        raise OSError("lost")
    assert dict(os.environ) == before


def test_a_library_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    value = secrets.token_urlsafe(12)
    with lent_environ(os.environ), warnings.catch_warnings(record=True) as shown:
        logging.getLogger("botocore.parsers").debug("Response body: %s", value)
        logging.error("exec: process returned 1. %s", value)
        warnings.warn(value, stacklevel=1)
    assert caplog.records == []
    logging.getLogger("botocore").debug("back")
    assert [record.message for record in caplog.records] == ["back"]
    assert all(value not in str(item.message) for item in shown)


# --- parameters


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ref+awsssm://a?mode=all#/b", "'mode' must be singleparam"),
        ("ref+awsssm://a?version=0", "'version' must be a number from 1 on"),
        ("ref+awsssm://a?version=latest", "'version' must be a number from 1 on"),
        ("ref+awsssm://a?version=1#/b", "a path of parameters has no version"),
        ("ref+awsssm://a?recursive=true", "'recursive' is for keys below a path"),
        ("ref+awsssm://a?recursive=yes#/b", "'recursive' must be true or false"),
        ("ref+k8s://v1/Secret/ns/n/k?inCluster=yes", "'inCluster' must be true or false"),
        ("ref+k8s://v1/Secret/ns/n/k?inCluster&kubeConfigPath=/x", "takes no kubeconfig"),
    ],
)
def test_parameters_that_make_no_sense(text: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        resolve(text, Context(environ={}), OPTION)
    assert caught.value.message.startswith(f"{OPTION}: ref+")
    assert problem in caught.value.message


def test_names_below_a_path() -> None:
    flat = {"b": "1", "a/c": "2", "a": "3", "a/d/e": "4"}
    assert _nested(flat) == {"a": {"c": "2", "d": {"e": "4"}}, "b": "1"}


# --- errors of AWS


def answer(code: str, message: str = "", status: int = 400) -> told.ClientError:
    response = {"Error": {"Code": code, "Message": message}}
    metadata = {"ResponseMetadata": {"HTTPStatusCode": status}}
    return told.ClientError({**response, **metadata}, "GetParameter")


PAGES = (400, 401, 403, 404, 422)
"""Statuses that AWS gives with the name of an error. Where there is none, boto3 has the number for it."""


@pytest.mark.parametrize(
    ("error", "kind", "problem"),
    [
        (answer("ParameterNotFound"), Absent, "no such thing"),
        (answer("ParameterVersionNotFound"), Absent, "no such version"),
        (answer("ResourceNotFoundException"), Absent, "no such thing"),
        (answer("InvalidRequestException", "it was deleted"), Absent, "marked for deletion"),
        (answer("InvalidRequestException"), BadInput, "as invalid"),
        (answer("AccessDenied"), Denied, "denies this identity ssm:GetParameter"),
        (answer("InvalidClientTokenId", status=403), Denied, "does not accept the credentials"),
        (answer("ExpiredToken", status=403), Denied, "have expired"),
        (answer("RequestExpired"), Denied, "clock"),
        (answer("DecryptionFailure"), Denied, "cannot decrypt"),
        (answer("Unheard", status=401), Denied, "denies"),
        *((answer(str(code), status=code), Unreachable, "not AWS's") for code in PAGES),
        (answer("Unheard", status=429), Unreachable, "AWS limits the rate"),
        (answer("429", status=429), Unreachable, "AWS, or what stands before it, limits the rate"),
        (answer("503", status=503), Unreachable, "a trouble of its own"),
        (answer("Unheard", status=404), Unreachable, "not AWS's"),
        (answer("Unheard", status=503), Unreachable, "a trouble of its own"),
        (told.NoCredentialsError(), Denied, "there are no credentials"),
        (told.CredentialRetrievalError(provider="x", error_msg="x"), Denied, "get-caller-identity"),
        (told.SSOTokenLoadError(profile_name="x", error_msg="x"), Denied, "have expired"),
        (told.NoRegionError(), BadInput, "set AWS_REGION"),
        (told.SSLError(endpoint_url="x", error="x"), Unreachable, "TLS certificate"),
        (
            told.ConnectTimeoutError(endpoint_url="x"),
            Unreachable,
            "no connection: it did not come about in time",
        ),
        (told.ReadTimeoutError(endpoint_url="x"), Unreachable, "no answer in time"),
        (told.ProxyConnectionError(proxy_url="x"), Unreachable, "HTTPS_PROXY"),
        (
            told.ChecksumError(checksum_type="x", expected_checksum=1, actual_checksum=2),
            Unreachable,
            "ChecksumError",
        ),
        (RuntimeError("x"), Unreachable, "no usable answer (RuntimeError)"),
    ],
)
def test_what_errors_of_aws_mean(error: Exception, kind: type[KeyturnError], problem: str) -> None:
    found = explain(error, f"{OPTION}: AWS parameter /a", "ssm:GetParameter")
    assert found.__class__ is kind
    assert found.message.startswith(f"{OPTION}: AWS parameter /a: ")
    assert problem in found.message


def test_an_error_that_is_explained_already_stays() -> None:
    error = Denied("denied")
    assert explain(error, "where", "what") is error
