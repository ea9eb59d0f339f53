"""Similarities by name: which entries they are of, and which numbers of columns they need.

With x and y the entries of two columns, and sums over the rows (users, where columns are items):

    cosine           sum xy / sqrt(sum of all x^2 * sum of all y^2), an entry that is not there
                     being 0 (Salton; for items Sarwar et al. 2001)
    jaccard          rows that have both / rows that have either
    pearson          the correlation of x and y over the rows that have both, whose means are over
                     these rows as well (Resnick et al. 1994; Herlocker et al. 1999)
    adjusted_cosine  sum (x - m)(y - m) / sqrt(sum (x - m)^2 * sum (y - m)^2) over the rows that
                     have both, m being the mean of the row's entries (Sarwar et al. 2001)
    manhattan        1 / (1 + sum |x - y|) over the rows that have both
    euclidean        1 / (1 + sqrt(sum (x - y)^2)) over the rows that have both
    chebyshev        1 / (1 + max |x - y|) over the rows that have both

Each is multiplied by n / (n + shrinkage) for n rows that have both (Bell and Koren 2007), and is 0
below the minimum overlap. What is undefined, such as the correlation of numbers that do not vary,
is 0. Only what is above 0 makes a neighbour.

References:
    Badrul Sarwar, George Karypis, Joseph Konstan, John Riedl. Item-based Collaborative Filtering
    Recommendation Algorithms. WWW 2001.
    Jonathan Herlocker, Joseph Konstan, Al Borchers, John Riedl. An Algorithmic Framework for
    Performing Collaborative Filtering. SIGIR 1999.
    Robert Bell, Yehuda Koren. Improved Neighborhood-based Collaborative Filtering. KDD Cup 2007.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.models.neighbours.entries import Bm25, Centred, Liking
from recpipe.models.neighbours.nearest import Search

if TYPE_CHECKING:
    from recpipe.feedback import Scale
    from recpipe.models.neighbours.entries import Weighting
    from recpipe.models.neighbours.rows import Columns, Matrix
    from recpipe.models.neighbours.settings import NeighbourSettings

_OF_ENTRIES = {"cosine", "jaccard"}
"""Similarities that need no values: that an entry is there says enough."""


def liking_of(settings: NeighbourSettings, scale: Scale | None) -> Liking:
    """Which ratings are entries, and what these are; `auto` depends on the similarity."""
    values = settings.values
    if values == "auto":
        values = "likings" if settings.similarity in _OF_ENTRIES else "ratings"
    return Liking.of(values, settings.preference_from, scale)


def search_of(
    settings: NeighbourSettings, matrix: Matrix, columns: Columns, liking: Liking
) -> Search:
    """The search for the nearest columns that the settings describe.

    Args:
        settings: of the model.
        matrix: of the ratings.
        columns: of the matrix.
        liking: of `liking_of`.
    """
    from recpipe.kernels import neighbours as kernel

    weighting: Weighting | None = None
    squares = columns.squares
    if settings.weighting == "bm25":
        weighting = Bm25(columns.sums, settings.bm25_k1, settings.bm25_b)
        if settings.similarity == "cosine":
            squares = matrix.squares(columns, liking, weighting)
    if settings.similarity == "adjusted_cosine":
        weighting = Centred(weighting)
    norms = np.zeros(len(columns.ids))
    if settings.similarity == "cosine":
        kind = kernel.SCALED
        norms[squares > 0] = 1 / np.sqrt(squares[squares > 0])
    elif settings.similarity == "jaccard":
        kind, norms = kernel.JACCARD, columns.counts.astype(np.float64)
    else:
        kind = {
            "pearson": kernel.PEARSON,
            "adjusted_cosine": kernel.ADJUSTED_COSINE,
            "manhattan": kernel.MANHATTAN,
            "euclidean": kernel.EUCLIDEAN,
            "chebyshev": kernel.CHEBYSHEV,
        }[settings.similarity]
    measure = kernel.Measure(kind, norms, norms, settings.min_overlap, settings.shrinkage)
    return Search(liking, weighting, measure, settings.k)


__all__ = ["liking_of", "search_of"]
