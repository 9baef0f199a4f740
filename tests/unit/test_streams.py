# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test streams without an ingest: addresses, keys, pictures, answers, words of persons, and children that end in time."""

from __future__ import annotations

import os
import resource
import secrets
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    MissingLibrary,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._port import ProbeContext
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._stream import StreamType
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._stream_probe import (
    MODULE,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams import (
    Pattern,
    _pyav_program,
    check_key,
    choose,
    read_method,
    read_pattern,
    read_target,
    read_wanted,
    says_yes,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._child import run_child
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._ended import Said, classify
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams._ffmpeg import (
    arguments,
    preset,
)

KEY = f"key-{secrets.token_urlsafe(12)}"


@pytest.mark.parametrize(
    ("url", "application", "shown"),
    [
        ("rtmp://ingest1.example/live", None, "rtmp://ingest1.example/live"),
        ("rtmp://ingest1.example:1935/live/", None, "rtmp://ingest1.example/live"),
        ("rtmp://ingest1.example:1936", "live", "rtmp://ingest1.example:1936/live"),
        ("rtmps://live.example/app/one", "app/one", "rtmps://live.example/app/one"),
        ("rtmp://[2001:db8::1]/live", None, "rtmp://[2001:db8::1]/live"),
    ],
)
def test_an_address_names_an_ingest_and_an_application(
    url: str, application: str | None, shown: str
) -> None:
    assert read_target(url, application, "probes[0]").url == shown


@pytest.mark.parametrize(
    ("url", "application", "told"),
    [
        ("", None, "probes[0].url: this is no address of an ingest"),
        ("http://ingest1.example/live", None, "probes[0].url: this is no address of an ingest"),
        ("rtmp:///live", None, "probes[0].url: this is no address of an ingest"),
        ("rtmp://ingest1.example:none/live", None, "probes[0].url: this is no address"),
        ("rtmp://ingest1.example/live/{key}", None, "probes[0].url: its path has several parts"),
        ("rtmp://ingest1.example/live/{key}", "live", "probes[0].url: its path is not what"),
        (
            "rtmp://ingest1.example/live?key={key}",
            None,
            "probes[0].url: holds a user name, a query",
        ),
        ("rtmp://me:{key}@ingest1.example/live", None, "probes[0].url: holds a user name"),
        ("rtmp://ingest1.example", None, "probes[0].url: has no application"),
        ("rtmp://ingest1.example", "a b {key}", "probes[0].application: has no application"),
    ],
)
def test_an_address_that_may_hold_a_key_is_refused_and_not_quoted(
    url: str, application: str | None, told: str
) -> None:
    with pytest.raises(BadInput) as caught:
        read_target(url.format(key=KEY), application and application.format(key=KEY), "probes[0]")
    assert str(caught.value).startswith(told)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{key} x",
        "{key}\n",
        "{key}\0",
        "{key}" * 40,
        "{key}\u00e9",
        "\U0001d54f" * 246 + "{key}",
    ],
    ids=["empty", "blank", "line", "nul", "long", "accent", "bytes"],
)
def test_what_can_be_no_key_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(BadInput, match="the key") as caught:
        check_key(Secret(text.format(key=KEY)), "key")
    assert KEY not in str(caught.value)


def test_a_key_may_have_every_character_of_an_address() -> None:
    longest = "".join(map(chr, range(33, 127))) * 2 + "k" * 67
    assert check_key(Secret(longest), "key").reveal() == longest
    with pytest.raises(BadInput, match="the key"):
        check_key(Secret(longest + "k"), "key")


@pytest.mark.parametrize("broken", ["key", "application"])
def test_a_line_that_ffmpeg_would_read_as_two_is_not_written(broken: str) -> None:
    """ffmpeg reads lines of 1000 bytes; what is behind them would be an option of its own."""
    long = KEY + "k" * 960
    key = Secret(long if broken == "key" else KEY)
    application = long if broken == "application" else "live"
    with pytest.raises(BadInput, match="too long for ffmpeg") as caught:
        preset(read_target(f"rtmp://a/{application}", None, "p"), key, 5.0)
    assert KEY not in str(caught.value)
    if broken == "key":
        with pytest.raises(BadInput, match="too long for ffmpeg"):
            preset(read_target("rtmp://a/live", None, "p"), Secret(f"{KEY}\nstats=/a"), 5.0)


def test_the_picture_is_that_of_the_runbook_unless_another_one_is_asked_for() -> None:
    assert read_pattern({}, "p") == Pattern(1280, 720, 30, 2_500_000, 128_000, 10.0)
    short = {"size": "320x180", "rate": "15", "video_bitrate": "1M", "audio_bitrate": 64000}
    found = read_pattern({**short, "duration": 2}, "p")
    assert found == Pattern(320, 180, 15, 1_000_000, 64_000, 2.0)
    assert (found.frames, str(found)) == (30, "320x180 at 15, 2 s")
    line = arguments("ffmpeg", read_target("rtmp://a/live", None, "p"), found)
    assert line[-1] == "rtmp://a/live" and "testsrc=size=320x180:rate=15" in line
    given = dict(pairwise(line))
    bits = [given[name] for name in ("-b:v", "-maxrate", "-bufsize", "-b:a")]
    assert bits == ["1000000", "1000000", "2000000", "64000"]


def test_pyav_sends_no_more_than_was_asked_for_either(tmp_path: Path) -> None:
    """The encoder writes into its first packet what it was told."""
    av = pytest.importorskip("av")
    job = {
        "width": 160,
        "height": 90,
        "rate": 10,
        "video_bitrate": 100_000,
        "audio_bitrate": 64_000,
    }
    with av.open(str(tmp_path / "picture.flv"), "w", format="flv") as container:
        video, audio = (
            _pyav_program._video(container, av, job),
            _pyav_program._audio(container, job),
        )
        packets = [*video.encode(_pyav_program._picture(av, 160, 90, 0)), *video.encode(None)]
        told = b"".join(map(bytes, packets))
        assert b"bitrate=100 " in told and b"vbv_maxrate=100 vbv_bufsize=200 " in told
        assert (audio.bit_rate, video.codec_context.gop_size) == (64_000, 20)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", "1280"),
        ("size", "161x90"),
        ("size", "0x0"),
        ("rate", 0),
        ("rate", "fast"),
        ("rate", 500),
        ("video_bitrate", "2500 k"),
        ("audio_bitrate", "-1"),
        ("audio_bitrate", "64"),
        ("video_bitrate", "900M"),
        ("duration", "0s"),
        ("duration", "10m"),
        ("duration", "a while"),
    ],
)
def test_a_picture_that_cannot_be_meant_is_refused_by_its_option(name: str, value: Any) -> None:
    with pytest.raises(BadInput, match=rf"^p\.{name}: "):
        read_pattern({name: value}, "p")
    with pytest.raises(BadInput, match=r"^p\.method: 'obs' is unknown"):
        read_method("obs", "p")


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (Said(False, "x: input/output error"), "refused"),
        (Said(False, "", 5), "refused"),
        (Said(False, "", 104), "refused"),
        (Said(False, "[rtmp] server error: bad name\nx: operation not permitted"), "refused"),
        (Said(False, "[rtmp] server error: already publishing", 1), "already_publishing"),
        (Said(False, "x: connection refused"), "unreachable"),
        (Said(False, "", 113), "unreachable"),
        (Said(False, "[tcp] failed to resolve hostname a\nx: input/output error"), "unreachable"),
        (
            Said(False, "[tls] peer certificate failed verification\nx: input/output error"),
            "unreachable",
        ),
        (Said(False, "x: connection timed out"), "no_answer"),
        (Said(False, "", 110), "no_answer"),
        (Said(True, "av_interleaved_write_frame(): broken pipe"), "dropped"),
        (Said(True, "", 32), "dropped"),
        (Said(False, "unknown encoder 'libx264'"), "failed"),
        (Said(False, "", 0), "failed"),
    ],
)
def test_what_programs_say_is_told_by_its_kind(said: Said, outcome: str) -> None:
    assert classify(said) == outcome


def test_a_program_that_verifies_no_certificate_is_used_only_where_it_is_named(
    tmp_path: Path,
) -> None:
    nowhere = {**os.environ, "PATH": str(tmp_path)}
    plain, encrypted = (read_target(f"{one}://a/live", None, "p") for one in ("rtmp", "rtmps"))
    assert choose("auto", nowhere, plain, Pattern())[0] == "pyav"
    for method in ("auto", "ffmpeg"):
        with pytest.raises(MissingLibrary, match=r"ffmpeg is not there.*Install ffmpeg"):
            choose(method, nowhere, encrypted, Pattern())
    assert choose("pyav", nowhere, encrypted, Pattern())[0] == "pyav"
    with pytest.raises(MissingLibrary, match=r"PyAV verifies no certificate.*'method: pyav'"):
        choose("auto", nowhere, encrypted, Pattern())


@pytest.mark.parametrize(
    ("scheme", "method", "warned"),
    [("rtmps", "pyav", True), ("rtmps", "auto", False), ("rtmp", "pyav", False)],
)
def test_a_stream_that_trusts_any_certificate_is_warned_of(
    scheme: str, method: str, warned: bool
) -> None:
    said: list[str] = []
    context = Context(warn=said.append)
    options = {"url": f"{scheme}://127.0.0.1:1/live", "duration": "1s", "method": method}
    stage = Stage("r1-2026", "applied", {"key": Secret(KEY)}, "d")
    StreamType().open(options, stage, ProbeContext(context, {}))
    assert [text for text in said if "verifies no certificate" in text] == said
    assert bool(said) is warned
    told: list[str] = []
    context = Context(check_mode=True, warn=told.append, environ=dict(os.environ))
    defaults = {name: spec.get("default") for name, spec in MODULE.argument_spec.items()}
    given = {**defaults, **options, "key": KEY}
    assert MODULE.prepare
    with pytest.raises(Unreachable):
        MODULE.run(MODULE.prepare(given, context), context)
    assert bool(told) is warned and KEY not in str(told)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("stat", "received: expected a mapping"),
        ({"stats": "x"}, "received.stats: unknown"),
        ({"stat": "ftp://a/"}, "received.stat: this is no address"),
        ({"stat": "http://u:p@a/"}, "received.stat: the address holds a user name"),
        ({"application": "live"}, "received.application: belongs to 'stat'"),
        ({"confirmed": "yes"}, "received.confirmed: expected a reference"),
        ({"confirmed": "keyring#/pending/key"}, "received.confirmed: expected a reference"),
        ({"confirmed": "ref+file:///a"}, "received.id: expected 4 to 100"),
        ({"confirmed": "ref+file:///a", "id": "a b c d"}, "received.id: expected 4 to 100"),
        ({"id": "2026-01-31"}, "received.id: belongs to 'confirmed'"),
        ({"stat": "http://a/", "headers": ["x"]}, "received.headers: expected a mapping"),
    ],
)
def test_a_confirmation_that_cannot_be_meant_is_refused(given: Any, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_wanted(given, "received")
    assert str(caught.value).startswith(told)


def test_a_yes_is_one_for_its_own_stream() -> None:
    reference = {"confirmed": "ref+file:///srv/word"}
    wanted = read_wanted(reference, "received", "r7-2026")
    with pytest.raises(BadInput, match="its rotation id stands behind the yes"):
        read_wanted({**reference, "id": "mine"}, "received", "r7-2026")

    def said(text: str) -> str:
        return says_yes(lambda: Secret(text), wanted, "received")

    assert said("yes r7-2026\n") == said("YES  r7-2026") == ""
    for text in ("", "yes", "yes r6-2026", "no r7-2026", "yes r6-2026 r7-2026"):
        assert "is no yes for this test stream: write 'yes r7-2026'" in said(text)

    def absent() -> Secret:
        raise Absent("there is no such file")

    assert says_yes(absent, wanted, "received").startswith("nobody has confirmed")


def test_a_yes_for_an_adopted_key_names_its_credential() -> None:
    wanted = read_wanted({"confirmed": "ref+file:///srv/word"}, "received", "adopted restream")
    assert says_yes(lambda: Secret("Yes adopted restream\n"), wanted, "received") == ""
    for text in ("yes adopted", "yes adopted twitch", "yes adopted restream twitch"):
        missing = says_yes(lambda text=text: Secret(text), wanted, "received")  # type: ignore[misc]
        assert "is no yes for this test stream: write 'yes adopted restream'" in missing


def child(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(("import os, subprocess, sys, time", *lines))]


def test_a_child_is_fed_by_its_standard_input_and_both_streams_are_heard() -> None:
    seen: list[str] = []
    told = "k = sys.stdin.read(); print('got', len(k), flush=True); time.sleep(0.5); print(k, file=sys.stderr)"
    heard = run_child(
        child(told), {**os.environ, "VAULT_TOKEN": KEY}, KEY.encode(), 10, seen.append
    )
    assert (heard.rc, heard.ended, heard.out) == (0, True, f"got {len(KEY)}\n")
    assert heard.err.strip() == KEY and any("got" in text for text in seen)
    environ = run_child(
        child("print(dict(os.environ))"), {**os.environ, "VAULT_TOKEN": KEY}, b"", 10
    )
    assert KEY not in environ.out


def test_a_child_that_reads_nothing_and_says_much_does_not_hold_us_up() -> None:
    heard = run_child(child("print('x' * (1 << 20))"), dict(os.environ), b"k" * 600, 10)
    assert heard.ended and 1 << 17 < len(heard.out) <= 1 << 18


def test_a_child_that_crashes_leaves_no_memory_behind() -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        told = "sys.stdin.read(); import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
        heard = run_child(child(told), dict(os.environ), b"k", 10)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    assert heard.out == ("(1, 1)\n" if before[1] else "(0, 0)\n")


@pytest.mark.parametrize("closes", [True, False], ids=["silent", "open"])
def test_a_child_that_hangs_is_killed_with_all_that_it_started(
    tmp_path: Path, closes: bool
) -> None:
    mark = tmp_path / "pids"
    lines = (
        "one = subprocess.Popen(['sleep', '60'])",
        f"open({str(mark)!r}, 'w').write(f'{{os.getpid()}} {{one.pid}}')",
        "os.close(1); os.close(2)" if closes else "",
        "time.sleep(60)",
    )
    began = time.monotonic()
    heard = run_child(child(*lines), dict(os.environ), b"", 1.5)
    assert not heard.ended and time.monotonic() - began < 4
    for pid in mark.read_text().split():
        until = time.monotonic() + 5
        while is_running(pid) and time.monotonic() < until:
            time.sleep(0.02)
        assert not is_running(pid)


def is_running(pid: str) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
