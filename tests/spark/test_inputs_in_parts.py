"""A table written in any way and cut into parts, one of them damaged: right rows, or a refusal.

Each example costs Spark jobs, so there are few of them, and each draws much: what is recognised of
a single file is held by properties in tests/unit/test_dialects.py.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recpipe.errors import InputError
from tests.spark.test_inputs import reading, rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = 1_400_000_000
_UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_DAMAGES = ("none", "gzip cut off", "0 bytes", "no text", "a column of another name")
_NAMES = {
    "user": ("userId", "reviewerID"), "item": ("movieId", "asin"),
    "rating": ("rating", "overall"), "timestamp": ("timestamp", "unixReviewTime"),
}  # fmt: skip


def table(rows: int, *, step: float) -> list[dict[str, object]]:
    """Distinct pairs, each value of the scale among them, in the order of time."""
    return [
        {
            "user": f"u{n % 7}", "item": n // 7, "rating": 1 + step * (n % 5), "timestamp": T + n,
            "note": f'it, {n}: "so\nso"' if n % 9 == 0 else "so; so",
        }
        for n in range(rows)
    ]  # fmt: skip


def as_csv(
    rows: list[dict[str, object]],
    order: list[str],
    names: dict[str, str],
    *,
    delimiter: str,
    unit: int,
) -> str:
    def cell(name: str, row: dict[str, object]) -> str:
        if name == "timestamp":
            return str(int(str(row[name])) * unit)
        text = str(row[name]).replace('"', '""')
        return f'"{text}"' if name == "note" else text

    lines = [delimiter.join(names.get(name, name) for name in order)]
    lines += [delimiter.join(cell(name, row) for name in order) for row in rows]
    return "\n".join(lines) + "\n"


def as_json(
    rows: list[dict[str, object]], order: list[str], names: dict[str, str], *, unit: int
) -> str:
    def values(row: dict[str, object]) -> dict[str, object]:
        row = {**row, "timestamp": int(str(row["timestamp"])) * unit}
        return {names.get(name, name): row[name] for name in order}

    return "".join(json.dumps(values(row)) + "\n" for row in rows)


@settings(
    max_examples=6, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(data=st.data())
def test_parts_give_the_right_rows_or_the_name_of_the_one_that_is_damaged(
    spark: SparkSession, data: st.DataObject
) -> None:
    written = data.draw(st.sampled_from([",", ";", "json"]), "delimiter")
    unit = data.draw(st.sampled_from(list(_UNITS.values())), "unit")
    step = data.draw(st.sampled_from([0.5, 1.0, 20.0]), "step")
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), "encoding")
    zipped = data.draw(st.lists(st.booleans(), min_size=3, max_size=3), "gzipped")
    damage = data.draw(st.sampled_from(_DAMAGES), "damage")
    at = data.draw(st.integers(0, 2), "damaged part")
    names = {field: data.draw(st.sampled_from(known), field) for field, known in _NAMES.items()}
    rows = table(90, step=step)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        suffix = ".json" if written == "json" else ".csv"
        damaged = ""
        for part in range(3):
            order = data.draw(st.permutations([*names, "note"]), f"order of part {part}")
            own = dict(names)
            if part == at and damage == "a column of another name":
                own["item"] = "what"
            some = rows[part * 30 : part * 30 + 30]
            if written == "json":
                text = as_json(some, order, own, unit=unit)
            else:
                text = as_csv(some, order, own, delimiter=written, unit=unit)
            content = text.encode(encoding)
            packed = zipped[part] or (part == at and damage == "gzip cut off")
            name = f"part-{part}{suffix}" + ".gz" * packed
            content = gzip.compress(content) if packed else content
            if part == at and damage != "none":
                damaged = name
                if damage == "gzip cut off":
                    content = content[: len(content) * 2 // 3]
                elif damage == "0 bytes":
                    content = b""
                elif damage == "no text":
                    content = b"\0\1\2" * 300
            (source / name).write_bytes(content)
        if damaged:
            with (
                pytest.raises(InputError) as raised,
                reading(spark, source, Path(folder) / "root"),
            ):
                pass
            assert damaged in str(raised.value)
            return
        with reading(spark, source, Path(folder) / "root") as (found, ignored):
            given_rows = rows_of(found)
    assert not ignored
    assert given_rows == {
        (str(row["user"]), str(row["item"])): (
            float(str(row["rating"])),
            int(str(row["timestamp"])),
        )
        for row in rows
    }
