# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Kubernetes, as whom, and how long to wait.

===========  ==============================================================================================
cluster      ``?inCluster`` (the pod that this runs in), ``?kubeConfigPath=``, K8S_AUTH_KUBECONFIG, KUBECONFIG (several
             files are merged, as kubectl does) or ``~/.kube/config``, in this order; without any, that of the pod.
             A task's own may be its content instead of a path (``_k8s_inline``)
context      ``?kubeContext=``; K8S_AUTH_CONTEXT, where the task or the reference names no kubeconfig; else the current one
over these   K8S_AUTH_HOST, _API_KEY, _SSL_CA_CERT, _CERT_FILE, _KEY_FILE, _VERIFY_SSL, _PROXY, _NO_PROXY,
             _IMPERSONATE_USER, _IMPERSONATE_GROUPS: as kubernetes.core reads them. Host with key or certificate needs no
             kubeconfig. They do not count where the reference itself names a cluster, or the task the one of its pod
deadline     KEYTURN_K8S_TIMEOUT: for one question or one write with all its retries; 20 s
===========  ==============================================================================================

The parameters are those that vals has; a task that takes options of its own has them under the names of kubernetes.core, and
they come before the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_inline import (
    inline_kubeconfig,
    named_path,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration

DEADLINE = 20.0
POD_IDENTITY = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_FALSE = ("0", "false", "no", "off")


@dataclass(frozen=True)
class Login:
    """What is said over a kubeconfig; none where nothing is.

    :param impersonate_groups: empty for none.
    """

    host: Optional[str] = None
    api_key: Optional[Secret] = None
    ca_cert: Optional[str] = None
    client_cert: Optional[str] = None
    client_key: Optional[str] = None
    validate_certs: Optional[bool] = None
    proxy: Optional[str] = None
    no_proxy: Optional[str] = None
    impersonate_user: Optional[str] = None
    impersonate_groups: Tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether it needs no kubeconfig beside it."""
        return bool(self.host and (self.api_key or (self.client_cert and self.client_key)))


@dataclass(frozen=True)
class Settings:
    """One cluster and one identity.

    :param in_pod: the cluster of the pod that this runs in.
    :param files: the kubeconfig, or several with ``:`` between; empty for none.
    :param context: the context of the kubeconfig; none for its current one.
    :param deadline: seconds for one question or one write with its retries.
    :param inline: the kubeconfig itself, as JSON, where there is no file of it.
    """

    in_pod: bool
    files: str
    context: Optional[str]
    login: Login
    deadline: float
    inline: Optional[Secret] = None

    def __repr__(self) -> str:
        other = "a kubeconfig" if self.inline else "the cluster of this pod"
        return f"Settings({self.files or self.login.host or other})"


OPTIONS: Mapping[str, Any] = {
    "kubeconfig": {"type": "raw", "no_log": True},
    "context": {"type": "str"},
    "in_cluster": {"type": "bool", "default": False},
    "host": {"type": "str"},
    "api_key": {"type": "str", "no_log": True},
    "ca_cert": {"type": "path", "aliases": ["ssl_ca_cert"]},
    "client_cert": {"type": "path", "aliases": ["cert_file"]},
    "client_key": {"type": "path", "aliases": ["key_file"], "no_log": False},
    "validate_certs": {"type": "bool", "aliases": ["verify_ssl"]},
    "proxy": {"type": "str", "no_log": True},
    "no_proxy": {"type": "str"},
    "impersonate_user": {"type": "str"},
    "impersonate_groups": {"type": "list", "elements": "str"},
    "timeout": {"type": "str"},
}
"""The options of every module that speaks to Kubernetes; documented in the fragment ``keyturn.runbooks.kubernetes``."""

# The name of an option as the environment has it, where that is another one; both are read.
_SHORT = {
    "ca_cert": "SSL_CA_CERT",
    "client_cert": "CERT_FILE",
    "client_key": "KEY_FILE",
    "validate_certs": "VERIFY_SSL",
}


class _Reader:
    """The options of one task over its environment.

    :param given: the options that the task has; none for a reference.
    :param environment: whether the environment's own login counts.
    """

    def __init__(
        self, given: Mapping[str, Any], context: Context, option: str, environment: bool = True
    ) -> None:
        self._given = given
        self._context = context
        self._option = option
        self._environment = environment

    def environ(self, *names: str) -> Optional[str]:
        """The first of these variables that says something."""
        return next(filter(None, (self._context.environ.get(name) for name in names)), None)

    def text(self, name: str) -> Optional[str]:
        """An option, or its variable."""
        found = self._given.get(name)
        if found is not None:
            return str(found)
        if not self._environment:
            return None
        return self.environ(
            f"K8S_AUTH_{_SHORT.get(name, name.upper())}", f"K8S_AUTH_{name.upper()}"
        )

    def flag(self, name: str) -> Optional[bool]:
        """An option that is on or off."""
        found = self.text(name)
        return None if found is None else found.lower() not in _FALSE

    def secret(self, name: str) -> Optional[Secret]:
        """A value, which may be given as a reference.

        :raises Denied: when there is nothing at that reference: without credentials nothing can be said of the Secret.
        """
        found = self.text(name)
        if not found:
            return None
        if not looks_like_reference(found):
            return Secret(found)
        try:
            return resolve(found, self._context, name)
        except Absent as error:
            raise Denied(error.message) from None

    def names(self, name: str) -> Tuple[str, ...]:
        """A list, with commas between in the environment."""
        found = self._given.get(name)
        if found is not None:
            return tuple(map(str, found))
        listed = (self.text(name) or "").split(",")
        return tuple(filter(None, (item.strip() for item in listed)))

    def login(self) -> Login:
        """All of it.

        :raises BadInput: for groups without a user.
        :raises Denied: as :meth:`secret`.
        """
        host, user = self.text("host"), self.text("impersonate_user")
        groups = self.names("impersonate_groups")
        if groups and not user:
            # Kubernetes takes no groups alone.
            raise BadInput(
                f"{self._option}: 'impersonate_groups' (K8S_AUTH_IMPERSONATE_GROUPS) needs a user; set 'impersonate_user' "
                "(K8S_AUTH_IMPERSONATE_USER), or leave both out"
            )
        if host and "@" in host:
            raise BadInput(
                f"{self._option}: 'host' (K8S_AUTH_HOST) must be an address without a user and a password; give 'api_key' or a certificate"
            )
        return Login(
            host=host.rstrip("/") if host else None,
            api_key=self.secret("api_key"),
            ca_cert=self.text("ca_cert"),
            client_cert=self.text("client_cert"),
            client_key=self.text("client_key"),
            validate_certs=self.flag("validate_certs"),
            proxy=self.text("proxy"),
            no_proxy=self.text("no_proxy"),
            impersonate_user=user,
            impersonate_groups=groups,
        )

    def deadline(self) -> float:
        """Seconds."""
        given = self._given.get("timeout")
        text = given or self.environ("KEYTURN_K8S_TIMEOUT")
        if not text:
            return DEADLINE
        name = "timeout" if given else "KEYTURN_K8S_TIMEOUT"
        return parse_duration(str(text), f"{self._option}: {name}").total_seconds()

    def kubeconfig(self, named: Optional[str], where: str) -> str:
        """The files that are there; empty for none.

        :param named: what the task or the reference names.
        :raises BadInput: when what is named is not there: that says nothing of the Secret.
        """
        given = named or self.environ("K8S_AUTH_KUBECONFIG", "KUBECONFIG")
        home = self.environ("HOME") or "~"
        files = (given or os.path.join(home, ".kube", "config")).split(os.pathsep)
        there = [path for path in map(os.path.expanduser, files) if os.path.exists(path)]
        if not there and given:
            raise BadInput(
                f"{where}: there is no kubeconfig {named_path(given)}; correct what names it: ?kubeConfigPath=, 'kubeconfig' or KUBECONFIG"
            )
        return os.pathsep.join(there)

    def settings(
        self,
        in_pod: bool,
        files: Optional[str],
        context: Optional[str],
        where: str,
        inline: Optional[Secret] = None,
    ) -> Settings:
        """What follows of all this.

        :param files: what the task or the reference names.
        :param inline: the kubeconfig that the task holds, as JSON.
        :raises BadInput, Denied: when no cluster is named, or its kubeconfig or token is not there.
        """
        login = self.login()
        if in_pod or login.complete:
            return Settings(in_pod, "", None, login, self.deadline())
        if inline:
            return Settings(False, "", context or None, login, self.deadline(), inline)
        found = self.kubeconfig(files, where)
        pod = self.environ("KUBERNETES_SERVICE_HOST") and os.path.exists(POD_IDENTITY)
        if not found and not pod:
            raise BadInput(
                f"{where}: no Kubernetes cluster is named; set KUBECONFIG, or name a kubeconfig with ?kubeConfigPath= or 'kubeconfig'"
            )
        if not files:
            context = context or self.environ("K8S_AUTH_CONTEXT")
        return Settings(not found, found, context or None, login, self.deadline())


def settings_of(reference: Reference, context: Context, option: str) -> Settings:
    """What a reference and the environment say.

    :param option: how messages name the reference's origin.
    :raises BadInput, Denied: when no cluster is named, or its kubeconfig or token is not there.
    """
    where = f"{option}: {reference.place}"
    params = reference.params
    asked = params.get("inCluster", "false")
    if asked not in ("", "true", "false"):
        raise BadInput(f"{where}: 'inCluster' must be true or false")
    in_pod, files, name = asked != "false", params.get("kubeConfigPath"), params.get("kubeContext")
    if in_pod and {"kubeConfigPath", "kubeContext"} & set(params):
        raise BadInput(
            f"{where}: 'inCluster' takes no kubeconfig; leave out kubeConfigPath and kubeContext"
        )
    reader = _Reader({}, context, option, environment=not (in_pod or files or name))
    return reader.settings(in_pod, files, name, where)


def settings_of_task(params: Mapping[str, Any], context: Context, option: str) -> Settings:
    """What the options of a task (:data:`OPTIONS`) and the environment say.

    :raises BadInput, Denied: when no cluster is named, or its kubeconfig or token is not there.
    """
    in_pod, given, name = params["in_cluster"], params.get("kubeconfig"), params.get("context")
    if in_pod and (given or name or params.get("host")):
        raise BadInput(f"{option}: 'in_cluster' takes no 'kubeconfig', no 'context' and no 'host'")
    # What the environment says must not move a task that names the pod's own cluster to another server.
    reader = _Reader(params, context, option, environment=not in_pod)
    inline = inline_kubeconfig(given, context)
    return reader.settings(bool(in_pod), None if inline else given, name, option, inline)
