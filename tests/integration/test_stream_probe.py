# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe ``stream`` on a real ingest: proofs, refusals, somebody who is live, and a person's word."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Live,
    ProbeFailed,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Document, Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import (
    KEYRING_OPTIONS,
    asked,
    execute,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._probe import MODULE as PROBE
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes import (
    Evidence,
    Patience,
    ProbeContext,
    presenting,
    run_probe,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._stream import StreamType
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._stream_probe import MODULE
from ansible_collections.keyturn.runbooks.plugins.modules import stream_probe
from denying_ingest import denying
from ingest import Ingest, new_key
from machines import required
from publisher import Publisher

ONCE = Patience(timedelta(seconds=10), timedelta(milliseconds=100), 0)


@pytest.fixture(scope="session")
def ingest(run_dir: Path) -> Iterator[Ingest]:
    place = run_dir / "probe-ingest"
    place.mkdir(mode=0o711)
    with required(), Ingest(place) as started:
        yield started


def stage(key: str, rotation: str = "r1-2026") -> Stage:
    return Stage(rotation, "applied", {"key": Secret(key)}, "d")


def probe(ingest: Ingest, **more: Any) -> dict[str, Any]:
    return {
        "type": "stream",
        "url": ingest.url(),
        "duration": "1s",
        "size": "160x90",
        "rate": 10,
        "video_bitrate": "200k",
        "audio_bitrate": "64k",
        **more,
    }


def surroundings(current: str = "", **more: Any) -> ProbeContext:
    document = (
        Document("platform", secrets.token_bytes(32), current=stage(current, "r0-2025"))
        if current
        else None
    )
    context = Context(check_mode=more.pop("check_mode", False))
    return ProbeContext(context, {}, document=document, patience=more.pop("patience", ONCE), **more)


def tried(key: str, options: dict[str, Any], ctx: ProbeContext) -> Evidence:
    found = run_probe(options, stage(key), ctx)
    assert key not in repr(found)
    return found


def test_a_key_is_proved_with_what_the_ingest_says_of_it(ingest: Ingest) -> None:
    key = new_key()
    ingest.allow(key)
    seen = tried(key, probe(ingest, received={"stat": ingest.stat_url}), surroundings())
    assert (seen.type, seen.against) == ("stream", ingest.url())
    assert seen.detail.startswith("published 10 frames in ")
    assert "; its statistics showed the stream in application live, 160x90" in seen.detail
    told = tried(key, probe(ingest), surroundings()).detail
    assert told.endswith("beside the answer of the protocol nothing tells that it arrived")


def test_a_refused_key_is_tried_until_the_time_is_up(ingest: Ingest) -> None:
    key = new_key()
    ingest.allow()
    later = surroundings(patience=Patience(timedelta(seconds=8), timedelta(milliseconds=200), 1))
    with pytest.raises(ProbeFailed, match=r"the ingest refused the stream.*\(2 attempts"):
        tried(key, probe(ingest), later)

    def slept(_seconds: float) -> None:
        ingest.allow(key)

    # A platform that learns of a new key a while later, as the runbook knows it.
    patient = surroundings(patience=Patience(timedelta(seconds=20)), sleep=slept)
    assert tried(key, probe(ingest), patient).detail.startswith("published")


def test_a_refusal_is_proved_only_where_the_current_key_is_accepted(ingest: Ingest) -> None:
    old, current = new_key(), new_key()
    refused = {"expect": "refused"}
    ingest.allow(current)
    seen = tried(old, probe(ingest), surroundings(current, **refused))
    assert seen.detail == "refused; the current value is accepted there"
    ingest.allow(old, current)
    with pytest.raises(ProbeFailed, match="it is still accepted"):
        tried(old, probe(ingest), surroundings(current, **refused))
    ingest.allow(current)
    ingest.stop_callback()
    try:
        with pytest.raises(Unreachable, match="but the current value is not accepted there either"):
            tried(old, probe(ingest), surroundings(current, **refused))
    finally:
        ingest.start_callback()
    # An operator's word is not asked for twice: it was for the stream of its own rotation.
    asked = probe(ingest, received={"confirmed": "ref+file:///nowhere/at/all"})
    assert tried(old, asked, surroundings(current, **refused)).detail.startswith("refused")
    with Publisher(ingest, current):
        shown = probe(ingest, received={"stat": ingest.stat_url})
        live = tried(old, shown, surroundings(current, **refused))
        assert live.detail == "refused; the current value is accepted there"
    for url in ("rtmp://127.0.0.1:1/live", "rtmp://ingest.invalid/live"):
        with pytest.raises(Unreachable):
            tried(old, probe(ingest, url=url), surroundings(current, **refused))
    with pytest.raises(Absent, match="this says nothing about the key"):
        tried(old, probe(ingest, url=ingest.url("other")), surroundings(current, **refused))


def test_a_live_stream_ends_it_at_once(ingest: Ingest) -> None:
    key = new_key()
    ingest.allow(key)
    with Publisher(ingest, key) as live:
        for more in ({}, {"received": {"stat": ingest.stat_url}}):
            with pytest.raises(Refused, match="somebody is live with this key") as caught:
                tried(key, probe(ingest, **more), surroundings())
            assert key not in str(caught.value)
        with pytest.raises(Refused, match="somebody is live"):
            tried(key, probe(ingest), surroundings(new_key(), expect="refused"))
        shown = probe(ingest, received={"stat": ingest.stat_url})
        enough = tried(key, shown, surroundings(live_is_enough=True))
        assert enough.detail.startswith("live, not tried: somebody is live with this key")
        # Any server may say the same of a key that it refuses, so its words alone are no proof, and no failed one.
        with pytest.raises(Live, match="neither verified nor failed"):
            tried(key, probe(ingest), surroundings(live_is_enough=True))
        # It is accepted, which is no proof of a refusal.
        with pytest.raises(Refused, match=r"somebody is live with this key.*no proof that it is"):
            tried(key, shown, surroundings(new_key(), expect="refused", live_is_enough=True))
        issuer = {"type": "rtmp_ingest", "stat": ingest.stat_url}
        told = replace(surroundings(live_is_enough=True), issuer=issuer)
        seen = tried(key, probe(ingest, received={"issuer": True}), told)
        assert seen.detail.startswith("live, not tried: its issuer told of application live")
        assert live.running


@pytest.mark.parametrize(
    ("words", "method", "asked_for"),
    [
        ("The key store is busy, try again later", "ffmpeg", ""),
        ("This key was revoked: its name is already in use by another account", "pyav", "stat"),
        ("Already publishing", "ffmpeg", "issuer"),
    ],
)
def test_a_refused_key_is_not_verified_by_what_the_refusal_says(
    ingest: Ingest, words: str, method: str, asked_for: str
) -> None:
    key = new_key()
    wanted = {"": {}, "stat": {"stat": ingest.stat_url}, "issuer": {"issuer": True}}[asked_for]
    issuer = {"type": "rtmp_ingest", "stat": ingest.stat_url}
    ctx = replace(surroundings(live_is_enough=True), issuer=issuer)
    with denying(words) as url:
        options = probe(ingest, url=url, method=method, received=wanted)
        with pytest.raises(Live, match="neither verified nor failed") as caught:
            tried(key, options, ctx)
        assert key not in str(caught.value)
        # Nor does it show that the key in use is accepted where another one is refused.
        control = StreamType().open(options, stage(key), ctx).control(8)
        assert not control.done and not control.clear


def test_check_mode_streams_nothing(ingest: Ingest) -> None:
    key = new_key()
    ingest.allow(key)
    seen = tried(key, probe(ingest), surroundings(check_mode=True))
    assert (seen.detail, seen.predicted) == ("not tried: check mode streams nothing", True)
    unmade = Stage("r1", "intended", {"key": Secret.new()}, "d")
    assert (
        "does not exist yet"
        in run_probe(probe(ingest), unmade, surroundings(check_mode=True)).detail
    )
    assert key not in ingest.callback_log.read_text()


def test_statistics_that_never_showed_it_are_a_failed_proof(ingest: Ingest, scratch: Path) -> None:
    key = new_key()
    ingest.allow(key)
    with (
        Ingest(scratch) as other,
        pytest.raises(ProbeFailed, match="never showed it growing"),
    ):
        tried(key, probe(ingest, received={"stat": other.stat_url}), surroundings())


class Clock:
    """Goes on by itself and by sleeping, without the wait."""

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self.slept, self.told = 0.0, told

    def monotonic(self) -> float:
        return time.monotonic() + self.slept

    def sleep(self, _seconds: float) -> None:
        self.slept += 3
        self.told()

    def context(self) -> ProbeContext:
        return surroundings(sleep=self.sleep, monotonic=self.monotonic)


def test_a_yes_counts_for_its_own_rotation_alone(ingest: Ingest, scratch: Path) -> None:
    key, word = new_key(), scratch / "word"
    ingest.allow(key)
    options = probe(ingest, received={"confirmed": f"ref+file://{word}"})
    with pytest.raises(Refused, match=r"write 'yes r1-2026' to where .*received\.confirmed") as no:
        run_probe(options, stage(key, "r1-2026"), Clock().context())
    assert key not in str(no.value)
    for wrong in ("yes", "yes r0-2025", "no r1-2026"):
        word.write_text(wrong)
        with pytest.raises(Refused, match="is no yes for this test stream"):
            run_probe(options, stage(key, "r1-2026"), Clock().context())
    word.unlink()

    def told() -> None:
        word.write_text("Yes r1-2026\n")

    calls = ingest.callback_log.read_text().count(key)
    seen = run_probe(options, stage(key, "r1-2026"), Clock(told).context())
    assert seen.detail.endswith("a person confirmed that it arrived (yes r1-2026)")
    assert ingest.callback_log.read_text().count(key) == calls + 1


def test_a_yes_of_the_past_is_told_as_one(ingest: Ingest, scratch: Path) -> None:
    key, word = new_key(), scratch / "word"
    ingest.allow(key)
    options = probe(ingest, received={"confirmed": f"ref+file://{word}"})
    word.write_text("yes r1-2026\n")
    proved = replace(stage(key), evidence=({"type": "stream", "detail": "seen"},))
    seen = run_probe(options, proved, Clock().context())
    assert "confirmed that it arrived" not in seen.detail
    assert seen.detail.endswith(
        "a person confirmed this key before, not this test stream (yes r1-2026)"
    )
    unrotated = Stage("", "issued", {"key": Secret(key)})
    adopting = replace(Clock().context(), credential="restream")
    for wrong in ("yes adopted", "yes adopted twitch"):
        word.write_text(wrong)
        with pytest.raises(Refused, match="write 'yes adopted restream'"):
            run_probe(options, unrotated, replace(Clock().context(), credential="restream"))
    word.write_text("yes adopted restream")
    seen = run_probe(options, unrotated, adopting)
    assert seen.detail.endswith("a person confirmed that it arrived (yes adopted restream)")


def test_who_is_live_proves_no_refusal(ingest: Ingest) -> None:
    none = {name: option.get("default") for name, option in KEYRING_OPTIONS.items()}
    value = {"key": new_key()}
    wanted = {"probes": [probe(ingest)], "value": value, "expect": "refused", "live": "enough"}
    with pytest.raises(BadInput, match=r"live: 'enough' .* expect: refused") as told:
        execute(PROBE, asked(PROBE, none, **wanted), Context())
    assert value["key"] not in str(told.value)


def test_it_presents_the_key_of_the_stage(ingest: Ingest) -> None:
    assert presenting([probe(ingest)], "probes") == 1
    assert presenting([probe(ingest, key="ref+file:///a/key")], "probes") == 0


def test_a_test_stream_that_failed_is_told_with_all_that_the_module_documents(
    ingest: Ingest,
) -> None:
    documented = yaml.safe_load(stream_probe.RETURN)
    always = {name for name, one in documented.items() if "and a failure" in one["returned"]}
    assert {"outcome", "against", "received"} <= always
    none = {name: option.get("default") for name, option in KEYRING_OPTIONS.items()}
    short = {"url": ingest.url(), "duration": "1s", "size": "160x90", "timeout": "10s"}
    taken, word = new_key(), {"confirmed": "ref+file:///nowhere/yes", "id": "night-1"}
    ingest.allow(taken)
    for key, received in ((new_key(), {}), (taken, word)):
        params = asked(MODULE, none, key=key, received=received, **short)
        with pytest.raises((ProbeFailed, Refused)) as failed:
            execute(MODULE, params, Context())
        assert failed.value.details.keys() >= always
