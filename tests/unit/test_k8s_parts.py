# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Kubernetes counts, and what its answers mean: pure."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Denied,
    KeyturnError,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_errors import answered
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_inline import shown_of
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_notes import (
    LAST_APPLIED,
    managers,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_settings import (
    OPTIONS,
    Login,
    Settings,
    settings_of,
    settings_of_task,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference

SECRET = "s3cr3t-of-a-webhook"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    (tmp_path / ".kube").mkdir()
    return tmp_path


def of_reference(home: Path, ending: str = "", **environ: str) -> Settings:
    reference = parse_reference(f"ref+k8s://v1/Secret/ns/name{ending}", "x")
    return settings_of(reference, Context(environ={"HOME": str(home), **environ}), "x")


def of_task(home: Path, environ: dict[str, str], **params: Any) -> Settings:
    defaults = {name: option.get("default") for name, option in OPTIONS.items()}
    return settings_of_task(
        {**defaults, **params}, Context(environ={"HOME": str(home), **environ}), "x"
    )


def test_the_order_of_kubeconfigs(home: Path) -> None:
    environ = {}
    (home / ".kube" / "config").touch()
    assert of_reference(home).files == str(home / ".kube" / "config")
    environ["KUBECONFIG"] = str(home / "a")
    assert of_reference(home, **environ).files == str(home / "a")
    environ["K8S_AUTH_KUBECONFIG"] = str(home / "b")
    environ["K8S_AUTH_CONTEXT"] = "staging"
    found = of_reference(home, **environ)
    assert (found.files, found.context) == (str(home / "b"), "staging")
    assert of_reference(home, "?kubeContext=prod", **environ).context == "prod"
    # A context of one file says nothing of another.
    found = of_reference(home, f"?kubeConfigPath={home}/c", **environ)
    assert (found.files, found.context) == (str(home / "c"), None)
    found = of_task(home, environ, kubeconfig=str(home / "c"), context="dev")
    assert (found.files, found.context) == (str(home / "c"), "dev")
    found = of_task(home, environ, kubeconfig=str(home / "c"))
    assert (found.files, found.context) == (str(home / "c"), None)


INLINE = {
    "apiVersion": "v1",
    "current-context": "prod",
    "clusters": [{"name": "c", "cluster": {"server": "https://h:6443"}}],
    "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u", "namespace": "app"}}],
    "users": [{"name": "u", "user": {"token": SECRET, "username": "both", "password": "both"}}],
}


def test_a_tasks_kubeconfig_may_be_its_content(home: Path) -> None:
    environ = {"KUBECONFIG": str(home / "a"), "K8S_AUTH_CONTEXT": "staging"}
    text = home / "text"
    text.write_text(yaml.safe_dump(INLINE))
    text.chmod(0o600)
    forms = (INLINE, json.dumps(INLINE), yaml.safe_dump(INLINE), f"ref+file://{text}")
    for given in forms:
        found = of_task(home, environ, kubeconfig=given)
        assert (found.files, found.context, found.in_pod) == ("", None, False)
        assert found.inline is not None
        assert json.loads(found.inline.reveal()) == INLINE
        assert SECRET not in repr(found)
    assert of_task(home, environ, kubeconfig=INLINE, context="dev").context == "dev"
    whole = of_task(home, environ, kubeconfig=INLINE, host="https://h", api_key="k")
    assert whole.inline is None
    with pytest.raises(BadInput, match="takes no 'kubeconfig'"):
        of_task(home, environ, kubeconfig=INLINE, in_cluster=True)


@pytest.mark.parametrize(
    "given", [[SECRET], f"{{{SECRET}", f"{SECRET}\n{SECRET}", f"a: [{SECRET}\n", 7]
)
def test_what_is_no_kubeconfig_is_not_shown(home: Path, given: Any) -> None:
    with pytest.raises(BadInput, match="as a mapping, or a reference") as caught:
        of_task(home, {}, kubeconfig=given)
    assert SECRET not in caught.value.message


def test_a_reference_to_no_kubeconfig_says_nothing_of_the_secret(home: Path) -> None:
    with pytest.raises(Denied, match="kubeconfig"):
        of_task(home, {}, kubeconfig=f"ref+file://{home}/gone")


def test_of_a_kubeconfig_names_and_paths_may_be_shown() -> None:
    assert shown_of("/etc/kubeconfig") == {"/etc/kubeconfig"}
    names = {"v1", "prod", "c", "u", "app", "https://h:6443"}
    assert shown_of(INLINE) == names
    assert shown_of(INLINE, {"mode": "prod"}, "c") == names - {"prod", "c"}
    for given in (None, json.dumps(INLINE), "ref+file:///x"):
        assert shown_of(given) == set()


ENCODED = base64.b64encode(json.dumps(INLINE).encode()).decode()


@pytest.mark.parametrize(
    "given",
    [
        ENCODED,
        f"\ufeff{json.dumps(INLINE)}",
        f"--- {json.dumps(INLINE)}",
        f"[{json.dumps(INLINE)}]",
    ],
    ids=["base64", "with a mark of its order", "a document", "a list"],
)
def test_a_text_that_is_no_path_is_never_shown(home: Path, given: str) -> None:
    assert shown_of(given) == set()
    for environ, params in (({}, {"kubeconfig": given}), ({"KUBECONFIG": given}, {})):
        with pytest.raises(BadInput) as caught:
            of_task(home, environ, **params)
        assert "not shown" in caught.value.message or "mapping" in caught.value.message
        assert not any(part in caught.value.message for part in (given, given[:20], SECRET))


@pytest.mark.parametrize(
    "harm",
    [
        {"clusters": [{"cluster": {"server": f"https://admin:{SECRET}@127.0.0.1:1"}}]},
        {"clusters": [{"cluster": {"server": f"https://127.0.0.1:1/?token={SECRET}"}}]},
        {"users": [{"user": {"exec": {"command": f"/usr/bin/get --password={SECRET}"}}}]},
        {"users": [{"user": {"client-key": SECRET}}]},
        {"users": [{"user": {"tokenFile": SECRET}}]},
        {"extensions": [{"extension": {"name": SECRET}}]},
        {"users": [{"user": {"auth-provider": {"config": {"name": SECRET}}}}]},
        {"contexts": [{"name": f"a name with {SECRET}"}]},
    ],
    ids=str,
)
def test_a_secret_in_a_public_place_of_a_kubeconfig_is_not_shown(harm: dict[str, Any]) -> None:
    assert not any(SECRET in text for text in shown_of({**INLINE, **harm}))


def test_a_password_that_yaml_reads_as_a_number_hides_its_likes() -> None:
    assert "7739201" not in shown_of(
        {"users": [{"name": "7739201", "user": {"password": 7739201}}]}
    )


def test_a_host_with_a_login_in_it_is_refused(home: Path) -> None:
    with pytest.raises(BadInput, match="without a user and a password") as caught:
        of_task(home, {}, host=f"https://u:{SECRET}@h", api_key="k")
    assert SECRET not in caught.value.message


def test_a_whole_login_needs_no_kubeconfig(home: Path) -> None:
    environ = {"K8S_AUTH_HOST": "https://h/", "K8S_AUTH_API_KEY": "k", "K8S_AUTH_VERIFY_SSL": "No"}
    found = of_reference(home, **environ)
    assert (found.files, found.in_pod, found.login.host) == ("", False, "https://h")
    assert found.login.validate_certs is False
    assert "'k'" not in repr(found.login)
    found = of_task(home, environ, host="https://other", validate_certs=True)
    assert (found.login.host, found.login.validate_certs) == ("https://other", True)
    found = of_task(home, {}, host="https://h", client_cert="/c", client_key="/k")
    assert found.login.complete
    with pytest.raises(BadInput, match="no Kubernetes cluster is named"):
        of_task(home, {}, host="https://h")


def test_the_environments_whole_login_comes_before_a_tasks_kubeconfig(home: Path) -> None:
    environ = {"K8S_AUTH_HOST": "https://h", "K8S_AUTH_API_KEY": "k"}
    found = of_task(home, environ, kubeconfig=str(home / "a"))
    assert (found.files, found.login.host) == ("", "https://h")
    found = of_task(home, dict.fromkeys(environ, ""), kubeconfig=str(home / "a"))
    assert (found.files, found.login) == (str(home / "a"), Login())


def test_the_environment_moves_no_pod_to_another_server(home: Path) -> None:
    variables = ("HOST", "API_KEY", "SSL_CA_CERT", "CERT_FILE", "KEY_FILE", "VERIFY_SSL", "PROXY")
    names = (*variables, "NO_PROXY", "IMPERSONATE_USER", "IMPERSONATE_GROUPS")
    environ = {f"K8S_AUTH_{name}": "x" for name in names}
    for found in (
        of_task(home, environ, in_cluster=True),
        of_reference(home, "?inCluster", **environ),
    ):
        assert (found.in_pod, found.login) == (True, Login())
    found = of_task(home, environ, in_cluster=True, impersonate_user="somebody")
    assert found.login == Login(impersonate_user="somebody")


def test_groups_need_a_user(home: Path) -> None:
    groups = {"K8S_AUTH_IMPERSONATE_GROUPS": "a, b"}
    kubeconfig = {"KUBECONFIG": str(home / "a")}
    for call in (
        lambda: of_task(home, kubeconfig, impersonate_groups=["a"]),
        lambda: of_task(home, {**kubeconfig, **groups}),
        lambda: of_reference(home, **kubeconfig, **groups),
    ):
        with pytest.raises(BadInput, match=r"'impersonate_groups'.* needs a user"):
            call()
    found = of_task(home, {**kubeconfig, **groups}, impersonate_user="u")
    assert (found.login.impersonate_user, found.login.impersonate_groups) == ("u", ("a", "b"))


def test_the_deadline(home: Path) -> None:
    environ = {"KUBECONFIG": str(home / "a")}
    assert of_reference(home, **environ).deadline == 20
    assert of_reference(home, KEYTURN_K8S_TIMEOUT="1m", **environ).deadline == 60
    assert of_task(home, {**environ, "KEYTURN_K8S_TIMEOUT": "1m"}, timeout="5s").deadline == 5
    with pytest.raises(BadInput, match="x: KEYTURN_K8S_TIMEOUT: 'soon'"):
        of_reference(home, KEYTURN_K8S_TIMEOUT="soon", **environ)
    with pytest.raises(BadInput, match="x: timeout: 'soon'"):
        of_task(home, environ, timeout="soon")


def status(reason: str, message: str = SECRET, **details: str) -> dict[str, Any]:
    """What Kubernetes says of an error."""
    return {"kind": "Status", "reason": reason, "message": message, "details": details}


@pytest.mark.parametrize(
    ("code", "body", "kind", "problem"),
    [
        (404, status("NotFound", kind="secrets"), Absent, "no such thing"),
        (404, status("NotFound", kind="namespaces"), Absent, "no such namespace"),
        (404, {"message": SECRET}, Unreachable, "not Kubernetes's"),
        (409, status("AlreadyExists"), Conflict, "made meanwhile"),
        (409, status("Conflict"), Conflict, "wrote there first"),
        (409, None, Unreachable, "not Kubernetes's"),
        (401, status("Unauthorized"), Denied, "log in again"),
        (403, status("Forbidden"), Denied, "allow the verb update"),
        (403, status("Forbidden", f"{SECRET} is being terminated"), Refused, "being deleted"),
        (403, status("Forbidden", f"exceeded quota: {SECRET}"), Refused, "a quota"),
        (400, status("BadRequest", f"webhook denied the request: {SECRET}"), Refused, "webhook"),
        (403, {"message": "exceeded quota"}, Unreachable, "not Kubernetes's (HTTP 403)"),
        (403, {"kind": "Status", "details": ["x"]}, Unreachable, "not Kubernetes's"),
        (422, status("Invalid"), BadInput, "as invalid"),
        *((code, None, Unreachable, "not Kubernetes's") for code in (400, 401, 403, 422)),
        (429, status("TooManyRequests"), Unreachable, "here: Kubernetes limits the rate"),
        (429, None, Unreachable, "Kubernetes, or what stands before it, limits the rate"),
        (500, status("InternalError"), Unreachable, "HTTP 500"),
        (302, None, Unreachable, "not Kubernetes's"),
    ],
)
def test_what_an_answer_means(code: int, body: Any, kind: type[KeyturnError], problem: str) -> None:
    error = answered(code, body, "here", "update secrets", "update")
    assert error.__class__ is kind
    assert problem in error.message
    assert error.message.startswith("here: ")
    assert SECRET not in error.message


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"annotations": {LAST_APPLIED: "no JSON"}},
        {"annotations": {LAST_APPLIED: "[]"}},
        {"annotations": {LAST_APPLIED: '{"data": {"other": "x"}}'}},
        {"ownerReferences": [{"kind": "ConfigMap", "name": "x"}]},
        {"managedFields": [{"manager": "kubectl", "operation": "Update"}]},
    ],
)
def test_nobody_else_manages_it(metadata: dict[str, Any]) -> None:
    assert managers({"metadata": metadata}, ["key"]) == ()
