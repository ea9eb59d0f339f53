"""The search for the right singular vectors of a matrix of users and items."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from recpipe.kernels.krylov import ROUNDING, largest_eigenpairs
from recpipe.models.linear.gram import check_room

if TYPE_CHECKING:
    from recpipe.kernels.krylov import Eigenpairs
    from recpipe.models.svd.blocks import CentredMatrix

_HELD_BLOCKS = 8
"""Blocks of columns after which the search begins again from the best vectors so far."""
_WORK_BLOCKS = 4
"""Further blocks of columns that are held during a step."""
_TASK_BYTES = 256 << 20
"""Bytes of all these columns up to which a task can hold them beside the ratings."""
_NARROW = 16
"""Columns of a block in a task: in float32 a cache line for each row that a product asks for."""


def right_singular_vectors(
    matrix: CentredMatrix,
    *,
    rank: int,
    oversampling: int,
    tolerance: float,
    max_passes: int,
    seed: int,
    model: str,
    limit_mb: int | None = None,
) -> Eigenpairs:
    """The squares of the largest singular values of A, and its right singular vectors.

    Where one task can hold the ratings, up to some 16 million, it makes the whole search, since a
    job takes ten times as long as the product that it is for; and it makes it by narrow blocks,
    which find the vectors by less arithmetic. Of more ratings each product is a job, and blocks are
    wide, since these find the vectors by fewer products.

    Args:
        matrix: A.
        rank: how many vectors; all of them where there are fewer items.
        oversampling: columns of a wide block beyond `rank`.
        tolerance: the residual at which it ends.
        max_passes: over the ratings by wide blocks; narrow ones get as many products as make up
            the same columns, rounded up so that there are always `rank` columns.
        seed: of the first block.
        model: for the error.
        limit_mb: the most MiB that the driver may hold, as in `check_room`; None: any.

    Raises:
        MissingError: if the driver would hold more.
    """
    n = len(matrix.blocks.items)
    rank = min(rank, n)
    wide = min(rank + oversampling, n)
    held = min(_HELD_BLOCKS * wide, n) + _WORK_BLOCKS * wide
    in_one_task = matrix.fits_a_task and n * held * 8 <= _TASK_BYTES
    width = min(_NARROW, wide) if in_one_task else wide
    search = partial(
        largest_eigenpairs,
        n=n,
        count=rank,
        width=width,
        max_width=_HELD_BLOCKS * wide,
        max_products=-(-max_passes * wide // width),
        tolerance=tolerance,
        seed=seed,
        rounding=ROUNDING[matrix.kind],
    )
    if in_one_task:
        return matrix.in_one_task(search)
    if limit_mb is not None:
        what = f"the search for {rank} singular vectors of {n} items"
        check_room(n, held, what=what, limit_mb=limit_mb, model=model)
    return search(matrix.normal_product)


__all__ = ["right_singular_vectors"]
