"""The most rated items of a run, with what a fitted model has learned of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

from recpipe.report import NEIGHBOURS_AMONG, Item, ItemVectors
from recpipe.stages.context import Context, ratings_of, table
from recpipe.stages.fit import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from pyspark.sql import DataFrame

    from recpipe.models.base import FittedModel
    from recpipe.storage import Run

logger = logging.getLogger(__name__)


def known_items(context: Context, run: Run) -> ItemVectors | None:
    """The vectors of the most rated items, with their titles; None where no model has vectors.

    They are those of the published model, or else of the first in `publish.prefer` that has some;
    as fitted on all ratings where there is such a fit.
    """
    for name, path in _fits(context, run):
        try:
            model = load(context, path)
            vectors = model.item_vectors()
            if vectors is not None:
                return _read(model, vectors.rows, context, run)
        except Exception as error:  # noqa: BLE001 - a page without the map is better than none
            logger.warning("the page shows no map of items: %s: %s", name, error)
            return None
    return None


def _fits(context: Context, run: Run) -> Iterator[tuple[str, str]]:
    """Name and path of what was fitted, in the order in which it is looked at."""
    final = run.manifest.get("final") or {}
    fitted = run.manifest.get("models") or {}
    first = run.manifest.get("recommended") or (run.manifest.get("chosen") or {}).get("model")
    for name in dict.fromkeys([first, *context.settings.publish.prefer, *fitted]):
        if name in final:
            yield name, final[name]["path"]
        elif name in fitted and fitted[name].get("folds"):
            yield name, fitted[name]["folds"][0]["path"]


def _read(model: FittedModel, vectors: DataFrame, context: Context, run: Run) -> ItemVectors | None:
    """One query: counts, ids, titles and vectors of no more items than the page shows."""
    counts = ratings_of(context, run).frame.groupBy("item").agg(F.count("*").alias("ratings"))
    top = counts.join(vectors, "item").orderBy(F.desc("ratings"), "item").limit(NEIGHBOURS_AMONG)
    named = table(context, run, "items").join(F.broadcast(top), "item")
    if "movies" in run.manifest["tables"]:
        movies = table(context, run, "movies").select("item_id", "title", "genres")
        named = named.join(movies, "item_id", "left")
    rows = named.toArrow().sort_by([("ratings", "descending"), ("item", "ascending")])
    if not len(rows):
        return None
    flat = rows["factors"].combine_chunks().flatten().to_numpy()
    width = len(flat) // len(rows)
    found = np.asarray(flat, np.float32).reshape(len(rows), width)
    return ItemVectors(model.name, list(_items(rows)), found)


def _items(rows: pa.Table) -> Iterator[Item]:
    columns = [name for name in rows.schema.names if name != "factors"]
    for row in rows.select(columns).to_pylist():
        name = row.get("title") or f"item {row['item_id']}"
        yield Item(name, tuple(row.get("genres") or ()), row["ratings"])
