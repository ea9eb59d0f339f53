"""User and item biases by conjugate gradients, with the user biases eliminated.

Minimise  sum w (r - mean - b_u - b_i)^2 + L_u sum b_u^2 + L_i sum b_i^2.  For given item biases the
best user bias is a weighted mean of what they leave over; put into the equations of the items,

    S b_i = e,   S = D_i + L_i - A' (D_u + L_u)^-1 A,

with A the users x items matrix of the weights w of ratings (1 where none are given), D the sums of
its rows and columns, and e likewise of weighted values. S is applied
user by user and never formed. All sums are float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Sums: TypeAlias = Callable[
        [NDArray[np.float64] | None], tuple[NDArray[np.float64], NDArray[np.float64]]
    ]
    """Two arrays (width,) from all ratings. Without x: the weight of each item's ratings, and
    `eliminated` of the ratings less their mean. With x the first is of no meaning, and the second
    is `eliminated` of x at each rating's item."""


class Solution(NamedTuple):
    """The biases of the items.

    Args:
        counts: (width,) weights of the ratings of each item.
        biases: (width,) 0 for items without ratings.
        steps: of conjugate gradients.
    """

    counts: NDArray[np.float64]
    biases: NDArray[np.float64]
    steps: int


def item_biases(
    sums: Sums, *, regularization: float, tolerance: float, max_products: int
) -> Solution:
    """The item biases, by whatever way the sums over all ratings are made.

    Args:
        sums: over all ratings.
        regularization: L_i.
        tolerance: of `conjugate_gradients`.
        max_products: of `conjugate_gradients`.

    Raises:
        ArithmeticError: if they do not converge.
    """
    counts, right = sums(None)

    def product(x: NDArray[np.float64]) -> NDArray[np.float64]:
        image: NDArray[np.float64] = sums(x)[1] + regularization * x
        return image

    # Numbers below the width that no rating has would divide by 0.
    diagonal = np.maximum(counts + regularization, 1.0)
    biases, steps = conjugate_gradients(
        product, right, diagonal, tolerance=tolerance, max_products=max_products
    )
    return Solution(counts, biases, steps)


def user_means(
    values: NDArray[np.float64],
    starts: NDArray[np.int64],
    *,
    regularization: float,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """The bias of each user: the sum of its values over their number + regularization.

    With weights the weighted sum, over the sum of weights + regularization.

    Args:
        values: (ratings,) what is left to explain, users one after the other.
        starts: (users,) where each user starts; none is empty.
        regularization: L_u.
        weights: (ratings,) of the values; None: each is 1.
    """
    if not len(starts):
        return np.zeros(0)
    counts = np.diff(np.append(starts, len(values)))
    if weights is not None:
        counts, values = np.add.reduceat(weights, starts), weights * values
    sums: NDArray[np.float64] = np.add.reduceat(values, starts)
    return sums / (counts + regularization)


def eliminated(
    items: NDArray[np.int32],
    values: NDArray[np.float64],
    starts: NDArray[np.int64],
    *,
    width: int,
    regularization: float,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(width,) weighted sums over each item's ratings of the value less its user's `user_means`."""
    counts = np.diff(np.append(starts, len(values)))
    means = user_means(values, starts, regularization=regularization, weights=weights)
    left = values - np.repeat(means, counts)
    if weights is not None:
        left *= weights
    sums: NDArray[np.float64] = np.bincount(items, weights=left, minlength=width).astype(np.float64)
    return sums


def conjugate_gradients(
    product: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    right: NDArray[np.float64],
    diagonal: NDArray[np.float64],
    *,
    tolerance: float,
    max_products: int,
) -> tuple[NDArray[np.float64], int]:
    """Solve S x = right for a symmetric, positive semi-definite S.

    Args:
        product: x to S x.
        right: the right side, in the range of S.
        diagonal: preconditioner; positive.
        tolerance: the residual's norm over that of `right` at which it is solved.
        max_products: products allowed.

    Returns:
        x, and the number of products taken.

    Raises:
        ArithmeticError: if it is not solved within `max_products` products.
    """
    # Squares of numbers below 1e-154 would be 0. A power of two changes no digit of the others.
    exponent = int(np.frexp(np.abs(right).max(initial=0.0))[1])
    x = np.zeros_like(right)
    residual = np.ldexp(right, -exponent)
    goal = tolerance * float(np.linalg.norm(residual))
    scaled = residual / diagonal
    direction = scaled.copy()
    energy = float(residual @ scaled)
    for taken in range(max_products + 1):
        if float(np.linalg.norm(residual)) <= goal:
            return np.ldexp(x, exponent), taken
        image = product(direction)
        step = energy / float(direction @ image)
        x += step * direction
        residual -= step * image
        scaled = residual / diagonal
        energy, before = float(residual @ scaled), energy
        direction = scaled + (energy / before) * direction
    raise not_solved(max_products)


def not_solved(max_products: int) -> ArithmeticError:
    """What is raised where so many products did not suffice."""
    return ArithmeticError(f"not solved in {max_products} steps")


__all__ = [
    "Solution", "conjugate_gradients", "eliminated", "item_biases", "not_solved",
    "user_means",
]  # fmt: skip
