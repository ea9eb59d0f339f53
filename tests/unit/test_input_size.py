from __future__ import annotations

import bz2
import gzip
import zipfile
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recpipe.runtime.input_size import text_bytes

if TYPE_CHECKING:
    from pathlib import Path

ENOUGH = 1 << 40
TEXT = b"".join(b"%d,%d,%.1f,%d\n" % (i % 97, i % 89, i % 10 / 2, 10**9 + i) for i in range(20_000))


def size(place: Path) -> int | None:
    return text_bytes(place, enough=ENOUGH)


def test_text_is_as_long_as_it_is_and_what_is_not_there_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "ratings.csv").write_bytes(TEXT)
    (tmp_path / "movies.csv").write_bytes(b"1,x\n")
    assert size(tmp_path / "a" / "ratings.csv") == len(TEXT)
    assert size(tmp_path) == len(TEXT) + 4
    assert size(tmp_path / "none") is None
    assert size(tmp_path / "*.csv") is None


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "zip", "gzip in zip", "parquet", "named .csv"])
def test_what_is_compressed_counts_as_at_least_its_text(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "ratings"
    if kind in {"gzip", "named .csv"}:
        file = tmp_path / ("ratings.csv" if kind == "named .csv" else "ratings.gz")
        file.write_bytes(gzip.compress(TEXT))
    elif kind == "bzip2":
        file.write_bytes(bz2.compress(TEXT))
    elif kind == "parquet":
        rows = [line.split(b",") for line in TEXT.splitlines()]
        numbers = {str(i): pa.array([float(row[i]) for row in rows], "float64") for i in range(4)}
        pq.write_table(pa.table(numbers), file, compression="zstd")
    else:
        inner = ("ratings.csv", TEXT) if kind == "zip" else ("r.csv.gz", gzip.compress(TEXT))
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(*inner)
    assert file.stat().st_size < len(TEXT)
    counted = size(file)
    assert counted is not None
    assert counted >= len(TEXT)


def test_linked_folders_count_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "ratings.csv").write_bytes(TEXT)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "link").symlink_to(tmp_path / "real")
    assert size(tmp_path / "source") == len(TEXT)
    (tmp_path / "source" / "circle").symlink_to(tmp_path / "source")
    assert text_bytes(tmp_path / "source", enough=3 * len(TEXT)) is not None


def test_the_sum_stops_where_it_is_enough(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(TEXT)
    counted = text_bytes(tmp_path, enough=len(TEXT))
    assert counted == 2 * len(TEXT)


def test_a_broken_zip_is_not_taken_for_a_small_input(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04" + b"x" * 100)
    assert size(tmp_path / "x.zip") == 1040
