"""Files that are packed or written in wide characters: their beginnings, and plain copies of them.

Spark unpacks what is called `.gz` by itself, on the executors. All else (gzip under another name or
in a zip, Parquet in gzip, UTF-16) is copied once, as a stream, into the scratch folder.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from recpipe.errors import InputError
from recpipe.ingest.dialect import is_wide
from recpipe.ingest.layout import HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recpipe.ingest.archive import Limits

GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20


def unpacked_head(head: bytes) -> bytes:
    """What is in the first bytes of a gzip file, as far as they go.

    Raises:
        InputError: if they are damaged.
    """
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        return reader.decompress(head, HEAD_BYTES)
    except zlib.error as error:
        raise InputError(f"is damaged gzip: {error}", hint="fetch it again") from error


def narrow_head(head: bytes) -> bytes:
    """The beginning of a text as UTF-8, where it is UTF-16 or UTF-32; else as it is."""
    encoding = is_wide(head)
    if not encoding:
        return head
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    return decoder.decode(head).removeprefix("\ufeff").encode()[:HEAD_BYTES]


def plain_copy(source: Path, target: Path, *, name: str, limits: Limits) -> None:
    """Write what is in a file, unpacked and as UTF-8.

    Args:
        source: a local file.
        target: where it goes.
        name: what to call it in errors.
        limits: what it may unpack to.

    Raises:
        InputError: if it is damaged, or unpacks to more than it may.
    """
    with source.open("rb") as raw:
        zipped = raw.read(len(GZIP)) == GZIP
    room = limits.bytes
    if zipped:
        room = min(room, int(limits.ratio * max(source.stat().st_size, 1)))
    try:
        with _opened(source, zipped=zipped) as stream, target.open("wb") as out:
            head = stream.read(HEAD_BYTES)
            encoding = is_wide(head)
            if not encoding:
                _copy(head, stream, out, room=room, name=name)
            else:
                _narrow(head, stream, out, encoding, room=room, name=name)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{name} is damaged gzip: {error}", hint="fetch it again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is damaged {error.encoding}", hint="save it as UTF-8") from error


@contextmanager
def _opened(source: Path, *, zipped: bool) -> Iterator[BinaryIO]:
    with gzip.open(source, "rb") if zipped else source.open("rb") as stream:
        yield stream  # type: ignore[misc]


def _copy(head: bytes, stream: BinaryIO, out: BinaryIO, *, room: int, name: str) -> None:
    written = 0
    chunk = head
    while chunk:
        written += len(chunk)
        _check_room(written, room, name)
        out.write(chunk)
        chunk = stream.read(_CHUNK)


def _narrow(
    head: bytes, stream: BinaryIO, out: BinaryIO, encoding: str, *, room: int, name: str
) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    text = decoder.decode(head).removeprefix("\ufeff")
    written = 0
    while True:
        data = text.encode()
        written += len(data)
        _check_room(written, room, name)
        out.write(data)
        chunk = stream.read(_CHUNK)
        if not chunk:
            out.write(decoder.decode(b"", final=True).encode())
            return
        text = decoder.decode(chunk)


def _check_room(written: int, room: int, name: str) -> None:
    if written > room:
        raise InputError(
            f"{name}: unpacks to more than {room:,} bytes",
            hint="unpack it by hand, or raise ingest.zip_max_bytes or ingest.zip_max_ratio",
        )
