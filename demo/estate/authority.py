# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate authority of one's own, for servers on 127.0.0.1 and for their clients."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from estate.tls import Certificate
from estate.users import write_private


class Authority:
    """Signs certificates; its own key stays in this process.

    :param place: an existing directory, for its certificate and for those that it signs.
    :ivar certificate: the file that whoever trusts it needs.
    """

    def __init__(self, place: Path, name: str = "ca") -> None:
        self._place = place
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _named(f"{name} of this estate")
        self.certificate = place / f"{name}.crt"
        limits = x509.BasicConstraints(ca=True, path_length=0)
        made = self._builder(self._subject, self._key).add_extension(limits, critical=True)
        self.certificate.write_bytes(self._signed(made))

    def issue(self, name: str, client: bool = False) -> Certificate:
        """A fresh certificate, valid for a day.

        :param client: for a client of that name; else for a server on 127.0.0.1.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        names: list[x509.GeneralName] = [x509.DNSName(name if client else "localhost")]
        if not client:
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        made = (
            self._builder(_named(name), key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        found = Certificate(self._place / f"{name}.crt", self._place / f"{name}.key")
        found.certificate.write_bytes(self._signed(made))
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(found.key, private.decode().splitlines())
        return found

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
