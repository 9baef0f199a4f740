# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one connection to Kubernetes: which cluster, as whom, how long to wait, and what an error means.

The cluster is the one of ``?inCluster`` (the pod that this runs in), ``?kubeConfigPath=``, KUBECONFIG (several files are merged, as
kubectl does) or ``~/.kube/config``, in this order; without any, that of the pod. ``?kubeContext=`` names a context of the
file; else its current one counts. These are the names that vals uses.

Of what Kubernetes says, nothing is passed on but its status: a proxy's page, or the message of a webhook, may hold anything.
"""

from __future__ import annotations

import json
import os
from types import MappingProxyType
from typing import Any, Callable, Mapping, Optional, Tuple, Type
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    KeyturnError,
    MissingLibrary,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._files import file_error
from ansible_collections.keyturn.runbooks.plugins.module_utils._lent_environ import lent_environ
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference

TIMEOUT = (5, 10)
"""Seconds to connect, and to wait for an answer; both are tried three times."""

POD = "the cluster of this pod"
_TRIES = 2
_POD_IDENTITY = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_INVALID = (BadInput, "Kubernetes refuses the name as invalid; correct it")
_STATUSES: Mapping[int, Tuple[Type[KeyturnError], str]] = MappingProxyType(
    {
        400: _INVALID,
        422: _INVALID,
        401: (
            Denied,
            "Kubernetes does not accept the credentials: token or certificate is wrong, expired or not there; log in again",
        ),
        403: (
            Denied,
            "Kubernetes denies this identity to {what}; allow the verb get in a Role, and bind it",
        ),
        429: (
            Unreachable,
            "Kubernetes limits the rate of requests; run again later or with less forks",
        ),
    }
)


def _library(option: str) -> Any:
    """The library. Imported where it is needed: it takes longer to import than most tasks take to run."""
    try:
        import kubernetes
    except ImportError:
        raise MissingLibrary(
            f"{option}: Kubernetes needs the Python library kubernetes where this task runs; install it: pip install kubernetes"
        ) from None
    return kubernetes


class _Choice:
    """Which configuration counts.

    :ivar files: the kubeconfig, or several with ``:`` between; empty for the pod's own cluster.
    """

    def __init__(self, reference: Reference, context: Context, option: str) -> None:
        self._params = reference.params
        self._environ = context.environ
        self._where = f"{option}: {reference.place}"
        self.files = "" if self._in_pod() else self._kubeconfig()

    def _in_pod(self) -> bool:
        asked = self._params.get("inCluster", "false")
        if asked not in ("", "true", "false"):
            raise BadInput(f"{self._where}: 'inCluster' must be true or false")
        if asked != "false" and {"kubeConfigPath", "kubeContext"} & set(self._params):
            raise BadInput(
                f"{self._where}: 'inCluster' takes no kubeconfig; leave out kubeConfigPath and kubeContext"
            )
        return asked != "false"

    def _kubeconfig(self) -> str:
        given = self._params.get("kubeConfigPath") or self._environ.get("KUBECONFIG")
        home = self._environ.get("HOME") or "~"
        files = (given or os.path.join(home, ".kube", "config")).split(os.pathsep)
        there = [path for path in map(os.path.expanduser, files) if os.path.exists(path)]
        if there:
            return os.pathsep.join(there)
        if given:
            raise Absent(
                f"{self._where}: there is no kubeconfig {given}; correct ?kubeConfigPath= or KUBECONFIG"
            )
        if self._environ.get("KUBERNETES_SERVICE_HOST") and os.path.exists(_POD_IDENTITY):
            return ""
        raise BadInput(
            f"{self._where}: no Kubernetes cluster is named; set KUBECONFIG, or add ?kubeConfigPath= to the reference"
        )


def _current_context(files: str) -> Optional[str]:
    """The current context of several kubeconfigs: that of the first which has one, as for kubectl. The client would take the last."""
    import yaml

    for path in files.split(os.pathsep):
        with open(path, encoding="utf-8") as stream:
            found = yaml.safe_load(stream)
        if found and found.get("current-context"):
            return str(found["current-context"])
    return None


class Cluster:
    """Calls of one Kubernetes API, as one identity.

    :raises BadInput, Absent: when no cluster is named, or its kubeconfig is not there.
    :raises MissingLibrary: without the client.
    """

    def __init__(self, reference: Reference, context: Context, option: str) -> None:
        self._reference = reference
        self._context = context
        self._option = option
        self._choice = _Choice(reference, context, option)
        self._library = _library(option)
        self._address = ""

    def __repr__(self) -> str:
        return f"Cluster({self._choice.files or POD})"

    def where(self, place: str) -> str:
        """How messages name a place: the option, what it is, and in which cluster."""
        return (
            f"{self._option}: Kubernetes {place}{f' at {self._address}' if self._address else ''}"
        )

    def call(self, place: str, what: str, function: Callable[[Any], Any]) -> Any:
        """Ask Kubernetes something.

        :param place: what it is about, for messages: ``Secret app/db``.
        :param what: what is done, for messages: ``get secrets in namespace app``.
        :param function: gets the client's ``CoreV1Api``; to be called with ``_request_timeout=TIMEOUT``.
        :raises Absent, BadInput, Denied, Unreachable: each says which.
        """
        with lent_environ(self._context.environ):
            try:
                return function(self._connect())
            except KeyturnError:
                raise
            except Exception as error:
                raise self._explain(error, place, what) from None
            finally:
                self._forget_files()

    def _connect(self) -> Any:
        import urllib3

        configuration = self._library.client.Configuration()
        self._load(configuration)
        # One that the server tells to wait for, or where to go instead, is not followed.
        configuration.retries = urllib3.Retry(
            total=_TRIES, redirect=0, status=0, backoff_factor=0.2, respect_retry_after_header=False
        )
        parts = urlsplit(configuration.host)
        self._address = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
        self._warn(configuration, parts)
        return self._library.client.CoreV1Api(self._library.client.ApiClient(configuration))

    def _warn(self, configuration: Any, parts: Any) -> None:
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            self._context.warn(
                f"{self._option}: the address of Kubernetes is plain http: token and values travel in the clear; use https"
            )
        elif parts.scheme == "https" and not configuration.verify_ssl:
            self._context.warn(
                f"{self._option}: the TLS certificate of Kubernetes is not checked; put its CA into the kubeconfig instead"
            )

    def _load(self, configuration: Any) -> None:
        config, files = self._library.config, self._choice.files
        context = self._reference.params.get("kubeContext") or None
        if not files:
            self._load_pod(configuration)
            return
        try:
            context = context or _current_context(files)
            # A token that was renewed meanwhile is not written back: reading changes nothing.
            config.load_kube_config(
                files, context, client_configuration=configuration, persist_config=False
            )
        except OSError as error:
            raise file_error(error, self._option, str(error.filename or files), "read") from None
        except Exception:
            which = f"context '{context}'" if context else "current context"
            raise BadInput(
                f"{self._option}: the kubeconfig {files} is no usable one, or its {which} is not complete; "
                "see what 'kubectl config view' says of it"
            ) from None

    def _load_pod(self, configuration: Any) -> None:
        try:
            self._library.config.load_incluster_config(configuration)
        except (self._library.config.ConfigException, OSError):
            raise BadInput(
                f"{self._option}: this is no pod of Kubernetes, or it has no service account token; leave out 'inCluster'"
            ) from None

    def _forget_files(self) -> None:
        """Remove the files that the client made of keys in the kubeconfig. It does so itself only where a process ends in good order,
        which Ansible's workers do not."""
        getattr(self._library.config.kube_config, "_cleanup_temp_files", bool)()

    def _explain(self, error: Exception, place: str, what: str) -> KeyturnError:
        if isinstance(error, self._library.client.ApiException):
            return _answered(error, self.where(place), what)
        return _unanswered(error, self.where(place))


def said_absent(error: Any) -> bool:
    """Whether it was Kubernetes that said "not found" of an object, and not something in between of a page."""
    try:
        told = json.loads(error.body)
        return bool(
            error.status == 404 and told["kind"] == "Status" and told["reason"] == "NotFound"
        )
    except (AttributeError, TypeError, ValueError, KeyError):
        return False


def _answered(error: Any, where: str, what: str) -> KeyturnError:
    status = int(error.status or 0)
    if said_absent(error):
        return Absent(f"{where}: Kubernetes has no such thing")
    if status >= 500:
        return Unreachable(
            f"{where}: Kubernetes has a trouble of its own (HTTP {status}); see its log, then run again"
        )
    if status not in _STATUSES:
        return _unanswered(error, where)
    kind, text = _STATUSES[status]
    return kind(f"{where}: {text.format(what=what)}")


def _unanswered(error: Exception, where: str) -> KeyturnError:
    cause: Optional[BaseException] = getattr(error, "reason", None)
    kinds = {kind.__name__ for one in (error, cause) for kind in type(one).__mro__}
    if "SSLError" in kinds or getattr(error, "status", None) == 0:
        return Unreachable(
            f"{where}: the TLS certificate was not accepted; check the CA in the kubeconfig, the name and this machine's clock"
        )
    if "NewConnectionError" in kinds or "ProxyError" in kinds:
        return Unreachable(
            f"{where}: no connection; check that Kubernetes runs there, the name, the proxy and the firewall"
        )
    if "TimeoutError" in kinds:
        return Unreachable(f"{where}: no answer in time; run again, or check the network")
    return Unreachable(
        f"{where}: an answer that is not Kubernetes's ({type(error).__name__}); check the kubeconfig's server and what stands between"
    )
