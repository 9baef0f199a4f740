#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that a value works, or that it is refused."""

from __future__ import annotations

DOCUMENTATION = r"""
module: probe
short_description: Prove that a credential works, or that it is refused
version_added: 0.1.0
description:
  - Tries a stage of a keyring on the road that consumers take, and returns what was seen as evidence for the keyring.
  - An unreachable server is never a proof, of a refusal neither. A refusal counts only for a reason of authentication, and, where the
    keyring has another current value, only while that one is accepted at the same place.
  - The probes are tried one after the other, each until it succeeds or its time is up. The first that fails ends the task.
  - A probe that has nothing to say about the stage is left out and listed in RV(skipped_probes). Such are V(drained) for another
    stage than V(previous), and, with O(expect=refused), a probe that does not present the value.
  - For a value that nobody uses yet, and with O(expect=refused), at least one probe has to present the value itself.
  - In check mode logins and reading requests are made as otherwise. What has further effects (a command, a request that is no
    GET, HEAD or OPTIONS, a write check, a test stream) and what needs a value that does not exist yet is predicted.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes.info
options:
  stage:
    description: Which stage of the keyring.
    type: str
    default: pending
    choices: [pending, current, previous]
  value:
    description:
      - Prove these fields instead of a stage of a keyring, for a value that is to be adopted. Each is a reference or a text.
    type: dict
    default: {}
  probes:
    description:
      - The proofs, as in C(keyturn_probes). Each has a C(type), and can have a C(name), and a C(timeout), C(interval) and C(retries)
        of its own.
      - Texts below in which a stage's value can stand take C({stage.password}), C({stage.value}) and so on, with the filters of sinks,
        or a reference. The name of any stage means the stage that is under proof.
      - B(postgres) logs in. C(host), C(port), C(dbname), C(sslmode), C(sslrootcert), C(sslcert) and C(sslkey) are by default those of
        C(login) in O(issuer); C(port) is typically that of PgBouncer. C(username) and C(password) are C({stage.username}) and
        C({stage.password}). C(session_user) (by default the user name) and C(current_user) are who the server must say that it is.
        C(check) is one or several reading statements, such as C(SELECT 1 FROM orders LIMIT 0), that must work in a read-only
        transaction. C(write) is V(true) (the server takes writes at all) or a statement; it runs in a transaction that is rolled back.
        With O(expect=refused) the server at C(login) of O(issuer) has to refuse the login, too, where that is another address, because a
        pooler that no longer knows a user proves nothing about the server behind it.
      - B(http) sends a request. C(url); C(method) (GET); C(headers) and C(body), which can hold the value; C(status), one or several
        (200); C(refused_status) ([401, 403]); C(contains), a text; C(json), a mapping of JSON pointers to what has to be there;
        C(redirects), V(none) or V(same_host); C(validate_certs) and C(ca_path). No redirect takes a header to another host.
      - B(drained) is for O(stage=previous). Nobody uses its role any more, neither as a client of a PgBouncer among O(consumers) nor by a
        session of the server that is not PgBouncer's own. C(login) is by default that of O(issuer); C(console_host) and
        C(console_port) say where PgBouncer's console is reached, when neither C(admin) nor C(login) of the consumer says it.
      - B(command) runs a program where the task runs. C(argv), a list of words without a shell; C(environment) and C(stdin), which can
        hold the value; C(rc), one or several exit codes that are a proof (0); C(refused_rc), demanded with O(expect=refused);
        C(chdir). What it prints is not kept.
      - B(s3) makes a call on a bucket that is signed with the key pair. C(endpoint), the store's address without a path, which is by
        default that of the account in an O(issuer) of type C(cloudflare_r2); C(bucket); C(region) (auto); C(access_key_id) and
        C(secret_access_key), by default C({stage.access_key_id}) and C({stage.secret_access_key}); C(action), V(list) (one name
        of an object, if there is any) or V(write), which writes an object with a name of its own, reads it and removes it; C(prefix), with
        which its name begins, or which is listed; C(refused_codes), what this store calls a pair that it does not accept, beside
        Unauthorized, InvalidAccessKeyId, SignatureDoesNotMatch, InvalidToken and ExpiredToken; C(validate_certs) and C(ca_path). It needs
        the Python library boto3. A pair that may not do this (AccessDenied) is no refused one. A store may take a while to know of a new
        or a deleted pair, R2 up to a minute, so give it a C(timeout) of more than that. Check mode writes no object.
      - B(stream) publishes a synthetic test stream to an RTMP ingest. C(url), the ingest and its application without a key;
        C(application); C(key) (C({stage.key})); C(duration) (10s), C(size) (1280x720), C(rate) (30), C(video_bitrate) (2500k) and
        C(audio_bitrate) (128k); C(method), V(auto), V(ffmpeg) or V(pyav); C(received), how it is known that it arrived. All of them are
        those of M(keyturn.runbooks.stream_probe), and the ID behind a person's C(yes) is the rotation id. C(received) may also have
        C(issuer), true or false. With it the credential's issuer has to tell that somebody sends with this key while the stream is
        published, as C(rtmp_ingest) with C(stat) and C(youtube) can. Its C(timeout) has to be 5 seconds more than C(duration) at least.
        Somebody who is live with the key ends it at once as V(Refused), and a wrong application as V(Absent). With O(expect=refused) the
        ingest has to refuse the key, and to accept the current one, which is shown by a stream of at most 2 seconds, or by the statistics
        or the issuer of C(received), where they show somebody who is live with it. Check mode streams nothing.
    type: list
    elements: dict
    required: true
  issuer:
    description: The credential's issuer, as in C(keyturn_issuer). Its C(login) has the defaults of C(postgres) and C(drained).
    type: dict
    default: {}
  consumers:
    description: The credential's consumers, as in C(keyturn_consumers). The PgBouncers among them are asked by C(drained).
    type: list
    elements: dict
    default: []
  expect:
    description: Whether the value has to be accepted or refused.
    type: str
    default: accepted
    choices: [accepted, refused]
  live:
    description:
      - What it means that somebody is live with a stream key, so that no test stream can be made. V(refuse) ends the task. V(enough) counts
        as accepted, with a warning, and the evidence says that nothing was tried. The key was accepted when that broadcast began, so this
        is for a look, and not for what comes before something is ended.
      - It is enough where the C(stat) or the C(issuer) of C(received) shows the broadcast. An ingest may say the same of a key that it
        refuses, so where it alone says so, the task fails as V(Live), and the key is neither proved nor refused.
      - V(enough) does not go with O(expect=refused).
    type: str
    default: refuse
    choices: [refuse, enough]
  timeout:
    description: How long each probe may take, over all its attempts.
    type: str
    default: 30s
  interval:
    description: How long to wait between two attempts.
    type: str
    default: 2s
  retries:
    description: At most so many attempts after the first. Without it, as many as O(timeout) allows.
    type: int
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Log in with the pending password through PgBouncer, and say so in the keyring
  keyturn.runbooks.probe:
    keyring: "{{ keyturn_keyring }}"
    credential: db_musehub
    stage: pending
    issuer: "{{ keyturn_issuer }}"
    probes:
      - {type: postgres, port: 6432, check: SELECT 1 FROM albums LIMIT 0, write: true}
      - {type: http, url: "https://app1.example/health", json: {/status: ok}}
    timeout: 60s
    transition: proved

- name: The ingest takes the pending key, and its statistics show the stream
  keyturn.runbooks.probe:
    keyring: "{{ keyturn_keyring }}"
    credential: restream
    stage: pending
    probes:
      - type: stream
        url: rtmp://ingest1.example/live
        received: {stat: "http://ingest1.example:8080/stat"}
    transition: proved

- name: Nobody uses the old role any more
  keyturn.runbooks.probe:
    keyring: "{{ keyturn_keyring }}"
    credential: db_musehub
    stage: previous
    issuer: "{{ keyturn_issuer }}"
    consumers: "{{ keyturn_consumers }}"
    probes: [{type: drained}]
    timeout: 10m

- name: The old token is refused
  keyturn.runbooks.probe:
    keyring: "{{ keyturn_keyring }}"
    credential: runner_token
    stage: previous
    expect: refused
    probes:
      - type: http
        url: https://musehub.example/runner/ping
        headers: {Authorization: "Bearer {stage.value}"}
"""

RETURN = r"""
evidence:
  description:
    - What was seen, one item for each probe. Never a value.
    - An item that check mode only predicts has C(predicted).
  returned: always
  type: list
  elements: dict
  contains:
    type:
      description: The probe's type.
      type: str
      returned: always
    against:
      description: What it was tried on.
      type: str
      returned: always
    at:
      description: When, as RFC 3339.
      type: str
      returned: always
    detail:
      description: What was seen, in words.
      type: str
      returned: always
    predicted:
      description: V(yes) when check mode did not try it.
      type: str
      returned: when it was not tried
  sample:
    - type: postgres
      against: db1.example:6432/musehub as musehub_b
      at: "2026-01-31T22:00:00.000000Z"
      detail: logged in as musehub_b, acting as musehub_owner, 1 rights check(s) passed
skipped_probes:
  description: Probes that have nothing to say about this stage, each with its number C(probe), its C(type) and the C(reason).
  returned: success
  type: list
  elements: dict
predicted:
  description: Whether any of the evidence is only predicted.
  returned: success
  type: bool
probe:
  description: The number of the probe that failed, from 0.
  returned: failure of a probe
  type: int
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
from ansible_collections.keyturn.runbooks.plugins.module_utils._probe import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
