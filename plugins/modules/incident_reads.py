#!/usr/bin/python
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who used a credential, as one audit source tells it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: incident_reads
short_description: Look up who used a credential in a window of time
version_added: 0.1.0
description:
  - Looks at one audit source for uses of a credential in the time in which its value was exposed. Several sources are several tasks, or a
    loop. M(keyturn.runbooks.incident_report) judges the results and writes the record.
  - A source that is absent, or that this identity may not read, is a failure, and never a result without events. What a source may lack all
    the same is told in RV(gaps).
  - No value is in the result. Of an entry only the fields in RV(events) are copied, without the values that the keyring and O(redact) know,
    and a text that the caller chose, such as a user agent, also without what looks like a value.
extends_documentation_fragment:
  - keyturn.runbooks.keyring
  - keyturn.runbooks.keyring.step
  - keyturn.runbooks.log
  - keyturn.runbooks.aws
  - keyturn.runbooks.attributes
attributes:
  check_mode:
    description: Only reads, in check mode as otherwise.
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: N/A
  idempotent:
    description: Changes nothing.
options:
  type:
    description:
      - What is looked at.
      - V(cloudtrail) is the event history of AWS CloudTrail. Its C(LookupEvents) takes two requests a second in each account and region,
        and goes back 90 days. Looked up are C(GetParameter), C(GetParameters), C(GetParameterHistory) and C(GetParametersByPath) for
        O(parameters), C(GetSecretValue) and C(BatchGetSecretValue) for O(secrets), and C(Decrypt) of KMS for both. The right that it needs
        is C(cloudtrail:LookupEvents).
      - V(cloudtrail_bucket) is the bucket of S3 that a trail writes its log files to. It tells the same, for as long as the files are kept.
        The rights that it needs are C(s3:ListBucket) on the bucket and C(s3:GetObject) on the files, and C(kms:Decrypt) where they are
        encrypted with a key of your own.
      - V(vault_audit) is a log file of Vault's audit device, on the host of the task. Looked up are reads of O(paths).
      - V(postgres_log) is PostgreSQL's log, on the host of the task. Looked up are logins as O(roles), and those that were refused. The
        server needs C(log_connections), and messages in English.
      - V(app_log) is the log of an application or of a web server, on the host of the task. Looked up are the entries that say who used it,
        and those of who was refused.
    type: str
    required: true
    choices: [app_log, cloudtrail, cloudtrail_bucket, postgres_log, vault_audit]
  since:
    description: When the exposure began, as an RFC 3339 time such as V(2026-01-31T22:00:00Z).
    type: str
    required: true
  until:
    description: When it ended. No later than now.
    type: str
    required: true
  parameters:
    description: For V(cloudtrail) and V(cloudtrail_bucket), the names of the parameters that hold the credential.
    type: list
    elements: str
    default: []
  secrets:
    description:
      - For V(cloudtrail) and V(cloudtrail_bucket), the secrets of AWS Secrets Manager that hold the credential, by name or ARN.
      - To the end of an ARN AWS adds a hyphen and six characters, which callers may leave out. A read of a secret whose own name ends so is
        taken for one of the secret without that end as well.
    type: list
    elements: str
    default: []
  bucket:
    description: For V(cloudtrail_bucket), the bucket. O(region) is the one it is in.
    type: str
    default: ''
  prefix:
    description: For V(cloudtrail_bucket), what stands before C(AWSLogs) in the names of the files, if the trail has such a prefix.
    type: str
    default: ''
  organization:
    description:
      - For V(cloudtrail_bucket), the organization whose trail it is, such as V(o-exampleorgid). Left out for a trail of one account.
    type: str
    default: ''
  accounts:
    description: For V(cloudtrail_bucket), the accounts whose events count, each as twelve digits in quotes.
    type: list
    elements: str
    default: []
  regions:
    description:
      - For V(cloudtrail), the regions to look in. O(region), or what stands for it, if left out.
      - For V(cloudtrail_bucket), all regions that the trail has if left out.
    type: list
    elements: str
    default: []
  path:
    description:
      - For V(vault_audit), V(postgres_log) and V(app_log), the log as an absolute path. Its last part may be a pattern, such as
        V(/var/log/vault/audit.log*), so that older files are read as well, those of gzip too.
    type: str
    default: ''
  unit:
    description:
      - For V(app_log), the systemd unit whose journal is read instead of O(path). The times are those of the journal. This user has to be
        allowed to read it.
    type: str
    default: ''
  container:
    description:
      - For V(app_log), the container whose output is read instead of O(path), by its name. The times are those of O(engine).
    type: str
    default: ''
  engine:
    description: For V(app_log) with O(container), what runs it.
    type: str
    choices: [podman, docker]
    default: podman
  paths:
    description:
      - For V(vault_audit), the paths of Vault's API that hold the credential, as in a policy, such as V(secret/data/musehub/db). One may
        end with V(*). A namespace stands before it.
    type: list
    elements: str
    default: []
  roles:
    description: For V(postgres_log), the roles that log in with the credential.
    type: list
    elements: str
    default: []
  format:
    description:
      - For V(postgres_log), the format of the log. If left out, V(jsonlog) for a name that ends with C(.json), V(csvlog) for C(.csv), and
        V(stderr) for others.
      - For V(app_log), one of V(json), V(regex) and V(combined), which it needs. V(json) is one object on each line, see O(fields);
        V(regex) is what O(pattern) matches; V(combined) is the access log of nginx and of Apache, with the statuses 401 and 403 as refused,
        and those of 500 and more as failed.
    type: str
    choices: [jsonlog, csvlog, stderr, json, regex, combined]
  fields:
    description:
      - For V(app_log) as V(json), where an entry has what. A field inside another is named with a dot, such as V(request.user).
      - The keys are V(time), V(principal) (who), V(address) (from where), V(outcome) (how it went), V(what) (what was asked for) and
        V(agent) (with which program). A file needs V(time).
    type: dict
    default: {}
  pattern:
    description:
      - For V(app_log) as V(regex), a regular expression of Python that is compared with each line from its beginning. Its named groups are
        the keys of O(fields). Others can be named for O(match).
      - A line that takes too long to compare is passed over, and RV(gaps) says so. Only the first 8192 characters of a line are compared.
    type: str
    default: ''
  time_format:
    description:
      - For V(app_log) as V(json) or V(regex) in O(path), how times are written. V(iso) is ISO 8601, V(epoch) and V(epoch_ms) count
        seconds and milliseconds since 1970. Anything else is a format with the directives of C(strptime), such as
        V(%d/%b/%Y:%H:%M:%S %z). Names of months are English.
      - Without a year, as in V(%b %e %H:%M:%S) of syslog, a time is the last one that is not still to come. A window that begins more
        than 330 days ago is refused then.
      - A time without a zone needs O(utc_offset).
    type: str
    default: iso
  match:
    description:
      - For V(app_log), which entries are about the credential. The keys are names of fields or groups, and the values are what these have
        to be, each one text or a list of them. A text may have V(*) and V(?). All keys have to fit.
      - If left out, every entry that names a principal counts. An entry without one counts only with O(match).
    type: dict
    default: {}
  success:
    description:
      - For V(app_log), what V(outcome) is where it went well, such as V([ok, '2*']). What is neither this nor O(refused) failed for another
        reason. If left out, whatever was not refused went well.
    type: list
    elements: raw
    default: []
  refused:
    description: For V(app_log), what V(outcome) is where somebody was refused, such as V([denied, 401]).
    type: list
    elements: raw
    default: []
  log_line_prefix:
    description: For V(postgres_log) as V(stderr), this setting of the server. Without C(%h) or C(%r) no address is known.
    type: str
    default: '%m [%p] '
  utc_offset:
    description:
      - For V(postgres_log), what the name of the zone in its times stands for, such as V(+01:00) for C(CET). Not needed for a log in UTC.
      - For V(app_log), the zone of times that are written without one.
    type: str
    default: ''
  decrypt:
    description:
      - For V(cloudtrail) and V(cloudtrail_bucket), count C(Decrypt) of KMS as well. An account that decrypts much has many of them.
    type: bool
    default: true
  most:
    description: How many events are kept. When there are more, RV(gaps) says so.
    type: int
    default: 5000
  most_calls:
    description:
      - For V(cloudtrail) and V(cloudtrail_bucket), how many requests are made in a region of an account. Each file of a
        bucket takes one. When that is not enough, RV(gaps) says so.
    type: int
    default: 1000
seealso:
  - module: keyturn.runbooks.incident_report
author:
  - keyturn.runbooks contributors (@keyturn)
"""

EXAMPLES = r"""
- name: Who read the password of the database, by the event history of two regions?
  keyturn.runbooks.incident_reads:
    type: cloudtrail
    keyring: ref+vault://secret/keyrings/db_musehub
    parameters: [/musehub/production/DB_PASSWORD]
    regions: [eu-west-1, us-east-1]
    since: '2026-01-30T08:00:00Z'
    until: '2026-01-31T22:00:00Z'
  register: trail

- name: Who read it last year, by the log files of the trail?
  keyturn.runbooks.incident_reads:
    type: cloudtrail_bucket
    keyring: ref+vault://secret/keyrings/db_musehub
    bucket: example-trail
    region: eu-west-1
    accounts: ['111122223333']
    regions: [eu-west-1]
    secrets: [musehub/production/db]
    since: '2025-01-30T08:00:00Z'
    until: '2025-01-31T22:00:00Z'
  register: files

- name: Who logged in with it?
  keyturn.runbooks.incident_reads:
    type: postgres_log
    path: /var/log/postgresql/*.json
    roles: [musehub_a]
    since: '2026-01-30T08:00:00Z'
    until: '2026-01-31T22:00:00Z'
  delegate_to: db1
  become: true
  register: logins

- name: Who called the application with its token?
  keyturn.runbooks.incident_reads:
    type: app_log
    path: /var/log/musehub/app.json*
    format: json
    fields: {time: ts, principal: user.name, address: client.ip, outcome: status, what: event}
    match: {event: [runner.poll, runner.claim]}
    refused: [401, 403]
    since: '2026-01-30T08:00:00Z'
    until: '2026-01-31T22:00:00Z'
  delegate_to: hub1
  become: true
  register: calls
"""

RETURN = r"""
type:
  description: As O(type).
  returned: success
  type: str
about:
  description: V(reads) of the value, or V(logins) with it.
  returned: success
  type: str
since:
  description: When the window begins, in UTC.
  returned: success
  type: str
until:
  description: When the window ends, in UTC.
  returned: success
  type: str
seen:
  description: How many entries of the source were looked at.
  returned: success
  type: int
events:
  description:
    - The uses of this credential, by time. C(outcome) is V(done), V(denied), or V(failed) for another reason. C(behind) is true where a
      service did it for the principal, whose own address another event has.
    - An V(app_log) has one event for all that is alike within a minute, and C(times) says of how many entries.
  returned: success
  type: list
  elements: dict
  sample:
    - at: '2026-01-31T03:12:44.000000Z'
      principal: arn:aws:sts::111122223333:assumed-role/deploy/ci
      via: arn:aws:iam::111122223333:role/deploy
      action: ssm:GetParameter
      target: /musehub/production/DB_PASSWORD
      outcome: done
      address: 198.51.100.7
      agent: aws-cli/2.15.0
      detail: eu-west-1
      behind: false
      times: 1
gaps:
  description: Why there may be more than is told, in sentences.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.keyturn.runbooks.plugins.module_utils._incident_reads import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(MODULE)


if __name__ == "__main__":
    main()
