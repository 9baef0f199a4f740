# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the demo that need no server: the search for secrets, the screen, the tables."""

from __future__ import annotations

import base64
import html
import json
import secrets
import shlex
import subprocess
import sys
from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.parse import quote

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from estate.collection import ROOT
from estate.playbook import Ansible
from show import main
from show.acts import SCENARIOS
from show.leaks import CommandLines, Search
from show.report import acts_table, faults, phases
from show.scene import Places, Scene
from show.screen import Compact, paragraph, table, warnings
from show.story import Act, Story, describe


@pytest.fixture
def value() -> str:
    """A secret with characters that every encoding changes."""
    return secrets.token_urlsafe(12) + "/+ \"'%é\\<&>x"


class TestSearch:
    @pytest.mark.parametrize(
        ("form", "write"),
        [
            ("raw", lambda value: value.encode()),
            ("URL-quoted", lambda value: quote(value, safe="").encode()),
            ("URL-quoted", lambda value: quote(value).encode()),
            ("JSON", lambda value: json.dumps({"password": value}).encode()),
            ("JSON", lambda value: json.dumps(json.dumps([value])).encode()),
            ("JSON", lambda value: json.dumps([value], ensure_ascii=False).encode()),
            ("XML", lambda value: html.escape(value).encode()),
            ("XML", lambda value: html.escape(value, quote=False).encode()),
            ("Python", lambda value: repr([value]).encode()),
            ("Python", lambda value: repr(value.encode()).encode()),
            ("Python", lambda value: html.escape(json.dumps(ascii(value))).encode()),
            ("shell", lambda value: shlex.quote(value).encode()),
            ("SQL", lambda value: ("'" + value.replace("'", "''") + "'").encode()),
            ("hexadecimal", lambda value: value.encode().hex().encode()),
            ("base64", lambda value: base64.b64encode(value.encode())),
            ("base64", lambda value: base64.b64encode(b"user:" + value.encode() + b" rest")),
            ("base64", lambda value: base64.b64encode(b"u:" + value.encode() + b"!")),
            ("base64", lambda value: base64.urlsafe_b64encode(b"u:x" + value.encode())),
        ],
    )
    def test_a_secret_is_found_however_it_is_written(
        self, form: str, write: object, value: str
    ) -> None:
        search = Search()
        search.know({"it": value})
        assert callable(write)
        found = search.text("here", b"before " + write(value) + b" after")
        assert form in {leak.form for leak in found}
        assert value not in "".join(map(str, search.leaks))

    def test_another_text_holds_none(self, value: str) -> None:
        search = Search()
        search.know({"it": value})
        assert search.text("here", secrets.token_bytes(4000)) == []
        assert (search.places, search.size) == (1, 4000)

    def test_a_secret_that_may_be_there_is_no_leak(self, value: str) -> None:
        search = Search()
        search.know({"it": value, "again": value, "other": value[::-1]})
        assert list(search.secrets) == ["it", "other"]
        assert search.text("here", value.encode(), without=["it"]) == []
        assert not search.leaks

    def test_a_file_is_searched_with_its_name(self, tmp_path: Path) -> None:
        value = secrets.token_hex(8)
        search = Search()
        search.know({"it": value})
        path = tmp_path / f"cache-{value}"
        path.touch()
        assert len(search.file(path)) == 1

    def test_a_value_that_is_found_by_chance_is_not_searched_for(self) -> None:
        with pytest.raises(ValueError, match="'it' is too short"):
            Search().know({"it": "short"})

    def test_a_command_line_is_seen(self) -> None:
        value = secrets.token_hex(8)
        with (
            CommandLines() as lines,
            subprocess.Popen(
                [sys.executable, "-c", "input()", value], stdin=subprocess.PIPE
            ) as process,
        ):
            while not any(value.encode() in line for line in set(lines.seen)):
                assert process.poll() is None
            process.terminate()


OUTPUT = """
PLAY [Rotate database credentials] *********

TASK [keyturn.runbooks.keyturn : Validating arguments against arg spec 'main' - Rotate a credential] ***
ok: [db_shop]

TASK [keyturn.runbooks.keyturn : Check every gate] ***
ok: [db_shop -> localhost]

TASK [keyturn.runbooks.keyturn : Stage the new value] ***
--- before: keyring of db_shop
+++ after: keyring of db_shop
@@ -1 +1,2 @@
 current: shop_a
+pending: shop_b (new)

--- before
+++ after
@@ -1 +0,0 @@
-gone

changed: [db_shop -> localhost]

TASK [keyturn.runbooks.keyturn : Not this one] ***
skipping: [db_shop]

TASK [keyturn.runbooks.keyturn : Say it] ***
ok: [db_shop] => {"msg": "first line\\n  second line"}

TASK [keyturn.runbooks.keyturn : Say more] ***
ok: [db_shop] => {"msg": ["one: 1", "two"]}

RUNNING HANDLER [keyturn.runbooks.keyturn : Reload consumers] ***
changed: [db_shop -> pooler] => (item=pooler)
ok: [db_shop -> app1(127.0.0.1)] => (item=shop)

TASK [keyturn.runbooks.keyturn : Fails] ***
  db_shop: waiting for it: 5 s of 60 s
fatal: [db_shop]: FAILED! => {"changed": false, "msg": "no good"}

PLAY RECAP *********
db_shop                    : ok=4    changed=2    unreachable=0    failed=1    skipped=1    rescued=0    ignored=0
"""
SHOWN = """
ok       Check every gate
changed  Stage the new value
keyring of db_shop
+ pending: shop_b (new)
the change
- gone
ok       Say it
first line
second line
ok       Say more
one: 1
two
changed  Reload consumers: pooler
ok       Reload consumers: shop
...      waiting for it: 5 s of 60 s
fatal    Fails
no good
= 2 changed, 1 failed
"""


class TestScreen:
    def test_output_is_shown_in_few_lines(self) -> None:
        compact = Compact()
        shown = [text.strip() for line in OUTPUT.splitlines() for text in compact.feed(line)]
        assert shown == SHOWN.strip().splitlines()
        assert compact.ended["Fails"] == 1

    def test_warnings_are_shown_once_in_one_line(self) -> None:
        stderr = "[WARNING]: one\n  goes on\n[DEPRECATION WARNING]: two\n[WARNING]: one\n  goes on\nrest\n"
        assert warnings(stderr) == [
            "[WARNING]: one goes on",
            "[DEPRECATION WARNING]: two",
            "[WARNING]: one goes on rest",
        ]
        assert warnings("") == []

    def test_a_paragraph_fits_the_screen(self) -> None:
        assert all(len(line) <= 100 for line in paragraph("word\n  " * 100).splitlines())

    def test_numbers_of_a_table_are_to_the_right(self) -> None:
        assert table(("", "n"), [("one", "1"), ("three", "10")], ("sum", "11")).splitlines() == [
            "        n",
            "-----  --",
            "one     1",
            "three  10",
            "-----  --",
            "sum    11",
        ]


class TestReport:
    def test_acts_are_summed_up(self) -> None:
        counts = {"transactions": 3, "failed_logins": 0, "failed_transactions": 1}
        shown = acts_table([Act("one", 1.25, counts), Act("two", 2.0, counts)]).splitlines()
        assert shown[-1].split() == ["sum", "3.2", "6", "0", "2"]

    def test_phases_of_the_first_rotation_are_measured_from_line_to_line(
        self, tmp_path: Path
    ) -> None:
        first = ["stage", "applied", "receive", "receive", "proved", "promote", "receive"]
        runs = [
            ("adopting", ["adopt", "release"]),
            ("first", [*first, "observed", "release"]),
            ("second", ["stage", "applied"]),
        ]
        steps = [(run, step) for run, its in runs for step in its]
        lines = [
            {"phase": step, "run_id": run, "time": f"2026-01-01T00:00:{number:02d}.500000Z"}
            for number, (run, step) in enumerate(steps)
        ]
        ledger = tmp_path / "ledger"
        ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
        began = datetime(2026, 1, 1, 0, 0, 2, tzinfo=timezone.utc).timestamp()
        assert phases(ledger, began) == [
            ("preflight, stage", 0.5),
            ("apply", 3.0),
            ("prove", 1.0),
            ("promote", 1.0),
            ("reload", 1.0),
            ("observe", 1.0),
            ("release", 1.0),
        ]


CLEAN = {
    "transactions": 9,
    "failed_logins": 0,
    "failed_transactions": 0,
    "failed_reloads": 0,
    "errors": {},
}


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """A demo that came to its end: its keyring, its env file, and a search that knows the password in use."""
    places = Places(tmp_path)
    for path in (places.keyring, places.keyring_password, places.env_file):
        path.parent.mkdir()
    value, key = secrets.token_urlsafe(24), secrets.token_bytes(24).hex().encode()
    places.keyring_password.write_bytes(key)
    document = {"stages": {"current": {"secrets": {"password": value}}}}
    library = VaultLib([("default", VaultSecret(key))])
    places.keyring.write_bytes(library.encrypt(json.dumps(document)))
    places.env_file.write_text(f"DATABASE_URL=postgresql://shop_a:{value}@127.0.0.1/shop\n")
    scene, ansible = SimpleNamespace(places=places), Ansible(tmp_path, tmp_path)
    made = Story(cast(Scene, scene), ansible, print)
    made.search.know({"password of shop_a": value})
    return made


def test_what_a_task_prints_itself_is_shown_as_it_is() -> None:
    compact = Compact()
    lines = [
        "TASK [keyturn.runbooks.keyturn : Show the state of all credentials] ****",
        "CREDENTIAL  DUE    AGE",
        "db_shop     fresh  1 s",
        "    a run is dead: run the playbook again",
        'ok: [db_shop] => {"changed": false}',
    ]
    shown = [text for line in lines for text in compact.feed(line)]
    assert shown[:3] == [f"    {line}" for line in lines[1:4]]


class TestFaults:
    def test_none_when_all_that_has_to_be_0_is_0(self, story: Story) -> None:
        assert faults(story, CLEAN) == []

    @pytest.mark.parametrize("counter", ["failed_logins", "failed_transactions", "failed_reloads"])
    def test_one_failure_of_the_application(self, story: Story, counter: str) -> None:
        last = {**CLEAN, counter: 1, "errors": {"authentication": 1}}
        assert faults(story, last) == [
            f"1 {counter.replace('_', ' ')}",
            "  authentication: 1 times",
        ]

    def test_one_leak(self, story: Story) -> None:
        (value,) = story.search.secrets.values()
        story.search.text("ansible.log", f"password={value}".encode())
        (fault,) = faults(story, CLEAN)
        assert fault == "leak: password of shop_a (raw) in ansible.log"

    def test_an_application_that_did_nothing(self, story: Story) -> None:
        assert faults(story, {**CLEAN, "transactions": 0}) == [
            "0 transactions: nothing was under load"
        ]

    @pytest.mark.parametrize("blunt", ["it was never told", "the env file holds another"])
    def test_a_search_that_could_not_have_found_anything(self, story: Story, blunt: str) -> None:
        if blunt == "it was never told":
            story.search.secrets.clear()
        else:
            story.scene.places.env_file.write_text("DATABASE_URL=postgresql://shop_a@127.0.0.1\n")
        (fault,) = faults(story, CLEAN)
        assert "it proves nothing" in fault

    def test_a_fault_is_the_last_thing_shown_and_the_exit_status(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found: list[str] = []
        monkeypatch.setattr(main, "Scene", nullcontext)
        monkeypatch.setattr(main, "introduce", lambda *_given: None)
        monkeypatch.setattr(main, "play_and_count", lambda *_given: found)
        assert main.run(keep=False) == 0
        found.append("1 failed logins")
        assert main.run(keep=False) == 1
        told = capsys.readouterr()
        assert told.err.splitlines()[-2:] == ["THE DEMO FAILED", "  1 failed logins"]


class TestStory:
    def test_a_keyring_is_described_in_a_line(self) -> None:
        stages = {
            "previous": {"fields": {"username": "a"}, "status": "grace", "failed": True},
            "current": {"fields": {"username": "b"}, "status": "observed"},
            "retained": [],
        }
        assert describe({"stages": stages}) == "current b (observed), previous a (grace, failed)"

    def test_acts_have_names_of_their_own_and_short_headings(self) -> None:
        assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
        assert all(len(scenario.title) <= 50 for scenario in SCENARIOS)

    def test_the_task_to_kill_after_is_in_the_role(self) -> None:
        tasks = (ROOT / "roles" / "keyturn" / "tasks" / "procedure.yml").read_text()
        (killed,) = [scenario.kill_after for scenario in SCENARIOS if scenario.kill_after]
        heading = '- name: "Take the steps: {{ keyturn_purpose }}"\n'
        assert heading in tasks and killed[0] == "Take the steps: rotate"
