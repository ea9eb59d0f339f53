from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recpipe.errors import MissingError
from recpipe.runtime import jars

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECPIPE_DELTA_JARS", raising=False)


class TestDeltaJars:
    @pytest.fixture
    def pinned(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """Two small jars, pinned, in the cache."""
        monkeypatch.setenv("RECPIPE_CACHE", str(tmp_path / "cache"))
        folder = jars.delta_folder()
        folder.mkdir(parents=True)
        for name in ("a.jar", "b.jar"):
            (folder / name).write_bytes(name.encode())
        pins = {name: jars.file_digest(folder / name) for name in ("a.jar", "b.jar")}
        monkeypatch.setattr(jars, "DELTA_JARS", pins)
        return folder

    def test_are_those_of_the_cache_in_the_order_of_the_pins(self, pinned: Path) -> None:
        assert jars.delta_jars() == [pinned / "a.jar", pinned / "b.jar"]

    def test_a_missing_one_is_named_with_what_to_do(self, pinned: Path) -> None:
        (pinned / "b.jar").unlink()
        with pytest.raises(MissingError, match=r"b\.jar is missing") as caught:
            jars.delta_jars()
        assert "recpipe.runtime.jars" in caught.value.hint

    def test_a_cut_one_is_refused(self, pinned: Path) -> None:
        (pinned / "a.jar").write_bytes(b"a.")
        with pytest.raises(MissingError, match=r"a\.jar: not the pinned jar"):
            jars.delta_jars()

    def test_another_folder_can_be_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("delta-spark_4.2_2.13-4.4.0.jar", "delta-storage-4.4.0.jar", "notes.txt"):
            (tmp_path / name).touch()
        monkeypatch.setenv("RECPIPE_DELTA_JARS", str(tmp_path))
        assert [jar.suffix for jar in jars.delta_jars()] == [".jar", ".jar"]

    def test_the_jars_themselves_can_be_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        first, second = tmp_path / "delta-spark_4.2_2.13-4.4.0.jar", tmp_path / "other.jar"
        monkeypatch.setenv("RECPIPE_DELTA_JARS", f"{first}, {second}")
        first.touch()
        with pytest.raises(MissingError, match=r"no file .*other\.jar"):
            jars.delta_jars()
        second.touch()
        assert jars.delta_jars() == [first, second]

    def test_a_folder_without_delta_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("RECPIPE_DELTA_JARS", str(tmp_path))
        with pytest.raises(MissingError, match="no delta-spark jar"):
            jars.delta_jars()
