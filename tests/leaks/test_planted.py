# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every detector finds what is put before it on purpose, in every form: one that finds nothing proves nothing."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg2
import pytest
from estate.errors import EstateError, Missing
from leaks import trace
from leaks.flows import Course
from leaks.page import page
from leaks.plants import FORMS, Plants
from leaks.search import QuickSearch
from show.leaks import Search, forms

pytestmark = pytest.mark.pg_versions("16")
Plant = Callable[[Course, Plants], None]
Maker = Callable[..., Course]


def played(*tasks: dict[str, Any]) -> Plant:
    """A playbook lets it out."""

    def plant(made: Course, plants: Plants) -> None:
        made.estate.ansible.run(str(plants.play(made.estate.folder, *tasks)), "-vvvv").check()

    return plant


def program(code: str) -> Plant:
    """A program that a playbook runs lets it out: ``source`` is the file that has it, ``temp`` where temporary files go."""
    before = "import os, shutil, sys, tempfile; source, temp = sys.argv[1], tempfile.gettempdir() + '/note'; "
    source = "{{ playbook_dir }}/texts"
    return played(
        {"ansible.builtin.command": {"argv": [sys.executable, "-c", before + code, source]}}
    )


def sent_to_server(made: Course, plants: Plants) -> None:
    for text in plants.texts:
        made.estate.database.execute(f"SELECT 1 /* {text} */")


def sent_to_pooler(made: Course, plants: Plants) -> None:
    pooler = made.estate.pooler
    assert pooler
    for text in plants.texts:
        with suppress(psycopg2.OperationalError):
            pooler.connect(text, "any").close()


def noted(made: Course, plants: Plants) -> None:
    with made.estate.ledger_path.open("a") as ledger:
        ledger.writelines(json.dumps({"text": text}) + "\n" for text in plants.texts)


SYSLOG = (
    "import socket; place = tempfile.mkdtemp() + '/log'; "
    "server, logged = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _end in range(2)); "
    "server.bind(place); logged.connect(place); "
)
PRINTED = played({"ansible.builtin.debug": {"var": "texts"}})
DEFECTS: dict[str, dict[str, Plant]] = {
    "output": {"a task prints it": PRINTED},
    "Ansible's log": {"a task prints it": PRINTED},
    "JSON callback": {"a result holds it": PRINTED},
    "junit callback": {"a result holds it": PRINTED},
    "fact cache": {
        "a fact is kept": played(
            {"ansible.builtin.set_fact": {"kept": "{{ texts }}", "cacheable": True}}
        )
    },
    "command lines": {
        "a program gets it as an argument": played(
            {"ansible.builtin.command": {"argv": "{{ ['true'] + texts }}"}}
        ),
    },
    "environments": {
        "a program gets it in its environment": played(
            {"ansible.builtin.command": "true", "environment": {"VALUE": "{{ texts | join(' ') }}"}}
        ),
        "a program of a program does": program(
            "os.environ['VALUE'] = open(source).read(); os.system('/bin/true')"
        ),
    },
    "files written": {
        "a temporary file is removed again": program(
            "open(temp, 'w').write(open(source).read()); os.remove(temp)"
        ),
        "a copy is removed again": program("shutil.copyfile(source, temp); os.remove(temp)"),
        "a file in memory is removed again": program(
            "temp = f'/dev/shm/{os.getpid()}'; open(temp, 'w').write(open(source).read()); os.remove(temp)"
        ),
    },
    "files left": {
        "a temporary file stays": program("open(temp, 'w').write(open(source).read())"),
    },
    "files beside": {
        "a successor stays": program(
            "held = os.path.dirname(os.path.dirname(source)); "
            "shutil.copyfile(source, held + '/.keyring.json.keyturn-1-00')"
        ),
    },
    "sockets of the machine": {
        "a line of syslog has it": program(SYSLOG + "logged.send(open(source, 'rb').read())"),
        "a datagram of another way has it": program(
            SYSLOG + "logged.sendmsg([open(source, 'rb').read()])"
        ),
    },
    "readable by others": {
        "a file is open to others": program(
            "open(temp, 'w').write(open(source).read()); os.chmod(temp, 0o644)"
        ),
        "a file is open to others for a moment": program(
            "to = os.open(temp, os.O_CREAT | os.O_WRONLY, 0o644); os.fchmod(to, 0o600); "
            "os.write(to, open(source, 'rb').read()); os.remove(temp)"
        ),
        "a file is opened to others for a moment": program(
            "to = os.open(temp, os.O_CREAT | os.O_WRONLY, 0o600); os.write(to, open(source, 'rb').read()); "
            "os.chmod(temp, 0o644); os.chmod(temp, 0o600); os.remove(temp)"
        ),
    },
    "PostgreSQL's log": {"a statement has it": sent_to_server},
    "PgBouncer's log": {"a login has it as its name": sent_to_pooler},
    "ledger": {"a line has it": noted},
}
CASES = [(place, name) for place, plants in DEFECTS.items() for name in plants]


@pytest.mark.parametrize(("place", "name"), CASES)
def test_it_is_found(
    course: Maker, record_property: Callable[[str, object], None], place: str, name: str
) -> None:
    made, plants = course(), Plants()
    made.known.update(plants.values)
    with made.watch.over(place):
        DEFECTS[place][name](made, plants)
    lost = made.watch.missed(place, plants.values)
    told = {"place": place, "defect": name, "forms": len(FORMS), "found": len(FORMS) - len(lost)}
    record_property("planted", json.dumps(told))
    assert lost == []
    assert not any(value in hit for value in plants.values.values() for hit in made.watch.hits())


def test_it_is_found_in_the_name_of_a_file(course: Maker) -> None:
    made, plants = course(), Plants()
    made.known.update(plants.values)
    code = "os.rmdir(os.mkdir(temp + open(source).readline().strip()) or temp + open(source).readline().strip())"
    with made.watch.over("files written"):
        program(code)(made, plants)
    assert "raw" not in made.watch.missed("files written", plants.values)


def test_every_place_has_a_defect(course: Maker) -> None:
    assert {detector.name for detector in course().watch.detectors} == set(DEFECTS)


def test_a_place_without_a_plant_is_no_page() -> None:
    row = {"flow": "a flow", "place": "somewhere", "size": 1, "secrets": 1, "hits": []}
    defect = {"place": "somewhere", "defect": "a file", "forms": 2, "found": 2}
    assert "| somewhere | a file | 2 of 2 |" in page([row], [defect])
    with pytest.raises(ValueError, match="nothing is planted in: elsewhere"):
        page([row, {**row, "place": "elsewhere"}], [defect])


def test_a_quick_search_finds_what_a_slow_one_does() -> None:
    known = {**Plants().values, **{str(size): secrets.token_urlsafe(size) for size in range(8, 40)}}
    slow, quick = Search(), QuickSearch()
    for search in (slow, quick):
        search.know({"raw": secrets.token_urlsafe(30)})
        search.know(known)
    texts = [text for value in known.values() for found in forms(value).values() for text in found]
    for text in texts[::29]:
        content = secrets.token_bytes(secrets.randbelow(20)) + text + b"."
        assert set(quick.text("a place", content)) == set(slow.text("a place", content))
    everything = b" ".join(texts)
    assert {leak.secret for leak in quick.text("all", everything)} == set(known)
    assert quick.text("all", everything, without=known) == []


def test_what_strace_leaves_out_is_an_error() -> None:
    cut = r'write(3<\x2f\x61>, "\x61"..., 9) = 9'
    with pytest.raises(EstateError, match="cut off"):
        trace.parse(cut)
    with pytest.raises(EstateError, match="no arguments"):
        trace.parse(r'execve("\x61", 0x7f00, 0x7f08 /* 3 vars */) = 0')


def test_strace_that_is_missing_is_a_real_part_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Missing, match="install the Debian package strace"):
        trace.strace()
