"""Where raw files come from: a folder, a zip or one file, on any Hadoop file system."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from recpipe.errors import InputError
from recpipe.ingest.archive import MAGIC, Archive, Limits, open_archive
from recpipe.ingest.formats import Release, recognise
from recpipe.ingest.layout import HEAD_BYTES, Sample
from recpipe.storage.filesystem import absolute, file_system, local_path, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import SparkSession

    from recpipe.ingest.layout import Kind
    from recpipe.storage import Folder
    from recpipe.storage.filesystem import FileSystem

_MOST_FILES = 10_000
"""Files below a folder above which it cannot be meant as a source."""


class Source:
    """A recognised source whose files Spark can read.

    Args:
        uri: as given, absolute.
        release: what it was recognised as.
        uris: the place of every file that the release reads, by its name.
        fs: the file system of those places.
        known: size and SHA-256 of files by name, where they are known already.
    """

    def __init__(
        self,
        uri: str,
        release: Release,
        uris: Mapping[str, str],
        *,
        fs: FileSystem,
        known: Mapping[str, tuple[int, str]] | None = None,
    ) -> None:
        self.uri = uri
        self.release = release
        self.uris = uris
        self._fs = fs
        self._known = known or {}

    def size(self, kind: Kind) -> int:
        """Bytes of all files of a kind."""
        return sum(self._fs.size(self.uris[path]) for path in self.release.parts[kind].paths)

    def head(self, kind: Kind) -> bytes:
        """The beginning of the first file of a kind."""
        return self._fs.read_head(self.uris[self.release.parts[kind].paths[0]], HEAD_BYTES)

    def fingerprint(self) -> dict[str, tuple[int, str]]:
        """Size and SHA-256 of every file that is read, by its name."""
        return {
            name: self._known.get(name) or (self._fs.size(uri), self._fs.sha256(uri))
            for name, uri in sorted(self.uris.items())
        }


@contextmanager
def open_source(
    source: str | Path, *, spark: SparkSession, limits: Limits, scratch: Folder
) -> Iterator[Source]:
    """Find, recognise and (a zip) unpack a source; what was unpacked goes with `scratch`.

    Raises:
        InputError: if it is missing, empty, not recognised or an archive that is refused.
    """
    uri = absolute(source)
    fs = file_system(uri, spark)
    if not fs.exists(uri):
        raise InputError(f"{uri}: no such file or folder", hint="check --input")
    if fs.is_dir(uri):
        places = _below(fs, uri)
        samples = [Sample(name, fs.read_head(place, HEAD_BYTES)) for name, place in places.items()]
        yield _plain(uri, recognise(samples, source=uri), places, fs=fs)
        return
    head = fs.read_head(uri, HEAD_BYTES)
    if not head.startswith(MAGIC):
        name = PurePosixPath(uri).name
        release = recognise([Sample(name, head)], source=uri)
        yield _plain(uri, release, {name: uri}, fs=fs)
        return
    with _local_copy(fs, uri) as copy, open_archive(copy, name=uri, limits=limits) as archive:
        members = archive.members
        samples = [Sample(name, archive.head(name, HEAD_BYTES)) for name in members]
        release = recognise(samples, source=uri)
        uris, known = _unpack(archive, sorted(_read_by(release)), scratch=scratch)
    yield Source(uri, release, uris, fs=scratch.fs, known=known)


def _plain(uri: str, release: Release, places: Mapping[str, str], *, fs: FileSystem) -> Source:
    uris = {name: places[name] for name in _read_by(release)}
    return Source(uri, release, uris, fs=fs)


def _read_by(release: Release) -> list[str]:
    return [path for part in release.parts.values() for path in part.paths]


def _below(fs: FileSystem, uri: str) -> dict[str, str]:
    """Every file below a folder by its relative name, without what Spark and macOS hide."""
    places: dict[str, str] = {}
    for place in walk(fs, uri):
        name = place.removeprefix(f"{uri}/")
        if any(part.startswith((".", "_")) for part in PurePosixPath(name).parts):
            continue
        places[name] = place
        if len(places) > _MOST_FILES:
            raise InputError(
                f"{uri}: more than {_MOST_FILES:,} files", hint="give the folder of one release"
            )
    return places


@contextmanager
def _local_copy(fs: FileSystem, uri: str) -> Iterator[Path]:
    """A local path of the file: its own, or a copy for the length of the block."""
    path = local_path(uri)
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="recpipe-") as folder:
        copy = Path(folder) / "source.zip"
        fs.download(uri, copy)
        yield copy


def _unpack(
    archive: Archive, members: list[str], *, scratch: Folder
) -> tuple[dict[str, str], dict[str, tuple[int, str]]]:
    """Unpack into `scratch`, where the executors can read it: places, and sizes and digests."""
    own = local_path(scratch.uri)
    uris, known = {}, {}
    with tempfile.TemporaryDirectory(prefix="recpipe-", dir=own) as folder:
        for name, member in archive.unpack(members, Path(folder)).items():
            uris[name] = scratch.path(f"source-{member.path.name}")
            known[name] = (member.size, member.sha256)
            if own is not None:
                scratch.fs.rename(absolute(member.path), uris[name])
            else:
                scratch.fs.upload(member.path, uris[name])
    return uris, known
