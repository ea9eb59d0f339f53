"""Neural collaborative filtering (He et al. 2017): GMF, MLP and NeuMF.

One network (`ncf_network`), trained on likings and drawn items under log loss (`ncf_job`). What is
fitted is scored without PyTorch: GMF as a model of factors, since its score is p_u . (h * q_i) + b;
the others by `ncf_model`.

There are no lists for people who came after the fit: their factors would have to be trained.

References:
    Xiangnan He, Lizi Liao, Hanwang Zhang, Liqiang Nie, Xia Hu, Tat-Seng Chua. Neural Collaborative
    Filtering. WWW 2017.
    Steffen Rendle, Walid Krichene, Li Zhang, John Anderson. Neural Collaborative Filtering vs.
    Matrix Factorization Revisited. RecSys 2020: a product is often the better choice.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import nothing_to_fit
from recpipe.models.factors import FactorModel
from recpipe.models.neural.extra import TORCH
from recpipe.models.neural.ncf_job import NcfJob
from recpipe.models.neural.ncf_model import NcfModel
from recpipe.models.neural.ncf_shape import NcfShape
from recpipe.models.neural.training import (
    Feed,
    Plan,
    Trained,
    on_gpu,
    processes_for,
    train_network,
)
from recpipe.ranking.histories import HISTORY_KINDS, packed_histories
from recpipe.spark.columns import factor_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.data import TrainingData
    from recpipe.models.neural.settings import (
        GmfSettings,
        MlpSettings,
        NcfSettings,
        NeumfSettings,
    )
    from recpipe.sections import Section
    from recpipe.storage import Folder

log = logging.getLogger(__name__)

S = TypeVar("S", bound="NcfSettings")


@dataclass(frozen=True)
class Gmf:
    """Generalised matrix factorisation.

    Args:
        settings: `gmf`.
    """

    settings: GmfSettings

    name: ClassVar[str] = "gmf"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `Model.fit`, and `_fit`."""
        found = _fit(self.name, self.settings, NcfShape(self.settings.rank), data, scratch, seed)
        *_, (_, bias) = sorted(found.trained.part("layer").collect())
        return FactorModel.fitted(
            scratch,
            name=self.name,
            user_factors=found.rows("user"),
            item_factors=found.rows("item"),
            rank=self.settings.rank,
            mean=bias[0],
            refit_config=Gmf(_refit(self.settings, found.trained)),
            predicts_ratings=False,
            details=found.details,
        )

    def sections(self) -> Mapping[str, Section]:
        return {self.name: self.settings}


@dataclass(frozen=True)
class Mlp:
    """A multilayer perceptron over factors.

    Args:
        settings: `mlp`.
    """

    settings: MlpSettings

    name: ClassVar[str] = "mlp"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> NcfModel:
        """See `Model.fit`, and `_fit`."""
        own = self.settings
        shape = NcfShape(0, own.rank, own.layers, own.dropout)
        found = _fit(self.name, own, shape, data, scratch, seed)
        return found.model(scratch, Mlp(_refit(own, found.trained)), width=own.layers[0])

    def sections(self) -> Mapping[str, Section]:
        return {self.name: self.settings}


@dataclass(frozen=True)
class Neumf:
    """Neural matrix factorisation: both in one network.

    Args:
        settings: `neumf`.
    """

    settings: NeumfSettings

    name: ClassVar[str] = "neumf"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> NcfModel:
        """See `Model.fit`, and `_fit`."""
        own = self.settings
        shape = NcfShape(own.rank, own.rank, own.layers, own.dropout)
        found = _fit(self.name, own, shape, data, scratch, seed, pretrain=own.pretrain)
        width = own.rank + own.layers[0]
        return found.model(scratch, Neumf(_refit(own, found.trained)), width=width)

    def sections(self) -> Mapping[str, Section]:
        return {self.name: self.settings}


class _Found(NamedTuple):
    """A trained network before it is a model."""

    name: str
    trained: Trained
    users: int
    items: int
    details: Mapping[str, Any]

    def rows(self, side: str) -> DataFrame:
        """(side int, factors array<float>, bias float)."""
        return self.trained.part(side).select(
            F.col("number").alias(side),
            F.col("values").alias("factors"),
            F.lit(0.0).cast("float").alias("bias"),
        )

    def model(self, scratch: Folder, config: Mlp | Neumf, *, width: int) -> NcfModel:
        """The fitted model, in tables of the scratch."""
        layers = self.trained.part("layer").withColumnRenamed("number", "layer")
        frames = {"users": self.rows("user"), "items": self.rows("item"), "layers": layers}
        for name, frame in frames.items():
            scratch.write_table(name, frame)
        return NcfModel(
            name=self.name,
            refit_config=config,
            user_rows=scratch.stored("users", schema=factor_schema("user")),
            item_rows=scratch.stored("items", schema=factor_schema("item")),
            layers=scratch.stored("layers"),
            width=width,
            users=self.users,
            items=self.items,
            details=self.details,
        )


def _fit(
    name: str,
    own: NcfSettings,
    shape: NcfShape,
    data: TrainingData,
    scratch: Folder,
    seed: int,
    *,
    pretrain: int = 0,
) -> _Found:
    """Train a network; with a validation part its parameters are those of the best epoch.

    The driver holds the numbers of all items, 4 bytes each. A process holds the likings of its
    users, some 50 bytes each, the factors of its users and of all items, and four times as much for
    gradients, moments and the best epoch. Time grows with epochs x likings x (1 + negatives) x
    the weights of the network; at the end of each epoch up to 20,000 likings of validation of a
    process are ranked among 100 items each. A user without a liking gets no list.

    Raises:
        FitError: if there is no liking, or the training diverges.
        MissingError: if PyTorch is not installed, or the processes cannot run at the same time.
    """
    TORCH.need(name)
    scratch.write_table("likings", data.user_item_matrix("likings", own.preference_from))
    likings = scratch.stored("likings")
    items, count = _items(likings.frame)
    if not count:
        raise nothing_to_fit(name)
    spark = likings.frame.sparkSession
    processes = processes_for(spark, own.processes, likings=count, name=name)
    log.info("%s: %d likings, processes: %d", name, count, processes)
    feeds = [Feed(packed_histories(likings, buckets=processes), HISTORY_KINDS)]
    if data.validation is not None:
        held_out = data.liked(data.validation, own.preference_from)
        value = F.lit(1.0).cast("float").alias("value")
        frame = packed_histories(held_out.select("user", "item", value), buckets=processes)
        feeds.append(Feed(frame, HISTORY_KINDS))
    job = NcfJob(
        items,
        shape,
        batch_size=math.ceil(own.batch_size / processes),
        negatives=own.negatives,
        regularization=own.regularization,
        pretrain=pretrain,
        validated=len(feeds) > 1,
    )
    plan = Plan(
        name,
        own.epochs,
        own.learning_rate,
        seed,
        processes=processes,
        patience=own.patience,
        gpu=on_gpu(spark, own.device, name=name),
    )
    trained = train_network(feeds, job, plan, scratch=scratch)
    details = {
        "likings": count,
        "processes": processes,
        "epochs": len(trained.curve),
        "best_epoch": trained.best,
        "learning_curve": trained.report,
        "seed": seed,
    }
    users = trained.part("user").count()
    return _Found(name, trained, users, len(items), details)


def _items(likings: DataFrame) -> tuple[NDArray[np.int32], int]:
    """All items, ascending, and the number of likings."""
    table = likings.groupBy("item").agg(F.count(F.lit(1)).alias("likings")).toArrow()
    items = np.sort(table.column("item").to_numpy().astype(np.int32))
    return items, int(table.column("likings").to_numpy().sum())


def _refit(own: S, trained: Trained) -> S:
    """For a fit without validation: as many epochs as were best, and all of them."""
    return own.model_copy(update={"epochs": trained.best, "patience": 0})


__all__ = ["Gmf", "Mlp", "Neumf"]
