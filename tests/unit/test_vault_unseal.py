# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares and where they are kept; seals that a real server cannot be brought to in a test."""

from __future__ import annotations

import base64
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _vault_unseal
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    Conflict,
    Refused,
    Sealed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_unseal import SealState
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_unseal_shares import Shares

SEALED = SealState(
    initialized=True,
    sealed=True,
    kind="shamir",
    threshold=3,
    total=5,
    progress=0,
    nonce="",
    migration=False,
    version="1.21.2",
)


def new_share() -> str:
    return base64.b64encode(secrets.token_bytes(33)).decode()


def places(folder: Path, count: int) -> list[str]:
    found = []
    for number in range(count):
        path = folder / f"share{number}"
        path.touch(mode=0o600)
        path.write_text(new_share())
        found.append(f"ref+file://{path}")
    return found


class FakeNode:
    """A node with a seal of its own; ``script`` is what happens at each share that it is given."""

    def __init__(self, state: SealState, script: list[Any]) -> None:
        self.address = "https://vault.example"
        self.now = state
        self.script = script
        self.given: list[str] = []
        self.served = True

    def state(self) -> SealState:
        return self.now

    def reset(self) -> SealState:
        self.now = replace(self.now, progress=0, nonce="")
        return self.now

    def give(self, share: Secret, name: str) -> SealState | None:
        self.given.append(name)
        change = self.script.pop(0)
        if change is None:
            self.now = replace(self.now, progress=0, nonce="")
            return None
        self.now = replace(self.now, **change)
        return self.now

    def serves(self) -> bool:
        return self.served


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the core against one such node."""

    def start(node: FakeNode, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        monkeypatch.setattr(_vault_unseal, "Node", lambda _url, _context: node)
        spec = _vault_unseal.SPEC
        params = {name: option.get("default") for name, option in spec.items()}
        params.update({"shares": places(tmp_path, 3), "wait": "0s", **options})
        context = Context(environ={}, check_mode=check_mode)
        return _vault_unseal.run(params, context)

    return start


def counted(*numbers: int, nonce: str = "n") -> list[Any]:
    return [{"progress": number, "nonce": nonce} for number in numbers]


def test_one_that_unseals_itself_is_left_to_do_so(run: Any) -> None:
    node = FakeNode(replace(SEALED, kind="awskms"), [])
    with pytest.raises(Sealed, match="unseals itself by awskms"):
        run(node, shares=["ref+file:///nowhere"])
    assert node.given == []
    opened = FakeNode(replace(SEALED, kind="awskms", sealed=False), [])
    assert run(opened, shares=["ref+file:///nowhere"])["changed"] is False


def test_a_seal_that_is_being_moved_is_left_to_a_person(run: Any) -> None:
    node = FakeNode(replace(SEALED, migration=True), [])
    with pytest.raises(Refused, match="unseal -migrate"):
        run(node)
    assert node.given == []


def test_somebody_who_begins_anew_all_the_time_is_told(run: Any) -> None:
    steps = [{"progress": 1, "nonce": str(number)} for number in range(20)]
    node = FakeNode(SEALED, steps)
    with pytest.raises(Conflict, match="by somebody else at the same time"):
        run(node)


def test_somebody_who_begins_anew_once_is_got_over(run: Any) -> None:
    steps = [*counted(1), *counted(1, nonce="other"), *counted(2, nonce="other"), {"sealed": False}]
    assert run(FakeNode(SEALED, steps))["changed"] is True


def test_one_that_another_run_opens_meanwhile(run: Any) -> None:
    node = FakeNode(SEALED, [*counted(1), {"sealed": False}])
    assert run(node)["changed"] is True
    assert node.given == ["shares[0]", "shares[1]"]


def test_a_wrong_share_of_ours_is_an_error_at_once(run: Any) -> None:
    node = FakeNode(SEALED, [*counted(1, 2), None])
    with pytest.raises(BadInput, match="at least one is wrong"):
        run(node)
    assert len(node.given) == 3


def test_open_but_without_a_leader(run: Any) -> None:
    node = FakeNode(SEALED, [*counted(1, 2), {"sealed": False}])
    node.served = False
    with pytest.raises(Unreachable, match="more than half of its nodes") as caught:
        run(node)
    assert caught.value.details["changed"] is True


def test_check_mode_gives_nothing(run: Any) -> None:
    node = FakeNode(SEALED, [])
    assert run(node, check_mode=True)["changed"] is True
    assert node.given == []


@pytest.mark.parametrize(
    "bad",
    [new_share(), "", "keyring#/current/share", "plain words"],
    ids=["share", "empty", "keyring", "words"],
)
def test_what_is_no_reference_is_refused_without_showing_it(bad: str) -> None:
    with pytest.raises(BadInput, match=r"shares\[1\]: expected a reference") as caught:
        Shares(["ref+file:///a", bad], False, Context(environ={}))
    assert not bad or bad not in caught.value.message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ref+file:///keys.json#/1", "ref+file:///keys.json#/2"),
        ("ref+file:///a/../keys#/1", "ref+file:///keys?format=json#/2"),
        ("ref+vault://secret/unseal#/1", "ref+vault://secret/unseal?version=3#/2"),
        ("ref+k8s://v1/Secret/ns/unseal/1", "ref+k8s://v1/Secret/ns/unseal/2"),
        ("ref+awsssm://unseal?mode=singleparam#/1", "ref+awsssm://unseal?mode=singleparam#/2"),
        ("ref+envsubst://$SHARE", "ref+envsubst://${SHARE}"),
    ],
)
def test_two_shares_in_one_place(one: str, other: str) -> None:
    context = Context(environ={})
    with pytest.raises(Refused, match="shares_together"):
        Shares([one, other], False, context)
    Shares([one, other], True, context)


def test_a_link_to_the_same_file_is_the_same_place(tmp_path: Path) -> None:
    (reference,) = places(tmp_path, 1)
    (tmp_path / "link").symlink_to(tmp_path / "share0")
    with pytest.raises(Refused):
        Shares([reference, f"ref+file://{tmp_path}/link"], False, Context(environ={}))


@pytest.mark.parametrize("address", ["", "?address=https://one.example"])
def test_two_vaults_are_two_places(address: str) -> None:
    one = f"ref+vault://secret/unseal{address}#/1"
    Shares([one, "ref+vault://secret/unseal?address=https://two.example#/1"], False, Context())


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (secrets.token_bytes(33).hex(), True),
        (base64.b64encode(secrets.token_bytes(32)).decode() + "\n", True),
        (secrets.token_bytes(15).hex(), False),
        (secrets.token_bytes(34).hex(), False),
        ("Unseal Key 1: abc", False),
    ],
    ids=["hex", "base64", "short", "long", "words"],
)
def test_the_form_of_a_share(tmp_path: Path, text: str, good: bool) -> None:
    path = tmp_path / "share"
    path.touch(mode=0o600)
    path.write_text(text)
    shares = Shares([f"ref+file://{path}"], False, Context(environ={}))
    if good:
        shares.need(1, 3)
        return
    with pytest.raises(BadInput, match="no share of an unseal key") as caught:
        shares.need(1, 3)
    assert text not in caught.value.message


def test_no_more_shares_are_read_than_needed(tmp_path: Path) -> None:
    references = places(tmp_path, 2)
    shares = Shares([*references, "ref+file:///nowhere"], False, Context(environ={}))
    shares.need(2, 3)
    assert shares.used(3) == ["shares[0]", "shares[1]"]
    assert "nowhere" not in repr(shares)
