# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place that was changed behind the keyring's back is written again, and whoever reads it is told again."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.keyturn.runbooks.plugins.module_utils import (
    _deliver,
    _keyring_step,
    _publish,
    _receipts,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import KeyturnError, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    ModuleCore,
    concluded,
    execute,
    prepared,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import to_plain

RUN = {"run_id": "run1", "host": "elsewhere", "pid": 1, "who": "ann", "why": "test"}


class Credential:
    """An adopted value that two files hold, one of which each of two programs reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.value = secrets.token_urlsafe(24)
        self.told = folder / "told"
        sinks = [self._sink(name) for name in ("app", "worker")]
        consumers = [self._consumer(name) for name in ("app", "worker")]
        self.common: dict[str, Any] = {
            "keyring": f"ref+file://{folder}/db.json",
            "credential": "db",
            "run": RUN,
            "sinks": sinks,
            "consumers": consumers,
            "issuer": {"type": "generated", "overlap": True},
        }
        proof = [{"type": "command", "ok": True, "detail": "it works"}]
        adopted = {"value": {"value": self.value}, "evidence": proof}
        self.do(_keyring_step.MODULE, transition="adopt", **adopted)
        self.deliver()
        assert self.pop() == ["app", "worker"]

    def _sink(self, name: str) -> dict[str, Any]:
        ref = f"ref+file://{self.folder}/{name}.value"
        return {"name": name, "ref": ref, "template": "{current.value}"}

    def _consumer(self, name: str) -> dict[str, Any]:
        argv = ["sh", "-c", f"echo {name} >>{self.told}"]
        return {"name": name, "type": "command", "argv": argv, "reads": [name]}

    def params(self, core: ModuleCore, **more: Any) -> dict[str, Any]:
        known = {name: value for name, value in self.common.items() if name in core.argument_spec}
        validated = ArgumentSpecValidator(dict(core.argument_spec)).validate({**known, **more})
        assert not validated.error_messages
        return dict(validated.validated_parameters)

    def do(self, core: ModuleCore, check: bool = False, **more: Any) -> dict[str, Any]:
        result: dict[str, Any] = execute(core, self.params(core, **more), Context(check))
        return result

    def deliver(self, check: bool = False) -> dict[str, Any]:
        return self.do(_deliver.MODULE, check)

    def late(self) -> list[str]:
        return [item["name"] for item in self.do(_receipts.MODULE)["consumers"]]

    def pop(self) -> list[str]:
        """Who was told since the last time."""
        names = self.told.read_text("utf-8").split() if self.told.exists() else []
        self.told.unlink(missing_ok=True)
        return names

    def holds(self, name: str) -> bool:
        return (self.folder / f"{name}.value").read_text("utf-8") == self.value

    def spoil(self, name: str) -> None:
        (self.folder / f"{name}.value").write_text("put back by hand", "utf-8")


@pytest.fixture
def credential(tmp_path: Path) -> Credential:
    return Credential(tmp_path)


def _remove(credential: Credential) -> None:
    (credential.folder / "app.value").unlink()


def _replace(credential: Credential) -> None:
    credential.spoil("app")


@pytest.mark.parametrize("harm", [_remove, _replace])
def test_its_reader_alone_is_told_again(
    credential: Credential, harm: Callable[[Credential], None]
) -> None:
    harm(credential)
    looked = credential.deliver(check=True)
    assert not credential.pop()
    done = credential.deliver()
    assert credential.pop() == ["app"]
    assert credential.holds("app") and not credential.late()
    for result in (looked, done):
        assert [sink["changed"] for sink in result["sinks"]] == [True, False]
        assert [told["consumer"] for told in result["consumers"]] == ["app"]
    assert not credential.deliver()["changed"] and not credential.pop()


def test_a_run_that_ends_right_before_the_write_has_forgotten_it(credential: Credential) -> None:
    credential.spoil("app")
    core, params = _publish.MODULE, credential.params(_publish.MODULE)
    ready = prepared(core, params, Context())
    take_back = ready["contents"].take_back

    def ends(names: list[str]) -> None:
        take_back(names)
        raise KeyboardInterrupt

    ready["contents"].take_back = ends
    with pytest.raises(KeyboardInterrupt):
        core.run(ready, Context())
    assert not credential.holds("app") and credential.late() == ["app"]


def test_on_another_machine_it_is_forgotten_after_the_write(credential: Credential) -> None:
    """A module there gets a plain copy, and its result comes back to where it was prepared."""
    credential.spoil("app")
    core, params = _publish.MODULE, credential.params(_publish.MODULE)
    for check in (True, False):
        context = Context(check)
        ready = prepared(core, params, context)
        sent = to_plain(ready)
        assert sent["consumers"] == []
        result = concluded(core, ready, core.run(sent, context), context)
        names = [name for step in result.get("replay", ()) for name in step["receipts"]]
        assert names == (["app"] if check else [])
        assert credential.late() == ([] if check else ["app"])


def test_of_a_part_that_another_machine_did_its_reader_is_told(credential: Credential) -> None:
    """It failed afterwards, or says of itself what it likes: it has a say in its own sinks alone."""
    sinks = [{**sink, "host": f"{sink['name']}-machine"} for sink in credential.common["sinks"]]
    own = {"sinks": sinks, "host": "app-machine"}
    core, params = _publish.MODULE, credential.params(_publish.MODULE, **own)
    assert core.concludes_failures
    for answer, late in (
        ({"failed": True}, []),
        ({"failed": True, "sinks": ["app", {"changed": True}]}, []),
        ({"sinks": [{"name": "worker", "changed": True}]}, []),
        ({"failed": True, "sinks": [{"name": "app", "changed": True}]}, ["app"]),
    ):
        ready = prepared(core, params, Context())
        assert core.conclude and core.conclude(ready, answer, Context()) == answer
        assert credential.late() == late


def test_a_place_that_cannot_be_written_leaves_its_reader_to_be_told(
    credential: Credential,
) -> None:
    credential.spoil("app")
    (credential.folder / "worker.value").unlink()
    (credential.folder / "worker.value").mkdir()
    with pytest.raises(KeyturnError) as caught:
        credential.deliver()
    assert caught.value.details["changed"] is True
    assert credential.holds("app") and credential.late() == ["app"]
    (credential.folder / "worker.value").rmdir()
    credential.deliver()
    assert credential.pop() == ["app", "worker"]


def test_beside_another_run_nothing_is_forgotten(credential: Credential) -> None:
    credential.do(_keyring_step.MODULE, transition="claim")
    credential.spoil("app")
    with pytest.raises(Refused):
        credential.do(_publish.MODULE, run={**RUN, "run_id": "run2"})
    assert not credential.holds("app") and not credential.late()
