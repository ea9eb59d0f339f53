"""Zip archives from strangers: nothing leaves the folder, nothing grows without a limit.

Names inside an archive decide nothing on this machine: members are written under numbers of our
own, and an archive with a name that points elsewhere is refused whole. Headers are not believed
either: the bytes that come out are counted as they come.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from recpipe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")

_CHUNK = 1 << 20
_ENCRYPTED = 0x1
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError,
    ValueError,
)  # fmt: skip
"""What `zipfile` raises on damaged or unsupported archives."""


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to.

    Args:
        members: files in it.
        bytes: uncompressed bytes of the members that are unpacked, together.
        ratio: uncompressed over compressed bytes of one member.
    """

    members: int
    bytes: int
    ratio: float


@dataclass(frozen=True)
class Unpacked:
    """A member on disk: where, its size in bytes and the SHA-256 of its content."""

    path: Path
    size: int
    sha256: str


class Archive:
    """An open zip whose names have been checked; see `open_archive`."""

    def __init__(self, handle: zipfile.ZipFile, name: str, limits: Limits) -> None:
        self._handle = handle
        self._name = name
        self._limits = limits
        self._members = {_checked(info, name): info for info in handle.infolist() if _is_file(info)}

    @property
    def members(self) -> list[str]:
        """Names of the files in it, in order; without what macOS and hidden files add."""
        return sorted(name for name in self._members if not _is_hidden(name))

    def head(self, member: str, size: int) -> bytes:
        """The first `size` bytes of a member."""
        with self._reading(member), self._handle.open(self._members[member]) as stream:
            return stream.read(size)

    def unpack(self, members: Sequence[str], folder: Path) -> dict[str, Unpacked]:
        """Write members into `folder` as 0000, 0001 ... with their own suffix.

        Raises:
            InputError: if one is encrypted or damaged, or a limit is passed; what was written
                stays for the caller to remove.
        """
        total = 0
        unpacked = {}
        for number, member in enumerate(members):
            suffix = re.sub(r"[^A-Za-z0-9.]", "", PurePosixPath(member).suffix)[:16]
            target = folder / f"{number:04d}{suffix}"
            unpacked[member] = self._unpack(member, target, room=self._limits.bytes - total)
            total += unpacked[member].size
        return unpacked

    def _unpack(self, member: str, target: Path, *, room: int) -> Unpacked:
        info = self._members[member]
        limit = self._limits.ratio * max(info.compress_size, 1)
        size, digest = 0, hashlib.sha256()
        with (
            self._reading(member),
            self._handle.open(info) as stream,
            target.open("wb") as out,
        ):
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > room:
                    raise InputError(
                        f"{self._name}: unpacks to more than {self._limits.bytes:,} bytes",
                        hint="unpack it by hand, or raise ingest.zip_max_bytes",
                    )
                if size > limit:
                    raise InputError(
                        f"{self._name}: {member} unpacks to more than {self._limits.ratio:g} times"
                        " its size",
                        hint="unpack it by hand, or raise ingest.zip_max_ratio",
                    )
                digest.update(chunk)
                out.write(chunk)
        return Unpacked(path=target, size=size, sha256=digest.hexdigest())

    @contextmanager
    def _reading(self, member: str) -> Iterator[None]:
        if self._members[member].flag_bits & _ENCRYPTED:
            raise InputError(
                f"{self._name}: {member} is encrypted", hint="give an archive without a password"
            )
        try:
            yield
        except _BROKEN as error:
            raise InputError(
                f"{self._name}: {member} is damaged: {error}", hint="fetch the archive again"
            ) from error


@contextmanager
def open_archive(path: Path, *, name: str, limits: Limits) -> Iterator[Archive]:
    """A zip, once its list of members is known to be harmless.

    Args:
        path: a local file.
        name: what to call it in errors.
        limits: what it may unpack to.

    Raises:
        InputError: if it is no zip or damaged, has too many members, or one of them is a link, a
            device, named twice, or named so that it would lie outside the folder.
    """
    try:
        handle = zipfile.ZipFile(path)
    except _BROKEN as error:
        raise InputError(
            f"{name}: not a zip archive, or damaged: {error}", hint="fetch it again"
        ) from error
    with handle:
        count = len(handle.infolist())
        if count > limits.members:
            raise InputError(
                f"{name}: {count:,} members, more than {limits.members:,}",
                hint="unpack it by hand, or raise ingest.zip_max_members",
            )
        archive = Archive(handle, name, limits)
        twice = _repeated([i.filename for i in handle.infolist()])
        if twice:
            raise InputError(f"{name}: two members are named {twice!r}", hint="fetch it again")
        yield archive


def _is_file(info: zipfile.ZipInfo) -> bool:
    # A damaged name may be empty, on which `is_dir` fails.
    return not info.filename.endswith("/")


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _checked(info: zipfile.ZipInfo, archive: str) -> str:
    name = info.orig_filename.replace("\\", "/")
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name)
    if outside or "\0" in name or not path.parts:
        raise InputError(
            f"{archive}: member {name!r} would lie outside the folder", hint="do not use it"
        )
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        raise InputError(f"{archive}: member {name!r} is a link or device", hint="do not use it")
    return name


def _repeated(names: list[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
