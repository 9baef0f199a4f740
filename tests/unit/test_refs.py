# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""References: the grammar, and values from files, the environment and the keyring."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    Denied,
    KeyturnError,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import SCHEMES
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import (
    Reference,
    looks_like_reference,
    parse_reference,
    resolve,
    resolve_mapping,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._vault_kv import kv_location
from hypothesis import given
from hypothesis import strategies as st

OPTION = "keyturn_issuer.login.admin"


def parsed(text: str) -> tuple[str, str, dict[str, str], tuple[str, ...]]:
    found = parse_reference(text, OPTION)
    assert found.text == text
    return found.scheme, found.path, dict(found.params), found.fragment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ref+vault://secret/db", ("vault", "secret/db", {}, ())),
        ("ref+vault://secret/a/b#/key", ("vault", "secret/a/b", {}, ("key",))),
        ("secretref+vault://secret/a#/key", ("vault", "secret/a", {}, ("key",))),
        (
            "ref+vault://team/kv/db?mount=team/kv&version=3#/a/b",
            ("vault", "team/kv/db", {"mount": "team/kv", "version": "3"}, ("a", "b")),
        ),
        ("ref+awsssm://a/b/C?region=eu-west-1", ("awsssm", "a/b/C", {"region": "eu-west-1"}, ())),
        (
            "ref+awssecrets://name?version_stage=AWSCURRENT#/key",
            ("awssecrets", "name", {"version_stage": "AWSCURRENT"}, ("key",)),
        ),
        (
            "ref+awssecrets://arn:aws:secretsmanager:eu-west-1:000000000000:secret:name-AbCdEf",
            (
                "awssecrets",
                "arn:aws:secretsmanager:eu-west-1:000000000000:secret:name-AbCdEf",
                {},
                (),
            ),
        ),
        ("ref+file:///etc/app/.env#/TOKEN", ("file", "/etc/app/.env", {}, ("TOKEN",))),
        ("ref+file://relative/x.yaml", ("file", "relative/x.yaml", {}, ())),
        ("ref+file://~/x?format=text", ("file", "~/x", {"format": "text"}, ())),
        (
            "ref+file:///k.json?encrypt=vault&vault_id=prod@/etc/pw",
            ("file", "/k.json", {"encrypt": "vault", "vault_id": "prod@/etc/pw"}, ()),
        ),
        ("ref+file:///with%20blank%3F%23%25.txt", ("file", "/with blank?#%.txt", {}, ())),
        ("ref+k8s://v1/Secret/ns/name/key", ("k8s", "v1/Secret/ns/name/key", {}, ())),
        ("ref+k8s://v1/Secret/ns/name", ("k8s", "v1/Secret/ns/name", {}, ())),
        ("ref+k8s://v1/ConfigMap/ns/name/key", ("k8s", "v1/ConfigMap/ns/name/key", {}, ())),
        (
            "ref+k8s://v1/Secret/ns/name/key?inCluster",
            ("k8s", "v1/Secret/ns/name/key", {"inCluster": ""}, ()),
        ),
        (
            "ref+k8s://v1/Secret/ns/name?kubeContext=prod&kubeConfigPath=/etc/k%20c#/key",
            (
                "k8s",
                "v1/Secret/ns/name",
                {"kubeContext": "prod", "kubeConfigPath": "/etc/k c"},
                ("key",),
            ),
        ),
        (
            "ref+awsssm://a/b?recursive=true&mode=singleparam#/c",
            ("awsssm", "a/b", {"recursive": "true", "mode": "singleparam"}, ("c",)),
        ),
        ("ref+envsubst://$VAR", ("envsubst", "$VAR", {}, ())),
        ("ref+envsubst://${VAR_2}#/a", ("envsubst", "${VAR_2}", {}, ("a",))),
        ("ref+vault://s/x#/a%2Fb/c%20d", ("vault", "s/x", {}, ("a/b", "c d"))),
        ("keyring#/pending/password", ("keyring", "", {}, ("pending", "password"))),
    ],
)
def test_good_references(text: str, expected: object) -> None:
    assert parsed(text) == expected
    assert looks_like_reference(text)


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("", 1, "starts with 'ref+' or 'keyring#'"),
        ("plain", 1, "starts with"),
        ("vault://secret/x", 1, "starts with"),
        ("ref+valt://secret/x", 5, "no scheme 'valt'"),
        ("ref+vault:/secret/x", 5, "expected SCHEME://"),
        ("ref+", 5, "expected SCHEME://"),
        ("ref+vault://", 13, "expected a name"),
        ("ref+vault:///secret/x", 13, "expected a name"),
        ("ref+vault://secret", 19, "below its mount"),
        ("ref+vault://secret/", 20, "expected a name"),
        ("ref+vault://secret//x", 20, "expected a name"),
        ("ref+vault://secret/../sys", 20, "'..' is no name"),
        ("ref+vault://secret/x y", 21, "a blank"),
        ("ref+vault://secret/x\n", 21, "a blank"),
        ("ref+vault://secret/x%2", 21, "two hexadecimal digits"),
        ("ref+vault://secret/%ff", 13, "no UTF-8"),
        ("ref+vault://secret/x?", 22, "name=value"),
        ("ref+vault://secret/x?mount", 22, "name=value"),
        ("ref+vault://secret/x?mount=secret&", 35, "name=value"),
        ("ref+vault://secret/x?region=x", 22, "no parameter 'region'"),
        ("ref+vault://secret/x?mount=a&mount=b", 30, "twice"),
        ("ref+envsubst://$X?a=b", 19, "'envsubst' has none"),
        ("ref+vault://secret/x#key", 22, "followed by '/'"),
        ("ref+vault://secret/x#", 22, "followed by '/'"),
        ("ref+vault://secret/x#/", 23, "expected a key"),
        ("ref+vault://secret/x#/a//b", 25, "expected a key"),
        ("ref+vault://secret/x#/a/", 25, "expected a key"),
        ("ref+file://", 12, "name of a file"),
        ("ref+file:///dir/", 17, "name of a file"),
        ("ref+file:///a%00b", 12, "NUL"),
        ("ref+envsubst://VAR", 16, "$NAME or ${NAME}"),
        ("ref+envsubst://$1X", 16, "$NAME or ${NAME}"),
        ("ref+envsubst://${X", 16, "$NAME or ${NAME}"),
        ("ref+envsubst://pre-$X", 16, "$NAME or ${NAME}"),
        ("ref+k8s://v1/Pod/ns/name/key", 11, "v1/Secret"),
        ("ref+k8s://apps/v1/Secret/ns/name", 11, "v1/Secret"),
        ("ref+k8s://v1/Secret/ns/name?inCluster&inCluster", 39, "twice"),
        ("ref+k8s://v1/Secret/ns/name?kubeContext", 29, "name=value"),
        ("ref+awsssm://a?inCluster", 16, "no parameter 'inCluster'"),
        ("ref+awsssm:///a/b", 14, "expected a name"),
        ("ref+k8s://v1/Secret/ns", 11, "v1/Secret"),
        ("ref+k8s://v1/Secret/ns/name/key/more", 11, "v1/Secret"),
        ("keyring#/pending", 17, "one field"),
        ("keyring#/pending/a/b", 21, "one field"),
        ("keyring#/next/password", 10, "no stage 'next'"),
        ("keyring#pending/password", 9, "followed by '/'"),
    ],
)
def test_bad_references_name_option_position_and_grammar(
    text: str, position: int, problem: str
) -> None:
    with pytest.raises(BadInput) as caught:
        parse_reference(text, OPTION)
    message = caught.value.message
    assert message.startswith(f"{OPTION}: character {position}")
    assert problem in message
    assert "expected ref+SCHEME://PATH[?name=value&...][#/key/...]" in message
    assert caught.value.details["position"] == position


def test_a_value_in_a_references_place_is_not_shown() -> None:
    value = secrets.token_urlsafe(12)
    for text in (
        value,
        f"{value} {value}",
        f"ref+envsubst://{value}",
        f"ref+vault://s/x?secret_id={value}",
    ):
        with pytest.raises(BadInput) as caught:
            parse_reference(text, OPTION)
        assert value not in caught.value.message


def test_what_is_no_text_is_refused() -> None:
    wrong: Any = 5432
    with pytest.raises(BadInput, match="a int is no reference"):
        parse_reference(wrong, OPTION)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ref+valt:/", True),
        ("secretref+x", True),
        ("keyring#", True),
        ("keyring", False),
        ("hunter", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_what_means_to_be_a_reference(value: object, expected: bool) -> None:
    assert looks_like_reference(value) is expected


SEGMENT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text not in (".", "..") and "/" not in text and "\0" not in text
)


@given(
    path=st.lists(SEGMENT, min_size=2, max_size=4),
    fragment=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=3),
    mount=st.none() | SEGMENT,
)
def test_whatever_is_escaped_comes_back(
    path: list[str], fragment: list[str], mount: str | None
) -> None:
    text = "ref+vault://" + "/".join(quote(item, safe="") for item in path)
    text += f"?mount={quote(mount, safe='')}" if mount else ""
    text += "#/" + "/".join(quote(item, safe="") for item in fragment) if fragment else ""
    found = parse_reference(text, OPTION)
    assert found.path == "/".join(path)
    assert found.fragment == tuple(fragment)
    assert found.params == ({"mount": mount} if mount else {})


def outcome(text: str) -> Reference | BadInput:
    try:
        return parse_reference(text, OPTION)
    except BadInput as error:
        return error


@given(st.text(max_size=60) | st.text("ref+vaultfile:/?#&=%$.ab0 ", max_size=40))
def test_any_text_is_a_reference_or_a_clear_refusal(text: str) -> None:
    for candidate in (text, f"ref+{text}", f"ref+vault://{text}", f"keyring#{text}"):
        found = outcome(candidate)
        if isinstance(found, BadInput):
            assert 1 <= found.details["position"] <= len(candidate) + 1
        else:
            assert found.scheme == "keyring" or found.scheme in SCHEMES


# --- Vault paths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ref+vault://secret/a/b", ("secret", "a/b")),
        ("ref+vault://team/kv/a/b?mount=team/kv", ("team/kv", "a/b")),
        ("ref+vault://team/kv/a/b?mount=/team/kv/", ("team/kv", "a/b")),
        ("ref+vault://secret/data/a?mount=secret", ("secret", "data/a")),
        ("ref+vault://secret/data", ("secret", "data")),
    ],
)
def test_mount_and_path(text: str, expected: tuple[str, str]) -> None:
    assert kv_location(parse_reference(text, OPTION), OPTION) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ref+vault://secret/data/a", "ref+vault://secret/a; if the secret really"),
        ("ref+vault://secret/metadata/a", "leave out the API's 'metadata/'"),
        ("ref+vault://secret/a?mount=kv", "must begin with the mount 'kv/'"),
        ("ref+vault://secret/a?mount=secret/a", "must begin with the mount"),
    ],
)
def test_paths_that_would_name_another_place(text: str, problem: str) -> None:
    with pytest.raises(BadInput, match=problem.replace("+", r"\+")):
        kv_location(parse_reference(text, OPTION), OPTION)


# --- Values


class World:
    """A context that keeps its warnings, and files with 0600."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warnings: list[str] = []
        self.context = Context(environ={}, warn=self.warnings.append)

    def file(self, name: str, text: str, mode: int = 0o600) -> str:
        path = self.root / name
        path.write_text(text, encoding="utf-8", newline="")
        path.chmod(mode)
        return f"ref+file://{path}"

    def value(self, text: str | Reference, **more: Any) -> str:
        found = resolve(text, self.context, OPTION, **more)
        assert isinstance(found, Secret)
        assert found.known
        return found.reveal()

    def mapping(self, value: Any, *required: str) -> dict[str, str]:
        found = resolve_mapping(value, self.context, OPTION, required)
        return {key: secret.reveal() for key, secret in found.items()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


Raises = Callable[..., Any]


def refusal(kind: type[KeyturnError], call: Raises, *args: Any, **more: Any) -> str:
    with pytest.raises(kind) as caught:
        call(*args, **more)
    assert caught.type is kind
    assert caught.value.message.startswith(OPTION)
    return caught.value.message


@pytest.mark.parametrize(
    ("content", "value"),
    [("v\n", "v"), ("v", "v"), ("v\n\n", "v\n"), ("v\r\n", "v"), (" v \n", " v "), ("", "")],
)
def test_a_text_file_loses_exactly_one_line_break(world: World, content: str, value: str) -> None:
    assert world.value(world.file("token", content)) == value


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"db": {"password": "p\\u00e9", "port": 5432, "x": 1.10}, "list": ["a", "b"]}'),
        ("a.yaml", "db:\n  password: pé\n  port: 5432\n  x: 1.10\nlist: [a, b]\n"),
        ("a", "db: {password: pé, port: 5432, x: 1.10}\nlist: [a, b]\n"),
    ],
)
def test_keys_of_a_file(world: World, name: str, content: str) -> None:
    base = world.file(name, content)
    assert world.value(f"{base}#/db/password") == "pé"
    assert world.value(f"{base}#/db/port") == "5432"
    assert world.value(f"{base}#/db/x") == "1.10"
    assert world.value(f"{base}#/list/1") == "b"
    assert world.mapping(f"{base}#/db") == {"password": "pé", "port": "5432", "x": "1.10"}


def test_yaml_scalars_stay_as_they_are_written(world: World) -> None:
    base = world.file("a.yml", "a: 0123\nb: yes\nc: 2026-01-01\nd: 1_000\ne: '~'\nf: 0x1F\n")
    assert world.mapping(base) == {
        "a": "0123",
        "b": "yes",
        "c": "2026-01-01",
        "d": "1_000",
        "e": "~",
        "f": "0x1F",
    }


@pytest.mark.parametrize("name", [".env", ".env.production", "app.env"])
def test_keys_of_an_env_file(world: World, name: str) -> None:
    base = world.file(name, '# a comment\nexport A=plain\nB=\'with # and $\'\nC="q\\"q"\nA=last\n')
    assert world.value(f"{base}#/A") == "last"
    assert world.value(f"{base}#/B") == "with # and $"
    assert world.value(f"{base}#/C") == 'q"q'
    assert world.value(f"{base}?format=text").startswith("# a comment")


def test_a_line_that_env_readers_disagree_on_is_refused_only_when_asked_for(world: World) -> None:
    base = world.file(".env", "A=good\nB=value # comment?\n")
    assert world.value(f"{base}#/A") == "good"
    assert "double quotes" in refusal(BadInput, world.value, f"{base}#/B")


def test_format_counts_before_the_suffix(world: World) -> None:
    base = world.file("x.conf", "A=b\n")
    assert world.value(f"{base}?format=env#/A") == "b"
    assert "must be one of env, json, yaml, text" in refusal(
        BadInput, world.value, f"{base}?format=ini#/A"
    )
    assert "has no key 'A'" in refusal(BadInput, world.value, f"{base}?format=text#/A")


def test_what_is_not_there(world: World) -> None:
    base = world.file("a.json", json.dumps({"b": {"c": "x"}, "n": None, "l": ["x"]}))
    assert "keys there: b, l, n" in refusal(Absent, world.value, f"{base}#/z")
    assert "no item '5'" in refusal(Absent, world.value, f"{base}#/l/5")
    assert "no key 'd'" in refusal(BadInput, world.value, f"{base}#/b/c/d")
    assert "the value is null" in refusal(BadInput, world.value, f"{base}#/n")
    assert "add one of its keys to the reference: c" in refusal(BadInput, world.value, f"{base}#/b")
    assert "a list of 1" in refusal(BadInput, world.value, f"{base}#/l")
    assert "there is no file" in refusal(Absent, world.value, f"{base}.gone")
    assert "there is no file" in refusal(
        Absent, world.value, f"ref+file://{world.root}/no/such/dir/file"
    )


def test_messages_never_hold_values(world: World) -> None:
    value = secrets.token_urlsafe(16)
    for name, content in (
        ("a.json", f'{{"a": "{value}", }}'),
        ("a.yaml", f"a: '{value}\nb: ]["),
        ("b.yaml", f"a: {value}: {value}: x"),
        ("c.yaml", f"? [{value}]\n: x\n"),
    ):
        message = refusal(Corrupt, world.value, world.file(name, content) + "#/a")
        assert value not in message
    base = world.file("c.json", json.dumps({"a": value}))
    assert value not in refusal(BadInput, world.value, f"{base}#/a/deeper")
    assert value not in refusal(BadInput, world.mapping, f"{base}#/a")
    assert value not in repr(resolve(f"{base}#/a", world.context, OPTION))


def test_no_text_at_all(world: World) -> None:
    path = world.root / "key.bin"
    path.write_bytes(b"\xff\xfe\x00")
    path.chmod(0o600)
    assert "no UTF-8" in refusal(Corrupt, world.value, f"ref+file://{path}")
    assert "no regular file" in refusal(BadInput, world.value, f"ref+file://{world.root}")
    os.mkfifo(world.root / "pipe")
    assert "no regular file" in refusal(BadInput, world.value, f"ref+file://{world.root}/pipe")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_others_rights_are_warned_about(world: World, mode: int) -> None:
    assert world.value(world.file("token", "v", mode)) == "v"
    assert len(world.warnings) == 1
    assert f"mode {mode:04o}" in world.warnings[0]
    assert "chmod 600" in world.warnings[0]


def test_an_owners_own_file_warns_of_nothing(world: World) -> None:
    world.value(world.file("token", "v", 0o400))
    assert world.warnings == []


def test_a_file_is_read_through_a_link_and_from_the_home(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.file("token", "v\n")
    (world.root / "link").symlink_to("token")
    monkeypatch.setenv("HOME", str(world.root))
    assert world.value("ref+file://~/link") == "v"


def test_the_tasks_environment(world: World) -> None:
    world.context.environ = {"A": "value\n", "EMPTY": "", "J": '{"username": "u", "port": 1}'}
    assert world.value("ref+envsubst://$A") == "value\n"
    assert world.value("ref+envsubst://${A}") == "value\n"
    assert world.value("ref+envsubst://$J#/username") == "u"
    assert world.mapping("ref+envsubst://$J") == {"username": "u", "port": "1"}
    assert "B is not set" in refusal(Absent, world.value, "ref+envsubst://$B")
    assert "EMPTY is empty" in refusal(Absent, world.value, "ref+envsubst://$EMPTY")


def test_mappings(world: World) -> None:
    base = world.file("admin.json", '{"username": "u", "password": "p"}')
    assert world.mapping(base, "username", "password") == {"username": "u", "password": "p"}
    assert "no key 'host'; needed: username, host; there: password, username" in refusal(
        Absent, world.mapping, base, "username", "host"
    )
    text = world.file("single.txt", "just-one\n")
    assert "a mapping with the keys username, password is needed" in refusal(
        BadInput, world.mapping, text, "username", "password"
    )
    nested = world.file("n.json", '{"username": {"a": "b"}}')
    assert "username: a single value is needed" in refusal(BadInput, world.mapping, nested)
    assert "a single value" in refusal(BadInput, world.mapping, "keyring#/pending/password")


def test_a_mapping_of_references(world: World) -> None:
    base = world.file("pw", "p\n")
    given_mapping = {"username": "u", "password": base, "port": 5432, "tls": True}
    assert world.mapping(given_mapping, "username") == {
        "username": "u",
        "password": "p",
        "port": "5432",
        "tls": "true",
    }
    message = refusal(Absent, world.mapping, {"password": "ref+envsubst://$NONE"})
    assert message.startswith(f"{OPTION}.password:")


def keyring(**fields: str | Secret) -> Document:
    stage = Stage("r1", "issued", fields)
    return Document("db_app", b"s" * 32, pending=stage)


def test_the_credentials_own_keyring(world: World) -> None:
    document = keyring(username="app_a", password=Secret("p"))
    assert world.value("keyring#/pending/password", document=document) == "p"
    assert world.value("keyring#/pending/username", document=document) == "app_a"
    assert "has no current stage now" in refusal(
        Absent, world.value, "keyring#/current/password", document=document
    )
    assert "no field 'token'; it has password, username" in refusal(
        Absent, world.value, "keyring#/pending/token", document=document
    )
    assert "no keyring here" in refusal(Absent, world.value, "keyring#/pending/password")
    predicted = keyring(password=Secret.new())
    found = resolve("keyring#/pending/password", world.context, OPTION, predicted)
    assert not found.known


@contextmanager
def nobody() -> Iterator[None]:
    """Be the user nobody for a moment."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_an_unreadable_file_is_denied_and_not_absent(scratch: Path) -> None:
    scratch.chmod(0o755)
    world = World(scratch)
    reference = world.file("token", "v", 0)
    with nobody():
        message = refusal(Denied, world.value, reference)
    assert "permission denied for user nobody" in message
