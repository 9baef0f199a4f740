# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of ``incident_reads``: who used a credential in a window of time, as one audit source tells it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Mapping

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_event import (
    Known,
    Looked,
    Window,
    parse_window,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources import (
    SOURCES,
    Source,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._app_entry import (
    APP_FORMATS,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._app_log import (
    APP_OPTIONS,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_sources._postgres_lines import (
    FORMATS,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    ModuleCore,
    Params,
    Result,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._redact import (
    REDACT_OPTIONS,
    prepare_redaction,
    unseal_values,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    looks_like_reference,
    resolve,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_options import AWS_OPTIONS
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

_SKEW = timedelta(minutes=5)
_LOGIN = ("secret_key", "session_token")


def _source(params: Params) -> Source:
    source = SOURCES[params["type"]]
    for name in ("most", "most_calls"):
        if params[name] < 1:
            raise BadInput(f"{name}: expected 1 or more")
    source.check(params)
    return source


def _window(params: Params, now: datetime) -> Window:
    window = parse_window(params["since"], params["until"])
    if window.until > now:
        raise BadInput(
            f"until: {format_time(window.until)} is still to come; give the time when the exposure ended, or the time now"
        )
    return window


def prepare(params: Params, context: Context) -> Params:
    """Refuse what is wrong before a host is asked, and resolve the references on the controller.

    :raises KeyturnError: as the options, the references and the keyring give cause.
    """
    _source(params)
    _window(params, context.now())
    found = {
        name: resolve(params[name], context, name).reveal()
        for name in _LOGIN
        if looks_like_reference(params.get(name) or "")
    }
    return prepare_redaction({**params, **found}, context)


def _told(params: Params, window: Window, looked: Looked, known: Known) -> Mapping[str, Any]:
    events = sorted(
        (known.event(event) for event in looked.events),
        key=lambda event: (event.at, event.action, event.principal, event.target),
    )
    return {
        "type": params["type"],
        "about": SOURCES[params["type"]].about,
        "since": format_time(window.since),
        "until": format_time(window.until),
        "seen": looked.seen,
        "events": [event.as_dict() for event in events],
        "gaps": [known.named(gap) for gap in looked.gaps],
    }


def run(params: Params, context: Context) -> Result:
    """Look at the source. Nothing is written, in check mode or otherwise.

    :raises KeyturnError: it cannot be looked at.
    """
    # It may be another machine's clock by which the end is not still to come.
    source, window = _source(params), _window(params, context.now() + _SKEW)
    values = [secret.reveal() for secret in unseal_values(params.get("contents"))]
    looked = source.look(params, window, context)
    return {"changed": False, **_told(params, window, looked, Known(values))}


_TEXTS = {"type": "list", "elements": "str", "default": []}
MODULE = ModuleCore(
    name="incident_reads",
    argument_spec={
        **KEYRING_OPTIONS,
        **REDACT_OPTIONS,
        **AWS_OPTIONS,
        **APP_OPTIONS,
        "type": {"type": "str", "required": True, "choices": sorted(SOURCES)},
        "since": {"type": "str", "required": True},
        "until": {"type": "str", "required": True},
        "parameters": _TEXTS,
        # Names, and no values.
        "secrets": {**_TEXTS, "no_log": False},
        "bucket": {"type": "str", "default": ""},
        "prefix": {"type": "str", "default": ""},
        "organization": {"type": "str", "default": ""},
        "accounts": _TEXTS,
        "regions": _TEXTS,
        "path": {"type": "str", "default": ""},
        "paths": _TEXTS,
        "roles": _TEXTS,
        "format": {"type": "str", "choices": [*FORMATS, *APP_FORMATS]},
        "log_line_prefix": {"type": "str", "default": "%m [%p] "},
        "utc_offset": {"type": "str", "default": ""},
        "decrypt": {"type": "bool", "default": True},
        "most": {"type": "int", "default": 5000},
        "most_calls": {"type": "int", "default": 1000},
    },
    run=run,
    host=True,
    prepare=prepare,
)
