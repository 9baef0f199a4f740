# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told when a value was brought to some places, and not to others: which are which, and what to run next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.action.procedure import (
    _only_looks_at_an_answer,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils import _procedure
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import Result
from ansible_collections.keyturn.runbooks.plugins.module_utils._procedure_places import (
    left_elsewhere,
)


class Estate:
    """A token in two files, which two commands pick up; the second one fails when it is told to."""

    def __init__(self, folder: Path, overlap: bool) -> None:
        self.folder, self.overlap = folder, overlap
        self.broken = folder / "broken"
        self.runs = 0
        self.shows = "{current.value}"
        self.warned: list[str] = []

    def run(self, purpose: str = "rotate", dry: bool = False, **options: Any) -> Result:
        """One procedure, in this process."""
        self.runs += 1
        test = ["sh", "-c", f"test ! -e {self.broken}"]
        given = {
            "purpose": purpose,
            "keyring": f"ref+file://{self.folder}/db.json",
            "credential": "token",
            "issuer": {"type": "generated", "overlap": self.overlap},
            "sinks": [
                {"name": name, "ref": f"ref+file://{self.folder}/{name}", "template": self.shows}
                for name in ("web", "worker")
            ],
            "consumers": [
                {"name": "first", "type": "command", "argv": ["true"], "reads": ["web"]},
                {"name": "second", "type": "command", "argv": test, "reads": ["worker"], "after": ["first"]},
            ],
            "probes": [{"type": "command", "argv": ["true"], "stdin": "{stage.value}", "refused_rc": 3}],
            "timeout": "1s",
            "force": True,
            **options,
        }  # fmt: skip
        spec = ArgumentSpecValidator(dict(_procedure.MODULE.argument_spec)).validate(given)
        assert not spec.error_messages
        who = {"run_id": f"run{self.runs}", "host": "here", "pid": os.getpid()}
        return _procedure.run(
            {**spec.validated_parameters, "run": who},
            Context(check_mode=dry, diff=dry, warn=self.warned.append),
        )

    def said(self) -> str:
        """What was warned of."""
        return "\n".join(self.warned)

    def message(self, purpose: str = "rotate", **options: Any) -> str:
        """What a procedure says that fails."""
        with pytest.raises(_procedure.Ended) as caught:
            self.run(purpose, **options)
        return caught.value.message


def in_use(result: Result) -> str:
    return str(result["keyring"]["stages"]["current"]["rotation_id"])


def test_a_cut_over_whose_return_fails_too_tells_who_has_what(tmp_path: Path) -> None:
    estate = Estate(tmp_path, overlap=False)
    before = in_use(estate.run())
    estate.broken.touch()
    told = estate.message()
    assert "The return to the previous value was begun and failed too" in told
    assert (
        f"The value of rotation {before} is in sinks web; worker and consumer first; it may not be in consumer second. Mend it and "
        "run the same playbook again"
    ) in told
    estate.broken.unlink()
    assert in_use(estate.run()) == before


def test_a_place_that_cannot_be_written_is_told_beside_those_that_were(tmp_path: Path) -> None:
    estate = Estate(tmp_path, overlap=True)
    before = in_use(estate.run())
    # The first attempt looks at how things are; the proof itself comes after every look at the places, and before the first write.
    place, seen = tmp_path / "worker", tmp_path / "seen"
    spoil = ["sh", "-c", f"test -e {seen} && rm -f {place} && mkdir -p {place}; touch {seen}"]
    told = estate.message(probes=[{"type": "command", "argv": spoil, "stdin": "{stage.value}"}])
    assert "The return to the previous value was begun and failed too" in told
    # The second consumer was told of nothing since, so it was seen using the value that is to come back.
    assert f"The value of rotation {before} is in sink web and consumer second; it may" in told
    assert "it may not be in sink worker and consumer first. Mend it and run the same" in told


def test_a_rollback_that_ends_half_way_tells_it_too(tmp_path: Path) -> None:
    estate = Estate(tmp_path, overlap=True)
    before = in_use(estate.run())
    estate.run()
    estate.broken.touch()
    told = estate.message("rollback")
    assert (
        f"The value of rotation {before} is in sinks web; worker and consumer first; it may" in told
    )
    assert (
        "not be in consumer second. It is begun: mend the cause and run the same playbook" in told
    )


def test_a_host_that_said_nothing_may_have_written_nothing() -> None:
    sink = {"template": "{current.value}", "host": "app1"}
    sinks = [{"name": name, "ref": f"ref+file:///x/{name}", **sink} for name in ("a", "b")]
    given: dict[str, Any] = {"sinks": sinks}
    assert left_elsewhere(given, {"failure": "", "unwritten": []}) == ()
    assert left_elsewhere(given, {"failure": "no answer", "unwritten": []}) == ("a", "b")
    assert left_elsewhere(given, {"failure": "full", "unwritten": ["b"]}) == ("b",)


def test_a_proof_that_cannot_prove_a_refusal_is_found_before_a_value_is_hidden(
    tmp_path: Path,
) -> None:
    estate = Estate(tmp_path, overlap=True)
    estate.run()
    told = ["sh", "-c", "true"]
    options = {"probes": [{"type": "command", "argv": told, "stdin": "{stage.value}"}]}
    estate.run(**options)
    assert (
        "its old value could not be ended: keyturn_probes[0].refused_rc: missing" in estate.said()
    )
    estate.run("compromise", reason="stolen")
    before = (tmp_path / "db.json").read_bytes()
    said = estate.message("retire", **options)
    assert "gate is closed. (1) probes: keyturn_probes[0].refused_rc: missing" in said
    after = (tmp_path / "db.json").read_bytes()
    assert b"retiring" not in before + after


def places(result: Result) -> list[dict[str, str]]:
    """What a dry run shows of places."""
    return [item for item in result["diff"] if "web" in item["before_header"]]


def test_a_dry_run_of_several_procedures_shows_each_place_as_it_would_be_by_then(
    tmp_path: Path,
) -> None:
    estate = Estate(tmp_path, overlap=True)
    estate.shows = "{current,previous.value|join:,}"
    estate.run()
    replay: list[Any] = []
    seen = []
    for purpose in ("compromise", "rotate", "retire"):
        done = estate.run(purpose, dry=True, reason="stolen", replay=replay)
        replay = done["replay"]
        seen += places(done)
    new, gone = seen
    assert new["before"] != new["after"] == gone["before"]


@pytest.mark.parametrize(("purpose", "phases", "response", "looks"), [
    ("rotate", ["preflight"], "rotate_first", True),
    ("rotate", ["preflight"], None, False),
    ("rotate", ["preflight", "stage"], "rotate_first", False),
    ("rotate", [], "rotate_first", False),
    ("retire", ["preflight"], "rotate_first", False),
])  # fmt: skip
def test_a_look_at_an_answer_is_one_at_what_is_compromised(
    purpose: str, phases: list[str], response: str | None, looks: bool
) -> None:
    variables = {"keyturn_response": response} if response else {}
    assert _only_looks_at_an_answer({"purpose": purpose}, phases, variables) is looks


def test_what_an_answer_would_rotate_is_not_called_too_young(tmp_path: Path) -> None:
    estate = Estate(tmp_path, overlap=True)
    estate.run()
    policy = {"rotate": "age", "max_age": "180d", "min_age": "90d"}
    look = {"phases": ["preflight"], "force": False, "policy": policy, "reason": "stolen"}
    (told,) = estate.run(**look)["say"]
    assert "too young to rotate" in told
    found = estate.run(**look, emergency=True)
    assert "only the gates were checked" in found["say"][-1] and not found["changed"]
    assert not estate.run(**{**look, "phases": []}, emergency=True)["changed"]
