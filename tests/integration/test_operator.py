# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that a person makes in a dashboard: the run stops until they are there, and knows what a reset ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from estate.playbook import Ansible, PlaybookResult
from ingest import Ingest, new_key
from machines import required
from publisher import Publisher
from stream_world import FORCE, StreamWorld


class Dashboard(StreamWorld):
    """A platform where a person makes keys.

    :ivar handed: where the person puts a new one.
    """

    def __init__(self, folder: Path, ansible: Ansible, ingest: Ingest, overlap: bool) -> None:
        self.handed = folder / "handed.key"
        issuer = {
            "type": "operator",
            "overlap": overlap,
            "values": {"key": f"ref+file://{self.handed}"},
            "make": "dashboard.example, Keys: New",
            "end": "dashboard.example, Keys: Delete",
        }
        super().__init__(folder, ansible, ingest, issuer, lists=False)
        self.overlap = overlap
        self.made: list[str] = []

    def click(self) -> str:
        """Make a key in the dashboard, and put it into the file; without overlap, the one before ends."""
        key = new_key()
        self.made = [*self.made, key] if self.overlap else [key]
        self.ingest.allow(*self.made)
        self.hand(key)
        return key

    def end(self, key: str) -> None:
        """End a key in the dashboard."""
        self.made.remove(key)
        self.ingest.allow(*self.made)

    def hand(self, text: str) -> None:
        """Put a text into the file."""
        self.handed.touch(0o600)
        self.handed.write_text(f"{text}\n")

    def rotate(self, *arguments: str, **extra: object) -> PlaybookResult:
        """Rotate, although it is young."""
        done = self.run("rotate_stream_keys", *arguments, **FORCE, **extra)
        for key in self.made:
            assert key not in done.output
        return done


@pytest.fixture
def dashboard(
    request: pytest.FixtureRequest, scratch: Path, ansible: Ansible
) -> Iterator[Dashboard]:
    with required(), Ingest() as ingest:
        made = Dashboard(scratch, ansible, ingest, request.param)
        made.click()
        made.rotate().check()
        yield made


@contextlib.contextmanager
def stopped_by_policy(dashboard: Dashboard) -> Iterator[None]:
    """Meanwhile the window is closed, and an alert fires, as it does where nobody can go live."""
    day = datetime.now(timezone.utc) + timedelta(days=3)
    window = {"days": [f"{day:%a}".lower()], "start": "20:00", "end": "23:00"}
    policy = dashboard.variables["keyturn_policy"]
    stops = {"window": [window], "alert": {"command": ["false"]}}
    dashboard.write(keyturn_policy={**policy, **stops})
    yield
    dashboard.write(keyturn_policy=policy)


def check_who_is_waited_for(dashboard: Dashboard, first: str) -> None:
    """The first key is in use, and status tells of the person, but sends nobody to a reset."""
    assert dashboard.live_file.read_text() == first
    shown = " ".join(dashboard.run("status").check().stdout.split())
    assert "waits for a person (broadcast) since 2" in shown
    assert f"A new value has to be made and put there: ref+file://{dashboard.handed}" in shown
    assert "dashboard.example" not in shown


@pytest.mark.parametrize("dashboard", [False], indirect=True)
def test_a_reset_ends_the_key_in_use_and_the_run_goes_forward(dashboard: Dashboard) -> None:
    first = dashboard.key("current")
    predicted = dashboard.rotate("--check").check(2)
    assert "ends the value in use in the moment when it makes the new one" in predicted.output
    assert "holds the value in use, and no new one" in predicted.stdout
    assert "this is a dry run: make no value for it" in predicted.output
    stopped = dashboard.rotate().check(2)
    assert "dashboard.example, Keys: New" in stopped.stdout
    assert "which ends the one in use" in stopped.stdout
    assert "mend the cause" not in stopped.stdout
    assert "desk of keys" not in stopped.stdout
    intended = dashboard.document().pending
    assert intended
    assert intended.status == "intended"
    check_who_is_waited_for(dashboard, first)
    second = dashboard.click()
    with stopped_by_policy(dashboard):
        done = dashboard.rotate().check()
    assert f"{dashboard.handed} still holds the value that is in use now" in done.output
    assert dashboard.key("current") == second
    assert dashboard.live_file.read_text() == second
    current = dashboard.document().current
    assert current
    assert current.rotation_id == intended.rotation_id
    assert "previous value is accepted" not in done.output
    before = dashboard.state()
    refused = dashboard.run("rollback_stream_keys").check(2)
    assert "was ended by the issuer when it made this one" in refused.stdout
    assert dashboard.state() == before
    dashboard.run("retire_due").check()
    assert "previous" not in dashboard.known()


@pytest.mark.parametrize("dashboard", [False], indirect=True)
def test_nobody_is_sent_to_the_dashboard_while_somebody_is_live(dashboard: Dashboard) -> None:
    before = dashboard.state()
    with Publisher(dashboard.ingest, dashboard.key("current")) as live:
        refused = dashboard.rotate().check(2)
        assert live.running
    assert "somebody is live" in refused.stdout
    assert "dashboard.example" not in refused.stdout
    assert dashboard.state() == before


@contextlib.contextmanager
def asked_first(ingest: Ingest, before: Callable[[], object]) -> Iterator[str]:
    """The ingest's statistics at another address, where something is done before each answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            before()
            text = ingest.statistics().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_what: object) -> None:
            """Nothing: the page names keys."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/stat"
        server.shutdown()


@pytest.mark.parametrize("dashboard", [False], indirect=True)
def test_who_goes_live_right_before_a_reset_is_asked_for_keeps_the_key(
    dashboard: Dashboard,
) -> None:
    first = dashboard.key("current")
    live, alone = Publisher(dashboard.ingest, first), threading.Lock()

    def before() -> None:
        # The page is read several times at once.
        with alone:
            if dashboard.document().pending and not live.running:
                live.start()

    with asked_first(dashboard.ingest, before) as stat, live_at_most(live):
        dashboard.write(keyturn_gates=[{"type": "not_publishing", "stat": stat}])
        stopped = dashboard.rotate().check(2)
        assert live.running
    assert "somebody is live" in stopped.stdout
    assert "dashboard.example, Keys: New" not in stopped.stdout
    pending = dashboard.document().pending
    assert pending
    assert pending.status == "intended"


@contextlib.contextmanager
def live_at_most(live: Publisher) -> Iterator[None]:
    """Have a publisher that something else starts end here."""
    try:
        yield
    finally:
        live.close()


@pytest.mark.parametrize("dashboard", [False], indirect=True)
def test_a_new_key_that_fails_its_proof_is_answered_by_another(dashboard: Dashboard) -> None:
    first = dashboard.key("current")
    good = dashboard.click()
    dashboard.hand(new_key())
    failed = dashboard.rotate(keyturn_wait="7s").check(2)
    assert "the ingest refused the stream" in failed.stdout
    assert "Only where a wrong text was handed over: it is not read again" in failed.stdout
    assert "escalate to the desk of keys, and hand over: pending is applied" in failed.stdout
    assert dashboard.live_file.read_text() == first
    assert "rotate, which does not have to be forced" in failed.stdout
    for check in (("--check",), ()):
        kept = dashboard.run("abandon", *check).check(2)
        assert "only_value: by the keyring the value in use ended" in kept.stdout
    dashboard.run("abandon", **FORCE).check()
    said = "the value in use ended at its issuer on "
    late = dashboard.run("status", keyturn_fail_on="overdue").check(2)
    assert "restream is overdue: " in late.stdout
    assert said in late.stdout
    verified = dashboard.run("verify_stream_keys", keyturn_wait="3s").check(2)
    assert "the ingest refused the stream" in verified.stdout
    assert f"By the keyring {said}" in verified.stdout
    again = dashboard.run("rotate_stream_keys", keyturn_wait="3s").check(2)
    assert f"{dashboard.handed} holds the value that was tried and abandoned on" in again.stdout
    dashboard.hand(good)
    with stopped_by_policy(dashboard):
        dashboard.run("rotate_stream_keys").check()
    assert dashboard.live_file.read_text() == good
    assert said not in dashboard.run("status", keyturn_fail_on="due").check().stdout


@pytest.mark.parametrize("dashboard", [False], indirect=True)
def test_what_a_wrong_text_told_the_keyring_is_taken_back(dashboard: Dashboard) -> None:
    """Nobody reset anything: a text that the platform does not know yet was handed over."""
    first, text = dashboard.key("current"), new_key()
    dashboard.hand(text)
    dashboard.rotate(keyturn_wait="4s").check(2)
    dashboard.run("abandon", **FORCE).check()
    seen = dashboard.run("verify_stream_keys").check()
    assert (
        "Only where you know that nobody reset it: rotate_stream_keys --tags observe" in seen.output
    )
    before = dashboard.state()
    dry = dashboard.run("rotate_stream_keys", "--tags", "observe", "--check").check()
    assert "changed=1" in dry.stdout and dashboard.state() == before
    done = dashboard.run("rotate_stream_keys", "--tags", "observe").check()
    current = dashboard.document().current
    assert "changed=1" in done.stdout and current and current.ended is None
    assert dashboard.live_file.read_text() == first
    # A rotation that is forced because the key is young takes no abandoned text by that; who goes on with it may say so.
    waits = dashboard.rotate().check(2)
    assert "run it with -e keyturn_force=true, which takes it" in waits.stdout
    dashboard.ingest.allow(text)
    dashboard.rotate().check()
    assert dashboard.live_file.read_text() == text


@pytest.mark.parametrize("dashboard", [True], indirect=True)
def test_two_keys_beside_each_other_and_a_person_ends_the_old_one(dashboard: Dashboard) -> None:
    first = dashboard.key("current")
    second = dashboard.click()
    dashboard.rotate().check()
    assert dashboard.live_file.read_text() == second
    waiting = dashboard.run("retire_due", keyturn_wait="3s").check(2)
    told = " ".join(waiting.output.split())
    assert "End the older of the two values, made on 2" in told
    assert "dashboard.example, Keys: Delete. The newer one, made on 2" in told
    dashboard.end(first)
    dashboard.run("retire_due").check()
    assert "previous" not in dashboard.known()


@pytest.mark.parametrize("dashboard", [True], indirect=True)
def test_the_old_key_is_not_ended_where_the_one_in_use_is_dead(dashboard: Dashboard) -> None:
    first = dashboard.key("current")
    second = dashboard.click()
    dashboard.rotate().check()
    # Somebody ends the wrong one of the two.
    dashboard.end(second)
    stopped = dashboard.run("retire_due", keyturn_wait="7s").check(2)
    assert "Prove that the value in use is accepted" in stopped.stdout
    assert "desk of keys, and hand over: current is observed (rotation r2" in stopped.stdout
    assert "Keys: Delete" not in stopped.output
    previous = dashboard.document().previous
    assert previous
    assert previous.status == "grace"
    dashboard.run("rollback_stream_keys").check()
    assert dashboard.live_file.read_text() == first


@pytest.mark.parametrize("dashboard", [True], indirect=True)
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no value yet"),
        ("two words", "a space, a line break or a letter beyond ASCII in it"),
    ],
)
def test_what_can_be_no_key_is_not_taken(dashboard: Dashboard, text: str, told: str) -> None:
    dashboard.hand(text)
    refused = dashboard.rotate().check(2)
    assert told in refused.stdout
    assert str(dashboard.handed) in refused.stdout
    dashboard.handed.unlink()
    assert "holds no value yet" in dashboard.rotate().check(2).stdout
    second = dashboard.click()
    dashboard.rotate().check()
    assert dashboard.key("current") == second
