"""SASRec: what a user takes up next, by self-attention over what the user has taken up.

The network and its scores are in `transformer.py`, what a fit minimises in `sequence_loss.py`.
Once it is fitted, the items have their embeddings and a user the state after the newest item of the
history, so that the model is one of factors: a list is the items whose product with that state is
largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pyspark.sql import Window
from pyspark.sql import functions as F

from recpipe.models.factors import FactorModel
from recpipe.models.fold_in import FoldIn
from recpipe.models.neural.transformer import ITEMS, Encoder, Shape
from recpipe.ranking.histories import part_of
from recpipe.spark.columns import as_array, batch_of, factor_rows, factor_schema
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.data import TrainingData
    from recpipe.models.fold_in import RowSolver
    from recpipe.models.neural.settings import SasRecSettings
    from recpipe.models.spec import LoadOptions
    from recpipe.ranking.factor_scorer import ItemArrays
    from recpipe.sections import Section
    from recpipe.spark.columns import Batches
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder

_NETWORK = "network"
_WEIGHTS = "name string, weights binary"
"""The float32 of each array of a network but the embedding of items, in the order of C."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceModel(FactorModel):
    """A model of factors whose users' vectors are states of a network.

    Args:
        network: see `_WEIGHTS`.
    """

    network: Interactions

    def encoder(self, shape: Shape, items: NDArray[np.float32]) -> Encoder:
        """What finds the vectors of users; brings the weights of the network to the driver.

        Args:
            shape: of the network.
            items: the embedding of items.
        """
        weights, sizes = {ITEMS: items}, shape.sizes()
        for row in frame_of(self.network).collect():
            numbers = np.frombuffer(row["weights"], np.float32)
            weights[row["name"]] = numbers.reshape(sizes[row["name"]])
        return Encoder(shape, weights)

    def _tables(self) -> Mapping[str, Interactions]:
        return {**super()._tables(), _NETWORK: self.network}

    @classmethod
    def load(cls, folder: Folder, options: LoadOptions) -> SequenceModel:
        """The model that `save` wrote; called by `registry.load`."""
        network = folder.stored(_NETWORK, schema=_WEIGHTS)
        found = super().load(folder, options, network=network)
        assert isinstance(found, SequenceModel)  # noqa: S101 - `cls` is
        return found


@dataclass(frozen=True)
class SasRec:
    """SASRec with its settings.

    Args:
        settings: `sasrec`.
    """

    settings: SasRecSettings

    name: ClassVar[str] = "sasrec"

    def fed(self, data: TrainingData) -> DataFrame:
        """(user int, item int, rating float): likings; `rating` is the place, 1 the newest.

        Of likings of one instant the one of the larger item counts as newer, and one without an
        instant is older than all with one.
        """
        newest_first = Window.partitionBy("user").orderBy(
            F.col("rated_at").desc_nulls_last(), F.col("item").desc()
        )
        place = F.row_number().over(newest_first).cast("float").alias("rating")
        return data.liked(data.ratings, self.settings.preference_from).select("user", "item", place)

    def row_solver(self, fitted: FactorModel, items: ItemArrays) -> RowSolver:
        """See `FoldsIn`: the state of the network after the history."""
        assert isinstance(fitted, SequenceModel)  # noqa: S101 - what `fit` returns
        return fitted.encoder(self._shape(len(items.items)), items.factors)

    def _shape(self, items: int) -> Shape:
        own = self.settings
        return Shape(items, own.rank, own.max_length, own.layers, own.heads)

    def sections(self) -> Mapping[str, Section]:
        return {"sasrec": self.settings}


def _user_rows(
    batches: Batches, *, sent: Broadcast[tuple[NDArray[np.int32], RowSolver]], rank: int
) -> Batches:
    """In a task: the vectors of the users of its bucket, as `factor_schema` has them."""
    part = part_of(batches)
    if part is None:
        return
    found = FoldIn(sent, rank + 1, None)(part.rows)
    assert found.known.all()  # noqa: S101 - every item of the fit is known
    yield factor_rows("user", part.users, found.numbers[:, :-1], found.numbers[:, -1])


__all__ = ["SasRec", "SequenceModel"]
