# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at the files and the configuration of an image: what is found, where, without the values."""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils import _image_config as config
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_archive import (
    Archive,
    Layer,
    deleted_later,
    made_by,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_formats import (
    LIBRARY,
    OF_OTHERS,
    name_of_file,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_rules import Rules
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_values import (
    Marks,
    value_bits,
)

FILE = "file"
_MOST, _MOST_SUSPECTS = 5000, 20000
_MOST_OF_A_FILE = 50
_BEGIN = 8192

Entry = Tuple[Layer, Dict[str, Any]]


def printable(text: str, most: int = 4096) -> str:
    """A text of somebody else's, made harmless for a screen."""
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean if len(clean) <= most else f"{clean[:most]}..."


def fingerprint(finding: Mapping[str, Any], bits: str) -> str:
    """What the list of false positives knows a finding by: where it is, and 12 bits of what is there."""
    place = "\0".join(str(finding.get(key) or "") for key in ("place", "path", "name"))
    return f"{hashlib.sha256(place.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}-{bits}"


class Look:
    """Collects what is found.

    :param marks: what is known of the estate's values; see ``_image_values``.
    :param skip: patterns of paths that are not looked into.
    :ivar skipped: how many files those were.
    :ivar unseen: how many files came after more findings than anybody reads.
    """

    def __init__(self, rules: Rules, marks: Mapping[str, Any], skip: Sequence[str]) -> None:
        self._rules = rules
        self._marks = Marks(marks)
        self._skip = tuple(skip)
        self._files: List[Entry] = []
        self._file_suspects: List[Entry] = []
        self._findings: List[Dict[str, Any]] = []
        self._suspects: List[Dict[str, Any]] = []
        self.skipped = 0
        self.unseen = 0

    def see(self, layer: Layer, path: str, data: bytes) -> None:
        """One file of a layer; without data for one that is too large to look into."""
        if any(fnmatchcase(path, pattern) for pattern in self._skip):
            self.skipped += 1
            return
        if len(self._files) > _MOST or len(self._file_suspects) > _MOST_SUSPECTS:
            self.unseen += 1
            return
        by_name = name_of_file(path)
        if by_name and (data or path in layer.large):
            self._add(layer, path, {"rule": by_name}, "")
        binary = b"\0" in data[:_BEGIN]
        text = data.decode("latin-1" if binary else "utf-8", "replace")
        self._see_text(layer, path, text, binary)
        for start, digest in self._marks.digests(b"\n".join((data, path.encode("utf-8", "surrogateescape")))):  # fmt: skip
            line = 0 if binary or start > len(data) else data.count(b"\n", 0, start) + 1
            where = self._where(path, line)
            self._file_suspects.append((layer, {"digest": digest, "where": where}))

    def _see_text(self, layer: Layer, path: str, text: str, binary: bool) -> None:
        packaged = bool(OF_OTHERS.search(path))
        if packaged and LIBRARY.search(path):
            return
        of_others = binary or packaged
        for hit in self._rules.of_file(path, text, of_others)[:_MOST_OF_A_FILE]:
            line = 0 if binary else text.count("\n", 0, hit.start) + 1
            about = {"rule": hit.rule, "name": printable(hit.name, 60), "line": line}
            self._add(layer, path, about, hit.value)

    @staticmethod
    def _where(path: str, line: int) -> Dict[str, Any]:
        shown = printable(path)
        return {"place": FILE, "path": shown, "line": line or None, "name": ""}

    def _add(self, layer: Layer, path: str, about: Dict[str, Any], value: str) -> None:
        finding = {**self._where(path, 0), **about}
        finding["line"] = finding["line"] or None
        finding["fingerprint"] = fingerprint(finding, value_bits(value))
        self._files.append((layer, finding))

    def configuration(self, given: Mapping[str, Any], expected: Sequence[str]) -> None:
        """The configuration of an image."""
        self._take(*config.look(given, self._rules, expected))

    def annotations(self, given: Mapping[str, Any]) -> None:
        """The annotations of an image."""
        self._take(*config.look_at_annotations(given, self._rules))

    def _take(self, seen: Sequence[config.Seen], texts: Sequence[config.Text]) -> None:
        for one in seen:
            finding = config.as_finding(one)
            finding["name"] = printable(finding["name"], 100)
            finding["fingerprint"] = fingerprint(finding, value_bits(one.value))
            self._findings.append(finding)
        for text in texts:
            raw = text.text.encode("utf-8", "surrogatepass")
            where = config.as_finding(config.Seen(text, "", "", printable(text.name, 100)))
            for _start, digest in self._marks.digests(raw):
                self._suspects.append({"digest": digest, "where": where})

    @property
    def problems(self) -> List[str]:
        """What was not looked at, for people."""
        if not self.unseen:
            return []
        return [f"{self.unseen} files: there were more than {_MOST} findings before them"]

    def found(self, archive: Archive) -> Dict[str, Any]:
        """All findings, and all texts that may be a value of the estate, each with its layer."""
        about = _layers(archive)
        findings = [{**told, **about(layer, told["path"])} for layer, told in self._files]
        suspects = [
            {
                "digest": one["digest"],
                "where": {**one["where"], **about(layer, one["where"]["path"])},
            }
            for layer, one in self._file_suspects
        ]
        return {
            "findings": self._findings + findings,
            "suspects": self._suspects + suspects,
        }


def _layers(archive: Archive) -> Any:
    """Tells of a layer its digest, its number, the instruction that made it, and whether a later one deletes a file."""
    configurations = archive.configurations
    digests = [str(it) for it in configurations[0]["rootfs"]["diff_ids"]] if configurations else []
    by_digest = {layer.digest: layer for layer in archive.layers}
    made = {}
    for configuration in configurations:
        history = configuration.get("history") or []
        for number, digest in made_by(configuration):
            step = history[number - 1]
            text = str(step.get("created_by") or "") if isinstance(step, dict) else ""
            made[digest] = config.instruction(text)

    def about(layer: Layer, path: str) -> Dict[str, Any]:
        number = digests.index(layer.digest) + 1 if layer.digest in digests else None
        above = [by_digest[it] for it in digests[number or len(digests) :] if it in by_digest]
        return {
            "layer": layer.digest,
            "layer_number": number,
            "made_by": made.get(layer.digest, ""),
            "deleted_later": deleted_later(path, above),
        }

    return about
