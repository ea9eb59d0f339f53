"""Where raw files come from: a folder, a zip or one file, on any Hadoop file system."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from recpipe.errors import InputError
from recpipe.ingest.archive import MAGIC, Limits, open_archive
from recpipe.ingest.dialect import is_wide
from recpipe.ingest.formats import GivenColumns, delta
from recpipe.ingest.layout import HEAD_BYTES, Sample
from recpipe.ingest.listing import Listing
from recpipe.ingest.packed import GZIP, narrow_head, plain_copy, unpacked_head
from recpipe.ingest.ratings import Group
from recpipe.ingest.recognition import RecognisedSource, recognise
from recpipe.storage import footers
from recpipe.storage.filesystem import file_system, walk
from recpipe.storage.paths import absolute, local_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import SparkSession

    from recpipe.ingest.layout import Kind
    from recpipe.storage import Folder
    from recpipe.storage.filesystem import FileSystem

_MAX_FILES = 10_000
"""Files below a folder above which it cannot be meant as a source."""
_ZIPPED_SHARE = 4
"""Text is about so many times as long as its gzip: for an estimate of its size."""


@dataclass
class _File:
    """A file of the source: its sample, where its bytes are, and how they have to be unpacked."""

    sample: Sample
    uri: str
    fs: FileSystem
    copied: bool = False
    known: tuple[int, str] | None = None


class Source:
    """A recognised source whose files Spark can read.

    Args:
        uri: as given, absolute.
        recognised: what it was recognised as.
        uris: the place of every file that is read, by its name.
        fs: the file system of the source.
        scratch: where the copies are of what had to be unpacked.
        packed: where the bytes lie as they were given, of files that were unpacked.
        known: size and SHA-256 of files by name, where they are known already.
    """

    def __init__(
        self,
        uri: str,
        recognised: RecognisedSource,
        uris: Mapping[str, str],
        *,
        fs: FileSystem,
        scratch: Folder,
        packed: Mapping[str, tuple[FileSystem, str]] | None = None,
        known: Mapping[str, tuple[int, str]] | None = None,
    ) -> None:
        self.uri = uri
        self.recognised = recognised
        self.uris = uris
        self._fs = fs
        self._scratch = scratch
        self._packed = packed or {}
        self._known = known or {}

    def ratings_only(self) -> Source:
        """The same source without the tables beside its ratings, which are then ignored."""
        recognised = self.recognised.ratings_only()
        return Source(
            self.uri,
            recognised,
            {path: self.uris[path] for path in _read_by(recognised)},
            fs=self._fs,
            scratch=self._scratch,
            packed=self._packed,
            known=self._known,
        )

    def store(self, uri: str) -> FileSystem:
        """The file system of a place: the source's own, or that of the copies."""
        return self._scratch.fs if uri.startswith(f"{self._scratch.uri}/") else self._fs

    def size(self, kind: Kind) -> int:
        """Bytes of all files of a kind, of packed ones about what is in them."""
        paths = self.recognised.parts[kind].paths
        return sum(self._size(self.uris[path]) for path in paths)

    def _size(self, uri: str) -> int:
        store = self.store(uri)
        if store.is_dir(uri):
            return 0
        return store.size(uri) * (_ZIPPED_SHARE if uri.endswith(".gz") else 1)

    def head(self, kind: Kind) -> bytes:
        """The beginning of the first file of a kind."""
        uri = self.uris[self.recognised.parts[kind].paths[0]]
        if self.store(uri).is_dir(uri):
            return b""
        head = self.store(uri).read_head(uri, HEAD_BYTES)
        return unpacked_head(head) if head.startswith(GZIP) else head

    def groups(self) -> list[Group]:
        """The files of ratings by their layouts."""
        part = self.recognised.parts["ratings"]
        return [
            Group(
                layout,
                [self.uris[part.paths[place]] for place in places],
                places,
                [Sample(part.paths[place], b"").partitions for place in places],
            )
            for layout, places in part.groups
        ]

    def fingerprint(self) -> dict[str, tuple[int, str]]:
        """Size and SHA-256 of every file that is read, by its name; of a Delta table its commit."""
        return {name: self._digest(name, uri) for name, uri in sorted(self.uris.items())}

    def _digest(self, name: str, uri: str) -> tuple[int, str]:
        if name in self._known:
            return self._known[name]
        fs, place = self._packed.get(name, (self.store(uri), uri))
        if fs.is_dir(place):
            place = delta.newest_commit(fs, place)
        return fs.size(place), fs.sha256(place)


@contextmanager
def open_source(
    source: str | Path,
    *,
    spark: SparkSession,
    limits: Limits,
    scratch: Folder,
    given: GivenColumns | None = None,
) -> Iterator[Source]:
    """Find, recognise and unpack a source; what was unpacked goes with `scratch`.

    Args:
        source: a folder, a zip or a file.
        spark: the session.
        limits: what archives may unpack to.
        scratch: where they are unpacked, and where the executors can read.
        given: what the settings say about the columns.

    Raises:
        InputError: if it is missing, empty, not recognised, holds a file that may hold ratings and
            cannot be read, or is an archive that is refused.
    """
    uri = absolute(source)
    fs = file_system(uri, spark)
    if not fs.exists(uri):
        raise InputError(f"{uri}: no such file or folder", hint="check its path")
    if not fs.is_dir(uri) and fs.read_head(uri, len(MAGIC[0])).startswith(MAGIC):
        with _members(uri, fs, limits, scratch, given) as opened:
            yield opened
        return
    if fs.is_dir(uri):
        files = _below(fs, uri, spark)
    else:
        name = PurePosixPath(uri).name
        files = {name: _looked_at(fs, name, uri)}
    recognised = recognise([file.sample for file in files.values()], source=uri, given=given)
    read = {name: files[name] for name in _read_by(recognised)}
    uris = {
        name: _copied(file, scratch, limits, number) if file.copied else file.uri
        for number, (name, file) in enumerate(read.items())
    }
    packed = {name: (file.fs, file.uri) for name, file in read.items() if file.copied}
    yield Source(uri, recognised, uris, fs=fs, scratch=scratch, packed=packed)


def _read_by(recognised: RecognisedSource) -> list[str]:
    return [path for part in recognised.parts.values() for path in part.paths]


def _looked_at(fs: FileSystem, name: str, uri: str, *, committed: bool = False) -> _File:
    """A file by its beginning, and whether it has to be copied before Spark can read it."""
    head = fs.read_head(uri, HEAD_BYTES)
    sample, copied = _sample(name, head)
    if head.startswith(footers.MAGIC):
        tail = fs.read_tail(uri, footers.FOOTER_BYTES)
        size = min(footers.footer_size(tail), fs.size(uri))
        sample = replace(sample, footer=fs.read_tail(uri, size))
    # Spark takes the name for what is in a file.
    copied = copied or uri.endswith(".gz") != head.startswith(GZIP)
    return _File(replace(sample, committed=committed), uri, fs, copied=copied)


def _sample(name: str, head: bytes, *, compressed: bool = False) -> tuple[Sample, bool]:
    """What is in a file's first bytes, and whether they are not as Spark can read them."""
    copied = False
    fault = ""
    if head.startswith(GZIP):
        try:
            head = unpacked_head(head)
        except InputError as error:
            fault = error.message
        copied = head.startswith(footers.MAGIC)
    if not fault and is_wide(head) and not head.startswith(footers.MAGIC):
        head, copied = narrow_head(head), True
    return Sample(name, head, fault=fault, compressed=compressed), copied


def _below(fs: FileSystem, uri: str, spark: SparkSession) -> dict[str, _File]:
    """Every file below a folder by its relative name, without what Spark and macOS hide.

    The files of a Delta table are one: its log says which of them are in it.
    """
    listing = Listing()
    for place in walk(fs, uri):
        listing.add(place.removeprefix(f"{uri}/"))
        if len(listing.names) > _MAX_FILES:
            raise InputError(
                f"{uri}: more than {_MAX_FILES:,} files", hint="give the folder of one release"
            )
    files: dict[str, _File] = {}
    for table in sorted(listing.tables):
        name = table or PurePosixPath(uri).name
        place = f"{uri}/{table}" if table else uri
        sample = Sample(name, delta.schema_of(spark, place), table="delta")
        files[name] = _File(sample, place, fs)
    for name in listing.names:
        if any(not table or name.startswith(f"{table}/") for table in listing.tables):
            continue
        committed = listing.is_committed(name)
        files[name] = _looked_at(fs, name, f"{uri}/{name}", committed=committed)
    return files


def _copied(file: _File, scratch: Folder, limits: Limits, number: int) -> str:
    """A plain copy of a file in the scratch folder."""
    with tempfile.TemporaryDirectory(prefix="recpipe-") as folder:
        with _local_copy(file.fs, file.uri) as local:
            plain = Path(folder) / "plain"
            plain_copy(local, plain, name=file.uri, limits=limits)
        target = scratch.path(f"plain-{number:04d}{_suffix(file.sample)}")
        scratch.fs.upload(plain, target)
    return target


def _suffix(sample: Sample) -> str:
    return sample.suffix if sample.suffix.isascii() and sample.suffix[1:].isalnum() else ""


@contextmanager
def _local_copy(fs: FileSystem, uri: str) -> Iterator[Path]:
    """A local path of the file: its own, or a copy while the `with` lasts."""
    path = local_path(uri)
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="recpipe-") as folder:
        copy = Path(folder) / "source"
        fs.download(uri, copy)
        yield copy


@contextmanager
def _members(
    uri: str, fs: FileSystem, limits: Limits, scratch: Folder, given: GivenColumns | None
) -> Iterator[Source]:
    """A zip, unpacked into `scratch`, where the executors can read it."""
    own = local_path(scratch.uri)
    uris: dict[str, str] = {}
    known: dict[str, tuple[int, str]] = {}
    with _local_copy(fs, uri) as local, open_archive(local, name=uri, limits=limits) as archive:
        listing = Listing()
        for name in archive.members:
            listing.add(name)
        if listing.tables:
            raise InputError(
                f"{uri}: {min(listing.tables) or 'its root'} is a Delta table in a zip",
                hint="unpack it first: which of its files count, only its log can say",
            )
        heads = {name: archive.head(name, HEAD_BYTES) for name in listing.names}
        with tempfile.TemporaryDirectory(prefix="recpipe-", dir=own) as folder:
            typed = [name for name, head in heads.items() if head.startswith(footers.MAGIC)]
            early = archive.unpack(typed, _new(Path(folder) / "typed"))
            samples, packed = [], set()
            for name, head in heads.items():
                sample, copied = _sample(name, head, compressed=True)
                sample = replace(sample, committed=listing.is_committed(name))
                if name in early:
                    sample = replace(sample, footer=_footer(early[name].path))
                if copied or head.startswith(GZIP):
                    packed.add(name)
                samples.append(sample)
            recognised = recognise(samples, source=uri, given=given)
            read = sorted(_read_by(recognised))
            rest = archive.unpack([n for n in read if n not in early], _new(Path(folder) / "rest"))
            for number, name in enumerate(read):
                member = early.get(name) or rest[name]
                known[name] = (member.size, member.sha256)
                path = member.path
                if name in packed:
                    path = Path(folder) / f"plain-{number:04d}"
                    plain_copy(member.path, path, name=f"{uri}: {name}", limits=limits)
                uris[name] = scratch.path(f"source-{number:04d}{_suffix(Sample(name, b''))}")
                if own is not None:
                    scratch.fs.rename(absolute(path), uris[name])
                else:
                    scratch.fs.upload(path, uris[name])
    yield Source(uri, recognised, uris, fs=fs, scratch=scratch, known=known)


def _footer(path: Path) -> bytes:
    with path.open("rb") as stream:
        stream.seek(max(path.stat().st_size - footers.FOOTER_BYTES, 0))
        size = footers.footer_size(stream.read())
        stream.seek(max(path.stat().st_size - size, 0))
        return stream.read()


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder
