"""The releases that `recpipe data list` shows."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from recpipe.datasets.catalogue import list_table, release, releases
from recpipe.errors import UsageError


def test_all_promised_releases_are_known() -> None:
    assert set(releases()) == {
        "100k", "1m", "10m", "20m", "25m", "32m", "latest-small", "latest",
    }  # fmt: skip


def test_every_checksum_is_well_formed_and_names_its_source() -> None:
    digits = {"md5": 32, "sha256": 64}
    for entry in releases().values():
        assert (entry.checksum is None) == (entry.source is None)
        if entry.checksum is not None:
            algorithm, _, digest = entry.checksum.partition(":")
            assert re.fullmatch(rf"[0-9a-f]{{{digits[algorithm]}}}", digest)


def test_releases_that_their_publisher_replaces_have_no_checksum_of_ours() -> None:
    assert release("latest").checksum is None
    assert release("latest-small").checksum is None


def test_a_release_is_found_by_its_file_name_too() -> None:
    assert release("ml-25m") is release("25m")
    assert release("ML-Latest-Small").file == "ml-latest-small.zip"


def test_an_unknown_release_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="100k, 1m, 10m, 20m, 25m, 32m, latest-small, latest"):
        release("30m")


def test_the_table_says_where_each_checksum_comes_from() -> None:
    console = Console(width=250)
    with console.capture() as capture:
        console.print(list_table())
    lines = capture.get().splitlines()
    line = {entry: next(at for at in lines if f" {entry} " in at) for entry in ("25m", "latest")}
    assert "25,000,095" in line["25m"]
    assert "262.0 MB" in line["25m"]
    assert "(TensorFlow Datasets)" in line["25m"]
    assert "the first download's is kept" in line["latest"]
