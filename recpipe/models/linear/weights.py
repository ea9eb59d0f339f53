"""The weights of EASE: from a Gram matrix to a table, and from a table to scores."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.errors import FitError
from recpipe.kernels import ids
from recpipe.kernels import topn as kernel
from recpipe.kernels.gram import TILE, column_tiles, sparse_product, tiled_product
from recpipe.ranking.histories import HISTORY_KINDS, histories_of, packed_histories
from recpipe.ranking.scorer import DenseScorer
from recpipe.spark.columns import as_array, batch_of, factor_rows, factor_schema
from recpipe.spark.interactions import arrays_of, buckets_for, together, unpaired
from recpipe.spark.streamed import streamed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.ranking.histories import Histories
    from recpipe.ranking.user_batch import UserBatch

    Batches = Iterator[pa.RecordBatch]
    Ints = NDArray[np.int32]
    Doubles = NDArray[np.float64]

WEIGHTS = "item int, weights binary"
"""A row an item j: the float32 weights B_ij of all items i, ascending."""

FACTORS = "item int, factors binary, own float"
"""A row an item j: the float32 factors y_j / (1 - y_j . y_j), and as `own` the weight that the
formula gives item j for itself. Scores must leave it out, since B_jj = 0."""

_BLOCK_BYTES = 64 << 20
"""Bytes of weights that the driver computes at a time, in float64."""


def singular(what: str) -> FitError:
    """The error where the matrix of `what` has no inverse in the precision of float64."""
    return FitError(f"ease: the matrix of {what} is singular", hint="raise ease.regularization")


# -- a matrix of items ------------------------------------------------------------------------


@contextmanager
def item_weights(
    spark: SparkSession, items: Ints, gram: Doubles, penalty: float
) -> Iterator[DataFrame]:
    """WEIGHTS of a Gram matrix of items, while the `with` lasts.

    The matrix is inverted in place. Blocks of its columns are broadcast, which keeps them on the
    disks of driver and executors, and tasks turn each block into rows.

    Args:
        spark: the session.
        items: (n,) ascending: the item of each row and column of `gram`.
        gram: (n, n) the upper triangle of X'X; overwritten.
        penalty: added to the diagonal.

    Raises:
        FitError: if it cannot be inverted in the precision of float64.
    """
    inverse = _inverted(gram, penalty)
    step = max(1, _BLOCK_BYTES // (8 * len(items)))
    with ExitStack() as at_the_end:
        blocks: list[Broadcast[tuple[Ints, NDArray[np.float32]]]] = []
        for first in range(0, len(items), step):
            own = np.arange(first, min(first + step, len(items)))
            # Only what lies above the diagonal is filled.
            above = np.arange(len(items)) >= own[:, None]
            columns = np.where(above, inverse[own], inverse[:, own].T)
            weights = columns / -columns[np.arange(len(own)), own][:, None]
            weights[np.arange(len(own)), own] = 0
            blocks.append(spark.sparkContext.broadcast((items[own], weights.astype(np.float32))))
            at_the_end.callback(blocks[-1].destroy)
        numbers = spark.range(0, len(blocks), 1, len(blocks))
        yield numbers.mapInArrow(partial(_weight_rows, blocks=blocks), WEIGHTS)


def _inverted(gram: Doubles, penalty: float) -> Doubles:
    """The inverse of `gram` + penalty I, in the memory of `gram`; its upper triangle is filled."""
    from scipy.linalg import lapack

    gram[np.diag_indices(len(gram))] += penalty
    # LAPACK stores matrices by column, so our upper triangle is the lower one to it.
    lower, failed = lapack.dpotrf(gram.T, lower=1, overwrite_a=1, clean=0)
    if not failed:
        lower, failed = lapack.dpotri(lower, lower=1, overwrite_c=1)
    if failed:
        raise singular("items")
    inverse: Doubles = lower.T
    return inverse


def _weight_rows(
    batches: Batches, *, blocks: list[Broadcast[tuple[Ints, NDArray[np.float32]]]]
) -> Batches:
    for batch in batches:
        for number in batch.column("id").to_pylist():
            items, weights = blocks[number].value
            rows = [row.tobytes() for row in weights]
            yield batch_of(WEIGHTS, items, rows)


@dataclass(frozen=True, eq=False)
class ItemWeights(DenseScorer):
    """Scores of a block of items by their weights.

    Args:
        items: (I,) of the block, ascending.
        rows: (n,) all items, ascending: what a history may hold.
        tiles: the (n, I) columns of B that belong to the block, as `gram.column_tiles` has them.
    """

    items: Ints
    rows: Ints
    tiles: NDArray[np.float32]

    @classmethod
    def of(cls, block: DataFrame, *, rows: Ints) -> ItemWeights:
        """The scorer of some rows of WEIGHTS, brought to the driver."""
        items = np.sort(block.select("item").toArrow().column("item").to_numpy())
        tiles = column_tiles(len(items), len(rows))
        for row in streamed(block.select("item", "weights")):
            at = int(np.searchsorted(items, row["item"]))
            tiles[at // TILE, :-1, at % TILE] = np.frombuffer(row["weights"], np.float32)
        return cls(items, rows, tiles)

    def shares(self, history: Ints, values: NDArray[np.float32], columns: Ints) -> Doubles:
        """See `reasons.Explainer`: x_i B_ij."""
        rows = ids.positions(self.rows, history)
        weights = self.tiles[(columns // TILE)[:, None], rows, (columns % TILE)[:, None]]
        shares: Doubles = np.multiply(values, weights, dtype=np.float64)
        return shares

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        assert batch.histories is not None  # noqa: S101 - what the model asks for
        offsets, items, values = batch.histories
        places = ids.positions(self.rows, items)
        return tiled_product(offsets, places, values, self.tiles, width=len(self.items))


# -- a matrix of users ------------------------------------------------------------------------


def factor_weights(
    transposed: DataFrame, users: Ints, gram: Doubles, *, penalty: float
) -> tuple[DataFrame, DataFrame]:
    """Vectors of users and FACTORS of items, from a Gram matrix of users.

    With C C' = XX' + penalty I, the factors of an item are y = C^-1 x, for its column x of X, and
    the vector of a user is the sum of those of the user's items: a column of C^-1 XX', which is
    C' - penalty C^-1.

    Args:
        transposed: X' as (user int, item int, value float): `user` holds items, `item` users.
        users: (n,) ascending: the user of each row and column of `gram`.
        gram: (n, n) the upper triangle of XX'; overwritten.
        penalty: added to the diagonal.

    Returns:
        (user int, factors array<float>, bias float), and FACTORS.

    Raises:
        FitError: if the matrix cannot be factorised in the precision of float64.
    """
    from scipy.linalg import lapack

    spark = transposed.sparkSession
    gram[np.diag_indices(len(gram))] += penalty
    factor, failed = lapack.dpotrf(gram.T, lower=1, overwrite_a=1, clean=1)
    inverse, not_inverted = lapack.dtrtri(factor, lower=1) if not failed else (factor, failed)
    if failed or not_inverted:
        raise singular("users")
    context = spark.sparkContext
    vectors = np.ascontiguousarray((factor.T - penalty * inverse).T, np.float32)
    of_users = context.broadcast((users, vectors))
    of_items = context.broadcast((users, np.ascontiguousarray(inverse.T)))
    buckets = buckets_for(spark)
    packed = together([packed_histories(transposed, buckets=buckets)], buckets=buckets)
    return (
        spark.range(0, len(users), 1, max(1, min(buckets, len(users)))).mapInArrow(
            partial(_user_rows, sent=of_users), factor_schema("user")
        ),
        packed.mapInArrow(partial(_item_rows, sent=of_items), FACTORS),
    )


def _user_rows(batches: Batches, *, sent: Broadcast[tuple[Ints, NDArray[np.float32]]]) -> Batches:
    users, vectors = sent.value
    for batch in batches:
        at = batch.column("id").to_numpy()
        yield factor_rows("user", users[at], vectors[at], np.zeros(len(at), np.float32))


def _item_rows(batches: Batches, *, sent: Broadcast[tuple[Ints, Doubles]]) -> Batches:
    (arrays,) = arrays_of(batches, [HISTORY_KINDS])
    if not len(arrays.keys):
        return
    users, inverse = sent.value
    items = ids.distinct(unpaired(arrays.keys)[0])
    # The matrix is transposed here: its rows are items, and its columns are users.
    histories = histories_of(arrays, items)
    at = ids.positions(users, histories.items)
    y = sparse_product(histories.offsets, at, histories.values.astype(np.float64), inverse)
    norms = np.einsum("jk,jk->j", y, y)
    factors = (y / (1 - norms)[:, None]).astype(np.float32)
    own = (norms / (1 - norms)).astype(np.float32)
    yield batch_of(FACTORS, items, [row.tobytes() for row in factors], own)


def weights_of(
    batch: pa.RecordBatch, *, items: Ints
) -> Iterator[tuple[int, Ints, NDArray[np.float32]]]:
    """In a task: of some rows of WEIGHTS each item, all items, and the weight of each for it."""
    for item, weights in zip(*batch.columns, strict=True):
        yield item.as_py(), items, as_array(weights, np.float32)


def vector_rows(batches: Batches) -> Batches:
    """In a task: rows of `factor_schema("item")`, y_j of each of some rows of FACTORS."""
    for batch in batches:
        if len(batch):
            items, y = _items_and_vectors(batch)
            yield factor_rows("item", items, y, np.zeros(len(y), np.float32))


def item_vectors(block: DataFrame) -> tuple[Ints, NDArray[np.float32]]:
    """The items of some rows of FACTORS, ascending, and y_j of each: (items, users)."""
    return _items_and_vectors(block.select("item", "factors", "own").toArrow().sort_by("item"))


def _items_and_vectors(rows: pa.Table | pa.RecordBatch) -> tuple[Ints, NDArray[np.float32]]:
    """As `item_vectors`, in the order of the rows."""
    factors = np.stack([as_array(row, np.float32) for row in rows.column("factors")])
    # own is y . y / (1 - y . y), so this is y / (1 - y . y) times 1 - y . y.
    own = rows.column("own").to_numpy().astype(np.float64)
    return rows.column("item").to_numpy(), (factors / (1 + own)[:, None]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class VectorSums:
    """The vectors of new users: sums of the y_j of what they have taken up. A bias is 0.

    Args:
        vectors: (items, users) y_j.
    """

    vectors: NDArray[np.float32]

    def __call__(self, rows: Histories) -> NDArray[np.float32]:
        sums = sparse_product(rows.offsets, rows.items, rows.values, self.vectors)
        return np.column_stack([sums, np.zeros(len(sums), np.float32)])


@dataclass(frozen=True, eq=False)
class FactorShares:
    """What explains scores by factors: `reasons.Explainer`. B_ij is y_i . y_j / (1 - y_j . y_j).

    Args:
        items: all items, ascending.
        vectors: (items, users) y of each.
    """

    items: Ints
    vectors: NDArray[np.float32]

    def shares(self, history: Ints, values: NDArray[np.float32], columns: Ints) -> Doubles:
        """See `reasons.Explainer`: x_i B_ij."""
        rows = ids.positions(self.items, history)
        known, listed = self.vectors[np.maximum(rows, 0)], self.vectors[columns].astype(np.float64)
        norms = np.einsum("jk,jk->j", listed, listed)
        weights = (listed / (1 - norms)[:, None]) @ known.T
        weights[rows[None, :] == columns[:, None]] = 0
        shares: Doubles = np.where(rows >= 0, values * weights, 0)
        return shares


@dataclass(frozen=True, eq=False)
class FactorWeights(DenseScorer):
    """Scores of a block of items by factors, without the weight of an item for itself.

    Args:
        panels: of the items.
        own: (I,) the weight of each item for itself, which is to be 0.
    """

    panels: kernel.Panels
    own: NDArray[np.float32]

    @property
    def items(self) -> Ints:  # type: ignore[override]
        return self.panels.items

    @classmethod
    def of(cls, block: DataFrame) -> FactorWeights:
        """The scorer of some rows of FACTORS, brought to the driver."""
        table = block.select("item", "factors", "own").toArrow().combine_chunks().sort_by("item")
        factors = np.stack([as_array(row, np.float32) for row in table.column("factors")])
        items, own = (table.column(name).to_numpy() for name in ("item", "own"))
        return cls(kernel.Panels.of(items, factors, np.zeros(len(items), np.float32)), own)

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        assert batch.vectors is not None  # noqa: S101 - what the model asks for
        assert batch.histories is not None  # noqa: S101
        factors = np.ascontiguousarray(batch.vectors[:, :-1])
        none = np.zeros(len(factors), np.float32)
        scores = kernel.all_products(self.panels, factors, none)
        offsets, items, values = batch.histories
        columns = ids.positions(self.items, items)
        here: Any = columns >= 0
        rows = np.repeat(np.arange(len(factors)), np.diff(offsets))
        scores[rows[here], columns[here]] -= values[here] * self.own[columns[here]]
        return scores


__all__ = [
    "FACTORS",
    "WEIGHTS",
    "FactorShares",
    "FactorWeights",
    "ItemWeights",
    "factor_weights",
    "item_weights",
    "singular",
    "vector_rows",
    "weights_of",
]  # fmt: skip
