"""Downloads of known releases: resumed where they broke off, verified, and kept."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import time
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

import requests
from requests import exceptions as faults
from urllib3.exceptions import HTTPError

from recpipe import __version__
from recpipe.datasets.catalogue import Release, release
from recpipe.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from requests import Response

logger = logging.getLogger(__name__)

BASE_URL = "https://files.grouplens.org/datasets/movielens/"
BASE_URL_VARIABLE = "RECPIPE_MOVIELENS_URL"

_CHUNK = 1 << 18
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 30.0
_PARTIAL, _TIMEOUT, _RANGE, _TOO_MANY, _SERVER = 206, 408, 416, 429, 500


def fetch(
    name: str,
    *,
    cache: Path,
    base_url: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    attempts: int = 5,
    backoff_seconds: float = 0.5,
) -> Path:
    """The archive of a release in the cache; downloaded if it is not there, and always verified.

    A transfer that breaks off is resumed, also by a later call, provided the server says that the
    file is still the same. An archive is checked against the published checksum; where there is
    none, against the CRCs inside the zip and the checksum of the first download, which stays in
    the cache as `<file>.sha256`. An archive that was put there by hand is checked and taken.

    Args:
        name: of the release, as in the catalogue.
        cache: folder of archives; made if it is not there. Safe for several processes.
        base_url: folder of the server; None: the environment's RECPIPE_MOVIELENS_URL, or else
            GroupLens's own.
        progress: is told the bytes that are there and those in all, None where that is unknown.
        attempts: tries without a single new byte after which the download has failed.
        backoff_seconds: wait after the first failed try; doubled after each further one.

    Returns:
        The path of the archive.

    Raises:
        UsageError: for an unknown name or an address that is none.
        MissingError: if the archive cannot be reached, or kept, or is not what it should be. A
            wrong archive is moved aside as `<file>.corrupt`, and the next call begins anew.
    """
    wanted = release(name)
    base = base_url or os.environ.get(BASE_URL_VARIABLE) or BASE_URL
    url = f"{base.rstrip('/')}/{wanted.file}"
    target = cache / wanted.file
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / f".{wanted.file}.lock"):
            if target.exists() and not _record(target).exists():
                # Put there by hand, where there is no network.
                _accept(target, target, wanted)
            if _is_kept(target):
                return target
            download = _Download(url, target, progress or (lambda _done, _total: None))
            download.run(attempts=attempts, backoff_seconds=backoff_seconds)
            _accept(download.part, target, wanted)
            download.forget()
    except OSError as error:
        # Faults of the network are handled below: this is the disk.
        raise MissingError(
            f"{target}: {error.strerror or error}", hint="free some space or set RECPIPE_CACHE"
        ) from error
    logger.info("%s: downloaded to %s", wanted.name, target)
    return target


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock that other processes wait for; it goes with the process that holds it."""
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


# -- transfer -----------------------------------------------------------------------------------


class _TransientError(Exception):
    """A fault that may be gone at the next try."""


@dataclass(frozen=True)
class _Version:
    """What the server said of the file whose first bytes are kept."""

    url: str
    etag: str | None
    last_modified: str | None
    length: int | None

    @property
    def validator(self) -> str | None:
        """What If-Range may carry: a weak ETag does not vouch for bytes (RFC 9110, 13.1.5)."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


class _Download:
    """One file on its way: its bytes in `<file>.part`, their version in `<file>.part.json`."""

    def __init__(self, url: str, target: Path, progress: Callable[[int, int | None], None]) -> None:
        self.part = target.with_name(f"{target.name}.part")
        self._url = url
        self._meta = target.with_name(f"{target.name}.part.json")
        self._progress = progress

    def run(self, *, attempts: int, backoff_seconds: float) -> None:
        """Transfer until the file is whole; a try that brings new bytes starts the count anew."""
        failed = 0
        while not self._is_whole():
            before = self._size()
            try:
                self._transfer()
            except _TransientError as error:
                failed = 1 if self._size() > before else failed + 1
                if failed >= attempts:
                    raise MissingError(
                        f"{self._url}: {error}",
                        hint=f"try again later: {self._size():,} bytes are kept and resumed; "
                        f"or set {BASE_URL_VARIABLE} to a mirror",
                    ) from error
                logger.debug("%s: %s; resuming", self._url, error)
                time.sleep(min(backoff_seconds * 2 ** (failed - 1), _LONGEST_WAIT_SECONDS))

    def forget(self) -> None:
        """Drop what was only of use to resume."""
        self.part.unlink(missing_ok=True)
        self._meta.unlink(missing_ok=True)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _known(self) -> _Version | None:
        """The version of the kept bytes; None where they cannot be resumed."""
        try:
            known = _Version(**json.loads(self._meta.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return known if known.url == self._url and self.part.exists() else None

    def _is_whole(self) -> bool:
        known = self._known()
        return known is not None and self._size() == (known.length or -1)

    def _transfer(self) -> None:
        known, size = self._known(), self._size()
        # Compression in transit would make ranges and lengths speak of other bytes than ours.
        headers = {"User-Agent": f"recpipe/{__version__}", "Accept-Encoding": "identity"}
        resuming = known is not None and known.validator is not None and size > 0
        if resuming and known is not None:
            headers |= {"Range": f"bytes={size}-", "If-Range": known.validator or ""}
        try:
            with requests.get(
                self._url,
                headers=headers,
                stream=True,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            ) as response:
                self._judge(response)
                if response.status_code == _PARTIAL and resuming and known is not None:
                    self._append(response, known, size)
                else:
                    self._begin(response)
        except (faults.MissingSchema, faults.InvalidSchema, faults.InvalidURL) as error:
            raise UsageError(f"{self._url}: no address", hint=f"see {BASE_URL_VARIABLE}") from error
        except faults.SSLError as error:
            raise MissingError(
                f"{self._url}: the server's certificate is refused: {_reason(error)}",
                hint=f"check this machine's clock and certificates, or set {BASE_URL_VARIABLE} "
                "to a mirror",
            ) from error
        except (faults.RequestException, HTTPError) as error:
            raise _TransientError(_reason(error)) from error

    def _judge(self, response: Response) -> None:
        status = response.status_code
        if status == _RANGE:
            self.forget()
            raise _TransientError("the server has fewer bytes than are kept")
        if status in {_TIMEOUT, _TOO_MANY} or status >= _SERVER:
            raise _TransientError(f"the server answers {status} {response.reason}")
        if not response.ok:
            raise MissingError(
                f"{self._url}: the server answers {status} {response.reason}",
                hint=f"is {BASE_URL_VARIABLE} right?",
            )

    def _begin(self, response: Response) -> None:
        """Take the file from its first byte."""
        length = response.headers.get("Content-Length", "")
        version = _Version(
            url=self._url,
            etag=response.headers.get("ETag"),
            last_modified=response.headers.get("Last-Modified"),
            length=int(length) if length.isdecimal() else None,
        )
        self.forget()
        with self.part.open("wb") as stream:
            # Only now: a version must never stand beside bytes of another.
            self._meta.write_text(json.dumps(asdict(version)))
            self._receive(response, stream, version.length)
        if version.length is None:
            # Without a length the end of the stream is the end of the file.
            whole = asdict(version) | {"length": self._size()}
            self._meta.write_text(json.dumps(whole))

    def _append(self, response: Response, known: _Version, size: int) -> None:
        """Take the rest of the file."""
        given = response.headers.get("Content-Range", "")
        total = "*" if known.length is None else known.length
        first, _, length = given.removeprefix("bytes ").partition("/")
        if not first.startswith(f"{size}-") or (total != "*" and length not in {str(total), "*"}):
            self.forget()
            raise _TransientError(f"the server sent another range than asked for: {given!r}")
        with self.part.open("ab") as stream:
            self._receive(response, stream, known.length)

    def _receive(self, response: Response, stream: BinaryIO, length: int | None) -> None:
        stream.seek(0, os.SEEK_END)
        self._progress(stream.tell(), length)
        # Below requests, whose own iterator drops what it holds when the connection breaks.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            stream.write(chunk)
            self._progress(stream.tell(), length)
        if length is not None and stream.tell() < length:
            raise _TransientError(f"cut off at {stream.tell():,} of {length:,} bytes")
        if length is not None and stream.tell() > length:
            stream.truncate(0)
            raise _TransientError("the server sent more bytes than it announced")


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line: what requests wraps around it says little."""
    while True:
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            break
        error = inner
    return " ".join(str(error).split())[:200] or type(error).__name__


# -- verification -------------------------------------------------------------------------------


def _is_kept(target: Path) -> bool:
    """Whether the archive is in the cache as it was accepted; a damaged one is moved aside."""
    record = _record(target)
    if not target.exists() or not record.exists():
        return False
    if _digest(target, "sha256") == record.read_text().split()[0]:
        return True
    aside = _move_aside(target, target)
    logger.warning("%s was damaged since its download, and is now %s", target, aside)
    return False


def _accept(part: Path, target: Path, wanted: Release) -> None:
    """Verify a whole transfer and give it its name, or move it aside."""
    faults_ = _faults(part, target, wanted)
    if faults_:
        aside = _move_aside(part, target)
        again = f"it is now {aside.name}; fetch again to begin anew"
        changed = "" if wanted.checksum else f", or remove {_record(target)} if it was replaced"
        raise MissingError(f"{target}: {faults_}", hint=again + changed)
    fresh = target.with_name(f".{target.name}.sha256")
    fresh.write_text(f"{_digest(part, 'sha256')}  {target.name}\n")
    fresh.replace(_record(target))
    part.replace(target)


def _faults(part: Path, target: Path, wanted: Release) -> str:
    """What is wrong with a transfer; empty where nothing is."""
    if wanted.checksum:
        algorithm, _, expected = wanted.checksum.partition(":")
        found = _digest(part, algorithm)
        source = f" of {wanted.source}"
    else:
        damage = _zip_damage(part)
        if damage or not _record(target).exists():
            return damage
        algorithm, expected = "sha256", _record(target).read_text().split()[0]
        found = _digest(part, algorithm)
        source = " of the first download"
    if found == expected:
        return ""
    return f"{algorithm} is {found}, not the {expected}{source}"


def _zip_damage(path: Path) -> str:
    """What is wrong with a zip by its own directory and CRCs; empty where nothing is."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        return f"not a sound zip: {error}"
    return f"not a sound zip: the CRC of {bad} is wrong" if bad else ""


def _move_aside(path: Path, target: Path) -> Path:
    return path.replace(target.with_name(f"{target.name}.corrupt"))


def _record(target: Path) -> Path:
    """The checksum of an accepted archive, in the form that `sha256sum --check` reads."""
    return target.with_name(f"{target.name}.sha256")


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        # As a checksum of known files MD5 still finds every accident; that is its use here.
        return hashlib.file_digest(
            stream, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()
