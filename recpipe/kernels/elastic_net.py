"""Elastic nets of the columns of a matrix on all its other columns, from its Gram matrix alone.

For column j of a matrix A with the Gram matrix G = A'A the weights w minimise

    1/2 |a_j - A w|^2 + l2 / 2 |w|^2 + l1 |w|_1   with   w_j = 0, and w >= 0 where asked for.

Cyclic coordinate descent: with the gradient g = G_j - G w of the fit, weight i becomes

    S(g_i + G_ii w_i) / (G_ii + l2)   where   S(x) = sign(x) max(|x| - l1, 0)

and 0 in place of a negative weight where none is allowed (Friedman et al. 2010, "covariance
updates"). Most weights are 0, so the sweeps go over a small active set alone, whose part of G and g
is kept close together; in between, all other weights are looked at, and those that would move most
join the set, until none would.

References:
    Jerome Friedman, Trevor Hastie, Robert Tibshirani. Regularization Paths for Generalized Linear
    Models via Coordinate Descent. Journal of Statistical Software 33 (1), 2010.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import boolean, float64, int64, njit, types

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

_GRAM = types.Array(float64, 2, "C", readonly=True)

_FIRST = 32
"""Weights that join an empty active set at most; a larger set at most doubles."""


class Net(NamedTuple):
    """What is asked for.

    Args:
        l1: see the module; at least 0.
        l2: see the module; at least 0.
        positive: whether weights below 0 are not allowed.
        nearest: only so many weights, of the columns of the largest cosine with column j, may be
            other than 0; at equal cosines the lower columns. 0: all may.
        max_sweeps: over the active sets of a column, after which its weights are taken as they are.
        tolerance: a sweep in which no weight changed by more is the last one of an active set, and
            a weight joins where it would change by more.
    """

    l1: float
    l2: float
    positive: bool
    nearest: int
    max_sweeps: int
    tolerance: float


NET = types.NamedTuple((float64, float64, boolean, int64, int64, float64), Net)


class Solved(NamedTuple):
    """The weights of one column.

    Args:
        rows: (k,) which are not 0, ascending.
        weights: (k,) of these.
        sweeps: how many were made.
        finished: whether no weight would change by more than the tolerance; False where
            `max_sweeps` ended the work.
    """

    rows: NDArray[np.int64]
    weights: Doubles
    sweeps: int
    finished: bool


def solve_column(gram: Doubles, column: int, net: Net) -> Solved:
    """The elastic net of one column on the others.

    Time grows with the number of columns times the weights that are not 0, and with the square of
    these times the sweeps; memory with the square of the active set.

    Args:
        gram: (n, n) symmetric, both triangles filled, its diagonal above 0.
        column: j.
        net: what is asked for.
    """
    allowed = np.ones(len(gram), np.bool_)
    if 0 < net.nearest < len(gram) - 1:
        # The column's own norm is the same for all.
        cosines = gram[column] / np.sqrt(gram.diagonal())
        cosines[column] = -np.inf
        allowed[:] = False
        allowed[np.argsort(-cosines, kind="stable")[: net.nearest]] = True
    allowed[column] = False
    weights = np.zeros(len(gram))
    sweeps, finished = _descend(gram, column, allowed, net, weights)
    rows = np.flatnonzero(weights)
    return Solved(rows, weights[rows], sweeps, finished)


@njit(float64(float64, NET), cache=True, nogil=True)
def _shrunk(x: float, net: Net) -> float:
    """S(x), and 0 for a negative x where none is allowed."""
    if x > net.l1:
        return x - net.l1
    if not net.positive and x < -net.l1:
        return x + net.l1
    return 0.0


@njit(int64(_GRAM, boolean[::1], float64[::1], NET, int64[::1], int64), cache=True, nogil=True)
def _join(
    gram: Doubles,
    allowed: NDArray[np.bool_],
    gradient: Doubles,
    net: Net,
    active: NDArray[np.int64],
    size: int,
) -> int:
    """Take the weights that would change most into the active set; returns its size then.

    As many join as are in it at most, or `_FIRST`, and what ties with the last of them.
    """
    n = len(gram)
    met, steps, count = np.empty(n, np.int64), np.empty(n), 0
    for i in range(n):
        if allowed[i]:
            step = abs(_shrunk(gradient[i], net)) / (gram[i, i] + net.l2)
            if step > net.tolerance:
                met[count], steps[count] = i, step
                count += 1
    room, least = max(_FIRST, size), 0.0
    if count > room:
        least = np.partition(steps[:count], count - room)[count - room]
    for at in range(count):
        if steps[at] >= least:
            active[size] = met[at]
            allowed[met[at]] = False
            size += 1
    return size


@njit(
    types.Tuple((int64, boolean))(
        _GRAM, int64[::1], float64[::1], float64[::1], float64[::1], NET, int64
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _settle(
    gram: Doubles,
    active: NDArray[np.int64],
    gradient: Doubles,
    weights: Doubles,
    own: Doubles,
    net: Net,
    sweeps: int,
) -> tuple[int, bool]:
    """Sweep over an active set until it is settled or there are no sweeps left.

    Its weights go to `own`; `weights` and `gradient`, of all columns, stay as they were.

    Returns:
        How many sweeps there were, `sweeps` included, and whether the set is settled.
    """
    size = len(active)
    part, slopes = np.empty((size, size)), np.empty(size)
    for a in range(size):
        own[a], slopes[a] = weights[active[a]], gradient[active[a]]
        for b in range(size):
            part[a, b] = gram[active[a], active[b]]
    while sweeps < net.max_sweeps:
        sweeps += 1
        largest = 0.0
        for a in range(size):
            weight = _shrunk(slopes[a] + part[a, a] * own[a], net) / (part[a, a] + net.l2)
            change = weight - own[a]
            if change != 0:
                own[a] = weight
                largest = max(largest, abs(change))
                for b in range(size):
                    slopes[b] -= change * part[a, b]
        if largest <= net.tolerance:
            return sweeps, True
    return sweeps, False


@njit(
    types.Tuple((int64, boolean))(_GRAM, int64, boolean[::1], NET, float64[::1]),
    cache=True, nogil=True,
)  # fmt: skip
def _descend(
    gram: Doubles, column: int, allowed: NDArray[np.bool_], net: Net, weights: Doubles
) -> tuple[int, bool]:
    """Fill `weights`; returns how many sweeps there were, and whether all weights are settled.

    While a weight is in the active set it is not `allowed`, so that it cannot join twice.
    """
    gradient = gram[column].copy()
    active, size, sweeps = np.empty(len(gram), np.int64), 0, 0
    while True:
        larger = _join(gram, allowed, gradient, net, active, size)
        if larger == size:
            return sweeps, True
        own = np.empty(larger)
        sweeps, settled = _settle(gram, active[:larger], gradient, weights, own, net, sweeps)
        size = 0
        for a in range(larger):
            i = active[a]
            change = own[a] - weights[i]
            if change != 0:
                weights[i] = own[a]
                for other in range(len(gram)):
                    gradient[other] -= change * gram[i, other]
            # A weight of 0 leaves the set.
            allowed[i] = own[a] == 0
            if own[a] != 0:
                active[size] = i
                size += 1
        if not settled:
            return sweeps, False


__all__ = ["Net", "Solved", "solve_column"]
