"""Local disks, by Python itself: no checksum side files appear."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from recpipe.storage.paths import local_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class LocalFileSystem:
    """Disks of this machine, by `pathlib`."""

    @staticmethod
    def _path(uri: str) -> Path:
        path = local_path(uri)
        if path is None:
            raise ValueError(f"{uri} is not local")
        return path

    def exists(self, path: str) -> bool:
        return self._path(path).exists()

    def is_dir(self, path: str) -> bool:
        return self._path(path).is_dir()

    def list(self, path: str) -> list[str]:
        folder = self._path(path)
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def size(self, path: str) -> int:
        return self._path(path).stat().st_size

    def sizes(self, path: str) -> Iterator[tuple[str, int]]:
        with os.scandir(self._path(path)) as entries:
            for entry in entries:
                yield entry.name, entry.stat().st_size

    def sha256(self, path: str) -> str:
        with self._path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def read(self, path: str) -> bytes:
        return self._path(path).read_bytes()

    def read_head(self, path: str, size: int) -> bytes:
        with self._path(path).open("rb") as stream:
            return stream.read(size)

    def read_tail(self, path: str, size: int) -> bytes:
        with self._path(path).open("rb") as stream:
            stream.seek(max(self.size(path) - size, 0))
            return stream.read(size)

    def replace(self, path: str, data: bytes) -> None:
        target = self._path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            with fresh.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)

    def rename(self, source: str, target: str) -> None:
        # rename(2) would put one file in the place of another without a word.
        if self.exists(target):
            raise FileExistsError(f"cannot rename {source}: {target} is there")
        self._path(target).parent.mkdir(parents=True, exist_ok=True)
        self._path(source).rename(self._path(target))

    def make_dir(self, path: str) -> None:
        self._path(path).mkdir(parents=True, exist_ok=True)

    def delete(self, path: str) -> None:
        target = self._path(path)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def delete_empty(self, path: str) -> None:
        # Not there, or not empty: both are as it should be.
        with suppress(OSError):
            self._path(path).rmdir()

    def upload(self, local: Path, path: str) -> None:
        target = self._path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local, target)

    def download(self, path: str, local: Path) -> None:
        shutil.copyfile(self._path(path), local)
