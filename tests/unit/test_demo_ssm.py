# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the demo of parameters in AWS that need no server: its figures, its screen, its images as files, its record."""

from __future__ import annotations

import secrets
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_audit import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._ssm import pack
from cryptography.fernet import Fernet
from estate.playbook import Ansible, PlaybookResult
from show.screen import Compact, Screen, warnings
from show.story import Broken
from show_ssm import containers, main
from show_ssm.acts import Acts
from show_ssm.database import digest, readable
from show_ssm.figures import Figure, faults, figures_table, written
from show_ssm.film import Film
from show_ssm.incident import STRANGER, strangers_missing, summary
from show_ssm.scene import Scene, document


def test_a_figure_is_wrong_when_it_is_not_0_or_nothing_was_tried() -> None:
    figures = [
        Figure("refused", 0, 40, "calls"),
        Figure("failed", 2, 9, "logins"),
        Figure("missed", 0, 0, "rows"),
    ]
    assert faults(figures) == [
        "failed: 2 of 9 logins",
        "missed: nothing was counted, there were 0 rows",
    ]
    assert figures_table(figures).splitlines()[2:] == [
        "refused                 0  40 calls",
        "failed                  2  9 logins",
        "missed                  0    0 rows",
    ]


def test_what_was_written_is_told_by_its_place() -> None:
    before = {"same": "1", "newer": "1", "gone": "1"}
    assert written(before, {"same": "1", "newer": "2", "made": "1"}) == ["gone", "made", "newer"]


def test_rows_are_read_with_one_key_alone_and_compared_with_what_was_put_there() -> None:
    key, other = (Fernet.generate_key() for _number in range(2))
    rows = [(Fernet(one).encrypt(b"x").decode(), digest("x")) for one in (key, key, other)]
    rows.append((Fernet(key).encrypt(b"y").decode(), digest("x")))
    assert readable(rows, key.decode()) == 2


def test_a_keyring_is_read_as_the_store_writes_it() -> None:
    assert document(pack('{"stages": {}}', secrets.token_hex(4))) == {"stages": {}}


REPORT = [
    "TASK [keyturn.runbooks.keyturn : Show what was made, and what was not] ****",
    "CREDENTIAL  BOOTSTRAP",
    "token       made",
    "    sink 'app'",
    'ok: [token] => {"changed": false}',
]


def test_a_brief_screen_has_reports_and_failures_alone() -> None:
    compact = Compact(brief=True)
    lines = [
        "TASK [keyturn.runbooks.keyturn : Take the steps: rotate] ****",
        "  token: Stage the new value",
        'changed: [token] => {"changed": true}',
        *REPORT,
        "TASK [End with what was found] ****",
        'fatal: [token]: FAILED! => {"msg": "it is due"}',
        "PLAY RECAP ****",
        "token : ok=1    changed=1    unreachable=0    failed=1",
    ]
    shown = [text for line in lines for text in compact.feed(line)]
    assert shown == [
        *(f"    {line}" for line in REPORT[1:4]),
        "    fatal    End with what was found",
        "             it is due",
    ]


def test_steps_are_no_part_of_a_warning() -> None:
    stderr = "  db: Stage it\n[WARNING]: mount the\nfile\n  db: Forget it\n  db: Let others in\n"
    assert warnings(stderr) == ["[WARNING]: mount the file"]


def test_what_is_planted_in_an_image_without_podman_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    archives = containers.open_containers(tmp_path, 1, 2)
    assert "there is no podman" in archives.why or "root" in archives.why
    key = f"sk_{secrets.token_hex(16)}"
    clean, planted = archives.images(secrets.token_hex(24), key)
    defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
    told = [execute(MODULE, {**defaults, **one}, Context())["findings"] for one in (clean, planted)]
    assert told[0] == [] and containers.LEFT in {one["name"] for one in told[1]}
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("*.tar"))


def use(**told: Any) -> dict[str, Any]:
    return {"principal": "app", "address": "10.20.0.5", **told}


def test_the_record_is_told_in_a_few_lines() -> None:
    nobody: dict[str, Any] = {"unexpected": [], "denied": [], "expected": [use(count=3)]}
    reads = {**nobody, "unexpected": [use(principal=STRANGER)]}
    record = {"reads": reads, "logins": {**nobody, "denied": [use()]}, "timeline": [{}, {}]}
    rows = dict(summary(record))
    assert rows["not expected"] == f"{STRANGER} read it from 10.20.0.5"
    assert rows["expected"] == "3 reads, 3 logins"
    assert rows["refused"].startswith("1 login:") and rows["timeline"].startswith("2 steps")
    assert strangers_missing(record) == 0
    assert strangers_missing({"reads": nobody}) == 1
    assert strangers_missing({"reads": {"unexpected": [*reads["unexpected"], use()]}}) == 1


class Ended:
    """A run of a playbook that has come to its end."""

    def __init__(self, returncode: int, lines: list[str], stderr: str = "") -> None:
        self.result = PlaybookResult((), returncode, "\n".join(lines), stderr, 0.1)
        self.lines = lines

    def follow(self) -> list[str]:
        return self.lines

    def wait(self) -> PlaybookResult:
        return self.result

    def kill(self) -> None:
        """It has ended."""


def film_of(run: Ended, learnt: dict[str, str]) -> Film:
    ansible = SimpleNamespace(inventory=main.INVENTORY, start=lambda *_words, **_options: run)
    return Film(Screen(), cast(Ansible, ansible), lambda: learnt)


@pytest.mark.parametrize(
    ("status", "fails", "told"),
    [(2, "", "had to succeed"), (0, "it is due", "had to fail"), (2, "gone", "had to fail")],
)
def test_a_playbook_that_ends_otherwise_than_it_had_to_ends_the_film(
    status: int, fails: str, told: str
) -> None:
    film = film_of(Ended(status, ["it is due"]), {})
    with pytest.raises(Broken, match=told):
        film.play("audit", fails=fails)


def test_an_act_is_shown_and_what_it_left_is_searched_for() -> None:
    learnt = {"a token": secrets.token_urlsafe(24)}
    film = film_of(Ended(2, REPORT, "[WARNING]: mind it\n"), learnt)
    film.act("First", "Because.")
    for brief in ("report", "summary"):
        film.play("bootstrap", brief=brief, fails="sink 'app'")
    film.act("Second", "Because.")
    shown = film.screen.text()
    assert "\n1. First\n" in shown and "\n2. Second\n" in shown
    assert "$ ansible-playbook -i inventories/demo-ssm keyturn.runbooks.bootstrap" in shown
    assert (shown.count("token       made"), shown.count("sink 'app'")) == (2, 1)
    assert shown.count("mind it") == 1, "a warning is shown once"
    assert film.search.secrets == learnt


def test_an_act_that_breaks_is_a_fault_and_the_last_one() -> None:
    film, played = film_of(Ended(0, []), {}), list[str]()
    acts = Acts(cast(Scene, None), film)

    def breaks() -> None:
        raise Broken("it broke")

    chosen = (lambda: played.append("first"), breaks, lambda: played.append("never"))
    assert main.play(acts, chosen, film.screen, 0.0) == ["it broke"]
    assert played == ["first"]


def test_what_several_acts_had_is_counted_where_there_was_any() -> None:
    acts = Acts(cast(Scene, None), film_of(Ended(0, []), {}))
    acts.sum_up()
    assert acts.figures == []
    acts.rotations, acts.retired = [True, False], [True]
    acts.sum_up()
    assert faults(acts.figures) == ["rotations without a new value: 1 of 2 rotations"]
