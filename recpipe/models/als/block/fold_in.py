"""Factors of users that the fit has not seen, by the same solve as its last half-iteration."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.errors import MissingError, UsageError
from recpipe.kernels.ids import positions
from recpipe.kernels.normal_equations import gram, width
from recpipe.models.als.block.model import BlockAls, BlockAlsImplicit
from recpipe.models.als.block.packing import Rows
from recpipe.models.als.block.solving import Solve
from recpipe.spark.columns import factor_rows, factor_schema
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.factors import FactorModel
    from recpipe.spark.columns import Batches

    Floats = NDArray[np.float32]
    Known = tuple[NDArray[np.int32], Floats, Floats]


def fold_in(model: FactorModel, ratings: DataFrame) -> DataFrame:
    """(user, factors, bias): factors of the users of `ratings`, given the model's item factors.

    Every user is solved from these ratings alone, exactly, whichever solver the fit had; so for a
    user whose ratings are those of train the factors are the model's own. Ratings of items that
    the model does not know are passed over, and a user without any other gets no row.

    Args:
        model: fitted by `BlockAls` or `BlockAlsImplicit`.
        ratings: (user, item, rating), mapped to preference and confidence as for the fit.

    Raises:
        UsageError: if another model made it.
        MissingError: if the item factors exceed the guard `max_broadcast_mb`.
    """
    again = model.refit()
    if not isinstance(again, BlockAls | BlockAlsImplicit):
        raise UsageError(f"{model.name}: no fold-in", hint="fit block_als or block_als_implicit")
    size = model.items * width(model.rank) * 4 / 2**20
    if size > again.settings.max_broadcast_mb:
        raise MissingError(
            f"{model.name}: item factors take {size:.0f} MiB in every worker, above"
            f" max_broadcast_mb = {again.settings.max_broadcast_mb}",
            hint="raise max_broadcast_mb if driver and workers have the memory",
        )
    known = ratings.sparkSession.sparkContext.broadcast(_known(model))
    plan = Solve(again.name, again.objective(), "cholesky", cg_steps=1, seed=0)
    return (
        frame_of(again.fed(ratings))
        .select("user", "item", "rating")
        .repartition("user")
        .sortWithinPartitions("user", "item", "rating")
        .mapInArrow(partial(_fold, known=known, plan=plan), factor_schema("user"))
    )


def _known(model: FactorModel) -> Known:
    """Ids of the items, ascending, their factors, and the sum of their products."""
    table = frame_of(model.item_factors).select("item", "factors").toArrow().combine_chunks()
    ids = table.column("item").to_numpy()
    order = np.argsort(ids)
    values = table.column("factors").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    factors = np.zeros((len(ids), width(model.rank)), np.float32)
    factors[:, : model.rank] = values.reshape(len(ids), model.rank)[order]
    return ids[order].astype(np.int32), factors, gram(factors).astype(np.float32)


def _fold(batches: Batches, *, known: Broadcast[Known], plan: Solve) -> Batches:
    """Rows that come sorted by user, a batch at a time; the last user of a batch may go on."""
    rest: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        users = batch.column("user").to_numpy()
        start = int(np.searchsorted(users, users[-1]))
        if start or (rest and rest[-1].column("user")[0].as_py() != users[-1]):
            yield from _solved([*rest, batch.slice(0, start)], known.value, plan)
            rest = []
        rest.append(batch.slice(start))
    yield from _solved(rest, known.value, plan)


def _solved(batches: list[pa.RecordBatch], known: Known, plan: Solve) -> Batches:
    ids, factors, base = known
    arrays: list[NDArray[Any]] = [
        np.concatenate([batch.column(name).to_numpy() for batch in batches])
        if batches
        else np.empty(0, np.int32)
        for name in ("user", "item", "rating")
    ]
    place = positions(ids, arrays[1].astype(np.int32))
    user, rating = (array[place >= 0] for array in (arrays[0], arrays[2]))
    if not len(user):
        return
    found, own = np.unique_inverse(user)
    rows = Rows.of(
        own.astype(np.int32), place[place >= 0], rating.astype(np.float32), rows=len(found)
    )
    if not plan.objective.implicit:
        base = np.zeros_like(base)
    solved, bad = plan.rows(rows, factors, base, None)
    if bad >= 0:
        raise ValueError(f"user {found[bad]} is not determined; raise regularization")
    rank = plan.objective.rank
    none = np.zeros(len(found), np.float32)
    yield factor_rows("user", found.astype(np.int32), solved[:, :rank], none)


__all__ = ["fold_in"]
