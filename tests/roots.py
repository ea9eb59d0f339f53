"""What makes a root, and what lies below a local one, read without Spark as others read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

DATE = ("--run-date", "2026-01-02")
RUN = (
    "--run-id", "one", *DATE, "--models", "popularity,als_explicit,sgd",
    "--set", "als.blocks=2", "--set", "als_explicit.rank=8", "--set", "als_explicit.iterations=5",
    "--set", "sgd.blocks=2", "--set", "sgd.rank=8", "--set", "sgd.epochs=2",
    "--set", "publish.model=sgd",
)  # fmt: skip
"""A pipeline of seconds in which everything is fixed that a machine could decide."""


def current(root: Path) -> dict[str, Any]:
    """What published/CURRENT.json says."""
    value: dict[str, Any] = json.loads((root / "published" / "CURRENT.json").read_text())
    return value


def manifest(root: Path, run_id: str) -> dict[str, Any]:
    """What a run says of itself."""
    value: dict[str, Any] = json.loads((root / "runs" / run_id / "manifest.json").read_text())
    return value


def published(root: Path) -> pd.DataFrame:
    """The published table: its files in the order of their names."""
    files = sorted((root / current(root)["path"]).glob("part-*.parquet"))
    table: pd.DataFrame = pq.ParquetDataset(files).read().to_pandas()
    return table


def metrics(root: Path, model: str, *, run_id: str = "one") -> dict[tuple[Any, ...], float]:
    """The metrics of one model by metric, cutoff and split."""
    rows = json.loads((root / "runs" / run_id / "metrics.json").read_text())["rows"]
    return {
        (row["metric"], row["k"], row["split"]): row["value"]
        for row in rows
        if row["model"] == model
    }


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """Every file below a root with its size and its time, to see that nothing changed."""
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
