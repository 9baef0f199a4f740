# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every place of the audit log keeps the same promises: one table of cases, with a real Vault and a real rsyslogd."""

from __future__ import annotations

import json
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._access import (
    KeyringAccess,
    open_keyring,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Corrupt,
    Denied,
    KeyturnError,
    Sealed,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import LedgerHead
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledger import line_hash
from ansible_collections.keyturn.runbooks.plugins.module_utils._ledgers import Ledger, open_ledger
from ansible_collections.keyturn.runbooks.plugins.module_utils._request import Request, Run
from ansible_collections.keyturn.runbooks.plugins.module_utils._verify_ledger import run as verify
from estate.errors import Missing
from estate.playbook import PlaybookResult
from estate.processes import wait_until
from estate.vault import VaultSaysNo, VaultServer
from syslog_server import SyslogServer
from vault_world import World, closed_port, proxied

RunPlaybook = Callable[..., PlaybookResult]
Line = dict[str, Any]
WHERE = ("file", "vault", "syslog-socket", "syslog-tcp", "syslog-udp")
KEPT = ("file", "vault")
APPEND_ONLY = """
path "MOUNT/data/ledgers/*" { capabilities = ["create", "read"] }
path "MOUNT/metadata/ledgers/*" { capabilities = ["list"] }
"""


def go_on(access: KeyringAccess, text: str = "", **how: Any) -> None:
    """One step, which writes one line."""
    assert access.step(Request("note" if access.document else "claim", Run("")), text, **how)


@dataclass
class Place:
    """A keyring in a file and its ledger in one of the places."""

    folder: Path
    ledger: str
    environ: dict[str, str] = field(default_factory=dict, repr=False)
    warnings: list[str] = field(default_factory=list)

    def context(self) -> Context:
        return Context(environ=self.environ, warn=self.warnings.append)

    def open(self, run: str = "run1", logged: bool = True) -> KeyringAccess:
        params = {
            "keyring": f"ref+file://{self.folder}/keyring.json",
            "credential": "db_app",
            "ledger": self.ledger if logged else "",
            "run": {"run_id": run, "host": "elsewhere", "pid": 1, "who": "ann", "why": "test"},
            "take_over": True,
        }
        return open_keyring(params, self.context())

    def step(self, text: str = "", run: str = "run1", logged: bool = True, **how: Any) -> None:
        """One line; not ``logged`` is what a run leaves that was killed before its append."""
        go_on(self.open(run, logged), text, **how)

    def steps(self, count: int, run: str = "run1") -> None:
        for number in range(count):
            self.step(f"{run} {number}", run)

    def opened(self) -> Ledger:
        return open_ledger(self.ledger, self.context())

    def head(self) -> LedgerHead:
        document = self.open().document
        assert document and document.ledger
        return document.ledger

    def to_verify(self) -> str:
        """The reference of what can be read, once the last line is there."""
        return self.ledger

    def verify(self) -> dict[str, Any]:
        params = {
            "keyring": f"ref+file://{self.folder}/keyring.json",
            "credential": "db_app",
            "ledger": self.to_verify(),
        }
        return verify(params, self.context())

    def faults(self) -> str:
        with pytest.raises(Corrupt) as caught:
            self.verify()
        return "; ".join(caught.value.details["faults"])

    def told(self) -> list[str]:
        return [text for text in self.warnings if "the ledger is not whole" in text]

    def remove(self, *numbers: int) -> None:
        self._change(lambda line: None if line["number"] in numbers else line)

    def forge(self, number: int, **changes: str) -> None:
        """Change a line and give it a hash that fits."""
        self._change(
            lambda line: _hashed({**line, **changes}) if line["number"] == number else line
        )

    def _change(self, change: Callable[[Line], Line | None]) -> None:
        path = self.folder / "ledger.jsonl"
        lines = [change(json.loads(raw)) for raw in path.read_text().splitlines()]
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines if line))


def _hashed(line: Line) -> Line:
    return {**line, "hash": line_hash(line)}


@dataclass
class VaultPlace(Place):
    """Lines in Vault; harm is done as root."""

    world: World | None = None

    @property
    def vault(self) -> World:
        assert self.world
        return self.world

    def path(self, kind: str, number: int) -> str:
        return f"{self.vault.mount}/{kind}/ledgers/db_app/{number:08d}"

    def line(self, number: int) -> Line:
        answer = self.vault.server.request("GET", self.path("data", number))
        return dict(answer["data"]["data"])

    def put(self, number: int, line: Line) -> None:
        self.vault.server.request("POST", self.path("data", number), {"data": line})

    def remove(self, *numbers: int) -> None:
        for number in numbers:
            self.vault.server.request("DELETE", self.path("metadata", number))

    def forge(self, number: int, **changes: str) -> None:
        changed = _hashed({**self.line(number), **changes})
        self.remove(number)
        self.put(number, changed)


@dataclass
class SyslogPlace(Place):
    """Lines in what rsyslogd wrote; harm is done to a copy of it."""

    server: SyslogServer | None = None
    harm: Callable[[str], str] = str

    def to_verify(self) -> str:
        assert self.server
        arrived = self.server.wait_for(self.head().hash)
        copy = self.folder / "exported.log"
        copy.write_text(f"Jan 31 12:00:00 host sshd[7]: opened\n{self.harm(arrived)}")
        return f"ref+file://{copy}"

    def remove(self, *numbers: int) -> None:
        marks = [f'{{"number": {number}, ' for number in numbers]
        self.harm = lambda text: "".join(
            raw for raw in text.splitlines(keepends=True) if not any(mark in raw for mark in marks)
        )

    def forge(self, number: int, **changes: str) -> None:
        def harm(text: str) -> str:
            raws = text.splitlines()
            at = next(i for i, raw in enumerate(raws) if f'{{"number": {number}, ' in raw)
            prefix, brace, body = raws[at].partition("{")
            raws[at] = prefix + json.dumps(_hashed({**json.loads(brace + body), **changes}))
            return "\n".join(raws) + "\n"

        self.harm = harm


@pytest.fixture
def syslog(scratch: Path, request: pytest.FixtureRequest) -> Iterator[SyslogServer]:
    """An rsyslogd of this test's own."""
    folder = scratch / "syslog"
    folder.mkdir()
    try:
        server = SyslogServer(folder, getattr(request, "param", "RSYSLOG_FileFormat"))
    except Missing as error:
        pytest.fail(f"real part missing: {error}", pytrace=False)
    with server:
        yield server


def make_place(kind: str, request: pytest.FixtureRequest) -> Place:
    folder: Path = request.getfixturevalue("scratch")
    if kind == "file":
        return Place(folder, f"ref+file://{folder}/ledger.jsonl")
    if kind == "vault":
        mount = request.getfixturevalue("vault_mount")
        world = World(request.getfixturevalue("vault"), mount)
        world.limit(APPEND_ONLY)
        return VaultPlace(folder, f"ref+vault://{mount}/ledgers", world.environ, world=world)
    server: SyslogServer = request.getfixturevalue("syslog")
    _syslog, _dash, how = kind.partition("-")
    target = str(server.socket) if how == "socket" else f"127.0.0.1:{server.port}?protocol={how}"
    return SyslogPlace(folder, f"ref+syslog://{target}", server=server)


@pytest.fixture(params=WHERE)
def place(request: pytest.FixtureRequest) -> Place:
    """Each place, empty; in Vault with a token that can neither change nor remove a line."""
    return make_place(request.param, request)


@pytest.fixture(params=KEPT)
def kept(request: pytest.FixtureRequest) -> Place:
    """Each place that can be read back."""
    return make_place(request.param, request)


@pytest.fixture
def vault_place(request: pytest.FixtureRequest) -> VaultPlace:
    """Vault, with a token that can neither change nor remove a line."""
    made = make_place("vault", request)
    assert isinstance(made, VaultPlace)
    return made


# --- every place


def test_each_step_is_one_line_and_the_chain_holds(place: Place) -> None:
    place.steps(4)
    assert place.verify() == {"changed": False, "lines": 4, "recovered": [], "faults": []}


def test_texts_of_any_language_come_back(place: Place) -> None:
    place.step('two\nlines, a "quote", {braces}, \\, é, 鍵, \U0001f511, \t, \x00, %s #012')
    place.step("x" * 3000)
    assert place.verify()["lines"] == 2


def test_the_runs_of_a_credential_make_one_chain(place: Place) -> None:
    for run in ("run1", "run2", "run3"):
        place.steps(2, run)
    assert place.verify()["lines"] == 6
    assert place.told() == []


def test_a_line_that_was_lost_is_added_by_the_next_run(place: Place) -> None:
    place.steps(2)
    place.step("lost", logged=False)
    if not isinstance(place, SyslogPlace):
        assert "line 3 is missing at the end" in place.faults()
    place.step("after", "run2")
    found = place.verify()
    assert (found["lines"], found["recovered"]) == (4, [3])
    assert place.told() == []


def test_a_line_that_was_lost_is_added_by_the_line_of_the_failure(place: Place) -> None:
    place.steps(2)
    place.step("lost", logged=False)
    place.step("the cause", outcome="failed")
    assert place.verify()["recovered"] == [3]


def test_the_same_line_again_counts_once(place: Place) -> None:
    place.steps(3)
    ledger, line = place.opened(), dict(place.head().line)
    ledger.append({**line, "recovered": True})
    ledger.append(line)
    assert place.verify()["lines"] == 3


HARM: list[tuple[str, Callable[[Place], None], str]] = [
    ("first removed", lambda place: place.remove(1), "after line 0 comes line 2"),
    ("one removed", lambda place: place.remove(3), "after line 2 comes line 4"),
    ("changed", lambda place: place.forge(3, who="eve"), "line 4: it does not follow the line"),
    ("last changed", lambda place: place.forge(5, who="eve"), "the end was rewritten"),
    ("cut by one", lambda place: place.remove(5), "line 5 is missing at the end"),
    ("cut", lambda place: place.remove(4, 5), "the end is cut"),
    ("emptied", lambda place: place.remove(1, 2, 3, 4, 5), "the end is cut"),
]


@pytest.mark.parametrize(("name", "harm", "words"), HARM, ids=[case[0] for case in HARM])
def test_harm_is_found(place: Place, name: str, harm: Callable[[Place], None], words: str) -> None:
    place.steps(5)
    harm(place)
    assert words in place.faults()


def test_a_keyring_that_was_set_back_is_found(place: Place) -> None:
    place.steps(3)
    keyring = place.folder / "keyring.json"
    before = keyring.read_bytes()
    place.steps(2)
    if isinstance(place, SyslogPlace):
        assert place.server
        place.server.wait_for(place.head().hash)
    keyring.write_bytes(before)
    assert "goes on to line 5, the keyring only knows 3" in place.faults()


# --- places that can be read back: a run sees harm, too


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda place: place.remove(3), r"after line 2 comes line 4|lines are missing: 3\."),
        (lambda place: place.forge(5, who="eve"), "the end was rewritten"),
        (lambda place: place.remove(4, 5), r"the end is cut|lines are missing: 4\."),
    ],
    ids=["removed", "last changed", "cut"],
)
def test_a_run_warns_once_and_goes_on(
    kept: Place, harm: Callable[[Place], None], words: str
) -> None:
    kept.steps(5)
    harm(kept)
    kept.steps(3, "run2")
    assert len(kept.told()) == 1
    assert re.search(words, kept.told()[0])
    kept.faults()


# --- Vault: what its own rules give


def test_the_policy_lets_nobody_change_or_remove_a_line(vault_place: VaultPlace) -> None:
    vault_place.steps(3)
    token = vault_place.environ["VAULT_TOKEN"]
    server, path = vault_place.vault.server, vault_place.path("data", 2)
    assert token != server.root_token
    for method, where, body in (
        ("POST", path, {"data": {"who": "eve"}}),
        ("POST", path, {"data": {"who": "eve"}, "options": {"cas": 1}}),
        ("DELETE", path, None),
        ("DELETE", vault_place.path("metadata", 2), None),
        ("PUT", vault_place.path("destroy", 2), {"versions": [1]}),
        ("PUT", vault_place.path("delete", 2), {"versions": [1]}),
    ):
        with pytest.raises(VaultSaysNo) as caught:
            server.request(method, where, body, token)
        assert caught.value.status == 403, f"{method} {where}"
    assert vault_place.verify()["lines"] == 3


def documented_policies() -> list[str]:
    """What docs/ledger.md tells people to write into their policies."""
    text = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```hcl\n(.*?)```", text, re.DOTALL)
    return [block.replace('"secret/', '"MOUNT/') for block in blocks]


@pytest.mark.parametrize("which", [0, 1], ids=["own path", "beside the keyring"])
def test_the_documented_policies(vault: VaultServer, vault_mount: str, which: int) -> None:
    world = World(vault, vault_mount)
    keyring = f"ref+vault://{vault_mount}/keyrings/db_app"
    ledger = [f"ref+vault://{vault_mount}/ledgers", f"{keyring}.ledger"][which]
    params = {"keyring": keyring, "ledger": ledger, "credential": "db_app"}
    rules = documented_policies()
    world.limit("".join(rules) if which == 0 else rules[1])
    for run in ("run1", "run2"):
        given = {**params, "run": {"run_id": run, "host": "elsewhere"}, "take_over": True}
        for _step in range(2):
            go_on(open_keyring(given, world.context))
    assert verify(params, world.context)["lines"] == 4
    path = ledger.removeprefix(f"ref+vault://{vault_mount}/") + "/db_app/00000002"
    body = {"data": {"who": "eve"}}
    for method in ("POST", "DELETE"):
        with pytest.raises(VaultSaysNo) as caught:
            vault.request(method, f"{vault_mount}/data/{path}", body, world.environ["VAULT_TOKEN"])
        assert caught.value.status == 403


def test_a_line_is_readable_in_vault(vault_place: VaultPlace) -> None:
    vault_place.step("said")
    line = vault_place.line(1)
    assert (line["number"], line["who"], line["message"]) == (1, "ann", "said")
    assert line["hash"] == vault_place.head().hash


@pytest.mark.parametrize("kind", ["delete", "destroy"])
def test_a_deleted_or_destroyed_line_is_found(vault_place: VaultPlace, kind: str) -> None:
    vault_place.steps(4)
    server = vault_place.vault.server
    server.request("PUT", vault_place.path(kind, 2), {"versions": [1]})
    found = vault_place.faults()
    assert f"line 2 was {kind.rstrip('e')}ed in Vault".replace("deleteed", "deleted") in found
    assert ("undelete" in found) is (kind == "delete")
    server.request("PUT", vault_place.path(kind, 4), {"versions": [1]})
    vault_place.step("after", "run2")
    assert "line 4 was" in vault_place.told()[0]


def test_a_line_that_was_written_over_is_found_although_its_text_is_the_same(
    vault_place: VaultPlace,
) -> None:
    vault_place.steps(3)
    vault_place.put(2, vault_place.line(2))
    assert "line 2 was written over: it has 2 versions" in vault_place.faults()


def test_what_is_put_beside_the_lines_is_found(vault_place: VaultPlace) -> None:
    vault_place.steps(2)
    server, mount = vault_place.vault.server, vault_place.vault.mount
    server.request("POST", f"{mount}/data/ledgers/db_app/note", {"data": {"a": 1}})
    assert "'note' beside the lines" in vault_place.faults()


def test_a_line_of_another_credential_in_the_place_is_found(vault_place: VaultPlace) -> None:
    vault_place.steps(3)
    vault_place.forge(2, credential="db_other")
    assert "at the place of line 2 there is something else" in vault_place.faults()


def test_another_line_of_that_number_is_never_overwritten(vault_place: VaultPlace) -> None:
    vault_place.steps(2)
    other = _hashed({**vault_place.head().line, "number": 3, "who": "eve"})
    for token in (vault_place.environ["VAULT_TOKEN"], vault_place.vault.server.root_token):
        vault_place.environ["VAULT_TOKEN"] = token
        vault_place.opened().append(other)
        with pytest.raises(
            Corrupt, match=r"line 3 of db_app is another line already .* another path"
        ):
            vault_place.opened().append(_hashed({**other, "who": "ann"}))
        assert vault_place.line(3) == other
    keyring = (vault_place.folder / "keyring.json").read_bytes()
    with pytest.raises(Corrupt, match="up to number 3, and the keyring only knows 2; nothing was"):
        vault_place.step("more", "run2")
    assert (vault_place.folder / "keyring.json").read_bytes() == keyring


def test_a_keyring_that_was_made_anew_does_not_go_on_with_an_old_ledger(
    vault_place: VaultPlace,
) -> None:
    vault_place.steps(2)
    (vault_place.folder / "keyring.json").unlink()
    with pytest.raises(Corrupt, match="the keyring only knows 0"):
        vault_place.step()
    assert not (vault_place.folder / "keyring.json").exists()


def test_a_line_whose_answer_was_lost_is_known_as_written(vault_place: VaultPlace) -> None:
    vault_place.steps(1)
    with proxied(vault_place.vault) as proxy:
        proxy.lose_replies = 1
        vault_place.step("lost answer")
    assert proxy.lose_replies == 0
    assert vault_place.verify()["lines"] == 2


def test_four_different_messages(vault_place: VaultPlace) -> None:
    vault_place.steps(2)
    environ, world = vault_place.environ, vault_place.vault
    ledger, head = vault_place.opened(), vault_place.head()
    line = _hashed({**head.line, "number": 3})
    calls: list[Callable[[Ledger], object]] = [
        lambda ledger: ledger.append(line),
        lambda ledger: ledger.review("db_app", head, True, False),
        lambda ledger: ledger.read("db_app"),
    ]

    def messages(kind: type[KeyturnError], at: Ledger) -> list[str]:
        found = []
        for call in calls:
            with pytest.raises(kind) as caught:
                call(at)
            assert caught.type is kind and "keyturn_ledger" in caught.value.message
            found.append(caught.value.message)
        return found

    root = Context(environ={**environ, "VAULT_TOKEN": world.server.root_token})
    said = [messages(Absent, open_ledger("ref+vault://not-mounted/ledgers", root))]
    elsewhere = open_ledger(f"ref+vault://{world.mount}/elsewhere", vault_place.context())
    said.append(messages(Denied, elsewhere))
    world.server.seal()
    try:
        said.append(messages(Sealed, ledger))
    finally:
        world.server.unseal()
    environ |= {
        "VAULT_ADDR": f"http://127.0.0.1:{closed_port()}",
        "VAULT_CLIENT_TIMEOUT": "0.5",
    }
    said.append(messages(Unreachable, vault_place.opened()))
    assert len({text for each in said for text in each}) >= 4
    assert all(environ["VAULT_TOKEN"] not in text for each in said for text in each)


def test_names_with_strange_characters_keep_apart(vault_place: VaultPlace) -> None:
    ledger = vault_place.opened()
    vault_place.steps(1)
    names = ["a/b", "a%2Fb", "..", ".", "ä b", "db_app?x#y"]
    for name in names:
        line = _hashed({**vault_place.head().line, "credential": name})
        ledger.append(line)
        assert [found["credential"] for found in ledger.read(name).lines] == [name]
        assert ledger.read(name).faults == ()
    with pytest.raises(BadInput, match="'credential' is missing"):
        ledger.read("")


def test_a_step_reads_one_line_however_many_there_are(vault_place: VaultPlace) -> None:
    """The keyring knows the last number: no step after a run's first one lists, and none reads them all."""
    vault_place.steps(12)
    world = vault_place.vault
    may_not_list = APPEND_ONLY.replace('["list"]', '["deny"]')
    world.limit(may_not_list)
    vault_place.step("same run")
    with pytest.raises(Denied, match="denies this token to list it"):
        vault_place.step("another run", "run2")


# --- syslog: what arrives


@pytest.mark.parametrize(
    "syslog", ["RSYSLOG_TraditionalFileFormat", "RSYSLOG_SyslogProtocol23Format"], indirect=True
)
@pytest.mark.parametrize("how", ["socket", "tcp", "udp"])
def test_a_real_daemon_understands_every_field(
    request: pytest.FixtureRequest, syslog: SyslogServer, how: str
) -> None:
    place = make_place(f"syslog-{how}", request)
    place.ledger += ("&" if "?" in place.ledger else "?") + "facility=local3"
    place.step("fine")
    place.step("bad", outcome="failed")
    text = syslog.wait_for(place.head().hash)
    if syslog.output.read_text().startswith("<"):
        assert text.startswith(f"<{19 * 8 + 5}>1 ")
        assert f"<{19 * 8 + 3}>1 " in text
        assert f" {socket.gethostname().split('.')[0]}" in text
        assert " keyturn " in text
    else:
        assert " keyturn[" in text
    assert place.verify()["lines"] == 2


def test_a_receiver_that_is_not_there_is_told_before_the_keyring_goes_further(
    request: pytest.FixtureRequest, syslog: SyslogServer
) -> None:
    place = make_place("syslog-tcp", request)
    place.steps(1)
    syslog.wait_for(place.head().hash)
    syslog.stop()
    with pytest.raises(Unreachable, match=r"cannot send to syslog at 127\.0\.0\.1.*refused"):
        place.step("lost")
    assert place.head().number == 2
    with pytest.raises(Unreachable):
        place.step("the cause", outcome="failed")
    assert place.head().number == 2
    syslog.start()
    place.step("again", "run2")
    found = place.verify()
    assert (found["lines"], found["recovered"]) == (3, [2])


def test_a_receiver_that_breaks_the_connection_is_told(scratch: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def reset() -> None:
            connection, _address = listener.accept()
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()

        thread = threading.Thread(target=reset, daemon=True)
        thread.start()
        place = Place(scratch, f"ref+syslog://127.0.0.1:{port}")
        with pytest.raises(Unreachable, match="cannot send to syslog"):
            place.step()
        thread.join()


def test_tcp_frames_are_counted_in_octets(scratch: Path) -> None:
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take() -> None:
            connection, _address = listener.accept()
            with connection, connection.makefile("rb") as stream:
                got.append(stream.read())

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        place = Place(scratch, f"ref+syslog://127.0.0.1:{listener.getsockname()[1]}")
        place.step("é\n")
        thread.join()
    length, _blank, rest = got[0].partition(b" ")
    assert int(length) == len(rest)
    assert rest.startswith(b"<85>1 ")


def test_one_datagram_for_each_line(scratch: Path) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as listener:
        listener.bind(("::1", 0))
        listener.settimeout(5)
        port = listener.getsockname()[1]
        place = Place(scratch, f"ref+syslog://[::1]:{port}?protocol=udp&facility=daemon")
        place.steps(2)
        got = [listener.recv(65535) for _number in range(2)]
    assert [raw.partition(b"{")[0].split()[0] for raw in got] == [b"<29>1", b"<29>1"]
    assert json.loads(got[1][got[1].index(b"{") :])["number"] == 2


# --- as people run it


def play(folder: Path, keyring: str, ledger: str, *tasks: dict[str, Any]) -> Path:
    access = {"keyring": keyring, "ledger": ledger, "credential": "db_app"}
    body = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(Path(__file__).parents[2] / "roles/keyturn/defaults/main.yml")],
        "vars": {"keyturn_keyring": keyring},
        "module_defaults": {"group/keyturn.runbooks.keyturn": access},
        "tasks": list(tasks),
    }
    path = folder / "play.yml"
    path.write_text(yaml.safe_dump([body]))
    return path


CLAIM = {"keyturn.runbooks.keyring": {"transition": "claim"}}
RELEASE = {"keyturn.runbooks.keyring": {"transition": "release"}}
CHECK: dict[str, Any] = {"keyturn.runbooks.verify_ledger": {}, "register": "checked"}
SAY = {"ansible.builtin.debug": {"msg": "LINES {{ checked.lines }}"}}
BOTH = pytest.mark.parametrize("direct", [True, False], ids=["direct", "module"])


@BOTH
def test_a_playbook_in_awx_keeps_its_ledger_beside_the_keyring_in_vault(
    vault: VaultServer, vault_mount: str, scratch: Path, run_playbook: RunPlaybook, direct: bool
) -> None:
    path = play(
        scratch,
        f"ref+vault://{vault_mount}/keyrings/db_app",
        "{{ keyturn_ledger }}",
        *(CLAIM, RELEASE, CHECK, SAY),
    )
    done = run_playbook(
        str(path),
        extra_vars={"keyturn_direct": direct},
        env={
            "VAULT_ADDR": vault.address,
            "VAULT_TOKEN": vault.root_token,
            "AWX_HOST": "https://awx.example",
            "JOB_ID": "42",
        },
    ).check()
    assert "LINES 2" in done.output
    listed = vault.request("LIST", f"{vault_mount}/metadata/keyrings/db_app.ledger/db_app")
    assert listed["data"]["keys"] == ["00000001", "00000002"]


@BOTH
def test_a_playbook_in_awx_sends_its_ledger_to_syslog_and_verifies_what_arrived(
    vault: VaultServer,
    vault_mount: str,
    syslog: SyslogServer,
    scratch: Path,
    run_playbook: RunPlaybook,
    direct: bool,
) -> None:
    keyring = f"ref+vault://{vault_mount}/keyrings/db_app"
    ledger = f"ref+syslog://127.0.0.1:{syslog.port}"
    env = {
        "VAULT_ADDR": vault.address,
        "VAULT_TOKEN": vault.root_token,
        "AWX_HOST": "https://awx.example",
        "JOB_ID": "42",
    }
    options = {"extra_vars": {"keyturn_direct": direct}, "env": env}
    run_playbook(str(play(scratch, keyring, ledger, CLAIM, RELEASE)), **options).check()
    told = run_playbook(str(play(scratch, keyring, ledger, CLAIM, CHECK)), **options).check(2)
    assert "cannot be read back" in told.output
    wait_until(lambda: syslog.text().count("keyturn") >= 4, 20, "four messages")
    exported = f"ref+file://{syslog.output}"
    done = run_playbook(str(play(scratch, keyring, exported, CHECK, SAY)), **options).check()
    assert "LINES 3" in done.output


def test_a_token_never_shows(vault_place: VaultPlace) -> None:
    hidden = secrets.token_urlsafe(12)
    vault_place.environ["VAULT_TOKEN"] = hidden
    with pytest.raises(Denied) as caught:
        vault_place.step()
    shown = [repr(vault_place.opened()), caught.value.message, *vault_place.warnings]
    assert hidden not in "".join(shown)
