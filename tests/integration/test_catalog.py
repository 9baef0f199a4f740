# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of secrets become inventories: the example's own, row by row, and tables with mistakes."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._catalog import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import parse_document
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import parse_policy
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import parse_reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import reveal
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks import parse_sinks
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores import open_store
from estate.playbook import Ansible
from estate.vault import VaultServer

EXAMPLE = Path(__file__).parents[2] / "inventories" / "example"
POLICIES = {
    "Quarterly": {"rotate": "age", "max_age": "90d"},
    "Annually": {"rotate": "age", "max_age": "365d"},
    "Every 180 days": {"rotate": "age", "max_age": "180d"},
    "Every 90 days": {"rotate": "age", "max_age": "90d"},
    "On compromise": {"rotate": "on_compromise"},
    "On compromise/expiry": {"rotate": "on_compromise"},
    "On provider change": {"rotate": "on_provider_change"},
    "On password change": {"rotate": "on_provider_change"},
    "On token change": {"rotate": "on_provider_change"},
    "Never (static)": {"rotate": "never"},
}
HEAD = "| Vault Path | Keys | Owner | Rotation Frequency |\n|---|---|---|---|\n"


class World:
    """An empty inventory, a table, and what a run warns of."""

    def __init__(self, place: Path) -> None:
        self.inventory = place / "inventory"
        self.inventory.mkdir()
        self.src = place / "secrets.md"
        self.warnings: list[str] = []

    def call(
        self, table: str | None = None, check_mode: bool = False, **options: Any
    ) -> dict[str, Any]:
        if table is not None:
            self.src.write_text(table)
        defaults = {name: spec.get("default") for name, spec in MODULE.argument_spec.items()}
        params = {**defaults, "src": str(self.src), "inventory": str(self.inventory), **options}
        context = Context(check_mode=check_mode, diff=True, environ={}, warn=self.warnings.append)
        return MODULE.run(params, context)

    def variables(self, name: str) -> dict[str, Any]:
        path = self.inventory / "host_vars" / f"{name}.yml"
        found: dict[str, Any] = yaml.safe_load(path.read_text())
        return found

    def hosts(self, group: str = "catalogued", file: str = "catalog.yml") -> list[str]:
        return list(yaml.safe_load((self.inventory / file).read_text())[group]["hosts"])

    def files(self) -> dict[str, str]:
        found = (path for path in self.inventory.rglob("*") if path.is_file())
        return {str(path.relative_to(self.inventory)): path.read_text() for path in found}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- the example


def rows_of_example() -> list[tuple[str, str, str, str]]:
    """Name of the host, reference of the value, owner and frequency, read from the tables without the module."""
    found: list[tuple[str, str, str, str]] = []
    for line in (EXAMPLE / "catalog.md").read_text().splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if re.match(r"\| `", line):
            path, key, owner, frequency = cells
            path = path.replace("secret/data/", "secret/")
            found.append((f"{path}/{key}", f"ref+vault://{path}#/{key}", owner, frequency))
        elif "| SSM" in line:
            for environment in ("production", "staging"):
                for key in cells[0].split(" / "):
                    path = f"musehub/{environment}/{key}"
                    found.append((path, f"ref+awsssm://{path}", "MuseHub", cells[2]))
    return [(re.sub(r"[^a-z0-9]+", "_", name.lower()), *rest) for name, *rest in found]


ROWS = rows_of_example()


def test_the_tables_are_whole() -> None:
    assert len([row for row in ROWS if "vault" in row[1]]) == 17
    assert len([row for row in ROWS if "awsssm" in row[1]]) == 10
    assert {row[3] for row in ROWS} == set(POLICIES)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_of_the_example_and_its_host_say_the_same(row: tuple[str, str, str, str]) -> None:
    name, reference, owner, frequency = row
    variables = yaml.safe_load((EXAMPLE / "host_vars" / f"{name}.yml").read_text())
    assert variables["keyturn_owner"] == owner
    assert POLICIES[frequency].items() <= variables["keyturn_policy"].items()
    assert variables["keyturn_keyring"] == f"ref+vault://secret/keyrings/{name}"
    if "keyturn_issuer" in variables:
        # Worked out: beside what the table says there is what no table tells.
        sinks = [one for sink in variables["keyturn_sinks"] for one in sink.get("group", [sink])]
        assert reference in [sink["ref"] for sink in sinks]
        assert reference in variables["keyturn_adopt"].values()
    else:
        assert variables["keyturn_policy"] == POLICIES[frequency]
        assert variables["keyturn_sinks"] == [{"ref": reference, "template": "{current.value}"}]
        assert variables["keyturn_adopt"] == {"value": reference}
    parse_policy(variables["keyturn_policy"])
    parse_reference(variables["keyturn_keyring"], "keyturn_keyring")
    parse_sinks(variables["keyturn_sinks"], "keyturn_sinks")
    assert name in yaml.safe_load((EXAMPLE / "catalog.yml").read_text())["catalogued"]["hosts"]


def test_the_example_s_hosts_are_those_of_its_tables() -> None:
    listed = yaml.safe_load((EXAMPLE / "catalog.yml").read_text())["catalogued"]["hosts"]
    assert list(listed) == [row[0] for row in ROWS]


def test_the_playbook_makes_the_example_again(scratch: Path, ansible: Ansible) -> None:
    copy = scratch / "example"
    shutil.copytree(EXAMPLE, copy)
    for name, *_rest in ROWS:
        path = copy / "host_vars" / f"{name}.yml"
        if "keyturn_issuer:" not in path.read_text():
            path.unlink()
    (copy / "catalog.yml").unlink()
    play = "keyturn.runbooks.import_catalog"
    check = ansible.run(play, "--check", "--diff", inventory=copy).check()
    assert "changed=1" in check.stdout and "+keyturn_owner: Platform" in check.stdout
    assert not (copy / "catalog.yml").exists()
    ansible.run(play, inventory=copy).check()
    for path in EXAMPLE.rglob("*"):
        if path.is_file():
            assert (copy / path.relative_to(EXAMPLE)).read_text() == path.read_text()
    again = ansible.run(play, inventory=copy).check()
    assert "changed=0" in again.stdout and "WARNING" not in again.output


# --- from a table to a keyring


def test_a_row_is_imported_and_its_value_taken_over(
    scratch: Path, ansible: Ansible, vault: VaultServer, vault_mount: str
) -> None:
    value = secrets.token_urlsafe(24)
    vault.request("POST", f"{vault_mount}/data/app", {"data": {"TOKEN": value, "OTHER": "x"}})
    inventory = scratch / "inventory"
    inventory.mkdir()
    (scratch / "secrets.md").write_text(
        HEAD + f"| {vault_mount}/app | TOKEN | Platform | Quarterly |\n"
    )
    extra = {
        "keyturn_catalog": str(scratch / "secrets.md"),
        "keyturn_catalog_keyring": f"ref+vault://{vault_mount}/keyrings/{{name}}",
        "keyturn_catalog_issuer": {"type": "generated", "overlap": False},
    }
    env = {"VAULT_ADDR": vault.address, "VAULT_TOKEN": vault.root_token}
    ansible.run("keyturn.runbooks.import_catalog", inventory=inventory, extra_vars=extra).check()
    name = re.sub(r"[^a-z0-9]+", "_", f"{vault_mount}/app/TOKEN".lower())
    with (inventory / "host_vars" / f"{name}.yml").open("a") as file:
        # What no table tells.
        file.write(
            'keyturn_probes: [{type: command, argv: ["true"], environment: {TOKEN: "{stage.value}"}}]\n'
        )
    hosts = {"keyturn_hosts": "catalogued"}
    args: dict[str, Any] = {"inventory": inventory, "extra_vars": hosts, "env": env}
    ansible.run("keyturn.runbooks.adopt", **args).check()
    where = parse_reference(f"ref+vault://{vault_mount}/keyrings/{name}", "keyring")
    kept = open_store(where, Context(environ=env), "keyring").read()
    assert kept
    document = parse_document(kept[0], name)
    assert document.current and reveal(document.current.fields["value"]) == value
    status = ansible.run("keyturn.runbooks.status", **args).check()
    assert name in status.stdout and "Platform" in status.stdout
    assert value not in status.output + ansible.log()


# --- tables


def test_what_is_there_is_left_and_what_differs_is_told(world: World) -> None:
    table = HEAD + "| a/b | KEY | Platform | Quarterly |\n| a/b | OTHER | Auth | Annually |\n"
    first = world.call(table)
    assert first["changed"] and len(first["written"]) == 3
    mine = "keyturn_owner: somebody\nkeyturn_policy: {rotate: age, max_age: 90d}\nkeyturn_issuer: {type: x}\n"
    path = world.inventory / "host_vars" / "a_b_key.yml"
    rest = "\n".join(
        line
        for line in path.read_text().splitlines()
        if "owner" not in line and "policy" not in line
    )
    path.write_text(rest + "\n" + mine)
    before = world.files()
    for check_mode in (True, False):
        told = world.call(check_mode=check_mode)
        assert not told["changed"] and told["diff"] == [] and world.files() == before
        assert told["different"] == [
            {"host": "a_b_key", "line": 3, "path": str(path), "variables": ["keyturn_owner"]}
        ]
    assert len(world.warnings) == 2 and "keyturn_owner differs from line 3" in world.warnings[0]
    # A row that is new, beside one that was changed and one that went.
    foreseen = world.call(
        HEAD + "| a/b | KEY | P | Monthly |\n| a/c | NEW | P | Weekly |\n", check_mode=True
    )
    assert world.files() == before
    done = world.call()
    assert done["written"] == foreseen["written"] and done["diff"] == foreseen["diff"]
    assert [Path(name).name for name in done["written"]] == ["a_c_new.yml", "catalog.yml"]
    assert world.hosts() == ["a_b_key", "a_c_new"]
    assert (world.inventory / "host_vars" / "a_b_other.yml").exists()


def test_what_somebody_worked_out_beside_the_table_is_no_difference(world: World) -> None:
    world.call(HEAD + "| a/b | KEY | Platform | Quarterly |\n")
    path = world.inventory / "host_vars" / "a_b_key.yml"
    more = yaml.safe_load(path.read_text())
    [sink] = more["keyturn_sinks"]
    more["keyturn_sinks"] = [
        {"name": "pair", "group": [{**sink, "template": "{current.password}"}, {"ref": "x"}]},
    ]
    more["keyturn_policy"]["grace"] = "24h"
    more["keyturn_adopt"] = {"username": "a", "password": more["keyturn_adopt"]["value"]}
    path.write_text(yaml.safe_dump(more))
    assert world.call()["different"] == [] and world.warnings == []
    changed = {
        "keyturn_sinks": [{"ref": "x"}, "y"],
        "keyturn_policy": {"rotate": "age", "max_age": "91d"},
        "keyturn_adopt": {"value": "x"},
    }
    for wrong in (changed, dict.fromkeys(changed, "x")):
        path.write_text(yaml.safe_dump({**more, **wrong}))
        [told] = world.call()["different"]
        assert set(told["variables"]) == set(changed)


def test_a_file_of_hosts_that_somebody_wrote_is_left(world: World) -> None:
    (world.inventory / "catalog.yml").write_text("catalogued:\n  hosts:\n    a_b_key:\n")
    world.call(HEAD + "| a/b | KEY, NEW | P | Weekly |\n")
    assert world.hosts() == ["a_b_key"]
    assert "does not list a_b_new" in world.warnings[0]


def test_the_same_in_markdown_csv_and_yaml(world: World) -> None:
    rows = [
        ("m/data/x y".replace(" ", "-"), "A", "P", "Every 2 weeks"),
        ("/e/prod/T", "T", "Q", "Never"),
    ]
    text = "# Page\n\n| Component | Location |\n|---|---|\n| vault | /opt |\n\n" + HEAD
    markdown = text + "".join(f"| `{'` | '.join(row)} |\n" for row in rows) + "\nMore | text\n"
    world.call(markdown)
    wanted = world.files()
    header = "Vault Path,Keys,Owner,Rotation Frequency\n"
    tables = {
        "csv": header + "".join(f"{','.join(row)}\n" for row in rows),
        "yaml": yaml.safe_dump(
            [dict(zip(("path", "keys", "owner", "frequency"), row, strict=True)) for row in rows]
        ),
    }
    for form, table in tables.items():
        shutil.rmtree(world.inventory)
        world.inventory.mkdir()
        world.call(table, format=form)
        assert world.files() == wanted
    assert world.variables("m_x_y_a")["keyturn_policy"] == {"rotate": "age", "max_age": "14d"}
    assert world.variables("e_prod_t")["keyturn_adopt"] == {"value": "ref+awsssm://e/prod/T"}


def test_names_owners_environments_policy_and_issuer(world: World) -> None:
    table = "Name,Location,Key,Frequency\nrunner,SSM /x/TOKEN,TOKEN,on compromise\n,/x/<env>/R2_*,A / B,yearly\n"
    world.call(
        table,
        format="csv",
        owner="musehub",
        environments=["p", "s"],
        policy={"grace": "24h"},
        issuer={"type": "generated", "overlap": True},
        keyring="ref+file:///etc/keyrings/{name}.json",
        group="musehub",
        hosts_file="musehub.yml",
    )
    names = ["runner", "x_p_a", "x_p_b", "x_s_a", "x_s_b"]
    assert world.hosts("musehub", "musehub.yml") == names
    assert world.variables("runner") == {
        "keyturn_owner": "musehub",
        "keyturn_policy": {"rotate": "on_compromise", "grace": "24h"},
        "keyturn_keyring": "ref+file:///etc/keyrings/runner.json",
        "keyturn_issuer": {"type": "generated", "overlap": True},
        "keyturn_sinks": [{"ref": "ref+awsssm://x/TOKEN", "template": "{current.value}"}],
        "keyturn_adopt": {"value": "ref+awsssm://x/TOKEN"},
    }


def test_every_bad_row_is_named_and_nothing_is_written(world: World) -> None:
    bad = [
        (
            "a/b | KEY | P | Sometimes",
            "the frequency 'Sometimes' is not understood; expected one of",
        ),
        ("a/b | KEY2 | P |", "the frequency '' is not understood"),
        ("a/b | KEY3 | | Weekly", "the owner is missing"),
        ("a/b | | P | Weekly", "the keys are not understood"),
        ("a/b | KEY 4 | P | Weekly", "the keys are not understood"),
        (" | KEY5 | P | Weekly", "the place is missing"),
        ("alone | KEY6 | P | Weekly", "expected MOUNT/PATH for Vault"),
        ("a//b | KEY7 | P | Weekly", "expected MOUNT/PATH for Vault"),
        ("/x/OTHER | KEY8 | P | Weekly", "does not end in the key KEY8"),
        ("/x/<env>/KEY9 | KEY9 | P | Weekly", "say which there are, with 'environments'"),
        ("a/b | GOOD | P | Weekly", "a_b_good is the name of what line 3 has, too"),
        ("a/.. | KEY10 | P | Weekly", "'..' is no name in a path"),
        ("a/b | KEY11 | P | Every 0 days", "not understood"),
    ]
    table = HEAD + "| a/b | GOOD | P | Weekly |\n" + "".join(f"| {row} |\n" for row, _told in bad)
    for check_mode in (True, False):
        with pytest.raises(BadInput) as caught:
            world.call(table, check_mode=check_mode)
        message = caught.value.message
        assert message.startswith(f"src: {world.src}: nothing was written. line 4: ")
        for number, (_row, told) in enumerate(bad, 4):
            assert re.search(rf"line {number}: [^.]*{re.escape(told)}", message), (number, message)
        assert world.files() == {}


@pytest.mark.parametrize(
    ("table", "options", "told"),
    [
        (
            "| Component | Location |\n|---|---|\n| a | b |\n",
            {},
            "there is no table with the columns",
        ),
        ("", {}, "there is no table with the columns"),
        ("path,owner\na/b,P\n", {"format": "csv"}, "there is no table with the columns"),
        ("a: 1\n", {"format": "yaml"}, "expected a list of mappings"),
        ("- a\n- [\n", {"format": "yaml"}, "no YAML: the mistake is at line"),
        ("- a\n", {"format": "yaml"}, "line 1: expected a mapping"),
        (HEAD + "| a/b | K | P | Weekly |\n", {"keyring": "ref+vault://a/b"}, "with {name}"),
        (HEAD + "| a/b | K | P | Weekly |\n", {"keyring": "{name}"}, "a reference starts with"),
        (HEAD + "| a/b | K | P | Weekly |\n", {"policy": {"max_age": "1d"}}, "policy.max_age"),
        (HEAD + "| a/b | K | P | Weekly |\n", {"policy": {"graze": "1d"}}, "unknown key graze"),
        (HEAD + "| a/b | K | P | Weekly |\n", {"issuer": {"type": "x"}}, "there is no issuer 'x'"),
        (HEAD + "| a/b | K | P | Weekly |\n", {"group": "a-b"}, "group: expected"),
    ],
)
def test_what_is_refused_says_what_was_expected(
    world: World, table: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadInput, match=re.escape(told)):
        world.call(table, **options)
    assert world.files() == {}


@pytest.mark.parametrize("column", ["path", "keys", "frequency", "owner", "name"])
@pytest.mark.parametrize(
    "hidden",
    [
        *(
            "{{ lookup('pipe', 'id') }}",
            "{% set x = 1 %}",
            "{# x #}",
            "{`{ lookup('pipe', 'id') }`}",
        ),
        *(
            f"x{mark}ansible_python_interpreter: /tmp/x"
            for mark in "\n\r\x0b\x0c\x1b\x7f\x85\u2028\u2029"
        ),
    ],
)
def test_a_cell_that_ansible_would_run_or_yaml_would_break_is_refused(
    world: World, column: str, hidden: str
) -> None:
    good = {"path": "a/b", "keys": "K", "frequency": "Weekly", "owner": "P", "name": "n"}
    rows = [{**good, "name": "other"}, {**good, column: f"{good[column]}{hidden}"}]
    with pytest.raises(BadInput) as caught:
        world.call(json.dumps(rows, indent=1), format="yaml")
    named = {"path": "place"}.get(column, column)
    message = f"line 9: the column '{named}' holds"
    assert message in caught.value.message and "lookup" not in caught.value.message
    assert world.files() == {}


@pytest.mark.parametrize("name", ["localhost", "Localhost", "127.0.0.1", "all", "ungrouped"])
def test_a_name_that_means_something_to_ansible_is_refused(world: World, name: str) -> None:
    rows = [{"path": "a/b", "keys": "K", "frequency": "Weekly", "owner": "P", "name": name}]
    with pytest.raises(BadInput, match=f"line 1: '{re.escape(name)}' is no name"):
        world.call(json.dumps(rows), format="yaml")
    assert world.files() == {}


def test_names_that_yaml_takes_for_something_else_stay_names(world: World) -> None:
    names = ["on", "12", "0x1f", "null", "plain"]
    row = {"path": "a/b", "frequency": "Weekly", "owner": "Team:"}
    rows = [{**row, "keys": f"K{index}", "name": name} for index, name in enumerate(names)]
    world.call(json.dumps(rows), format="yaml", group="on")
    assert list(yaml.safe_load((world.inventory / "catalog.yml").read_text())) == ["on"]
    assert world.hosts("on") == names
    assert [world.variables(name)["keyturn_owner"] for name in names] == ["Team:"] * len(names)
    assert not world.call(group="on", format="yaml")["changed"]


def test_files_that_cannot_be_read_stop_before_anything_is_written(world: World) -> None:
    table = HEAD + "| a/b | K | P | Weekly |\n| a/b | L | P | Weekly |\n"
    with pytest.raises(Absent, match="src: there is no file"):
        world.call()
    with pytest.raises(Absent, match="inventory: there is no folder"):
        world.call(table, inventory=str(world.inventory / "no"))
    (world.inventory / "host_vars" / "a_b_l").mkdir(parents=True)
    with pytest.raises(BadInput, match="is a folder, which is not compared"):
        world.call()
    (world.inventory / "host_vars" / "a_b_l").rmdir()
    (world.inventory / "host_vars" / "a_b_l.yaml").write_text("a: [\n")
    with pytest.raises(Corrupt, match=r"a_b_l\.yaml is no YAML"):
        world.call()
    assert list(world.files()) == ["host_vars/a_b_l.yaml"]


def test_a_folder_that_cannot_be_written_is_told_in_check_mode_too(world: World) -> None:
    (world.inventory / "host_vars").write_text("no folder")
    for check_mode in (True, False):
        with pytest.raises((Absent, Unreachable), match="inventory: cannot write"):
            world.call(HEAD + "| a/b | K | P | Weekly |\n", check_mode=check_mode)
    assert world.files() == {"host_vars": "no folder"}


def test_values_that_yaml_takes_for_something_else_come_back_as_they_are(world: World) -> None:
    owners = ["yes", "2026", "1e5", "a: b", "x #y", "12:30", "-", "é", '"q"', "{a}", "null", "0x1f"]
    rows = "".join(f"| m/p | K{index} | {owner} | Weekly |\n" for index, owner in enumerate(owners))
    world.call(HEAD + rows)
    assert [
        world.variables(f"m_p_k{index}")["keyturn_owner"] for index in range(len(owners))
    ] == owners
    assert not world.call()["different"]
    assert json.dumps(world.call()["diff"]) == "[]"
