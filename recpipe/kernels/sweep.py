"""The inverse of a symmetric positive definite matrix in tiles, by the sweep operator.

Nothing is compiled: NumPy, and LAPACK through SciPy.

Swept by some of its rows and the same columns, K, a symmetric matrix A becomes

    A_KK <- -A_KK^-1,   A_iK <- A_iK A_KK^-1,   A_ij <- A_ij - A_iK A_KK^-1 A_Kj,

which is symmetric again, and swept by all of them, in any order, it is -A^-1. That is Gauss and
Jordan's elimination in place, and takes the operations of an inverse by Cholesky, n^3 for n rows,
since half of the matrix is all that is needed.

With the Cholesky factor L of A_KK and the panel V of K, whose parts are

    V_K = L^-1   and   V_i = L^-1 A_Ki,

every tile follows from one product, V_i' V_j: see `swept`. A_KK is what the rows swept so far leave
of a positive definite matrix, and so positive definite itself: nothing has to be exchanged.

References:
    James Goodnight. A Tutorial on the SWEEP Operator. The American Statistician 33 (3), 1979.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]


def pivot_part(tile: Doubles) -> Doubles | None:
    """V_K = L^-1, lower triangular; None for a tile that is not positive definite in float64.

    Args:
        tile: (k, k) A_KK.
    """
    from scipy.linalg import lapack

    factor, failed = lapack.dpotrf(tile, lower=1, clean=1)
    inverse, singular = lapack.dtrtri(factor, lower=1) if not failed else (factor, failed)
    return None if failed or singular else np.ascontiguousarray(inverse)


def swept(tile: Doubles, left: Doubles, right: Doubles, *, pivots: int) -> Doubles:
    """(a, b) tile (i, j) of a matrix once it is swept by K.

    Args:
        tile: (a, b) as it was.
        left: (k, a) V_i.
        right: (k, b) V_j.
        pivots: how many of i and j are K.
    """
    product: Doubles = left.T @ right
    if pivots == 1:
        return product
    return np.negative(product, out=product) if pivots else np.subtract(tile, product, out=product)


__all__ = ["pivot_part", "swept"]
