"""EASE for more items than a dense matrix can be held of: for each item a regression on k others.

With the Gram matrix G, d_i = G_ii + lambda, and S = D^-1/2 (G + lambda I) D^-1/2, whose diagonal
is 1, N(j) are the k items with the largest S_ij, those above 0 unless k is all others, and the
weights for item j are those of the ridge regression of its column on theirs, which is exact:

    B_Nj = D_N^-1/2 S_NN^-1 S_Nj d_j^1/2   and 0 for all other items.

That is a sparse approximate inverse of a given pattern (Kolotilina and Yeremin 1993), column by
column: each needs a small Cholesky factor alone, and with all items in N(j) it is that of EASE.

S is sparse too: of each column its `_ENTRIES` k largest entries are there. Tasks find them by
blocks of columns as the nearest items are found (`neighbours.nearest`), so nothing of items x items
is ever made; an entry that one of its two items keeps is there for both. Entries that are not above
0, such as of ratings below 0, are not kept.

The aim is that of SANSA (Spisak et al. 2023), which has one incomplete factor of all of
G + lambda I in place of many small ones.

References:
    Lily Kolotilina, Aleksey Yeremin. Factorized Sparse Approximate Inverse Preconditionings I.
    SIAM Journal on Matrix Analysis and Applications 14 (1), 1993.
    Martin Spisak, Radek Bartyzal, Antonin Hoskovec, Ladislav Peska, Miroslav Tuma. Scalable
    Approximate NonSymmetric Autoencoder for Collaborative Filtering. RecSys 2023.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from recpipe.kernels import ids
from recpipe.models.linear.dealing import dealt
from recpipe.models.neighbours.nearest import Search, nearest
from recpipe.models.neighbours.rows import packed_matrix
from recpipe.models.neighbours.scorer import ITEMS
from recpipe.models.neighbours.tables import as_items
from recpipe.spark.columns import arrow_rows
from recpipe.spark.streamed import streamed

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.neighbours.entries import Liking
    from recpipe.storage import Folder, Stored

_ENTRIES = 4
"""Entries that a column of S keeps, times k; with more, no list that was looked at changed."""
WEIGHT_BYTES = 2 * _ENTRIES * (4 + 4)
"""Bytes of S for a weight, at most: an entry is there for both of its items."""

_AUTO_DENSITY, _AUTO_WEIGHTS = 0.01, 500
_FIRST_SHIFT = 1e-3
"""Added to the diagonal of a matrix that is not positive definite, and doubled until it is."""


def max_weights(items: int, density: float | Literal["auto"]) -> int:
    """k: the most weights for an item, a share of all others, at least one.

    auto: a hundredth, at most 500, since time grows with the cube.
    """
    if density == "auto":
        return min(_AUTO_WEIGHTS, max(1, math.ceil(_AUTO_DENSITY * (items - 1))))
    return max(1, math.ceil(density * (items - 1)))


class _Sent(NamedTuple):
    """What all tasks are sent.

    Args:
        items: (n,) ascending: the item of each row and column of S.
        scales: (n,) d_i^-1/2.
        starts: (n + 1,) where in `rows` each column of S starts.
        rows: of each entry off the diagonal, ascending in a column.
        values: of each.
    """

    items: NDArray[np.int32]
    scales: NDArray[np.float64]
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    values: NDArray[np.float32]


def write_sparse_weights(
    histories: Stored,
    scratch: Folder,
    name: str,
    *,
    liking: Liking,
    penalty: float,
    k: int,
    model: str,
) -> None:
    """Write `scorer.ITEMS`, the sparse weights of EASE.

    Every Python worker holds `WEIGHT_BYTES` for each weight, and the driver, while it brings the
    entries of both items together, up to three times as much. Time grows with the sum over users
    of the square of their items, and with the items times the cube of k.

    Args:
        histories: (user int, item int, value float): X.
        scratch: where it is written.
        name: of the table.
        liking: which values are entries of X, and what these are.
        penalty: lambda.
        k: weights for an item, of `max_weights`.
        model: for errors.

    Raises:
        FitError: if there is nothing to fit.
    """
    from recpipe.kernels.neighbours import SCALED, Measure

    with packed_matrix(histories) as matrix:
        columns = matrix.columns(liking, model=model)
        scales = 1 / np.sqrt(columns.squares + penalty)
        search = Search(liking, None, Measure(SCALED, scales, scales, 1, 0.0), _ENTRIES * k)
        found = nearest(matrix, columns, search, shape=as_items, schema=ITEMS)
        given = _Sent(columns.ids, scales, *_symmetric(found, columns.ids))
    sent = scratch.spark.sparkContext.broadcast(given)
    work = partial(_weight_rows, sent=sent, k=k)
    scratch.write_table(name, dealt(scratch.spark, len(given.items), work, ITEMS))
    sent.destroy()


def _symmetric(
    found: DataFrame, items: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Starts, rows and values of S off its diagonal, from the entries that each item keeps."""
    from scipy import sparse

    keys: list[int] = []
    sources: list[NDArray[np.int32]] = []
    numbers: list[NDArray[np.float32]] = []
    for row in streamed(found.select("item", "sources", "numbers")):
        keys.append(row["item"])
        sources.append(np.frombuffer(row["sources"], np.int32))
        numbers.append(np.frombuffer(row["numbers"], np.float32))
    owners = np.repeat(
        ids.positions(items, np.array(keys, np.int32)), [len(each) for each in sources]
    )
    places = ids.positions(items, np.concatenate(sources))
    kept = sparse.csc_matrix((np.concatenate(numbers), (places, owners)), (len(items), len(items)))
    # Of both items an entry is the same number, or it is not there.
    both: Any = kept.maximum(kept.T).tocsc()
    both.sort_indices()
    return both.indptr.astype(np.int64), both.indices.astype(np.int32), both.data


def _weight_rows(own: range, *, sent: Broadcast[_Sent], k: int) -> pa.RecordBatch:
    """In a task: `scorer.ITEMS` of some items."""
    given = sent.value
    found = [_regression(given, column, k) for column in own]
    sources = np.concatenate([chosen for chosen, _ in found])
    return arrow_rows(
        ITEMS,
        np.cumsum([len(chosen) for chosen, _ in found]),
        given.items[own],
        given.items[sources],
        np.concatenate([weights for _, weights in found]).astype(np.float32),
        # Of ratings, which are not predicted.
        np.zeros(len(own)),
    )


def _regression(given: _Sent, column: int, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """N(j), ascending by place, and the weights of its items for item j, which is `column`."""
    from scipy.linalg import lapack

    from recpipe.kernels.gram import submatrix

    own = slice(given.starts[column], given.starts[column + 1])
    entries = np.zeros(len(given.items))
    entries[given.rows[own]] = given.values[own]
    if k < len(entries) - 1:
        # Rows ascend: of equal entries the lower items are taken.
        largest = np.argsort(-given.values[own], kind="stable")[:k]
        chosen = np.sort(given.rows[own][largest]).astype(np.int64)
    else:
        # All others, those that share no user with the item, too.
        chosen = np.delete(np.arange(len(entries)), column)
    right = entries[chosen]
    if not len(chosen):
        return chosen, right
    matrix = submatrix(given.starts, given.rows, given.values, chosen)
    shift = 0.0
    while True:
        # Without its small entries S need not be positive definite; it is once the shift is large.
        matrix[np.diag_indices(len(chosen))] = 1 + shift
        _, weights, failed = lapack.dposv(matrix.T, right, lower=1)
        if not failed:
            return chosen, weights * given.scales[chosen] / given.scales[column]
        shift = max(_FIRST_SHIFT, 2 * shift)


__all__ = ["WEIGHT_BYTES", "max_weights", "write_sparse_weights"]
