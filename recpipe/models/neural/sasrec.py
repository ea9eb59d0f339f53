"""SASRec: what a user takes up next, by self-attention over what the user has taken up.

The network and its scores are in `transformer.py`, what a fit minimises in `sequence_network.py`.
Once it is fitted, the items have their embeddings and a user the state after the newest item of the
history. So it is a model of factors: a list holds the items whose product with that state is
largest.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pyspark.sql import Window
from pyspark.sql import functions as F

from recpipe.errors import nothing_to_fit
from recpipe.models.factors import FactorModel
from recpipe.models.neural.extra import TORCH
from recpipe.models.neural.sequence_job import USER, K, SequenceJob
from recpipe.models.neural.training import (
    ROWS,
    Feed,
    Plan,
    on_gpu,
    processes_for,
    train_network,
)
from recpipe.models.neural.transformer import ITEMS, Encoder, Shape
from recpipe.ranking.histories import HISTORY_KINDS, packed_histories
from recpipe.spark import failures
from recpipe.spark.held import cached
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.data import TrainingData
    from recpipe.models.fold_in import RowSolver
    from recpipe.models.neural.settings import SasRecSettings
    from recpipe.models.neural.training import Epoch, Trained
    from recpipe.models.spec import LoadOptions
    from recpipe.ranking.factor_scorer import ItemArrays
    from recpipe.sections import Section
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder

log = logging.getLogger(__name__)

_NETWORK = "network"
_BETAS = (0.9, 0.98)
"""The decay rates of Adam's moments, those of Kang and McAuley."""
_FEW_ITEMS, _NEGATIVES = 10_000, 1_000
"""Of `negatives` = auto: items up to which all are negatives, and how many are drawn of more."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceModel(FactorModel):
    """A model of factors whose users' vectors are states of a network.

    Args:
        network: `training.ROWS`: a row for each array of weights but the embedding of items.
    """

    network: Interactions

    def encoder(self, shape: Shape, items: NDArray[np.float32]) -> Encoder:
        """The solver that finds the vectors of users; the network's weights come to the driver.

        Args:
            shape: of the network.
            items: the embedding of items.
        """
        weights = {ITEMS: items}
        for row in frame_of(self.network).collect():
            weights[row["part"]] = np.array(row["values"], np.float32)
        sizes = shape.sizes()
        return Encoder(shape, {name: each.reshape(sizes[name]) for name, each in weights.items()})

    def _tables(self) -> Mapping[str, Interactions]:
        return {**super()._tables(), _NETWORK: self.network}

    @classmethod
    def load(cls, folder: Folder, options: LoadOptions, **rest: Any) -> SequenceModel:
        """The model that `save` wrote; called by `registry.load`."""
        network = folder.stored(_NETWORK, schema=ROWS)
        found = super().load(folder, options, network=network, **rest)
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

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> SequenceModel:
        """See `Model.fit`. With a validation part the weights are those of its best epoch.

        The driver holds the numbers of the items. Each process holds all likings of its users, the
        newest `max_length` + 1 of each once more as a padded row, and the weights, items x rank
        numbers and some more, about five times over: beside the weights their gradients, two
        moments of these and the best so far. A step holds batch_size x max_length x negatives
        numbers a few times. An epoch takes time for each item of a history that grows with
        rank x (layers x (rank + max_length) + negatives), and with validation for each of its
        users time that grows with rank x items.
        A user without a liking gets no list. Where no rating is later than another there is no
        order to learn from but that of `fed`, and a warning says so.

        Raises:
            FitError: if there is no liking, or the loss is not finite.
            MissingError: if PyTorch is not installed, or fewer processes than were set can run.
        """
        TORCH.need(self.name)
        own = self.settings
        likings = cached(self.fed(data).withColumnRenamed("rating", "value"))
        try:
            with failures.as_fit_errors(self.name):
                counted = F.count(F.lit(1)).alias("count"), F.max("value").alias("last_place")
                counts = likings.groupBy("item").agg(*counted).toArrow()
            if not len(counts):
                raise nothing_to_fit(self.name)
            items = np.sort(counts.column("item").to_numpy().astype(np.int32))
            total = int(counts.column("count").to_numpy().sum())
            if counts.column("last_place").to_numpy().max() <= 1:
                log.warning("%s: no user has two likings, so its lists are random", self.name)
            elif not _has_order(data):
                log.warning(
                    "%s: the ratings have no instants, or one for all, so what it learns is the"
                    " order of the numbers of items",
                    self.name,
                )
            spark = likings.sparkSession
            processes = processes_for(spark, own.processes, likings=total, name=self.name)
            feeds = [likings]
            if data.validation is not None:
                held_out = data.liked(data.validation, own.preference_from)
                feeds.append(held_out.select("user", "item", F.lit(1.0).alias("value")))
            trained = train_network(
                [Feed(packed_histories(each, buckets=processes), HISTORY_KINDS) for each in feeds],
                self._job(items),
                self._plan(processes, gpu=on_gpu(spark, own.device, name=self.name), seed=seed),
                scratch=scratch,
            )
        finally:
            likings.unpersist()
        return self._fitted(trained, scratch, likings=total, processes=processes)

    def _job(self, items: NDArray[np.int32]) -> SequenceJob:
        own = self.settings
        few = own.negatives == "auto" and len(items) <= _FEW_ITEMS
        drawn = _NEGATIVES if own.negatives == "auto" else own.negatives
        negatives = None if few or drawn == "all" else min(drawn, len(items))
        return SequenceJob(items, self._shape(len(items)), own.dropout, own.batch_size, negatives)

    def _plan(self, processes: int, *, gpu: bool, seed: int) -> Plan:
        own = self.settings
        return Plan(
            name=self.name,
            epochs=own.epochs,
            learning_rate=own.learning_rate,
            seed=seed,
            processes=processes,
            patience=own.patience,
            betas=_BETAS,
            gpu=gpu,
        )

    def _fitted(
        self, trained: Trained, scratch: Folder, *, likings: int, processes: int
    ) -> SequenceModel:
        def factors(part: str, side: str) -> DataFrame:
            number, values = F.col("number").alias(side), F.col("values").alias("factors")
            bias = F.lit(0.0).cast("float").alias("bias")
            return trained.part(part).select(number, values, bias)

        names = [name for name in self._shape(0).sizes() if name != ITEMS]
        config = self.settings.model_copy(update={"epochs": trained.best, "patience": 0})
        found = SequenceModel.fitted(
            scratch,
            name=self.name,
            user_factors=factors(USER, "user"),
            item_factors=factors(ITEMS, "item"),
            network=trained.table.frame.where(F.col("part").isin(names)),
            rank=self.settings.rank,
            refit_config=SasRec(config),
            predicts_ratings=False,
            details={
                "processes": processes,
                "likings": likings,
                "epochs": len(trained.curve),
                "best_epoch": trained.best,
                "learning_curve": [_epoch_report(epoch) for epoch in trained.curve],
            },
        )
        assert isinstance(found, SequenceModel)  # noqa: S101 - the class of which it is made
        return found

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


def _has_order(data: TrainingData) -> bool:
    """Whether some rating is later than another."""
    instants = F.min("rated_at"), F.max("rated_at")
    [(first, last)] = frame_of(data.ratings).agg(*instants).collect()
    return bool(first != last)


def _epoch_report(epoch: Epoch) -> dict[str, float]:
    """An epoch for the manifest; `Epoch.validation` is 1 - NDCG@10 here."""
    found: dict[str, float] = {"epoch": epoch.epoch, "train_loss": epoch.loss}
    if epoch.validation is not None:
        found[f"validation_ndcg@{K}"] = 1 - epoch.validation
    return found


__all__ = ["SasRec", "SequenceModel"]
