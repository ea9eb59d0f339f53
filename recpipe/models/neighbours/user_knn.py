"""User neighbourhoods: an item is scored by the k users most alike (Herlocker et al. 1999).

With N(u) the k nearest users of u and x_vj what user v has of item j, 0 without,

    score(u, j) = sum over v in N(u) of s_uv x_vj

and a predicted rating, with R the nearest of N(u) that have rated j, at most `max_rated`,

    m_u + (sum over v in R of s_uv (r_vj - m_v)) / (sum over R of s_uv)

where m is what is expected of ratings of a user (`centres`), 0 where predictions are not centred,
and s is 1 where the mean is not weighted. Where R is empty the prediction is m_u, with the bias of
the item where m has biases. `similarity` has the formulas of s.

Users who were not there at the fit have no neighbours, so they get no list.

References:
    Jonathan Herlocker, Joseph Konstan, Al Borchers, John Riedl. An Algorithmic Framework for
    Performing Collaborative Filtering. SIGIR 1999.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recpipe.models.neighbours import tables
from recpipe.models.neighbours.centres import expected
from recpipe.models.neighbours.model import NeighbourModel
from recpipe.models.neighbours.nearest import nearest
from recpipe.models.neighbours.rows import packed_matrix
from recpipe.models.neighbours.scorer import prediction_of
from recpipe.models.neighbours.similarity import liking_of, search_of
from recpipe.ranking.histories import HISTORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.models.data import TrainingData
    from recpipe.models.neighbours.settings import UserKnnSettings
    from recpipe.sections import Section
    from recpipe.storage import Folder

_ITEMS, _HISTORIES, _MEANS = "items", "histories", "means"


@dataclass(frozen=True)
class UserKnn:
    """User neighbourhoods with their settings.

    Args:
        settings: `user_knn`.
    """

    settings: UserKnnSettings

    name: ClassVar[str] = "user_knn"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> NeighbourModel:
        """See `Model.fit`; nothing is random.

        The driver holds a few numbers of each user; a task a part of the ratings, and `k`
        neighbours of each user. Time grows with the sum over items of the square of their ratings.
        The fitted model scores by the ratings of the neighbours, which it sends to the workers with
        the items, in blocks of at most `recommend.max_broadcast_mb`.

        Raises:
            FitError: if there is nothing to fit.
        """
        del seed
        liking = liking_of(self.settings, data.scale)
        prediction = prediction_of(self.settings, data.bounds)
        with packed_matrix(tables.transposed(tables.values_of(data))) as matrix:
            columns = matrix.columns(liking, model=self.name)
            search = search_of(self.settings, matrix, columns, liking)
            columns = expected(matrix, columns, prediction, model=self.name)
            neighbours = nearest(matrix, columns, search, shape=tables.as_histories, schema=HISTORY)
            scratch.write_table(_HISTORIES, neighbours)
            scratch.write_table(_ITEMS, tables.items_of_rows(matrix, columns, prediction))
        scratch.write_table(_MEANS, tables.means_of_users(scratch.spark, columns))
        return NeighbourModel(
            name=self.name,
            refit_config=self,
            table=scratch.stored(_ITEMS),
            histories=scratch.stored(_HISTORIES),
            means=scratch.stored(_MEANS),
            items=columns.rows,
            users=len(columns.ids),
            links=matrix.values,
            liking=liking,
            prediction=prediction,
        )

    def sections(self) -> Mapping[str, Section]:
        return {"user_knn": self.settings}


__all__ = ["UserKnn"]
