"""What recpipe keeps from one run to the next, and where: its cache folder.

Needs the standard library only and starts no Spark.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from recpipe.runtime.java import java
from recpipe.runtime.spark_home import spark_home


def cache_folder() -> Path:
    """Where recpipe keeps what it need not fetch or compile twice; not created here.

    `RECPIPE_CACHE`, else `XDG_CACHE_HOME`/recpipe, else ~/.cache/recpipe; without a home, a folder
    of this user's among the temporary files.
    """
    if chosen := os.environ.get("RECPIPE_CACHE"):
        return Path(chosen).expanduser().absolute()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).absolute() / "recpipe"
    home = Path("~").expanduser()
    # Containers with a user id of their own often say / for a home, or nothing.
    if home.is_dir() and os.access(home, os.W_OK):
        return home / ".cache" / "recpipe"
    return temporary_folder()


def temporary_folder() -> Path:
    """A folder of this user's name among the temporary files; whose it is has to be looked at."""
    return Path(tempfile.gettempdir()) / f"recpipe-{os.getuid()}"


def keep_newest(place: Path, pattern: str, *, kept: int) -> None:
    """Remove the files or folders of that pattern, but for so many of the newest."""
    # Another process may be at the same.
    with suppress(OSError):
        made = sorted(place.glob(pattern), key=lambda path: path.stat().st_mtime)
        for path in made[:-kept]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def mark_used(path: Path) -> None:
    """Note that something in the cache is in use, so that others go before it."""
    # A cache that others filled may be for reading only.
    with suppress(OSError):
        os.utime(path)


def kernel_cache() -> Path:
    """Where compiled kernels are kept: `NUMBA_CACHE_DIR`, else below the cache folder."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "numba")


def class_archive() -> Path:
    """Where `recpipe.spark.class_archive` keeps its archive, by Java and Spark; it may not exist.

    Raises:
        MissingError: if there is no Java or no Spark.
    """
    found, jars = java(), spark_home() / "jars"
    made_of = f"{found.home} {found.version} {jars} {jars.stat().st_mtime_ns}"
    return cache_folder() / f"spark-classes-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.jsa"
