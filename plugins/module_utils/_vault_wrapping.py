# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret id that comes wrapped: whoever hands it on never sees it, and it can be taken out once.

So the second who takes it out finds out that there was a first. Before that, Vault is asked what the token wraps: somebody who
unwrapped it on the way could have wrapped another secret in a token of his own.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Any, Iterator

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_errors import is_from_vault

try:
    import hvac.exceptions
    import requests
except ImportError:
    # Said in the client, with the name of the option.
    pass

_NOT_VALID = (
    "the wrapping token of the secret id is not valid any more: it expired, or somebody else unwrapped it before. If this run did not "
    "unwrap it before, take the secret id for stolen: destroy it by its accessor, look into the audit log who unwrapped it, and "
    "make a new one. A wrapping token is good for one task: for a playbook of several, give the secret id itself or use an agent"
)


@contextmanager
def speaking_as(client: Any, token: Secret) -> Iterator[None]:
    """Inside, hvac's client sends this token, and not its own."""
    before, client.token = client.token, token.reveal()
    try:
        yield
    finally:
        client.token = before


def unwrap(client: Any, token: Secret, mount: str, option: str) -> Secret:
    """The secret id that a wrapping token holds.

    :param client: hvac's client.
    :param mount: where the AppRole method is mounted, which must have made the secret id.
    :raises Denied: when the token is not valid any more, or does not come from there.
    :raises Unreachable: when the answer was lost: the token is used up then.
    """
    body = {"token": token.reveal()}
    try:
        about = client.adapter.post("/v1/sys/wrapping/lookup", json=body)["data"]
        _check_origin(str(about.get("creation_path")), mount, option)
        answer = _take_out(client, token, option)
    except (hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden) as error:
        if not is_from_vault(error):
            raise
        raise Denied(f"{option}: {_NOT_VALID}") from None
    return Secret(str(answer["data"]["secret_id"]))


def _check_origin(path: str, mount: str, option: str) -> None:
    expected = rf"auth/{re.escape(mount)}/role/[^/]+/(custom-)?secret-id"
    if not re.fullmatch(expected, path):
        raise Denied(
            f"{option}: the wrapping token does not hold a secret id of the AppRole method at '{mount}', so it was not unwrapped. Correct "
            "the mount point; if that is right, somebody put another token in its place: find out who handed it on"
        )


def _take_out(client: Any, token: Secret, option: str) -> Any:
    try:
        with speaking_as(client, token):
            return client.adapter.post("/v1/sys/wrapping/unwrap")
    except requests.exceptions.RequestException:
        raise Unreachable(
            f"{option}: the connection to Vault broke while the secret id was unwrapped, so the wrapping token may be used up; destroy the "
            "secret id by its accessor, and make a new one"
        ) from None
