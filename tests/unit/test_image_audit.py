# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found in an image and told of it, with archives made here; a real podman's are in the integration tests."""

from __future__ import annotations

import base64
import json
import re
import secrets
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import image_archives as images
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _image_look, _image_time
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    BadInput,
    MissingLibrary,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_audit import MODULE, prepare
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_rules import Rules
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_values import Known, Marks
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from image_specimens import keyring

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)
REASON = {"reason": "made by the tests", "expires": "2026-11-22"}
Audit = Callable[..., dict[str, Any]]


def params(**given: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
    return {**defaults, **given}


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Looks at an image of one layer with these files."""

    def call(
        files: dict[str, bytes], config: dict[str, Any] | None = None, **given: Any
    ) -> dict[str, Any]:
        path = images.docker(tmp_path / "image.tar", [images.tar(files)], **(config or {}))
        return execute(MODULE, params(archive=str(path), **given), Context(now=lambda: NOW))

    return call


def test_values_of_all_stages_are_found_in_every_form(audit: Audit, tmp_path: Path) -> None:
    value, old, symbols = secrets.token_hex(16), "correct horse 9", 'a"b\\c d/e:f@' + secrets.token_hex(4)  # fmt: skip
    reference = keyring(
        tmp_path / "k",
        current={"username": "hub", "password": value},
        previous={"username": "hub", "password": old},
        pending={"username": "hub", "password": symbols},
    )
    basic = base64.b64encode(f"hub:{value}".encode())
    files = {
        "a/plain": f"x {value}, y".encode(),
        "a/old": f"a phrase\n{old}\nand more\n".encode(),
        "a/json": json.dumps({"a": symbols}).encode(),
        "a/base64": b"data: " + base64.b64encode(symbols.encode()),
        "a/basic": b"Authorization: Basic " + basic,
        f"a/{value}.txt": b"hello",
        "a/none": f"x {value[:-1]} {value}0 {old[:-1]}".encode(),
    }
    env = {"config": {"Env": [f"DB_PASSWORD={value}"]}}
    done = audit(files, env, keyrings={"db": reference})
    assert [it["rule"] for it in done["findings"] if it["place"] == "environment"] == ["value of the estate"]  # fmt: skip
    found = {
        (item["path"], item["stage"], item["field"])
        for item in done["findings"]
        if item["rule"] == "value of the estate" and item["place"] == "file"
    }
    assert found == {
        ("a/plain", "current", "password"),
        ("a/old", "previous", "password"),
        ("a/json", "pending", "password"),
        ("a/base64", "pending", "password"),
        ("a/basic", "current", "password"),
        ("a/********.txt", "current", "password"),
    }
    assert not [it for it in (value, old, symbols, basic.decode()) if it in json.dumps(done)]


def test_the_host_gets_no_value_and_cannot_confirm_a_guess(tmp_path: Path) -> None:
    values = {f"pin{number}": f"hunter-{number:02d}-hunter" for number in range(60)}
    reference = keyring(tmp_path / "k", current=values)
    # The same key each time, so that the same guesses fit.
    context = Context(randbytes=lambda count: b"k" * count)
    ready = prepare(params(archive="/a", keyrings={"db": reference}), context)
    sent = json.dumps(ready)
    assert not [it for it in (*values.values(), reference) if it in sent]
    by_chance = len(ready["marks"]["begins"]) / 2 ** ready["marks"]["bits"]
    assert 1 / 8400 < by_chance <= 1 / 4096
    guesses = "\n".join(f"{number:08d}abcdefgh" for number in range(20000)).encode()
    assert len(list(Marks(ready["marks"]).digests(guesses))) > 0, "guesses fit as well"
    known = context.sessions["image_audit"]
    assert not [it for _at, it in Marks(ready["marks"]).digests(guesses) if known.of_digest(it)[0]]
    context.close()
    assert known.marks()["begins"] == []


def test_many_looks_and_many_forms_tell_a_host_no_more_of_a_value() -> None:
    values = [secrets.token_urlsafe(9), f"a:b c&{secrets.token_hex(4)}"]
    sent = []
    for _image in range(2):
        known = Known(secrets.token_bytes(32))
        for value in values:
            known.add("a/current/b", Secret(value), "hub")
        sent.append(known.marks())
    assert len(sent[0]["begins"]) == len(values), "each further one would test a guess once more"
    assert sent[0]["begins"] == sent[1]["begins"]
    assert sent[0]["key"] != sent[1]["key"]


def test_a_keyring_that_cannot_be_read_is_never_taken_for_one_without_values(
    audit: Audit, tmp_path: Path
) -> None:
    (tmp_path / "broken").write_text("{}")
    references = {"a": f"ref+file://{tmp_path}/broken", "b": f"ref+file://{tmp_path}/absent"}
    done = audit({"a": b"b"}, keyrings=references, extra_values={"c": f"ref+file://{tmp_path}/no"})
    assert [it.split(":")[0] for it in done["unknown"]] == ["keyring of a", "value 'c'"]
    with pytest.raises(BadInput):
        audit({"a": b"b"}, extra_values={"c": "no-reference"})


def test_short_values_are_told(audit: Audit, tmp_path: Path) -> None:
    reference = keyring(tmp_path / "k", current={"pin": "1234567"})
    assert audit({"a": b"1234567"}, keyrings={"door": reference})["not_looked_at"][
        "short_values"
    ] == ["door/current/pin"]


def test_files_that_are_too_large_or_skipped_are_told(audit: Audit) -> None:
    key = b"AKIA" + secrets.token_hex(8).upper().encode()
    files = {"app/.env": key * 9, "app/large": key * 9, "app/skip": key}
    done = audit(files, max_file_size=100, skip=["app/skip*"])
    assert [(it["path"], it["rule"]) for it in done["findings"]] == [("app/.env", "env file")]
    skipped = done["not_looked_at"]
    assert (skipped["too_large"], skipped["skipped"]) == (["app/.env", "app/large"], 1)


def test_names_of_the_environment_are_a_list(audit: Audit) -> None:
    env = ["PYTHONPATH=/app", "LC_ALL=C", "APP_MODE=fast", "APP_TOKEN=abcd", "GPG_KEY=A035C8C1"]
    config = {"config": {"Env": env}}
    told = {it["name"]: it["rule"] for it in audit({}, config)["findings"]}
    assert told == {"APP_MODE": "unexpected name", "APP_TOKEN": "secret by its name"}
    assert audit({}, config, expected_env=["*"])["findings"] == []
    github = "ghp_" + secrets.token_hex(18)
    hidden = audit({}, {"config": {"Env": [f"LANG={github}"]}})["findings"]
    assert [it["rule"] for it in hidden] == ["GitHub Token"], "a format counts under any name"


def test_every_text_of_the_configuration_is_looked_at(audit: Audit) -> None:
    secret = [f"k{secrets.token_urlsafe(9)}-{number}" for number in range(9)]
    history = [
        {"created_by": f"RUN |2 TOKEN={secret[0]} VERSION=1.2 /bin/sh -c make # buildkit"},
        {"created_by": f"/bin/sh -c curl -u ci:{secret[1]} https://r.internal/x"},
        {"created_by": f"/bin/sh -c #(nop)  ARG NPM_TOKEN={secret[2]}", "empty_layer": True},
        {"created_by": "COPY /build /app", "comment": f"api_key={secret[3]}"},
        {"created_by": f"RUN /bin/sh -c export DB_PASSWORD={secret[4]}; {'x' * 4000} && y"},
    ]
    inner = {
        "Labels": {"build.secret": secret[5], "org.opencontainers.image.revision": secrets.token_hex(20)},
        "Entrypoint": ["run", "--token", secret[6]],
        "Cmd": ["serve", f"postgres://hub:{secret[7]}@db1/hub"],
        "Healthcheck": {"Test": ["CMD", "curl", f"--password={secret[8]}"]},
    }  # fmt: skip
    config = {"config": inner, "history": history, "author": "somebody"}
    done = audit({"a": b"b"}, config)
    told = [(it["place"], it["name"], it.get("step")) for it in done["findings"]]
    assert sorted(told, key=str) == sorted(
        [
            ("build_arg", "TOKEN", 1),
            ("history", "", 2),
            ("build_arg", "NPM_TOKEN", 3),
            ("history", "api_key", 4),
            ("history", "DB_PASSWORD", 5),
            ("label", "build.secret", None),
            ("entrypoint", "token", None),
            ("command", "hub", None),
            ("configuration", "password", None),
        ],
        key=str,
    )
    assert not [it for it in secret if it in json.dumps(done)]


def test_the_list_of_false_positives(audit: Audit, tmp_path: Path) -> None:
    key = secrets.token_hex(24)
    files = {"app/conf/a.ini": f"password = {key}\n".encode()}
    plain = audit(files)["findings"][0]
    for fits in ({"path": "app/conf/*"}, {"name": "password"}, {"fingerprint": plain["fingerprint"]}):  # fmt: skip
        done = audit(files, allow=[{**fits, **REASON}])
        assert (done["findings"], len(done["allowed"]), done["unused"]) == ([], 1, [])
        assert done["allowed"][0]["allowed"]["reason"] == REASON["reason"]
    over = audit(files, allow=[{"path": "app/*", **REASON, "expires": "2026-11-21"}])
    assert [it["allowed_until"] for it in over["findings"]] == ["2026-11-21"]
    assert len(over["expired"]) == 1
    assert len(audit(files, allow=[{"path": "srv/*", **REASON}])["unused"]) == 1
    both = {"path": "app/*", "name": "other", **REASON}
    assert len(audit(files, allow=[both])["findings"]) == 1, "all that is given has to fit"
    changed = {"app/conf/a.ini": f"\npassword = {secrets.token_hex(24)}\n".encode()}
    other = audit(changed)["findings"][0]["fingerprint"]
    assert other[:10] == plain["fingerprint"][:10], "the place is the same"
    # A real value is no false positive because of where it is.
    reference = keyring(tmp_path / "k", current={"password": key})
    entries = [{"path": "app/*", **REASON}]
    own = audit(files, allow=entries, keyrings={"db": reference})["findings"]
    assert [it["credential"] for it in own] == ["db"]
    entries = [{"fingerprint": own[0]["fingerprint"], **REASON}]
    assert audit(files, allow=entries, keyrings={"db": reference})["findings"] == []


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"path": "a", "expires": "2027-01-01"}, "entry 1: 'reason' is missing"),
        ({"path": "a", "reason": " ", "expires": "2027-01-01"}, "entry 1: 'reason' is missing"),
        ({"path": "a", "reason": "b"}, "entry 1: 'expires' is missing"),
        ({"path": "a", "reason": "b", "expires": "soon"}, "'expires' is no date"),
        ({"reason": "b", "expires": "2027-01-01"}, "say what it is about"),
        ({"path": "**", "reason": "b", "expires": "2027-01-01"}, "and not everything"),
        ({"file": "a", "reason": "b", "expires": "2027-01-01"}, "'file' is unknown"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused(
    audit: Audit, entry: dict[str, str], told: str
) -> None:
    with pytest.raises(BadInput, match=told):
        audit({}, allow=[entry])


def test_a_project_without_a_service_is_refused() -> None:
    with pytest.raises(BadInput, match="it belongs to 'service'"):
        prepare(params(image="a", project="b"), Context())


def test_the_package_that_is_missing_is_named(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "detect_secrets.plugins.keyword", None)
    with pytest.raises(MissingLibrary, match="pip install bc-detect-secrets"):
        audit({})


def test_nothing_that_is_found_is_asked_for_at_its_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_words: object, **_more: object) -> None:
        raise AssertionError("a request")

    monkeypatch.setattr("requests.Session.request", refuse)
    digits = "".join(secrets.choice("123456789") for _n in range(12))
    text = (
        f"a xoxb-{digits}-{digits}-{secrets.token_hex(12)}\nb = 'sk_live_{secrets.token_hex(12)}'\n"
    )
    assert [hit.rule for hit in Rules().of_file("a.py", text, False)] == ["Slack Token", "Stripe Access Key"]  # fmt: skip


def test_what_stands_before_a_blank_is_not_told_as_a_name(audit: Audit) -> None:
    value = f"Secret{secrets.token_hex(4)}"
    steps = [f"mysqldump -p{value} hub{secrets.token_hex(2)}1", f"x && password {value}1", f"x --token {value}2"]  # fmt: skip
    done = audit({"a": b"b"}, {"history": [{"created_by": f"/bin/sh -c {it}"} for it in steps]})
    assert [it["name"] for it in done["findings"]] == ["", "password", "token"]
    assert value not in json.dumps(done)


def test_hostile_names_do_no_harm_to_a_screen(audit: Audit) -> None:
    done = audit({"app/\x1b[2J\n/.env": b"A=b"})
    assert [it["path"] for it in done["findings"]] == ["app/?[2J?/.env"]


def test_a_value_is_hidden_wherever_it_is_told() -> None:
    known = Known(secrets.token_bytes(32))
    value = secrets.token_hex(8)
    known.add("a/current/b", Secret(value))
    assert known.hide(f"x/{value}/y") == "x/********/y"


def test_a_file_that_takes_too_long_is_given_up_and_told(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_file = Rules.of_file

    def slow(rules: Rules, path: str, text: str, of_others: bool) -> Any:
        if path != "app/slow":
            return of_file(rules, path, text, of_others)
        try:
            # As a rule that tries all ways does, in one call that knows nothing of Python.
            re.match(r"(?:x+x+)+y", "x" * 40)
        except Exception:
            pytest.fail("nobody takes it for an error of his own")
        return []

    monkeypatch.setattr(_image_time, "LONGEST", 0.2)
    monkeypatch.setattr(Rules, "of_file", slow)
    before = signal.getsignal(signal.SIGVTALRM)
    done = audit({"app/.env": b"A=b", "app/slow": b"x", "app/z/.env": b"A=b"})
    assert [it["path"] for it in done["findings"]] == ["app/.env", "app/z/.env"]
    assert done["unknown"] == ["app/slow: it took too long, and not all of it was looked at"]
    assert signal.getsignal(signal.SIGVTALRM) is before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_outside_of_the_main_thread_a_file_is_looked_into_all_the_same(audit: Audit) -> None:
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(audit, {"app/.env": b"A=b"}).result()
    assert len(done["findings"]) == 1


def test_what_comes_after_too_many_findings_is_not_taken_for_clean(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_image_look, "_MOST", 2)
    done = audit({f"{number}/.env": b"A=b" for number in range(5)})
    assert len(done["findings"]) == 3
    assert done["unknown"] == ["2 files: there were more than 2 findings before them"]
