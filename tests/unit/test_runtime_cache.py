from __future__ import annotations

import os
from pathlib import Path

import pytest

from recpipe.runtime import cache


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of our own and no settings of the cache."""
    for name in ("RECPIPE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


class TestCacheFolder:
    def test_is_below_the_home(self, tmp_path: Path) -> None:
        assert cache.cache_folder() == tmp_path / "home" / ".cache" / "recpipe"

    def test_follows_xdg_and_before_it_our_own_variable(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
        assert cache.cache_folder() == Path("/xdg/recpipe")
        monkeypatch.setenv("RECPIPE_CACHE", "/own")
        assert cache.cache_folder() == Path("/own")

    def test_a_relative_folder_means_where_the_process_started(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("RECPIPE_CACHE", "cache")
        assert cache.cache_folder() == tmp_path / "cache"

    def test_without_a_home_is_among_the_temporary_files_and_the_users_own(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", "/nonexistent")
        assert cache.cache_folder().name == f"recpipe-{os.getuid()}"
