# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public keys as a JSON Web Key Set (RFC 7517, RFC 7518 section 6, RFC 8037 section 2)."""

from __future__ import annotations

import base64
import json
from typing import Dict, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    MissingLibrary,
)

try:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_public_key,
    )

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False

_CURVES = {
    "secp256r1": ("P-256", "ES256", 32),
    "secp384r1": ("P-384", "ES384", 48),
    "secp521r1": ("P-521", "ES512", 66),
}


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, size: int = 0) -> str:
    return _url64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def _key(kid: str, pem: str, where: str) -> Dict[str, str]:
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError:
        raise BadInput(
            f"{where}: the field of key '{kid}' is no public key in PEM form; jwks needs one"
        ) from None
    common = {"kid": kid, "use": "sig"}
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {
            "kty": "RSA",
            "alg": "RS256",
            **common,
            "n": _number(numbers.n),
            "e": _number(numbers.e),
        }
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        curve, algorithm, size = _CURVES[key.curve.name]
        point = key.public_numbers()
        return {
            "kty": "EC",
            "alg": algorithm,
            "crv": curve,
            **common,
            "x": _number(point.x, size),
            "y": _number(point.y, size),
        }
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "alg": "EdDSA", "crv": "Ed25519", **common, "x": _url64(raw)}
    raise BadInput(
        f"{where}: the key '{kid}' is of a kind that jwks cannot show; expected RSA, P-256, P-384, P-521 or Ed25519"
    )


def jwks(keys: Sequence[Tuple[str, str]], where: str) -> str:
    """A JSON Web Key Set of (key id, public key in PEM form), in the given order.

    :param where: how messages name the place.
    :raises BadInput: when one is no public key, or of a kind that has no form here.
    :raises MissingLibrary: without ``cryptography``.
    """
    if not HAS_CRYPTOGRAPHY:
        raise MissingLibrary(
            f"{where}: the filter jwks needs the Python library 'cryptography' on the controller"
        )
    return json.dumps({"keys": [_key(kid, pem, where) for kid, pem in keys]})
