# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit sources: where is written down who read a value, or who logged in with it."""

from __future__ import annotations

from types import MappingProxyType
from typing import Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._app_log import (
    AppLog,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._cloudtrail import (
    CloudTrail,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._cloudtrail_bucket import (
    CloudTrailBucket,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._port import (
    Source,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._postgres_log import (
    PostgresLog,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._vault_audit import (
    VaultAudit,
)

SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "app_log": AppLog(),
        "cloudtrail": CloudTrail(),
        "cloudtrail_bucket": CloudTrailBucket(),
        "postgres_log": PostgresLog(),
        "vault_audit": VaultAudit(),
    }
)
"""Every kind of source, by its ``type``."""

__all__ = ["SOURCES", "Source"]
