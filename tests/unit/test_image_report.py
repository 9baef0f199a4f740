# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of what was found in images."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ansible_collections.keyturn.runbooks.plugins.module_utils._image_report import (
    build_report,
    failing,
    lines,
)

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)
FINDING = {
    "place": "file", "path": "app/.env", "line": 3, "name": "TOKEN", "rule": "Secret Keyword", "layer": "sha256:ab",
    "layer_number": 2, "made_by": "COPY", "deleted_later": True, "fingerprint": "0123456789-abc",
}  # fmt: skip


def result(**given: Any) -> dict[str, Any]:
    looked = {"layers": 2, "files": 7, "values": 0}
    skipped = {"too_large": ["a/b"], "too_large_count": 3, "skipped": 1, "short_values": ["x/y/z"]}
    empty: dict[str, Any] = {key: [] for key in ("findings", "unknown", "allowed", "expired", "unused")}  # fmt: skip
    return {"image": "hub:1", "image_id": "ab", "looked_at": looked, "not_looked_at": skipped, **empty, **given}  # fmt: skip


def test_what_was_found_is_shown_with_where_it_is() -> None:
    entry = {"path": "app/*", "reason": "tests", "expires": "2026-01-31"}
    place = {"place": "history", "step": 4, "made_by": "RUN", "name": "", "fingerprint": "f"}
    whose = {"credential": "db", "stage": "current", "field": "password"}
    own = {**place, **whose, "rule": "value of the estate", "allowed_until": "2026-01-31"}
    found = build_report({"app1": [result(findings=[FINDING, own], expired=[entry], unused=[entry], allowed=[FINDING])]}, NOW)  # fmt: skip
    assert found["summary"] == {"images": 1, "findings": 2, "unknown": 0, "allowed": 1, "expired": 1}  # fmt: skip
    told = "\n".join(lines(found))
    for text in (
        "app1  hub:1  7 files in 2 layers",
        "app/.env:3 (layer 2, deleted later)  TOKEN  Secret Keyword",
        "step 4 RUN",
        "value of the estate: db current password (was allowed until 2026-01-31)",
        "! allowed only until 2026-01-31, and counts again: path app/* (tests)",
        "no longer needed in 'allow': path app/* (tests)",
        "3 files over max_file_size, such as a/b",
        "1 files that 'skip' leaves out",
        "values too short to be looked for: x/y/z",
        "1 allowed by the list of false positives",
        "1 images: 2 findings, 1 allowed, 0 not looked at",
    ):
        assert text in told
    assert failing(found, "found") == {"hub:1 on app1": "hub:1 on app1: 2 findings"}
    assert failing(found, "nothing") == {}


def test_what_could_not_be_looked_at_is_not_clean() -> None:
    failed = {"failed": True, "msg": "podman has no image\n'x'", "item": {"image": "x"}}
    found = build_report({"app1": [failed], "app2": [result(unknown=["layer 1: zstd"])]}, NOW)
    assert failing(found, "found") == {
        "x on app1": "x on app1: 1 not looked at",
        "hub:1 on app2": "hub:1 on app2: 1 not looked at",
    }
    told = "\n".join(lines(found))
    assert "! not looked at: podman has no image 'x'" in told and "layer 1: zstd" in told


def test_nothing_of_an_image_moves_the_cursor() -> None:
    large = {"too_large": ["a\x1b[2J"], "too_large_count": 1}
    found = result(unknown=["layer \x1b[1A\udcff: it is not in the archive"], not_looked_at=large)
    told = lines(build_report({"app1": [found]}, NOW))
    assert all(line.isprintable() for line in told)
    assert any("a?[2J" in line for line in told)


def test_a_clean_image_passes_and_no_image_does_not() -> None:
    assert failing(build_report({"app1": [result(), {"skipped": True}]}, NOW), "found") == {}
    assert "no image was looked at" in failing(build_report({"app1": []}, NOW), "found")["nothing"]
