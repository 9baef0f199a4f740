# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that a real podman built, with secrets in them and without: what is found, what is not, and that no value is told."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_audit import MODULE
from ansible_collections.keyturn.runbooks.plugins.module_utils._module import execute
from estate.playbook import Ansible
from image_specimens import Specimens, keyring, make_specimens
from machines import Podman

PROGRAMS = ("/bin/sh", "/bin/rm")
"""A shell, which the steps of a build need, and what takes a file away."""

DELETED = "app/old/deploy.pem"
LEAST_PRECISION, LEAST_RECALL = 0.97, 1.0
"""Of the specimens. They are of the kinds that docs/image-audit.md says are found; a kind that is not found any more fails."""

BUILD = """
FROM {base}
ARG DB_PASSWORD
ARG VERSION
ENV PYTHONUNBUFFERED=1 PYTHONPATH=/app LANG=C.UTF-8 API_TOKEN={env}
ENV SIGNING_SECRET={overridden}
ENV SIGNING_SECRET=
LABEL org.opencontainers.image.revision={revision} build.token="{label}"
COPY planted/ /
COPY benign/ /
RUN : "$VERSION" --registry-password={run}
RUN rm /{deleted}
ENTRYPOINT ["/app/run", "--admin-password={entrypoint}"]
"""
CLEAN = """
FROM {base}
ARG VERSION
ENV PYTHONUNBUFFERED=1 PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.revision={revision}
COPY benign/ /
RUN : "$VERSION"
CMD ["/app/run", "--password-file=/run/secrets/db_password"]
"""
SPOTS = {
    ("environment", "API_TOKEN"): "env",
    ("environment", "SIGNING_SECRET"): "",
    ("history", "SIGNING_SECRET"): "overridden",
    ("label", "build.token"): "label",
    ("history", "registry-password"): "run",
    ("build_arg", "DB_PASSWORD"): "build_arg",
    ("entrypoint", "admin-password"): "entrypoint",
}
"""What is to be found in the configuration, by place and name, and what stands there."""


@dataclass
class Built:
    """Two images with the same harmless files, one of them with secrets too."""

    podman: Podman
    folder: Path
    specimens: Specimens
    texts: dict[str, str]
    secretive: str
    clean: str

    def audit(self, **given: Any) -> dict[str, Any]:
        """What the module says; with the estate's values to look for."""
        defaults = {name: option.get("default") for name, option in MODULE.argument_spec.items()}
        values = {name: f"ref+file://{self.folder}/values/{name}" for name in self.specimens.estate}
        context = Context(environ=self.podman.environ)
        done = execute(MODULE, {**defaults, "extra_values": values, **given}, context)
        self.tells_no_value(json.dumps(done))
        return done

    def tells_no_value(self, text: str) -> None:
        """That a text holds none of all values."""
        told = [value for value in (*self.specimens.values, *self.texts.values()) if value in text]
        assert not told, f"{len(told)} values are told"

    @cached_property
    def found(self) -> dict[str, Any]:
        """What is said of the image with secrets."""
        return self.audit(image=self.secretive)

    def save(self, layout: str) -> Path:
        """The image with secrets as an archive."""
        path = self.folder / f"{layout}.tar"
        self.podman.call(
            "save", "--quiet", "--format", layout, "--output", str(path), self.secretive
        )
        return path


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _base(podman: Podman, folder: Path, image: str) -> None:
    path = folder / "base.tar"
    linked = subprocess.run(["ldd", *PROGRAMS], capture_output=True, text=True, check=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", linked)
    with tarfile.open(path, "w", dereference=True) as archive:
        for name in {*PROGRAMS, *libraries}:
            archive.add(os.path.realpath(name), name.lstrip("/"))
    podman.call("import", "--quiet", str(path), image)


@pytest.fixture(scope="module")
def built(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("images")
    specimens = make_specimens()
    specimens.planted[DELETED] = specimens.planted["app/tls/server.pem"]
    texts = {kind: f"k{secrets.token_urlsafe(12)}-7" for kind in filter(None, SPOTS.values())}
    _write(folder / "planted", specimens.planted)
    _write(folder / "benign", specimens.benign)
    _write(folder / "values", {name: text.encode() for name, text in specimens.estate.items()})
    mark = secrets.token_hex(4)
    base, secretive, clean = (
        f"localhost/keyturn-audit-{mark}-{it}" for it in ("base", "bad", "good")
    )
    _base(podman, folder, base)
    about = {"base": base, "revision": secrets.token_hex(20), "deleted": DELETED, **texts}
    try:
        for name, text in ((secretive, BUILD), (clean, CLEAN)):
            (folder / "Containerfile").write_text(text.format(**about))
            given = [f"--build-arg=VERSION={secrets.token_hex(4)}"]
            if name == secretive:
                given.append(f"--build-arg=DB_PASSWORD={texts['build_arg']}")
            podman.call("build", "--quiet", "--pull=never", *given, "-t", name, str(folder))
        yield Built(podman, folder, specimens, texts, secretive, clean)
    finally:
        podman.call("rmi", "--force", "--ignore", secretive, clean, base)


def score(built: Built, found: list[dict[str, Any]]) -> tuple[float, float, str]:
    """Precision and recall over files and named places of the configuration, and what was wrong."""
    expected = {*built.specimens.planted, *SPOTS}
    seen = {item.get("path") or (item["place"], item["name"]) for item in found}
    right = seen & expected
    wrong = f"missed {sorted(map(str, expected - seen))}, told {sorted(map(str, seen - expected))}"
    return len(right) / len(seen), len(right) / len(expected), wrong


def test_what_is_planted_is_found_and_what_only_looks_like_it_is_not(built: Built) -> None:
    done = built.found
    precision, recall, wrong = score(built, done["findings"])
    print(f"\nprecision {precision:.3f}, recall {recall:.3f}: {wrong}")
    assert (precision >= LEAST_PRECISION, recall >= LEAST_RECALL) == (True, True), wrong
    assert done["unknown"] == []
    by_path = {item["path"]: item for item in done["findings"] if item.get("path")}
    gone = by_path[DELETED]
    assert (gone["deleted_later"], gone["made_by"], gone["layer_number"]) == (True, "COPY", 2)
    assert not by_path["app/tls/server.pem"]["deleted_later"]
    owned = {it["credential"]: it["path"] for it in done["findings"] if it.get("credential")}
    assert owned == {
        "notes": "app/README",
        "table": "app/data/table.csv",
        "cluster": "app/deploy/manifest.yaml",
        "binary": "app/cache.bin",
        "phrase": "app/data/song.txt",
    }
    clean = built.audit(image=built.clean)
    assert (clean["findings"], clean["unknown"]) == ([], [])
    assert clean["looked_at"]["files"] >= len(built.specimens.benign)


def test_an_archive_in_the_other_layout_says_the_same(built: Built) -> None:
    """What podman streams of an image is in docker's layout; a file may also be in that of OCI, with compressed layers."""
    done = built.audit(archive=str(built.save("oci-archive")))
    told = [{item["fingerprint"] for item in one["findings"]} for one in (done, built.found)]
    assert told[0] == told[1]
    assert done["unknown"] == []


def test_an_image_that_is_not_there_is_named(built: Built) -> None:
    with pytest.raises(BadInput, match="podman has no image 'localhost/no-such:1' on this host"):
        built.audit(image="localhost/no-such:1")
    with pytest.raises(BadInput, match="podman has no container of compose service 'no-such'"):
        built.audit(service="no-such")


def _inventory(built: Built, wanted: dict[str, Any]) -> Path:
    """A machine with the images, and the credentials whose values may be in them."""
    host: dict[str, Any] = {"ansible_connection": "local", "keyturn_image_audit": wanted}
    # As on a machine of its own: the module runs in a process of its own, and what it returns comes back to the controller.
    host.update(keyturn_direct=False, ansible_python_interpreter=sys.executable)
    credentials = {
        "hosts": dict.fromkeys(built.specimens.estate),
        "vars": {"keyturn_keyring": f"ref+file://{built.folder}/{{{{ inventory_hostname }}}}.json"},
    }
    for name, text in built.specimens.estate.items():
        keyring(built.folder / f"{name}.json", current={"value": text})
    groups = {"machines": {"hosts": {"app1": host}}, "credentials": credentials}
    inventory = built.folder / "hosts.yml"
    inventory.write_text(yaml.safe_dump(groups))
    return inventory


def test_the_playbook_audits_what_a_service_runs_and_ends_with_an_error(
    built: Built, ansible: Ansible
) -> None:
    project = f"keyturn-{secrets.token_hex(4)}"
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": "musehub"}
    words = [f"--label={key}={value}" for key, value in labels.items()]
    container = built.podman.call("create", *words, built.secretive).strip()
    wanted = {
        "images": [{"service": "musehub", "project": project}, {"image": built.clean}],
        "allow": [
            {"path": "app/tls/*", "reason": "made by the tests", "expires": "2999-12-31"},
            {"name": "API_TOKEN", "reason": "was a dummy", "expires": "2020-01-31"},
        ],
    }
    inventory = _inventory(built, wanted)
    report = built.folder / "report.json"
    try:
        run = ansible.run(
            "keyturn.runbooks.audit_image",
            "-vvv",
            inventory=inventory,
            extra_vars={"output_file": str(report)},
            env=built.podman.own_environ,
        ).check(2)
    finally:
        built.podman.call("rm", "--force", container)
    nobody = {"keyturn_hosts": "nobody", "image": built.clean}
    empty = ansible.run("keyturn.runbooks.audit_image", inventory=inventory, extra_vars=nobody)
    assert "no image was looked at" in empty.check(2).output
    found = json.loads(report.read_text())
    built.tells_no_value(run.output + ansible.log() + report.read_text())
    assert not ansible.leftovers()
    images = found["images"]
    assert [len(image["findings"]) > 0 for image in images] == [True, False]
    assert [item["path"] for item in images[0]["allowed"]] == ["app/tls/server.pem"]
    assert "API_TOKEN" in {
        item["name"] for item in images[0]["findings"] if item.get("allowed_until")
    }
    assert "allowed only until 2020-01-31, and counts again: name API_TOKEN" in run.stdout
    assert f"{DELETED}:1 (layer 2, deleted later)" in run.stdout
    assert "value of the estate: notes current value" in run.stdout
    owned = {item["credential"] for item in images[0]["findings"] if item.get("credential")}
    assert owned == set(built.specimens.estate)
    assert f"on app1: {len(images[0]['findings'])} findings" in run.stdout
