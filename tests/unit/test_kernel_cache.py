"""Compiled kernels are found again by any process that has the same sources, wherever they lie."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import recpipe

SOURCES = Path(recpipe.__file__).parent
ASKS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from recpipe.kernels import latest
stats = latest.ascending.stats
hits, misses = len(stats.cache_hits), len(stats.cache_misses)
print(json.dumps([latest.__file__, stats.cache_path, hits, misses]))
"""


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    """Our code as a cluster has it."""
    made = shutil.make_archive(str(tmp_path / "one" / "recpipe"), "zip", SOURCES.parent, "recpipe")
    return Path(made)


def asked(code: Path, **variables: str) -> tuple[str, Path, int, int]:
    """A new process's answer: the kernel's file, where it is cached, and whether it was there."""
    kept = {k: v for k, v in os.environ.items() if k not in {"NUMBA_CACHE_DIR", "PYTHONPATH"}}
    done = subprocess.run(
        [sys.executable, "-c", ASKS, str(code)],
        env=kept | variables, capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    file, folder, hits, misses = json.loads(done.stdout)
    return file, Path(folder), hits, misses


def test_a_zip_at_any_path_finds_what_another_compiled(zipped: Path, tmp_path: Path) -> None:
    cache = {"RECPIPE_CACHE": str(tmp_path / "cache")}
    file, folder, hits, misses = asked(zipped, **cache)
    assert file.startswith(str(zipped))
    assert folder.is_relative_to(tmp_path / "cache" / "numba")
    assert (hits, misses) == (0, 1)
    moved = zipped.rename(tmp_path / "elsewhere.zip")
    assert asked(moved, **cache)[1:] == (folder, 1, 0)
    assert asked(SOURCES.parent, **cache)[1:] == (folder, 1, 0)


def test_a_change_in_any_kernel_voids_all(tmp_path: Path) -> None:
    cache = {"RECPIPE_CACHE": str(tmp_path / "cache")}
    copy = tmp_path / "code"
    shutil.copytree(SOURCES, copy / "recpipe")
    _, before, *_ = asked(copy, **cache)
    with (copy / "recpipe" / "kernels" / "vectors.py").open("a") as source:
        source.write("\n")
    _, after, hits, misses = asked(copy, **cache)
    assert after != before
    assert (hits, misses) == (0, 1)


def test_where_nothing_can_be_written_a_folder_of_this_users_is_used(tmp_path: Path) -> None:
    # A file where a folder should be: root may write anywhere else.
    (tmp_path / "file").touch()
    unfit = {"RECPIPE_CACHE": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    private = tmp_path / f"recpipe-{os.getuid()}"
    _, folder, *_ = asked(SOURCES.parent, **unfit)
    assert folder.is_relative_to(private)
    assert private.stat().st_mode & 0o777 == 0o700
    assert asked(SOURCES.parent, **unfit)[1:] == (folder, 1, 0)


def test_code_is_not_taken_from_a_folder_into_which_others_may_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    private = tmp_path / f"recpipe-{os.getuid()}"
    private.mkdir()
    private.chmod(0o777)
    unfit = {"RECPIPE_CACHE": str(tmp_path / "file"), "TMPDIR": str(tmp_path),
             "XDG_CACHE_HOME": str(tmp_path / "xdg")}  # fmt: skip
    _, folder, *_ = asked(SOURCES.parent, **unfit)
    assert not folder.is_relative_to(private)
    assert list(private.iterdir()) == []


def test_without_a_home_such_a_folder_is_no_better(tmp_path: Path) -> None:
    private = tmp_path / f"recpipe-{os.getuid()}"
    private.mkdir()
    private.chmod(0o777)
    homeless = {"HOME": "/nonexistent", "RECPIPE_CACHE": "", "TMPDIR": str(tmp_path),
                "XDG_CACHE_HOME": ""}  # fmt: skip
    _, folder, *_ = asked(SOURCES.parent, **homeless)
    assert not folder.is_relative_to(private)
    assert list(private.iterdir()) == []


def test_former_sources_are_removed_but_for_the_newest(tmp_path: Path) -> None:
    place = tmp_path / "cache" / "numba"
    for age in range(12):
        (place / f"kernels-{age}").mkdir(parents=True)
        os.utime(place / f"kernels-{age}", (1000 - age, 1000 - age))
    _, folder, *_ = asked(SOURCES.parent, RECPIPE_CACHE=str(tmp_path / "cache"))
    left = {path.name for path in place.iterdir()}
    assert left == {folder.name, *(f"kernels-{age}" for age in range(7))}
