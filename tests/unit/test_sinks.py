# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of sinks, what a keyring puts into them, and sinks in files."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import secrets
import stat
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Conflict,
    Corrupt,
    Denied,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    STATUSES,
    Document,
    Stage,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import (
    RenderedSink,
    digests,
    is_first,
    parse_sinks,
    render_sinks,
    requires_username,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._apply import (
    TRIES,
    Outcome,
    Wanted,
    bring,
    plan,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._open import (
    Address,
    open_place,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._options import Options
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Changes,
    Observed,
    Stale,
    held,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._shown import shown_fields

SALT = bytes(range(32))


def document(**stages: str | None) -> Document:
    """Stages with the given values; ``new`` stands for one that check mode predicts."""
    status = {"pending": "issued", "current": "observed", "previous": "grace"}
    made: dict[str, Any] = {}
    for name, value in stages.items():
        secret = Secret.new() if value is None else Secret(value)
        made[name] = Stage("r1", status[name], {"username": "app_a", "value": secret})
    return Document("token", SALT, **made)


def sink(**changes: Any) -> dict[str, Any]:
    return {"ref": "ref+vault://secret/app/db#/TOKEN", "template": "{current.value}", **changes}


def env(**changes: Any) -> dict[str, Any]:
    return {
        "ref": "ref+file:///opt/app/.env?format=env#/TOKEN",
        "template": "{current.value}",
        **changes,
    }


def log(**changes: Any) -> dict[str, Any]:
    line = {
        "ref": "ref+file:///var/log/rotation.log?format=log",
        "template": "{current.promoted}\n",
    }
    return {**line, **changes}


def page(**changes: Any) -> dict[str, Any]:
    ref = "ref+file:///etc/app.yaml?format=yaml#/refs/name=a%2Fb/day"
    return {"ref": ref, "template": "{current.promoted|date}", **changes}


def test_names_are_derived_from_the_place() -> None:
    definitions = [
        sink(),
        env(host="app1"),
        {"ref": "ref+file:///etc/app/token", "template": "{current.value}"},
        {"ref": "ref+vault://secret/app/other", "fields": {"A": "{current.value}"}, "name": "mine"},
    ]
    names = [item.name for item in parse_sinks(definitions)]
    assert names == ["secret/app/db#/TOKEN", "/opt/app/.env#/TOKEN@app1", "/etc/app/token", "mine"]


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ("ref+vault://a/b#/c", ["[0]", "mapping"]),
        (sink(tempalte="x"), ["'tempalte'", "template", "fields", "file_group"]),
        ({"template": "x"}, ["'ref' is missing"]),
        (sink(ref="ref+vault://secret"), ["keyturn_sinks[0].ref", "character"]),
        (sink(ref="ref+envsubst://$APP"), ["envsubst", "ref+file://", "ref+vault://"]),
        (sink(ref="ref+awsssm://app/db#/T"), ["one text", "?mode=singleparam"]),
        (sink(ref="ref+awsssm://app/db?mode=singleparam"), ["#/NAME"]),
        (sink(ref="ref+awsssm://app/db?mode=path#/T"), ["'mode'", "singleparam"]),
        (sink(ref="ref+awsssm://app/db?version=1"), ["'version'", "region"]),
        (sink(ref="ref+k8s://v1/ConfigMap/ns/app#/T"), ["ConfigMap", "v1/Secret"]),
        (sink(ref="ref+k8s://v1/Secret/ns/app/T#/T"), ["named twice"]),
        (sink(ref="ref+k8s://v1/Secret/ns/app"), ["#/NAME"]),
        (sink(ref="ref+vault://secret/a?version=3#/T"), ["'version'", "address"]),
        (sink(ref="ref+file://rel/path"), ["three slashes"]),
        (sink(fields={"A": "x"}), ["either 'template'", "'fields'"]),
        ({"ref": "ref+vault://secret/app#/T"}, ["either 'template'"]),
        (sink(ref="ref+vault://secret/app"), ["#/NAME"]),
        (sink(ref="ref+vault://secret/app#/a/b"), ["#/NAME"]),
        ({"ref": "ref+vault://secret/app#/T", "fields": {"A": "x"}}, ["leave out #/T"]),
        ({"ref": "ref+vault://secret/app", "fields": {}}, ["'fields'"]),
        ({"ref": "ref+vault://secret/app", "fields": {"PORT": 5432}}, ["'PORT'", "quotes"]),
        (sink(mode="0600"), ["'mode'", "ref+file"]),
        (env(mode=0o600), ["'mode'", "quoted"]),
        (env(mode="999"), ["'mode'", "quoted"]),
        (env(format="json"), ["disagree"]),
        (env(format="toml", ref="ref+file:///a#/b"), ["'toml'", "text, env, json, yaml"]),
        (env(dialect="fish"), ["'fish'", "common, compose, posix, systemd"]),
        (env(dialect="posix", ref="ref+file:///a?format=json#/b"), ["'dialect'", "format: env"]),
        (sink(dialect="posix"), ["'dialect'", "ref+file"]),
        (env(ref="ref+file:///a#/b"), ["format: env"]),
        (env(backup=True), ["'backup'", "mapping", "{keep: 7d}"]),
        (env(backup={"keep": "7d", "age": 3}), ["'backup'", "'keep'"]),
        (env(backup={"keep": "a week"}), ["backup.keep", "no duration"]),
        (env(backup={"keep": "0"}), ["backup.keep", "more than 0"]),
        (env(backup={"count": 0}), ["backup.count", "leave out 'backup'"]),
        (sink(backup={"keep": "7d"}), ["'backup'", "ref+file"]),
        (log(backup={"keep": "7d"}), ["'backup'", "added to"]),
        (log(absent="remove"), ["absent: remove", "log"]),
        (log(ref="ref+file:///a?format=log#/b"), ["whole lines", "#/b"]),
        (log(template="{current.promoted}\nforged"), ["no line break"]),
        (log(template="{current.promoted|date} {current.reason}"), ["second one of a day"]),
        (log(template="rotated"), ["tells one rotation from the next"]),
        ({"ref": "ref+file:///a?format=log", "fields": {"a": "x"}}, ["a log has no fields"]),
        (page(absent="remove"), ["absent: remove", "YAML"]),
        (page(ref="ref+file:///a?format=yaml"), ["#/NAME"]),
        (
            {"ref": "ref+file:///a?format=yaml", "fields": {"a//b": "x"}},
            ["'a//b' is no path", "name=restream"],
        ),
        (env(ref="ref+file:///a?format=text#/b"), ["whole", "#/b"]),
        (env(ref="ref+file:///a?format=env#/9-x"), ["'9-x'"]),
        (env(absent="drop"), ["'absent'", "keep or remove"]),
        (env(create="perhaps"), ["'create'"]),
        (
            env(template="{curent.value}"),
            ["sink '/opt/app/.env#/TOKEN'", "'curent'", "character 1"],
        ),
        ({"group": sink()}, ["'group'", "list", "file_group"]),
        ({"group": [sink()], "ref": "x"}, ["'ref'"]),
        ({"group": [env(host="app1")]}, ["'host'", "to the group"]),
    ],
)
def test_a_wrong_definition_names_the_sink_and_what_is_expected(
    definition: Any, says: list[str]
) -> None:
    with pytest.raises(BadInput) as caught:
        parse_sinks([definition])
    assert all(part in caught.value.message for part in says), caught.value.message


@pytest.mark.parametrize(
    ("definitions", "says"),
    [
        ([sink(name="a"), env(name="a")], "two sinks have the name 'a'"),
        ([sink(name="a"), sink(name="b")], "both write the field 'TOKEN'"),
        (
            [
                env(name="a"),
                env(name="b", ref="ref+file:///opt/app/.env?format=env#/B", mode="0640"),
            ],
            "disagree",
        ),
        ([{"name": "g", "group": [sink()]}, env(name="g")], "two sinks have the name 'g'"),
    ],
)
def test_sinks_that_contradict_each_other_are_refused(definitions: list[Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse_sinks(definitions)


def values(rendered: RenderedSink) -> dict[str, str | None]:
    return {name: value and value.reveal() for name, value in rendered.fields.items()}


def test_fields_are_rendered_and_what_is_absent_is_held_or_removed() -> None:
    fields = {
        "NOW": "{current.value}",
        "OLD": "{previous.value}",
        "ALL": "{current,previous.value|join:,}",
    }
    definitions = [
        {"name": "keep", "ref": "ref+vault://secret/a", "fields": fields},
        {"name": "remove", "ref": "ref+vault://secret/b", "fields": fields, "absent": "remove"},
    ]
    kept, removed = render_sinks(document(current="c"), parse_sinks(definitions))
    assert values(kept) == {"NOW": "c", "ALL": "c"}
    assert (
        list(kept.held) == ["OLD"]
        and "sink 'keep', field 'OLD'" in kept.held["OLD"]
        and "previous" in kept.held["OLD"]
    )
    assert values(removed) == {"NOW": "c", "OLD": None, "ALL": "c"} and not removed.held
    kept, removed = render_sinks(document(current="c", previous="p"), parse_sinks(definitions))
    assert values(kept) == values(removed) == {"NOW": "c", "OLD": "p", "ALL": "c,p"}


def test_only_a_first_rotation_can_find_what_nobody_knows() -> None:
    empty = Document("restream", secrets.token_bytes(32))
    stage = Stage("r1", "observed", {})
    assert is_first(None) and is_first(empty)
    for name in ("current", "previous"):
        assert not is_first(replace(empty, **{name: stage}))
    for status in STATUSES["pending"]:
        begun = replace(empty, pending=replace(stage, status=status))
        # What was made and not applied was shown to no place yet.
        assert is_first(begun) == (status in ("intended", "issued"))
        assert not is_first(replace(begun, current=stage))


def test_what_counts_of_a_place_is_what_somebody_would_log_in_with() -> None:
    [env, text] = parse_sinks(
        [
            {
                "ref": "ref+file:///srv/app.env?format=env",
                "fields": {"KEY": "{current.key}", "FILE": "/srv/key", "SINCE": "{current.made}"},
            },
            {"ref": "ref+file:///srv/keys", "template": "{current,pending.key|join:,}"},
        ]
    )
    assert (env.shows, text.shows) == (("KEY",), ("",))
    for value, there in ((Secret("a"), True), (None, True), (Secret(" \n"), False)):
        assert held(Observed({"KEY": value}), env.shows) is there
    assert not held(Observed({"FILE": Secret("/srv/other")}), env.shows)


@pytest.mark.parametrize("salt", [bytes(32), SALT])
def test_a_fact_that_is_written_is_shown_and_what_stood_there_is_not(salt: bytes) -> None:
    key, day = Secret(secrets.token_urlsafe(9)), Secret("2026-11-22")
    wanted = Wanted("x", {"day": day, "key": key})
    found = Outcome(Observed({"day": key}), wanted.fields, None)
    told = shown_fields(salt, wanted, found, told={"day": "2026-11-22"})
    assert told["day"]["after"] == "2026-11-22"
    assert key.reveal() not in str(told) and told["day"]["before"] not in ("", "(absent)")
    for known in (True, False):
        other = Wanted("x", {"day": Secret("more than may be told", known)})
        seen = shown_fields(
            salt, other, Outcome(Observed({}), other.fields, None), told={"day": ""}
        )
        assert seen["day"]["after"].startswith("hmac:" if known and any(salt) else "(")


def test_a_group_is_rendered_whole_or_not_at_all() -> None:
    pair = {"name": "pair", "group": [sink(), env(template="{pending.value}")]}
    sinks = parse_sinks([pair, sink(ref="ref+vault://secret/other#/X")])
    first, second, other = render_sinks(document(current="c"), sinks)
    assert not first.fields and "'pair'" in first.held["TOKEN"]
    assert not second.fields and "pending" in second.held["TOKEN"]
    assert values(other) == {"X": "c"}
    first, second, other = render_sinks(document(current="c", pending="p"), sinks)
    assert (values(first), values(second)) == ({"TOKEN": "c"}, {"TOKEN": "p"})


def test_a_group_gives_its_members_what_they_do_not_say() -> None:
    members = [env(), env(ref="ref+file:///opt/other/.env?format=env#/B", create=True)]
    sinks = parse_sinks([{"host": "app1", "create": False, "group": members}])
    assert [(item.host, item.options.create) for item in sinks] == [("app1", False), ("app1", True)]
    name = "group /opt/app/.env#/TOKEN@app1+/opt/other/.env#/B@app1"
    assert {item.group for item in sinks} == {name}


def test_digests_differ_where_contents_differ_and_cover_groups() -> None:
    definitions = [
        sink(name="a"),
        {"name": "g", "group": [env(name="b")]},
        sink(name="p", ref="ref+vault://secret/p#/P", template="{previous.value}"),
    ]
    sinks = parse_sinks(definitions)
    one, same, other = document(current="1"), document(current="1"), document(current="2")
    first = digests(one, render_sinks(one, sinks))
    assert set(first) == {"a", "b", "g", "p"}
    assert first == digests(same, render_sinks(same, sinks))
    second = digests(other, render_sinks(other, sinks))
    assert first["a"] != second["a"] and first["g"] != second["g"] and first["p"] == second["p"]
    predicted = document(current=None)
    assert digests(predicted, render_sinks(predicted, sinks))["a"].startswith("(new):")


def test_whether_readers_learn_the_user_name() -> None:
    assert not requires_username(parse_sinks([sink()]))
    assert not requires_username(parse_sinks([sink(template="{pending.username}")]))
    assert requires_username(
        parse_sinks([sink(), env(template="{current.username}:{current.value}")])
    )


@dataclass(frozen=True)
class Job:
    address: Address
    options: Options
    wanted: Wanted


def job(path: Path, fields: dict[str, Secret | None], **options: Any) -> Job:
    where = f"sink 'x' ({path})"
    settings = Options(**{"format": "env", **options})
    address = Address("file", str(path), {}, f"ref+file://{path}", where)
    return Job(address, settings, Wanted(where, fields, settings.create))


def publish(what: Job, check_mode: bool = False) -> Outcome:
    context = Context(check_mode=check_mode)
    place = open_place(what.address, what.options, context)
    return bring(place, what.wanted, lambda: None, context)


def snapshot(folder: Path) -> dict[str, Any]:
    return {
        name: (
            status.st_ino,
            status.st_mtime_ns,
            status.st_mode,
            status.st_uid,
            status.st_gid,
            (folder / name).read_bytes(),
        )
        for name in sorted(os.listdir(folder))
        for status in [os.lstat(folder / name)]
    }


CASES = {
    "env": ("env", "# c\nA=1\nK=old\n", {"K": "it's new"}, '# c\nA=1\nK="it\'s new"\n'),
    "env new": ("env", None, {"K": "n", "L": "m m"}, "K=n\nL='m m'\n"),
    "env twice": ("env", "K=n\nA=1\nK=n\n", {"K": "n"}, "A=1\nK=n\n"),
    "env removed": ("env", "A=1\nK=old\n", {"K": None}, "A=1\n"),
    "text": ("text", "old", {"": "line 1\nline 2"}, "line 1\nline 2"),
    "text new": ("text", None, {"": "né\n"}, "né\n"),
    "json": (
        "json",
        '{\n    "b": 1,\n    "K": "old",\n    "a": null\n}',
        {"K": "n"},
        '{\n    "b": 1,\n    "K": "n",\n    "a": null\n}\n',
    ),
    "json new": ("json", None, {"K": "n"}, '{\n  "K": "n"\n}\n'),
    "json in one line": ("json", '{"a":1}', {"K": "n"}, '{"a": 1, "K": "n"}\n'),
    "json removed": ("json", '{"a": 1, "K": "x"}\n', {"K": None}, '{"a": 1}\n'),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_check_apply_check_apply(tmp_path: Path, case: Any) -> None:
    form, old, texts, new = case
    path = tmp_path / "file"
    if old is not None:
        path.write_text(old)
        path.chmod(0o640)
    what = job(
        path,
        {name: text if text is None else Secret(text) for name, text in texts.items()},
        format=form,
    )
    before = snapshot(tmp_path)
    predicted = publish(what, check_mode=True)
    assert predicted.changed and snapshot(tmp_path) == before
    done = publish(what)
    assert done.changed and done.changes == predicted.changes
    assert path.read_text() == new
    assert stat.S_IMODE(path.stat().st_mode) == (0o600 if old is None else 0o640)
    after = snapshot(tmp_path)
    assert not publish(what, check_mode=True).changed
    assert not publish(what).changed
    assert snapshot(tmp_path) == after
    assert sorted(os.listdir(tmp_path)) == [".file.keyturn.lock", "file"]


def test_a_text_file_is_removed_when_its_sink_says_so(tmp_path: Path) -> None:
    path = tmp_path / "old-token"
    path.write_text("x")
    assert publish(job(path, {"": None}, format="text"), check_mode=True).changed and path.exists()
    assert publish(job(path, {"": None}, format="text")).changed and not path.exists()
    assert not publish(job(path, {"": None}, format="text")).changed


def test_mode_and_owners_are_kept_or_set_as_the_sink_says(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    path = tmp_path / "file"
    path.write_text("K=n\n")
    path.chmod(0o644)
    os.chown(path, nobody.pw_uid, nobody.pw_gid)
    assert publish(job(path, {"K": Secret("o")})).observed.notes
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid, path.stat().st_gid) == (
        0o644,
        nobody.pw_uid,
        nobody.pw_gid,
    )
    what = job(path, {"K": Secret("o")}, mode=0o640, owner="root", file_group=str(nobody.pw_gid))
    predicted = publish(what, check_mode=True)
    assert predicted.changed and not predicted.changes
    assert predicted.observed.drift == (
        "mode 0644 instead of 0640",
        f"owner {nobody.pw_uid} instead of root",
    )
    assert publish(what).changed and not publish(what).changed
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid, path.stat().st_gid) == (
        0o640,
        0,
        nobody.pw_gid,
    )


def test_a_new_file_belongs_to_whom_the_sink_says(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert publish(job(path, {"K": Secret("o")}, owner="nobody", mode=0o400)).changed
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (
        0o400,
        pwd.getpwnam("nobody").pw_uid,
    )


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("old", "changes", "error", "says"),
    [
        (None, {"path": "none/file"}, Absent, "no directory"),
        (None, {"create": False}, Absent, "'create' is false"),
        (None, {"owner": "no-such-user"}, BadInput, "'no-such-user'"),
        ("{", {"format": "json"}, Corrupt, "no JSON"),
        ("[]", {"format": "json"}, Corrupt, "JSON object"),
        ("A='geheim\n", {}, Corrupt, "line 1"),
        (None, {"value": "geheim\n"}, BadInput, "line break"),
        ("link", {}, BadInput, "symbolic link"),
        ("folder", {}, KeyturnError, "directory|regular file"),
    ],
)
def test_what_cannot_be_written_is_said_in_check_mode_too(
    tmp_path: Path,
    check_mode: bool,
    old: str | None,
    changes: dict[str, Any],
    error: Any,
    says: str,
) -> None:
    changes = dict(changes)
    path = tmp_path / changes.pop("path", "file")
    value = changes.pop("value", "n")
    if old == "link":
        (tmp_path / "real").write_text("A=1\n")
        path.symlink_to(tmp_path / "real")
    elif old == "folder":
        path.mkdir()
    elif old is not None:
        path.write_text(old)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(error, match=says) as caught:
        publish(job(path, {"K": Secret(value)}, **changes), check_mode)
    assert "sink 'x'" in caught.value.message and "geheim" not in caught.value.message
    assert (path.read_bytes() if path.is_file() else None) == before


def test_absent_and_denied_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("K=n\n")
    path.chmod(0)
    tmp_path.chmod(0o755)
    pid = os.fork()
    if pid == 0:
        os.setuid(pwd.getpwnam("nobody").pw_uid)
        try:
            publish(job(path, {"K": Secret("o")}), check_mode=True)
        except Denied:
            os._exit(7)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_predicted_value_changes_everything_and_is_never_compared(tmp_path: Path) -> None:
    observed = Observed({"K": Secret("(new)"), "L": Secret("same")})
    wanted = {"K": Secret.new(), "L": Secret("same"), "M": None}
    assert plan(Wanted("a place", wanted), observed) == {"K": Secret.new()}
    path = tmp_path / "file"
    assert publish(job(path, {"K": Secret.new()}), check_mode=True).changed
    assert not os.listdir(tmp_path)


def _write_one(path: Path, index: int, start: Any) -> None:
    start.wait()
    for turn in range(3):
        publish(job(path, {f"KEY{index}": Secret(f"value {index} {turn}")}))


def test_twenty_writers_of_one_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("# head\nOTHER=1\n")
    fork = multiprocessing.get_context("fork")
    start = fork.Event()
    writers = [fork.Process(target=_write_one, args=(path, index, start)) for index in range(20)]
    for writer in writers:
        writer.start()
    start.set()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 20
    lines = path.read_text().splitlines()
    assert lines[:2] == ["# head", "OTHER=1"]
    assert sorted(lines[2:]) == sorted(f"KEY{index}='value {index} 2'" for index in range(20))


class Contended:
    """A place where somebody else writes in between, a number of times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.held: dict[str, Secret] = {}
        self.writes = 0
        self.guarded: list[int] = []

    def exclusive(self) -> Any:
        return nullcontext()

    def check(self, changes: Changes) -> None:
        """Any value fits."""

    def read(self, names: Any) -> Observed:
        return Observed(dict(self.held))

    def check_write(self, observed: Observed, changes: Changes) -> None:
        """Nothing stops it."""

    def write(self, observed: Observed, changes: Changes) -> str | None:
        assert len(self.guarded) == self.writes + 1, (
            "the claim is looked at right before each write"
        )
        self.writes += 1
        if self.writes <= self.times:
            raise Stale("written in between")
        self.held.update({name: value for name, value in changes.items() if value})
        return "7"


def test_a_write_in_between_makes_it_plan_again_and_not_for_ever() -> None:
    what = job(Path("/x"), {"K": Secret(secrets.token_urlsafe())})
    context = Context(randbytes=bytes)
    place = Contended(3)
    done = bring(place, what.wanted, lambda: place.guarded.append(1), context)
    assert done.version == "7" and place.held == what.wanted.fields and place.writes == 4
    endless = Contended(10**6)
    with pytest.raises(Conflict, match=f"{TRIES} times"):
        bring(endless, what.wanted, lambda: endless.guarded.append(1), context)


def test_a_link_put_in_place_of_the_file_meanwhile_is_not_followed(tmp_path: Path) -> None:
    precious, path = tmp_path / "precious", tmp_path / "file"
    precious.write_text("ROOTS=own\n")

    def swap() -> None:
        path.unlink()
        path.symlink_to(precious)

    what = job(path, {"K": Secret("new")})
    path.write_text("K=old\n")
    place = open_place(what.address, what.options, Context())
    with place.exclusive():
        swap()
        with pytest.raises(BadInput, match="symbolic link"):
            place.read(("K",))
    path.unlink()
    path.write_text("K=old\n")
    with pytest.raises(BadInput, match="symbolic link"):
        bring(place, what.wanted, swap, Context())
    assert path.is_symlink()
    assert precious.read_text() == "ROOTS=own\n"


def test_a_folder_swapped_behind_the_write_gives_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = pwd.getpwnam("nobody")
    folder, victim = tmp_path / "app", tmp_path / "victim"
    for place in (folder, victim):
        place.mkdir()
        (place / "file").write_text("K=old\n")
    rename = os.rename

    def swapped(*args: Any, **options: Any) -> None:
        rename(*args, **options)
        rename(folder, tmp_path / "aside")
        folder.symlink_to(victim)

    monkeypatch.setattr(os, "rename", swapped)
    publish(job(folder / "file", {"K": Secret("new")}, owner="nobody", file_group="nogroup"))
    monkeypatch.undo()
    assert (victim / "file").stat().st_uid == 0 and (victim / "file").read_text() == "K=old\n"
    assert (tmp_path / "aside" / "file").stat().st_uid == nobody.pw_uid
    assert (tmp_path / "aside" / "file").read_text() == "K=new\n"


def test_a_lost_claim_stops_before_the_write(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("K=old\n")
    what = job(path, {"K": Secret("new")})

    def lost() -> None:
        raise Conflict("this run lost its claim")

    with pytest.raises(Conflict, match="lost"):
        bring(open_place(what.address, what.options, Context()), what.wanted, lost, Context())
    assert path.read_text() == "K=old\n"


def test_a_key_in_the_path_of_a_kubernetes_secret_is_the_same_place_as_one_behind_it() -> None:
    first, second = parse_sinks(
        [
            {"ref": "ref+k8s://v1/Secret/app/db/A?kubeContext=c", "template": "a"},
            {"ref": "ref+k8s://v1/Secret/app/db?kubeContext=c#/B", "template": "b"},
        ]
    )
    assert first.place == second.place
    assert first.ref.text == "ref+k8s://v1/Secret/app/db?kubeContext=c#/A"
    assert first.name == "v1/Secret/app/db#/A"
