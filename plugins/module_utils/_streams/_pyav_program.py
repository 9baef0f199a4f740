# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that publishes by PyAV. It is run on its own (see ``_pyav``), reads what to do from its standard input, and imports nothing
of this collection.

Its output: ``taken`` when the ingest took the stream, ``sent FRAMES BYTES``, ``failed NUMBER`` with the error's number, and ``done``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import time
from array import array
from fractions import Fraction
from typing import Any, Dict, Iterator, List

SAMPLES, SAMPLE_RATE = 1024, 44100


def _say(*words: Any) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def _picture(av: Any, width: int, height: int, number: int) -> Any:
    """Grey bars that move."""
    frame = av.VideoFrame(width, height, "yuv420p")
    ramp = bytes(range(256)) * (width // 256 + 2)
    begin = number * 4 % 256
    for index, plane in enumerate(frame.planes):
        grey = ramp[begin : begin + width] if index == 0 else b"\x80" * plane.width
        plane.update(grey.ljust(plane.line_size, b"\0") * plane.height)
    frame.pts = number
    return frame


def _tone(av: Any, number: int) -> Any:
    """A part of a tone of 440 Hz."""
    first = number * SAMPLES
    wave = array(
        "f",
        (
            0.1 * math.sin(2 * math.pi * 440 * (first + place) / SAMPLE_RATE)
            for place in range(SAMPLES)
        ),
    )
    frame = av.AudioFrame(format="fltp", layout="mono", samples=SAMPLES)
    plane = frame.planes[0]
    plane.update(wave.tobytes().ljust(plane.buffer_size, b"\0"))
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, first, Fraction(1, SAMPLE_RATE)
    return frame


def _video(container: Any, av: Any, job: Dict[str, Any]) -> Any:
    name = "libx264" if "libx264" in av.codecs_available else "flv"
    stream = container.add_stream(name, rate=job["rate"])
    stream.width, stream.height, stream.pix_fmt = job["width"], job["height"], "yuv420p"
    stream.bit_rate = job["video_bitrate"]
    stream.codec_context.time_base = Fraction(1, job["rate"])
    stream.codec_context.gop_size = job["rate"] * 2
    bits = job["video_bitrate"]
    options = {"maxrate": str(bits), "bufsize": str(bits * 2)}
    if name == "libx264":
        options.update(preset="ultrafast", tune="zerolatency")
    stream.options = options
    return stream


def _audio(container: Any, job: Dict[str, Any]) -> Any:
    stream = container.add_stream("aac", rate=SAMPLE_RATE)
    stream.bit_rate = job["audio_bitrate"]
    stream.codec_context.layout = "mono"
    return stream


def _packets(av: Any, video: Any, audio: Any, job: Dict[str, Any]) -> Iterator[List[Any]]:
    """The packets of each picture with its tone, at the time when it is due."""
    began, tones = time.monotonic(), 0
    for number in range(job["frames"]):
        time.sleep(max(began + number / job["rate"] - time.monotonic(), 0.0))
        found = list(video.encode(_picture(av, job["width"], job["height"], number)))
        while tones * SAMPLES / SAMPLE_RATE < (number + 1) / job["rate"]:
            found += audio.encode(_tone(av, tones))
            tones += 1
        yield found
    yield [*video.encode(None), *audio.encode(None)]


def _publish(av: Any, job: Dict[str, Any]) -> None:
    container = av.open(f"{job['url']}/{job['key']}", "w", format="flv")
    video, audio = _video(container, av, job), _audio(container, job)
    container.start_encoding()
    _say("taken")
    sent = 0
    for number, packets in enumerate(_packets(av, video, audio, job), 1):
        for packet in packets:
            sent += packet.size
            container.mux(packet)
        _say("sent", min(number, job["frames"]), sent)
    container.close()
    _say("done")


def main() -> None:
    """Do it. The end comes by the kernel when nobody ends this process in time."""
    job = json.loads(sys.stdin.read())
    signal.alarm(math.ceil(job["limit"]) + 1)
    import av
    import av.logging

    # Its messages go to the standard error stream, which whoever runs this reads and shows to nobody.
    av.logging.restore_default_callback()
    getattr(av.logging, "set_libav_level", av.logging.set_level)(av.logging.VERBOSE)
    status = 0
    try:
        _publish(av, job)
    except BaseException as error:
        status = 1
        # Its text and its file name hold the key. Nobody listens when whoever started this was killed.
        with contextlib.suppress(OSError):
            _say("failed", getattr(error, "errno", None) or 0)
    # Without the clean-up, which would try to say good-bye to an ingest that does not listen.
    os._exit(status)


if __name__ == "__main__":
    main()
