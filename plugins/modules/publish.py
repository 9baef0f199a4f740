#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the places that a credential is published to up to date."""

from __future__ import annotations

DOCUMENTATION = r"""
module: publish
short_description: Write a credential to the places that it is published to, where they differ
version_added: 0.1.0
description:
  - Renders the sinks of a credential from its keyring, reads what each of them holds, and writes those that differ. A place is a file,
    a secret of Vault, of AWS Secrets Manager or of Kubernetes, or a parameter of AWS Systems Manager. Sinks that share a place are
    written together, by one write.
  - Everything else that a place holds is kept, and a place that holds the right values already is not touched.
  - A file is replaced as a whole under a lock, so that several credentials can be published to one file at once, and a reader sees
    the old file or the new one. Secrets of Vault, Secrets Manager and Kubernetes are only written over the version that was read; when
    somebody else wrote in between, the place is read and planned again. A parameter of Systems Manager has no such check. A write of
    somebody else's in between is detected there by the version that AWS tells, and is an error.
  - Inside of a rotation, the claim on the keyring is looked at again right before each write. Beside a rotation of another run, the
    module refuses; in check mode it reads all the same.
  - The first place that cannot be written ends the task. What was written before stays, is told in the result, and needs no
    second write when the task is run again.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.attributes
  - keyturn.runbooks.attributes.file
options:
  keyring:
    required: true
  sinks:
    description:
      - The credential's sinks, as in C(keyturn_sinks). A sink is a mapping with C(ref) and either C(template) or C(fields), or a
        C(group) of such mappings.
      - C(name) is what messages, results and a consumer's C(reads) call the sink. It must be unique. Without it the sink is called by
        its place, its field and its host, such as V(/opt/app/.env#/DATABASE_URL@app1).
      - C(ref) is where the sink is. V(ref+vault://MOUNT/PATH#/FIELD) is a field of a KV version 2 secret, V(ref+file:///PATH) a whole
        file, V(ref+file:///PATH?format=env#/KEY) a line of an env file, V(ref+file:///PATH?format=json#/KEY) a top-level key of a
        JSON file, V(ref+file:///PATH?format=yaml#/KEY/KEY) a value in a YAML file, V(ref+file:///PATH?format=log) a log. With
        C(fields), the part from V(#) on is left out.
      - V(ref+awsssm://PATH/OF/PARAMETER) is a whole parameter of AWS Systems Manager, and with V(?mode=singleparam#/KEY) a key of the JSON
        in it. C(kms_key_id) names the KMS key of the parameter. Without it one that is there keeps its own.
      - V(ref+awssecrets://NAME) is the whole text of a secret of AWS Secrets Manager, and with V(#/KEY) a key of the JSON in it.
        C(version_stage) is the label of the version that is read and written, V(AWSCURRENT), V(AWSPENDING) or V(AWSPREVIOUS), and
        C(kms_key_id) the KMS key of a secret that is made.
      - V(ref+k8s://v1/Secret/NAMESPACE/NAME/KEY), or with V(#/KEY) at its end, is a key of a Secret of Kubernetes.
      - C(template) is the text to publish. V({current.password}) stands for the field C(password) of the stage C(current), and
        V({current,pending,previous.value|join:,}) for the field C(value) of those of these stages that are there. The stages are
        C(pending), C(current), C(previous) and C(retained).
      - Where a stage has no field of that name, a placeholder may name a fact of it. V({current.promoted}) is when the value came into use,
        V({current.made}) when it was made, both in RFC 3339 and UTC; V({current.rotation_id}), V({current.reason}) and
        V({current.operator}) are which rotation, why and by whom. A reason or an operator that nobody told is V(-). A time that is not
        known, such as that of a value that was taken over, counts as absent. None of this is secret. A sink that shows nothing else is
        read by no consumer but those that name it in C(reads).
      - Filters follow after V(|). V(urlencode), V(b64), V(json) (a JSON string with its quotes) and V(sha256) change each value.
        V(date) makes V(2026-01-31) of a time in RFC 3339, the day in UTC.
        V(join:SEPARATOR) makes one text of several, with a comma if no separator is given. V(jwks) makes a JSON Web Key Set of
        public keys in PEM form, with the field C(kid) of each stage as key id, and needs the Python library cryptography.
      - All other braces are literal. A brace that names a stage and is no placeholder, such as V({current.password | b64}) with its
        blanks, is refused.
      - A stage counts as absent when it has no value yet, is being abandoned or retired, was rolled back, or is a compromised one that is
        retained. In a list it is left out.
      - C(fields) is a mapping of several fields of one place to their templates.
      - C(group) is a list of sinks that belong together, such as an access key and its secret. When a part of one of them is absent,
        none of them is written. The group gives its C(host), C(create) and C(absent) to its members.
      - C(host) is the inventory host that the sink is written on; without it, the controller. See O(host).
      - C(format) says how a file holds its fields, as C(?format=) in the reference does. V(text), the default, is the whole file;
        nothing is added to the template, also no line break at the end. V(json) keeps other keys, their order and the indent.
      - C(format) V(env) is written so that systemd's C(EnvironmentFile), docker compose and POSIX shells read the same value. A value
        that they would read differently is refused, such as one with a line break, or with a backquote beside a single quote.
        Comments, order, C(export) and other lines are kept. A comment behind the value moves to a line of its own, because to systemd
        it is a part of the value. Of several lines for one key, the last one is kept, which is the one that readers take.
      - C(format) V(yaml) sets single values in a YAML file, and V(frontmatter) in the block between the lines V(---) at the top
        of a Markdown file. Only the characters of the value are replaced; comments, order, quotes, blanks and line ends stay to
        the byte. A value that would be taken for something else without quotes gets some. A day or a time is written without
        them, unless some were there.
      - The path to such a value has a key, or the number of an item counted from 0, or V(key=value) for the item of a list that
        has this value under this key, as in V(#/credential_refs/name=restream/last_rotated). It must be there up to its last key.
        A last key that is missing is added behind the last single value of its mapping. Values with anchors, aliases or tags,
        blocks of lines, files of several documents and files with a key twice are refused. The host needs the Python library
        PyYAML (python3-yaml).
      - C(format) V(log) adds C(template) as a line at the end of the file, unless the line is in it, or in the one that logrotate
        made of it last (C(PATH.1), not compressed). Nothing in it is ever changed or removed. A new log has mode V("0640") unless
        C(mode) says another. Control characters and line breaks, which a reason may have, are written out, such as C(x0a). Put
        V({current.reason|json}) where a reason must not look like another word of the line.
      - The line of a log must show V({current.promoted}), V({current.made}) or V({current.rotation_id}), so that it differs from
        that of the next rotation, and no secret field. No consumer lags and no gate closes because a line is gone.
      - C(dialect) names the one reader that such a file is for, V(systemd), V(compose) or V(posix), as in M(keyturn.runbooks.env_file).
        A value for which all of them have no form in common, such as one with a line break, is then written as that reader takes it.
        The default is V(common). Sinks of one file have one dialect.
      - C(mode) is the file's mode, as a quoted octal number. Without it, a new file gets V("0600") and a file that is there keeps its
        own; one that everybody on the machine can read is warned about.
      - C(owner) and C(file_group) are the file's owner and group, by name or number. Without them, a file that is there keeps its own.
      - C(backup), a mapping of C(keep) and C(count), has a file copied before another value takes its place. The copy is called
        C(NAME.bak.YYYYMMDD), by the day in UTC, has mode 0600, and belongs to whoever runs the task. One is made in a day, before
        the first change of that day. It stays when the file changes again on that day, so that it is the file as the day found
        it. Where no file is there, a warning tells so, and the task goes on.
      - Copies of a day that ended longer than C(keep) ago are removed by each task for that sink, also by one that changes nothing else;
        the default is V(7d). With C(count), no more than the newest of this number stay. A copy holds values that may still be
        accepted. Let no reader of the folder take each file in it, but for example C(*.key).
      - C(create) says whether a place that is not there is made; the default is V(true). The directory of a file and the namespace of a
        Secret are never made.
      - C(absent) says what happens to a field while what its template names is absent. V(keep), the default, leaves it as it is;
        V(remove) takes it out, and removes a text file.
    type: list
    elements: dict
    required: true
  host:
    description:
      - Handle only the sinks that name this host. The empty text stands for those that name none.
      - The task must run where the sinks are; delegate it to that host. The values are rendered on the controller and go to the host
        over the connection.
      - Without it all sinks are handled where the task runs, which is refused when they name different hosts.
    type: str
  consumers:
    description:
      - What reads the sinks, as in C(keyturn_consumers). When a place has to be written although one of them was seen using what it should
        hold, because somebody had changed it by hand or its machine was made anew, the keyring forgets that it was seen. So
        M(keyturn.runbooks.receipts) names it, and M(keyturn.runbooks.consumer) tells it again.
    type: list
    elements: dict
    default: []
  only_copies:
    description:
      - Remove the copies that C(backup) lets go, and do nothing else. No sink is read or written.
    type: bool
    default: false
  carrying:
    description:
      - With O(only_copies), remove the copies that carry a compromised value that is refused by now, and no others.
    type: bool
    default: false
  contents:
    description: The rendered values on their way to a host. Made by the collection; what is given here is not used.
    type: dict
requirements:
  - hvac for sinks or a keyring in Vault
  - boto3 for those in AWS
  - kubernetes for those in Kubernetes
  - cryptography for the filter V(jwks)
  - PyYAML for those in YAML files
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Publish a database URL to Vault and to an env file on this machine
  keyturn.runbooks.publish:
    keyring: ref+vault://secret/keyrings/db_musehub
    credential: db_musehub
    sinks:
      - ref: ref+vault://secret/musehub/production#/DATABASE_URL
        template: "postgresql://{current.username}:{current.password|urlencode}@db1.example:6432/musehub"
      - ref: ref+file:///opt/musehub/.env?format=env
        dialect: compose
        fields:
          PGUSER: "{current.username}"
          PGPASSWORD: "{current.password}"

- name: Publish the sinks that are files on app1
  keyturn.runbooks.publish:
    keyring: "{{ keyturn_keyring }}"
    credential: "{{ inventory_hostname }}"
    sinks: "{{ keyturn_sinks }}"
    host: app1
  delegate_to: app1
  become: true

- name: See which sinks do not hold what the keyring says
  keyturn.runbooks.publish:
    keyring: "{{ keyturn_keyring }}"
    sinks: "{{ keyturn_sinks }}"
  check_mode: true
  register: seen
  failed_when: seen.behind | length > 0

- name: Let a server accept the old, the new and the next token, in a file that its group may read
  keyturn.runbooks.publish:
    keyring: ref+vault://secret/keyrings/runner_token
    sinks:
      - name: server
        ref: ref+file:///etc/hub/tokens
        template: "{current,pending,previous.value|join:,}"
        mode: "0640"
        file_group: hub

- name: Publish a stream key to a relay, with the day in its profile and a line in its log
  keyturn.runbooks.publish:
    keyring: ref+vault://secret/keyrings/restream
    host: relay1
    sinks:
      - {name: key, host: relay1, ref: "ref+file:///etc/stream/keys/restream.key", template: "{current.key}\n", backup: {keep: 7d}}
      - name: profile
        host: relay1
        ref: ref+file:///etc/stream/encoder-config.yaml?format=yaml#/credential_refs/name=restream/last_rotated
        template: "{current.promoted|date}"
      - name: log
        host: relay1
        ref: ref+file:///var/log/stream-key-rotation.log?format=log
        template: "{current.promoted} KEY-ROTATED platform=restream reason={current.reason|json} operator={current.operator}"
  delegate_to: relay1
  become: true
"""

RETURN = r"""
sinks:
  description: The sinks that were handled. Also returned with a failure, for the places that were done before it.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The sink's name.
      type: str
    ref:
      description: The sink's reference.
      type: str
    host:
      description: The host that it is written on; empty for the controller.
      type: str
    group:
      description: The name of the group that it is a part of, or empty.
      type: str
    changed:
      description: Whether it was written, or would be in check mode.
      type: bool
    rendered:
      description: Whether any part of it could be rendered.
      type: bool
    held:
      description: Fields that were left as they are because what they show is absent, each with the reason.
      type: dict
    fields:
      description:
        - C(before) and C(after) of each field, as fingerprints under the salt of the keyring. The field of a text file is called
          C(content).
        - V((absent)), V((new)) for a value that check mode predicts, V((another form)) for one that readers would not take alike.
        - Where a template has facts of a rotation and none of its fields, such as V({current.made|date}), C(after) is these facts, with
          V(…) for the template's own text, which may hold anything. C(before) is never shown, since what stood there may be anything, too.
      type: dict
      sample: {DATABASE_URL: {before: "hmac:8c1f0d6a33b1d3c0", after: "hmac:52b1a7c4409e1d77"}}
    version:
      description:
        - The place's own version after the task; in check mode, the one that was read. None for a file and for a place that is not there.
        - A number in Vault and Systems Manager, the version's id in Secrets Manager, and C(resourceVersion) in Kubernetes.
      type: str
    backup:
      description:
        - What became of the copies of the sink's file. C(made) is the path of the copy that was made, C(pruned) are the paths of those that
          were removed; in check mode, that would be. C(destroyed), with O(carrying) alone, are those that carried the
          value. C(note) says why none was made although the file changes, and C(missing) whether that is because there was no file.
      returned: for a sink with C(backup)
      type: dict
    digest:
      description: A keyed digest of what the sink should hold, as receipts of consumers have it.
      type: str
unwritten:
  description: The names of the sinks that were not written, because their place or one before it could not be read or written.
  returned: with a failure, when a place could not be read or written
  type: list
  elements: str
behind:
  description: In check mode, the names of the sinks that do not hold what the keyring says.
  returned: success
  type: list
  elements: str
unknown:
  description:
    - In check mode, and while the keyring knows no value, the sinks whose places hold one, described. A first rotation would replace
      it.
  returned: success
  type: list
  elements: str
replay:
  description: The steps of the keyring predicted so far, for the tasks that follow.
  returned: in check mode, when a reader of O(consumers) is to be told again
  type: list
  elements: dict
keyring:
  description: The state of the keyring after O(transition).
  returned: when O(transition) is given
  type: dict
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module
from ansible_collections.keyturn.runbooks.plugins.module_utils._publish import MODULE


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
