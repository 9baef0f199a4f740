# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One report of what was found in all images. Pure."""

from __future__ import annotations

import textwrap
from datetime import datetime
from typing import Any, Dict, Iterator, List, Mapping, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._image_look import printable
from ansible_collections.keyturn.runbooks.plugins.module_utils._time import format_time

KIND = "keyturn.image_audit"
SCHEMA = 1
FAIL_ON = ("found", "nothing")
_WIDE = 140
_KEPT = (
    "image", "image_id", "looked_at", "not_looked_at", "unknown", "findings", "allowed", "expired", "unused",
)  # fmt: skip


def _image(host: str, result: Mapping[str, Any]) -> Dict[str, Any]:
    """What is told of one image; of one that could not be looked at why."""
    if "findings" in result:
        return {"host": host, **{key: result.get(key) for key in _KEPT}}
    said = " ".join(str(result.get("msg") or "it did not run: see why, above").split())
    item = result.get("item")
    asked = item if isinstance(item, Mapping) else {}
    shown = next((str(asked[key]) for key in ("image", "archive", "service") if asked.get(key)), "")
    empty: Dict[str, Any] = {
        key: {} if key.endswith("looked_at") else [] for key in _KEPT if key != "image_id"
    }
    return {"host": host, **empty, "image": shown, "image_id": "", "unknown": [said]}


def build_report(results: Mapping[str, Sequence[Any]], now: datetime) -> Dict[str, Any]:
    """The report: JSON types.

    :param results: by inventory host, what the tasks returned that looked at its images; of one that failed its message.
    """
    images = [
        _image(str(host), dict(result or {}))
        for host, told in results.items()
        for result in told
        if not (result or {}).get("skipped")
    ]
    counts = {key: sum(len(it[key]) for it in images) for key in ("findings", "unknown", "allowed", "expired")}  # fmt: skip
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "at": format_time(now),
        "summary": {"images": len(images), **counts},
        "images": images,
    }


def where(finding: Mapping[str, Any]) -> str:
    """Where it is, in one text."""
    path, line, step = finding.get("path"), finding.get("line"), finding.get("step")
    text = f"{path}:{line}" if path and line else str(path or "")
    if step:
        text = f"step {step} {finding.get('made_by') or ''}".strip()
    words = [text or str(finding.get("place"))]
    if finding.get("layer_number"):
        words.append(f"(layer {finding['layer_number']}{', deleted later' if finding.get('deleted_later') else ''})")  # fmt: skip
    return " ".join(words)


def what(finding: Mapping[str, Any]) -> str:
    """What it is, in one text; never the value."""
    text = str(finding["rule"])
    if finding.get("credential"):
        parts = [str(finding.get(key) or "") for key in ("stage", "field")]
        text += f": {' '.join([str(finding['credential']), *parts]).strip()}"
    if finding.get("allowed_until"):
        text += f" (was allowed until {finding['allowed_until']})"
    return text


def _rows(image: Mapping[str, Any]) -> Iterator[List[str]]:
    for finding in image["findings"]:
        name, known_by = finding.get("name") or "-", finding["fingerprint"]
        yield [str(finding["place"]), where(finding), str(name), what(finding), str(known_by)]


def _remarks(image: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"! not looked at: {why}" for why in image["unknown"])
    for entry in image["expired"]:
        yield f"! allowed only until {entry['expires']}, and counts again: {_entry(entry)}"
    for entry in image["unused"]:
        yield f"no longer needed in 'allow': {_entry(entry)}"
    skipped = image["not_looked_at"] or {}
    count = skipped.get("too_large_count", 0)
    if count:
        yield f"{count} file{'' if count == 1 else 's'} over max_file_size, such as {skipped['too_large'][0]}"
    if skipped.get("skipped"):
        yield f"{skipped['skipped']} files that 'skip' leaves out"
    if skipped.get("short_values"):
        yield f"values too short to be looked for: {', '.join(skipped['short_values'])}"


def _entry(entry: Mapping[str, Any]) -> str:
    fits = [f"{key} {entry[key]}" for key in ("path", "name", "fingerprint") if key in entry]
    return f"{', '.join(fits)} ({entry['reason']})"


def _of_image(image: Mapping[str, Any]) -> Iterator[str]:
    looked = image["looked_at"] or {}
    seen = f"{looked.get('files', 0)} files in {looked.get('layers', 0)} layers" if looked else "not looked at"  # fmt: skip
    yield f"{image['host']}  {image['image'] or '-'}  {seen}"
    rows = [["PLACE", "WHERE", "NAME", "WHAT", "FINGERPRINT"], *_rows(image)]
    if len(rows) > 1:
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            yield "  " + "  ".join(cell.ljust(size) for cell, size in zip(row, widths)).rstrip()
    for remark in _remarks(image):
        yield from textwrap.wrap(
            remark, _WIDE, initial_indent="  ", subsequent_indent="    ", break_long_words=False
        )
    passed = len(image["allowed"])
    if passed:
        yield f"  {passed} allowed by the list of false positives"


def lines(report: Mapping[str, Any]) -> List[str]:
    """The report as a table for each image, and one line with the counts."""
    # Names of layers and paths are the image's, and may hold what moves a screen's cursor.
    told = [printable(line) for image in report["images"] for line in _of_image(image)]
    counts = report["summary"]
    return [
        *told,
        "",
        f"{counts['images']} images: {counts['findings']} findings, {counts['allowed']} allowed, {counts['unknown']} not looked at",
    ]


def failing(report: Mapping[str, Any], fail_on: str) -> Dict[str, str]:
    """The images that an audit does not let pass, each with why: what could not be looked at is not known to be clean."""
    if fail_on == "nothing":
        return {}
    found = {}
    if not report["images"]:
        found["nothing"] = (
            "no image was looked at; name one with -e image=NAME, or list them in keyturn_image_audit.images of a host"
        )
    for image in report["images"]:
        counts = {"findings": len(image["findings"]), "not looked at": len(image["unknown"])}
        bad = [f"{count} {word}" for word, count in counts.items() if count]
        if bad:
            name = f"{image['image'] or 'image'} on {image['host']}"
            found[name] = f"{name}: {', '.join(bad)}"
    return found
