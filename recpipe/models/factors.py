"""Factor models: what ALS, NMF, SGD and the baselines are once they are fitted.

The score of a user and an item is

    mean + user bias + item bias + user factors . item factors

and every model that can be written so shares one scorer and one file layout. Rank 0 leaves the
biases: popularity is the item's count, `mean` has no bias at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pyspark.sql import Observation
from pyspark.sql import functions as F

from recpipe.errors import FitError, nothing_to_fit
from recpipe.models.base import FittedModel, Vectors
from recpipe.models.fold_in import (
    AdditiveSolver,
    FoldIn,
    FoldsIn,
    Shares,
    check_broadcast,
    mean_user,
    sent,
)
from recpipe.ranking.engine import Scoring
from recpipe.ranking.factor_scorer import FactorScorer, ItemArrays
from recpipe.ranking.item_blocks import send_items, sent_whole
from recpipe.ranking.reasons import Reasons
from recpipe.ranking.user_batch import UserInputs
from recpipe.runtime.parallel import run_all
from recpipe.spark.columns import arrow_schema, factor_schema
from recpipe.spark.interactions import Mapped, frame_of
from recpipe.storage.encoded import WRITTEN_FILES, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.data import TrainingData
    from recpipe.models.spec import LoadOptions
    from recpipe.ranking.item_blocks import ItemBlocks
    from recpipe.spark.columns import Batches
    from recpipe.spark.interactions import Interactions, Work
    from recpipe.storage import Folder, Stored

Link = Literal["identity", "sigmoid"]
"""identity: a prediction is the score, clipped to the scale. sigmoid: low + (high - low) * s,
clipped likewise; low and high are the ends of the scale, or `FactorModel.beyond` further out."""

Unknown = Literal["skip", "zero"]
"""skip: nothing is said of a user or item without factors. zero: its factors and bias are 0."""

_USERS, _ITEMS = "user_factors", "item_factors"

# Products of two such numbers, summed over any rank, stay finite in float32: no score is NaN.
_LARGEST = 1e15

_FILES = f"{WRITTEN_FILES}, rows long, bad long"
"""Files of factors, how many rows each has, and of how many of these `_bad` says that they are."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FactorModel(FittedModel):
    """A fitted factor model.

    Make one with `fitted`, which checks the factors, or `load`.

    Args:
        user_factors: (user int, factors array<float> of `rank`, bias float), one row a user; None
            for a model that says the same to everybody.
        item_factors: (item int, factors array<float> of `rank`, bias float), one row an item; its
            items are the candidates of every list.
        rank: length of the factors; 0 for none.
        mean: added to every score.
        users: rows of `user_factors`.
        items: rows of `item_factors`.
        scale: (lowest, highest) valid rating. Predictions are clipped to it, scores of ranking
            never are: clipping would make ties of the best items.
        link: how a score becomes a predicted rating; under a sigmoid lists show that rating.
        beyond: how far a sigmoid reaches beyond either end of the scale.
        step: of the scale, to which predicted ratings are rounded; None: they are not.
        predicts_ratings: whether the model predicts ratings; if not, `predict` returns no row.
        unknown: what is said of users and items without a row. Candidates are rows of
            `item_factors` under either.
        details: what the fit wants in manifest and report (JSON).
    """

    user_factors: Interactions | None
    item_factors: Interactions
    rank: int
    mean: float
    users: int
    items: int
    scale: tuple[float, float] | None = None
    link: Link = "identity"
    beyond: float = 0.0
    step: float | None = None
    predicts_ratings: bool = True
    unknown: Unknown = "skip"
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fitted(
        cls,
        scratch: Folder,
        *,
        name: str,
        user_factors: DataFrame | Mapped | None,
        item_factors: DataFrame | Mapped,
        rank: int,
        **rest: Any,
    ) -> FactorModel:
        """A model of factors that a fit has just made, written to tables in the fit's scratch.

        Each frame is computed once, both at the same time, and checked on its way.

        Args:
            scratch: of the fit.
            name: of the model.
            user_factors: None for none.
            item_factors: as in the class.
            rank: length of the factors.
            rest: the other arguments of the class.

        Raises:
            FitError: if there is no item, or a factor, bias or the mean is not finite (or so large
                that a score might overflow), or has another length than `rank`.
        """
        mean = float(rest.get("mean", 0.0))
        tables = run_all(
            [
                partial(_written, scratch, side, frame, rank=rank, name=name)
                for side, frame in (("user", user_factors), ("item", item_factors))
                if frame is not None
            ]
        )
        items, item_count = tables[-1]
        users, user_count = tables[0] if len(tables) > 1 else (None, 0)
        if not item_count:
            raise nothing_to_fit(name)
        if not abs(mean) <= _LARGEST:
            raise FitError(f"{name}: the mean is {mean}", hint="check the ratings")
        return cls(
            name=name,
            user_factors=users,
            item_factors=items,
            rank=rank,
            users=user_count,
            items=item_count,
            **{**rest, "mean": mean},
        )

    @property
    def spark(self) -> SparkSession:
        return frame_of(self.item_factors).sparkSession

    def item_vectors(self) -> Vectors | None:
        """The factors of items, without their biases; None for a model of rank 0."""
        if not self.rank:
            return None
        return Vectors(frame_of(self.item_factors).select("item", "factors"), self.rank)

    def user_vectors(self) -> Vectors | None:
        """The factors of users, without their biases; None for a model without."""
        if not self.rank or self.user_factors is None:
            return None
        return Vectors(frame_of(self.user_factors).select("user", "factors"), self.rank)

    def _scoring(self) -> Scoring:
        everyone = self.unknown == "zero"
        inputs = (
            UserInputs()
            if self.user_factors is None
            else UserInputs(vectors=self.user_factors, width=self.rank + 1)
        )
        return Scoring(self._send, inputs, everyone=everyone, users=self.users)

    def _send(self) -> ItemBlocks:
        def collect(items: DataFrame) -> FactorScorer:
            return FactorScorer.of(
                items,
                rank=self.rank,
                mean=self.mean,
                scale=self.scale,
                sigmoid=self.link == "sigmoid",
                beyond=self.beyond,
                step=self.step,
            )

        return send_items(
            frame_of(self.item_factors),
            collect,
            count=self.items,
            item_bytes=FactorScorer.item_bytes(rank=self.rank),
            limit_mb=self.max_broadcast_mb,
            what=f"{self.name}: item factors ({self.items} items, rank {self.rank})",
        )

    def inputs_of(self, data: TrainingData) -> UserInputs:
        """Vectors by fold-in; that of the mean user for who has rated nothing that is known."""
        config = self.refit_config
        if self.user_factors is None:
            return UserInputs()
        if not isinstance(config, FoldsIn):
            return super().inputs_of(data)
        self._check_items_fit("to find the vectors of new people")
        work: list[Callable[[], Any]] = [
            partial(ItemArrays.of, frame_of(self.item_factors), rank=self.rank),
            partial(mean_user, self.user_factors, rank=self.rank),
        ]
        items, nobody = run_all(work)
        solver = sent(self.spark, items.items, config.row_solver(self, items))
        return UserInputs(
            width=self.rank + 1,
            histories=_histories(config, data),
            solver=FoldIn(solver, self.rank + 1, nobody),
        )

    def reasons(self, data: TrainingData) -> Reasons | None:
        """See `FittedModel.reasons`: of models whose users' vectors are sums over histories."""
        config = self.refit_config
        if self.user_factors is None or not isinstance(config, FoldsIn):
            return None
        self._check_items_fit("to explain lists")
        items = ItemArrays.of(frame_of(self.item_factors), rank=self.rank)
        solver = config.row_solver(self, items)
        if not isinstance(solver, AdditiveSolver):
            return None
        explainer = Shares(items.items, solver)
        return Reasons(partial(sent_whole, self.spark, explainer), _histories(config, data))

    def _check_items_fit(self, purpose: str) -> None:
        # A solver may pad its rows, and have a further number for the bias.
        size = 4 * (self.rank + 17)
        check_broadcast(
            self.items, size, limit_mb=self.max_broadcast_mb, model=self.name, purpose=purpose
        )

    def info(self) -> Mapping[str, Any]:
        """Rank, users, items and mean, and what the fit had to tell."""
        sizes = {"rank": self.rank, "users": self.users, "items": self.items, "mean": self.mean}
        return {**sizes, **self.details}

    def _tables(self) -> Mapping[str, Interactions]:
        users = {} if self.user_factors is None else {_USERS: self.user_factors}
        return {_ITEMS: self.item_factors, **users}

    def _manifest(self) -> Mapping[str, Any]:
        return {
            "rank": self.rank,
            "mean": self.mean,
            "users": self.users,
            "items": self.items,
            "scale": self.scale,
            "link": self.link,
            "beyond": self.beyond,
            "step": self.step,
            "predicts_ratings": self.predicts_ratings,
            "unknown": self.unknown,
            "details": dict(self.details),
        }

    @classmethod
    def load(cls, folder: Folder, options: LoadOptions, **rest: Any) -> FactorModel:
        """The model that `save` wrote; called by `registry.load`.

        Args:
            folder: of the model.
            options: see `LoadOptions`.
            rest: what the class of a model adds to this one.
        """
        manifest = options.manifest
        scale = manifest["scale"]
        users = int(manifest["users"])
        return cls(
            **options.common,
            user_factors=folder.stored(_USERS, schema=factor_schema("user")) if users else None,
            item_factors=folder.stored(_ITEMS, schema=factor_schema("item")),
            rank=int(manifest["rank"]),
            mean=float(manifest["mean"]),
            users=users,
            items=int(manifest["items"]),
            scale=None if scale is None else (float(scale[0]), float(scale[1])),
            link=manifest["link"],
            # Models saved before these were there have neither.
            beyond=float(manifest.get("beyond", 0.0)),
            step=manifest.get("step"),
            predicts_ratings=bool(manifest["predicts_ratings"]),
            unknown=manifest["unknown"],
            details=manifest["details"],
            **rest,
        )


def _histories(config: FoldsIn, data: TrainingData) -> DataFrame:
    """(user int, item int, value float): what a fit would learn from the ratings."""
    value = F.col("rating").cast("float").alias("value")
    return frame_of(config.fed(data)).select("user", "item", value)


def _written(
    scratch: Folder, side: str, factors: DataFrame | Mapped, *, rank: int, name: str
) -> tuple[Stored, int]:
    """The factors as a table, and how many rows it has.

    Raises:
        FitError: see `FactorModel.fitted`.
    """
    table, schema = f"{name}-{side}-factors", factor_schema(side)
    seen = Observation()
    if isinstance(factors, Mapped) and scratch.takes_encoded:
        # Spark's writer takes a number at a time, and about twice as long.
        work = partial(_encoded, made_by=factors.work, schema=schema, rank=rank)
        files = factors.source.mapInArrow(work, _FILES)
        observed = files.observe(seen, F.sum("rows").alias("rows"), F.sum("bad").alias("bad"))
        scratch.write_encoded(table, observed.select("content"), schema)
    else:
        observed = _observed(frame_of(factors), seen, rank=rank)
        scratch.write_table(table, observed)
    rows, bad = (int(seen.get.get(name) or 0) for name in ("rows", "bad"))
    if bad:
        raise FitError(
            f"{name}: {bad} of {rows} rows of {side} factors are not finite, or not of rank {rank}",
            hint="raise regularization or lower the rank",
        )
    return scratch.stored(table, schema=schema), rows


def _observed(factors: DataFrame, seen: Observation, *, rank: int) -> DataFrame:
    """The same rows, of which `seen` will know how many there are, and how many are bad."""
    # Spark orders NaN above every number, infinity included. A lambda over each array would say it
    # more plainly, and take many times as long.
    good = (F.abs("bias") <= _LARGEST) & (F.size("factors") == rank)
    if rank:
        good &= (F.array_max("factors") <= _LARGEST) & (F.array_min("factors") >= -_LARGEST)
    return factors.observe(
        seen,
        F.count(F.lit(1)).alias("rows"),
        F.count_if(~F.coalesce(good, F.lit(False))).alias("bad"),
    )


def _encoded(batches: Batches, *, made_by: Work, schema: str, rank: int) -> Batches:
    """In a task: _FILES of what `made_by` makes, in one row."""
    import pyarrow as pa

    made = list(made_by(batches))
    files = encode(made, arrow_schema(schema), dictionary=[])
    counts = [sum(map(len, made)), sum(_bad(batch, rank) for batch in made)]
    columns = [*files.columns, *(pa.array([count]) for count in counts)]
    yield pa.RecordBatch.from_arrays(columns, names=["content", "rows", "bad"])


def _bad(batch: pa.RecordBatch, rank: int) -> int:
    """How many rows have a number beyond _LARGEST, or none; all, where one is of another rank."""
    import numpy as np

    _, factors, biases = batch.columns
    if (np.diff(factors.offsets.to_numpy()) != rank).any():
        return len(batch)
    numbers = factors.flatten().to_numpy().reshape(len(batch), rank)
    # NaN is not below it either.
    good = (abs(numbers) <= _LARGEST).all(axis=1) & (abs(biases.to_numpy()) <= _LARGEST)
    return int(np.count_nonzero(~good))


__all__ = ["FactorModel", "Link", "Unknown"]
