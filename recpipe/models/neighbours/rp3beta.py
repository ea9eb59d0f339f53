"""RP3beta: a random walk of three steps whose ends are divided by popularity (Christoffel 2015).

A walk goes from a user to one of the user's items i, from there to one of its users v, and from
there to one of that user's items j. With x_vi what user v has of item i, and all of it in a row or
column as its degree d, each step but the first is taken to the power of alpha, and the end is
divided by the popularity of j, its number of entries n_j, to the power of beta:

    w_ij = sum over users v of (x_vi / d_i)^alpha (x_vj / d_v)^alpha / n_j^beta   for i != j
    score(u, j) = sum over the items i of u of x_ui w_ij

where of the w_ij of each item i the k greatest are kept. The first step has the same probability
for all items of a user, and so no say in the order of a list. beta = 0 is P3alpha (Cooper et al.
2014).

Under a half-life x_ui is multiplied by the weight of the rating. With likings n_j is the sum of the
weights then, as it is their number without; with ratings it stays their number.

A user is scored from a history alone, so one who was not there at the fit can be scored.

References:
    Fabian Christoffel, Bibek Paudel, Chris Newell, Abraham Bernstein. Blockbusters and
    Wallflowers: Accurate, Diverse, and Scalable Recommendations with Random Walks. RecSys 2015.
    Colin Cooper, Sang Hyuk Lee, Tomasz Radzik, Yiannis Siantos. Random Walks in Recommender
    Systems: Exact Computation and Simulations. WWW 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pyspark.sql import functions as F

from recpipe.feedback import liked_from
from recpipe.models.neighbours import tables
from recpipe.models.neighbours.entries import Liking, Step
from recpipe.models.neighbours.model import NeighbourModel
from recpipe.models.neighbours.nearest import Search, nearest
from recpipe.models.neighbours.rows import packed_matrix
from recpipe.ranking.histories import HISTORY, write_histories
from recpipe.spark.interactions import frame_of, is_liked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.data import TrainingData
    from recpipe.models.neighbours.rows import Columns
    from recpipe.models.neighbours.settings import Rp3BetaSettings
    from recpipe.sections import Section
    from recpipe.storage import Folder

_ITEMS, _HISTORIES = "items", "histories"

_ABOVE_ZERO = 2.0**-120
"""Below the weight of every rating, which is at least 2^-100: values from it on are likings."""


@dataclass(frozen=True)
class Rp3Beta:
    """RP3beta with its settings.

    Args:
        settings: `rp3beta`.
    """

    settings: Rp3BetaSettings

    name: ClassVar[str] = "rp3beta"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> NeighbourModel:
        """See `Model.fit`; nothing is random. Memory and time are those of `ItemKnn.fit`.

        Raises:
            FitError: if there is nothing to fit.
        """
        del seed
        # Ratings as they are can go from their files to those of the table, without a row of Spark.
        if data.half_life is None:
            histories = write_histories(scratch, _HISTORIES, data.ratings, value="rating")
        else:
            histories = write_histories(scratch, _HISTORIES, self.histories(data))
        liking = self._liking(data)
        with packed_matrix(histories) as matrix:
            columns = matrix.columns(liking, model=self.name)
            found = nearest(
                matrix,
                columns,
                self._search(columns, liking),
                shape=tables.as_sources,
                schema=HISTORY,
            )
            scratch.write_table(_ITEMS, tables.items_of_sources(found, columns))
        items = len(columns.ids)
        return NeighbourModel(
            name=self.name,
            refit_config=self,
            table=scratch.stored(_ITEMS),
            histories=histories,
            means=None,
            items=items,
            users=columns.rows,
            links=items * min(self.settings.k, items),
            liking=liking,
            prediction=None,
        )

    def _search(self, columns: Columns, liking: Liking) -> Search:
        from recpipe.kernels.neighbours import SCALED, Measure

        step = _power(columns.sums, -self.settings.alpha)
        likings = self.settings.values == "likings"
        ends = columns.sums if likings else columns.counts.astype(np.float64)
        popularity = _power(ends, -self.settings.beta)
        measure = Measure(SCALED, step, popularity, 1, 0.0)
        return Search(liking, Step(self.settings.alpha), measure, self.settings.k)

    def histories(self, data: TrainingData) -> DataFrame:
        """HISTORY: every rating as it is; under a half-life times its weight.

        With `likings` and a half-life it is the weight of a liking, and 0 for other ratings.
        """
        if data.half_life is None:
            return tables.values_of(data)
        own, value = self.settings, F.col("rating") * data.weight
        if own.values == "likings":
            liked = is_liked(liked_from(own.preference_from, data.scale))
            value = F.when(liked, data.weight).otherwise(0.0)
        rows = frame_of(data.ratings)
        return rows.select("user", "item", value.cast("float").alias("value"))

    def _liking(self, data: TrainingData) -> Liking:
        """Which of `histories` are entries."""
        own = self.settings
        liking = Liking.of(own.values, own.preference_from, data.scale)
        weighted = liking.binary and data.half_life is not None
        return Liking(_ABOVE_ZERO, binary=False) if weighted else liking

    def sections(self) -> Mapping[str, Section]:
        return {"rp3beta": self.settings}


def _power(numbers: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Those above 0 to a power; 0 for the others."""
    return np.where(numbers > 0, np.where(numbers > 0, numbers, 1) ** exponent, 0)


__all__ = ["Rp3Beta"]
