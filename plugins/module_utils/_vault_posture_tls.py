# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate that a listener shows, as a client sees it."""

from __future__ import annotations

import os
import socket
import ssl
from datetime import datetime, timedelta
from typing import Union
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_duration
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_findings import (
    HIGH,
    MEDIUM,
    UNKNOWN,
    Findings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_posture_rules import (
    is_loopback,
)

_CHECK = "certificate"
_EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""
_TIMEOUT = 5.0


def look_at_certificate(
    address: str, verify: Union[bool, str], least: timedelta, now: datetime, found: Findings
) -> None:
    """See how the address is protected.

    :param verify: whether to check the certificate, or the CA file or directory to check it against.
    :param least: how long a certificate should still be valid.
    """
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    found.begin(_CHECK)
    if parts.scheme == "http":
        _plain(host, found)
    elif verify is False:
        found.add(
            _CHECK,
            UNKNOWN,
            "the certificate was not checked, because this run was told so",
            "name its authority in ca_cert, and leave out validate_certs",
        )
    else:
        _shown(host, port, verify, least, now, found)


def _plain(host: str, found: Findings) -> None:
    if is_loopback(host):
        return
    found.add(
        _CHECK,
        HIGH,
        f"Vault is reached by plain http at {host}: tokens and secrets pass in the clear",
        "give its listener a certificate, and use https",
    )


def _shown(
    host: str, port: int, verify: Union[bool, str], least: timedelta, now: datetime, found: Findings
) -> None:
    try:
        ends = _end(host, port, verify)
    except ssl.SSLCertVerificationError as error:
        expired = error.verify_code == _EXPIRED
        found.add(
            _CHECK,
            HIGH,
            f"the certificate at {host}:{port} "
            + ("has expired" if expired else "is not accepted (its authority or its name)"),
            "renew it" if expired else "set ca_cert to its authority, and check the names in it",
        )
        return
    except (OSError, ValueError):
        # That there is no answer is told by the look at Vault itself.
        return
    left = ends - now.timestamp()
    if left < least.total_seconds():
        days = format_duration(timedelta(seconds=left))
        found.add(_CHECK, MEDIUM, f"the certificate at {host}:{port} ends in {days}", "renew it")


def _end(host: str, port: int, verify: Union[bool, str]) -> float:
    context = ssl.create_default_context()
    if isinstance(verify, str):
        given = os.path.expanduser(verify)
        kind = "capath" if os.path.isdir(given) else "cafile"
        context.load_verify_locations(**{kind: given})
    with socket.create_connection((host, port), timeout=_TIMEOUT) as plain, context.wrap_socket(
        plain, server_hostname=host
    ) as secured:
        shown = secured.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(shown["notAfter"])))
