# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation that is kept in, and published to, AWS Secrets Manager: where AWS's labels are after each phase."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import (
    Document,
    Secret,
    parse_document,
)
from aws_world import AwsWorld
from estate.moto import MotoServer
from estate.playbook import Ansible

NAME = "session_key"
CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
READER = """
import json, os, sys, urllib.error, urllib.request
address, name = sys.argv[1:]
scope = "AWS4-HMAC-SHA256 Credential=x/20260101/eu-west-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=0"
for stage in ("AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"):
    body = json.dumps({"SecretId": name, "VersionStage": stage}).encode()
    headers = {"X-Amz-Target": "secretsmanager.GetSecretValue", "Authorization": scope}
    headers["Content-Type"] = "application/x-amz-json-1.1"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(address, body, headers))
    except urllib.error.HTTPError:
        continue
    if json.load(answer)["SecretString"] == os.environ["KEY"]:
        sys.exit(0)
sys.exit(3)
"""
"""An application that takes the key in use, the one that comes next and the one before, and no other."""


class Labelled:
    """One key, its keyring, and the secret that its application reads."""

    def __init__(self, world: AwsWorld, folder: Path, ansible: Ansible) -> None:
        self.world, self.folder, self.ansible = world, folder, ansible
        self.app, self.kept = f"{world.prefix}/app", f"{world.prefix}/keyring"
        self.first = secrets.token_urlsafe(24)
        world.api.create_secret(Name=self.app, SecretString=self.first)
        place = folder / "inventory"
        (place / "host_vars").mkdir(parents=True)
        hosts = {"all": {"children": {"credentials": {"hosts": {NAME: None}}}}}
        (place / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (place / "host_vars" / f"{NAME}.yml").write_text(yaml.safe_dump(self._definition()))

    def _definition(self) -> dict[str, Any]:
        place = f"ref+awssecrets://{self.app}"
        comes, was = (f"{place}?version_stage={label}" for label in (PENDING, PREVIOUS))
        return {
            "keyturn_keyring": f"ref+awssecrets://{self.kept}",
            "keyturn_ledger": f"ref+file://{self.folder}/ledger",
            "keyturn_policy": {"rotate": "age", "max_age": "90d", "grace": "0s"},
            "keyturn_issuer": {"type": "generated", "overlap": True},
            "keyturn_sinks": [
                {"name": "key", "ref": place, "template": "{current.value}"},
                {"name": "next", "ref": comes, "template": "{pending.value}", "absent": "remove"},
                {"name": "last", "ref": was, "template": "{previous.value}", "absent": "remove"},
            ],
            "keyturn_probes": [
                {
                    "type": "command",
                    "argv": [sys.executable, "-c", READER, self.world.server.address, self.app],
                    "environment": {"KEY": "{pending.value}"},
                    "refused_rc": [3],
                }
            ],
            "keyturn_wait": "3s",
            "keyturn_interval": "1s",
        }

    def run(self, playbook: str, *arguments: str, **extra: Any) -> str:
        done = self.ansible.run(
            f"keyturn.runbooks.{playbook}",
            *arguments,
            inventory=self.folder / "inventory",
            extra_vars=extra,
            env=self.world.environ,
        )
        return done.check().output

    def versions(self, name: str) -> dict[str, str]:
        """The version that bears each of AWS's labels."""
        found = self.world.api.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)
        labels = [
            (label, item["VersionId"])
            for item in found["Versions"]
            for label in item.get("VersionStages") or ()
            if label.startswith("AWS")
        ]
        assert len(dict(labels)) == len(labels), "a label is on one version alone"
        return dict(labels)

    def values(self) -> dict[str, str]:
        """What the application's secret holds, by label."""
        return {label: self._text(self.app, label) for label in self.versions(self.app)}

    def _text(self, name: str, label: str) -> str:
        return str(
            self.world.api.get_secret_value(SecretId=name, VersionStage=label)["SecretString"]
        )

    def document(self, label: str = CURRENT) -> Document:
        return parse_document(self._text(self.kept, label))

    def value(self, stage: str) -> str | None:
        found = self.document().stage(stage)
        value = found.fields["value"] if found else None
        assert value is None or isinstance(value, Secret)
        return value.reveal() if value else None

    def agree(self) -> None:
        """Each label is on the stage of its name; the keyring's own are on its newest versions."""
        stages = {CURRENT: "current", PENDING: "pending", PREVIOUS: "previous"}
        held = self.values()
        for label, stage in stages.items():
            assert held.get(label) == self.value(stage), label
        labels = self.versions(self.kept)
        assert PENDING not in labels, (
            "stages are in the document, and a version of it is never a draft"
        )
        if PREVIOUS in labels:
            assert labels[PREVIOUS] != labels[CURRENT]
            assert self.document(PREVIOUS) != self.document()


@pytest.fixture
def labelled(moto: MotoServer, scratch: Path, ansible: Ansible) -> Labelled:
    return Labelled(AwsWorld(moto, "secretsmanager"), scratch, ansible)


def test_labels_follow_the_stages_through_every_phase(labelled: Labelled) -> None:
    given = {"value": f"ref+awssecrets://{labelled.app}"}
    told = labelled.run("adopt", keyturn_adopt=given)
    assert labelled.values() == {CURRENT: labelled.first}
    labelled.agree()

    told += labelled.run("rotate", "--tags", "preflight,stage,apply", keyturn_force=True)
    staged = labelled.versions(labelled.app)
    second = labelled.value("pending")
    assert second is not None
    assert labelled.values() == {CURRENT: labelled.first, PENDING: second}
    labelled.agree()

    told += labelled.run("rotate")
    published = labelled.versions(labelled.app)
    assert labelled.values() == {CURRENT: second, PREVIOUS: labelled.first}
    # The version that was staged is the one in use: nothing was written a second time.
    assert published == {CURRENT: staged[PENDING], PREVIOUS: staged[CURRENT]}
    labelled.agree()

    told += labelled.run("rollback", keyturn_reason="a test")
    assert labelled.values() == {CURRENT: labelled.first, PREVIOUS: second}
    labelled.agree()

    # AWS would leave the label where it is until the next change, and readers would go on taking the value.
    told += labelled.run("retire_due")
    assert labelled.values() == {CURRENT: labelled.first}
    labelled.agree()
    settled = labelled.versions(labelled.kept), labelled.versions(labelled.app)
    told += labelled.run("retire_due")
    assert settled == (labelled.versions(labelled.kept), labelled.versions(labelled.app))
    assert labelled.first not in told and second not in told
