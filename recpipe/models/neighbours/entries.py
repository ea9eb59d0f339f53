"""The entries of the matrix between whose columns similarities are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from recpipe.feedback import liked_from

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recpipe.feedback import LikedFrom, Scale
    from recpipe.kernels.neighbours import Rows

_ZERO = 1e-9
"""The share of a rating up to which its distance from the mean is a rounding error."""


@dataclass(frozen=True)
class Liking:
    """Which values of ratings are entries of the matrix, and what these are.

    Args:
        lowest: values below it are no entries; None: all values are.
        binary: whether every entry is 1 in place of its value.
    """

    lowest: float | None
    binary: bool

    @classmethod
    def of(
        cls,
        values: Literal["likings", "ratings"],
        preference_from: LikedFrom,
        scale: Scale | None,
    ) -> Liking:
        """As the settings `values` and `preference_from` say; `scale` is None if implicit."""
        if values == "ratings":
            return cls(None, binary=False)
        return cls(liked_from(preference_from, scale), binary=True)

    def entries(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(n,) which values are entries."""
        if self.lowest is None:
            return np.ones(len(values), bool)
        return values >= np.float32(self.lowest)


class Weighting(Protocol):
    """Turns the entries of whole rows into others; arrays and scalars only, as tasks get it."""

    def __call__(self, rows: Rows) -> NDArray[np.float32]:
        """(n,) the weighted entries."""
        ...


def numbers_of(rows: Rows) -> NDArray[np.float64]:
    """(n,) the entries, each 1 where rows have no values."""
    if not len(rows.values):
        return np.ones(len(rows.columns))
    return rows.values.astype(np.float64)


def _row_sums(rows: Rows, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows,) each summed in the order of its entries."""
    owner = np.repeat(np.arange(len(rows.offsets) - 1), np.diff(rows.offsets))
    sums: NDArray[np.float64] = np.zeros(len(rows.offsets) - 1)
    np.add.at(sums, owner, numbers)
    return sums


@dataclass(frozen=True, eq=False)
class Bm25:
    """Okapi BM25 with columns as documents, and rows as terms.

    An entry x of a row with d entries, in a column whose entries have the sum l, becomes

        x (k1 + 1) / (x + k1 (1 - b + b l / mean l)) * log(1 + (N - d + 0.5) / (d + 0.5))

    for N columns; the logarithm, which cannot be negative, is Lucene's. What is not above 0 becomes
    0. A user with a long history says less of each item, and so does an item of many entries.

    Args:
        lengths: (columns,) the sum of the entries of each.
        k1: the lower it is, the less a high entry counts above a low one.
        b: how much the length of a column counts, from 0 to 1.

    References:
        Stephen Robertson, Hugo Zaragoza. The Probabilistic Relevance Framework: BM25 and Beyond.
        Foundations and Trends in Information Retrieval 3 (4), 2009.
    """

    lengths: NDArray[np.float64]
    k1: float
    b: float

    def __call__(self, rows: Rows) -> NDArray[np.float32]:
        x = np.maximum(numbers_of(rows), 0)
        mean = self.lengths.sum() / max(1, np.count_nonzero(self.lengths))
        norm = self.k1 * (1 - self.b + self.b * self.lengths / (mean or 1))
        sizes = np.diff(rows.offsets)
        rarity = np.log1p((len(self.lengths) - sizes + 0.5) / (sizes + 0.5))
        length = norm[rows.columns]
        weighted = np.where(x > 0, x * (self.k1 + 1) / np.where(x > 0, x + length, 1), 0)
        found: NDArray[np.float64] = weighted * np.repeat(rarity, sizes)
        return found.astype(np.float32)


@dataclass(frozen=True)
class Centred:
    """Each entry less the mean of its row.

    Args:
        first: what is done with the entries before; None: nothing.
    """

    first: Weighting | None = None

    def __call__(self, rows: Rows) -> NDArray[np.float32]:
        sizes = np.diff(rows.offsets)
        x = numbers_of(rows) if self.first is None else self.first(rows).astype(np.float64)
        means = _row_sums(rows, x) / np.maximum(sizes, 1)
        centred = x - np.repeat(means, sizes)
        # A row whose ratings are all equal says nothing, whatever its mean is rounded to.
        centred[np.abs(centred) <= _ZERO * np.abs(x)] = 0
        return centred.astype(np.float32)


@dataclass(frozen=True)
class Step:
    """Entries whose products over a row are those of a walk that passes through the row.

    A walk goes from an item to one of its users with probability x / (sum over the item), and from
    there to one of the user's items with x / (sum over the user), each to the power of alpha. An
    entry becomes x^alpha / (sum over the row)^(alpha / 2), and the sum over the item is left to the
    scale of its column. What is not above 0 becomes 0.

    Args:
        alpha: the power.
    """

    alpha: float

    def __call__(self, rows: Rows) -> NDArray[np.float32]:
        x = np.maximum(numbers_of(rows), 0)
        sums = np.repeat(_row_sums(rows, x), np.diff(rows.offsets))
        positive = x > 0
        stepped = np.zeros(len(x))
        stepped[positive] = (x[positive] / np.sqrt(sums[positive])) ** self.alpha
        return stepped.astype(np.float32)


__all__ = ["Bm25", "Centred", "Liking", "Step", "Weighting", "numbers_of"]
