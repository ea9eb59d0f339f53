"""The kernel of nearest columns, held to the formulas of its module in plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from recpipe.kernels import neighbours as kernel
from recpipe.kernels.best import Top

ROWS, COLUMNS, K = 60, 23, 5


def entries(*, binary: bool) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) which entries there are, and their values; the last column has none."""
    draw = np.random.default_rng(11)
    there = draw.random((ROWS, COLUMNS)) < 0.3
    there[:, -1] = False
    # Few different values, some of them negative: similarities tie.
    values = np.ones(there.shape) if binary else draw.integers(-2, 4, there.shape).astype(float)
    return there, np.where(there, values, 0)


def sparse(there: np.ndarray, values: np.ndarray, kind: type[Any], *, binary: bool) -> kernel.Rows:
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    columns = np.nonzero(there)[1].astype(kind)
    return kernel.Rows(
        offsets, columns, np.empty(0, np.float32) if binary else values[there].astype(np.float32)
    )


def similarity(kind: int, x: np.ndarray, y: np.ndarray, left: float, right: float) -> float:
    n, products = len(x), x @ y
    if kind == kernel.SCALED:
        return float(left * right * products)
    if kind == kernel.JACCARD:
        return n / (left + right - n)
    if kind == kernel.PEARSON:
        varied = (n * x @ x - x.sum() ** 2) * (n * y @ y - y.sum() ** 2)
        return float((n * products - x.sum() * y.sum()) / math.sqrt(varied)) if varied > 0 else 0.0
    if kind == kernel.ADJUSTED_COSINE:
        squares = (x @ x) * (y @ y)
        return float(products / math.sqrt(squares)) if squares > 0 else 0.0
    distances = abs(x - y)
    return 1 / (1 + float({
        kernel.MANHATTAN: distances.sum(),
        kernel.EUCLIDEAN: math.sqrt((distances**2).sum()),
        kernel.CHEBYSHEV: distances.max(),
    }[kind]))  # fmt: skip


def expected(
    there: np.ndarray, values: np.ndarray, measure: kernel.Measure
) -> list[list[tuple[int, np.float32]]]:
    found = []
    for one in range(COLUMNS):
        near = []
        for other in range(COLUMNS):
            both = there[:, one] & there[:, other]
            if one == other or both.sum() < max(measure.overlap, 1):
                continue
            alike = similarity(
                measure.kind, values[both, one], values[both, other],
                measure.left[one], measure.right[other],
            )  # fmt: skip
            trust = both.sum() / (both.sum() + measure.shrinkage)
            near.append((other, np.float32(trust * alike)))
        near = [pair for pair in near if pair[1] > 0]
        found.append(sorted(near, key=lambda pair: (-pair[1], pair[0]))[:K])
    return found


def in_blocks(rows: kernel.Rows, measure: kernel.Measure, *, symmetric: bool) -> Top:
    """Three blocks, put together as the tasks do."""
    whole = Top.empty(COLUMNS, K)
    for first, last in ((0, 4), (4, 15), (15, COLUMNS)):
        some = kernel.nearest(
            rows, np.arange(ROWS), range(first, last), measure, k=K, symmetric=symmetric
        )
        _, items, scores = some.filled()
        kernel.merge(some.sizes.astype(np.int32), items, scores, first, whole)
    return whole


KINDS = ("SCALED", "JACCARD", "PEARSON", "ADJUSTED_COSINE", "MANHATTAN", "EUCLIDEAN", "CHEBYSHEV")


@pytest.mark.parametrize("same", [True, False], ids=["one scale", "two scales"])
@pytest.mark.parametrize("shape", [(1, 0.0), (4, 2.5)], ids=["any", "overlap and shrinkage"])
@pytest.mark.parametrize("symmetric", [True, False], ids=["pairs once", "whole rows"])
@pytest.mark.parametrize("width", [np.int32, np.uint16])
@pytest.mark.parametrize("name", KINDS)
def test_the_nearest_are_those_of_the_formulas(
    name: str, width: type[Any], *, symmetric: bool, shape: tuple[int, float], same: bool
) -> None:
    kind = getattr(kernel, name)
    for binary in (False, True) if kind in {kernel.SCALED, kernel.JACCARD} else (False,):
        there, values = entries(binary=binary)
        left = there.sum(axis=0).astype(float)
        right = left if same or kind == kernel.JACCARD else np.linspace(1, 3, COLUMNS)
        measure = kernel.Measure(kind, left, right, *shape)
        top = in_blocks(sparse(there, values, width, binary=binary), measure, symmetric=symmetric)
        for column, due in enumerate(expected(there, values, measure)):
            size = top.sizes[column]
            assert top.items[column, :size].tolist() == [item for item, _ in due]
            scores = np.array([score for _, score in due], np.float32)
            assert np.allclose(top.scores[column, :size], scores, rtol=1e-6)


def test_bits_do_not_depend_on_blocks_or_on_the_type_of_places() -> None:
    there, values = entries(binary=False)
    norms = 1 / np.linspace(1, 7, COLUMNS)
    measure = kernel.Measure(kernel.SCALED, norms, norms, 1, 0.0)
    found = set()
    for width in (np.int32, np.uint16):
        rows = sparse(there, values, width, binary=False)
        whole = kernel.nearest(rows, np.arange(ROWS), range(COLUMNS), measure, k=K, symmetric=False)
        for top in (
            whole, in_blocks(rows, measure, symmetric=True),
            in_blocks(rows, measure, symmetric=False),
        ):  # fmt: skip
            row, items, scores = top.filled()
            found.add((row.tobytes(), items.tobytes(), scores.tobytes()))
    assert len(found) == 1
