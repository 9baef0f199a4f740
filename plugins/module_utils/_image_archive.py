# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the archive of an image as a stream: layers file by file, and the documents beside them; nothing is written to disk.

Both layouts are read, that of docker and that of OCI, without trusting names in it: a layer is known by the digest of its
content, which the image's configuration lists.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import zlib
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Optional, Protocol, Set, Tuple, cast

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Corrupt

_BLOCK = 512
_CHUNK = 1 << 20
_LONGEST_DOCUMENT = 8 << 20
_ALL_DOCUMENTS = 8 << 20
"""Bytes of the documents that are kept. In memory they may be 30 times as large."""
_LONGEST_HEADER = 1 << 20
_MOST_LAYERS = 2000
"""Engines make no image of more than some hundred."""
_MOST_PROBLEMS, _LONGEST_NAME = 200, 400
_ALL_PATHS = 64 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
_BROKEN = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, RecursionError)


class Readable(Protocol):
    """A stream."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; none at its end."""


class _Begun:
    """A stream of which the beginning was read already; the digest of all that was read."""

    def __init__(self, begin: bytes, source: Readable) -> None:
        self._begin = begin
        self._source = source
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        if self._begin:
            cut = len(self._begin) if size < 0 else size
            data, self._begin = self._begin[:cut], self._begin[cut:]
            if size < 0:
                data += self._source.read()
        else:
            data = self._source.read(size)
        self._digest.update(data)
        return data

    def rest(self) -> str:
        """Read to the end; the digest of the whole."""
        while self.read(_CHUNK):
            pass
        return f"sha256:{self._digest.hexdigest()}"


@dataclass
class Layer:
    """What was seen of a layer.

    :ivar digest: of its content without compression, as the configuration lists it.
    :ivar gone: paths that it deletes of layers below, folders with all in them; ``opaque`` are folders that it empties.
    :ivar large: paths that were not looked into, because they are over the limit.
    :ivar kept: how much memory such paths take up, in bytes, more or less.
    """

    digest: str = ""
    files: int = 0
    gone: Set[str] = field(default_factory=set)
    opaque: Set[str] = field(default_factory=set)
    large: List[str] = field(default_factory=list)
    kept: int = 0


@dataclass
class Archive:
    """What was read of an image beside what its files hold.

    :ivar documents: configurations, and of other documents their annotations.
    :ivar problems: what could not be looked at, for people.
    """

    documents: List[Dict[str, Any]] = field(default_factory=list)
    layers: List[Layer] = field(default_factory=list)
    problems: List[str] = field(default_factory=list)

    @property
    def configurations(self) -> List[Dict[str, Any]]:
        """The documents that list layers by their content."""
        return [found for found in self.documents if _is_configuration(found)]


class _Tar(tarfile.TarFile):
    """A tar that counts the headers that are kept in memory: those of the member that is read, and those for all that follow."""

    of_member = 0
    of_all = 0


class _Member(tarfile.TarInfo):
    """An entry whose name and other headers are short enough to be kept in memory, which tarfile reads as a whole.

    A few hundred kilobytes can unpack to headers without end, and to maps of sparse files, of which no builder makes any.
    """

    _HEADERS = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    def _proc_member(self, *given: Any) -> Any:
        archive: _Tar = given[0]
        if self.type == tarfile.XGLTYPE:
            archive.of_all += self.size
        elif self.type in self._HEADERS:
            archive.of_member += self.size
        else:
            archive.of_member = 0
        if archive.of_all + archive.of_member > _LONGEST_HEADER:
            raise tarfile.ReadError("its headers are too long")
        # The stubs of tarfile leave its own methods out, which are the one place before a header is read.
        return super()._proc_member(archive)  # type: ignore[misc]

    def _proc_sparse(self, *_given: Any) -> Any:
        raise tarfile.ReadError("it has a sparse file")

    def _proc_gnusparse_10(self, *_given: Any) -> None:
        raise tarfile.ReadError("it has a sparse file")


SeeFile = Callable[[Layer, str, bytes], None]


def _clean(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _note_whiteout(layer: Layer, path: str) -> bool:
    folder, _slash, name = path.rpartition("/")
    if name == OPAQUE:
        layer.opaque.add(folder)
    elif name.startswith(WHITEOUT):
        layer.gone.add(f"{folder}/{name[len(WHITEOUT) :]}" if folder else name[len(WHITEOUT) :])
    return name.startswith(WHITEOUT)


def _keep(layer: Layer, path: str) -> None:
    """Count a path that is kept.

    :raises tarfile.ReadError: they are too many.
    """
    layer.kept += len(path) + _BLOCK
    if layer.kept > _ALL_PATHS:
        raise tarfile.ReadError("it deletes too many files, or has too many large ones")


def _read_layer(source: Readable, most: int, see: SeeFile) -> Layer:
    layer = Layer()
    content = _Begun(b"", source)
    # The stubs want a whole file object; tarfile calls nothing of a stream but read.
    with _Tar.open(fileobj=content, mode="r|", tarinfo=_Member) as inner:  # type: ignore[call-overload]
        for member in inner:
            # A stream keeps all that it has passed otherwise.
            inner.members.clear()
            path = _clean(member.name)
            if not member.isreg():
                continue
            if _note_whiteout(layer, path):
                _keep(layer, path)
                continue
            layer.files += 1
            if member.size > most:
                layer.large.append(path)
                _keep(layer, path)
                see(layer, path, b"")
                continue
            opened = inner.extractfile(member)
            see(layer, path, opened.read() if opened else b"")
    layer.digest = content.rest()
    return layer


def _is_tar(begin: bytes) -> bool:
    return begin[257:262] == b"ustar"


def _layer_of(source: _Begun, begin: bytes, most: int, see: SeeFile) -> Layer:
    plain: Readable = source
    if begin.startswith(_GZIP):
        # Of several members, as some tools make them; tarfile's own reader stops after the first.
        plain = gzip.GzipFile(fileobj=cast(Any, source))
    return _read_layer(plain, most, see)


def _is_configuration(document: Any) -> bool:
    """Whether it lists layers by their content."""
    root = document.get("rootfs") if isinstance(document, dict) else None
    return isinstance(root, dict) and isinstance(root.get("diff_ids"), list)


def _needed(document: Any) -> Optional[Dict[str, Any]]:
    """What is kept of a document: a configuration as a whole, of any other its annotations; none where it has none."""
    if _is_configuration(document):
        return dict(document)
    notes = document.get("annotations") if isinstance(document, dict) else None
    return {"annotations": notes} if isinstance(notes, dict) and notes else None


class _Reader:
    def __init__(self, most: int, see: SeeFile) -> None:
        self.archive = Archive()
        self._most = most
        self._see = see
        self._kept = 0

    def take(self, name: str, size: int, source: Readable) -> None:
        """One entry of the archive."""
        begin = source.read(_BLOCK)
        whole = _Begun(begin, source)
        if len(self.archive.layers) >= _MOST_LAYERS:
            self._problem(name, f"it comes after {_MOST_LAYERS} layers")
        elif begin.startswith(_GZIP) or _is_tar(begin):
            try:
                self.archive.layers.append(_layer_of(whole, begin, self._most, self._see))
            except _BROKEN as error:
                self._problem(name, f"it cannot be read as a layer ({type(error).__name__})")
        elif begin.startswith(_ZSTD):
            self._problem(name, "it is compressed by zstd, which is not read here")
        elif begin.lstrip()[:1] in (b"{", b"["):
            self._document(name, size, whole)

    def _document(self, name: str, size: int, source: Readable) -> None:
        if size > _LONGEST_DOCUMENT:
            self._problem(name, f"it is a document of {size} bytes")
            return
        try:
            found = _needed(json.loads(source.read()))
        except (ValueError, RecursionError):
            self._problem(name, "it cannot be read as JSON")
            return
        if found is None:
            return
        self._kept += size
        if self._kept > _ALL_DOCUMENTS:
            self._problem(name, f"it is a document of {size} bytes, and there are others")
            return
        self.archive.documents.append(found)

    def _problem(self, name: str, why: str) -> None:
        told = self.archive.problems
        if len(told) < _MOST_PROBLEMS:
            told.append(f"{name[:_LONGEST_NAME]}: {why}")
        elif len(told) == _MOST_PROBLEMS:
            told.append("and more, which are not named")


def _check_whole(archive: Archive) -> None:
    """Every layer that the configuration lists was read, and nothing else.

    :raises Corrupt: there is no configuration.
    """
    configurations = archive.configurations
    if not configurations:
        raise Corrupt("this is no archive of an image: it has no configuration that lists layers")
    listed = {str(one) for found in configurations for one in found["rootfs"]["diff_ids"]}
    read = {layer.digest for layer in archive.layers}
    archive.problems += [f"layer {one}: it is not in the archive" for one in sorted(listed - read)]
    archive.problems += [
        f"layer {one}: the image does not list it, so it is broken or cut short"
        for one in sorted(read - listed)
    ]


def read_archive(source: Readable, most: int, see: SeeFile) -> Archive:
    """Read an image's archive to its end.

    :param most: bytes of a file that are looked into; ``see`` is called for a larger one with none.
    :param see: called for each file of each layer, in the order of the archive.
    :raises Corrupt: it is no such archive, or breaks off.
    :raises Unreachable: it did not end in time.
    """
    reader = _Reader(most, see)
    try:
        # As above: nothing but read is called.
        with _Tar.open(fileobj=source, mode="r|", tarinfo=_Member) as outer:  # type: ignore[call-overload]
            for member in outer:
                opened = outer.extractfile(member) if member.isreg() else None
                if opened:
                    reader.take(_clean(member.name), member.size, opened)
                outer.members.clear()
    except _BROKEN as error:
        raise Corrupt(
            f"the archive of the image cannot be read to its end ({type(error).__name__}); save it again"
        ) from None
    _check_whole(reader.archive)
    return reader.archive


def deleted_later(path: str, above: List[Layer]) -> bool:
    """Whether a layer above deletes this file."""
    folders = list(_folders(path))
    return any(
        path in layer.gone or any(it in layer.gone or it in layer.opaque for it in folders)
        for layer in above
    )


def _folders(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
    yield ""


def made_by(configuration: Dict[str, Any]) -> Iterator[Tuple[int, str]]:
    """Of each step of the history its number, from 1, and the digest of the layer that it made; empty where it made none."""
    digests = iter(configuration["rootfs"]["diff_ids"])
    for number, step in enumerate(configuration.get("history") or [], 1):
        empty = bool(isinstance(step, dict) and step.get("empty_layer"))
        yield number, "" if empty else str(next(digests, ""))
