# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit makes of what it read: places, claims, classes, the verdict and what cannot be meant."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible.plugins.loader import connection_loader
from ansible.utils.unsafe_proxy import wrap_var as unsafe
from ansible.vars.clean import clean_facts
from ansible_collections.keyturn.runbooks.plugins.action.audit import (
    filled,
    folders_listed_once,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._audit import audit
from ansible_collections.keyturn.runbooks.plugins.module_utils._audit_ahead import (
    Ahead,
    _Read,
    folders,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._audit_places import (
    Known,
    difference,
    prefix_of,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._process import describe_process
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import Observed
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._audit_report import (
    CLASSES,
    audit_table,
    brief,
    build_audit,
    checked_classes,
    failing,
)
from ansible_collections.keyturn.runbooks.plugins.plugin_utils._report_action import indented

try:
    from ansible.template import trust_as_template as trusted
except ImportError:
    trusted = str

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)
ONE, OTHER = (Secret(secrets.token_urlsafe(20)) for _side in range(2))


@pytest.mark.parametrize(
    ("observed", "wanted", "state"),
    [
        (Observed({"": ONE}), {"": ONE}, None),
        (Observed({"": OTHER}), {"": ONE}, "changed"),
        # There, but not as this collection would write it.
        (Observed({"": None}), {"": ONE}, "changed"),
        (Observed({}, exists=False), {"": ONE}, "gone"),
        (Observed({}), {"KEY": ONE}, "gone"),
        (Observed({"KEY": ONE}), {"KEY": None}, "changed"),
        (Observed({}), {"KEY": None}, None),
        (Observed({}, exists=False), {"KEY": None}, None),
        (Observed({"": ONE}, drift=("of mode 0644",)), {"": ONE}, "changed"),
    ],
)
def test_a_place_is_as_the_keyring_says_changed_or_gone(
    observed: Observed, wanted: dict[str, Secret | None], state: str | None
) -> None:
    told = difference(observed, wanted)
    assert (told[0] if told else None) == state
    assert told is None or not any(value.reveal() in told[1] for value in (ONE, OTHER))


class Estate:
    """Credentials with keyrings in files, and one sink each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.context = Context()
        self.definitions: dict[str, dict[str, Any]] = {}

    def add(self, name: str, age: float = 1, held: Secret | None = None, **stages: Stage) -> None:
        keyring, place = self.folder / f"{name}.json", self.folder / f"{name}.value"
        value = Secret(secrets.token_urlsafe(20))
        made = NOW - age * DAY
        parts: dict[str, Any] = {
            "current": Stage("r1", "observed", {"value": value}, made=made),
            **stages,
        }
        document = Document(name, secrets.token_bytes(32), **parts)
        given: dict[str, Any] = {
            key: document.with_fingerprints(stage) for key, stage in document.stages.items()
        }
        for path, text in (
            (keyring, dump_text(replace(document, **given))),
            (place, (held or value).reveal()),
        ):
            path.touch(0o600)
            path.write_text(text)
        sink = {"name": "app", "ref": f"ref+file://{place}", "template": "{current.value}"}
        self.definitions[name] = {
            "keyring": f"ref+file://{keyring}",
            "policy": {"rotate": "age", "max_age": "100d"},
            "issuer": {"type": "generated", "overlap": True},
            "sinks": [sink],
        }

    def look(self, *prefixes: str) -> dict[str, Any]:
        run = {**describe_process(1), "who": "", "why": ""}
        names = list(self.definitions)
        return audit(self.definitions, names, prefixes, [], run, self.context)

    def classes(self, notice: timedelta = timedelta(0)) -> dict[str, list[str]]:
        report = build_audit(self.look(), NOW, notice)
        return {name: entry["classes"] for name, entry in report["credentials"].items()}


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    made = Estate(tmp_path)
    yield made
    made.context.close()


def test_each_class_is_told_once(estate: Estate) -> None:
    pending = Stage("r2", "applied", {"value": Secret(secrets.token_urlsafe(20))}, made=NOW)
    estate.add("fresh")
    estate.add("notice", age=80)
    estate.add("soon", age=95)
    estate.add("due", age=101)
    estate.add("overdue", age=150)
    estate.add("changed", held=OTHER)
    # What is under way differs from the keyring for a while.
    estate.add("left", held=OTHER, pending=pending)
    retiring = Stage("r0", "retiring", {"value": Secret(secrets.token_urlsafe(20))}, made=NOW)
    estate.add("ending", held=OTHER, previous=retiring)
    estate.add("gone")
    (estate.folder / "gone.value").unlink()
    estate.definitions["never"] = dict(estate.definitions["fresh"], keyring="ref+file:///none/k")
    wanted = {name: [name] for name in ("soon", "due", "overdue", "changed", "left", "gone")}
    found = estate.classes()
    assert found == {**wanted, "fresh": [], "ending": [], "notice": [], "never": ["never_rotated"]}
    assert estate.classes(30 * DAY)["notice"] == ["soon"]


BAD = {
    "no keyring": {"keyring": ""},
    "no reference": {"keyring": "secret/keyrings/x"},
    "no such store": {"keyring": "ref+moon://x"},
    "a policy of no kind": {"policy": {"rotate": "sometimes"}},
    "an age that is none": {"policy": {"rotate": "age", "max_age": "soon"}},
    "a sink without a place": {"sinks": [{"template": "{current.value}"}]},
    "a sink of a wrong type": {"sinks": ["app"]},
    "a template of no stage": {"sinks": [{"ref": "ref+file:///x", "template": "{now.value}"}]},
    "two sinks of one name": {
        "sinks": [
            {"name": "a", "ref": f"ref+file:///{name}", "template": "{current.value}"}
            for name in "xy"
        ]
    },
    "a template that was not filled": {"failed": True, "kind": "BadInput", "msg": "undefined"},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_wrong_definition_is_a_row_and_stops_nothing(estate: Estate, bad: dict[str, Any]) -> None:
    estate.add("good")
    estate.add("bad")
    estate.definitions["bad"] = {**estate.definitions["bad"], **bad}
    report = build_audit(estate.look(), NOW)
    entries = report["credentials"]
    assert entries["good"]["classes"] == []
    assert entries["bad"]["classes"] == ["unreadable"]
    assert entries["bad"]["attention"]
    assert len(failing(report, ["unreadable"])) == 1


@pytest.mark.parametrize(
    "prefix",
    [
        "musehub/production/",
        "ref+vault://secret/musehub",
        "ref+awsssm://",
        "ref+awsssm:///",
        "ref+awsssm://musehub/production#/key",
        "ref+awsssm://arn:aws:ssm:eu-west-1:1:parameter/x",
        "",
    ],
)
def test_what_is_no_prefix_is_refused_before_anything_is_read(estate: Estate, prefix: str) -> None:
    with pytest.raises(BadInput, match="keyturn_audit_prefixes"):
        estate.look(prefix)


def test_a_prefix_may_end_in_a_slash() -> None:
    for text in ("ref+awsssm://a/b/", "ref+awsssm://a/b", "ref+awsssm://a/b/?region=eu-west-1"):
        assert prefix_of(text, "x")[1] == "/a/b"


def test_keyrings_sinks_and_what_a_definition_reads_are_claimed() -> None:
    known = Known(Context(environ={"AWS_REGION": "eu-west-1"}))
    sinks = parse_sinks([{"ref": "ref+awsssm://app/URL", "template": "{current.value}"}])
    login = {"admin": "ref+awsssm://app/ADMIN"}
    keyring = parse_reference("ref+awsssm://app/keyrings/db", "x")
    known.claim(keyring, sinks, {"issuer": {"login": login}, "owner": None})
    here, there = "region=eu-west-1", "region=eu-west-2"
    for name in ("/app/URL", "/app/ADMIN", "/app/keyrings/db/0000000012"):
        assert known.claims(here, name) and not known.claims(there, name)
    for name in ("/app/OTHER", "/app/keyrings/db/notes", "/app/keyrings/other/0000000012"):
        assert not known.claims(here, name)


def test_what_was_read_ahead_is_asked_of_nobody() -> None:
    asked: list[Any] = []

    class Client:
        """Tells what it was asked."""

        def get_parameters(self, **given: Any) -> dict[str, Any]:
            asked.append(given)
            return {"Parameters": [], "InvalidParameters": given["Names"]}

    read = _Read()
    read.keep_folder("/keyrings", [{"Name": "/keyrings/a/0000000001", "Value": "v"}])
    ahead = Ahead(Client(), read)
    path = ahead.get_paginator("get_parameters_by_path").paginate(Path="/keyrings/a")
    assert [item["Name"] for page in path for item in page["Parameters"]] == [
        "/keyrings/a/0000000001"
    ]
    names = ["/keyrings/a/0000000001", "/keyrings/a/0000000002"]
    assert ahead.get_parameters(Names=names)["InvalidParameters"] == names[1:]
    assert not asked
    ahead.get_parameters(Names=["/other"])
    assert asked and repr(ahead) == "Ahead()"


def test_a_folder_is_read_as_a_whole_where_it_holds_many() -> None:
    many = {f"/keyrings/c{number}" for number in range(10)}
    assert folders(many | {"/few/a", "/alone"}) == ["/keyrings"]
    assert folders({f"/c{number}" for number in range(20)}) == []


@pytest.mark.parametrize("given", [["odd"], ["due", "nothing"], [""], ["Overdue"]])
def test_what_is_no_class_is_refused(given: list[str]) -> None:
    with pytest.raises(BadInput, match="is unknown; expected nothing alone"):
        checked_classes(given, "fail_on")


def test_the_verdict_names_what_was_asked_for(estate: Estate) -> None:
    estate.add("changed", held=OTHER)
    estate.add("fine")
    item = {
        "name": "/x",
        "account": "",
        "type": "String",
        "version": 1,
        "modified": None,
        "by": None,
    }
    report = build_audit({**estate.look(), "unknown": [item], "unlisted": ["denied"]}, NOW)
    assert failing(report, checked_classes(["nothing"], "fail_on")) == []
    assert failing(report, ["overdue"]) == []
    assert failing(report, ["changed"]) == ["changed is changed"]
    assert failing(report, CLASSES) == ["changed is changed", "/x is unknown", "denied"]
    assert report["summary"]["findings"] == {"changed": 1, "unknown": 1}
    assert list(brief(report)["credentials"]) == ["changed"]
    lines = "\n".join(audit_table(report))
    assert "1 more: nothing to do" in lines and "/x: String, version 1" in lines
    assert "--limit changed --tags reload" in " ".join(lines.split())
    nobody: dict[str, Any] = {"results": {}, "unknown": [], "unlisted": []}
    assert audit_table(build_audit(nobody, NOW))[-1] == "0 credentials: none"


VARIABLES = {"inventory_hostname": "db", "port": 5, "other": "{{ port }}"}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("text", "text"),
        ({"a": ["b", 1, None, True]}, {"a": ["b", 1, None, True]}),
        (trusted("x/{{ inventory_hostname }}"), "x/db"),
        ([trusted("{{inventory_hostname}}-{{ inventory_hostname }}")], ["db-db"]),
        # All else is Ansible's: filters, numbers, other templates, what is marked as unsafe.
        (trusted("{{ inventory_hostname | upper }}"), None),
        (trusted("{{ port }}"), None),
        (trusted("{{ other }}"), None),
        (trusted("{{ nowhere }}"), None),
        ({"a": [{"b": trusted("{% if x %}")}]}, None),
        ({trusted("{{ inventory_hostname }}"): 1}, None),
        (object(), None),
        (unsafe("{{ inventory_hostname }}"), None),
    ],
)
def test_only_plain_names_are_filled_without_ansible(value: Any, wanted: Any) -> None:
    if wanted is None:
        with pytest.raises(LookupError):
            filled(value, VARIABLES)
    else:
        assert filled(value, VARIABLES) == wanted


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"a": {}, "b": [], "c": [{}, [1, [2.5]], "x"], "d": None, "e": True, "f": False},
        {
            "text": 'quote " back \\ line \n é \ud800 \x00',
            'na"me': (1, "2"),
            "big": 10**30,
            "e": 1e300,
        },
        {7: "one", None: 0, True: -1, 2.5: []},
        "text",
        None,
    ],
)
def test_a_report_is_written_as_json_writes_it(document: Any) -> None:
    assert indented(document) == json.dumps(document, indent=2)


def test_reading_many_hosts_lists_the_folders_of_plugins_once_and_leaves_ansible_as_it_was() -> (
    None
):
    before = list(connection_loader.all(path_only=True))
    with folders_listed_once():
        assert before
        assert list(connection_loader.all(path_only=True)) == before
        assert list(connection_loader.all(path_only=True)) == before
        with mock.patch("glob.glob", side_effect=AssertionError):
            assert clean_facts({"ansible_ssh_pass": 1, "kept": 2}) == {"kept": 2}
    assert "all" not in vars(connection_loader)
