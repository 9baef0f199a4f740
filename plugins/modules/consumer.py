#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have one consumer pick up what it reads."""

from __future__ import annotations

DOCUMENTATION = r"""
module: consumer
short_description: Have a consumer pick up a credential, and keep the receipt once it was seen to
version_added: 0.1.0
description:
  - A consumer is what must pick up a credential, such as a systemd unit, a container, PgBouncer, or whatever a command tells.
  - With O(keyring) it compares the consumer's receipt, a digest of what it was last seen using, with what it should read now. When they
    are equal nothing is done. Otherwise the consumer is told, it is watched until it was seen to come up with the value, and only then
    the receipt is written. So a reload that was lost in a crash is made up for by the next run.
  - Without O(keyring) the consumer is told each time, unless the service has read O(files) since they were written.
  - A service that several credentials share is locked on its host. When it was reloaded after the youngest of the files it reads, the
    second one finds that out and leaves it alone. This holds for a consumer of type V(systemd), V(container) or V(compose) that reads
    only file sinks on its own host.
  - Delegate this task to the consumer's host. Nothing that a service or a command prints is kept, because it may hold a value. Of a unit's
    log, lines are shown only where O(definition.log) asks for that, and without values.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
options:
  definition:
    description: The consumer, one item of C(keyturn_consumers). Which keys there are depends on its O(definition.type).
    type: dict
    required: true
    suboptions:
      type:
        description:
          - V(pgbouncer) is a PgBouncer, brought up to date as by M(keyturn.runbooks.pgbouncer).
          - V(systemd) is a unit, reloaded or restarted.
          - V(container) is a container, or several, restarted.
          - V(compose) is a service of a compose project, recreated or restarted.
          - V(command) is whatever a command tells.
          - V(deploy) renders an env file from all parameters below a path of AWS's Parameter Store, as M(keyturn.runbooks.env_render) does,
            recreates the compose services that read it, each in its turn, and waits for an answer over HTTP.
          - V(none) reads the value on each use and needs no telling.
        type: str
        required: true
        choices: [pgbouncer, systemd, container, compose, command, deploy, none]
      name:
        description:
          - What other consumers and messages call it; its receipt is kept under this name. Made from host, type and unit if left out.
        type: str
      host:
        description: The inventory host that it runs on. Part of its derived name; the task is delegated by its caller.
        type: str
      reads:
        description: Names of the sinks and groups that it reads. All sinks if left out; for V(pgbouncer), none.
        type: list
        elements: str
      after:
        description: Names of consumers that must have picked up the value first. It is refused as long as one of them lags.
        type: list
        elements: str
      barrier:
        description:
          - Consumers with the same one are told together, such as two services that share a token. All of them that are on one host are
            first seen to be ready, and O(definition.prepare) is run. Then all are told at once. None of them gets its receipt before all
            were seen using the value. See O(together).
          - Those of V(compose) and V(deploy) follow each other without a pause, because a compose command bears no other beside it. Those
            on other hosts follow right after, host by host.
        type: str
      timeout:
        description:
          - How long it may take to be seen using the value, as a duration. V(60s) if left out, for V(pgbouncer) V(20s).
          - For V(container) and V(compose), the engine's own command has 30 seconds more. podman that is ended half way has stopped a
            container and not started it again.
        type: str
      prepare:
        description:
          - A command, as a list of words, that is run right before the consumer is told, such as one that fetches what the consumer reads
            from a store. Where it fails the consumer is not told, and with O(definition.barrier) nobody is.
          - For V(systemd), V(container), V(compose) and V(command).
        type: list
        elements: str
      seen:
        description:
          - A command, as a list of words, that succeeds once the consumer works with the new value. Tried until O(definition.timeout).
          - For V(systemd), V(container), V(compose), V(command) and V(deploy).
        type: list
        elements: str
      settle:
        description:
          - How long it must stay up after it came up. V(1s) if left out. For V(systemd), V(container) and V(compose).
          - One that came up by itself since the files were written must have lived for as long, or it is told.
        type: str
      inactive:
        description:
          - What to do when it is not running.
          - V(refuse), also if left out, fails. V(warn) counts it as having the value, because it reads it when it starts, and warns.
          - V(skip) does the same without a warning; the result says so in RV(note). For a unit that is not meant to run all the time, such
            as the encoder of a broadcast.
          - V(start) starts it, and sees that it comes up.
          - For V(systemd); for V(container) and V(compose), V(refuse) or V(warn).
          - For V(deploy), V(start), also if left out, makes a service that is not there or does not run, as C(up -d) does; V(refuse) and
            V(warn) are as for V(compose).
        type: str
      active:
        description:
          - What to do when it is running, for V(systemd). V(proceed), also if left out, tells it.
          - V(refuse) fails, because someone may be live. This closes the gate of a rotation before anything is begun, and it is looked at
            again right before the unit would be told. It needs V(skip), V(warn) or V(start) for O(definition.inactive).
        type: str
      log:
        description:
          - What the unit's log must not, or must, say while it is told, for V(systemd). Without it the log is not looked at. V({}) looks
            for what must usually not be there.
          - The journal is read from where it ended right before the unit was told until O(definition.settle) is over. Nothing older counts,
            and nothing is missed in between. What the former process of a restarted unit says while it ends does not count.
          - A line that must not be there is a failure, so that the rotation is returned from. The message and RV(log) show the first ones,
            shortened, without any value of the credential in any usual encoding, and without what looks like a key.
          - Patterns are regular expressions of Python that match anywhere in a line. The case of letters does not count.
        type: dict
        suboptions:
          forbid:
            description:
              - Patterns that no line may match. If left out, those of M(keyturn.runbooks.log_probe).
            type: list
            elements: str
          require:
            description: Patterns that a line each must match, within O(definition.timeout).
            type: list
            elements: str
          allow:
            description: Patterns of lines that are never forbidden.
            type: list
            elements: str
          since:
            description: How far back O(look=verify) looks, as a duration. V(10m) if left out.
            type: str
      action:
        description:
          - For V(systemd), V(reload), V(restart) or V(auto). V(auto), also if left out, reloads a unit that has C(ExecReload), and
            restarts another one. It also restarts a unit whose C(EnvironmentFile) or C(LoadCredential) is one of the files it reads.
            systemd copies these when the unit starts, and a reload leaves the copies as they are. A specifier such as C(%i) in such a
            path is taken to stand for anything.
          - A reload is believed when systemd says that it worked. A unit whose C(ExecReload) only sends a signal has not said that its
            process read the file. Give O(definition.seen) for one that may refuse what it reads.
          - For V(compose), V(recreate) or V(restart). V(recreate), also if left out, makes a new container. V(restart) starts the same
            container again with the environment that it was made with, so that a changed env file is B(not) read; it is right only for
            values that the service reads from files.
        type: str
      unit:
        description: Name of the unit, for V(systemd). C(.service) is added to one without a suffix.
        type: str
      engine:
        description: V(podman), also if left out, or V(docker). For V(container) and V(compose).
        type: str
      containers:
        description: Names of the containers, for V(container).
        type: list
        elements: str
      service:
        description: Name of the service, for V(compose). Its containers must be there; they say where their project is.
        type: str
      project:
        description: Name of the compose project, where several have a service of this name.
        type: str
      project_dir:
        description: Directory of the compose project, where its containers do not say it.
        type: path
      files:
        description:
          - The compose files, where its containers do not say them, or name some that were moved. Relative ones are looked for in the
            project's directory.
        type: list
        elements: str
      services:
        description: Names of the compose services that read the file, for V(deploy), in the order in which they are recreated.
        type: list
        elements: str
      path:
        description: As O(keyturn.runbooks.env_render#module:path), for V(deploy).
        type: str
      env_file:
        description: As O(keyturn.runbooks.env_render#module:env_file), for V(deploy).
        type: path
      url:
        description:
          - What has to answer once all services were recreated, for V(deploy). It is asked from the consumer's host until
            O(definition.timeout).
        type: str
      status:
        description: The status of the answer. V(200) if left out.
        type: int
      ca_path:
        description: A file with the certificates to trust, instead of the system's.
        type: path
      validate_certs:
        description: Whether the certificate of O(definition.url) counts. V(true) if left out.
        type: bool
      pairs:
        description: As O(keyturn.runbooks.env_render#module:pairs).
        type: list
        elements: list
      unmarked:
        description: As O(keyturn.runbooks.env_render#module:unmarked).
        type: str
      names:
        description: As O(keyturn.runbooks.env_render#module:names).
        type: dict
      skip:
        description: As O(keyturn.runbooks.env_render#module:skip).
        type: list
        elements: str
      recursive:
        description: As O(keyturn.runbooks.env_render#module:recursive).
        type: bool
      watch_marks:
        description: As O(keyturn.runbooks.env_render#module:watch_marks).
        type: bool
      others:
        description: As O(keyturn.runbooks.env_render#module:others).
        type: str
      read_from:
        description: As O(keyturn.runbooks.env_render#module:read_from).
        type: str
      wait:
        description: As O(keyturn.runbooks.env_render#module:wait). Also how long a parameter is waited for that was just written.
        type: str
      dialect:
        description: As O(keyturn.runbooks.env_render#module:dialect).
        type: str
      mode:
        description: As O(keyturn.runbooks.env_render#module:mode).
        type: raw
      owner:
        description: As O(keyturn.runbooks.env_render#module:owner).
        type: str
      group:
        description: As O(keyturn.runbooks.env_render#module:group).
        type: str
      backup:
        description: As O(keyturn.runbooks.env_render#module:backup).
        type: bool
      backup_keep:
        description: As O(keyturn.runbooks.env_render#module:backup_keep).
        type: str
      backup_count:
        description: As O(keyturn.runbooks.env_render#module:backup_count).
        type: int
      compose_command:
        description:
          - The command that recreates, as a list of words. V([docker, compose]) or V([podman-compose]) if left out.
          - What else it was brought up with belongs here too, such as V([podman-compose, --env-file, production.env]).
          - C(podman-compose) also recreates the services that depend on this one.
        type: list
        elements: str
      argv:
        description: The command, as a list of words, for V(command). There is no shell.
        type: list
        elements: str
      chdir:
        description: The directory that the command is run in.
        type: path
      environment:
        description:
          - Further environment variables of the command. Never a secret; the command reads those from a sink.
          - Of the run's own it gets ordinary ones (C(PATH), C(HOME), the locale and the like) and what the task's C(environment) says.
        type: dict
      success:
        description: Exit codes of the command that mean success. V([0]) if left out.
        type: list
        elements: int
      userlist:
        description: As O(keyturn.runbooks.pgbouncer#module:userlist).
        type: path
      auth:
        description: As O(keyturn.runbooks.pgbouncer#module:auth).
        type: str
      admin:
        description: As O(keyturn.runbooks.pgbouncer#module:admin).
        type: str
      port:
        description: Where PgBouncer listens. For its console and for the logins, unless O(definition.admin) or O(definition.login) say it.
        type: int
      login:
        description: As O(keyturn.runbooks.pgbouncer#module:login).
        type: dict
        suboptions:
          host:
            description: The address that consumers use.
            type: str
          port:
            description: Its port.
            type: int
          sslmode:
            description: As libpq has it.
            type: str
          dbname:
            description: A database of this PgBouncer.
            type: str
      headroom:
        description: As O(keyturn.runbooks.pgbouncer#module:headroom).
        type: str
  together:
    description:
      - Other consumers on the same host that are told together with this one. Each item has a C(definition) as O(definition). What else
        it may have is filled in on the controller.
      - All are seen to be ready before one is told, all are told at once, and no receipt is written before all were seen using the value.
    type: list
    elements: dict
    default: []
  consumers:
    description: All consumers of the credential, C(keyturn_consumers), for O(definition.after).
    type: list
    elements: dict
    default: []
  sinks:
    description: The credential's C(keyturn_sinks).
    type: list
    elements: dict
    default: []
  issuer:
    description: The credential's C(keyturn_issuer), for O(definition.type=pgbouncer).
    type: dict
    default: {}
  look:
    description:
      - Only look whether the consumer could be told, before anything is begun. It fails when that is not so. Nothing is written, no
        receipt either, and the keyring need not be there yet.
      - The value is what there is to do afterwards, RV(keyturn.runbooks.preflight#module:todo), or V(verify).
      - V(verify) looks how it is doing, and not whether it could be told. For V(systemd), a unit that runs is fine, also with V(refuse) for
        O(definition.active). It fails for one that failed, and for one that does not run unless O(definition.inactive) allows that. With
        O(definition.log), what it wrote in the last ten minutes must not be forbidden; nothing is required. For other types it is the
        same look as otherwise.
      - For V(systemd), V(container) and V(compose), the same checks are made as before it is told, for V(command) that its program and
        directory are there. For V(pgbouncer), that its userlist can be read and replaced, that its admin console answers and, before a
        rotation that brings a second role, that the connection limits bear two pools, as O(definition.headroom) says.
    type: str
    choices: [rotate, use, rollback, verify]
  due:
    description: Whether the consumer lags. Found out from O(keyring) when that is given.
    type: bool
    default: true
  expected:
    description: The receipt that it should have. Found out from O(keyring).
    type: str
  files:
    description:
      - Paths of the files that it reads, on its host, if it reads nothing else. Found out from O(sinks) when O(keyring) is given.
    type: list
    elements: path
    default: []
  contents:
    description: What PgBouncer must know, and what no log may show. Filled in on the controller from O(keyring).
    type: dict
    suboptions:
      sealed:
        description: Names and verifiers, or values, in one opaque text.
        type: str
      more:
        description: The same of each consumer of O(together).
        type: list
        elements: str
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Have the application read its new credential, if it has not yet
  keyturn.runbooks.consumer:
    keyring: "{{ keyturn_keyring }}"
    credential: db_musehub
    sinks: "{{ keyturn_sinks }}"
    consumers: "{{ keyturn_consumers }}"
    definition: {type: systemd, host: app1, unit: musehub.service}
  delegate_to: app1
  become: true

- name: Have a compose service read its new env file
  keyturn.runbooks.consumer:
    definition: {type: compose, service: musehub, engine: docker, timeout: 2m}
    files: [/srv/musehub/.env]
  delegate_to: app1

- name: Reload a relay, and return from the rotation if its log complains
  keyturn.runbooks.consumer:
    keyring: "{{ keyturn_keyring }}"
    credential: restream
    sinks: "{{ keyturn_sinks }}"
    consumers: "{{ keyturn_consumers }}"
    definition:
      name: relay
      type: systemd
      host: relay1
      unit: relay.service
      reads: [key_file]
      log: {forbid: [error, fail, denied], require: ["key file read"]}
  delegate_to: relay1
  become: true

- name: Deploy an application anew
  keyturn.runbooks.consumer:
    definition:
      type: deploy
      path: /musehub/production/
      env_file: /opt/musehub/.env
      project_dir: /opt/musehub
      services: [musehub, musehub-runner]
      engine: docker
      pairs: [[R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY]]
      url: https://localhost:1337/explore
      ca_path: /opt/musehub/ca.pem
  delegate_to: app1

- name: Never touch an encoder that may be on air
  keyturn.runbooks.consumer:
    definition: {type: systemd, unit: encoder.service, inactive: skip, active: refuse}
  delegate_to: encoder1

- name: Tell something else, and see that it works with it
  keyturn.runbooks.consumer:
    definition:
      type: command
      argv: [/usr/local/bin/musehub-ctl, reload]
      seen: [/usr/local/bin/musehub-ctl, check-database]
      timeout: 30s
"""

RETURN = r"""
consumer:
  description: The name of the consumer.
  returned: success
  type: str
  sample: app1/systemd/musehub.service
together:
  description: The same of each consumer of O(together).
  returned: success, with O(together)
  type: list
  elements: dict
due:
  description: Whether it had yet to pick up what it should read.
  returned: success, without O(look)
  type: bool
action:
  description:
    - What was done, V(reload), V(restart), V(start), V(recreate), V(render), V(command) or V(none). V(predicted) in check mode where
      that is decided later.
  returned: success, without O(look)
  type: str
coalesced:
  description: Whether it was left alone because its service had read the files since they were written.
  returned: success, without O(look)
  type: bool
seen:
  description: Whether it was seen using the value.
  returned: success, without O(look)
  type: bool
note:
  description: Why it was left alone, where it does not run and O(definition.inactive) is V(skip) or V(warn).
  returned: for O(definition.type=systemd), when that is so
  type: str
  sample: encoder.service is inactive (dead, last result success); it reads the new value when it is started
active_state:
  description: The unit's C(ActiveState) afterwards.
  returned: for O(definition.type=systemd), when it was told, and with O(look=verify)
  type: str
reload_result:
  description: The unit's C(ReloadResult), after a reload.
  returned: for O(definition.type=systemd), when it was told
  type: str
exec_reload_status:
  description: How the commands of C(ExecReload) ended, as systemd has it, after a reload.
  returned: for O(definition.type=systemd), when it was told
  type: str
  sample: exited/0
pid:
  description: The unit's main process.
  returned: for O(definition.type=systemd), when it was told, and with O(look=verify)
  type: int
seconds:
  description: How long it took until it had settled.
  returned: for O(definition.type=systemd), when it was told
  type: float
log:
  description: What was found in its log, as RV(keyturn.runbooks.systemd_reload#module:units).
  returned: for O(definition.type=systemd), with O(definition.log), when it was told, and with O(look=verify)
  type: dict
file:
  description: The env file.
  returned: for O(definition.type=deploy), when it was told or would be
  type: str
added:
  description: As RV(keyturn.runbooks.env_render#module:added).
  returned: for O(definition.type=deploy), when it was told or would be
  type: list
  elements: str
updated:
  description: As RV(keyturn.runbooks.env_render#module:updated).
  returned: for O(definition.type=deploy), when it was told or would be
  type: list
  elements: str
removed:
  description: As RV(keyturn.runbooks.env_render#module:removed).
  returned: for O(definition.type=deploy), when it was told or would be
  type: list
  elements: str
recreated:
  description: The services that were recreated. One that was made after the file was written is left alone.
  returned: for O(definition.type=deploy), when it was told
  type: list
  elements: str
unsettled:
  description: As RV(keyturn.runbooks.env_render#module:unsettled).
  returned: for O(definition.type=deploy), when that is why it failed
  type: list
  elements: str
receipt:
  description: The receipt that was written to the keyring.
  returned: when O(keyring) is given and it lagged
  type: str
  sample: hmac:0a9f2f1c4b7d1e6a8c3b5d7f9e1a2c4d
waits_for:
  description: The consumers that must come first.
  returned: when it is refused for that reason
  type: list
  elements: str
reloaded:
  description: As RV(keyturn.runbooks.pgbouncer#module:reloaded).
  returned: when O(definition.type=pgbouncer) and it lagged
  type: bool
changes:
  description: As RV(keyturn.runbooks.pgbouncer#module:changes).
  returned: when O(definition.type=pgbouncer) and it lagged
  type: list
  elements: dict
verified:
  description: As RV(keyturn.runbooks.pgbouncer#module:verified).
  returned: when O(definition.type=pgbouncer) and it lagged
  type: list
  elements: dict
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
replay:
  description: The steps predicted so far, for the tasks that follow.
  returned: in check mode, when O(keyring) is given and it lagged
  type: list
  elements: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._consumer import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
