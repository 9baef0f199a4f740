# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What templates tell of a rotation beside its values: when, why, who."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import open_keyring
from ansible_collections.keyturn.runbooks.plugins.module_utils._consumers import (
    parse_consumers,
    sinks_read,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import (
    digests,
    parse_sinks,
    render_sinks,
    requires_username,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._stage_facts import FACTS
from ansible_collections.keyturn.runbooks.plugins.module_utils._template import (
    StageAbsent,
    Template,
)

SALT = bytes(range(32))
WHEN = datetime(2026, 11, 22, 23, 30, 5, 7, timezone.utc)


def stage(status: str = "promoted", **more: Any) -> Stage:
    fields = {"key": Secret(secrets.token_urlsafe(12)), **more.pop("fields", {})}
    return Stage(more.pop("rotation_id", "r1"), status, fields, **more)


def document(**stages: Any) -> Document:
    return Document("restream", SALT, **stages)


def template(text: str) -> Template:
    return Template.parse(text, "sink 'log'")


def render(text: str, of: Document) -> str:
    found = template(text).render(of)
    assert found.known
    return found.reveal()


def test_facts_of_a_stage() -> None:
    held = document(current=stage(made=WHEN, promoted=WHEN, reason="leak", operator="mira"))
    assert render("{current.promoted}", held) == "2026-11-22T23:30:05.000007Z"
    assert render("{current.promoted|date}", held) == "2026-11-22"
    assert render("{current.made|date|b64}", held) == "MjAyNi0xMS0yMg=="
    text = "{current.rotation_id} reason={current.reason} operator={current.operator}"
    assert render(text, held) == "r1 reason=leak operator=mira"


def test_who_and_why_that_nobody_told_is_a_dash() -> None:
    held = document(current=stage())
    assert render("{current.reason} {current.operator}", held) == "- -"


def test_a_time_that_is_not_known_holds_the_sink() -> None:
    taken_over = document(current=stage(), pending=stage("issued", made=WHEN))
    for text in (
        "{current.promoted|date}",
        "{pending.promoted}",
        "{current,pending.promoted|join}",
    ):
        with pytest.raises(StageAbsent, match="not known when"):
            template(text).render(taken_over)
    assert render("{current,pending.made|date|join:,}", taken_over) == "2026-11-22"


def test_a_field_of_that_name_comes_first() -> None:
    held = document(current=stage(promoted=WHEN, fields={"promoted": "by hand"}))
    assert render("{current.promoted}", held) == "by hand"
    with pytest.raises(BadInput, match="date takes a time") as caught:
        template("{current.promoted|date}").render(held)
    assert "by hand" not in caught.value.message


def test_a_field_that_is_neither_names_both() -> None:
    with pytest.raises(
        BadInput, match=r"its fields are: key\. Beside them there is made, operator"
    ):
        template("{current.promotd}").render(document(current=stage()))


def test_a_secret_that_is_no_time_is_not_quoted() -> None:
    held = document(current=stage())
    with pytest.raises(BadInput) as caught:
        template("{current.key|date}").render(held)
    key = held.current and held.current.secret("key")
    assert key and key.reveal() not in caught.value.message


def test_check_mode_knows_the_day_and_no_more() -> None:
    new = document(current=stage(rotation_id="(new)", promoted=WHEN, operator="mira"))
    assert render("{current.promoted|date} {current.operator}", new) == "2026-11-22 mira"
    for text in ("{current.promoted}", "{current.rotation_id}"):
        assert not template(text).render(new).known
    other = document(current=stage(rotation_id="(new)", promoted=WHEN + timedelta(seconds=1)))
    text = "{current.promoted} {current.reason}"
    assert template(text).render(new) == template(text).render(new)
    assert template(text).render(new) != template(text).render(other)


def test_a_dry_run_tells_one_time_in_all_its_tasks(tmp_path: Path) -> None:
    path = tmp_path / "restream.json"
    path.write_text(dump_text(document().__class__("restream", SALT, updated=WHEN)))
    clock = [WHEN + timedelta(hours=1)]

    def now() -> datetime:
        clock[0] += timedelta(seconds=7)
        return clock[0]

    context = Context(check_mode=True, now=now)
    params: dict[str, Any] = {"keyring": f"ref+file://{path}", "credential": "restream"}
    first = open_keyring(params, context)
    fields = {"key": Secret.new()}
    for step in ("stage", "applied", "proved", "promote"):
        asked = Request(
            step, first.run, rotation_id="(new)", fields=fields, evidence=({"probe": "stream"},)
        )
        assert first.step(asked)
    later = open_keyring({**params, "replay": first.replay}, context)
    assert first.document and first.document.current
    assert later.document and later.document.current
    assert first.document.current.promoted is not None
    assert later.document.current.promoted == first.document.current.promoted
    text = template("{current.promoted}")
    assert text.render(later.document) == text.render(first.document)


def test_only_who_reads_such_a_sink_is_told_of_it() -> None:
    definitions = [
        {"name": "key", "ref": "ref+file:///etc/k", "template": "{current.key}"},
        {"name": "day", "ref": "ref+file:///etc/d", "template": "{current.promoted|date}"},
    ]
    sinks = parse_sinks(definitions)
    assert [sink.tells_only for sink in sinks] == [False, True]
    assert not requires_username(sinks)
    current = stage(promoted=WHEN)
    one = document(current=current)
    later = stage(promoted=WHEN + timedelta(days=2), fields=dict(current.fields))
    seen = [digests(held, render_sinks(held, sinks)) for held in (one, document(current=later))]
    assert seen[0]["key"] == seen[1]["key"] and seen[0]["day"] != seen[1]["day"]


def test_every_fact_is_told_of_a_stage_that_has_them_all() -> None:
    held = document(current=stage(made=WHEN, promoted=WHEN, reason="r", operator="o"))
    assert all(render(f"{{current.{name}}}", held) for name in FACTS)


def test_a_consumer_that_names_nothing_does_not_read_it() -> None:
    definitions = [
        {"name": "key", "ref": "ref+file:///etc/k", "template": "{current.key}"},
        {"name": "path", "ref": "ref+file:///etc/p", "template": "/etc/k"},
        {"name": "day", "ref": "ref+file:///etc/d", "template": "{current.promoted|date}"},
    ]
    relay = {"name": "relay", "type": "none"}
    silent, asks = parse_consumers([relay, {**relay, "name": "page", "reads": ["day"]}])
    sinks = parse_sinks(definitions)
    assert sinks_read(silent, sinks) == ("key", "path")
    assert sinks_read(asks, sinks) == ("day",)
