# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Issuers: who makes a credential valid. The port, and the kinds there are."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Callable, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuer_port import (
    Issuer,
    Outcome,
    Session,
    Wait,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._generated import Generated
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._operator import Operator
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._postgres_role import (
    PostgresRole,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._rtmp_ingest import (
    RtmpIngest,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._stage_facts import refuse_facts


def _cloudflare_r2(definition: Mapping[str, Any], context: Context, option: str) -> Issuer:
    # These are imported where they are used: Ansible compiles each module of a collection anew in every run.
    from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._cloudflare_r2 import (
        CloudflareR2,
    )

    return CloudflareR2.from_definition(definition, context, option)


def _generic_http(definition: Mapping[str, Any], context: Context, option: str) -> Issuer:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._generic_http import (
        GenericHttp,
    )

    return GenericHttp.from_definition(definition, context, option)


def _youtube(definition: Mapping[str, Any], context: Context, option: str) -> Issuer:
    from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers._youtube import (
        YouTubeStream,
    )

    return YouTubeStream.from_definition(definition, context, option)


ISSUERS: Mapping[str, Callable[[Mapping[str, Any], Context, str], Issuer]] = MappingProxyType(
    {
        "cloudflare_r2": _cloudflare_r2,
        "generated": Generated.from_definition,
        "generic_http": _generic_http,
        "operator": Operator.from_definition,
        "postgres_role": PostgresRole.from_definition,
        "rtmp_ingest": RtmpIngest.from_definition,
        "youtube": _youtube,
    }
)
"""Every kind of issuer, by the ``type`` of its definition."""

_NAMES: Mapping[str, str] = MappingProxyType({"generated": "fields", "operator": "values"})
"""Where a definition names secret fields, for those issuers that have no names of their own for them."""


def open_issuer(
    definition: Mapping[str, Any], context: Context, option: str = "keyturn_issuer"
) -> Issuer:
    """The issuer that a definition describes. It connects when it is first asked for something.

    :param option: the variable that the definition came in, for messages.
    :raises BadInput: naming the key that is wrong and what is expected there.
    """
    kind = definition.get("type")
    if kind not in ISSUERS:
        known = ", ".join(sorted(ISSUERS))
        problem = f"there is no issuer '{kind}'" if kind else "missing"
        raise BadInput(f"{option}.type: {problem}; expected one of {known}")
    issuer = ISSUERS[str(kind)](definition, context, option)
    refuse_facts(sorted(issuer.secret_fields), f"{option}.{_NAMES.get(str(kind), 'type')}")
    return issuer


__all__ = ["ISSUERS", "Issuer", "Outcome", "Session", "Wait", "open_issuer"]
