"""How numbers are spread, from how often each occurs: bins, quantiles, shares. No Spark here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STEPS = (1, 2, 5)
"""Bins of a log scale begin at these times a power of ten: 1, 2, 5, 10, 20, 50, ..."""

_MAX_VALUES = 25
"""Distinct values that have a bar each."""

_BARS = 20
_POINTS = 40
"""Of the curve of popularity."""

_ROUND = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Shares of the items that people ask for."""


class Bin(NamedTuple):
    """`holds` numbers are at least `low` and below `high`, or equal to both where they are one."""

    low: float
    high: float
    holds: int


@dataclass(frozen=True)
class Spread:
    """How many ratings users have, or items.

    Args:
        lowest: the fewest.
        quartiles: of which a quarter, half and three quarters have no more.
        mean: in the mean.
        highest: the most.
        bins: on a log scale; a bin holds its lower end and not its upper.
    """

    lowest: int
    quartiles: tuple[int, int, int]
    mean: float
    highest: int
    bins: Sequence[Bin]


def spread_of(counts: Mapping[int, int]) -> Spread | None:
    """How a number is spread of which `counts` says how many have it; None where nobody does."""
    if not counts:
        return None
    values = np.array(sorted(counts), np.int64)
    having = np.array([counts[int(value)] for value in values], np.int64)
    below = np.cumsum(having)
    total = int(below[-1])
    first, middle, third = (
        int(values[np.searchsorted(below, math.ceil(total * share))]) for share in (0.25, 0.5, 0.75)
    )
    return Spread(
        lowest=int(values[0]),
        quartiles=(first, middle, third),
        mean=float((values * having).sum() / total),
        highest=int(values[-1]),
        bins=log_bins(counts),
    )


def log_bins(counts: Mapping[int, int]) -> list[Bin]:
    """Whole numbers from 1 in bins of 1, 2, 5, 10, 20, 50, ..., from the first that has one."""
    edges = _edges(max(counts), min(counts))
    found = [0] * (len(edges) - 1)
    places = np.searchsorted(edges, sorted(counts), side="right") - 1
    for place, value in zip(places.tolist(), sorted(counts), strict=True):
        found[place] += counts[value]
    return [Bin(low, high, n) for low, high, n in zip(edges, edges[1:], found, strict=False)]


def _edges(highest: int, lowest: int) -> list[int]:
    edges = [1]
    while edges[-1] <= highest:
        power = len(edges) // len(_STEPS)
        edges.append(_STEPS[len(edges) % len(_STEPS)] * 10**power)
    first = max(place for place, edge in enumerate(edges) if edge <= lowest)
    return edges[first:]


def value_bins(counts: Mapping[float, int]) -> list[Bin]:
    """Ratings in bins: each value its own where they are few, else twenty of one width.

    Values that spread over more than three powers of ten, as counts of plays do, have bins of a
    log scale.
    """
    values = sorted(counts)
    if len(values) <= _MAX_VALUES:
        return [Bin(value, value, counts[value]) for value in values]
    low, high = values[0], values[-1]
    if low > 0 and high / low > 10**3:
        edges = np.geomspace(low, high, _BARS + 1)
    else:
        edges = np.linspace(low, high, _BARS + 1)
    weights = [counts[value] for value in values]
    found, _ = np.histogram(values, bins=edges, weights=weights)
    return [
        Bin(float(a), float(b), round(float(n)))
        for a, b, n in zip(edges, edges[1:], found, strict=False)
    ]


def popularity(counts: Mapping[int, int]) -> list[tuple[float, float]]:
    """(share of the items, the most rated first; share of all ratings that they have), from 0 to 1.

    Exact at the shares that it gives: what lies between items of equally many ratings is on a
    straight line.

    Args:
        counts: how many items have so many ratings.
    """
    if not counts:
        return []
    values = np.array(sorted(counts, reverse=True), np.float64)
    having = np.array([counts[int(value)] for value in values], np.float64)
    items = np.concatenate([[0.0], np.cumsum(having)])
    ratings = np.concatenate([[0.0], np.cumsum(having * values)])
    # Closer where the curve is steep: near the most rated.
    wanted = np.union1d(np.round(np.linspace(0, 1, _POINTS + 1) ** 2, 6), _ROUND)
    shares = np.interp(wanted * items[-1], items, ratings) / ratings[-1]
    return [(round(float(x), 6), round(float(y), 6)) for x, y in zip(wanted, shares, strict=True)]


__all__ = ["Bin", "Spread", "log_bins", "popularity", "spread_of", "value_bins"]
