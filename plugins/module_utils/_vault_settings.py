# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Vault, and as whom: from a reference's parameters and the environment.

VAULT_AGENT_ADDR is passed over where the task's own ``environment`` names VAULT_ADDR and not it.

The names are those of Vault's own command line and of ``community.hashi_vault``; where both are set, the latter's count, as
there. A reference's parameters count before both. A module's own options are laid over the environment (``_vault_options``).

=============  ==========================================================================================
address        ``?address=``, ANSIBLE_HASHI_VAULT_ADDR, VAULT_AGENT_ADDR, VAULT_ADDR
namespace      ``?namespace=``, ANSIBLE_HASHI_VAULT_NAMESPACE, VAULT_NAMESPACE
CA             ANSIBLE_HASHI_VAULT_CA_CERT, VAULT_CACERT (a file), VAULT_CAPATH (a directory)
no TLS check   ANSIBLE_HASHI_VAULT_VALIDATE_CERTS=false, VAULT_SKIP_VERIFY=true
proxies        ANSIBLE_HASHI_VAULT_PROXIES (``_vault_proxies``), then https_proxy and the like
client         VAULT_CLIENT_CERT, VAULT_CLIENT_KEY (for a listener that asks for certificates)
deadline       ANSIBLE_HASHI_VAULT_TIMEOUT, VAULT_CLIENT_TIMEOUT: for one call with all its retries; 10 s
retries        ANSIBLE_HASHI_VAULT_RETRIES, VAULT_MAX_RETRIES: how many at most; else what fits into the deadline
=============  ==========================================================================================

As whom is in ``_vault_identity``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple, Union
from urllib.parse import urlsplit

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import parse_duration
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_http import (
    is_proxied,
    is_readable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_identity import (
    CERT,
    Identity,
    IdentityReader,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_proxies import (
    PROXIES,
    Proxies,
    over,
    proxies_of,
)

DEADLINE = 10.0
_TRUE = ("1", "t", "true", "y", "yes", "on")
_FALSE = ("0", "f", "false", "n", "no", "off")


@dataclass(frozen=True)
class VaultSettings:
    """How to reach one Vault.

    :param verify: whether to check the server's certificate, or the CA file or directory to check it against.
    :param client_cert: this side's certificate and key; one file alone holds both.
    :param identity: as whom.
    :param deadline: seconds for one call with its retries.
    :param retries: how many of them at most; none: as many as fit into the deadline.
    :param proxies: on the way there, before those of the environment.
    """

    address: str
    namespace: Optional[str]
    verify: Union[bool, str]
    client_cert: Union[str, Tuple[str, str], None]
    identity: Identity
    deadline: float
    retries: Optional[int] = None
    proxies: Proxies = ()


class _Reader(IdentityReader):
    """The parameters and the environment of one client."""

    def flag(self, name: str) -> Optional[bool]:
        text = self.context.environ.get(name, "").strip().lower()
        if text and text not in _TRUE + _FALSE:
            raise BadInput(f"{self.option}: the environment variable {name} must be true or false")
        return text in _TRUE if text else None

    def address(self) -> str:
        named = self.params.get("address") or self.env("ANSIBLE_HASHI_VAULT_ADDR")
        address = named or self.agent() or self.env("VAULT_ADDR")
        if not address:
            raise BadInput(
                f"{self.option}: the address of Vault is not known; set VAULT_ADDR, or add ?address= to the reference"
            )
        try:
            parts = urlsplit(address)
            good = (
                parts.scheme in ("http", "https")
                and bool(parts.hostname)
                and "@" not in parts.netloc
                and parts.port != 0
            )
        except ValueError:
            good = False
        if not good:
            socket = "; a unix socket is none, so give the agent a listener at 127.0.0.1"
            raise BadInput(
                f"{self.option}: the address of Vault must be a URL such as https://vault.example:8200"
                + (socket if address.startswith("unix:") else "")
            )
        if is_readable(address):
            self.context.warn(
                f"{self.option}: the address of Vault is plain http: token and secrets travel in the clear{self._through(address)}; "
                "use https"
            )
        return address

    def _through(self, address: str) -> str:
        """The proxy before a Vault that is asked in plain text, for messages."""
        own = over({}, self.proxies())
        named = "http_proxy" if is_proxied(address) else ""
        if "http" in own or "all" in own:
            named = f"'proxies' ({PROXIES})" if own.get("http", own.get("all")) else ""
        return f", and through the proxy that {named} names" if named else ""

    def proxies(self) -> Proxies:
        text = self.env(PROXIES)
        return proxies_of(text, self.option) if text else ()

    def verify(self) -> Union[bool, str]:
        check = self.flag("ANSIBLE_HASHI_VAULT_VALIDATE_CERTS")
        if check is None:
            check = not self.flag("VAULT_SKIP_VERIFY")
        if not check:
            self.context.warn(
                f"{self.option}: the TLS certificate of Vault is not checked; set VAULT_CACERT to its CA instead"
            )
            return False
        return self.env("ANSIBLE_HASHI_VAULT_CA_CERT", "VAULT_CACERT", "VAULT_CAPATH") or True

    def client_cert(self, identity: Identity) -> Union[str, Tuple[str, str], None]:
        """A login by certificate uses that certificate from the handshake on."""
        if identity.method == CERT:
            return identity.certificate
        cert, key = self.env("VAULT_CLIENT_CERT"), self.env("VAULT_CLIENT_KEY")
        return (cert, key) if cert and key else None

    def deadline(self) -> float:
        text = self.env("ANSIBLE_HASHI_VAULT_TIMEOUT", "VAULT_CLIENT_TIMEOUT")
        if not text:
            return DEADLINE
        return parse_duration(text, f"{self.option}: VAULT_CLIENT_TIMEOUT").total_seconds()

    def retries(self) -> Optional[int]:
        text = self.env("ANSIBLE_HASHI_VAULT_RETRIES", "VAULT_MAX_RETRIES")
        if text and not text.isdigit():
            raise BadInput(
                f"{self.option}: the retries of a call to Vault (ANSIBLE_HASHI_VAULT_RETRIES, VAULT_MAX_RETRIES) must be a number"
            )
        return int(text) if text else None


def vault_settings(reference: Reference, context: Context, option: str) -> VaultSettings:
    """How to reach the Vault of a reference.

    :raises BadInput, Denied: when something is missing or has a wrong form; naming the variable, never its value.
    """
    reader = _Reader(reference, context, option)
    identity = reader.identity()
    return VaultSettings(
        address=reader.address(),
        namespace=reference.params.get("namespace")
        or reader.env("ANSIBLE_HASHI_VAULT_NAMESPACE", "VAULT_NAMESPACE")
        or None,
        verify=reader.verify(),
        client_cert=reader.client_cert(identity),
        identity=identity,
        deadline=reader.deadline(),
        retries=reader.retries(),
        proxies=reader.proxies(),
    )
