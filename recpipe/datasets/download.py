"""Downloads of known releases: verified and kept, by pooch."""

from __future__ import annotations

import fcntl
import logging
import os
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pooch
from requests import exceptions as faults

from recpipe import __version__
from recpipe.datasets.catalogue import release
from recpipe.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recpipe.datasets.catalogue import Release

logger = logging.getLogger(__name__)

BASE_URL = "https://files.grouplens.org/datasets/movielens/"
BASE_URL_VARIABLE = "RECPIPE_MOVIELENS_URL"

_CHUNK = 1 << 18
_SECONDS = 10.0, 60.0
"""To connect, and between two bytes."""
_TIMEOUT, _TOO_MANY, _SERVER = 408, 429, 500
"""These statuses, and all from the last, may be gone at the next try."""


def fetch(
    name: str,
    *,
    cache: Path,
    base_url: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    attempts: int = 5,
) -> Path:
    """The archive of a release in the cache; downloaded if it is not there, and always verified.

    An archive is checked against the published checksum; where there is none, against the CRCs
    inside the zip and the checksum of the first download, which stays in the cache as
    `<file>.sha256`. One in the cache that is damaged is downloaded again; one that was put there by
    hand is checked and taken. What is on its way has another name, and is gone if it fails.

    Args:
        name: of the release, as in the catalogue.
        cache: folder of archives; made if it is not there. Safe for several processes.
        base_url: folder of the server; None: the environment's RECPIPE_MOVIELENS_URL, or else
            GroupLens's own.
        progress: is told the bytes that are there and those in all, None where that is unknown.
        attempts: tries before a server that cannot be reached, or breaks off, is given up; a second
            more passes before each.

    Returns:
        The path of the archive.

    Raises:
        UsageError: for an unknown name or an address that is none.
        MissingError: if the archive cannot be reached, or kept, or is not what it should be.
    """
    wanted = release(name)
    base = (base_url or os.environ.get(BASE_URL_VARIABLE) or BASE_URL).rstrip("/")
    target = cache / wanted.file
    pooch.get_logger().setLevel(logging.ERROR)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / f".{wanted.file}.lock"):
            if not wanted.checksum and target.exists() and not _record(target).exists():
                # Put there by hand, where there is no network.
                _check_zip(target, hint="remove it, or put a sound one there")
                _keep_checksum(target)
            keeper = pooch.create(
                path=cache,
                base_url=f"{base}/",
                registry={wanted.file: _expected(wanted, target)},
                retry_if_failed=attempts - 1,
            )
            keeper.fetch(wanted.file, downloader=_Download(wanted, target, progress))
            if not wanted.checksum:
                _keep_checksum(target)
    except faults.RequestException as error:
        raise MissingError(
            f"{base}/{wanted.file}: {_reason(error)}",
            hint=f"try again later, or set {BASE_URL_VARIABLE} to a mirror",
        ) from error
    except OSError as error:
        # Faults of the network are handled above: this is the disk.
        raise MissingError(
            f"{target}: {error.strerror or error}", hint="free some space or set RECPIPE_CACHE"
        ) from error
    return target


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock that other processes wait for; it goes with the process that holds it."""
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


# -- transfer -----------------------------------------------------------------------------------


class _Download:
    """What pooch calls for each try: a transfer to a file of another name, and its verdict.

    Raises:
        MissingError, UsageError: at once, for what another try would not mend.
        RequestException: for what it may.
    """

    def __init__(
        self,
        wanted: Release,
        target: Path,
        progress: Callable[[int, int | None], None] | None,
    ) -> None:
        self.wanted, self.target = wanted, target
        self.bar = _Bar(progress or (lambda _done, _total: None))

    def __call__(self, url: str, output_file: str, mover: Any, check_only: bool = False) -> None:
        transfer = pooch.HTTPDownloader(
            progressbar=self.bar,
            chunk_size=_CHUNK,
            timeout=_SECONDS,
            # Compression in transit would make lengths speak of other bytes than ours.
            headers={"User-Agent": f"recpipe/{__version__}", "Accept-Encoding": "identity"},
        )
        try:
            transfer(url, output_file, mover, check_only)
        except (faults.MissingSchema, faults.InvalidSchema, faults.InvalidURL) as error:
            raise UsageError(f"{url}: no address", hint=f"see {BASE_URL_VARIABLE}") from error
        except faults.SSLError as error:
            raise MissingError(
                f"{url}: the server's certificate is refused: {_reason(error)}",
                hint=f"check this machine's clock and certificates, or set {BASE_URL_VARIABLE} "
                "to a mirror",
            ) from error
        except faults.HTTPError as error:
            status = error.response.status_code
            if status in {_TIMEOUT, _TOO_MANY} or status >= _SERVER:
                raise
            raise MissingError(
                f"{url}: {_reason(error)}", hint=f"is {BASE_URL_VARIABLE} right?"
            ) from error
        self._check(Path(output_file))
        logger.info("%s: downloaded to %s", self.wanted.name, self.target)

    def _check(self, file: Path) -> None:
        """Refuse another archive than the wanted one before it has its name."""
        expected = _expected(self.wanted, self.target)
        if expected is None:
            _check_zip(file, hint="fetch again to begin anew", said=self.target)
            return
        algorithm, _, digest = expected.partition(":")
        if (found := pooch.file_hash(str(file), alg=algorithm)) == digest:
            return
        source = self.wanted.source or "the first download"
        changed = f", or remove {_record(self.target)} if it was replaced"
        raise MissingError(
            f"{self.target}: {algorithm} is {found}, not the {digest} of {source}",
            hint="fetch again to begin anew" + ("" if self.wanted.checksum else changed),
        )


class _Bar:
    """A progress bar as pooch wants it, made of a function that is told bytes."""

    def __init__(self, tell: Callable[[int, int | None], None]) -> None:
        self._tell = tell
        self._done = self._total = 0

    @property
    def total(self) -> int:
        """Bytes in all; 0: unknown."""
        return self._total

    @total.setter
    def total(self, total: int) -> None:
        self._done, self._total = 0, total
        self._tell(0, total or None)

    def update(self, more: int) -> None:
        """Tell of `more` bytes; the last chunk may be shorter than pooch says."""
        self._done = min(self._done + more, self._total or self._done + more)
        self._tell(self._done, self._total or None)

    def reset(self) -> None:
        """Pooch fills the bar again at its end; this one is full."""

    def close(self) -> None:
        """Whoever tells knows when it is over."""


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line: what requests wraps around it says little."""
    if isinstance(error, faults.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    while True:
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            break
        error = inner
    return " ".join(str(error).split())[:200] or type(error).__name__


# -- verification -------------------------------------------------------------------------------


def _expected(wanted: Release, target: Path) -> str | None:
    """`algorithm:digest` of the archive, as published or else of the first download."""
    if wanted.checksum or not _record(target).exists():
        return wanted.checksum
    return f"sha256:{_record(target).read_text().split()[0]}"


def _check_zip(path: Path, *, hint: str, said: Path | None = None) -> None:
    """Raise MissingError if a zip is damaged by its own directory and CRCs."""
    damage = ""
    try:
        with zipfile.ZipFile(path) as archive:
            if bad := archive.testzip():
                damage = f"the CRC of {bad} is wrong"
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        damage = str(error)
    if damage:
        raise MissingError(f"{said or path}: not a sound zip: {damage}", hint=hint)


def _keep_checksum(target: Path) -> None:
    """What the next download is held to, where nobody has published a checksum."""
    fresh = target.with_name(f".{target.name}.sha256")
    fresh.write_text(f"{pooch.file_hash(str(target))}  {target.name}\n")
    fresh.replace(_record(target))


def _record(target: Path) -> Path:
    """The checksum of an accepted archive, in the form that `sha256sum --check` reads."""
    return target.with_name(f"{target.name}.sha256")
