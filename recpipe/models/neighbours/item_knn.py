"""Item neighbourhoods: an item is scored by the k items most alike (Sarwar et al. 2001).

With N(j) the k nearest items of j and x_ui what user u has of item i, 0 without,

    score(u, j) = sum over i in N(j) of s_ij x_ui

and a predicted rating, with R the nearest of N(j) that the user has rated, at most `max_rated`,

    m_j + (sum over i in R of s_ij (r_ui - m_i)) / (sum over R of s_ij)

where m is what is expected of ratings of an item (`centres`), 0 where predictions are not centred,
and s is 1 where the mean is not weighted. Where R is empty the prediction is m_j, with the bias of
the user where m has biases. `similarity` has the formulas of s.

A user is scored from a history alone, so one who was not there at the fit can be scored.

References:
    Badrul Sarwar, George Karypis, Joseph Konstan, John Riedl. Item-based Collaborative Filtering
    Recommendation Algorithms. WWW 2001.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from recpipe.models.neighbours.centres import expected
from recpipe.models.neighbours.model import NeighbourModel
from recpipe.models.neighbours.nearest import nearest
from recpipe.models.neighbours.rows import packed_matrix
from recpipe.models.neighbours.scorer import ITEMS, prediction_of
from recpipe.models.neighbours.similarity import liking_of, search_of
from recpipe.models.neighbours.tables import as_items, values_of
from recpipe.ranking.histories import write_histories
from recpipe.runtime.parallel import run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyspark.sql import DataFrame

    from recpipe.models.data import TrainingData
    from recpipe.models.neighbours.settings import ItemKnnSettings
    from recpipe.sections import Section
    from recpipe.storage import Folder

_ITEMS, _HISTORIES = "items", "histories"


@dataclass(frozen=True)
class ItemKnn:
    """Item neighbourhoods with their settings.

    Args:
        settings: `item_knn`.
    """

    settings: ItemKnnSettings

    name: ClassVar[str] = "item_knn"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> NeighbourModel:
        """See `Model.fit`; nothing is random.

        The driver holds a few numbers of each item; a task a part of the ratings, and `k`
        neighbours of each item. Time grows with the sum over users of the square of their ratings.

        Raises:
            FitError: if there is nothing to fit.
        """
        del seed
        liking = liking_of(self.settings, data.scale)
        prediction = prediction_of(self.settings, data.bounds)
        with packed_matrix(data.ratings, value="rating") as matrix:
            columns = matrix.columns(liking, model=self.name)
            search = search_of(self.settings, matrix, columns, liking)
            work: list[Callable[[], Any]] = [
                partial(write_histories, scratch, _HISTORIES, data.ratings, value="rating"),
                # It is one task, or many small jobs: either leaves room for a large one.
                partial(expected, matrix, columns, prediction, model=self.name),
            ]
            histories, columns = run_all(work)
            scratch.write_table(
                _ITEMS, nearest(matrix, columns, search, shape=as_items, schema=ITEMS)
            )
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
            prediction=prediction,
        )

    def histories(self, data: TrainingData) -> DataFrame:
        """HISTORY: every rating."""
        return values_of(data)

    def sections(self) -> Mapping[str, Section]:
        return {"item_knn": self.settings}


__all__ = ["ItemKnn"]
