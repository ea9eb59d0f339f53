"""The embeddings of features that explain given factors best: a sparse ridge regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from scipy import sparse

    Doubles = NDArray[np.float64]

_TOLERANCE = 1e-6
"""The residual of a solved column, as a share of the length of its right side."""
_MAX_STEPS = 200


def ridge(
    features: sparse.csr_matrix,
    targets: Doubles,
    weights: Doubles,
    penalty: float,
    *,
    start: Doubles,
) -> Doubles:
    """(f, k) E that minimises the sum over rows i of w_i |t_i - (F E)_i|^2, plus penalty |E|^2.

    Its normal equations, (F'WF + penalty I) E = F'W T, are solved by conjugate gradients for all
    columns side by side, with the diagonal as preconditioner: no matrix of features x features is
    made. A step takes time by the entries of F times k.

    Args:
        features: (n, f) F.
        targets: (n, k) T.
        weights: (n,) w, not negative.
        penalty: above 0.
        start: (f, k) where the search begins.
    """
    transposed = features.T.tocsr()

    def product(given: Doubles) -> Doubles:
        found: Doubles = transposed @ (weights[:, None] * (features @ given)) + penalty * given
        return found

    diagonal = np.asarray(transposed.multiply(transposed) @ weights).ravel() + penalty
    return _solved(product, transposed @ (weights[:, None] * targets), diagonal, start)


def _solved(
    product: Callable[[Doubles], Doubles], right: Doubles, diagonal: Doubles, start: Doubles
) -> Doubles:
    """Conjugate gradients with Jacobi's preconditioner (Golub and Van Loan 2013, ch. 11).

    Columns are independent systems; all go on until each is solved, or `_MAX_STEPS` are made.
    """
    x = start.copy()
    left = right - product(x)
    scale = np.sqrt(np.square(right).sum(axis=0))
    scaled = left / diagonal[:, None]
    direction = scaled.copy()
    size = (left * scaled).sum(axis=0)
    for _ in range(_MAX_STEPS):
        if (np.sqrt(np.square(left).sum(axis=0)) <= _TOLERANCE * scale).all():
            break
        image = product(direction)
        curvature = (direction * image).sum(axis=0)
        step = np.divide(size, curvature, out=np.zeros_like(size), where=curvature > 0)
        x += step * direction
        left -= step * image
        scaled = left / diagonal[:, None]
        new = (left * scaled).sum(axis=0)
        direction = (
            scaled + np.divide(new, size, out=np.zeros_like(size), where=size > 0) * direction
        )
        size = new
    return x


__all__ = ["ridge"]
