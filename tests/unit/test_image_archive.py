# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of images: both layouts, whatever is broken in them, and what a later layer does to a file."""

from __future__ import annotations

import gzip
import io
import json
import secrets
import tarfile
import time
import tracemalloc
from pathlib import Path

import image_archives as images
import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils import _image_archive
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Corrupt, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_archive import (
    Archive,
    Layer,
    deleted_later,
    made_by,
    read_archive,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_time import Timed

MOST = 1000


def read(path: Path, seen: dict[str, bytes] | None = None) -> Archive:
    def see(_layer: Layer, name: str, data: bytes) -> None:
        if seen is not None:
            seen[name] = data

    with path.open("rb") as file:
        return read_archive(file, MOST, see)


LAYERS = (
    images.tar({"./app/a": b"one", "app/big": b"x" * 1001}),
    images.tar({"app/.wh.a": b"", "etc/.wh..wh..opq": b"", "app/b": b"two"}),
)


def test_every_layout_and_compression_says_the_same(tmp_path: Path) -> None:
    made = (
        images.docker(tmp_path / "1", LAYERS),
        images.oci(tmp_path / "2", LAYERS),
        images.oci(tmp_path / "3", LAYERS, pack=images.in_two_members),
        images.oci(tmp_path / "4", LAYERS, pack=bytes),
    )
    for path in made:
        seen: dict[str, bytes] = {}
        archive = read(path, seen)
        assert seen == {"app/a": b"one", "app/big": b"", "app/b": b"two"}
        assert archive.problems == []
        assert [layer.digest for layer in archive.layers] == [images.digest(it) for it in LAYERS]
        assert [layer.large for layer in archive.layers] == [["app/big"], []]


def test_a_later_layer_deletes_a_file_or_its_folder(tmp_path: Path) -> None:
    lower, upper = read(images.docker(tmp_path / "1", LAYERS)).layers
    assert (upper.gone, upper.opaque) == ({"app/a"}, {"etc"})
    assert deleted_later("app/a", [upper]) and not deleted_later("app/b", [upper])
    assert deleted_later("etc/x/y", [upper]) and not deleted_later("etc", [upper])
    assert not deleted_later("app/a", [lower]) and not deleted_later("app/a", [])
    assert deleted_later("app/a", [lower, Layer(gone={"app"})])


def test_what_cannot_be_read_is_named_and_never_passed_over(tmp_path: Path) -> None:
    zstd = images.oci(tmp_path / "1", LAYERS[:1], pack=lambda layer: b"\x28\xb5\x2f\xfd" + layer)
    problems = read(zstd).problems
    assert "it is compressed by zstd, which is not read here" in problems[0]
    assert problems[1] == f"layer {images.digest(LAYERS[0])}: it is not in the archive"
    cut = images.oci(tmp_path / "2", LAYERS[:1], pack=lambda layer: gzip.compress(layer)[:-30])
    assert any("it cannot be read as a layer" in problem for problem in read(cut).problems)
    other = images.tar({"app/a": b"other"})
    wrong = images.oci(tmp_path / "3", LAYERS[:1], pack=lambda _layer: gzip.compress(other))
    assert any("so it is broken or cut short" in problem for problem in read(wrong).problems)


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"no tar at all" * 99, images.tar({"a": b"b"}), images.tar({"a.json": b"{"})):
        path = tmp_path / secrets.token_hex(3)
        path.write_bytes(data)
        with pytest.raises(Corrupt, match=r"archive of (an|the) image"):
            read(path)
    whole = images.docker(tmp_path / "1", LAYERS).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:1800])
    with pytest.raises(Corrupt, match="cannot be read to its end"):
        read(tmp_path / "cut")


def test_a_document_without_end_is_not_read(tmp_path: Path) -> None:
    long = {"a.json": json.dumps({"a": "x" * (9 << 20)}).encode()}
    config = json.dumps(images.configuration([])).encode()
    path = tmp_path / "1"
    path.write_bytes(images.tar({**long, "c.json": config}))
    assert read(path).problems == [f"a.json: it is a document of {len(long['a.json'])} bytes"]


def test_of_documents_only_what_is_needed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = images.configuration([])
    large = json.dumps({"x": [[] for _item in range(40_000)]}).encode()
    noted = {"mediaType": "m", "annotations": {"a": "b"}, "manifests": [[] for _item in range(9)]}
    files = {f"{number}.json": large for number in range(5)}
    files |= {"list.json": b"[[1]]", "noted.json": json.dumps(noted).encode()}
    path = tmp_path / "1"
    path.write_bytes(images.tar({**files, "c.json": json.dumps(config).encode()}))
    tracemalloc.start()
    found = read(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.problems == []
    assert found.documents == [{"annotations": {"a": "b"}}, config]
    # One of them at a time: all five were 14 MB.
    assert most < 6 << 20
    monkeypatch.setattr(_image_archive, "_ALL_DOCUMENTS", 400)
    padded = [json.dumps({**config, "x": "y" * 150}).encode() for _document in range(2)]
    path.write_bytes(images.tar({"a.json": padded[0], "b.json": padded[1]}))
    told = read(path)
    assert len(told.documents) == 1
    assert told.problems[-1].endswith("and there are others")


def test_a_header_without_end_is_not_read(tmp_path: Path) -> None:
    long = images.tar({"a" * (2 << 20): b"b"})
    path = images.docker(tmp_path / "1", [long])
    assert "it cannot be read as a layer (ReadError)" in read(path).problems[0]
    assert read(images.docker(tmp_path / "2", [images.tar({"a" * 4000: b"b"})])).problems == []


def _entry(kind: bytes, data: bytes, name: str = "p") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(data)
    return member.tobuf(tarfile.USTAR_FORMAT) + data + b"\0" * (-len(data) % 512)


def _record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n"
    size = next(it for it in range(len(text), len(text) + 20) if len(f"{it}{text}") == it)
    return f"{size}{text}".encode()


FILE = _entry(tarfile.REGTYPE, b"0\n" + b"\0" * 510, "a")
SPARSE = b"".join(_record(f"GNU.sparse.{it}", "1") for it in ("major", "realsize")) + _record("GNU.sparse.minor", "0")  # fmt: skip


@pytest.mark.parametrize(
    "entries",
    [
        *(
            b"".join(
                _entry(kind, _record(f"k{number}", "v" * 600_000)) + between for number in range(2)
            )
            for kind, between in ((tarfile.XGLTYPE, FILE), (tarfile.XHDTYPE, b""))
        ),
        _entry(tarfile.XHDTYPE, SPARSE) + FILE,
        _entry(tarfile.GNUTYPE_SPARSE, b""),
        b"".join(_entry(tarfile.REGTYPE, b"", f"{number}/.wh.a") for number in range(9)),
    ],
    ids=["of all", "of one", "sparse", "old sparse", "deleted"],
)
def test_what_would_take_memory_without_end_is_not_read(
    entries: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_image_archive, "_ALL_PATHS", 4000)
    layer = entries + FILE + b"\0" * 1024
    assert "it cannot be read as a layer (ReadError)" in read(images.docker(tmp_path / "1", [layer])).problems[0]  # fmt: skip


def test_layers_and_problems_without_end_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_image_archive, "_MOST_LAYERS", 3)
    monkeypatch.setattr(_image_archive, "_MOST_PROBLEMS", 2)
    layer, config = images.tar({"a": b"b"}), json.dumps(images.configuration([])).encode()
    files = {"c.json": config, **{f"{number}{'x' * 500}": layer for number in range(9)}}
    path = tmp_path / "1"
    path.write_bytes(images.tar(files))
    found = read(path)
    assert len(found.layers) == 3
    assert [it[-25:] for it in found.problems[:2]] == [": it comes after 3 layers"] * 2
    assert found.problems[2] == "and more, which are not named"
    assert max(map(len, found.problems)) < 500


def test_reading_ends_in_time() -> None:
    with pytest.raises(Unreachable, match="longer 'timeout'"):
        Timed(io.BytesIO(b"x"), time.monotonic() - 1).read()


def test_steps_and_the_layers_that_they_made() -> None:
    history = [{"created_by": "ENV a=b", "empty_layer": True}, {"created_by": "COPY . /"}, {}]
    config = {"history": history, "rootfs": {"diff_ids": ["d1", "d2"]}}
    assert list(made_by(config)) == [(1, ""), (2, "d1"), (3, "d2")]
