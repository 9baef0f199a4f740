#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a test stream."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_probe
short_description: Prove a stream key with a synthetic test stream to an RTMP ingest
version_added: 0.1.0
description:
  - Publishes a moving picture and a tone to an ingest for some seconds, from the host of the task, and tells how that ended. The stream is
    a real broadcast for as long as it lasts. Do it where no viewers are, or where they may see it.
  - The key is resolved on the controller and is in no command line, no environment, no file, no message and no result. What the programs
    that publish say is read and never repeated, because they quote the key.
  - Publishes by B(ffmpeg) in a version from 5.1 to 7, which takes the key from its standard input, or else by B(PyAV) for the Python of
    the task. Newer versions of ffmpeg take such a key and publish an empty one, so they are not used.
  - Before a program is given the key, a connection up to RTMP's C(connect) shows whether the ingest is there and takes connections to the
    application, and O(received) whether somebody is live with this key. Then nothing is published.
  - With C(rtmps://) the certificate has to be trusted by the system. It is verified on that first connection, and by ffmpeg again on the
    one that the stream takes. PyAV verifies none there, so with C(rtmps://) it is used only where O(method) names it, and warns.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes.info
attributes:
  check_mode:
    description:
      - Resolves the key, looks for a program, connects to the ingest without a key and reads the statistics, as otherwise, and fails where
        the stream could not be made. Streams nothing, and reads no one's confirmation.
  idempotent:
    description: Makes a test stream each time, and changes nothing.
options:
  url:
    description:
      - The ingest and its application, such as V(rtmp://ingest1.example/live), without the key.
      - A query, a user name, and a path of several parts that O(application) does not name are refused, because they may be the key, and
        addresses are shown.
    type: str
    required: true
  application:
    description: The application, where O(url) has no path, or where there is a slash in its name.
    type: str
  key:
    description:
      - The stream key, as a reference such as V(ref+vault://secret/stream/restream#/key) or, with O(keyring), V(keyring#/pending/key).
      - At most 255 visible characters of ASCII. One with a slash in it can be published by ffmpeg only.
    type: str
  duration:
    description: How long, from V(1s) to V(5m).
    type: str
    default: 10s
  size:
    description: Width and height of the picture, two even numbers.
    type: str
    default: 1280x720
  rate:
    description: Frames in a second.
    type: int
    default: 30
  video_bitrate:
    description: The most bits in a second of the picture.
    type: str
    default: 2500k
  audio_bitrate:
    description: Bits in a second of the tone.
    type: str
    default: 128k
  method:
    description: V(auto) takes ffmpeg where it is there in a fit version, and else PyAV, but never for C(rtmps://).
    type: str
    default: auto
    choices: [auto, ffmpeg, pyav]
  received:
    description:
      - How it is known that the stream arrived. Without it, the answer of the protocol is all, and the result says so. That is little on a
        platform that takes any key and ends the stream later.
      - C(stat) is the address of nginx-rtmp's statistics (C(rtmp_stat all)), reached from the host of the task. They have to show a stream
        with this key, growing, while it is published. C(application) is its name there, by default the one it is published to;
        C(headers), C(validate_certs) and C(ca_path) are for the request.
      - C(confirmed) is a reference that a person writes C(yes ID) to, once they saw the stream arrive in the platform's dashboard. Until
        then the task fails as V(Refused), and says what to write. With the pending key of a keyring the ID is its rotation id, so that
        the yes of another rotation counts for nothing; otherwise it is C(id), which is yours to choose anew each time.
    type: dict
    default: {}
  timeout:
    description: How long all of it may take, at least 5 seconds more than O(duration). Then whatever was started is killed.
    type: str
    default: 30s
  contents:
    description: The key on its way to a host. Made by the collection; what is given here is not used.
    type: dict
seealso:
  - module: keyturn.runbooks.probe
    description: Its probe C(stream) does the same as a part of a rotation.
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Does the platform take the new key? Tried from the relay
  keyturn.runbooks.stream_probe:
    url: rtmp://ingest1.example/live
    key: ref+vault://secret/stream/restream#/key_new
    received: {stat: "http://ingest1.example:8080/stat"}
  delegate_to: relay1

- name: The same with the key of a keyring, and a person who looks at the dashboard
  keyturn.runbooks.stream_probe:
    keyring: "{{ keyturn_keyring }}"
    credential: restream
    url: rtmps://live.platform.example/app
    key: keyring#/pending/key
    received: {confirmed: ref+file:///srv/keyturn/restream.seen}
    timeout: 1m

- name: Is the old key refused?
  keyturn.runbooks.stream_probe:
    url: rtmp://ingest1.example/live
    key: ref+file:///root/old.key
    duration: 2s
  register: old
  failed_when: old.outcome != 'refused'
"""

RETURN = r"""
outcome:
  description:
    - V(accepted), or why the task failed. V(refused) is the key, or who decides about keys at the ingest and is down, which gives the same
      answer. V(already_publishing) is somebody who is live with this key. V(wrong_application) is an application that is not there or
      takes no connection. V(unreachable), V(dropped) (accepted, and not to the end), V(no_answer) and V(failed) (the program ended before
      it spoke to the ingest) prove nothing either way.
    - Empty in check mode.
  returned: success, and a failure once a test stream was tried, or in check mode looked into
  type: str
  sample: accepted
detail:
  description: The same in words.
  returned: success, and a failure once a test stream was tried, or in check mode looked into
  type: str
  sample: published 300 frames in 10 s by ffmpeg; its statistics showed the stream in application live, 1280x720, 1893440 bytes
against:
  description: The ingest and application.
  returned: success, and a failure once a test stream was tried, or in check mode looked into
  type: str
  sample: rtmp://ingest1.example/live
pattern:
  description: The picture.
  returned: success
  type: str
  sample: 1280x720 at 30, 10 s
method:
  description: V(ffmpeg) or V(pyav); none when nothing was published.
  returned: success, and a failure once a test stream was tried, or in check mode looked into
  type: str
seconds:
  description: How long the program took.
  returned: success, and a failure once a test stream was tried, or in check mode looked into
  type: float
frames:
  description: The pictures that were sent.
  returned: success, and a failure once a test stream was tried, or in check mode looked into
  type: int
bytes:
  description: What was sent.
  returned: success, and a failure once a test stream was tried, or in check mode looked into
  type: int
received:
  description: What the ingest's statistics showed; none when they were not asked.
  returned: success, and a failure once a test stream was tried, or in check mode looked into
  type: str
confirmed:
  description: Whether a person confirmed that it arrived.
  returned: success
  type: bool
predicted:
  description: Whether this was check mode, which streams nothing.
  returned: success
  type: bool
evidence:
  description: The same as one item, as the module C(probe) returns it.
  returned: success
  type: list
  elements: dict
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
replay:
  description: The steps predicted so far, for the tasks that follow.
  returned: in check mode, when O(transition) is given
  type: list
  elements: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._stream_probe import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
