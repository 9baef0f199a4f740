# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each way for the product to let a value out is put into it, and a rotation with it is found out in the right place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml
from leaks.flows import Course
from rotation import CREDENTIAL, FORCE

pytestmark = pytest.mark.pg_versions("16")
Maker = Callable[..., Course]
Record = Callable[[str, object], None]
DEFECTS = Path(__file__).with_name("defects.py")


def _load() -> Any:
    """The defects, as a run loads them."""
    spec = spec_from_file_location("defects_of_leaks", DEFECTS)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FOUND = {defect.__name__: where for defect, where in _load().FOUND.items()}
TOLD = {name: getattr(_load(), name).__doc__ for name in FOUND}
ALONE = [{name: where} for name, where in FOUND.items()]


def hits(made: Course, place: str, form: str) -> list[str]:
    """What was found of the new password in a place."""
    found = [hit for row in made.watch.rows if row.place == place for hit in row.hits]
    return [hit for hit in found if hit.startswith("password of ") and f"({form}) in " in hit]


@pytest.mark.parametrize("planted", [FOUND, *(ALONE if os.environ.get("KEYTURN_SOAK") else [])])
def test_it_is_found(
    course: Maker, record_property: Record, planted: dict[str, tuple[str, str]]
) -> None:
    made = course()
    made.estate.adopt()
    name = "everything" if planted is FOUND else next(iter(planted))
    made.run(name, "rotate_db", extra=FORCE, KEYTURN_DEFECT=f"{DEFECTS} {name}")
    document = made.estate.document()
    assert document.current and document.current.status == "observed"
    lost = [defect for defect, where in planted.items() if not hits(made, *where)]
    if planted is FOUND:
        for defect, (place, _form) in planted.items():
            said = TOLD[defect].strip(".")
            row = {"place": place, "defect": f"the product itself: {said[0].lower()}{said[1:]}"}
            record_property(
                "planted", json.dumps({**row, "forms": 1, "found": int(defect not in lost)})
            )
    assert lost == []


def test_what_a_failure_says_is_found(course: Maker) -> None:
    made = course()
    made.estate.adopt()
    env = {"KEYTURN_DEFECT": f"{DEFECTS} in_a_failure"}
    made.run("fails", "rotate_db", extra={**FORCE, "keyturn_wait": "1s"}, code=2, **env)
    assert [place for place in _load().FAILED if not hits(made, place, "raw")] == []


def test_arguments_of_a_module_on_the_disk_are_found(course: Maker) -> None:
    made = course()
    estate = made.estate
    estate.adopt()
    # The first password is one that an env file, which the module is given in base64, writes differently.
    estate.run("rotate_db", extra=FORCE).check()
    sinks = estate.definition()["keyturn_sinks"]
    asked = {"keyring": f"ref+file://{estate.keyring_path}", "credential": CREDENTIAL}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"keyturn_direct": False},
        "tasks": [{"keyturn.runbooks.publish": {**asked, "sinks": sinks}}],
    }
    book = estate.folder / "publish.yml"
    book.write_text(yaml.safe_dump([play]))
    env = {"KEYTURN_DEFECT": f"{DEFECTS} on_the_disk", "ANSIBLE_PIPELINING": "0"}
    with made.watch.over("on the disk"):
        estate.ansible.run(str(book), env=env).check()
    assert hits(made, "files written", "base64")


def test_every_place_is_found_out(course: Maker) -> None:
    places = {detector.name for detector in course().watch.detectors}
    found = {place for place, _form in FOUND.values()} | set(_load().FAILED)
    # Of its own the product has no facts to keep, and the pooler logs what users send it.
    assert places - found == {"fact cache", "PgBouncer's log"}
