# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A login by OAuth 2: an access token from a refresh token (RFC 6749, 6). Tokens stay in this process, and end with it."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, Dict, FrozenSet, Mapping, Optional
from urllib.parse import urlencode

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._http_api import (
    FORM,
    Answer,
    Api,
    Ask,
    Connection,
    read_json,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    resolve_mapping,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value

_REFRESHING = ("client_id", "client_secret", "refresh_token")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "invalid_grant": "the refresh token is not valid any more: it was revoked, has expired, or is another client's. Log in as the "
        "channel's owner once more and store the new refresh token",
        "invalid_client": "the client id and secret are not accepted: compare them with the project's OAuth client",
        "unauthorized_client": "this client may not use a refresh token: make an OAuth client that may, and log in with it once more",
    }
)


class _Kept:
    """The access token of one login, for all steps of a call."""

    def __init__(self) -> None:
        self.token: Optional[Secret] = None
        self.scopes: FrozenSet[str] = frozenset()

    def close(self) -> None:
        """It ends by itself within the hour; whoever revoked it would revoke the refresh token, too."""
        self.token = None


def check_credentials(credentials: Any, option: str) -> None:
    """Refuse credentials that cannot be meant, and ones that stand there in clear text.

    :raises BadInput: naming the key.
    """
    if isinstance(credentials, str) and looks_like_reference(credentials):
        return
    if not isinstance(credentials, Mapping):
        raise BadInput(
            f"{option}: expected a reference to a mapping with {', '.join(_REFRESHING)} (or access_token alone), such as "
            "ref+vault://secret/youtube/oauth"
        )
    for name, value in credentials.items():
        if name not in (*_REFRESHING, "access_token"):
            raise BadInput(
                f"{option}: there is no key '{name}'; known: {', '.join(_REFRESHING)}, access_token"
            )
        if name != "client_id" and not looks_like_reference(value):
            raise BadInput(
                f"{option}.{name}: a secret does not belong into an inventory; give a reference, such as "
                f"ref+vault://secret/youtube/oauth#/{name}"
            )


def _resolved(credentials: Any, context: Context, option: str) -> Dict[str, Secret]:
    check_credentials(credentials, option)
    found = resolve_mapping(credentials, context, option)
    if "refresh_token" in found:
        missing = [name for name in _REFRESHING if name not in found]
        if missing:
            raise Absent(
                f"{option}: there is no key '{missing[0]}'; a refresh token needs client_id and client_secret"
            )
        return {name: found[name] for name in _REFRESHING}
    if "access_token" not in found:
        raise Absent(
            f"{option}: there is neither a refresh_token (with client_id and client_secret) nor an access_token"
        )
    return {"access_token": found["access_token"]}


class OAuthLogin:
    """One login. Asks for a token when one is first needed, and once more when it is not accepted.

    :param address: of the token endpoint.
    """

    def __init__(
        self,
        credentials: Any,
        address: str,
        connection: Connection,
        context: Context,
        option: str,
    ) -> None:
        self._option = option
        self._credentials = _resolved(credentials, context, option)
        self._api = Api(address, connection, context, f"{option} (token from {address})")
        key = ("oauth", address, tuple(sorted(self._credentials.items())))
        self._kept: _Kept = context.sessions.setdefault(key, _Kept())

    @property
    def scopes(self) -> FrozenSet[str]:
        """What the token may do, as far as the server told."""
        return self._kept.scopes

    def headers(self) -> Mapping[str, Value]:
        """The token.

        :raises Denied, Unreachable: there is none to be had.
        """
        if self._kept.token is None:
            self._kept.token = self._credentials.get("access_token") or self._refreshed()
        return {"Authorization": Secret(f"Bearer {self._kept.token.reveal()}")}

    def renew(self) -> bool:
        """Forget a token that was not accepted; false where there is no other."""
        if "access_token" in self._credentials:
            return False
        self._kept.token = None
        return True

    def _refreshed(self) -> Secret:
        given = {name: value.reveal() for name, value in self._credentials.items()}
        form = Secret(urlencode({"grant_type": "refresh_token", **given}))
        ask = Ask("get an access token", "POST", body=form, content_type=FORM)
        answer = self._api.ask(ask)
        if answer.status != 200:
            raise self._refused(answer)
        body = read_json(answer, self._api.where)
        token = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise Unreachable(
                f"{self._api.where}: the answer holds no access token; is this a token endpoint of OAuth 2?"
            )
        self._kept.scopes = frozenset(str(body.get("scope") or "").split())
        return Secret(token)

    def _refused(self, answer: Answer) -> Exception:
        try:
            body = read_json(answer, self._api.where)
        except Unreachable as error:
            return error
        reason = body.get("error") if isinstance(body, dict) else None
        told = _REASONS.get(reason) if isinstance(reason, str) else None
        if told is None:
            return Denied(
                f"{self._api.where}: no access token is given (status {answer.status}); check client and refresh token"
            )
        return Denied(f"{self._api.where}: {told}")
