"""About how much text an input is, before there is a session: for how long its JVM will live."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPRESSED = (
    b"PAR1", b"ORC", b"Obj\x01", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18", b"7z\xbc\xaf",
)  # fmt: skip
"""What a file begins with that is smaller than its rows as text: Parquet, ORC, Avro, gzip, bzip2,
xz, zstd, lz4, 7z."""
_TIMES = 10
"""How many times as long the text is at most."""
_ZIP = b"PK\x03\x04"
_LONGEST_MAGIC = 6


def text_bytes(place: Path, *, enough: int) -> int | None:
    """About how many bytes the rows of a local file or folder would be as text.

    What is compressed counts as what it may unfold to at most, so that a large input is never
    taken for a small one.

    Args:
        place: the file or folder.
        enough: where the sum may stop, since more changes nothing.

    Returns:
        None where nothing is there, or it cannot be read: then nothing is known.
    """
    if not place.exists():
        return None
    total = 0
    try:
        for file in _files(place):
            total += _text_bytes(file)
            if total > enough:
                break
    except OSError:
        return None
    return total


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    # A link to a folder is as good as the folder; one that leads back ends with the sum.
    for folder, _, names in os.walk(place, followlinks=True):
        yield from (Path(folder) / name for name in names)


def _text_bytes(file: Path) -> int:
    with file.open("rb") as stream:
        head = stream.read(_LONGEST_MAGIC)
    size = file.stat().st_size
    if head.startswith(_ZIP):
        return _unzipped(file, size)
    return size * _TIMES if head.startswith(_COMPRESSED) else size


def _unzipped(file: Path, size: int) -> int:
    """What the members would be; those that are compressed themselves unfold once more."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError):
        return size * _TIMES
    return sum(
        member.file_size * (1 if _is_plain(member.filename) else _TIMES) for member in members
    )


def _is_plain(name: str) -> bool:
    return Path(name).suffix.lower() in {
        ".csv", ".tsv", ".txt", ".dat", ".data", ".item", ".user", ".genre", ".occupation", ".base",
        ".test", ".json", ".jsonl", ".ndjson", ".html", ".md", ".pl", ".sh", ".info", "",
    }  # fmt: skip


__all__ = ["text_bytes"]
