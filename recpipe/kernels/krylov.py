"""The largest eigenpairs of a symmetric matrix that is known by its products alone. NumPy only."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

ROUNDING = {np.float32: 1e-6, np.float64: 1e-13}
"""By the kind of numbers in which products are taken: what is so much smaller than the largest
eigenvalue is rounding, and no direction."""
_NOISE = 10
"""Once vectors were taken off a matrix, what is left of it is rounding up to so many times
`ROUNDING` of the largest eigenvalue: that of taking off adds to that of the products."""


class Eigenpairs(NamedTuple):
    """What `largest_eigenpairs` found.

    Args:
        values: (k,) descending.
        vectors: (n, k) orthonormal columns.
        products: how often the matrix was multiplied with a block, of whatever width.
        residual: the largest |M v - value v| of the k pairs, over the largest value.
    """

    values: Doubles
    vectors: Doubles
    products: int
    residual: float


def largest_eigenpairs(  # noqa: PLR0913 - a matrix, what is wanted of it, and what it may cost
    product: Callable[[Doubles], Doubles],
    n: int,
    *,
    count: int,
    width: int,
    max_width: int,
    max_products: int,
    tolerance: float,
    seed: int,
    rounding: float = ROUNDING[np.float64],
) -> Eigenpairs:
    """The `count` largest eigenvalues of a positive semi-definite M, and their vectors.

    A random block X_1 is multiplied with M over and over, and each product, made orthonormal to all
    blocks so far, is the next block: X_1, X_2, ... span everything that a subspace iteration from
    X_1 passes through (Halko, Martinsson, Shkolnisky and Tygert 2011, "An algorithm for the
    principal component analysis of large data sets"). The best vectors in that span are those of
    the small matrix T = X' M X (Rayleigh-Ritz). They are better than the last iterate alone: their
    number of products grows with the inverse square root of the gap between eigenvalues, not with
    its inverse (Musco and Musco 2015, "Randomized block Krylov methods"). Where the blocks are as
    wide together as is allowed, they are replaced by the `count` + `width` best vectors so far, as
    in the thick restart of Wu and Simon (2000).

    Wide blocks take the fewest products, narrow ones the fewest columns in all. A block narrower
    than `count` sees no more vectors of one eigenvalue than it has columns, and finds those of
    lower eigenvalues in their stead. So what a narrow block has found is taken off the matrix, and
    a further block looks for the largest eigenvalue of what is left. Where that is above the least
    that was found, the search is made again by blocks of `count` columns.

    Memory is n x (max_width + 4 w) float64, w being the larger of `count` and `width`; time is
    n x max_width x width for each product.

    Args:
        product: (n, w) X to M X, for any w up to the larger of `count` and `width`.
        n: rows and columns of M.
        count: eigenpairs wanted, at most n.
        width: columns of a block.
        max_width: columns of all blocks, at least `count` + `width` and those of one block.
        max_products: products allowed, of `width` columns; where the search is made again, products
            of as many columns in all are allowed once more.
        tolerance: `Eigenpairs.residual` at which it ends.
        seed: of the first block.
        rounding: of the products: `ROUNDING` of the numbers in which they are taken.
    """
    search = partial(_search, n=n, rounding=rounding)

    def near(values: Doubles, left: float) -> bool:
        return left <= tolerance * max(float(values[0]), 0.0)

    def by_blocks(width: int, products: int) -> Eigenpairs:
        return search(
            product, count=count, width=width, max_width=max_width, max_products=products,
            near=near, random=np.random.default_rng(seed),
        )  # fmt: skip

    found = by_blocks(width, max_products)
    spare = max_products - found.products
    if width >= count or found.residual > tolerance or count == n or not spare:
        return found
    vectors, scale = found.vectors, float(found.values[0])
    enough = float(found.values[-1]) + tolerance * scale

    def without_found(dense: Doubles) -> Doubles:
        dense = dense - vectors @ (vectors.T @ dense)
        image = product(dense)
        return image - vectors @ (vectors.T @ image)

    def decided(values: Doubles, left: float) -> bool:
        """Whether it is known on which side of `enough` the largest value of the rest lies."""
        value = float(values[0])
        # Ritz values only grow; and a rest of mere rounding has no value that counts.
        if value > enough or left <= _NOISE * rounding * scale:
            return True
        # While `left` is not small beside the value, the vector is still much like the random ones
        # of the first block. Once it is, the value is the largest, since that is met first, and is
        # off by about left^2 / value.
        return left <= tolerance**0.25 * value and value + left * left / value <= enough

    rest = search(
        without_found, count=1, width=width, max_width=max(max_width - count, 2 * width + 1),
        max_products=spare, near=decided, random=np.random.default_rng([seed, 1]),
    )  # fmt: skip
    products = found.products + rest.products
    if rest.values[0] > enough:
        found = by_blocks(count, -(-max_products * width // count))
        products += found.products
    return found._replace(products=products)


def _search(  # noqa: PLR0913 - as above
    product: Callable[[Doubles], Doubles],
    *,
    n: int,
    count: int,
    width: int,
    max_width: int,
    max_products: int,
    near: Callable[[Doubles, float], bool],
    random: np.random.Generator,
    rounding: float,
) -> Eigenpairs:
    """The search of `largest_eigenpairs` from one random block, as far as its columns can see.

    It ends after `max_products`, or once there are `count` pairs and `near` says that they are good
    enough. `near` is given all values so far, descending, and the largest |M v - value v| of the
    first `count`. `random` draws the block, and columns where products lead to fewer directions
    than a block has.
    """
    basis, small = np.empty((n, 0)), np.empty((0, 0))
    block = _filled(basis, basis, min(width, n), random)
    for products in range(1, max_products + 1):
        image = product(block)
        basis = np.hstack([basis, block])
        known = basis.T @ image
        image -= basis @ known
        small = _bordered(small, known)
        values, weights = np.linalg.eigh(small)
        values, weights = values[::-1], weights[:, ::-1]
        # M V = V T + the image that is left, which the last block alone has made.
        left, sizes, mixed = np.linalg.svd(image, full_matrices=False)
        ends = (sizes[:, None] * mixed) @ weights[-block.shape[1] :, :count]
        scale = max(float(values[0]), 0.0)
        residual = float(np.linalg.norm(ends, axis=0).max(initial=0.0))
        seen, whole = basis.shape[1] >= count, basis.shape[1] == n
        if whole or (seen and near(values, residual)) or products == max_products:
            break
        if basis.shape[1] + width > max_width:
            basis = basis @ weights[:, : count + width]
            small = np.diag(values[: count + width])
        directions = left[:, sizes > rounding * scale]
        block = _filled(basis, directions, min(width, n - basis.shape[1]), random)
    return Eigenpairs(
        np.maximum(values[:count], 0.0),
        basis @ weights[:, :count],
        products,
        residual / scale if scale else 0.0,
    )


def _bordered(small: Doubles, columns: Doubles) -> Doubles:
    """T with the columns of a further block, and its rows."""
    before, size = len(small), len(columns)
    grown = np.empty((size, size))
    grown[:before, :before] = small
    grown[:, before:] = columns
    grown[before:, :before] = columns[:before].T
    own = grown[before:, before:]
    own[:] = (own + own.T) / 2
    return grown


def _filled(
    basis: Doubles, directions: Doubles, width: int, random: np.random.Generator
) -> Doubles:
    """(n, width) orthonormal, and orthogonal to `basis`: the directions, then random ones.

    A matrix with fewer directions than a block has columns, or with equal eigenvalues, would
    otherwise end the search before `count` are found.
    """
    block = directions[:, :width]
    lacking = random.standard_normal((len(basis), width - block.shape[1]))
    block = np.hstack([block, lacking])
    # Once is not enough: what is left of a column may be small beside what was taken away.
    for _ in range(2):
        block = block - basis @ (basis.T @ block)
        block = np.linalg.qr(block)[0]
    return block


__all__ = ["ROUNDING", "Eigenpairs", "largest_eigenpairs"]
