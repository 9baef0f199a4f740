# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Kubernetes's API, made of settings: its kubeconfig or pod, what is laid over it, and its certificates."""

from __future__ import annotations

import json
import os
import ssl
from contextlib import contextmanager
from typing import Any, Iterator, List, Optional, Union
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    MissingLibrary,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._file_errors import file_error
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_inline import named_path
from ansible_collections.keyturn.runbooks.plugins.module_utils._k8s_settings import Settings

_AGENT = "keyturn.runbooks"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def library(option: str) -> Any:
    """The library. Imported where it is needed: it takes longer to import than most tasks take to run."""
    try:
        import kubernetes
    except ImportError:
        raise MissingLibrary(
            f"{option}: Kubernetes needs the Python library kubernetes where this task runs; install it: pip install kubernetes"
        ) from None
    return kubernetes


def _current_context(files: str) -> Optional[str]:
    """The current context of several kubeconfigs: that of the first which has one, as for kubectl. The client would take the last."""
    import yaml

    for path in files.split(os.pathsep):
        with open(path, encoding="utf-8") as stream:
            found = yaml.safe_load(stream)
        if found and found.get("current-context"):
            return str(found["current-context"])
    return None


class Opener:
    """Makes the client.

    :param option: where the settings came from, for messages.
    :raises MissingLibrary: without the library.
    """

    def __init__(self, settings: Settings, context: Context, option: str) -> None:
        self._settings = settings
        self._context = context
        self._option = option
        self._library = library(option)
        self._descriptors: List[int] = []

    def open(self) -> Any:
        """The client; nothing is asked yet.

        :raises BadInput, Denied: when the kubeconfig or a certificate cannot be used.
        """
        import urllib3

        configuration = self._library.client.Configuration()
        self._load(configuration)
        self._lay_over(configuration)
        # What the server tells to wait for, or where to go instead, is not followed by the library, and nothing is sent again: a write
        # is never sent twice unless its caller knows of it.
        configuration.retries = urllib3.Retry(
            total=0, redirect=0, status=0, respect_retry_after_header=False
        )
        self._warn(configuration)
        return self._opened(configuration)

    def _opened(self, configuration: Any) -> Any:
        """The client, with the certificates in its memory: the files that held them are removed."""
        client = self._library.client.ApiClient(configuration)
        client.user_agent = _AGENT
        login = self._settings.login
        if login.impersonate_user:
            client.set_default_header("Impersonate-User", login.impersonate_user)
        if configuration.host.startswith("https://"):
            kept = client.rest_client.pool_manager.connection_pool_kw
            kept["ssl_context"] = self._trust(configuration)
            for name in ("ca_certs", "cert_file", "key_file"):
                kept.pop(name, None)
        return client

    def _trust(self, configuration: Any) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
            if getattr(configuration, "disable_strict_ssl_verification", False):
                context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if not configuration.verify_ssl:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if configuration.cert_file:
                context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
        except (OSError, ValueError):
            raise BadInput(
                f"{self._option}: the CA, the client's certificate or its key cannot be read, or is not in PEM form; see what the "
                "kubeconfig, or 'ca_cert', 'client_cert' and 'client_key', say of them"
            ) from None
        return context

    def _warn(self, configuration: Any) -> None:
        parts = urlsplit(configuration.host)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            self._context.warn(
                f"{self._option}: the address of Kubernetes is plain http: token and values travel in the clear; use https"
            )
        elif parts.scheme == "https" and not configuration.verify_ssl:
            self._context.warn(
                f"{self._option}: the TLS certificate of Kubernetes is not checked; put its CA into the kubeconfig instead"
            )

    def _load(self, configuration: Any) -> None:
        settings = self._settings
        if settings.in_pod:
            self._load_pod(configuration)
            return
        if not (settings.files or settings.inline):
            return
        files, context = settings.files, settings.context
        named = f"the kubeconfig {files}" if files else "the mapping in 'kubeconfig'"
        try:
            context = context or (_current_context(files) if files else None)
            with self._keys_in_memory():
                self._load_kubeconfig(configuration, context)
        except OSError as error:
            meant = file_error(
                error, self._option, named_path(str(error.filename or files)), "read"
            )
            # A token that is not there says nothing of the Secret.
            raise Denied(meant.message) if isinstance(meant, Absent) else meant from None
        except Exception:
            which = f"context '{context}'" if context else "current context"
            raise BadInput(
                f"{self._option}: {named} is no usable one, or its {which} is not complete; see what 'kubectl config view' says of it"
            ) from None

    def _load_kubeconfig(self, configuration: Any, context: Optional[str]) -> None:
        config, inline = self._library.config, self._settings.inline
        # A token that was renewed meanwhile is not written back: reading changes nothing.
        about = {"client_configuration": configuration, "persist_config": False}
        if inline:
            config.load_kube_config_from_dict(json.loads(inline.reveal()), context, **about)
        else:
            config.load_kube_config(self._settings.files, context, **about)

    def _load_pod(self, configuration: Any) -> None:
        try:
            self._library.config.load_incluster_config(configuration)
        except (self._library.config.ConfigException, OSError):
            raise BadInput(
                f"{self._option}: this is no pod of Kubernetes, or it has no service account token; leave out 'inCluster'"
            ) from None

    def _lay_over(self, configuration: Any) -> None:
        login = self._settings.login
        said = {
            "host": login.host,
            "ssl_ca_cert": login.ca_cert,
            "cert_file": login.client_cert,
            "key_file": login.client_key,
            "verify_ssl": login.validate_certs,
            "proxy": login.proxy,
            "no_proxy": login.no_proxy,
        }
        for name, value in said.items():
            if value is not None:
                setattr(configuration, name, value)
        if login.api_key:
            configuration.api_key = {"authorization": f"Bearer {login.api_key.reveal()}"}
            configuration.refresh_api_key_hook = None

    @contextmanager
    def _keys_in_memory(self) -> Iterator[None]:
        """Let the library write the keys of a kubeconfig to files that have no name: nothing is left of them, however this process ends.

        Where the system has no such files, they are the library's own until :meth:`forget_files`.
        """
        module = self._library.config.kube_config
        usual = getattr(module, "_create_temp_file_with_content", None)
        if usual is None or not hasattr(os, "memfd_create"):
            yield
            return

        def written(content: Union[str, bytes], *args: Any, **kwargs: Any) -> Any:
            return self._unnamed(content) or usual(content, *args, **kwargs)

        module._create_temp_file_with_content = written
        try:
            yield
        finally:
            module._create_temp_file_with_content = usual

    def _unnamed(self, content: Union[str, bytes]) -> Optional[str]:
        """The path of a file in memory, by its descriptor; none where it cannot be opened by that."""
        try:
            descriptor = os.memfd_create("keyturn")
        except OSError:
            return None
        self._descriptors.append(descriptor)
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        path = f"/proc/self/fd/{descriptor}"
        return path if os.path.isfile(path) else None

    def forget_files(self) -> None:
        """Remove the files that the client made of keys in the kubeconfig. It does so itself only where a process ends in good order,
        which Ansible's workers do not."""
        while self._descriptors:
            os.close(self._descriptors.pop())
        getattr(self._library.config.kube_config, "_cleanup_temp_files", bool)()


def address_of(client: Any) -> str:
    """Scheme, host and port, for messages."""
    parts = urlsplit(client.configuration.host)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
