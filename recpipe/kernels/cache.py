"""Where compiled kernels are kept: by their content, so that every process on a host shares them.

Numba's own places go by the path of a source file. A cluster unpacks our code to another path for
each application, sometimes for each container, so everything would be compiled anew each time; and
a kernel into which one of another file is inlined would be taken for current when only that other
file has changed. Here the key is the bytes of all kernels together.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numba

from recpipe.runtime.cache import keep_newest, kernel_cache, temporary_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

_KEPT = 8
"""Folders of former sources that stay: two versions may run side by side."""


class Locator:
    """Numba's question where a function is cached (`numba.core.caching`), answered for ours."""

    def __init__(self, function: Callable[..., Any], file: str, folder: Path) -> None:
        # Numba reads both where it warns.
        self._py_file = file
        self._lineno = function.__code__.co_firstlineno
        self.folder = folder

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> Locator | None:
        """None for functions of others, and where nothing can be kept: the next locator's turn."""
        if not function.__module__.startswith(f"{__package__}."):
            return None
        folder = _folder()
        return cls(function, file, folder) if folder else None

    def ensure_cache_path(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        return str(self.folder)

    def get_source_stamp(self) -> str:
        return _content()

    def get_disambiguator(self) -> str:
        return str(self._lineno)


@cache
def _content() -> str:
    """A hash of the sources of all kernels, wherever they lie: a folder or a zip."""
    hashed = hashlib.sha256()
    for source in sorted(files(__package__).iterdir(), key=lambda source: source.name):
        if source.name.endswith(".py"):
            hashed.update(source.name.encode() + b"\0" + source.read_bytes())
    return hashed.hexdigest()


@cache
def _folder() -> Path | None:
    """The folder of these sources below the first place that this process can write to."""
    # Code is run from here, so a place where all may write must be this user's alone.
    private = temporary_folder()
    for place in (kernel_cache(), private / "numba"):
        folder = place / f"kernels-{_content()[:16]}"
        with suppress(OSError):
            if place.is_relative_to(private):
                private.mkdir(mode=0o700, exist_ok=True)
                if not _ours_alone(private):
                    continue
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                keep_newest(place, "kernels-*", kept=_KEPT)
            tempfile.TemporaryFile(dir=folder).close()
            return folder
    return None


def _ours_alone(folder: Path) -> bool:
    status = folder.lstat()
    others = stat.S_IWGRP | stat.S_IWOTH
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.getuid()
        and not status.st_mode & others
    )


def install() -> None:
    """Have Numba ask `Locator` first, in this process; its own places stay for other functions."""
    config: Any = numba.config
    mine = f"{__name__}.{Locator.__name__}"
    others = config.CACHE_LOCATOR_CLASSES or (
        "UserProvidedCacheLocator,InTreeCacheLocator,UserWideCacheLocator,"
        "IPythonCacheLocator,ZipCacheLocator"
    )
    if mine not in others:
        config.CACHE_LOCATOR_CLASSES = f"{mine},{others}"


__all__ = ["Locator", "install"]
