# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Vault and AWS keep of a compromised value is found by what it holds, and destroyed; what is in use never is."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Denied
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Stage,
    dump_text,
    parse_document,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions_task import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import Parameters
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import open_store
from aws_world import AwsWorld
from estate.moto import MotoServer
from estate.playbook import PlaybookResult
from estate.vault import VaultSaysNo, VaultServer
from kv_world import KvWorld
from two_writers import Killed
from vault_rights import policies, rules, without

RunPlaybook = Callable[..., PlaybookResult]
NOW = datetime.now(timezone.utc)
RIGHTS = """
path "MOUNT/data/*" { capabilities = ["read", "update"] }
path "MOUNT/metadata/*" { capabilities = ["read"] }
path "MOUNT/destroy/keyrings/*" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
"""


def stage(name: str, status: str, value: str, **marks: Any) -> Stage:
    fields: dict[str, Any] = {"username": name, "password": Secret(value)}
    return Stage(name, status, fields, made=NOW, promoted=NOW, observed=NOW, **marks)


@dataclass
class Credential:
    """A credential after an emergency: its old value was proved refused, and the keyring still has it.

    :ivar keyring: its reference.
    """

    keyring: str
    context: Callable[[], Context]
    old: str = field(default_factory=lambda: f"{secrets.token_urlsafe(16)}/&{secrets.token_hex(4)}")
    new: str = field(default_factory=lambda: secrets.token_urlsafe(20))
    warnings: list[str] = field(default_factory=list)

    def write(self) -> None:
        """Its keyring's life, in four versions: the first and the last two have the value."""
        salt = secrets.token_bytes(32)
        empty = Document("db", salt)
        first = replace(empty, current=stage("a", "observed", self.old))
        other = replace(empty, current=stage("c", "observed", secrets.token_urlsafe(9)))
        second = stage("b", "observed", self.new)
        third = replace(
            empty,
            current=second,
            previous=stage("a", "retiring", self.old, compromised=True),
        )
        last = replace(
            third, previous=None, retained=(stage("a", "retained", self.old, compromised=True),)
        )
        store = open_store(parse_reference(self.keyring, "k"), self.context(), "k")
        version = None
        for document in (first, other, third, last):
            named: dict[str, Any] = {
                name: document.with_fingerprints(it) for name, it in document.stages.items()
            }
            kept = tuple(map(document.with_fingerprints, document.retained))
            version = store.write(dump_text(replace(document, **named, retained=kept)), version)

    def document(self) -> Document:
        found = open_store(parse_reference(self.keyring, "k"), self.context(), "k").read()
        assert found
        assert self.old not in found[0] or parse_document(found[0]).retained[0].lingers
        return parse_document(found[0])

    def run(self, *sinks: dict[str, Any], check: bool = False, **more: Any) -> dict[str, Any]:
        defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
        given = {"keyring": self.keyring, "credential": "db", "sinks": list(sinks), **more}
        context = replace(self.context(), check_mode=check, warn=self.warnings.append, foreseen={})
        result = MODULE.run({**defaults, **given}, context)
        told = json.dumps(result) + "".join(self.warnings)
        assert (
            self.old not in told and quote(self.old, safe="") not in told and self.new not in told
        )
        return result


def destroyed(result: dict[str, Any]) -> list[list[str]]:
    return [item["destroyed"] for item in result["places"]]


@pytest.fixture
def kv(vault: VaultServer, vault_mount: str) -> KvWorld:
    return KvWorld(vault, vault_mount)


def fill(kv: KvWorld, made: Credential) -> None:
    """Six versions of a secret: four with the old value, of which one was deleted, one without it, and what is in use."""
    url = f"postgresql://a:{quote(made.old, safe='')}@db/x"
    for number, data in enumerate(
        (
            {"PASSWORD": made.old, "OTHER": "one"},
            {"PASSWORD": "somebody else's", "OTHER": "two"},
            {"PASSWORD": made.old, "OTHER": "two"},
            {"URL": url, "OTHER": "two"},
            {"PASSWORD": made.old, "OTHER": "deleted"},
            {"PASSWORD": made.new, "OTHER": "three"},
        ),
        1,
    ):
        kv.put("app", **data)
        if number == 5:
            kv.server.request("POST", f"{kv.mount}/delete/app", {"versions": [5]})


def test_vault(kv: KvWorld) -> None:
    made = Credential(f"ref+vault://{kv.mount}/keyrings/db", lambda: kv.context)
    made.write()
    kv.server.request("POST", f"{kv.mount}/metadata/keyrings/db", {"max_versions": 50})
    fill(kv, made)
    sink = {"ref": f"ref+vault://{kv.mount}/app#/PASSWORD", "template": "{current.password}"}
    same_place = {"ref": f"ref+vault://{kv.mount}/app#/USER", "template": "{current.username}"}
    sinks = (sink, same_place)
    before = kv.state()
    # Who may not destroy there is told so by a dry run, too, and nothing is forgotten.
    admin = kv.environ["VAULT_TOKEN"]
    kv.limit(RIGHTS)
    for check in (True, False):
        with pytest.raises(Denied, match=f"'update' on '{kv.mount}/destroy/app'"):
            made.run(*sinks, check=check)
    assert kv.state() == before and made.document().retained[0].lingers
    kv.environ["VAULT_TOKEN"] = admin
    foreseen = made.run(*sinks, check=True)
    assert kv.state() == before
    done = made.run(*sinks)
    assert destroyed(done)[0] == ["1", "3", "4"] == destroyed(foreseen)[0]
    [left] = done["places"][0]["left"]
    assert "version 5 was deleted" in left and left in "".join(made.warnings)
    assert kv.version_states() == {
        "1": "destroyed", "2": "live", "3": "destroyed", "4": "destroyed", "5": "deleted", "6": "live",
    }  # fmt: skip
    assert kv.data() == {"PASSWORD": made.new, "OTHER": "three"}
    # What cannot be looked into may carry it, and who deleted it can bring it back.
    assert made.document().retained[0].lingers
    kv.server.request("POST", f"{kv.mount}/undelete/app", {"versions": [5]})
    assert destroyed(made.run(*sinks))[0] == ["5"]
    in_the_keyring(kv, made, sinks)


def in_the_keyring(kv: KvWorld, made: Credential, sinks: Sequence[dict[str, Any]]) -> None:
    """No version of the keyring has it, one that never had it is there, and a second time nothing is written."""
    kept, path = made.document(), f"{kv.mount}/metadata/keyrings/db"
    assert kept.retained[0].destroyed and kept.current and kept.claim is None
    versions = kv.server.request("GET", path)["data"]["versions"]
    assert not versions["2"]["destroyed"]
    for number in (number for number, entry in versions.items() if not entry["destroyed"]):
        held = kv.server.request("GET", f"{kv.mount}/data/keyrings/db?version={number}")
        assert made.old not in json.dumps(held)
    again = made.run(*sinks)
    assert again["changed"] is False and again["places"] == []
    assert kv.server.request("GET", path)["data"]["versions"] == versions


def test_no_right_of_the_policy_can_be_left_out(kv: KvWorld) -> None:
    """And all of them are enough, with its ledger beside the keyring."""
    policy = policies()["destroy"]
    admin, given = (
        kv.environ["VAULT_TOKEN"],
        [(path, right) for path, rights in rules(policy) for right in rights if "secret/" in path],
    )
    assert len(given) == 10
    for number, right in enumerate([*given, None]):
        kv.environ["VAULT_TOKEN"] = admin
        made = Credential(f"ref+vault://{kv.mount}/keyrings/db{number}", lambda: kv.context)
        made.write()
        for value in (made.old, made.new):
            kv.put(f"musehub/app{number}", PASSWORD=value)
        ref = f"ref+vault://{kv.mount}/musehub/app{number}#/PASSWORD"
        sink = {"ref": ref, "template": "{current.password}"}
        less = without(policy, *right) if right else policy
        kv.limit(less.replace('"secret/', '"MOUNT/'))
        if right:
            with pytest.raises(Denied) as caught:
                made.run(sink, ledger="beside")
            path = right[0].replace("secret/", f"{kv.mount}/").replace("*", f"app{number}")
            named = f"'{right[1]}' on '{path.replace('+', f'db{number}')}'"
            # What the keyring and its ledger need as ever is told by their stores.
            its_own = any(
                part in path for part in ("/musehub/", "metadata/keyrings/+", "/destroy/")
            )
            assert named in caught.value.message or not its_own or path.endswith("+/+/")
        else:
            assert made.run(sink, ledger="beside")["changed"] is True


def test_vault_where_what_is_in_use_carries_it(kv: KvWorld) -> None:
    made = Credential(f"ref+vault://{kv.mount}/keyrings/db", lambda: kv.context)
    made.write()
    kv.put("app", PASSWORD=made.old)
    kv.put("app", PASSWORD=made.old, OTHER="of somebody who copied it")
    sink = {"ref": f"ref+vault://{kv.mount}/app#/PASSWORD", "template": "{current.password}"}
    done = made.run(sink)
    # In use there, so it is told and not destroyed, and it is nobody's to say that it is gone.
    assert destroyed(done)[0] == ["1"] and "in use there" in done["places"][0]["left"][0]
    assert kv.data()["PASSWORD"] == made.old
    with pytest.raises(VaultSaysNo):
        kv.server.request("GET", f"{kv.mount}/data/app?version=1")


def test_secrets_manager(moto: MotoServer) -> None:
    aws = AwsWorld(moto, "secretsmanager")
    made = Credential(f"ref+awssecrets://{aws.prefix}/keyring", aws.context)
    made.write()
    name, api, tokens = (
        f"{aws.prefix}/app",
        aws.api,
        [secrets.token_hex(16) for _number in range(5)],
    )
    api.create_secret(
        Name=name, SecretString=json.dumps({"P": made.old, "Q": 1}), ClientRequestToken=tokens[0]
    )
    for token, value in (
        (tokens[1], made.old),
        (tokens[2], "no"),
        (tokens[3], made.old),
        (tokens[4], made.new),
    ):
        text = json.dumps({"P": value, "Q": 2})
        api.put_secret_value(SecretId=name, SecretString=text, ClientRequestToken=token)
    for label, token in (("golden", tokens[0]), ("silver", tokens[2])):
        api.update_secret_version_stage(SecretId=name, VersionStage=label, MoveToVersionId=token)

    def labels() -> dict[str, list[str]]:
        listed = api.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
        return {it["VersionId"]: sorted(it.get("VersionStages") or ()) for it in listed}

    before = labels()
    assert before[tokens[3]] == ["AWSPREVIOUS"] and before[tokens[0]] == ["golden"]
    sink = {"ref": f"ref+awssecrets://{name}#/P", "template": "{current.password}"}
    foreseen = made.run(sink, check=True)
    assert labels() == before
    done = made.run(sink)
    assert (
        sorted(destroyed(done)[0])
        == sorted([tokens[0], tokens[3]])
        == sorted(destroyed(foreseen)[0])
    )
    assert labels()[tokens[4]] == ["AWSCURRENT"] and labels()[tokens[2]] == ["silver"]
    assert not labels().get(tokens[0]) and not labels().get(tokens[3])
    assert "secretsmanager:GetSecretValue" in "".join(done["places"][0]["left"])
    listed = api.list_secret_version_ids(SecretId=f"{aws.prefix}/keyring")["Versions"]
    labelled = [item["VersionId"] for item in listed if item.get("VersionStages")]
    for token in labelled:
        held = api.get_secret_value(SecretId=f"{aws.prefix}/keyring", VersionId=token)
        assert made.old not in held["SecretString"]
    assert made.document().retained[0].destroyed
    assert made.run(sink)["changed"] is False


def history_of(aws: AwsWorld) -> dict[int, str]:
    pages = aws.api.get_paginator("get_parameter_history").paginate(
        Name=aws.name("app"), WithDecryption=True
    )
    return {it["Version"]: it["Value"] for page in pages for it in page["Parameters"]}


def still_as_it_was(aws: AwsWorld, made: Credential, tags: list[dict[str, str]]) -> None:
    """All that a parameter has beside its old versions."""
    kept = history_of(aws)
    assert sorted(kept) == list(range(5, 105)) and kept[104] == made.new
    assert not any(it in value for it in (made.old, "url:") for value in kept.values())
    described = aws.described("app")
    assert (described["Description"], described["Type"]) == ("of the app", "SecureString")
    tagged = aws.api.list_tags_for_resource(ResourceType="Parameter", ResourceId=aws.name("app"))
    assert tagged["TagList"] == tags


def dying_at(call: int) -> Callable[..., int]:
    """Kill the run at a write, which is not done any more."""
    calls, put = [0], Parameters.overwrite

    def overwrite(*given: Any, **more: Any) -> int:
        calls[0] += 1
        if calls[0] == call:
            raise Killed
        return put(*given, **more)

    return overwrite


def undecided(made: Credential, sink: dict[str, str]) -> None:
    """By default it is told, and the value is kept to find it by, until somebody has decided."""
    foreseen, told = made.run(sink, check=True), made.run(sink)
    left = told["places"][0]
    assert foreseen["places"][0] == left and foreseen["changed"] is told["changed"] is True
    assert "keyturn_history=push_out" in told["msg"] and "keyturn_history=leave" in told["msg"]
    assert made.document().retained[0].lingers and Secret(made.old) in (
        made.document().retained[0].fields.values()
    )
    assert made.run(sink)["changed"] is False
    assert made.run(sink, check=True, history="leave")["changed"] is True
    assert left["destroyed"] == [] and left["looked"] == 88
    for words in ("version 1 to 2, 4 of its history", "GetParameterHistory", "written 15 times"):
        assert words in left["left"][0]


def test_parameters(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    aws = AwsWorld(moto)
    aws.environ["KEYTURN_AWS_TIMEOUT"] = "30s"
    made = Credential(f"ref+awsssm://{aws.prefix}/keyring", aws.context)
    made.write()
    tags = [{"Key": "t", "Value": "1"}]
    aws.put("app", made.old, Overwrite=False, Description="of the app", Tags=tags)
    url = f"url:{quote(made.old, safe='')}"
    for value in (made.old, "no", url, *["x"] * 84, made.new):
        aws.put("app", value)
    app = {"Name": aws.name("app"), "Labels": ["golden"]}
    aws.api.label_parameter_version(**app, ParameterVersion=2)
    sink = {"ref": f"ref+awsssm://{aws.prefix}/app", "template": "{current.password}"}
    undecided(made, sink)
    # A label on a version without the value is somebody's, who has to move it.
    aws.api.label_parameter_version(**app, ParameterVersion=3)
    stuck = made.run(sink, check=True, history="push_out")["places"][0]
    assert stuck["destroyed"] == [] and "version 3 bears the label golden" in stuck["left"][0]
    aws.api.label_parameter_version(**app, ParameterVersion=2)
    with monkeypatch.context() as patch:
        patch.setattr(Parameters, "overwrite", dying_at(6))
        with pytest.raises(Killed):
            made.run(sink, history="push_out")
    assert aws.held("app") == (made.new, 94) and made.document().retained[0].lingers
    done = made.run(sink, history="push_out")
    assert destroyed(done)[0] == ["1", "2", "4"]
    still_as_it_was(aws, made, tags)
    below = aws.api.get_parameters_by_path(Path=f"/{aws.prefix}/keyring", WithDecryption=True)
    names = [item["Name"][-2:] for item in below["Parameters"]]
    assert made.document().retained[0].destroyed and "02" in names and "01" not in names
    assert made.run(sink)["changed"] is False


def test_both_ways_give_the_same(kv: KvWorld, scratch: Path, run_playbook: RunPlaybook) -> None:
    """Inside Ansible's process, and as an ordinary module: foreseen, done, and then nothing more to do."""
    plays, made = [], {}
    for way, direct in (("direct", True), ("module", False)):
        ref = f"ref+vault://{kv.mount}"
        made[way] = Credential(f"{ref}/keyrings/{way}", lambda: kv.context)
        made[way].write()
        for value in (made[way].old, made[way].new):
            kv.put(f"{way}/app", PASSWORD=value)
        sink = {"ref": f"{ref}/{way}/app#/PASSWORD", "template": "{current.password}"}
        given = {"keyring": made[way].keyring, "credential": "db", "sinks": [sink]}
        tasks: list[dict[str, Any]] = [
            {"keyturn.runbooks.old_versions": given, "register": f"done_{number}", **mode}
            for number, mode in enumerate(({"check_mode": True}, {}, {}))
        ]
        names = "[" + ", ".join(str(task["register"]) for task in tasks) + "]"
        copy = {"content": f"{{{{ {names} | to_json }}}}", "dest": str(scratch / way)}
        plays.append(
            {
                "hosts": "localhost",
                "connection": "local",
                "gather_facts": False,
                "vars": {"keyturn_direct": direct},
                "tasks": [*tasks, {"ansible.builtin.copy": copy}],
            }
        )
    book = scratch / "play.yml"
    book.write_text(yaml.safe_dump(plays))
    env = {**kv.environ, "ANSIBLE_PIPELINING": "1"}
    shown = run_playbook(str(book), "-vvv", env=env).check().output
    told = {way: (scratch / way).read_text() for way in made}
    both = [json.loads(text.replace(f"/{way}", "/way")) for way, text in told.items()]
    places = [[result["places"] for result in results] for results in both]
    assert places[0] == places[1]
    assert [destroyed(result) for result in both[0]] == [
        [["1"], ["1", "3", "4"]],
        # The claim, which it writes before it destroys anything, is one more version.
        [["1"], ["1", "3", "4", "5"]],
        [],
    ]
    assert [[result["changed"] for result in results] for results in both] == [
        [True, True, False]
    ] * 2
    assert not any(it.old in text for it in made.values() for text in (shown, *told.values()))
